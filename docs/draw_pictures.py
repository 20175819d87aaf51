"""Draw the pictures of README and of the site: speed, many (each light and dark) and landscape in docs/pictures.

python docs/draw_pictures.py
"""

import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

import fastnn
from fastnn import layers
from fastnn.datasets import load_submarine

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"
README = HERE.parent / "README.md"
BENCHMARKS = HERE / "benchmarks.md"
NETWORK = "submarine 5-32-32-3, 32"
"""The row of README's table that is drawn."""
LABELS = {"jax": "JAX", "pytorch": "PyTorch", "numpy": "NumPy"}
LEFT_OUT = {"python", "PyTorch"}  # a bar that is fifteen times as long as the next would hide all the others


def table_rows(page: Path) -> list[list[str]]:
    """Return the cells of all rows of a page's tables."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def step_times(network: str = NETWORK) -> dict[str, float]:
    """Microseconds per training step of each library, read from README's table."""
    rows = table_rows(README)
    heading = next(row for row in rows if row[0] == "network, batch")
    cells = next(row for row in rows if row[0] == network)
    found = {name: re.match(r"[\d.,]+", cell) for name, cell in zip(heading[1:], cells[1:], strict=True)}
    return {name: float(match[0].replace(",", "")) for name, match in found.items() if match}


def many_times() -> dict[str, float]:
    """Seconds in which 500 networks are trained in each way, read from the table on the page of the benchmarks."""
    rows = table_rows(BENCHMARKS)
    first = next(number for number, row in enumerate(rows) if row[0] == "500 networks") + 2
    last = next((number for number in range(first, len(rows)) if len(rows[number]) != 3), len(rows))
    return {name: float(seconds) for name, seconds, _ in rows[first:last]}


def draw_bars(file_name: str, times: dict[str, float], unit: str, label: str, colors: tuple[str, str, str]) -> None:
    """Draw times as multiples of the shortest, which is fastnn's, as bars on a linear axis.

    Parameters
    ----------
    file_name : name in the folder of pictures.
    times : in ``unit``, by name; those in ``LEFT_OUT`` are not drawn.
    label : of the axis.
    colors : of the ground, of text and axes, and of the other bars.
    """
    ground, ink, bar = colors
    times = {LABELS.get(name, name): time for name, time in times.items() if name not in LEFT_OUT}
    names = sorted(times, key=times.__getitem__)
    ratios = [times[name] / times[names[0]] for name in names]
    texts = [f"{ratio:.2g}×" if ratio < 10 else f"{ratio:.0f}×" for ratio in ratios]
    texts = [f"{text}  ({times[name]:.3g} {unit})" for name, text in zip(names, texts, strict=True)]

    figure = Figure(figsize=(8, 3), layout="constrained", facecolor=ground)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    axes = figure.add_subplot(facecolor=ground)
    bars = axes.barh(names, ratios, height=0.7, color=["#D55E00", *[bar] * (len(names) - 1)])
    bar_labels = axes.bar_label(bars, texts, padding=6, fontsize=11, color=ink)
    for text in (bar_labels[0], axes.get_yticklabels()[0]):
        text.set_fontweight("bold")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(ratios))
    axes.tick_params(axis="x", length=0, labelcolor=bar)
    axes.tick_params(axis="y", length=0, labelsize=11, labelcolor=ink)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(bar)
    axes.spines["left"].set_color(ink)
    axes.set_xlabel(label, color=ink)
    figure.savefig(PICTURES / file_name, dpi=200)


def draw_comparisons(ending: str, colors: tuple[str, str, str]) -> None:
    """Draw the pictures of one step and of many models; both grounds are opaque, for README is shown on either."""
    network = NETWORK.split(maxsplit=1)[1]
    label = f"time per training step in multiples of fastnn's, network {network} rows per batch"
    draw_bars(f"speed{ending}.png", step_times(), "µs", label, colors)
    label = "time to train 500 networks in multiples of fit_many's"
    draw_bars(f"many{ending}.png", many_times(), "s", label, colors)


def draw_landscape() -> None:
    """Draw the path that training takes through the loss landscape of a network that finds a submarine."""
    voyage = load_submarine(2000)
    X = (voyage.data - voyage.data.mean(axis=0)) / voyage.data.std(axis=0)
    Y = (voyage.target - voyage.target.mean(axis=0)) / voyage.target.std(axis=0)
    model = fastnn.Sequential(
        [layers.Dense(32, activation="relu"), layers.Dense(32, activation="relu"), layers.Dense(3)], seed=0
    )
    model.compile(optimizer="adam", loss="mse")
    recorder = fastnn.WeightRecorder()
    model.fit(X, Y, epochs=40, verbose=0, callbacks=[recorder])
    landscape = fastnn.loss_landscape(
        model, X, Y, span=0.9, n=81, directions="trajectory", trajectory=recorder, verbose=0
    )
    axes = landscape.plot()
    axes[0].figure.savefig(PICTURES / "landscape.png", dpi=110)


if __name__ == "__main__":
    draw_comparisons("", ("#ffffff", "#000000", "#8FA3B3"))
    draw_comparisons("_dark", ("#14181e", "#ced6dd", "#5F7485"))
    draw_landscape()
