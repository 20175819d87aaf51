"""Axes to draw into, and the colours of all pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLOURS", "MARKERS", "column", "new_axes", "tidy"]

# Okabe and Ito (2008), "Color Universal Design", without yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        matplotlib is missing; the message says how to install it.
    """
    try:
        import matplotlib.pyplot
    except ImportError:
        raise ImportError("fastnn.plotting needs matplotlib: pip install matplotlib") from None
    return matplotlib.pyplot


def new_axes(ax: Any, size: tuple[float, float] = (5.0, 4.0), **subplot: Any) -> Any:
    """Return ``ax``, or the axes of a new figure of ``size`` inches."""
    if ax is not None:
        if not hasattr(ax, "plot"):
            raise TypeError(f"ax must be axes of matplotlib, such as those of plt.subplots(), got {ax!r}")
        return ax
    return pyplot().figure(figsize=size, layout="constrained").add_subplot(**subplot)


def tidy(ax: Any) -> None:
    """Remove the upper and right frame, and draw a light grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)


def column(values: Any, name: str) -> NDArray[np.float64]:
    """Return ``values``, (n,) or (n, 1), as numbers (n,).

    Raises
    ------
    ValueError
        Not one column of finite numbers.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be one column of at least one number, got shape {np.shape(values)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but entry {int(np.argmin(np.isfinite(array)))} is not")
    return array
