"""C99 source of a network: the same bits as fastnn's predictions, with no library but ``fma`` and ``sqrt`` of libm.

Design: a) rows of outputs lie LD elements apart; all steps but products work in place; b) kernels lie in panels of 64
bytes of outputs, input by input, the bias first, so that the innermost loops of the products are vectors; c) a tile of
a product keeps its sums in registers: six rows of one panel, or one row of up to four panels.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.export.c_functions import ACTIVATIONS, functions_text, with_types
from fastnn.export.c_products import packed_kernel, products_text
from fastnn.export.network import ExportedNetwork, Step, acts_on_rows, describe_activation
from fastnn.export.source_files import identifier, source_path, write_sources

Array = NDArray[Any]

_BLOCK_BYTES = 1 << 15
"""Scratch of ``net_batch`` if the widest layer allows it: it stays in the first-level cache."""


def number(value: float, dtype: np.dtype[Any]) -> str:
    """Return the shortest decimal literal that reads back as the same bits."""
    if dtype == np.float32:
        return (
            f"{np.float32(value)!s}f"
            if "e" in str(np.float32(value)) or "." in str(np.float32(value))
            else f"{value}.0f"
        )
    return "HUGE_VAL" if value == np.inf else repr(float(value))


def array_text(name: str, values: Iterable[str], kind: str, size: int) -> str:
    """Return the definition of a constant array, ten values to a line."""
    texts = list(values)
    lines = [", ".join(texts[i : i + 10]) for i in range(0, len(texts), 10)]
    return f"static const {kind} {name}[{size}] = {{\n    " + ",\n    ".join(lines) + "};"


@dataclass
class _Writer:
    """Collects the parts of the source: constants, functions that are needed, calls in order."""

    network: ExportedNetwork
    constants: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    activations: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    places: dict[int, str] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)
    n_slots: int = 0

    def write(self) -> None:
        """Write all steps."""
        self.places[0] = "x"
        last_use = {0: 0}
        for i, step in enumerate(self.network.steps):
            last_use |= dict.fromkeys(step.inputs, i)
        for i, step in enumerate(self.network.steps):
            self._step(i, step, last_use)
            for buffer in set(step.inputs):
                place = self.places[buffer]
                if last_use[buffer] == i and place != "x" and place != self.places[i + 1]:
                    self.free.append(place)

    def _slot(self) -> str:
        if self.free:
            return self.free.pop()
        self.n_slots += 1
        return f"b{self.n_slots - 1}"

    def _needs(self, *names: str) -> None:
        self.functions += names

    def _constant(self, i: int, name: str, values: Array) -> str:
        """Define an array of real or double."""
        dtype = values.dtype
        kind = {"float32": "float", "float64": "double"}.get(dtype.name, "size_t")
        texts = [str(int(v)) for v in values] if kind == "size_t" else [number(v, dtype) for v in values.ravel()]
        self.constants.append(array_text(f"{name}_{i}", texts, kind, values.size))
        return f"{name}_{i}"

    def _step(self, i: int, step: Step, last_use: dict[int, int]) -> None:
        source = self.places[step.inputs[0]]
        ld = str(self.network.n_features) if source == "x" else "LD"
        self.calls.append(f"/* {step.name}: {_describe(step)} */")
        if step.kind == "dense":
            target = self._slot()
            weights = self._constant(i, "weights", packed_kernel(step.arrays["kernel"], step.arrays["bias"]))
            self.calls.append(f"product({target}, {source}, {ld}, rows, {weights}, {step.n_in}, {step.n_out});")
            self.places[i + 1] = target
            return
        inputs = step.inputs
        if step.kind == "add" and (source == "x" or last_use[inputs[0]] != i) and self.places[inputs[1]] != "x":
            inputs = inputs[::-1] if last_use[inputs[1]] == i else inputs  # a sum of two has the same bits either way
        target = self._in_place(i, inputs[0], last_use, step.n_in)
        self.places[i + 1] = target
        n = f"rows, {step.n_in}"
        constants = [self._constant(i, name, values) for name, values in step.arrays.items()]
        if step.kind == "activation":
            self.calls.append(f"{self._activation(step)}({target}, {n});")
        elif step.kind == "add":
            other = self.places[inputs[1]]
            ld = str(self.network.n_features) if other == "x" else "LD"
            self._call("add", f"{target}, {other}, {ld}, {n}")
        elif step.kind == "batch_normalization":
            self._call("scale_features", f"{target}, {n}, {', '.join(constants)}")
        elif step.kind == "normalization":
            given = f"{target}, {n}, {', '.join(constants)}"
            if step.options["missing"]:
                self._call("scale_present", f"{given}, {int(step.options['indicator'])}")
            else:
                self._call("scale_features", given)
        elif step.kind == "layer_normalization":
            rest = f"{number(step.options['epsilon'], np.dtype(np.float64))}, {int(step.options['rms'])}"
            self._call("layer_norm", f"{target}, {n}, {', '.join(constants)}, {rest}")
        elif step.kind == "two_classes":
            self._call("two_classes", f"{target}, rows")
        elif step.kind == "prepare":
            named = {name: f"{name}_{i}" for name in step.arrays}
            given = ", ".join(named.get(name, "NULL") for name in ("fill", "centre", "scale", "indicated"))
            n_indicated = step.arrays["indicated"].size if "indicated" in named else 0
            self._call("prepare", f"{target}, {n}, {given}, {n_indicated}")
        else:
            self._call(step.kind, f"{target}, {n}, {', '.join(constants)}")

    def _call(self, function: str, arguments: str) -> None:
        self._needs(function)
        self.calls.append(f"{function}({arguments});")

    def _in_place(self, i: int, buffer: int, last_use: dict[int, int], n: int) -> str:
        """Return the place of a buffer that a step may overwrite: its own, or that of a copy."""
        place = self.places[buffer]
        if place != "x" and last_use[buffer] == i:
            return place
        target = self._slot()
        ld = str(self.network.n_features) if place == "x" else "LD"
        self._call("copy", f"{target}, LD, {place}, {ld}, rows, {n}")
        return target

    def _activation(self, step: Step) -> str:
        """Return the name of the function that applies an activation, after defining it."""
        kind, parameters = step.options["activation"], step.options["parameters"]
        if acts_on_rows(step.options):
            self._needs(kind)
            return str(kind)
        key = describe_activation(step.options)
        if key not in self.activations:
            needs, body = ACTIVATIONS[kind]
            name = f"{kind}_{len(self.activations)}" if parameters else kind
            self._needs(*needs.split())
            literals = [number(value, np.dtype(np.float64)) for value in parameters]
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


def export_c(network: ExportedNetwork, path: str | os.PathLike[str], function: str) -> None:
    """Write the source file and, next to it, the header file; arguments and errors as in ``export_c`` of a model."""
    path, function = source_path(path, ".c"), identifier("function", function)
    header = path[:-2] + ".h"
    source, declarations = c_source(network, function, os.path.basename(header), metadata.version("fastnn"))
    write_sources({header: declarations, path: source})


def c_source(network: ExportedNetwork, function: str, header_name: str, version: str) -> tuple[str, str]:
    """Return the source file and the header file.

    Parameters
    ----------
    network : the network.
    function : name of the function of one row, and beginning of all other exported names.
    header_name : file name of the header.
    version : of fastnn, for the comment.
    """
    writer = _Writer(network)
    writer.write()
    dtype = network.dtype
    panel = 64 // dtype.itemsize
    widest = max(network.widths()[1:], default=1) if writer.n_slots else 1
    ld = -(-widest // panel) * panel
    slots = max(writer.n_slots, 1)
    block = max(6, min(96, _BLOCK_BYTES // (slots * ld * dtype.itemsize) // 6 * 6))
    result = writer.places[len(network.steps)]
    if result == "x":
        writer.functions.append("copy")
    products = [step for step in network.steps if step.kind == "dense"]
    parts = [
        _title(network, function, header_name, version, slots * ld * dtype.itemsize, block),
        f'#include "{header_name}"\n\n#include <math.h>\n#include <stdint.h>\n#include <string.h>',
        _CONTRACTION,
        f"enum {{ LD = {ld}, BLOCK = {block} }}; /* elements between rows; rows that net_batch takes at a time */",
        *writer.constants,
    ]
    if products:
        parts.append(products_text(products, dtype))
    functions = functions_text(dict.fromkeys([*writer.functions, "copy"]), dtype)
    parts += [functions, *writer.activations.values()]
    parts.append(_forward(writer, slots, result, network))
    parts.append(_entries(network, function, slots))
    parts.append(_self_test(network, function))
    source = with_types("\n\n".join(parts), dtype) + "\n"
    return source.replace("net_batch", f"{function}_batch"), with_types(_header(network, function, version), dtype)


_CONTRACTION = """/* The compiler must round after each operation that is written, as the language says. */
#if defined(__FAST_MATH__)
#error "compile without -ffast-math: it changes results"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
/* GCC at -O3 drops the rounding of a double to float where it sees the sizes, the store and the load. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8
#define SEPARATE static __attribute__((noipa))
#else
#define SEPARATE static
#endif"""


def _forward(writer: _Writer, slots: int, result: str, network: ExportedNetwork) -> str:
    lines = ["/* y[rows][outputs] of x[rows][inputs]; scratch: rows LD elements for each of b0, b1, ... */"]
    lines.append("static void forward(real *y, const real *x, size_t rows, real *scratch) {")
    lines += [f"    real *b{i} = scratch + {i} * rows * LD;" if i else "    real *b0 = scratch;" for i in range(slots)]
    lines += [f"    {call}" for call in writer.calls]
    if not writer.n_slots:
        lines.append("    (void)b0;")
    ld = str(network.n_features) if result == "x" else "LD"
    lines.append(f"    copy(y, {network.n_outputs}, {result}, {ld}, rows, {network.n_outputs});")
    return "\n".join([*lines, "}"])


