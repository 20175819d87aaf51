"""Pictures of training: the history and the loss landscape."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import takes_keywords
from fastnn.plotting.canvas import COLOURS, new_axes, pyplot, tidy

__all__ = ["history", "loss_landscape"]

Array = NDArray[np.float64]


@takes_keywords
def history(history: Any, names: Sequence[str] | None = None, ax: Any = None) -> Any:
    """Draw losses and metrics against the epoch: solid in training, dashed in validation.

    Parameters
    ----------
    history : result of ``fit``, a fitted model, or a dict from name to a list of values.
    names : names to draw; by default "loss". Their validation values are drawn as well.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        A name that the history does not have.
    TypeError
        Not a history, such as a model that was not fitted, or an estimator.
    """
    values = _values_of(history)
    chosen = ["loss"] if names is None else [names] if isinstance(names, str) else list(names)
    missing = [name for name in chosen if name not in values]
    if missing:
        raise ValueError(f"the history has no {missing[0]!r}; it has {', '.join(values) or 'nothing'}")
    scalars = [name for name in chosen if not np.ndim(values[name])]
    if scalars:
        raise TypeError(f"history[{scalars[0]!r}] must be a list of values, got {values[scalars[0]]!r}")
    ax = new_axes(ax)
    positive = True
    for name, colour in zip(chosen, cycle(COLOURS), strict=False):
        for key, style in ((name, "-"), (f"val_{name}", "--")):
            if key in values:
                epochs = np.arange(1, len(values[key]) + 1)
                marker = "o" if len(epochs) <= 12 else ""
                ax.plot(epochs, values[key], style, marker=marker, color=colour, label=key)
                positive = positive and bool(np.all(np.asarray(values[key]) > 0.0))
    everything = np.concatenate([np.asarray(values[name], dtype=np.float64) for name in chosen])
    if positive and everything.max() > 20.0 * everything.min():
        ax.set_yscale("log")
    ax.set(xlabel="epoch", ylabel=chosen[0] if len(chosen) == 1 else "value")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)
    tidy(ax)
    return ax


def _values_of(history: Any) -> Mapping[str, Sequence[float]]:
    """Return the recorded values of the result of ``fit``, of a model, or of a dict."""
    record = getattr(history, "history", history)
    values = getattr(record, "history", record)
    if isinstance(values, Mapping):
        return values
    hint = ""
    if hasattr(history, "history"):
        hint = ", which was not fitted"
    elif hasattr(history, "get_params"):
        hint = ": for an estimator pass {'loss': estimator.loss_curve_}"
    raise TypeError(
        "history must be the result of fit, a fitted model, or a dict from name to a list of values, got "
        f"{type(history).__name__}{hint}"
    )


@takes_keywords
def loss_landscape(landscape: Any, ax: Any = None) -> Any:
    """Draw the result of ``fastnn.loss_landscape``.

    Parameters
    ----------
    landscape : a ``fastnn.landscape.LossLandscape``.
    ax : axes to draw into: flat axes for contours or the curve, axes with ``projection="3d"`` for the surface. None
        makes a new figure, which in two dimensions has both.

    Returns
    -------
    The axes; an array of two for contours and surface.
    """
    if not all(hasattr(landscape, name) for name in ("alpha", "beta", "loss")):
        raise TypeError(
            "landscape must be the result of fastnn.loss_landscape(model, x, y), got " + type(landscape).__name__
        )
    if landscape.beta is None:
        return _curve(landscape, new_axes(ax))
    if ax is not None:
        return (_surface if getattr(ax, "name", "") == "3d" else _contours)(landscape, ax)
    figure = pyplot().figure(figsize=(10.5, 4.4), layout="constrained")
    axes = np.array([figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2, projection="3d")])
    _contours(landscape, axes[0])
    _surface(landscape, axes[1])
    return axes


def _labels(landscape: Any) -> list[str]:
    if landscape.explained_variance is not None:
        return [
            f"principal axis {place + 1} ({share:.0%} of the path's variance)"
            for place, share in enumerate(landscape.explained_variance)
        ]
    unit = "filter norms" if landscape.directions == "filter" else "kernel norms"
    return [f"step along direction {place} ({unit})" for place in (1, 2)]


def _curve(landscape: Any, ax: Any) -> Any:
    ax.plot(landscape.alpha, landscape.loss, color=COLOURS[0])
    ax.plot([0.0], [landscape.centre_loss], "*", color=COLOURS[1], markersize=12, label="the model")
    if _steep(landscape):
        ax.set_yscale("log")
    ax.set(xlabel=_labels(landscape)[0], ylabel="loss")
    ax.legend(frameon=False)
    tidy(ax)
    return ax


def _steep(landscape: Any) -> bool:
    """Whether the losses are positive and cover more than a factor of three."""
    finite = landscape.loss[np.isfinite(landscape.loss)]
    return bool(finite.size and finite.min() > 0.0 and finite.max() > 3.0 * finite.min())


def _contours(landscape: Any, ax: Any) -> Any:
    from matplotlib.colors import LogNorm

    loss = np.ma.masked_invalid(landscape.loss)
    low, high = loss.min(), loss.max()
    steep = _steep(landscape)
    levels = np.geomspace(low, high, 24) if steep else np.linspace(low, high, 24)
    if not high > low:
        levels = np.array([low - 0.5, low + 0.5])
    filled = ax.contourf(
        landscape.alpha, landscape.beta, loss, levels=levels, cmap="viridis", norm=LogNorm(low, high) if steep else None
    )
    ax.contour(landscape.alpha, landscape.beta, loss, levels=levels[::3], colors="white", linewidths=0.5, alpha=0.7)
    bar = ax.figure.colorbar(filled, ax=ax, label="loss")
    if steep:
        ticks = _round_numbers(low, high)
        bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
        bar.minorticks_off()
    if landscape.path is not None:
        path = landscape.path
        ax.plot(path[:, 0], path[:, 1], "o-", color=COLOURS[1], markersize=3, linewidth=1.2, label="path of training")
        ax.plot(path[0, 0], path[0, 1], "s", color="white", markeredgecolor="black", label="start")
    ax.plot(0.0, 0.0, "*", color=COLOURS[4], markeredgecolor="black", markersize=13, label="the model")
    ax.set(xlabel=_labels(landscape)[0], ylabel=_labels(landscape)[1])
    if landscape.path is not None:
        ax.legend(fontsize=8, loc="upper right")
    return ax


def _round_numbers(low: float, high: float) -> list[float]:
    """Return round numbers between two positive ones for the ticks of a logarithmic axis, at most ten if they can."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) <= 10:
            return ticks
    return [10.0**decade for decade in decades if low <= 10.0**decade <= high]


