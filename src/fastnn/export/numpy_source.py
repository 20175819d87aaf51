"""Python source of a network that needs NumPy alone: ``predict(X)``."""

import base64
import os
import re
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.export.network import ARITHMETIC, PRODUCTS, READS_INPUTS, End, ExportedNetwork, Step
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
    "_robust": '''
def _robust(x, centre, scale, bound):
    z = (x - centre) * scale
    if bound is not None:
        z = np.clip(z, -1e150 * bound, 1e150 * bound)
        z = z / np.sqrt(1.0 + (z / bound) ** 2)
    return z
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
    "_whole": '''
def _whole(x):
    if not (x == np.floor(x)).all():
        raise ValueError("categories must be whole numbers")
    return x.astype(np.int64)
''',
    "_look_up": '''
def _look_up(x, keys, numbers, first, unknown):
    places = np.minimum(np.searchsorted(keys, x), len(keys) - 1)
    known = keys[places] == x
    if not unknown and not known.all():
        raise ValueError(f"unknown category: {x[~known][0]}")
    return np.where(known, numbers[places], first + (x % unknown if unknown > 1 else 0)).astype(np.float64)
''',
    "_hot": '''
def _hot(x, size, depth, count, strict):
    if strict and not ((x >= 0) & (x < depth) & (x == np.floor(x))).all():
        raise ValueError(f"categories must be whole numbers from 0 to {depth - 1}")
    hot = x.reshape(len(x), -1, size, 1) == np.arange(depth)
    return (hot.sum(axis=2) if count else hot.any(axis=2)).reshape(len(x), -1).astype(np.float64)
''',
    "_embed": '''
def _embed(x, table):
    if not ((x >= 0) & (x < len(table)) & (x == np.floor(x))).all():
        raise ValueError(f"numbers of rows must be whole numbers from 0 to {len(table) - 1}")
    return table[x.astype(np.int64)].reshape(len(x), -1)
''',
    "_cosine": '''
def _cosine(a, b):
    norms = [np.sqrt(np.maximum((x * x).sum(axis=1, keepdims=True), 1e-14)) for x in (a, b)]
    return (a * b).sum(axis=1, keepdims=True) / norms[0] / norms[1]