def _entries(network: ExportedNetwork, function: str, slots: int) -> str:
    return f"""void {function}(const real *x, real *y) {{
    real scratch[{slots} * LD];
    forward(y, x, 1, scratch);
}}

void {function}_batch(const real *x, real *y, size_t n) {{
    real scratch[{slots} * BLOCK * LD];
    size_t r;
    for (r = 0; r < n; r += BLOCK) {{
        const size_t rest = n - r, block = BLOCK;
        forward(y + r * {network.n_outputs}, x + r * {network.n_features}, rest < block ? rest : block, scratch);
    }}
}}"""


def _title(network: ExportedNetwork, function: str, header: str, version: str, scratch: int, block: int) -> str:
    real = "float" if network.dtype == np.float32 else "double"
    size = network.n_weights * network.dtype.itemsize
    lines = [
        f"/* {comment(network.title)}, written by fastnn {version}. {header} says what the functions do.",
        " *",
        f" * Weights and constants: {network.n_weights}, {size} bytes. One row: {network.operations} multiply-adds.",
        f" * Stack: {scratch} bytes for one row, {scratch * block} for many. No malloc, no global state, re-entrant.",
        f" * The numbers are fastnn's, bit for bit, in {real}. Compile with -ffp-contract=off, without -ffast-math,",
        " * and link libm, of which only fma and sqrt are used: both are rounded correctly. It is fast where the",
        " * processor has fused multiply-add and the compiler may use it (-O3 -march=native), otherwise slow.",
        f" * Self-test: compile with -D{function.upper()}_SELF_TEST and run; it compares the bits of some rows. */",
    ]
    return "\n".join(lines)


