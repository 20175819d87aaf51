"""Fortran 2008 source of a network: a module without dependencies, with the weights as parameters.

Design: a) products are chains of multiply-adds in ascending order of the input, as in fastnn. In float32 each is
computed in real64, where the product is exact, and rounded; in float64 the C library's ``fma``, which compilers link
anyway, computes it; b) constants are written in statements of at most 1,000 numbers, since a statement has at most 255
lines, and kernels in pieces of at most 32,000, since compilers limit the size of a constant.
"""

import os
import re
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.export.fortran_text import ACTIVATIONS, FORTRAN_NAMES, HELPERS, MULTIPLY_ADD
from fastnn.export.network import ExportedNetwork, Step
from fastnn.export.source_files import identifier, source_path, write_sources

Array = NDArray[Any]

_STATEMENT, _PIECE = 1000, 32000


def export_fortran(network: ExportedNetwork, path: str | os.PathLike[str], function: str) -> None:
    """Write the module; arguments and errors as in ``export_fortran`` of a model."""
    path, function = source_path(path, ".f90"), identifier("function", function, FORTRAN_NAMES)
    if len(function) > 50:
        raise ValueError(f"function must have at most 50 characters in Fortran, got {function!r}")
    write_sources({path: fortran_source(network, function, metadata.version("fastnn"))})


def fortran_source(network: ExportedNetwork, function: str, version: str) -> str:
    """Return the text of the module."""
    constants: list[str] = []
    body: list[str] = []
    for i, step in enumerate(network.steps):
        body += [f"    ! {_plain(step.name)}: {step.kind}", *_statements(i, step, constants)]
    text = "\n".join(body)
    n_in, n_out, steps = network.n_features, network.n_outputs, network.steps
    single = network.dtype == np.float32
    buffers = [f"    real(rk) :: b{i + 1}({step.n_out})" for i, step in enumerate(steps)]
    helpers = [helper for name, helper in HELPERS.items() if re.search(rf"\b{name}\(", text)]
    return "\n".join(
        [
            *_comment(network, function, version),
            f"module {function}_module",
            f"  use, intrinsic :: iso_fortran_env, only: {'real32, real64' if single else 'real64'}",
            *([] if single else ["  use, intrinsic :: iso_c_binding, only: c_double"]),
            *(["  use, intrinsic :: ieee_arithmetic, only: ieee_is_nan"] if "ieee_is_nan(" in text else []),
            "  implicit none",
            "  private",
            f"  public :: {function}, {function}_batch, {function}_inputs, {function}_outputs, {function}_real",
            f"  integer, parameter :: rk = {network.dtype.name.replace('float', 'real')}, {function}_real = rk",
            f"  integer, parameter :: {function}_inputs = {n_in}, {function}_outputs = {n_out}",
            *constants,
            *(MULTIPLY_ADD[network.dtype.name][0] if "accumulate(" in text or "multiply_add(" in text else []),
            "",
            "contains",
            "",
            f"  ! One row: x({n_in}) -> y({n_out}).",
            f"  pure subroutine {function}(x, y)",
            f"    real(rk), intent(in) :: x({n_in})",
            f"    real(rk), intent(out) :: y({n_out})",
            *buffers,
            text,
            f"    y = {_buffer(len(steps))}",
            "  end subroutine",
            "",
            f"  ! n rows, one in each column: x({n_in}, n) -> y({n_out}, n).",
            f"  pure subroutine {function}_batch(x, y)",
            "    real(rk), intent(in) :: x(:, :)",
            "    real(rk), intent(out) :: y(:, :)",
            "    integer :: i",
            "    do i = 1, size(x, 2)",
            f"      call {function}(x(:, i), y(:, i))",
            "    end do",
            "  end subroutine",
            "",
            *(each for name, each in MULTIPLY_ADD[network.dtype.name][1].items() if f"{name}(" in text),
            *helpers,
            "end module",
            "",
        ]
    )


def _plain(text: str) -> str:
    """Return text for a comment: one line, not too long for Fortran."""
    return "".join(c if c.isprintable() and c.isascii() else " " for c in text)[:90]


def _comment(network: ExportedNetwork, function: str, version: str) -> list[str]:
    def columns(names: Sequence[str] | None, n: int, variable: str) -> list[str]:
        if names is None or len(names) != n:
            return []
        return [f"!   {variable}({i}): {_plain(str(name))}" for i, name in enumerate(names, 1)]

    return [
        f"! {_plain(network.title)}, written by fastnn {version}.",
        "!",
        f"! Weights and constants: {network.n_weights}. One row: {network.operations} multiply-adds.",
        "! Units are those of the data that the network was trained on. All procedures are pure and re-entrant.",
        f"! use {function}_module, only: {function}, {function}_batch, {function}_real",
        *columns(network.feature_names, network.n_features, "x"),
        *columns(network.output_names, network.n_outputs, "y"),
    ]


def _buffer(number: int) -> str:
    return f"b{number}" if number else "x"


