"""Draws docs/pictures/landscape.png: the way of a network to a submarine's position through its loss landscape."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import fastnn
from fastnn import layers
from fastnn.datasets import load_submarine


def main() -> None:
    """Train, evaluate the plane of the path, draw."""
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
    path = Path(__file__).resolve().parent / "pictures" / "landscape.png"
    axes[0].figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
