"""A small study of how strongly the ground shakes at a distance from an earthquake.

A network learns peak acceleration from magnitude and distance on the records of some earthquakes. It is tested on other
earthquakes and compared with a linear fit and the mean.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn
from fastnn import layers
from fastnn.datasets import load_ground_motion

__all__ = ["run", "study"]

Array = NDArray[np.float64]

HELD_OUT_EVENTS = (4, 8, 12, 16, 20)
"""Every fourth of the 23 earthquakes: 34 of the 182 records."""


def study(seed: int = 0) -> dict[str, Any]:
    """Train the network and compare its predictions.

    Inputs are the magnitude and log10 of the distance, standardized; the target is log10 of the acceleration in g.
    The linear fit has the same inputs.

    Returns
    -------
    dict
        "scores": {model: {"RMSE", "MAE", "R2"}} on the held-out earthquakes, in log10 units; "predict": function of
        (magnitude, distance_km) to log10 acceleration; "records", "held_out" (mask of rows) and "model".
    """
    records = load_ground_motion()
    held_out = np.isin(records["event"], HELD_OUT_EVENTS)
    inputs = _inputs(records["magnitude"], records["distance_km"])
    target = np.log10(records["acceleration_g"])
    mean, scale = inputs[~held_out].mean(axis=0), inputs[~held_out].std(axis=0)
    X = (inputs - mean) / scale

    model = fastnn.Sequential(
        [layers.Dense(16, activation="tanh"), layers.Dense(16, activation="tanh"), layers.Dense(1)], seed=seed
    )
    model.compile(optimizer=fastnn.optimizers.Adam(learning_rate=0.003), loss="mse")
    model.fit(X[~held_out], target[~held_out], epochs=200, batch_size=32, verbose=0)

    coefficients = np.linalg.lstsq(_with_ones(X[~held_out]), target[~held_out], rcond=None)[0]
    predictions = {
        "fastnn network": np.asarray(model.predict(X[held_out], verbose=0), dtype=np.float64)[:, 0],
        "linear fit": _with_ones(X[held_out]) @ coefficients,
        "mean": np.full(held_out.sum(), target[~held_out].mean()),
    }

    def predict(magnitude: Array, distance_km: Array) -> Array:
        values = model.predict((_inputs(magnitude, distance_km) - mean) / scale, verbose=0)
        return np.asarray(values, dtype=np.float64)[:, 0]

    return {
        "scores": {name: _scores(target[held_out], values) for name, values in predictions.items()},
        "predict": predict,
        "records": records,
        "held_out": held_out,
        "model": model,
    }


def run(picture: Path, seed: int = 0) -> int:
    """Print the study and save its picture; return 0. Without matplotlib, the output says how to install it."""
    result = study(seed)
    held_out, records = result["held_out"], result["records"]
    print(f"{len(records)} records of 23 California earthquakes (Joyner, Boore and Porcella, 1981)")
    print(f"trained on {np.sum(~held_out)} records of 18 earthquakes, tested on {held_out.sum()} of 5 others\n")
    print(f"{'log10 of peak acceleration in g':34}{'RMSE':>8}{'MAE':>8}{'R2':>8}")
    for name, scores in result["scores"].items():
        print(f"{name:34}{scores['RMSE']:>8.3f}{scores['MAE']:>8.3f}{scores['R2']:>8.3f}")
    try:
        _draw(result, picture)
    except ImportError:
        print("\nFor the picture install matplotlib: pip install '.[plot]' from the checkout")
        return 0
    print(f"\npicture: {picture}")
    return 0


def _inputs(magnitude: Array, distance_km: Array) -> Array:
    return np.stack([magnitude, np.log10(distance_km)], axis=1)


def _with_ones(X: Array) -> Array:
    return np.column_stack([X, np.ones(len(X))])


def _scores(target: Array, prediction: Array) -> dict[str, float]:
    return {
        "RMSE": fastnn.metrics.root_mean_squared_error(target, prediction),
        "MAE": fastnn.metrics.mean_absolute_error(target, prediction),
        "R2": fastnn.metrics.r2_score(target, prediction),
    }


def _draw(result: dict[str, Any], path: Path) -> None:
    """Left: acceleration against distance with the network's curves. Right: predicted against measured."""
    from matplotlib.figure import Figure

    records, held_out, predict = result["records"], result["held_out"], result["predict"]
    distance, acceleration, magnitude = records["distance_km"], records["acceleration_g"], records["magnitude"]
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)

    # Okabe and Ito (2008): colours that colour-blind readers can tell apart.
    grid = np.geomspace(distance.min(), distance.max(), 200)
    for value, colour, style in ((5.3, "#56B4E9", ":"), (6.1, "#009E73", "--"), (7.0, "#D55E00", "-")):
        curve = 10.0 ** predict(np.full(len(grid), value), grid)
        left.plot(grid, curve, color=colour, linestyle=style, linewidth=2, label=f"network, magnitude {value}")
    for mask, marker, face, label in (
        (~held_out, "o", "0.75", "records, trained on"),
        (held_out, "^", "black", "records, held out"),
    ):
        sizes = 10 + 6 * (magnitude[mask] - 5) ** 2
        left.scatter(distance[mask], acceleration[mask], s=sizes, c=face, marker=marker, label=label)
    left.set(xscale="log", yscale="log", xlabel="distance (km)", ylabel="peak acceleration (g)")
    left.legend(frameon=False, fontsize=8)

    predicted = 10.0 ** predict(magnitude[held_out], distance[held_out])
    limits = [0.8 * min(acceleration[held_out].min(), predicted.min()), 1.25 * max(acceleration.max(), predicted.max())]
    right.plot(limits, limits, color="0.6", linewidth=1)
    right.scatter(acceleration[held_out], predicted, s=24, c="#0072B2", marker="^")
    right.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
    right.set(xlabel="measured (g)", ylabel="predicted (g)")
    right.set_title("earthquakes that the network has never seen", fontsize=9)
    figure.savefig(path, dpi=150)
