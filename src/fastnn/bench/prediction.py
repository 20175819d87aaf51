"""The prediction grid: microseconds per call from Python, with NumPy arrays in and out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.bench.contest import Competitor, PeakMeter, Schedule, ask_all, open_competitors, take_turns
from fastnn.bench.contestants import CONTESTANTS
from fastnn.bench.networks import NETWORKS, Network
from fastnn.bench.report import Grid, progress, timing_row

__all__ = ["compare_prediction"]

NETWORK_NAMES = ("submarine", "digits", "mnist128", "mnist512", "wide")
ROWS = (1, 32, 1024)


def compare_prediction(
    contestants: Sequence[str],
    networks: Sequence[str] = NETWORK_NAMES,
    row_counts: Sequence[int] = ROWS,
    schedule: Schedule | None = None,
) -> Grid:
    """Predict with the named networks in the named contestants; their outputs must first agree with NumPy's."""
    entering = [name for name in contestants if "prediction" in CONTESTANTS[name].grids]
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    with open_competitors(entering) as competitors:
        for name in networks:
            for n_rows in row_counts:
                progress(f"prediction {name}, {n_rows} rows")
                rows += _predict_one(NETWORKS[name], n_rows, competitors, schedule or Schedule.quick(), problems)
    return Grid(
        name="prediction",
        title="Prediction: microseconds per call of model(x) with a float32 array, including input check and output",
        rows=rows,
        problems=problems,
    )


def _predict_one(
    network: Network, n_rows: int, competitors: Sequence[Competitor], schedule: Schedule, problems: list[str]
) -> list[dict[str, Any]]:
    case = f"{network.name} {network.structure}, {n_rows} row{'s' if n_rows > 1 else ''}"
    start = ("start_prediction", {"network": network.name, "n_rows": n_rows})
    answers = ask_all({competitor: [start] for competitor in competitors if competitor.builds(network)}, problems)
    judge = next((c for c in answers if c.name == "numpy"), next(iter(answers)))
    expected = np.array(answers[judge]["outputs"])
    agreeing = []
    for competitor, answer in answers.items():
        if np.allclose(answer["outputs"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()):
            agreeing.append(competitor)
        else:
            problems.append(
                f"{case}: {competitor.name} on {competitor.n_threads} threads disagrees with {judge.name} and is not "
                "timed"
            )

    def turn(competitor: Competitor, calls: int) -> tuple[float, float]:
        return competitor.ask("predict", calls=calls)["seconds"], calls

    meter = PeakMeter(agreeing, schedule.seconds)
    timings = take_turns(agreeing, turn, schedule, meter.measure)
    flops = 2 * n_rows * network.n_weights
    return [
        {**timing_row(case, timing, timings, flops, meter.peaks), "network": network.name, "n_rows": n_rows}
        for timing in timings
    ]
