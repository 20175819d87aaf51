"""Pictures of the grids, in colours that colour-blind readers tell apart, and with different markers."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastnn.bench.report import Grid

__all__ = ["draw", "require_matplotlib"]

# Okabe and Ito (2008), "Color Universal Design".
_STYLES = {
    "fastnn": ("#D55E00", "o"),
    "jax": ("#0072B2", "s"),
    "pytorch": ("#CC79A7", "^"),
    "onnxruntime": ("#009E73", "D"),
    "numpy": ("#E69F00", "v"),
    "scikit-learn": ("#56B4E9", "P"),
    "keras": ("#999999", "X"),
    "python": ("#000000", "*"),
}
_COLOURS = [colour for colour, _ in _STYLES.values()]
_MARKERS = [marker for _, marker in _STYLES.values()]


def require_matplotlib() -> None:
    """Raise an ImportError that says how to install it if matplotlib is missing."""
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install matplotlib") from None


def draw(grid: Grid, machine: dict[str, Any], path: Path) -> None:
    """Write the picture of a grid; the suffix of ``path`` chooses the format."""
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    figures: dict[str, Callable[[Any, Grid], None]] = {
        "prices": _draw_prices,
        "threads": _draw_threads,
        "growth": _draw_growth,
    }
    figures.get(grid.name, _draw_timings)(figure, grid)
    figure.suptitle(f"{grid.title}\n{machine['processor']}, {machine['cores']} cores", fontsize=9)
    figure.savefig(path, dpi=150)


def _draw_timings(figure: Any, grid: Grid) -> None:
    """Draw one line per case with a marker per contestant, and time on a logarithmic axis."""
    cases = list(dict.fromkeys(row["case"] for row in grid.rows))
    names = list(dict.fromkeys(row["contestant"] for row in grid.rows))
    figure.set_size_inches(9, 1.6 + 0.42 * len(cases))
    axes = figure.add_subplot()
    for name in names:
        rows = [row for row in grid.rows if row["contestant"] == name]
        colour, marker = _STYLES[name]
        axes.plot(
            [row["best_us"] for row in rows],
            [cases.index(row["case"]) for row in rows],
            linestyle="",
            marker=marker,
            markersize=8 if name == "fastnn" else 7,
            color=colour,
            markeredgecolor="white",
            markeredgewidth=0.5,
            label=name,
            zorder=3 if name == "fastnn" else 2,
        )
    axes.set_xscale("log")
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.set_xlabel("microseconds, best of the rounds (less is better)")
    axes.grid(axis="both", which="major", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _draw_prices(figure: Any, grid: Grid) -> None:
    """Draw the price of each variant at each width."""
    variants = list(dict.fromkeys(row["variant"] for row in grid.rows))
    widths = list(dict.fromkeys(row["width"] for row in grid.rows))
    figure.set_size_inches(8, 1.6 + 0.32 * len(variants))
    axes = figure.add_subplot()
    for width, colour, marker in zip(widths, _COLOURS, _MARKERS, strict=False):
        rows = [row for row in grid.rows if row["width"] == width]
        axes.plot(
            [row["price"] for row in rows],
            [variants.index(row["variant"]) for row in rows],
            linestyle="",
            marker=marker,
            color=colour,
            label=f"width {width}",
        )
    axes.axvline(1.0, color="0.6", linewidth=1)
    axes.set_yticks(range(len(variants)), variants)
    axes.invert_yaxis()
    axes.set_xlabel("time over that of ReLU, squared error and Adam")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False)


def _draw_threads(figure: Any, grid: Grid) -> None:
    """Draw time against width for each number of threads, one panel per batch size."""
    batch_sizes = list(dict.fromkeys(row["batch_size"] for row in grid.rows))
    columns = min(3, len(batch_sizes))
    lines = -(-len(batch_sizes) // columns)
    figure.set_size_inches(3.4 * columns + 0.5, 2.8 * lines + 0.8)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    settings = [key for key in grid.columns if key == "automatic" or key.startswith("threads_")]
    for panel, batch_size in zip(panels, batch_sizes, strict=False):
        rows = [row for row in grid.rows if row["batch_size"] == batch_size]
        for key, colour, marker in zip(settings, _COLOURS, _MARKERS, strict=False):
            panel.plot(
                [row["width"] for row in rows],
                [row[key] for row in rows],
                color=colour,
                marker=marker,
                markersize=7 if key == "automatic" else 4,
                linestyle="" if key == "automatic" else "-",
                linewidth=1,
                label=grid.columns[key],
            )
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_title(f"batch {batch_size}", fontsize=9)
        panel.grid(color="0.9")
    for panel in panels[len(batch_sizes) :]:
        panel.set_visible(False)
    figure.supxlabel("width", fontsize=9)
    figure.supylabel("microseconds per step", fontsize=9)
    panels[0].legend(frameon=False, fontsize=8)


def _draw_growth(figure: Any, grid: Grid) -> None:
    """Draw seconds per epoch against rows, width and depth."""
    kinds = list(dict.fromkeys(row["of"] for row in grid.rows))
    figure.set_size_inches(3.6 * len(kinds), 3.6)
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for panel, kind in zip(panels, kinds, strict=True):
        layouts = list(dict.fromkeys(row["X"] for row in grid.rows if row["of"] == kind))
        for layout, colour, marker in zip(layouts, _COLOURS, _MARKERS, strict=False):
            rows = [row for row in grid.rows if row["of"] == kind and row["X"] == layout]
            values = [row["value"] for row in rows]
            panel.plot(values, [row["seconds"] for row in rows], color=colour, marker=marker, label=layout)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel(kind)
        ticks = list(dict.fromkeys(row["value"] for row in grid.rows if row["of"] == kind))
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        panel.minorticks_off()
        panel.grid(color="0.9")
        if len(layouts) > 1:
            panel.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("seconds per epoch")
