"""C99 source of a network: the same bits as fastnn's predictions, with no library but ``fma`` and ``sqrt`` of libm.

Design: a) rows of outputs lie LD elements apart; all steps but products work in place; b) kernels lie in panels of 64
bytes of outputs, input by input, the bias first, so that the innermost loops of the products are vectors; c) a tile of
a product keeps its sums in registers: six rows of one panel, or one row of up to four panels.
"""

import os
from importlib import metadata
from typing import Any

import numpy as np

from fastnn.export.c_functions import functions_text, with_types
from fastnn.export.c_products import panel_widths, products_text
from fastnn.export.c_steps import C_TYPES, Writer, array_text, comment, names_of, number
from fastnn.export.network import End, ExportedNetwork, Step
from fastnn.export.source_files import check_not_called, identifier, source_path, write_sources

_BLOCK_BYTES = 1 << 15
"""Scratch of ``net_batch`` if the widest layer allows it: it stays in the first-level cache."""


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
    text = next((end for end in network.inputs if end.dtype.kind == "U"), None)
    if text is not None:
        raise ValueError(f"C has no form for the input {text.name!r}, which has strings: give the network integers")
    writer = Writer(network.in_formulas())
    writer.write()
    dtype = network.dtype
    panel = 64 // dtype.itemsize
    widest = max((_written(step, dtype) for step in network.steps), default=1) if writer.n_slots else 1
    ld = -(-widest // panel) * panel
    slots = max(writer.n_slots, 1)
    block = max(6, min(96, _BLOCK_BYTES // (slots * ld * dtype.itemsize) // 6 * 6))
    products = [step.n_out // step.groups for step in network.steps if step.kind in ("dense", "member_product")]
    parts = [
        _title(network, function, header_name, version, slots * ld * dtype.itemsize, block),
        f'#include "{header_name}"\n\n#include <math.h>\n#include <stdint.h>\n#include <string.h>',
        _CONTRACTION,
        f"enum {{ LD = {ld}, BLOCK = {block} }}; /* elements between rows; rows that net_batch takes at a time */",
        *writer.constants,
    ]
    if products:
        parts.append(products_text(products, dtype))
    functions = functions_text((each for each in dict.fromkeys(writer.functions) if each != "product"), dtype)
    check_not_called("function", function, "\n".join([*parts[4:], functions, *writer.activations.values()]))
    parts += [
        functions,
        *writer.activations.values(),
        _forward(writer, slots, network),
        _entries(network, function, slots),
        _self_test(network, function),
    ]
    source = with_types("\n\n".join(parts), dtype) + "\n"
    return source.replace("net_batch", f"{function}_batch"), with_types(_header(network, function, version), dtype)


def _written(step: Step, dtype: np.dtype[Any]) -> int:
    """Return the elements of a row that a step writes: the product of the last member may fill a panel beyond them."""
    if step.kind != "member_product":
        return step.n_out
    units = step.n_out // step.groups
    return step.n_out - units + sum(panel_widths(units, dtype))


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


def _arguments(network: ExportedNetwork) -> str:
    """Return the declarations of inputs and outputs, inputs first."""
    inputs = zip(network.inputs, names_of("x", len(network.inputs)), strict=True)
    given = [f"const {C_TYPES[end.dtype.name]} *{name}" for end, name in inputs]
    return ", ".join([*given, *(f"real *{name}" for name in names_of("y", len(network.outputs)))])


def _moved(network: ExportedNetwork, row: str) -> str:
    """Return the inputs and outputs from a row on."""
    ends = [*zip(names_of("x", len(network.inputs)), network.inputs, strict=True)]
    ends += zip(names_of("y", len(network.outputs)), network.outputs, strict=True)
    return ", ".join(f"{name} + {row} * {end.n}" for name, end in ends)


def _forward(writer: Writer, slots: int, network: ExportedNetwork) -> str:
    lines = ["/* rows of outputs for rows of inputs; scratch: rows LD elements for each of b0, b1, ... */"]
    lines.append(f"static void forward({_arguments(network)}, size_t rows, real *scratch) {{")
    lines += [f"    real *b{i} = scratch + {i} * rows * LD;" if i else "    real *b0 = scratch;" for i in range(slots)]
    lines += [f"    {call}" for call in writer.calls]
    if not writer.n_slots:
        lines.append("    (void)b0;")
    return "\n".join([*lines, "}"])


def _entries(network: ExportedNetwork, function: str, slots: int) -> str:
    names = ", ".join([*names_of("x", len(network.inputs)), *names_of("y", len(network.outputs))])
    return f"""void {function}({_arguments(network)}) {{
    real scratch[{slots} * LD];
    forward({names}, 1, scratch);
}}

void {function}_batch({_arguments(network)}, size_t n) {{
    real scratch[{slots} * BLOCK * LD];
    size_t r;
    for (r = 0; r < n; r += BLOCK) {{
        const size_t rest = n - r, block = BLOCK;
        forward({_moved(network, "r")}, rest < block ? rest : block, scratch);
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


def _header(network: ExportedNetwork, function: str, version: str) -> str:
    inputs = [*zip(names_of("x", len(network.inputs)), network.inputs, strict=True)]
    outputs = [*zip(names_of("y", len(network.outputs)), network.outputs, strict=True)]
    ends = [*inputs, *outputs]
    single = len(ends) == 2
    one, many = (", ".join(f"{name}{rows}[{end.n}]" for name, end in ends) for rows in ("", "[n]"))
    if single:
        one, many = one.replace(", ", " -> "), many.replace(", ", " -> ")
    sizes = [f"{function}_inputs{name[1:] and '_' + name[1:]} = {end.n}" for name, end in inputs]
    sizes += [f"{function}_outputs{name[1:] and '_' + name[1:]} = {end.n}" for name, end in outputs]
    lines = [
        f"/* {comment(network.title)}, written by fastnn {version}.",
        " *",
        f" * {function}: one row, {one}.",
        f" * {function}_batch: n rows, {many}, rows one after the other; n may be 0.",
        " * No two arrays may overlap. Inputs and outputs have the units of the data that the network was trained on.",
        *([] if single else [f" *   {name}: {comment(end.name)}" for name, end in ends]),
        *(line for name, end in ends for line in _columns(end, name)),
        *_on_integers(network),
        " */",
        f"#ifndef {function.upper()}_H",
        f"#define {function.upper()}_H",
        "",
        "#include <stddef.h>",
        *(["#include <stdint.h>"] if any(end.dtype.kind == "i" for end in network.inputs) else []),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"enum {{ {', '.join(sizes)} }};",
        "",
        f"void {function}({_arguments(network)});",
        f"void {function}_batch({_arguments(network)}, size_t n);",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _columns(end: End, variable: str) -> list[str]:
    return [f" *   {variable}[{i}]: {comment(name)}" for i, name in enumerate(end.described_columns)]


def _on_integers(network: ExportedNetwork) -> list[str]:
    kinds = ("embedding", "look_up", "hot")
    return [" * A category that the network does not know gives NaN."] * any(s.kind in kinds for s in network.steps)


def _self_test(network: ExportedNetwork, function: str) -> str:
    X, Y = network.test_rows()
    n = len(X[0])
    word, bits = ("uint32_t", np.uint32) if network.dtype == np.float32 else ("uint64_t", np.uint64)
    inputs, outputs, calls = [], [], []
    names, results = names_of("x", len(X)), names_of("y", len(Y))
    for name, end, values in zip(names, network.inputs, X, strict=True):
        texts = [number(v, end.dtype) if end.dtype.kind == "f" else str(int(v)) for v in values.ravel()]
        inputs.append(array_text(f"test_{name}", texts, C_TYPES[end.dtype.name], values.size))
    for name, values in zip(results, Y, strict=True):
        words = [f"0x{v:x}u" for v in values.view(bits).ravel().tolist()]
        outputs.append(array_text(f"test_{name}_bits" if len(Y) > 1 else "test_bits", words, word, values.size))
        shape = f"{values.shape[1]}, test_{name}_bits" if len(Y) > 1 else f"{values.shape[1]}, test_bits"
        calls.append((name, shape, values.shape[1]))
    single = ", ".join(
        [*(f"test_{name} + r * {end.n}" for name, end in zip(names, network.inputs, strict=True)), *results]
    )
    whole = ", ".join([*(f"test_{name}" for name in names), *results])
    macros = dict.fromkeys((f"{function.upper()}_SELF_TEST", "NET_SELF_TEST"))
    lines = "\n".join([*inputs, *outputs])
    arrays = ", ".join(f"{name}[{n} * {width}]" for name, _, width in calls)
    by_row = "\n".join(f"        count += differing({name}, {width}, r, {shape});" for name, shape, width in calls)
    at_once = "\n".join(f"    count += differing({name}, {n} * {width}, 0, {shape});" for name, shape, width in calls)
    return f"""#if {" || ".join(f"defined({macro})" for macro in macros)}
#include <stdio.h>

/* {n} rows and the bits of fastnn's outputs for them */
{lines}

static int is_contracted(void) {{
    volatile double a = 1.0 + 1.0 / 1073741824.0, b = 1.0 - 1.0 / 1073741824.0, c = -1.0;
    const double p = a, q = b, r = c;
    return p * q + r != 0.0;
}}

/* how many of n outputs, from a row of `width` on, differ from all expected ones */
static int differing(const real *y, size_t n, size_t row, size_t width, const {word} *expected) {{
    int count = 0;
    size_t i;
    for (i = 0; i < n; i++) {{
        const size_t at = row * width + i;
        {word} bits;
        memcpy(&bits, &y[i], sizeof bits);
        if (bits != expected[at]) {{
            real value;
            memcpy(&value, &expected[at], sizeof value);
            printf("output %lu of row %lu: %.17g instead of %.17g\\n", (unsigned long)(at % width),
                   (unsigned long)(at / width), (double)y[i], (double)value);
            count++;
        }}
    }}
    return count;
}}

int main(void) {{
    real {arrays};
    int count = 0;
    size_t r;
    for (r = 0; r < {n}; r++) {{
        {function}({single});
{by_row}
    }}
    {function}_batch({whole}, {n});
{at_once}
    if (is_contracted()) printf("the compiler has contracted a * b + c: compile with -ffp-contract=off\\n");
    printf(count ? "{function}: %d outputs differ\\n" : "{function}: all bits equal fastnn's\\n", count);
    return count != 0;
}}
#endif"""
