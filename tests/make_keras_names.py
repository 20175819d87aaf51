"""Write `keras_names.json`: the public names of Keras and the arguments of their constructors and methods.

Needs `keras` and one of its backends: `KERAS_BACKEND=torch python tests/make_keras_names.py`.
"""

import inspect
import json
from pathlib import Path

import keras

MODULES = (
    "activations",
    "callbacks",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "optimizers.schedules",
    "regularizers",
    "utils",
)
# A backend adds methods to models and layers, which are not Keras's.
FOREIGN = {name for cls in keras.Sequential.__mro__ if not cls.__module__.startswith("keras") for name in dir(cls)}


def arguments(thing):
    """Return [[name, default as text or None], ...] of a callable, or None if it has no signature."""
    try:
        found = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        [p.name, None if p.default is p.empty else repr(p.default)]
        for p in found
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name != "self"
    ]


def public(owner):
    """Return the public names of a module or class."""
    return [n for n in dir(owner) if not n.startswith("_") and not inspect.ismodule(getattr(owner, n))]


names = {}
for path in MODULES:
    module = keras
    for part in path.split("."):
        module = getattr(module, part)
    names[path] = {name: arguments(getattr(module, name)) for name in public(module)}
for cls in (keras.Sequential, keras.layers.Layer):
    names[cls.__name__] = {
        name: arguments(getattr(cls, name)) if callable(getattr(cls, name)) else None
        for name in public(cls)
        if name not in FOREIGN
    }
document = {"keras": keras.__version__, "names": names}
Path(__file__).with_name("keras_names.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