''',
}  # fmt: skip


def export_numpy(network: ExportedNetwork, path: str | os.PathLike[str]) -> None:
    """Write the module; arguments and errors as in ``export_numpy`` of a model."""
    path = source_path(path, ".py")
    write_sources({path: numpy_source(network, metadata.version("fastnn"))})


def numpy_source(network: ExportedNetwork, version: str) -> str:
    """Return the text of the module."""
    network = network.in_formulas()
    single, n_inputs = network.dtype == np.float32, len(network.inputs)
    lines = [line for i, end in enumerate(network.inputs) for line in _taken(i, end, n_inputs > 1)]
    if n_inputs > 1:
        lines.append("    if len({" + ", ".join(f"len(x{i})" for i in range(n_inputs)) + "}) > 1:")
        lines.append('        raise ValueError("all inputs must have the same number of rows")')
    names: dict[int, str] = {}
    arrays: dict[str, Array] = {}
    for i, step in enumerate(network.steps):
        given = {}
        for name, array in step.arrays.items():
            given[name] = names.setdefault(id(array), f"{name}_{i}")
            arrays[given[name]] = array
        value = _expression(step, given, single, network)
        exact = step.kind in (*PRODUCTS, *ARITHMETIC)
        rounded = f"_round({value})" if single and not exact else value
        lines += [f"    # {_plain(step.name)}", f"    x{n_inputs + i} = {rounded}"]
    results = [f"x{buffer}.astype(np.{network.dtype.name})" for buffer in network.results]
    lines.append(f"    return {results[0]}" if len(results) == 1 else f"    return [{', '.join(results)}]")
    text = "\n".join(lines)
    functions = [function.strip("\n") for name, function in _FUNCTIONS.items() if f"{name}(" in text]
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
            *([f"NAMES = {[end.name for end in network.inputs]!r}"] if n_inputs > 1 else []),
            "",
            "",
            *(line for function in functions for line in (function, "", "")),
            "def predict(X):",
            f'    """{_summary(network)}"""',
            *([_BY_NAME] if n_inputs > 1 else []),
            text,
            "",
        ]
    )


def _summary(network: ExportedNetwork) -> str:
    if len(network.inputs) == 1:
        given = f"X (n, {network.inputs[0].n})"
    else:
        given = f"X, a list of {len(network.inputs)} arrays or a dict by name"
    outputs = ", ".join(f"(n, {end.n})" for end in network.outputs)
    return f"Return the outputs {outputs} of {given}."


def _taken(i: int, end: End, several: bool) -> list[str]:
    """Return the lines that check an input."""
    x, name = (f"X[{i}]", f"X[{end.name!r}]") if several else ("X", "X")
    dtype = {"U": "str", "i": "np.int64"}.get(end.dtype.kind, f"np.{end.dtype.name}")
    lines = [f"    x{i} = np.asarray({x}, dtype={dtype})"]
    if len(end.row) != 1:
        lines.append(f"    x{i} = x{i}.reshape(len(x{i}), -1)")
    lines += [
        f"    if x{i}.ndim != 2 or x{i}.shape[1] != {end.n}:",
        f"        raise ValueError(f{f'{name} must have the shape (n, {end.n}), got ' + f'{{x{i}.shape}}'!r})",
    ]
    return [*lines, *([f"    x{i} = x{i}.astype(np.float64)"] if end.dtype.kind == "f" else [])]


_READ = '''def _array(text, dtype, *shape):
    """Return an array of little-endian numbers in base 64."""
    values = np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
    return values.astype(np.int64 if dtype == "<i8" else np.float64)'''

_BY_NAME = """    if isinstance(X, dict):
        if set(X) != set(NAMES):
            raise ValueError(f"X must have the entries {NAMES}, got {list(X)}")
        X = [X[name] for name in NAMES]
    if len(X) != len(NAMES):
        raise ValueError(f"X must have {len(NAMES)} arrays, got {len(X)}")"""


def _plain(text: str) -> str:
    """Return text without line breaks, quotes and backslashes, for comments and docstrings."""
    return "".join(c if c.isprintable() and c not in "\\\"'" else " " for c in text)


def _docstring(network: ExportedNetwork, version: str) -> list[str]:
    def columns(ends: tuple[End, ...], what: str) -> list[str]:
        several = len(ends) > 1
        found = [f"{what} {i}: {_plain(end.name)}" for i, end in enumerate(ends) if several]
        return found + [f"{what} {i}: {_plain(name)}" for end in ends for i, name in enumerate(end.described_columns)]

    described = [*columns(network.inputs, "Input"), *columns(network.outputs, "Output")]
    (given, *more), (result, *others) = network.inputs, network.outputs
    inputs = "a list of arrays or a dict by name" if more else f"(n, {given.n})"
    outputs = "a list of arrays" if others else f"(n, {result.n})"
    return [
        f'"""{_plain(network.title)}, written by fastnn {version}.',
        "",
        f"``predict(X)`` takes {inputs} and returns {outputs} in {network.dtype.name}.",
        "Units are those of the data that the network was trained on.",
        *(["", *described] if described else []),
        '"""',
    ]


def _literal(array: Array) -> str:
    if array.dtype.kind == "U":
        return f"np.array({array.tolist()!r})"
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode()
    shape = "".join(f", {n}" for n in array.shape)
    if len(text) <= 76:
        return f'_array("{text}", "{little.dtype.str}"{shape})'
    lines = "".join(f'    "{text[start : start + 100]}"\n' for start in range(0, len(text), 100))
    return f'_array(\n{lines}    , "{little.dtype.str}"{shape}\n)'


def _expression(step: Step, given: dict[str, str], single: bool, network: ExportedNetwork) -> str:
    """Return the output of a step: buffers are x0, x1, ..., and ``given`` has the names of its arrays."""
    x, options = f"x{step.inputs[0]}", step.options
    if step.kind in PRODUCTS:
        return _multiplied(step, x, given["kernel"], given["bias"], single)
    if step.kind == "activation":
        template = _ACTIVATIONS[options["activation"]]
        values = ["np.inf" if value == np.inf else repr(float(value)) for value in options["parameters"]]
        return re.sub(r"\bx\b", x, template.format(*values))
    if step.kind in ARITHMETIC:
        return _combined(step, single)
    if step.kind in READS_INPUTS:
        return _of_inputs(step, given, network)
    if step.kind == "concatenate":
        return f"np.hstack([{', '.join(f'x{buffer}' for buffer in step.inputs)}])"
    if step.kind == "slice":
        columns = range(options["start"], options["stop"], options["step"])
        return f"{x}[:, {columns.start}:{columns.stop if columns.stop >= 0 else ''}:{columns.step}]"
    if step.kind == "dot":
        other = f"x{step.inputs[1]}"
        return f"_cosine({x}, {other})" if options["normalize"] else f"({x} * {other}).sum(axis=1, keepdims=True)"
    if step.kind == "embedding":
        return f"_embed({x}, {given['kernel']})"
    if step.kind == "hot":
        return f"_hot({x}, {options['size']}, {options['depth']}, {options['count']}, {options['strict']})"
    if step.kind in ("batch_normalization", "normalization"):
        scaled = f"{'_round' if single else ''}({x} - {given['centre']}) * {given['scale']} + {given['shift']}"
        if options.get("missing") is None:
            return scaled
        filled = f"np.where(np.isnan({x}), {given['shift']}, {scaled})"
        return f"np.hstack([{filled}, np.isnan({x})])" if options["missing"] == "indicator" else filled
    if step.kind == "layer_normalization":
        return f"_normalize_rows({x}, {given['scale']}, {given['shift']}, {options['epsilon']!r}, {options['rms']})"
    if step.kind == "feature_scale":
        several = x if step.n_out == step.n_in else f"np.tile({x}, {step.n_out // step.n_in})"
        return f"{several} * {given['scale']} + {given['shift']}"
    if step.kind == "mix":
        difference = f"{'_round' if single else ''}(x{step.inputs[1]} - {x})"
        return f"{difference} * {given['mix']} + {x}"
    if step.kind in ("cosine_features", "bounded_lines"):
        repeated = f"np.repeat({x}, {step.n_out // step.n_in}, axis=1)"
        if step.kind == "cosine_features":
            return f"np.cos(2.0 * np.pi * ({repeated} * {given['frequencies']}) + {given['bias']})"
        return f"np.clip({repeated} * {given['slope']} + {given['offset']}, {given['low']}, {given['high']})"
    if step.kind == "prelu":
        return f"np.where({x} > 0.0, {x}, {given['alpha']} * {x})"
    if step.kind == "prepare":
        filled = f"np.where(np.isnan({x}), {given['fill']}, {x})" if "fill" in given else x
        scaled = f"({filled} - {given['centre']}) / {given['scale']}" if "centre" in given else filled
        return f"np.hstack([{scaled}, np.isnan({x})[:, {given['indicated']}]])" if "indicated" in given else scaled
    if step.kind == "rescale":
        return f"{x} * {given['scale']} + {given['centre']}"
    return f"np.hstack([1.0 - {x}, {x}])"


def _multiplied(step: Step, x: str, kernel: str, bias: str, single: bool) -> str:
    """Return the product of all columns, or those of groups of columns side by side."""

    def product(*factors: str) -> str:
        return "_product({}, {}, {})".format(*factors) if single else "{} @ {} + {}".format(*factors)

    if step.kind == "dense":
        return product(x, kernel, bias)
    parts = f"np.split({x}, {step.groups}, axis=1)"
    if step.kind == "member_product":
        return f"np.hstack([{product('a', kernel, bias)} for a in {parts}])"
    kernels, biases = f"np.split({kernel}, {step.groups}, axis=1)", f"np.split({bias}, {step.groups})"
    return f"np.hstack([{product('a', 'w', 'b')} for a, w, b in zip({parts}, {kernels}, {biases}, strict=True)])"


_SIGNS = {"add": "+", "average": "+", "subtract": "-", "multiply": "*", "divide": "/"}


def _combined(step: Step, single: bool) -> str:
    """Return buffers combined in order, each time rounded to the type of the network."""
    operands = [f"x{buffer}" for buffer in step.inputs]
    if "number" in step.options:
        value = np.float32(step.options["number"]) if single else step.options["number"]
        operands.insert(0 if step.options["number_first"] else 1, repr(float(value)))

    def rounded(text: str) -> str:
        return f"_round({text})" if single else f"({text})"

    value = operands[0]
    for operand in operands[1:]:
        if step.kind in _SIGNS:
            value = rounded(f"{value} {_SIGNS[step.kind]} {operand}")
        else:
            value = f"np.{step.kind}({value}, {operand})"
    return rounded(f"{value} / {len(operands)}") if step.kind == "average" else value


def _of_inputs(step: Step, given: dict[str, str], network: ExportedNetwork) -> str:
    """Return the output of a step that reads columns of an input, which may have integers or strings."""
    buffer, columns = step.inputs[0], step.options["columns"]
    chosen = f"x{buffer}" if columns == list(range(step.n_in)) else f"x{buffer}[:, {columns}]"
    if step.kind == "convert":
        return f"{chosen}.astype(np.float64)"
    if step.kind == "robust_scaling":
        return f"_robust({chosen}, {given['centre']}, {given['scale']}, {step.options['bound']!r})"
    if step.kind == "discretize":
        return f"np.digitize({chosen}, {given['boundaries']}).astype(np.float64)"
    if buffer >= len(network.inputs) or network.inputs[buffer].dtype.kind == "f":
        chosen = f"_whole({chosen})"
    numbers = f"{given['keys']}, {given['numbers']}, {step.options['unknown']}, {step.options['n_unknown']}"
    return f"_look_up({chosen}, {numbers})"
