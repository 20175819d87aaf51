"""Python source of a network that needs NumPy alone: ``predict(X)``."""

import base64
import os
import re
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.export.network import ExportedNetwork, Step
from fastnn.export.source_files import source_path, write_sources

Array = NDArray[Any]

_ACTIVATIONS = {
    "relu": "np.maximum(x, 0.0)",
    "leaky_relu": "np.where(x > 0.0, x, {0} * x)",
    "tanh": "np.tanh(x)",
    "sigmoid": "_sigmoid(x)",
    "softplus": "np.logaddexp(x, 0.0)",
    "elu": "np.where(x >= 0.0, x, {0} * np.expm1(np.minimum(x, 0.0)))",
    "selu": "1.0507009873554805 * np.where(x >= 0.0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0.0)))",
    "gelu": "0.5 * x * _erfc(-x / np.sqrt(2.0))",
    "gelu_tanh": "x * _sigmoid(2.0 * np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))",
    "silu": "x * _sigmoid(x)",
    "exponential": "np.exp(x)",
    "relu6": "np.clip(x, 0.0, 6.0)",
    "general_relu": "np.where(x > {2}, np.clip(x, 0.0, {1}), {0} * (x - {2}))",
    "mish": "x * np.tanh(np.logaddexp(x, 0.0))",
    "softsign": "x / (1.0 + np.abs(x))",
    "hard_sigmoid": "np.clip(x + 3.0, 0.0, 6.0) / 6.0",
    "hard_silu": "x * np.clip(x + 3.0, 0.0, 6.0) / 6.0",
    "softmax": "_softmax(x)",
    "log_softmax": "_log_softmax(x)",
}
_FUNCTIONS = {
    "_round": '''
def _round(x):
    return x.astype(np.float32).astype(np.float64)
''',
    "_product": '''
def _product(x, kernel, bias):
    """Return x @ kernel + bias, rounded to float32 after each multiply-add as in fastnn; without it, faster."""
    y = np.tile(bias.astype(np.float32), (len(x), 1))
    for column, row in zip(x.T, kernel, strict=True):
        y = np.add(column[:, None] * row, y, dtype=np.float64).astype(np.float32)
    return y.astype(np.float64)
''',
    "_sigmoid": '''
def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0.0, e, 1.0) / (1.0 + e)
''',
    "_erfc": '''
_erfc = np.vectorize(math.erfc, otypes=[float])
''',
    "_softmax": '''
def _softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
''',
    "_log_softmax": '''
def _log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))
''',
    "_normalize_rows": '''
def _normalize_rows(x, scale, shift, epsilon, rms):
    inverse = 1.0 / np.sqrt(x.var(axis=1, keepdims=True) + epsilon)
    return (x if rms else x - x.mean(axis=1, keepdims=True)) * inverse * scale + shift
''',
}  # fmt: skip


def export_numpy(network: ExportedNetwork, path: str | os.PathLike[str]) -> None:
    """Write the module; arguments and errors as in ``export_numpy`` of a model."""
    path = source_path(path, ".py")
    write_sources({path: numpy_source(network, metadata.version("fastnn"))})


def numpy_source(network: ExportedNetwork, version: str) -> str:
    """Return the text of the module."""
    single = network.dtype == np.float32
    lines: list[str] = []
    arrays: dict[str, Array] = {}
    for i, step in enumerate(network.steps):
        for name, array in step.arrays.items():
            arrays[f"{name}_{i}"] = array
        value = _expression(i, step, single)
        rounded = f"_round({value})" if single and step.kind != "dense" else value
        lines += [f"    # {_plain(step.name)}", f"    x{i + 1} = {rounded}"]
    text = "\n".join(lines)
    functions = [_FUNCTIONS[name].strip("\n") for name in _FUNCTIONS if f"{name}(" in text]
    imports = ["import base64", *(["import math"] if "_erfc(" in text else []), "", "import numpy as np"]
    return "\n".join(
        [
            *_docstring(network, version),
            "",
            *imports,
            "",
            "",
            _READ,
            "",
            "",
            *(f"{name} = {_literal(array)}" for name, array in arrays.items()),
            "",
            "",
            *(line for function in functions for line in (function, "", "")),
            _PREDICT.format(n_in=network.n_features, dtype=network.dtype.name),
            *lines,
            f"    return x{len(network.steps)}.astype(np.{network.dtype.name})",
            "",
        ]
    )


