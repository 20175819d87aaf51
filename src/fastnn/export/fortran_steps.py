"""The statements of exported Fortran, one or more for each step, with the constants and functions that they need."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.export.c_steps import names_of
from fastnn.export.fortran_functions import activation_text
from fastnn.export.network import ARITHMETIC, READS_INPUTS, ExportedNetwork, Step, acts_on_rows, describe_activation

Array = NDArray[Any]

_STATEMENT, _PIECE = 1000, 32000
_DOUBLE = np.dtype(np.float64)
_SIGNS = {"add": "+", "average": "+", "subtract": "-", "multiply": "*", "divide": "/"}


def literal(value: Any, dtype: np.dtype[Any]) -> str:
    """Return the shortest literal that reads back as the same bits."""
    if dtype.kind in "iu":
        smallest = int(value) == -(1 << 63)
        return "(-9223372036854775807_int64 - 1_int64)" if smallest else f"{int(value)}_int64"
    if np.isinf(value):
        return "huge(1.0_real64)"
    text = str(np.float32(value)) if dtype == np.float32 else repr(float(value))
    return f"{text}_{'real32' if dtype == np.float32 else 'real64'}"


@dataclass
class Writer:
    """Collects the parts of the module: constants, names of functions, buffers, statements in order."""

    network: ExportedNetwork
    constants: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    activations: dict[str, str] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    _defined: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _applied: dict[str, str] = field(default_factory=dict)

    def write(self) -> None:
        """Write all steps, and assignments to the outputs."""
        network = self.network
        for i, step in enumerate(network.steps):
            self.buffers.append(f"    real(rk) :: b{i + 1}({step.n_out})")
            self.statements += [f"    ! {_plain(step.name)}: {step.kind}", *self._step(i, step)]
        for name, buffer in zip(names_of("y", len(network.outputs)), network.results, strict=True):
            self.statements.append(f"    {name} = {self._buffer(buffer)}")

    def _buffer(self, number: int) -> str:
        n = len(self.network.inputs)
        return names_of("x", n)[number] if number < n else f"b{number - n + 1}"

    def _function(self, name: str) -> str:
        self.functions.append(name)
        return name

    def _constant(self, name: str, values: Array) -> str:
        """Define a vector, or a matrix whose columns are the rows of ``values``; one that is there is used again."""
        key = (values.dtype, values.shape, values.tobytes())
        if key in self._defined:
            return self._defined[key]
        self._defined[key] = name
        kind = "integer(int64)" if values.dtype.kind in "iu" else f"real({values.dtype.name.replace('float', 'real')})"
        flat = values.ravel()
        parts = [flat[start : start + _STATEMENT] for start in range(0, flat.size, _STATEMENT)]
        names = [name] if len(parts) == 1 and values.ndim == 1 else [f"{name}_{j}" for j in range(1, len(parts) + 1)]
        for each, part in zip(names, parts, strict=True):
            texts = [literal(v, values.dtype) for v in part]
            lines = [", ".join(texts[start : start + 4]) for start in range(0, len(texts), 4)]
            self.constants.append(
                f"  {kind}, parameter :: {each}({part.size}) = [ &\n    " + ", &\n    ".join(lines) + "]"
            )
        if names != [name]:
            shape = ", ".join(str(n) for n in values.shape[::-1])
            joined = ", &\n    ".join(names)
            value = f"reshape([{joined}], [{shape}])" if values.ndim == 2 else f"[{joined}]"
            self.constants.append(f"  {kind}, parameter :: {name}({shape}) = {value}")
        return name

    def _step(self, i: int, step: Step) -> list[str]:
        """Return the statements that compute the output of a step."""
        x, y = self._buffer(step.inputs[0]), f"b{i + 1}"
        if step.kind == "dense":
            bias = self._constant(f"bias_{i}", step.arrays["bias"])
            return [f"    {y} = {bias}", *self._pieces(i, "accumulate", y, x, step.arrays["kernel"])]
        if step.kind == "embedding":
            nan = "ieee_value(1.0_rk, ieee_quiet_nan)"
            return [f"    {y} = {nan}", *self._pieces(i, "embed", y, x, step.arrays["kernel"])]
        if step.kind in READS_INPUTS:
            return self._of_inputs(i, step, x, y)
        if step.kind in ARITHMETIC:
            return self._arithmetic(step, y)
        if step.kind == "concatenate":
            joined = ", &\n      ".join(map(self._buffer, step.inputs))
            return [f"    {y} = [{joined}]"]
        if step.kind == "slice":
            columns = range(step.options["start"], step.options["stop"], step.options["step"])
            return [f"    {y} = {x}({columns[0] + 1}:{columns[-1] + 1}:{columns.step})"]
        if step.kind == "dot":
            other = self._buffer(step.inputs[1])
            called = f"{self._function('scalar_product')}({x}, {other}, {_logical(step.options['normalize'])})"
            return [f"    {y}(1) = {called}"]
        if step.kind in ("grouped_product", "member_product"):
            return self._groups(i, step, x, y)
        if step.kind == "hot":
            sizes = f"{step.options['size']}, {step.options['depth']}"
            switches = f"{_logical(step.options['count'])}, {_logical(step.options['strict'])}"
            return [f"    {y} = {self._function('hot')}({x}, {sizes}, {switches})"]
        return self._of_columns(i, step, x, y)

    def _groups(self, i: int, step: Step, x: str, y: str) -> list[str]:
        """Return the products of groups of columns, with a kernel for each or the same one."""
        kernel, bias, groups = step.arrays["kernel"], step.arrays["bias"], step.groups
        n_in, n_out, shared = step.n_in // groups, step.n_out // groups, step.kind == "member_product"
        name = self._constant(f"bias_{i}", bias)
        lines = [f"    {y} = reshape(spread({name}, 2, {groups}), [{step.n_out}])" if shared else f"    {y} = {name}"]
        for group in range(groups):
            columns = slice(group * n_out, (group + 1) * n_out)
            part = f"{y}({columns.start + 1}:{columns.stop})"
            own = kernel if shared else np.ascontiguousarray(kernel[:, columns])
            number = f"{i}" if shared else f"{i}_{group + 1}"
            lines += self._pieces(number, "accumulate", part, x, own, group * n_in)
        return lines

    def _pieces(self, i: Any, procedure: str, y: str, x: str, matrix: Array, at: int = 0) -> list[str]:
        """Return calls for the rows of a matrix and columns of x from ``at`` on, as many as a constant may have."""
        rows, lines = max(1, _PIECE // matrix.shape[1]), []
        self._function(procedure)
        for piece, first in enumerate(range(0, len(matrix), rows), 1):
            part = matrix[first : first + rows]
            name = self._constant(f"kernel_{i}_{piece}", part)
            taken = (
                f"{x}({at + first + 1}:{at + first + len(part)}), {name}"
                if procedure == "accumulate"
                else f"{x}, {name}, {first}"
            )
            lines.append(f"    call {procedure}({y}, {taken})")
        return lines

    def _of_inputs(self, i: int, step: Step, x: str, y: str) -> list[str]:
        """Return the statements of a step that reads columns of an input, which may have integers."""
        columns = self._constant(f"columns_{i}", np.array(step.options["columns"], np.int64) + 1)
        chosen = f"{x}({columns})"
        whole = step.inputs[0] < len(self.network.inputs) and self.network.inputs[step.inputs[0]].dtype.kind == "i"
        if step.kind == "convert":
            return [f"    {y} = real({chosen}, rk)"]
        if step.kind == "robust_scaling":
            given = [self._constant(f"{name}_{i}", step.arrays[name]) for name in ("centre", "scale")]
            bound = literal(step.options["bound"] or 0.0, _DOUBLE)
            function = self._function("robust_scaling")
            return [f"    {y} = {function}(real({chosen}, real64), &\n      {', '.join(given)}, {bound})"]
        if step.kind == "discretize":
            boundaries = self._constant(f"boundaries_{i}", step.arrays["boundaries"])
            return [f"    {y} = {self._function('discretize')}(real({chosen}, real64), {boundaries})"]
        keys = self._constant(f"keys_{i}", step.arrays["keys"])
        numbers = self._constant(f"numbers_{i}", step.arrays["numbers"].astype(self.network.dtype))
        rest = ", ".join(f"{step.options[name]}_int64" for name in ("unknown", "n_unknown"))
        values = f"int({chosen}, int64)" if whole else f"{self._function('whole')}({chosen})"
        lines = [f"    {y} = {self._function('look_up')}({values}, &\n      {keys}, {numbers}, {rest})"]
        if not whole:
            lines.append(f"    where (abs({chosen} - aint({chosen})) > 0) {y} = ieee_value(1.0_rk, ieee_quiet_nan)")
        return lines

    def _arithmetic(self, step: Step, y: str) -> list[str]:
        """Return the statements of a step that combines buffers in order."""
        n, widths = step.n_out, self.network.widths()
        operands = [
            self._buffer(buffer) if widths[buffer] == n else f"spread({self._buffer(buffer)}(1), 1, {n})"
            for buffer in step.inputs
        ]
        if "number" in step.options:
            value = literal(np.array(step.options["number"], self.network.dtype), self.network.dtype)
            operands.insert(0 if step.options["number_first"] else 1, f"spread({value}, 1, {n})")
        lines, first = [], operands[0]
        for operand in operands[1:]:
            if step.kind in _SIGNS:
                lines.append(f"    {y} = {first} {_SIGNS[step.kind]} {operand}")
            else:
                function = self._function("larger_of" if step.kind == "maximum" else "smaller_of")
                lines.append(f"    {y} = {function}({first}, {operand})")
            first = y
        if step.kind == "average" and lines:
            lines.append(f"    {y} = {y} / {len(operands)}")
        return lines or [f"    {y} = {first}"]

    def _of_columns(self, i: int, step: Step, x: str, y: str) -> list[str]:
        """Return the statements of a step that keeps the columns, or adds some."""
        if step.kind == "activation":
            return [f"    {y} = {self._activation(step)}({x})"]
        if step.kind == "two_classes":
            return [f"    {y} = [1 - {x}(1), {x}(1)]"]
        given = {
            name: self._constant(f"{name}_{i}", array + 1 if name == "indicated" else array)
            for name, array in step.arrays.items()
        }
        if step.kind in ("batch_normalization", "normalization"):
            scaled = f"{self._function('multiply_add')}({x} - {given['centre']}, {given['scale']}, {given['shift']})"
            if step.options.get("missing") is None:
                return [f"    {y} = {scaled}"]
            indicator = step.options["missing"] == "indicator"
            first = f"{y}(:{step.n_in})" if indicator else y
            lines = [f"    {first} = merge({given['shift']}, {scaled}, ieee_is_nan({x}))"]
            added = f"    {y}({step.n_in + 1}:) = merge(1.0_rk, 0.0_rk, ieee_is_nan({x}))"
            return [*lines, *([added] if indicator else [])]
        if step.kind in ("feature_scale", "mix", "cosine_features", "bounded_lines"):
            return self._tabular(step, x, y, given)
        if step.kind == "layer_normalization":
            epsilon = literal(step.options["epsilon"], _DOUBLE)
            constants = f"{given['scale']}, {given['shift']}, {epsilon}, {_logical(step.options['rms'])}"
            return [f"    {y} = {self._function('normalized')}({x}, {constants})"]
        if step.kind == "prelu":
            return [f"    {y} = merge({x}, {given['alpha']} * {x}, {x} > 0)"]
        if step.kind == "prepare":
            return _prepare(step, x, y, given)
        return [f"    {y} = real(real({x}, real64) * {given['scale']} + {given['centre']}, rk)"]

    def _tabular(self, step: Step, x: str, y: str, given: dict[str, str]) -> list[str]:
        """Return the statements of an elementwise step of a layer of networks for tables."""
        count, n = step.n_out // step.n_in, step.n_out
        if step.kind == "mix":
            activated = self._buffer(step.inputs[1])
            return [f"    {y} = {self._function('multiply_add')}({activated} - {x}, {given['mix']}, {x})"]
        axis = 2 if step.kind == "feature_scale" else 1  # all columns again and again, or each one several times
        repeated = x if count == 1 else f"reshape(spread({x}, {axis}, {count}), [{n}])"
        if step.kind == "cosine_features":
            numbers = f"{given['frequencies']}, {given['bias']}"
            return [f"    {y} = {self._function('cosines')}({repeated}, &\n      {numbers})"]
        constants = [given[name] for name in ("scale", "shift") if name in given] or [given["slope"], given["offset"]]
        lines = [f"    {y} = {self._function('multiply_add')}({repeated}, &\n      {', '.join(constants)})"]
        if step.kind == "bounded_lines":
            lines.append(f"    {y} = {self._function('larger_of')}({y}, {given['low']})")
            lines.append(f"    {y} = {self._function('smaller_of')}({y}, {given['high']})")
        return lines

    def _activation(self, step: Step) -> str:
        """Return the name of the function that applies an activation to a row, after defining it."""
        kind = step.options["activation"]
        if acts_on_rows(step.options):
            return self._function(kind)
        key = describe_activation(step.options)
        if key not in self._applied:
            name = f"{kind}_{len(self._applied)}" if step.options["parameters"] else kind
            values = [literal(value, _DOUBLE) for value in step.options["parameters"]]
            needs, self.activations[key] = activation_text(name, kind, values, self.network.dtype)
            self.functions += [*needs.split(), *(["fma"] if "fma(" in self.activations[key] else [])]
            self._applied[key] = f"apply_{name}"
        return self._applied[key]


def _logical(value: Any) -> str:
    return ".true." if value else ".false."


def _prepare(step: Step, x: str, y: str, given: dict[str, str]) -> list[str]:
    value = f"real({x}, real64)"
    if "fill" in given:
        value = f"merge({given['fill']}, {value}, ieee_is_nan({x}))"
    if "centre" in given:
        value = f"({value} - {given['centre']}) / {given['scale']}"
    lines = [f"    {y}(:{step.n_in}) = real({value}, rk)"]
    if "indicated" in given:
        lines.append(f"    {y}({step.n_in + 1}:) = merge(1.0_rk, 0.0_rk, ieee_is_nan({x}({given['indicated']})))")
    return lines


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() else " " for c in text)[:90]
