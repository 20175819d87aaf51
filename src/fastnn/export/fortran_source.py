"""Fortran 2008 source of a network: a module without dependencies, with the weights as parameters.

Design: a) products are chains of multiply-adds in ascending order of the input, as in fastnn. In float32 each is
computed in real64, where the product is exact, and rounded; in float64 the C library's ``fma``, which compilers link
anyway, computes it; b) constants are written in statements of at most 1,000 numbers, since a statement has at most 255
lines, and kernels in pieces of at most 32,000, since compilers limit the size of a constant.
"""

import os
import re
import textwrap
from importlib import metadata

import numpy as np

from fastnn.export.c_steps import names_of
from fastnn.export.fortran_functions import functions_text, with_kinds
from fastnn.export.fortran_steps import Writer
from fastnn.export.network import End, ExportedNetwork
from fastnn.export.source_files import check_not_called, identifier, source_path, write_sources

_NAMES = frozenset("x y rk real32 real64 int32 int64 real size merge sum tanh fma hot embed whole".split())
"""Words that the module uses itself."""
_FMA = """
  interface
    pure function fma(a, b, c) bind(c, name="fma") result(value)
      import :: c_double
      real(c_double), intent(in), value :: a, b, c
      real(c_double) :: value
    end function
  end interface"""
_FUSED = {
    "float32": r"real(real(\1, real64) * real(\2, real64) + real(\3, real64), real32)",
    "float64": r"fma(\1, \2, \3)",
}
_STATIC = 65536
"""Bytes from which on gfortran makes a local array static, unless the procedure may call itself."""
_KINDS = ("real32", "real64", "int32", "int64")


def export_fortran(network: ExportedNetwork, path: str | os.PathLike[str], function: str) -> None:
    """Write the module; arguments and errors as in ``export_fortran`` of a model."""
    path, function = source_path(path, ".f90"), identifier("function", function, _NAMES)
    if len(function) > 50:
        raise ValueError(f"function must have at most 50 characters in Fortran, got {function!r}")
    write_sources({path: fortran_source(network, function, metadata.version("fastnn"))})


def fortran_source(network: ExportedNetwork, function: str, version: str) -> str:
    """Return the text of the module."""
    text = next((end for end in network.inputs if end.dtype.kind == "U"), None)
    if text is not None:
        raise ValueError(
            f"Fortran has no form for the input {text.name!r}, which has strings: give the network integers"
        )
    writer = Writer(network.in_formulas())
    writer.write()
    procedures = [*functions_text(dict.fromkeys(writer.functions), network.dtype), *writer.activations.values()]
    fused = re.sub(r"FUSED\[(.*) \| (.*) \| (.*)\]", _FUSED[network.dtype.name], "\n\n".join(procedures))
    body = textwrap.indent(with_kinds(fused, network.dtype), "  ")
    check_not_called("function", function, body)
    ends = [*zip(names_of("x", len(network.inputs)), network.inputs, strict=True)]
    outputs = [*zip(names_of("y", len(network.outputs)), network.outputs, strict=True)]
    sizes = {f"{function}_inputs{name[1:] and '_' + name[1:]}": end.n for name, end in ends}
    sizes |= {f"{function}_outputs{name[1:] and '_' + name[1:]}": end.n for name, end in outputs}
    declarations = [
        f"  integer, parameter :: rk = {network.dtype.name.replace('float', 'real')}, {function}_real = rk",
        *(f"  integer, parameter :: {name} = {n}" for name, n in sizes.items()),
        *writer.constants,
        *([_FMA] if network.dtype == np.float64 and "fma(" in body else []),
    ]
    public = [function, f"{function}_batch", *sizes, f"{function}_real"]
    entries = _entries(network, function, writer)
    used = "\n".join([*declarations, *entries, body])
    return "\n".join(
        [
            *_comment(network, function, version),
            f"module {function}_module",
            "  use, intrinsic :: iso_fortran_env, only: "
            + ", ".join(k for k in _KINDS if re.search(rf"(?<![a-z]){k}\b", used)),
            *(["  use, intrinsic :: iso_c_binding, only: c_double"] if _FMA in declarations else []),
            *_ieee(used),
            "  implicit none",
            "  private",
            "  public :: " + ", &\n    ".join(public),
            *declarations,
            "",
            "contains",
            "",
            *entries,
            "",
            body,
            "",
            "end module",
            "",
        ]
    )


def _ieee(text: str) -> list[str]:
    names = [name for name in ("ieee_is_nan", "ieee_value", "ieee_quiet_nan") if name in text]
    return [f"  use, intrinsic :: ieee_arithmetic, only: {', '.join(names)}"] if names else []


def _entries(network: ExportedNetwork, function: str, writer: Writer) -> list[str]:
    """Return the subroutines of one row and of many."""
    xs = [*zip(names_of("x", len(network.inputs)), network.inputs, strict=True)]
    ys = [*zip(names_of("y", len(network.outputs)), network.outputs, strict=True)]
    arguments = ", ".join(name for name, _ in [*xs, *ys])

    def kind(end: End) -> str:
        return "real(rk)" if end.dtype == network.dtype else f"integer({end.dtype.name})"

    largest = max(network.widths()) * network.dtype.itemsize
    prefix = "pure recursive" if largest >= _STATIC else "pure"  # else threads would share the array
    one = ", ".join(f"{name}({end.n})" for name, end in [*xs, *ys])
    many = ", ".join(f"{name}({end.n}, n)" for name, end in [*xs, *ys])
    return [
        f"  ! One row: {one}.",
        f"  {prefix} subroutine {function}({arguments})",
        *(f"    {kind(end)}, intent(in) :: {name}({end.n})" for name, end in xs),
        *(f"    real(rk), intent(out) :: {name}({end.n})" for name, end in ys),
        *writer.buffers,
        *writer.statements,
        "  end subroutine",
        "",
        f"  ! n rows, one in each column: {many}.",
        f"  pure subroutine {function}_batch({arguments})",
        *(f"    {kind(end)}, intent(in) :: {name}(:, :)" for name, end in xs),
        *(f"    real(rk), intent(out) :: {name}(:, :)" for name, _ in ys),
        "    integer :: i",
        f"    do i = 1, size({xs[0][0]}, 2)",
        f"      call {function}({', '.join(f'{name}(:, i)' for name, _ in [*xs, *ys])})",
        "    end do",
        "  end subroutine",
    ]


def _plain(text: str) -> str:
    """Return text for a comment: one line, not too long for Fortran."""
    return "".join(c if c.isprintable() and c.isascii() else " " for c in text)[:90]


def _comment(network: ExportedNetwork, function: str, version: str) -> list[str]:
    xs = [*zip(names_of("x", len(network.inputs)), network.inputs, strict=True)]
    ys = [*zip(names_of("y", len(network.outputs)), network.outputs, strict=True)]
    ends = [*xs, *ys]
    return [
        f"! {_plain(network.title)}, written by fastnn {version}.",
        "!",
        f"! Weights and constants: {network.n_weights}. One row: {network.operations} multiply-adds.",
        "! Units are those of the data that the network was trained on. All procedures are pure and re-entrant.",
        "! Compile without options that let the compiler change arithmetic, such as -ffast-math.",
        f"! use {function}_module, only: {function}, {function}_batch, {function}_real",
        *([] if len(ends) == 2 else [f"!   {name}: {_plain(end.name)}" for name, end in ends]),
        *(f"!   {name}({i}): {_plain(each)}" for name, end in ends for i, each in enumerate(end.described_columns, 1)),
    ]
