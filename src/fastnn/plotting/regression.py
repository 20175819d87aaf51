"""Pictures of regression: predicted against true values, and residuals."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.metrics as metrics
from fastnn._arguments import takes_keywords
from fastnn.plotting.canvas import COLOURS, column, new_axes, tidy

__all__ = ["predicted_against_true", "residuals"]


@takes_keywords
def predicted_against_true(y_true: Any, y_pred: Any, *, name: str = "value", unit: str = "", ax: Any = None) -> Any:
    """Draw predicted against true values with the line of perfect prediction, R² and the root mean squared error.

    Parameters
    ----------
    y_true, y_pred : (n,) or (n, 1).
    name, unit : name and unit of the quantity, for the axes.
    ax : axes to draw into.
    """
    truth, predicted = _pair(y_true, y_pred)
    suffix = f" ({unit})" if unit else ""
    low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    ax = new_axes(ax, (4.4, 4.2))
    ax.plot([low, high], [low, high], color="0.4", linestyle=":", label="perfect")
    error = metrics.root_mean_squared_error(truth, predicted)
    label = f"R² {metrics.r2_score(truth, predicted):.3f}, RMSE {error:.3g}{' ' + unit if unit else ''}"
    ax.scatter(truth, predicted, s=_size(len(truth)), color=COLOURS[0], alpha=0.6, linewidth=0, label=label)
    ax.set(xlabel=f"true {name}{suffix}", ylabel=f"predicted {name}{suffix}", aspect="equal")
    ax.legend(frameon=False, loc="upper left")
    tidy(ax)
    return ax


@takes_keywords
def residuals(
    y_true: Any,
    y_pred: Any,
    *,
    against: Any = None,
    against_name: str | None = None,
    name: str = "value",
    unit: str = "",
    ax: Any = None,
) -> Any:
    """Draw residuals, true minus predicted, against the prediction or another quantity, with their running median.

    Parameters
    ----------
    y_true, y_pred : (n,) or (n, 1).
    against : (n,) quantity on the horizontal axis; by default the prediction.
    against_name : name and unit of that quantity.
    name, unit : name and unit of the predicted quantity.
    ax : axes to draw into.
    """
    truth, predicted = _pair(y_true, y_pred)
    suffix = f" ({unit})" if unit else ""
    x = predicted if against is None else column(against, "against")
    if len(x) != len(truth):
        raise ValueError(f"against has {len(x)} entries, y_true {len(truth)}")
    difference = truth - predicted
    ax = new_axes(ax, (5.2, 3.8))
    ax.axhline(0.0, color="0.4", linestyle=":")
    ax.scatter(x, difference, s=_size(len(x)), color=COLOURS[0], alpha=0.6, linewidth=0, label="residuals")
    parts = _parts(x)
    centres, medians = [np.median(x[part]) for part in parts], [np.median(difference[part]) for part in parts]
    ax.plot(centres, medians, "o-", color=COLOURS[1], markersize=4, label="running median")
    ax.set(ylabel=f"true minus predicted {name}{suffix}")
    ax.set_xlabel(against_name or (f"predicted {name}{suffix}" if against is None else "quantity"))
    ax.legend(frameon=False)
    tidy(ax)
    return ax


def _pair(y_true: Any, y_pred: Any) -> Any:
    truth, predicted = column(y_true, "y_true"), column(y_pred, "y_pred")
    if len(truth) != len(predicted):
        raise ValueError(f"y_true has {len(truth)} rows, y_pred {len(predicted)}")
    return truth, predicted


def _parts(x: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Split rows (n,) by ascending ``x`` into at most 12 parts of at least 8 rows; equal values share a part."""
    order = np.argsort(x, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(x[order])) + 1, len(x))
    size = max(8, -(-len(x) // 12))
    parts, first = [], 0
    while first < len(x):
        last = int(ends[min(int(np.searchsorted(ends, first + size)), len(ends) - 1)])
        if len(x) - last < 8:
            last = len(x)
        parts.append(order[first:last])
        first = last
    return parts


def _size(n: int) -> float:
    """Return the area of a marker in points squared: smaller for many points."""
    return float(np.clip(4000 / n, 4.0, 24.0))
