"""Names that users look for and fastnn does not have: each is answered with the way round it or the nearest name."""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn._arguments import nearest

_WHOLE = (
    "models are saved whole with model.save and fastnn.load_model; get_config() and from_config() describe one object"
)
_DENSE = "fastnn has dense networks only: use Keras for this layer, or flatten the data first"
_NOT_HERE = "fastnn is for dense networks on the CPU: use Keras for it"
_FUNCTIONAL = "call layers on fastnn.Input(...) and make fastnn.Model(inputs=..., outputs=...)"
_PREPARED = (
    "use StringLookup, IntegerLookup, Discretization or Hashing of fastnn.layers, or fastnn.MLPClassifier and "
    "MLPRegressor, which take data frames with text"
)
_ARRAYS = "data are NumPy arrays: prepare them with NumPy, pandas or scikit-learn"
_CUSTOM = "pass custom_objects to fastnn.load_model"
_ONE_TYPE = "choose the type with Sequential([...], dtype='float64')"
_PICTURES = "a model draws itself in a notebook and prints model.summary(); fastnn.plotting has more pictures"
_GRAPHS = (
    "the compiled core computes whole models: make fastnn.Model(inputs=..., outputs=...) of layers that are called on "
    "fastnn.Input(...); model(x), model.gradients and model.input_gradients take arrays"
)
_NEAR_OPTIMIZERS = "use Adam, AdamW, Nadam, Lion or another of fastnn.optimizers"
_WEIGHTS = "use model.get_weights() and model.set_weights(), or model.weights"