def _on_surface(landscape: Any, heights: Array) -> Array:
    """Return the points of the path that lie in the plane's rectangle, (n, 3), with the height of the surface there."""
    x, y = landscape.path.T
    alpha, beta = landscape.alpha, landscape.beta
    inside = (x >= alpha[0]) & (x <= alpha[-1]) & (y >= beta[0]) & (y <= beta[-1])
    x, y = x[inside], y[inside]
    # Bilinear: along alpha in the grid's rows below and above, then along beta between the two.
    row = np.clip(np.searchsorted(beta, y) - 1, 0, len(beta) - 2)
    below, above = (
        np.array([np.interp(each, alpha, heights[at]) for each, at in zip(x, rows, strict=True)])
        for rows in (row, row + 1)
    )
    share = (y - beta[row]) / (beta[row + 1] - beta[row])
    return np.stack([x, y, below + share * (above - below)], axis=1)


def _surface(landscape: Any, ax: Any) -> Any:
    from matplotlib.ticker import MaxNLocator

    steep = _steep(landscape)
    finite = np.where(np.isfinite(landscape.loss), landscape.loss, np.nan)
    heights = np.log10(finite) if steep else finite
    x, y = np.meshgrid(landscape.alpha, landscape.beta)
    ax.plot_surface(x, y, heights, cmap="viridis", rcount=80, ccount=80, linewidth=0, antialiased=True)
    # Path and model in front of the surface: matplotlib orders whole artists, not their parts.
    ax.computed_zorder = False
    if landscape.path is not None:
        path = _on_surface(landscape, heights)
        ax.plot(*path.T, "o-", color=COLOURS[1], markersize=2.5, linewidth=1.2, zorder=5)
        ax.plot(*path[:1].T, "s", color="white", markeredgecolor="black", zorder=6)
    centre = np.log10(landscape.centre_loss) if steep else landscape.centre_loss
    ax.plot([0.0], [0.0], [centre], "*", color=COLOURS[4], markeredgecolor="black", markersize=12, zorder=7)
    names = [label.split(" (")[0] for label in _labels(landscape)]
    ax.set_xlabel(names[0], labelpad=8)
    ax.set_ylabel(names[1], labelpad=8)
    ax.set_zlabel("log10 of the loss" if steep else "loss", labelpad=12)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_tick_params(labelsize=8)
    ax.set_box_aspect(None, zoom=0.78)
    ax.view_init(elev=38, azim=-55)
    return ax