def _literal(value: Any, dtype: np.dtype[Any]) -> str:
    if dtype.kind in "iu":
        return str(int(value))
    if np.isinf(value):
        return "huge(1.0_real64)"
    text = str(np.float32(value)) if dtype == np.float32 else repr(float(value))
    return f"{text}_{'real32' if dtype == np.float32 else 'real64'}"


def _constant(name: str, values: Array, constants: list[str]) -> None:
    """Define a vector, or a matrix whose columns are the rows of ``values``."""
    kind = "integer" if values.dtype.kind in "iu" else f"real({values.dtype.name.replace('float', 'real')})"
    flat = values.ravel()
    parts = [flat[start : start + _STATEMENT] for start in range(0, flat.size, _STATEMENT)]
    names = [name] if len(parts) == 1 and values.ndim == 1 else [f"{name}_{j}" for j in range(1, len(parts) + 1)]
    for each, part in zip(names, parts, strict=True):
        texts = [_literal(v, values.dtype) for v in part]
        lines = [", ".join(texts[start : start + 4]) for start in range(0, len(texts), 4)]
        constants.append(f"  {kind}, parameter :: {each}({part.size}) = [ &\n    " + ", &\n    ".join(lines) + "]")
    if names == [name]:
        return
    shape = ", ".join(str(n) for n in values.shape[::-1])
    joined = ", &\n    ".join(names)
    value = f"reshape([{joined}], [{shape}])" if values.ndim == 2 else f"[{joined}]"
    constants.append(f"  {kind}, parameter :: {name}({shape}) = {value}")


def _statements(i: int, step: Step, constants: list[str]) -> list[str]:
    """Return the statements that compute buffer i + 1, and define the arrays of the step."""
    x, y = _buffer(step.inputs[0]), _buffer(i + 1)
    if step.kind == "dense":
        return _dense(i, step, x, y, constants)
    for name, array in step.arrays.items():
        _constant(f"{name}_{i}", array + 1 if name == "indicated" else array, constants)
    if step.kind == "activation":
        values = [_literal(value, np.dtype(np.float64)) for value in step.options["parameters"]]
        kind = step.options["activation"]
        if kind in ("softmax", "log_softmax"):
            return [f"    {y} = {kind}({x})"]
        return [f"    {y} = real({ACTIVATIONS[kind].format(*values, z=f'real({x}, real64)')}, rk)"]
    if step.kind == "add":
        return [f"    {y} = {x} + {_buffer(step.inputs[1])}"]
    scaled = f"multiply_add({x} - centre_{i}, scale_{i}, shift_{i})"
    if step.kind == "batch_normalization":
        return [f"    {y} = {scaled}"]
    if step.kind == "normalization":
        if not step.options["missing"]:
            return [f"    {y} = {scaled}"]
        first = f"{y}(:{step.n_in})" if step.options["indicator"] else y
        lines = [f"    {first} = merge(shift_{i}, {scaled}, ieee_is_nan({x}))"]
        if step.options["indicator"]:
            lines.append(f"    {y}({step.n_in + 1}:) = merge(1.0_rk, 0.0_rk, ieee_is_nan({x}))")
        return lines
    if step.kind == "layer_normalization":
        epsilon = _literal(step.options["epsilon"], np.dtype(np.float64))
        rms = ".true." if step.options["rms"] else ".false."
        return [f"    {y} = normalized({x}, scale_{i}, shift_{i}, {epsilon}, {rms})"]
    if step.kind == "prelu":
        return [f"    {y} = merge({x}, alpha_{i} * {x}, {x} > 0)"]
    if step.kind == "prepare":
        return _prepare(i, step, x, y)
    if step.kind == "rescale":
        return [f"    {y} = real(real({x}, real64) * scale_{i} + centre_{i}, rk)"]
    if step.kind == "two_classes":
        return [f"    {y} = [1 - {x}(1), {x}(1)]"]
    raise ValueError(f"a step of kind {step.kind!r} cannot be written in Fortran")


def _dense(i: int, step: Step, x: str, y: str, constants: list[str]) -> list[str]:
    _constant(f"bias_{i}", step.arrays["bias"], constants)
    rows = max(1, _PIECE // step.n_out)
    lines = [f"    {y} = bias_{i}"]
    for piece, first in enumerate(range(0, step.n_in, rows), 1):
        kernel = step.arrays["kernel"][first : first + rows]
        _constant(f"kernel_{i}_{piece}", kernel, constants)
        lines.append(f"    call accumulate({y}, {x}({first + 1}:{first + len(kernel)}), kernel_{i}_{piece})")
    return lines


def _prepare(i: int, step: Step, x: str, y: str) -> list[str]:
    first = f"{y}(:{step.n_in})"
    value = f"real({x}, real64)"
    if "fill" in step.arrays:
        value = f"merge(fill_{i}, {value}, ieee_is_nan({x}))"
    if "centre" in step.arrays:
        value = f"({value} - centre_{i}) / scale_{i}"
    lines = [f"    {first} = real({value}, rk)"]
    if "indicated" in step.arrays:
        lines.append(f"    {y}({step.n_in + 1}:) = merge(1.0_rk, 0.0_rk, ieee_is_nan({x}(indicated_{i})))")
    return lines