_READ = '''def _array(text, dtype, *shape):
    """Return an array of little-endian numbers in base 64."""
    values = np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
    return values.astype(np.int64 if dtype == "<i8" else np.float64)'''

_PREDICT = '''def predict(X):
    """Return the outputs (n, n_outputs) of X (n, {n_in})."""
    X = np.asarray(X, dtype=np.{dtype})
    if X.ndim != 2 or X.shape[1] != {n_in}:
        raise ValueError(f"X must have the shape (n, {n_in}), got {{X.shape}}")
    x0 = X.astype(np.float64)'''


def _plain(text: str) -> str:
    """Return text without line breaks, quotes and backslashes, for comments and docstrings."""
    return "".join(c if c.isprintable() and c not in "\\\"'" else " " for c in text)


def _docstring(network: ExportedNetwork, version: str) -> list[str]:
    def columns(names: Sequence[str] | None, n: int, what: str) -> list[str]:
        if names is None or len(names) != n:
            return []
        return [f"{what} {i}: {_plain(str(name))}" for i, name in enumerate(names)]

    described = [
        *columns(network.feature_names, network.n_features, "Input"),
        *columns(network.output_names, network.n_outputs, "Output"),
    ]
    return [
        f'"""{_plain(network.title)}, written by fastnn {version}.',
        "",
        f"``predict(X)`` takes (n, {network.n_features}) and returns (n, {network.n_outputs}) in {network.dtype.name}.",
        "Units are those of the data that the network was trained on.",
        *(["", *described] if described else []),
        '"""',
    ]


def _literal(array: Array) -> str:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode()
    shape = "".join(f", {n}" for n in array.shape)
    if len(text) <= 76:
        return f'_array("{text}", "{little.dtype.str}"{shape})'
    lines = "".join(f'    "{text[start : start + 100]}"\n' for start in range(0, len(text), 100))
    return f'_array(\n{lines}    , "{little.dtype.str}"{shape}\n)'


def _expression(i: int, step: Step, single: bool) -> str:
    """Return the output of a step: buffers are x0, x1, ..., and arrays end in the step's number."""
    x = f"x{step.inputs[0]}"
    if step.kind == "dense":
        return f"_product({x}, kernel_{i}, bias_{i})" if single else f"{x} @ kernel_{i} + bias_{i}"
    if step.kind == "activation":
        template = _ACTIVATIONS[step.options["activation"]]
        values = ["np.inf" if value == np.inf else repr(float(value)) for value in step.options["parameters"]]
        return re.sub(r"\bx\b", x, template.format(*values))
    if step.kind == "add":
        return " + ".join(f"x{buffer}" for buffer in step.inputs)
    if step.kind in ("batch_normalization", "normalization"):
        scaled = f"{'_round' if single else ''}({x} - centre_{i}) * scale_{i} + shift_{i}"
        if not step.options.get("missing"):
            return scaled
        filled = f"np.where(np.isnan({x}), shift_{i}, {scaled})"
        return f"np.hstack([{filled}, np.isnan({x})])" if step.options["indicator"] else filled
    if step.kind == "layer_normalization":
        return f"_normalize_rows({x}, scale_{i}, shift_{i}, {step.options['epsilon']!r}, {step.options['rms']})"
    if step.kind == "prelu":
        return f"np.where({x} > 0.0, {x}, alpha_{i} * {x})"
    if step.kind == "prepare":
        filled = f"np.where(np.isnan({x}), fill_{i}, {x})" if "fill" in step.arrays else x
        scaled = f"({filled} - centre_{i}) / scale_{i}" if "centre" in step.arrays else filled
        return f"np.hstack([{scaled}, np.isnan({x})[:, indicated_{i}]])" if "indicated" in step.arrays else scaled
    if step.kind == "rescale":
        return f"{x} * scale_{i} + centre_{i}"
    if step.kind == "two_classes":
        return f"np.hstack([1.0 - {x}, {x}])"
    raise ValueError(f"a step of kind {step.kind!r} cannot be written for NumPy")