_ABBREVIATIONS = {
    "(?i)mse": "it is mean_squared_error",
    "(?i)mae": "it is mean_absolute_error",
    "(?i)mape": "it is mean_absolute_percentage_error",
    "(?i)msle": "it is fastnn.losses.mean_squared_logarithmic_error",
    "(?i)bce": "it is fastnn.losses.binary_crossentropy",
    "(?i)kld": "it is fastnn.losses.kl_divergence",
}
# Where it is looked for -> regular expression of names -> what to do instead. "(?i)": in any case.
_INSTEAD: dict[str, dict[str, str]] = {
    "": {
        "(de)?serialize(_keras_object)?": _WHOLE,
    },
    "fastnn": {
        "config|set_floatx|floatx|DTypePolicy|dtype_policies|mixed_precision": (
            "fastnn has no global settings: give Sequential dtype and seed; fastnn.set_num_threads sets the threads"
        ),
        "Functional": f"it is fastnn.Model: {_FUNCTIONAL}",
        "Function|Operation|StatelessScope|SymbolicScope|GradientTape|function": _GRAPHS,
        "Quantizer|quantizers": "weights are float32 or float64",
        "applications|preprocessing|legacy": _NOT_HERE,
        "wrappers|scikit_learn": "fastnn.MLPClassifier and fastnn.MLPRegressor are scikit-learn estimators",
        "distribution|device|distribute": "fastnn computes on the CPU: fastnn.set_num_threads sets the threads",
        "random": "use numpy.random; fastnn.utils.set_random_seed seeds it, and fastnn",
        "version": "it is fastnn.__version__",
        "export|tree|visualization|distillation|remat|name_scope": _NOT_HERE,
        "tensorflow|keras": "import fastnn itself: from fastnn import Sequential, layers",
        "(?i)realmlp|tabm|tabular|tabnet.*|tabpfn.*|xgb.*|lgbm.*|catboost.*|autogluon": (
            "fastnn.TabularClassifier and fastnn.TabularRegressor have the recipes 'realmlp' and 'tabm'"
        ),
        "(?i)sources?|data_?loader|(tensor)?data_?sets?": "fastnn.data.source reads rows of files block by block",
        "train_test_split|cross_val.*|.*SearchCV|.*Scaler|make_pipeline|Pipeline|.*Encoder": (
            "scikit-learn has it; fastnn.MLPClassifier and MLPRegressor are scikit-learn estimators"
        ),
        "Variable": "the weights of layers are variables: layer.kernel, model.weights",
        "InputSpec": "fastnn.Input((n_features,)) states the input",
        "nn|optim|Tensor|tensor|no_grad": (
            "layers, losses and optimizers have Keras's names; the documentation has a page for PyTorch users"
        ),
    },
    "fastnn.backend": {
        "set_floatx": _ONE_TYPE,
        "set_epsilon|(set_)?image_data_format|backend|(set_)?learning_phase": "fastnn has no global settings",
        "function|gradients|get_session": _GRAPHS,
        "get_value|set_value": "use layer.kernel.numpy() and layer.kernel.assign(value)",
    },
    "fastnn.layers": {
        "HashedCrossing|TextVectorization": _PREPARED,
        "Lambda": (
            "the compiled core runs no Python: use + - * / and slices of symbolic tensors, merging layers, Activation "
            "or Rescaling, compose layers in a class that derives from Layer, or compute with NumPy before the model"
        ),
        "Permute|RepeatVector|Masking|TimeDistributed|Bidirectional|Cropping.*|ZeroPadding.*": (
            "the rows of a dense network are vectors: reshape the arrays with NumPy, or use Reshape and Flatten"
        ),
        "GaussianDropout|SpatialDropout.*": "use Dropout, AlphaDropout or GaussianNoise",
        "RMSNormalization|UnitNormalization|GroupNormalization|SpectralNormalization": (
            "use LayerNormalization, which has rms_scaling, or BatchNormalization"
        ),
        "ActivityRegularization": "use Dense(..., activity_regularizer=...)",
        "EinsumDense|Wrapper|Pipeline|FlaxLayer|JaxLayer|TFSMLayer|TorchModuleWrapper|InputSpec|deserialize": (
            "fastnn's layers are compiled: a class that derives from Layer may compose them in call(self, x)"
        ),
        "(?i)linear": "it is Dense",
        ".*([123]D|Pool(ing)?|Transpose|RNN|LSTM|GRU|Cells?|Attention)(Cell)?|Random.*|Convolution.*|.*Aug.*|Auto.*|Center.*"
        "|Cut.*|Mix.*|MelSpec.*|STFT.*|Resizing|Solarization|Equalization|ContrastLimited.*|MaxNum.*": _DENSE,
    },
    "fastnn.activations": {
        "celu|glu|hard_shrink|hard_tanh|log_sigmoid|soft_shrink|sparse_.*|sparsemax|squareplus|tanh_shrink|threshold": (
            "use one of relu, leaky_relu, elu, selu, gelu, silu, mish, softplus, softsign, tanh, sigmoid"
        ),
    },
    "fastnn.losses": {
        "(?i)ctc|circle|tversky|categorical_?generalized_?cross_?entropy": (
            "pass compile a function of (y_true, y_pred) that returns (loss, gradient with respect to y_pred)"
        ),
        "Reduction": "pass reduction by name, such as 'sum'",
        "BCELoss|BCEWithLogitsLoss": "it is BinaryCrossentropy; with logits BinaryCrossentropy(from_logits=True)",
        "CrossEntropyLoss|NLLLoss": "it is SparseCategoricalCrossentropy; with logits (from_logits=True)",
        "MSELoss": "it is MeanSquaredError",
        "L1Loss": "it is MeanAbsoluteError",
        **_ABBREVIATIONS,
    },
    "fastnn.metrics": {
        "get": "pass compile the name of the metric, or make an object of its class",
        "binary_accuracy|categorical_accuracy|sparse_(top_k_)?categorical_accuracy": "use accuracy_score, or the class",
        "concordance_correlation|pearson_correlation": "use the class",
        "(?i)acc": "it is accuracy_score",
        "(?i)rmse": "it is root_mean_squared_error",
        **_ABBREVIATIONS,
    },
    "fastnn.optimizers": {
        "Adafactor|Ftrl|Lamb|Muon|ScheduleFreeAdamW|OptimizerMap|MultiOptimizer": _NEAR_OPTIMIZERS,
        "(?i)lm": "it is LevenbergMarquardt; compile takes the name 'lm'",
        "(?i)lm_?bayes": "it is BayesianLevenbergMarquardt; compile takes the name 'lm_bayes'",
        "LossScaleOptimizer": "float32 and float64 need no loss scaling",
        "legacy|experimental": "use the optimizers themselves, such as fastnn.optimizers.Adam",
        "lr_scheduler": "use fastnn.optimizers.schedules",
    },
    "fastnn.datasets": {
        "load_(iris|digits|wine|breast_cancer|diabetes|linnerud|boston)|fetch_.*|make_.*|mnist|fashion_mnist|cifar.*|imdb"
        "|reuters|boston_housing|california_housing": (
            "fastnn downloads nothing: fetch other data with sklearn.datasets, keras.datasets or pandas"
        ),
    },
    "fastnn.callbacks": {
        "TensorBoard|WandbCallback|RemoteMonitor": (
            "CSVLogger writes the history to a file, LambdaCallback sends it anywhere, and fastnn.plotting draws it"
        ),
        "OrbaxCheckpoint": "use ModelCheckpoint or BackupAndRestore",
        "SwapEMAWeights": "give the optimizer use_ema=True; the average replaces the weights at the end of fit",
    },
    "fastnn.constraints": {
        "(?i)min_?max_?norm|radialconstraint": "use MaxNorm or UnitNorm, or assign the weights in on_train_batch_end",
    },
    "fastnn.initializers": {"(?i)stft.*": "pass an array or a function of (shape, dtype)"},
    "fastnn.regularizers": {"(?i)orthogonal_?regularizer": "use L1, L2 or L1L2"},
    "fastnn.utils": {
        "plot_model|model_to_dot": _PICTURES,
        ".*(get_custom_objects|custom_?object_?scope|register(ed)?_.*)|get_registered_.*|CustomObjectScope": _CUSTOM,
        "Progbar|.*interactive_logging.*": "verbose=1 shows fastnn's own progress line",
        "split_dataset": "use sklearn.model_selection.train_test_split, or validation_split of fit",
        "get_file|.*_from_directory|.*_img|img_.*|array_to_img|pad_sequences|timeseries_dataset_from_array": _ARRAYS,
        "FeatureSpace": _PREPARED,
        "(un)?pack_x_y_sample_weight|is_keras_tensor|standardize_dtype|get_source_inputs": _ARRAYS,
        "Config": "fastnn has no global settings",
    },
    "fastnn.models": {"Functional|Function": f"it is fastnn.Model: {_FUNCTIONAL}", "clone_and_.*": "use clone_model"},
    "model": {
        "predict_classes": "use model.predict(x).argmax(axis=1), or (model.predict(x) > 0.5)",
        "predict_proba": "model.predict(x) returns the probabilities of a softmax or sigmoid",
        "score": "use model.evaluate(x, y), or fastnn.MLPClassifier and MLPRegressor",
        "(fit|evaluate|predict)_generator": "fit, evaluate and predict take generators themselves",
        "add_(loss|metric)": "pass compile the loss and the metrics; layers take activity_regularizer",
        "add_(weight|variable)": "weights belong to layers: add a layer",
        "export|to_yaml": "model.save writes the model, to_json() its architecture, export_onnx() an ONNX file",
        "quantiz.*|get_quantization.*|dtype_policy|(compute|variable|input)_dtype": _ONE_TYPE,
        "stateless_.*|symbolic_call|rematerialized_call|input_spec|supports_masking|torch_params": _GRAPHS,
        "jit_compile|run_eagerly": "the core is compiled already",
        "state_dict": "use model.to_torch().state_dict(), model.export_safetensors(path), or model.get_weights()",
        "load_state_dict": "fastnn.load_torch makes a model of a state dict; or use model.set_weights()",
        "parameters|.*_own_variables|.*_state_tree|coefs_|intercepts_": _WEIGHTS,
        "forward": "call the model: model(x)",
        "backward|zero_grad|step": "use model.train_on_batch(x, y), or model.gradients(x, y)",
        "eval|train|to|cuda|cpu": "model(x), predict and evaluate leave dropout out by themselves; all runs on the CPU",
    },
    "layer": {
        "get_(input|output).*_at": "layer.nodes has the calls of the layer, each with inputs and outputs",
        "quantiz.*|dtype_policy|(compute|variable|input)_dtype": _ONE_TYPE,
        "stateless_.*|symbolic_call|rematerialized_call|input_spec|supports_masking|torch_params": _GRAPHS,
        "(?i)w|weight|coefs?_?": "the weights are layer.kernel and layer.bias",
    },
    "optimizer": {
        "lr": "its name is learning_rate",
        "variables|moments": "the compiled network holds the moments; model.save writes them",
        "param_groups": "set optimizer.learning_rate",
        "zero_grad|step": "fit and train_on_batch make the updates",
    },
}


