"""The matrix products of exported C: the layout of kernels and the tiles that the compiler turns into vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_TILE_ROWS = 6
"""Rows of a tile: with vectors of 32 bytes its 12 sums leave registers for two vectors of weights and an input."""
_PANELS_OF_ONE_ROW = (4, 2, 1)
"""Panels that one row goes through at a time: several chains hide the latency of a multiply-add."""


def panel_widths(n_out: int, dtype: np.dtype[Any]) -> list[int]:
    """Return the widths of a kernel's panels: 64 bytes each, the last one also 32 or 16 bytes."""
    full = 64 // dtype.itemsize
    rest = n_out % full
    last = [width for width in (full // 4, full // 2, full) if width >= rest > 0][:1]
    return [full] * (n_out // full) + last


def packed_kernel(kernel: Array, bias: Array) -> Array:
    """Return kernel (n_in, n_out) and bias in panels, each [n_in + 1][width] with the bias first, zeros as padding."""
    parts = []
    first = 0
    for width in panel_widths(kernel.shape[1], kernel.dtype):
        panel = np.zeros((len(kernel) + 1, width), kernel.dtype)
        count = min(width, kernel.shape[1] - first)
        panel[0, :count] = bias[first : first + count]
        panel[1:, :count] = kernel[:, first : first + count]
        parts.append(panel.ravel())
        first += width
    return np.concatenate(parts)


def products_text(outputs: Sequence[int], dtype: np.dtype[Any]) -> str:
    """Return the tiles that products of so many outputs need, and the function ``product``."""
    full = 64 // dtype.itemsize
    widths = [panel_widths(n_out, dtype) for n_out in outputs]
    lasts = sorted({all_widths[-1] for all_widths in widths} - {full})
    most = max(all_widths.count(full) for all_widths in widths)
    shapes = []
    if most:
        shapes = [(_TILE_ROWS, 1, full), *((1, n, full) for n in _PANELS_OF_ONE_ROW if n <= most)]
    shapes += [(rows, 1, width) for width in lasts for rows in (_TILE_ROWS, 1)]
    return "\n\n".join([*(_tile(*shape) for shape in shapes), _product(shapes, full)])


def _tile(rows: int, panels: int, width: int) -> str:
    """Return the function of one tile: its sums are local arrays, which compilers keep in registers."""
    return _tile_of_rows(rows, width) if rows > 1 else _tile_of_panels(panels, width)


def _tile_of_rows(rows: int, width: int) -> str:
    """Several rows of one panel: one loop over the outputs updates all sums, which GCC keeps in registers only so."""
    each = range(rows)
    lines = [
        f"/* {rows} rows, {width} outputs: bias + sum over ascending k of x[k] w[k], one chain of multiply-adds */",
        f"static void tile_{rows}_1_{width}(real *y, const real *x, size_t ldx, const real *w, size_t n_in) {{",
        f"    real {', '.join(f'c{r}[{width}]' for r in each)};",
        "    size_t k, i;",
        f"    for (i = 0; i < {width}; i++) {' = '.join(f'c{r}[i]' for r in each)} = w[i];",
        "    for (k = 0; k < n_in; k++) {",
        f"        const real {', '.join(f'x{r} = x[{r} * ldx + k]' for r in each)};",
        f"        w += {width};",
        f"        for (i = 0; i < {width}; i++) {{",
        *(f"            c{r}[i] = FMA_REAL(x{r}, w[i], c{r}[i]);" for r in each),
        "        }",
        "    }",
        f"    for (i = 0; i < {width}; i++) {{",
        *(f"        y[{r} * LD + i] = c{r}[i];" for r in each),
        "    }",
        "}",
    ]
    return "\n".join(lines)


def _tile_of_panels(panels: int, width: int) -> str:
    """One row of panels side by side: a loop for each, else Clang makes no vectors of them."""
    each = range(panels)
    stride = ", size_t stride" if panels > 1 else ""
    pointers = (f"*w{p} = w + {p} * stride" if p else "*w0 = w" for p in each)
    lines = [
        f"/* one row, {panels} panel{'s' * (panels > 1)} of {width} outputs */",
        f"static void tile_1_{panels}_{width}(real *y, const real *x, const real *w, size_t n_in{stride}) {{",
        f"    const real {', '.join(pointers)};",
        f"    real {', '.join(f'c{p}[{width}]' for p in each)};",
        "    size_t k, i;",
        *(f"    for (i = 0; i < {width}; i++) c{p}[i] = w{p}[i];" for p in each),
        "    for (k = 0; k < n_in; k++) {",
        "        const real x0 = x[k];",
        *(f"        w{p} += {width};" for p in each),
        *(f"        for (i = 0; i < {width}; i++) c{p}[i] = FMA_REAL(x0, w{p}[i], c{p}[i]);" for p in each),
        "    }",
        *(f"    for (i = 0; i < {width}; i++) y[{p * width} + i] = c{p}[i];" for p in each),
        "}",
    ]
    return "\n".join(lines)


def _product(shapes: Sequence[tuple[int, int, int]], full: int) -> str:
    """Return the function that covers rows and outputs with tiles."""
    lines = [
        "/* y[rows][n_out] = x[rows][n_in] W + b; y's rows are LD apart and are written up to whole panels */",
        "static void product(real *y, const real *x, size_t ldx, size_t rows, const real *w, size_t n_in,",
        "                    size_t n_out) {",
        *([f"    const size_t stride = (n_in + 1) * {full};"] if shapes[0][2] == full else []),
        "    size_t r, o;",
        "    for (r = 0; r < rows;) {",
        f"        const size_t step = rows - r < {_TILE_ROWS} ? 1 : {_TILE_ROWS};",
        "        const real *p = w, *xr = x + r * ldx;",
        "        real *yr = y + r * LD;",
        "        o = 0;",
    ]
    wide = [(rows, panels) for rows, panels, width in shapes if width == full]
    least = full // 2 + 1  # outputs left that need a full panel
    if wide:
        lines += [
            f"        if (step == {_TILE_ROWS})",
            f"            for (; n_out >= o + {least}; o += {full}, p += stride)",
            f"                tile_{_TILE_ROWS}_1_{full}(yr + o, xr, ldx, p, n_in);",
        ]
        for _, panels in (shape for shape in wide if shape[0] == 1):
            extra = ", stride" if panels > 1 else ""
            first = (panels - 1) * full + least
            lines += [
                f"        for (; n_out >= o + {first}; o += {panels * full}, p += {panels} * stride)",
                f"            tile_1_{panels}_{full}(yr + o, xr, p, n_in{extra});",
            ]
    for width in sorted({width for _, _, width in shapes if width < full}, reverse=True):
        condition = f"n_out >= o + {full // 4 + 1 if width == full // 2 else 1}"
        lines += [
            f"        if ({condition}) {{",
            f"            if (step == {_TILE_ROWS}) tile_{_TILE_ROWS}_1_{width}(yr + o, xr, ldx, p, n_in);",
            f"            else tile_1_1_{width}(yr + o, xr, p, n_in);",
            f"            o += {width};",
            "        }",
        ]
    lines += ["        r += step;", "    }", "}"]
    return "\n".join(lines)
