"""The calls of exported C, one for each step, with the constants and functions that they need."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.export.c_functions import ACTIVATIONS
from fastnn.export.c_products import packed_kernel
from fastnn.export.c_tabular import TABULAR
from fastnn.export.network import ARITHMETIC, READS_INPUTS, ExportedNetwork, Step, acts_on_rows, describe_activation

Array = NDArray[Any]

_DOUBLE = np.dtype(np.float64)
C_TYPES = {"float32": "real", "float64": "real", "int32": "int32_t", "int64": "int64_t"}
"""Types of inputs; "real" becomes float or double."""


def number(value: float, dtype: np.dtype[Any]) -> str:
    """Return the shortest decimal literal that reads back as the same bits."""
    if dtype == np.float32:
        return (
            f"{np.float32(value)!s}f"
            if "e" in str(np.float32(value)) or "." in str(np.float32(value))
            else f"{value}.0f"
        )
    return "HUGE_VAL" if value == np.inf else repr(float(value))


def _whole(value: int) -> str:
    """Return the literal of a 64-bit integer; the smallest one has none."""
    return (
        f"{value}" if abs(value) < 1 << 31 else f"{value}LL" if value > -(1 << 63) else "(-9223372036854775807LL - 1)"
    )


def array_text(name: str, values: Iterable[str], kind: str, size: int) -> str:
    """Return the definition of a constant array, ten values to a line."""
    texts = list(values)
    lines = [", ".join(texts[i : i + 10]) for i in range(0, len(texts), 10)]
    return f"static const {kind} {name}[{size}] = {{\n    " + ",\n    ".join(lines) + "};"


def names_of(letter: str, count: int) -> list[str]:
    """Return the names of inputs or outputs: "x" for one, else "x1", "x2", ..."""
    return [letter] if count == 1 else [f"{letter}{place}" for place in range(1, count + 1)]


@dataclass
class Writer:
    """Collects the parts of the source: constants, functions that are needed, calls in order."""

    network: ExportedNetwork
    constants: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    activations: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    places: dict[int, str] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)
    n_slots: int = 0
    _last_use: dict[int, int] = field(default_factory=dict)
    _defined: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def write(self) -> None:
        """Write all steps, and copies of the results to the outputs."""
        network, steps = self.network, self.network.steps
        n_inputs = len(network.inputs)
        self.places |= dict(enumerate(names_of("x", n_inputs)))
        for i, step in enumerate(steps):
            self._last_use |= dict.fromkeys(step.inputs, i)
        self._last_use |= dict.fromkeys(network.results, len(steps))
        for i, step in enumerate(steps):
            self.calls.append(f"/* {comment(step.name)}: {_describe(step)} */")
            self.places[n_inputs + i] = self._step(i, step)
            for buffer in set(step.inputs):
                dead = self._last_use[buffer] == i and buffer >= n_inputs
                if dead and self.places[buffer] != self.places[n_inputs + i]:
                    self.free.append(self.places[buffer])
        for name, end, buffer in zip(
            names_of("y", len(network.outputs)), network.outputs, network.results, strict=True
        ):
            self._call("copy", name, end.n, *self._operand(buffer), "rows", end.n)

    def _slot(self) -> str:
        if self.free:
            return self.free.pop()
        self.n_slots += 1
        return f"b{self.n_slots - 1}"

    def _operand(self, buffer: int) -> tuple[str, str]:
        """Return a buffer, and the number of elements between its rows."""
        given = buffer < len(self.network.inputs)
        return self.places[buffer], str(self.network.inputs[buffer].n) if given else "LD"

    def _call(self, function: str, *arguments: Any) -> None:
        self.functions.append(function)
        self.calls.append(f"{function}({', '.join(map(str, arguments))});")

    def _constant(self, i: int, name: str, values: Array) -> str:
        """Define an array of real, double or integers; one that is there already is used again."""
        key = (values.dtype, values.tobytes())
        if key in self._defined:
            return self._defined[key]
        dtype = values.dtype
        if name == "columns" or name == "indicated":
            kind, texts = "size_t", [str(int(each)) for each in values]
        elif dtype.kind in "iu":
            kind, texts = "int64_t", [_whole(int(each)) for each in values]
        else:
            kind = "real" if dtype == self.network.dtype else "double"
            texts = [number(each, dtype) for each in values.ravel()]
        self.constants.append(array_text(f"{name}_{i}", texts, kind, values.size))
        self._defined[key] = f"{name}_{i}"
        return f"{name}_{i}"

    def _step(self, i: int, step: Step) -> str:
        """Write a step; return where its output is."""
        if step.kind == "dense":
            target = self._slot()
            weights = self._constant(i, "weights", packed_kernel(step.arrays["kernel"], step.arrays["bias"]))
            self._call("product", target, *self._operand(step.inputs[0]), "rows", weights, step.n_in, step.n_out)
            return target
        if step.kind in READS_INPUTS:
            return self._of_inputs(i, step)
        if step.kind in ARITHMETIC:
            return self._arithmetic(i, step)
        if step.kind in ("concatenate", "slice", "dot", "embedding", "hot"):
            return self._apart(i, step)
        if step.kind in TABULAR:
            return self._tabular(i, step)
        return self._in_place(i, step)

    def _of_inputs(self, i: int, step: Step) -> str:
        """Write a step that reads columns of an input, which may have integers."""
        buffer, target = step.inputs[0], self._slot()
        given = buffer < len(self.network.inputs)
        kind = C_TYPES[self.network.inputs[buffer].dtype.name] if given else "real"
        columns = self._constant(i, "columns", np.array(step.options["columns"], np.uint64))
        start = (target, *self._operand(buffer), "rows", columns, step.n_out)
        rest: tuple[Any, ...] = ()
        if step.kind == "look_up":
            keys = self._constant(i, "keys", step.arrays["keys"])
            numbers = self._constant(i, "numbers", step.arrays["numbers"].astype(self.network.dtype))
            rest = (keys, numbers, len(step.arrays["keys"]), step.options["unknown"], step.options["n_unknown"])
        elif step.kind == "discretize":
            boundaries = step.arrays["boundaries"]
            rest = (self._constant(i, "boundaries", boundaries), len(boundaries))
        elif step.kind == "robust_scaling":
            bound = step.options["bound"]
            centre, scale = (self._constant(i, name, step.arrays[name]) for name in ("centre", "scale"))
            rest = (centre, scale, number(0.0 if bound is None else bound, _DOUBLE))
        self._call(f"{step.kind}_{kind}", *start, *rest)
        return target

    def _arithmetic(self, i: int, step: Step) -> str:
        """Write a step that combines buffers; its output takes the place of an operand that nothing reads later."""
        inputs, widths, n = step.inputs, self.network.widths(), step.n_out
        target = next(
            (
                self.places[buffer]
                for buffer in inputs[:2]
                if self._is_free(i, buffer) and widths[buffer] == n and inputs.count(buffer) == 1
            ),
            None,
        )
        target = self._slot() if target is None else target

        def combine(kind: str, first: Sequence[Any], second: Sequence[Any]) -> None:
            self._call(kind, target, *first, *second, "rows", n)

        operands = [(*self._operand(buffer), int(widths[buffer] == n)) for buffer in inputs]
        if "number" in step.options:
            value = self._constant(i, "number", np.array([step.options["number"]], self.network.dtype))
            operands.insert(0 if step.options["number_first"] else 1, (value, "0", 0))
        kind = "add" if step.kind == "average" else step.kind
        if len(operands) == 1:
            self._call("copy", target, "LD", *operands[0][:2], "rows", n)
        for j, operand in enumerate(operands[1:]):
            combine(kind, (target, "LD", 1) if j else operands[0], operand)
        if step.kind == "average" and len(operands) > 1:
            count = self._constant(i, "count", np.array([len(operands)], self.network.dtype))
            combine("divide", (target, "LD", 1), (count, 0, 0))
        return target

    def _apart(self, i: int, step: Step) -> str:
        """Write a step whose output is not in the place of an input."""
        target, options = self._slot(), step.options
        place, ld = self._operand(step.inputs[0])
        n = step.n_in
        if step.kind == "concatenate":
            first, widths = 0, self.network.widths()
            for buffer in step.inputs:
                self._call("copy", f"{target} + {first}", "LD", *self._operand(buffer), "rows", widths[buffer])
                first += widths[buffer]
        elif step.kind == "slice":
            self._call("take", target, place, ld, "rows", options["start"], options["step"], step.n_out)
        elif step.kind == "dot":
            other = self._operand(step.inputs[1])
            self._call("dot", target, place, ld, *other, "rows", n, int(options["normalize"]))
        elif step.kind == "embedding":
            table = step.arrays["kernel"]
            self._call("embed", target, place, ld, "rows", n, self._constant(i, "table", table), *table.shape)
        else:
            counts = (options["size"], options["depth"], int(options["count"]), int(options["strict"]))
            self._call("hot", target, place, ld, "rows", n, *counts)
        return target

    def _tabular(self, i: int, step: Step) -> str:
        """Write a step of a layer of networks for tables."""
        arrays, groups, n = step.arrays, step.groups, step.n_out
        if step.kind == "mix":
            first, second = step.inputs
            target = self._overwritable(i, second, n)
            self._call("mix", target, *self._operand(first), "rows", n, self._constant(i, "mix", arrays["mix"]))
            return target
        target = self._slot()
        start = (target, *self._operand(step.inputs[0]), "rows")
        if step.kind == "member_product":
            weights = self._constant(i, "weights", packed_kernel(arrays["kernel"], arrays["bias"]))
            self._call("members", *start, weights, step.n_in // groups, n // groups, groups)
        elif step.kind == "grouped_product":
            kernel = arrays["kernel"].reshape(step.n_in // groups, groups, -1).swapaxes(0, 1)
            weights, bias = self._constant(i, "kernel", kernel), self._constant(i, "bias", arrays["bias"])
            self._call("grouped", *start, weights, bias, step.n_in // groups, n // groups, groups)
        else:
            constants = [self._constant(i, name, values) for name, values in arrays.items()]
            self._call(step.kind, *start, step.n_in, n, *constants)
        return target

    def _in_place(self, i: int, step: Step) -> str:
        """Write a step that overwrites its input, or a copy of it."""
        target = self._overwritable(i, step.inputs[0], step.n_in)
        constants = {name: self._constant(i, name, values) for name, values in step.arrays.items()}
        start = (target, "rows", step.n_in)
        if step.kind == "activation":
            self.calls.append(f"{self._activation(step)}({', '.join(map(str, start))});")
        elif step.kind == "two_classes":
            self._call("two_classes", target, "rows")
        elif step.kind == "normalization" and step.options["missing"] is not None:
            indicator = int(step.options["missing"] == "indicator")
            self._call("scale_present", *start, *constants.values(), indicator)
        elif step.kind in ("batch_normalization", "normalization"):
            self._call("scale_features", *start, *constants.values())
        elif step.kind == "layer_normalization":
            epsilon = number(step.options["epsilon"], _DOUBLE)
            self._call("layer_norm", *start, *constants.values(), epsilon, int(step.options["rms"]))
        elif step.kind == "prepare":
            given = [constants.get(name, "NULL") for name in ("fill", "centre", "scale", "indicated")]
            self._call("prepare", *start, *given, step.arrays["indicated"].size if "indicated" in constants else 0)
        else:
            self._call(step.kind, *start, *constants.values())
        return target

    def _is_free(self, i: int, buffer: int) -> bool:
        """Whether step i may overwrite a buffer."""
        return buffer >= len(self.network.inputs) and self._last_use[buffer] == i

    def _overwritable(self, i: int, buffer: int, n: int) -> str:
        """Return the place of a buffer that a step may overwrite: its own, or that of a copy."""
        if self._is_free(i, buffer):
            return self.places[buffer]
        target = self._slot()
        self._call("copy", target, "LD", *self._operand(buffer), "rows", n)
        return target

    def _activation(self, step: Step) -> str:
        """Return the name of the function that applies an activation, after defining it."""
        kind, parameters = step.options["activation"], step.options["parameters"]
        if acts_on_rows(step.options):
            self.functions.append(kind)
            return str(kind)
        key = describe_activation(step.options)
        if key not in self.activations:
            needs, body = ACTIVATIONS[kind]
            name = f"{kind}_{len(self.activations)}" if parameters else kind
            self.functions += needs.split()
            literals = [number(value, _DOUBLE) for value in parameters]
            self.activations[key] = f"""static double {name}_of(double x) {{
    {body.format(*literals) if parameters else body}
}}

SEPARATE void apply_{name}(real *y, size_t rows, size_t n) {{
    size_t r, i;
    for (r = 0; r < rows; r++)
        for (i = 0; i < n; i++) y[r * LD + i] = (real){name}_of((double)y[r * LD + i]);
}}"""
        return "apply_" + self.activations[key].split("static double ")[1].split("_of(")[0]


def _describe(step: Step) -> str:
    if step.kind == "activation":
        return describe_activation(step.options)
    return f"{step.kind}, {step.n_in} -> {step.n_out}"


def comment(text: str) -> str:
    """Return text that cannot end a comment and has no line breaks."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??/", "? ?/").rstrip("\\")
