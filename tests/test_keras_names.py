"""Keras's names and arguments: fastnn has each, or a list here says why not.

`make_keras_names.py` writes the names of Keras 3 to `keras_names.json`.
"""

import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

import fastnn
import fastnn.metrics

NAMES = json.loads(Path(__file__).with_name("keras_names.json").read_text())["names"]

# Owner -> reason -> regular expression of the names that fastnn does not have.
LEFT_OUT = {
    "activations": {
        "rare in dense networks": (
            "celu|glu|hard_shrink|hard_tanh|log_sigmoid|soft_shrink|sparse_plus|sparse_sigmoid|sparsemax|squareplus"
            "|tanh_shrink|threshold"
        ),
        "models are saved whole": "(de)?serialize",
    },
    "callbacks": {
        "need a server, TensorFlow or Orbax": "OrbaxCheckpoint|RemoteMonitor|TensorBoard",
        "use_ema gives fit's end its average": "SwapEMAWeights",
    },
    "constraints": {"rare": "MinMaxNorm|min_max_norm", "models are saved whole": "(de)?serialize"},
    "initializers": {"of signals": "stft|STFT.*", "models are saved whole": "(de)?serialize"},
    "layers": {
        "images, sound and sequences": (
            r".*([123]D|Pool|Transpose)|.*(Attention|RNN|LSTM|GRU).*|Random.*|(Rand)?Aug\w*|AutoContrast|CenterCrop|CutMix"
            "|ContrastLimited.*|Equalization|MaxNumBoundingBoxes|MelSpectrogram|MixUp|Resizing|STFTSpectrogram"
            "|Solarization|GroupNormalization|SpectralNormalization|Bidirectional|TimeDistributed|Masking|Permute"
            "|RepeatVector|.*RNNCells?|Convolution.*"
        ),
        "text and categories": ".*(Position|Reversible)\\w*Embedding|HashedCrossing|TextVectorization",
        "code of other frameworks or in Python per step": (
            "FlaxLayer|JaxLayer|TFSMLayer|TorchModuleWrapper|Lambda|Wrapper|Pipeline|EinsumDense|InputSpec"
        ),
        "rare in dense networks": "ActivityRegularization|GaussianDropout|RMSNormalization|UnitNormalization",
        "models are saved whole": "(de)?serialize",
    },
    "losses": {
        "sequences, embeddings, images": "CTC|ctc|Circle|circle|Tversky|tversky",
        "rare": "CategoricalGeneralizedCrossEntropy|categorical_generalized_cross_entropy",
        "models are saved whole": "(de)?serialize",
    },
    "metrics": {
        "the losses' functions are in fastnn.losses, scikit-learn's metrics here": (
            "binary_crossentropy|binary_focal_crossentropy|categorical_crossentropy|categorical_focal_crossentropy"
            "|categorical_hinge|hinge|huber|kl_divergence|log_cosh|mean_squared_logarithmic_error|poisson"
            "|sparse_categorical_crossentropy|squared_hinge"
        ),
        "classes and names of the same metrics": (
            ".*_accuracy|concordance_correlation|pearson_correlation|get|(de)?serialize"
        ),
    },
    "optimizers": {
        "not promised": "Adafactor|Ftrl|Lamb|Muon|ScheduleFreeAdamW",
        "float16 and several optimizers": "LossScaleOptimizer|MultiOptimizer|OptimizerMap",
        "models are saved whole": "(de)?serialize",
    },
    "optimizers.schedules": {"models are saved whole": "(de)?serialize"},
    "regularizers": {
        "rare": "OrthogonalRegularizer|orthogonal_regularizer",
        "models are saved whole": "(de)?serialize",
    },
    "utils": {
        "images, sound, text, downloads": (
            "array_to_img|img_to_array|load_img|save_img|.*_from_directory|pad_sequences|get_file"
            "|timeseries_dataset_from_array"
        ),
        "inputs are arrays": (
            "FeatureSpace|split_dataset|(un)?pack_x_y_sample_weight|get_source_inputs|is_keras_tensor|standardize_dtype"
        ),
        "custom_objects of load_model instead": (
            "CustomObjectScope|custom_object_scope|get_custom_objects|get_registered_.*|register_keras_serializable"
            "|(de)?serialize_keras_object"
        ),
        "a model draws itself in notebooks": "model_to_dot|plot_model",
        "verbose and fastnn's own progress line": "Progbar|.*interactive_logging.*",
        "no global settings": "Config",
    },
    "Sequential": {
        "of attributes set when a model is made": "dtype|metrics",
        "one type, chosen with dtype": "(compute_|variable_|input_)?dtype(_policy)?|quantiz.*|get_quantization_.*",
        "tensors and graphs": (
            "inputs?|outputs?|input_spec|call|compute_.*|stateless_.*|symbolic_call|rematerialized_call|supports_masking|path"
            "|export|torch_params|losses|.*_state_tree|.*_own_variables|.*build.*_config|build_from_config|metrics_variables"
        ),
        "steps are native": "(make_)?(train|test|predict)_(step|function)|run_eagerly|jit_compile",
        "weights and losses belong to layers": "add_(loss|metric|variable|weight)",
        "metrics are of whole epochs": "get_metrics_result",
    },
    "Layer": {
        "one type, chosen with the model's dtype": "(compute_|variable_|input_)?dtype(_policy)?|quantiz.*",
        "tensors and graphs": (
            "input|output|input_spec|call|build|compute_.*|stateless_call|symbolic_call|rematerialized_call"
            "|supports_masking|path|torch_params|losses|.*_own_variables|.*build.*_config|build_from_config|metrics.*"
        ),
        "layers describe, the core computes": "add_(loss|metric|variable|weight)",
    },
}