_OTHERWISE = {
    "fastnn.backend": "functions of arrays are in fastnn.ops",
    "fastnn.data": "fastnn.data.source(path_or_list_or_array) reads rows of files or arrays block by block",
    "fastnn.datasets": "fastnn downloads nothing: fetch other data with sklearn.datasets, keras.datasets or pandas",
    "fastnn.distributed": "within fastnn.distributed.mpi() fit divides its steps between the processes of an MPI job",
    "fastnn.model_selection": "use sklearn.model_selection",
    "fastnn.tabular": "fastnn.TabularClassifier and fastnn.TabularRegressor have the recipes 'realmlp' and 'tabm'",
    "fastnn.ops": "it has the compiled kernels and the functions of keras.ops that NumPy has too",
}
"""What to do where no name is near."""


def advice(place: str, name: str, known: Iterable[str]) -> str:
    """Return what to do instead of using a name that is not there: ": ...", ". Did you mean ...?" or "".

    Parameters
    ----------
    place : a module's name, "model", "layer" or "optimizer".
    name : what was looked for.
    known : names that are there.
    """
    near = nearest(name, known)
    if near is not None and near.lower().replace("_", "") == name.lower().replace("_", ""):
        return f". Did you mean {near!r}?"
    for pattern, instead in (*_INSTEAD.get(place, {}).items(), *_INSTEAD[""].items()):
        if re.fullmatch(pattern, name):
            return f": {instead}"
    elsewhere = _public_place(name) if place.startswith("fastnn") else None
    if elsewhere is not None:
        return f": it is {elsewhere}"
    if near is not None:
        return f". Did you mean {near!r}?"
    return f": {_OTHERWISE[place]}" if place in _OTHERWISE else ""


