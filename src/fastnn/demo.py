"""A small study of how strongly the ground shakes at a distance from an earthquake.

A network learns peak acceleration from magnitude and distance on the records of some earthquakes. It is tested on other
earthquakes and compared with the equation that seismologists fitted to these records, a linear fit and the mean.
"""

from collections.abc import Callable
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
DEPTH_KM = 7.3
"""The depth in Joyner and Boore's equation for peak acceleration."""
CURVES = ((5.3, "#56B4E9"), (6.5, "#009E73"), (7.6, "#D55E00"))
"""Magnitudes whose curves are drawn. Colours: Okabe and Ito (2008), which colour-blind readers can tell apart."""
NEAR = 0.3
"""A curve is drawn over the distances of the records whose magnitude differs by at most this."""


def study(seed: int = 0) -> dict[str, Any]:
    """Train the network and compare its predictions.

    Inputs are the magnitude and log10 of the distance, standardized; the target is log10 of the acceleration in g.
    The linear fit has the same inputs, and the equation is that of W. B. Joyner and D. M. Boore (1981), Peak horizontal
    acceleration and velocity from strong-motion records, Bulletin of the Seismological Society of America 71,
    2011-2038: log10 a = c0 + c1 M - log10 r + c2 r with r^2 = d^2 + (7.3 km)^2, here fitted to the same records as the
    network by least squares.

    Returns
    -------
    dict
        "scores": {model: {"RMSE", "MAE", "R2"}} on the held-out earthquakes, in log10 units; "predict": function of
        (magnitude, distance_km) to log10 acceleration, and "equation" the same; "records", "held_out" (mask of rows)
        and "model".
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
    equation = _fit_equation(records["magnitude"][~held_out], records["distance_km"][~held_out], target[~held_out])
    predictions = {
        "fastnn network": np.asarray(model.predict(X[held_out], verbose=0), dtype=np.float64)[:, 0],
        "Joyner-Boore equation, refitted": equation(records["magnitude"][held_out], records["distance_km"][held_out]),
        "linear fit": _with_ones(X[held_out]) @ coefficients,
        "mean": np.full(held_out.sum(), target[~held_out].mean()),
    }

    def predict(magnitude: Array, distance_km: Array) -> Array:
        values = model.predict((_inputs(magnitude, distance_km) - mean) / scale, verbose=0)
        return np.asarray(values, dtype=np.float64)[:, 0]

    return {
        "scores": {name: _scores(target[held_out], values) for name, values in predictions.items()},
        "predict": predict,
        "equation": equation,
        "records": records,
        "held_out": held_out,
        "model": model,
    }


def run(picture: Path, seed: int = 0) -> int:
    """Print the study and save its picture; return 0. Without matplotlib, the output says how to install it."""
    print("How strongly does the ground shake at a distance from an earthquake?\n")
    result = study(seed)
    held_out, records = result["held_out"], result["records"]
    print(f"{len(records)} records of 23 earthquakes: 22 in western North America, one in Managua, Nicaragua")
    print("(Joyner, Boore and Porcella, 1981)")
    print(f"fitted to {np.sum(~held_out)} records of 18 earthquakes, tested on {held_out.sum()} of 5 others\n")
    print(f"{'log10 of peak acceleration in g':34}{'RMSE':>8}{'MAE':>8}{'R2':>8}")
    for name, scores in result["scores"].items():
        print(f"{name:34}{scores['RMSE']:>8.3f}{scores['MAE']:>8.3f}{scores['R2']:>8.3f}")
    print("Other seeds change the RMSE of the network by about 0.006 (standard deviation of 20).")
    try:
        _draw(result, picture)
    except ImportError:
        print("\nNo picture was drawn: it needs matplotlib. Install it with: pip install matplotlib")
        return 0
    print(f"\npicture: {picture}")
    return 0


def _inputs(magnitude: Array, distance_km: Array) -> Array:
    return np.stack([magnitude, np.log10(distance_km)], axis=1)


def _fit_equation(magnitude: Array, distance_km: Array, target: Array) -> Callable[[Array, Array], Array]:
    """Return Joyner and Boore's equation with factors that are fitted to log10 accelerations."""

    def parts(magnitude: Array, distance_km: Array) -> tuple[Array, Array]:
        r = np.hypot(distance_km, DEPTH_KM)
        return np.stack([np.ones_like(r), magnitude, r], axis=1), np.log10(r)

    terms, spreading = parts(magnitude, distance_km)
    factors = np.linalg.lstsq(terms, target + spreading, rcond=None)[0]

    def equation(magnitude: Array, distance_km: Array) -> Array:
        terms, spreading = parts(magnitude, distance_km)
        return np.asarray(terms @ factors - spreading)

    return equation


def _with_ones(X: Array) -> Array:
    return np.column_stack([X, np.ones(len(X))])


def _scores(target: Array, prediction: Array) -> dict[str, float]:
    return {
        "RMSE": fastnn.metrics.root_mean_squared_error(target, prediction),
        "MAE": fastnn.metrics.mean_absolute_error(target, prediction),
        "R2": fastnn.metrics.r2_score(target, prediction),
    }


def _draw(result: dict[str, Any], path: Path) -> None:
    """Left: acceleration against distance with the curves of both models. Right: predicted against measured."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_curves(left, result)
    records, held_out, predict = result["records"], result["held_out"], result["predict"]
    measured = records["acceleration_g"][held_out]
    predicted = 10.0 ** predict(records["magnitude"][held_out], records["distance_km"][held_out])
    limits = [0.8 * min(measured.min(), predicted.min()), 1.25 * max(measured.max(), predicted.max())]
    right.plot(limits, limits, color="0.6", linewidth=1)
    right.scatter(measured, predicted, s=24, c="#0072B2", marker="^")
    right.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
    right.set(xlabel="measured (g)", ylabel="predicted by the network (g)")
    right.set_title("Earthquakes that the network has never seen", fontsize=10)
    figure.savefig(path, dpi=150)


def _draw_curves(axes: Any, result: dict[str, Any]) -> None:
    """Draw the records and, where there are records of about its magnitude, each curve of network and equation."""
    records, held_out = result["records"], result["held_out"]
    distance, acceleration, magnitude = records["distance_km"], records["acceleration_g"], records["magnitude"]
    for mask, marker, face, label in (
        (~held_out, "o", "0.75", "records, trained on"),
        (held_out, "^", "0.25", "records, held out"),
    ):
        axes.scatter(distance[mask], acceleration[mask], s=_area(magnitude[mask]), c=face, marker=marker, label=label)
    for value, colour in CURVES:
        near = distance[np.abs(magnitude - value) <= NEAR]
        grid = np.geomspace(near.min(), near.max(), 200)
        for model, style, width in (("predict", "-", 2.5), ("equation", "--", 1.2)):
            curve = 10.0 ** result[model](np.full(len(grid), value), grid)
            axes.plot(grid, curve, style, color=colour, linewidth=width)
        axes.plot([], [], color=colour, linewidth=2.5, label=f"network, magnitude {value}")
    axes.plot([], [], "--", color="0.4", linewidth=1.2, label="equation, same magnitudes")
    for value in (5, 6, 7):
        axes.scatter([], [], s=_area(value), c="0.75", label=f"record of magnitude {value}")
    axes.set(xscale="log", yscale="log", xlabel="distance (km)", ylabel="peak acceleration (g)")
    axes.set_title(f"Records, and curves where there are records within {NEAR} of the magnitude", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def _area(magnitude: Any) -> Any:
    """Return the area of a marker in square points."""
    return 8 + 9 * (np.asarray(magnitude) - 4.8) ** 2
