"""Pictures of networks: their diagram, and their speed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn.diagram as diagram
from fastnn._arguments import takes_keywords
from fastnn.plotting.canvas import new_axes

if TYPE_CHECKING:
    from fastnn.network.stack import LayerStack

__all__ = ["network", "speed_table"]


@takes_keywords
def network(model: "LayerStack", ax: Any = None) -> Any:
    """Draw a built model: units, connections, sizes and numbers of weights; of a graph the layers as boxes.

    Parameters
    ----------
    model : a built model.
    ax : axes to draw into.
    """
    if getattr(model, "kind", "Sequential") != "Sequential":
        return _graph(model, ax)
    drawn = diagram.columns(model)
    ax = new_axes(ax, (1.9 * len(drawn), 3.6))
    for place, column in enumerate(drawn):
        if place:
            before = drawn[place - 1].heights
            pairs = zip(before, column.heights, strict=True) if not column.connected else None
            for a, b in pairs or [(a, b) for a in before for b in column.heights]:
                ax.plot([place - 1, place], [a, b], color="0.6", linewidth=0.4, zorder=1)
        xs = np.full(len(column.heights), place)
        ax.scatter(xs, column.heights, s=110, color=column.colour, edgecolor="0.2", linewidth=0.8, zorder=2)
        if column.dots:
            ax.scatter(np.full(3, place), [-0.18, 0.0, 0.18], s=3, color="0.2", zorder=2)
        unit = "features" if place == 0 else "unit" if column.size == 1 else "units"
        weights = f"\n{column.n_weights:,} weights" if column.n_weights else ""
        bottom = max(max(other.heights) for other in drawn)
        ax.text(place, -bottom - 0.8, column.title, ha="center", va="bottom", fontsize=9, fontweight="bold")
        ax.text(place, bottom + 0.8, f"{column.size:,} {unit}{weights}", ha="center", va="top", fontsize=9)
    ax.set_xlim(-0.5, len(drawn) - 0.5)
    ax.set_ylim(bottom + 2.2, -bottom - 1.5)
    ax.set_axis_off()
    ax.set_title(f"{model.name}: {model.count_params():,} weights", fontsize=10)
    return ax


def _graph(model: "LayerStack", ax: Any) -> Any:
    """Draw the layers of a graph as boxes, with arrows from those whose outputs they take."""
    drawn = diagram.boxes(model)
    rows = [sum(other.place[0] == box.place[0] for other in drawn) for box in drawn]
    places = [(box.place[0], box.place[1] - (n - 1) / 2) for box, n in zip(drawn, rows, strict=True)]
    ax = new_axes(ax, (2.4 * (1 + max(x for x, _ in places)), 1.0 + 0.9 * max(rows)))
    for box, (x, y) in zip(drawn, places, strict=True):
        style = {"boxstyle": "round", "facecolor": box.colour, "alpha": 0.4}
        ax.text(x, y, f"{box.title}\n{box.caption}", ha="center", va="center", fontsize=8, bbox=style, zorder=2)
        for number in box.before:
            arrow = {"arrowstyle": "->", "color": "0.4", "shrinkA": 32, "shrinkB": 32}
            ax.annotate("", (x, y), places[number], arrowprops=arrow, zorder=1)
    ax.set_xlim(-0.6, max(x for x, _ in places) + 0.6)
    ax.set_ylim(max(rows) / 2 + 0.2, -max(rows) / 2 - 0.2)
    ax.set_axis_off()
    ax.set_title(f"{model.name}: {model.count_params():,} weights", fontsize=10)
    return ax


@takes_keywords
def speed_table(times: Mapping[str, Mapping[str, float]], ax: Any = None) -> Any:
    """Draw a table of times, coloured by their ratio to the fastest of the row.

    Parameters
    ----------
    times : for each case the seconds of each contestant; missing contestants leave an empty cell.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        No times, or one that is not positive.
    """
    from matplotlib.colors import LogNorm

    cases = list(times)
    names = list(dict.fromkeys(name for row in times.values() for name in row))
    table = np.array([[times[case].get(name, np.nan) for name in names] for case in cases], dtype=np.float64)
    if table.size == 0 or not np.all((table > 0.0) | np.isnan(table)):
        raise ValueError("times must hold positive seconds for at least one case and contestant")
    ratio = table / np.nanmin(table, axis=1, keepdims=True)
    ax = new_axes(ax, (1.8 + 1.15 * len(names), 1.2 + 0.42 * len(cases)))
    top = max(10.0, float(np.nanmax(ratio)))
    image = ax.imshow(np.ma.masked_invalid(ratio), cmap="viridis_r", norm=LogNorm(1.0, top), aspect="auto")
    ax.figure.colorbar(image, ax=ax, label="ratio to the fastest of the row")
    for (row, place), value in np.ndenumerate(table):
        if np.isfinite(value):
            dark = np.log(ratio[row, place]) > 0.5 * np.log(top)
            factor = f"{ratio[row, place]:,.0f}" if ratio[row, place] >= 100.0 else f"{ratio[row, place]:.3g}"
            text = f"{_time(value)}\n{factor}×"
            ax.text(place, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(cases)), cases)
    ax.tick_params(length=0)
    ax.xaxis.tick_top()
    return ax


def _time(seconds: float) -> str:
    """Return a time with three digits and a unit."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