def _public_place(name: str) -> str | None:
    """Return "fastnn.module.name" for a public name of another module that is loaded."""
    for module in sorted(sys.modules):
        if module.startswith("fastnn.") and "._" not in module and name in getattr(sys.modules[module], "__all__", ()):
            return f"{module}.{name}"
    return None


class Advised:
    """Base of classes whose missing attributes are answered with advice."""

    _place: ClassVar[str]
    """Where ``_INSTEAD`` has the advice."""
    _never_called: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            cls = type(self)
            if isinstance(getattr(cls, name, None), property):
                return object.__getattribute__(self, name)  # raises the error of the property again
            instead = ""
            if not name.startswith("_"):
                never = self._never_called.get(name)
                known = [each for each in dir(self) if not each.startswith("_")]
                instead = f": {never}" if never else advice(self._place, name, known)
            raise AttributeError(f"{cls.__name__} has no attribute {name!r}{instead}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in self._never_called or hasattr(type(self), name)]


def public_names(
    module: str, names: Iterable[str], late: Mapping[str, Iterable[str]] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a module, which tell what to use instead and list the public names.

    Parameters
    ----------
    module : name of the module.
    names : its public names.
    late : module -> public names that it defines. It is imported when one is first used: ``import fastnn`` stays quick.
    """
    places = {name: place for place, defined in (late or {}).items() for name in defined}

    def missing(name: str) -> Any:
        if name in places:
            return getattr(importlib.import_module(places[name]), name)
        refuse(module, name, names)

    return missing, lambda: sorted(names)


def refuse(module: str, name: str, names: Iterable[str]) -> None:
    """Raise AttributeError, or ImportError in a ``from`` import, for a name that a module does not have."""
    if name.startswith("__"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    message = f"module {module!r} has no attribute {name!r}{advice(module, name, names)}"
    # Python replaces the message of an AttributeError in "from module import name" by its own.
    if _imports_from(3):
        raise ImportError(message, name=name)
    raise AttributeError(message, name=name)


def _imports_from(depth: int) -> bool:
    """Return whether the caller's caller is at the import of a name from a module."""
    import dis

    frame = sys._getframe(depth)
    return frame.f_code.co_code[frame.f_lasti] == dis.opmap["IMPORT_FROM"]
