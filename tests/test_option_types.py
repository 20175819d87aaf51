"""Options of public classes: what is not a flag, a number or a name where one is wanted is refused by its name."""

import importlib
import inspect

import pytest

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
