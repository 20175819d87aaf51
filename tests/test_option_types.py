"""Options of public classes: what is not a flag, a number or a name where one is wanted is refused by its name."""

import importlib
import inspect
import re

import numpy as np
import pytest

import fastnn
from fastnn._derivation import Derivable

_MODULES = (
    *("callbacks", "constraints", "initializers", "layers", "losses", "metrics", "model_selection"),
    *("optimizers", "optimizers.schedules", "regularizers"),
)
# Arguments without defaults, by name.
_NEEDED = {
    "activation": "relu",
    "axes": 1,
    "backup_dir": "backup",
    "bin_boundaries": [1.0],
    "boundaries": [2],
    "decay_rate": 0.9,
    "decay_steps": 10,
    "filename": "log.csv",
    "filepath": "model.safetensors",
    "first_decay_steps": 5,
    "fn": max,
    "groups": 2,
    "initial_learning_rate": 0.1,
    "input_dim": 5,
    "layers": [],
    "learning_rate": 0.1,
    "max_learning_rate": 0.1,
    "n_features": 3,
    "n_levels": 3,
    "num_bins": 4,
    "num_classes": 3,
    "num_tokens": 5,
    "output_dim": 2,
    "precision": 0.5,
    "rate": 0.1,
    "recall": 0.5,
    "scale": 1.0,
    "schedule": abs,
    "sensitivity": 0.5,
    "shape": (3,),
    "specificity": 0.5,
    "stddev": 0.1,
    "target_class_ids": [0],
    "target_shape": (3,),
    "thresholds": 0.5,
    "total_steps": 10,
    "units": 3,
    "values": [0.1, 0.2],
}
# Kind of the default -> values that are no such option.
_WRONG = {bool: ("no", 2), int: ("no", [1, 2]), float: ("no", [1, 2], float("nan")), str: (3, ["a"])}
# Options of more than one type.
_OTHERS = {
    ("Rescaling", "offset", "[1, 2]"),
    ("Constant", "value", "[1, 2]"),
    ("Constant", "value", "nan"),
    ("CategoricalFocalCrossentropy", "alpha", "[1, 2]"),
    ("BackupAndRestore", "save_freq", "3"),
    ("ModelCheckpoint", "save_freq", "3"),
}


def _arguments(cls):
    """Return the parameters of the constructor, and those by name of the constructors that it calls."""
    found = dict(inspect.signature(cls).parameters)
    if any(each.kind is each.VAR_KEYWORD for each in found.values()):
        for base in cls.__mro__[1:-1]:
            if "__init__" in vars(base):
                given = inspect.signature(base).parameters
                found.update({name: each for name, each in given.items() if each.kind is each.KEYWORD_ONLY})
    return found


def _cases():
    classes = {}
    for module in _MODULES:
        public = importlib.import_module(f"fastnn.{module}")
        for name in public.__all__:
            cls = getattr(public, name)
            if inspect.isclass(cls) and issubclass(cls, Derivable) and name == cls.__name__ != "Optimizer":
                classes[cls] = _arguments(cls)
    for cls, arguments in classes.items():
        needed = {
            name: _NEEDED.get(name)
            for name, each in arguments.items()
            if each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        }
        if cls.__name__ in ("CategoryEncoding", "Discretization"):
            needed["num_tokens" if cls.__name__ == "CategoryEncoding" else "num_bins"] = 4
        if None in needed.values():
            continue
        for name, each in arguments.items():
            for wrong in _WRONG.get(type(each.default), ()):
                if (cls.__name__, name, repr(wrong)) not in _OTHERS:
                    yield pytest.param(cls, needed, name, wrong, id=f"{cls.__name__}-{name}-{wrong!r}")


_CASES = list(_cases())


def test_there_are_many_options():
    assert len(_CASES) > 600


@pytest.mark.parametrize(("cls", "needed", "name", "wrong"), _CASES)
def test_a_value_of_another_type_is_refused_by_the_name_of_the_option(cls, needed, name, wrong):
    with pytest.raises((TypeError, ValueError)) as refused:
        cls(**{**needed, name: wrong})
    said = str(refused.value)
    assert (name in said or name.rpartition("_")[2] in said) and (repr(wrong) in said or "dtype" in said), said


def _model():
    model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("path", [None, 7, b"net.safetensors"])
def test_what_is_no_path_is_refused_by_name(path):
    model = _model()
    for name, call in (
        ("filepath", model.save),
        ("filepath", model.save_weights),
        ("filepath", model.load_weights),
        ("filepath", fastnn.load_model),
        ("filepath", fastnn.load_onnx),
        ("filepath", fastnn.callbacks.ModelCheckpoint),
        ("filename", fastnn.callbacks.CSVLogger),
        ("backup_dir", fastnn.callbacks.BackupAndRestore),
        ("path", model.export_safetensors),
    ):
        with pytest.raises(
            TypeError, match=re.escape(f"{name} must be a path, a string or a path object, got {path!r}")
        ):
            call(path)


def test_options_of_saving_loading_and_cloning(tmp_path):
    model, path = _model(), tmp_path / "net.safetensors"
    for save in (model.save, model.save_weights):
        with pytest.raises(ValueError, match="overwrite must be True or False, got 'no'"):
            save(path, overwrite="no")
        assert not path.exists()
    model.save(path)
    with pytest.raises(TypeError, match=r"custom_objects must be a dict from name to function or class, got \[1\]"):
        fastnn.load_model(path, custom_objects=[1])
    with pytest.raises(TypeError, match="clone_function must be a function of a layer that returns one, got 3"):
        fastnn.models.clone_model(model, clone_function=3)
    with pytest.raises(TypeError, match="model must be a fastnn"):
        fastnn.models.clone_model("net")


def test_options_of_the_doctor_and_the_landscape():
    model, X, y = _model(), np.eye(2), np.eye(2)[:, :1]
    with pytest.raises(ValueError, match="learning_rate must be a finite number of at least 0, or None, got -1"):
        fastnn.diagnose(model, X, y, learning_rate=-1)
    with pytest.raises(ValueError, match="trajectory is for directions='trajectory', got directions='filter'"):
        fastnn.loss_landscape(model, X, y, n=3, trajectory=[model.get_weights()])


def test_options_of_pictures():
    pytest.importorskip("matplotlib")
    with pytest.raises(TypeError, match=r"ax must be axes of matplotlib, .*, got 3"):
        fastnn.plotting.history({"loss": [1.0, 0.5]}, ax=3)
    with pytest.raises(TypeError, match=r"history\['loss'\] must be a list of values, got 3"):
        fastnn.plotting.history({"loss": 3})


def test_lists_of_models_and_fits():
    model, X, y = _model(), np.eye(2), np.eye(2)[:, :1]
    for weights in ({"kernel": y}, (each for each in model.get_weights())):
        with pytest.raises(TypeError, match=f"weights must be a list of arrays, .* got {type(weights).__name__}"):
            model.set_weights(weights)
    with pytest.raises(ValueError, match="validation_freq must have the number of one epoch at least"):
        model.fit(X, y, validation_split=0.5, validation_freq=[])
    stopper = fastnn.callbacks.EarlyStopping("loss")
    with pytest.raises(ValueError, match="callbacks must be different objects: one of them is listed twice"):
        model.fit(X, y, callbacks=[stopper, stopper])
    place = fastnn.Input((2,))
    for make in (fastnn.Sequential, lambda name: fastnn.Model(place, fastnn.layers.Dense(1)(place), name=name)):
        with pytest.raises(TypeError, match="name must be a string, got 3"):
            make(name=3)