# "owner.name" as a regular expression -> reason and arguments that fastnn's do not have.
LEFT_OUT_ARGUMENTS = {
    r"activations\..*": ("options are those of the array function", {"axis", "approximate"}),
    r"layers\.Input(Layer)?": ("tensors of other frameworks", {"tensor", "input_tensor", "optional"}),
    r"initializers\.(.*(normal|uniform|scaling)|.*(Normal|Uniform|Scaling))": (
        "kernels are matrices",
        {"input_axes", "output_axes"},
    ),
    r"callbacks\.CallbackList": ("made by fit", {"add_history", "add_progbar", "model", "callbacks"}),
    r"models\.clone_model": ("layers are called with their tensors alone", {"call_function", "recursive"}),
    r"Sequential\.(load|save)_weights": ("one file, whole", {"max_shard_size"}),
    r"losses\..*crossentropy|losses\.cosine_similarity|losses\.dice": ("rows of outputs", {"axis"}),
}
# A custom loss is a function here, not a subclass.
OTHER_ORDER = {"losses.Loss"}
# Defaults that are written differently and mean the same.
SAME = {"label_smoothing": ("0", "0.0"), "alpha_initializer": ("'Zeros'", "'zeros'")}

OWNERS = {"Sequential": fastnn.Sequential, "Layer": fastnn.layers.Layer}


def owner_of(path):
    return OWNERS[path] if path in OWNERS else importlib.import_module(f"fastnn.{path}")


def parameters(thing):
    """Parameters by name; ``**options`` of a class stands for the parameters of its bases."""
    found = {}
    classes = thing.__mro__[:-1] if inspect.isclass(thing) else (thing,)
    for each in classes:
        here = inspect.signature(each).parameters
        for name, parameter in here.items():
            found.setdefault(name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in here.values()):
            break
    if hasattr(thing, "with_parameters"):
        general = thing.with_parameters(negative_slope=0.1) if thing.name == "relu" else thing
        found.update(dict.fromkeys(general.parameters))
    if type(thing).__name__ == "LossFunction":
        described = type(fastnn.losses.get(thing))
        found.update({name: inspect.signature(described).parameters[name] for name in described.option_names()})
    return found


@pytest.mark.parametrize("path", NAMES)
def test_every_name_is_here_or_left_out_for_a_reason(path):
    owner = owner_of(path)
    missing = {name for name in NAMES[path] if not hasattr(owner, name)}
    allowed = re.compile("|".join(LEFT_OUT.get(path, {"": "(?!)"}).values()))
    assert not {name for name in missing if not allowed.fullmatch(name)}
    for reason, names in LEFT_OUT.get(path, {}).items():
        matched = [name for name in NAMES[path] if re.fullmatch(names, name)]
        assert matched, (reason, "no longer leaves anything out")


@pytest.mark.parametrize("path", NAMES)
def test_arguments_and_defaults_are_those_of_keras(path):
    owner, checked = owner_of(path), 0
    for name, keras_arguments in NAMES[path].items():
        thing = getattr(owner, name, None)
        if thing is None or keras_arguments is None or not callable(thing):
            continue
        left_out = {
            argument
            for pattern, (_, arguments) in LEFT_OUT_ARGUMENTS.items()
            if re.fullmatch(pattern, f"{path}.{name}")
            for argument in arguments
        }
        mine = parameters(thing)
        missing = [argument for argument, _ in keras_arguments if argument not in mine and argument not in left_out]
        assert not missing, f"{path}.{name} lacks {missing}"
        positional = [
            argument
            for argument, parameter in mine.items()
            if parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.POSITIONAL_ONLY)
        ]
        expected = [argument for argument, _ in keras_arguments if argument in positional]
        if f"{path}.{name}" not in OTHER_ORDER:
            assert [argument for argument in positional if argument in expected] == expected, f"{path}.{name}"
        for argument, default in keras_arguments:
            parameter = mine.get(argument)
            if argument in left_out or parameter is None or argument == "name":
                continue
            given = None if parameter.default is parameter.empty else repr(parameter.default)
            same = given == default or (given, default) == SAME.get(argument, ())[::-1]
            numbers = {"True": 1.0, "False": 0.0, "None": None}
            assert same or numbers.get(given, given) == numbers.get(default, default), (
                f"{path}.{name}: {argument}={given}, Keras {default}"
            )
        checked += 1
    assert checked


def test_the_documentation_lists_what_is_missing():
    page = (Path(__file__).parent.parent / "docs" / "coming_from_keras.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]* \| ([^|]*) \|$", page.split("## What is missing")[1], re.MULTILINE)
    listed = {name for row in rows for names in re.findall("`([^`]*)`", row) for name in names.split()}
    in_words = {"images, sound and sequences", "text and categories"}
    for path in (
        "layers",
        "activations",
        "losses",
        "optimizers",
        "callbacks",
        "constraints",
        "initializers",
        "regularizers",
    ):
        owner = owner_of(path)
        left_out = "|".join(names for reason, names in LEFT_OUT[path].items() if reason not in in_words)
        missing = {name for name in NAMES[path] if not hasattr(owner, name) and re.fullmatch(left_out, name)}
        functions = {name for name in missing if name.islower() and path != "activations"}
        assert not (missing - functions) - listed, path
    # Nothing that exists is listed as missing.
    assert {name for name in listed for path in NAMES if hasattr(owner_of(path), name)} == {"Residual", "Sequential"}