def comment(text: str) -> str:
    """Return text that cannot end a comment and has no line breaks."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??/", "? ?/").rstrip("\\")


def _columns(names: Sequence[str] | None, n: int, variable: str) -> list[str]:
    if names is None or len(names) != n:
        return []
    return [f" *   {variable}[{i}]: {comment(str(name))}" for i, name in enumerate(names)]


def _header(network: ExportedNetwork, function: str, version: str) -> str:
    n_in, n_out = network.n_features, network.n_outputs
    lines = [
        f"/* {comment(network.title)}, written by fastnn {version}.",
        " *",
        f" * {function}: one row, x[{n_in}] -> y[{n_out}].",
        f" * {function}_batch: n rows, x[n][{n_in}] -> y[n][{n_out}], rows one after the other; n may be 0.",
        " * x and y must not overlap. Inputs and outputs have the units of the data that the network was trained on.",
        *_columns(network.feature_names, n_in, "x"),
        *_columns(network.output_names, n_out, "y"),
        " */",
        f"#ifndef {function.upper()}_H",
        f"#define {function.upper()}_H",
        "",
        "#include <stddef.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"enum {{ {function}_inputs = {n_in}, {function}_outputs = {n_out} }};",
        "",
        f"void {function}(const real *x, real *y);",
        f"void {function}_batch(const real *x, real *y, size_t n);",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _self_test(network: ExportedNetwork, function: str) -> str:
    X, Y = network.test_rows()
    word, bits = ("uint32_t", np.uint32) if network.dtype == np.float32 else ("uint64_t", np.uint64)
    inputs = array_text("test_x", [number(v, network.dtype) for v in X.ravel()], "real", X.size)
    outputs = array_text("test_bits", [f"0x{v:x}u" for v in Y.view(bits).ravel().tolist()], word, Y.size)
    macros = dict.fromkeys((f"{function.upper()}_SELF_TEST", "NET_SELF_TEST"))
    return f"""#if {" || ".join(f"defined({macro})" for macro in macros)}
#include <stdio.h>

/* {len(X)} rows and the bits of fastnn's outputs for them */
{inputs}
{outputs}

static int is_contracted(void) {{
    volatile double a = 1.0 + 1.0 / 1073741824.0, b = 1.0 - 1.0 / 1073741824.0, c = -1.0;
    const double p = a, q = b, r = c;
    return p * q + r != 0.0;
}}

static int differing(const real *y, size_t n, size_t first) {{
    int count = 0;
    size_t i;
    for (i = 0; i < n; i++) {{
        {word} bits;
        memcpy(&bits, &y[i], sizeof bits);
        if (bits != test_bits[first + i]) {{
            const size_t at = first + i;
            real expected;
            memcpy(&expected, &test_bits[at], sizeof expected);
            printf("output %lu of row %lu: %.17g instead of %.17g\\n", (unsigned long)(at % {network.n_outputs}),
                   (unsigned long)(at / {network.n_outputs}), (double)y[i], (double)expected);
            count++;
        }}
    }}
    return count;
}}

int main(void) {{
    real y[{len(X)} * {network.n_outputs}];
    int count = 0;
    size_t r;
    for (r = 0; r < {len(X)}; r++) {{
        {function}(test_x + r * {network.n_features}, y);
        count += differing(y, {network.n_outputs}, r * {network.n_outputs});
    }}
    {function}_batch(test_x, y, {len(X)});
    count += differing(y, {len(X)} * {network.n_outputs}, 0);
    if (is_contracted()) printf("the compiler has contracted a * b + c: compile with -ffp-contract=off\\n");
    printf(count ? "{function}: %d outputs differ\\n" : "{function}: all bits equal fastnn's\\n", count);
    return count != 0;
}}
#endif"""
