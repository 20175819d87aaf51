"""Draw the pictures of README and of the start page: speed.png, speed_dark.png and landscape.png in docs/pictures.

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
NETWORK = "submarine 5-32-32-3, 32"
"""The row of README's table that is drawn."""
LABELS = {"jax": "JAX", "pytorch": "PyTorch", "numpy": "NumPy"}
LEFT_OUT = {"python"}  # a bar that is fifteen times as long as the next would hide all the others


def step_times(network: str = NETWORK) -> dict[str, float]:
    """Microseconds per training step of each library, read from README's table."""
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in README.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    heading = next(row for row in rows if row[0] == "network, batch")
    cells = next(row for row in rows if row[0] == network)
    found = {name: re.match(r"[\d.,]+", cell) for name, cell in zip(heading[1:], cells[1:], strict=True)}
    return {name: float(match[0].replace(",", "")) for name, match in found.items() if match}


def draw_speed(file_name: str, ground: str, ink: str, bar: str) -> None:
    """Draw how many times as long as fastnn the other libraries take, as bars on a linear axis.

    Parameters
    ----------
    file_name : name in the folder of pictures.
    ground, ink, bar : colours of the ground, of text and axes, and of the bars of other libraries.
    """
    times = {name: time for name, time in step_times().items() if name not in LEFT_OUT}
    names = sorted(times, key=times.__getitem__)
    ratios = [times[name] / times["fastnn"] for name in names]
    texts = [f"{ratio:.2g}×" if ratio < 10 else f"{ratio:.0f}×" for ratio in ratios]
    texts = [f"{text}  ({times[name]:.3g} µs)" for name, text in zip(names, texts, strict=True)]

    figure = Figure(figsize=(8, 3), layout="constrained", facecolor=ground)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    axes = figure.add_subplot(facecolor=ground)
    colors = ["#D55E00" if name == "fastnn" else bar for name in names]
    bars = axes.barh([LABELS.get(name, name) for name in names], ratios, height=0.7, color=colors)
    bar_labels = axes.bar_label(bars, texts, padding=6, fontsize=11, color=ink)
    for text in (bar_labels[names.index("fastnn")], axes.get_yticklabels()[names.index("fastnn")]):
        text.set_fontweight("bold")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(ratios))
    axes.tick_params(axis="x", length=0, labelcolor=bar)
    axes.tick_params(axis="y", length=0, labelsize=11, labelcolor=ink)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(bar)
    axes.spines["left"].set_color(ink)
    shape_and_batch = NETWORK.split(maxsplit=1)[1]
    axes.set_xlabel(
        f"time per training step in multiples of fastnn's, network {shape_and_batch} rows per batch", color=ink
    )
    figure.savefig(PICTURES / file_name, dpi=200)


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
    # Both grounds are opaque: README shows the first on light and on dark pages.
    draw_speed("speed.png", "#ffffff", "#000000", "#8FA3B3")
    draw_speed("speed_dark.png", "#14181e", "#ced6dd", "#5F7485")
    draw_landscape()
