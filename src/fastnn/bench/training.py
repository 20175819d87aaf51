"""The training grid: microseconds per step of whole fits, including loss and history."""

import math
from collections.abc import Sequence
from typing import Any

from fastnn.bench.contest import Competitor, PeakMeter, Schedule, ask_all, open_competitors, pace_of, take_turns
from fastnn.bench.contestants import CONTESTANTS
from fastnn.bench.networks import NETWORKS, Network
from fastnn.bench.report import Grid, progress, timing_row

__all__ = ["compare_training"]

QUICK_NETWORKS = ("ground-motion", "submarine", "digits", "mnist128")

_CHECK_BATCHES, _CHECK_EPOCHS = 4, 5
_TOLERANCE = 2e-4  # relative, of the loss after 20 steps in float32; agreement is 3e-5 or better
_PYTHON_FLOPS_PER_SECOND = 2e7
_PYTHON_LONGEST_STEP = 0.05  # seconds; pure Python is left out where a step takes longer


def compare_training(
    contestants: Sequence[str], networks: Sequence[str] = QUICK_NETWORKS, schedule: Schedule | None = None
) -> Grid:
    """Train the named networks in the named contestants.

    First all of them train 20 steps from the same weights on the same rows in the same order, and the mean losses of
    the five epochs must agree. Then each trains without shuffling, and they are timed in turns.
    """
    entering = [name for name in contestants if "training" in CONTESTANTS[name].grids]
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    with open_competitors(entering) as competitors:
        for name in networks:
            network = NETWORKS[name]
            progress(f"training {network.label}")
            rows += _train_one(network, competitors, schedule or Schedule.quick(), problems)
    return Grid(
        name="training",
        title="Training: microseconds per step of a whole fit (float32; including loss and history)",
        rows=rows,
        problems=problems,
    )


def _train_one(
    network: Network, competitors: Sequence[Competitor], schedule: Schedule, problems: list[str]
) -> list[dict[str, Any]]:
    python_too_slow = network.flops_per_step / _PYTHON_FLOPS_PER_SECOND > _PYTHON_LONGEST_STEP
    entering = [c for c in competitors if c.builds(network) and not (c.name == "python" and python_too_slow)]
    few: dict[str, Any] = {"network": network.name, "n_batches": _CHECK_BATCHES}
    answers = ask_all({c: [("start_training", few), ("train", {"epochs": _CHECK_EPOCHS})] for c in entering}, problems)
    judge = next((c for c in answers if c.name == "numpy"), next(iter(answers)))
    preparations: dict[Competitor, list[tuple[str, dict[str, Any]]]] = {}
    for competitor, answer in answers.items():
        difference = _difference(answer["losses"], answers[judge]["losses"])
        if difference > _TOLERANCE:
            problems.append(
                f"{network.label}: {competitor.name} on {competitor.n_threads} threads disagrees with {judge.name} and "
                f"is not timed: the losses of the epochs differ by {difference:.1e}"
            )
        else:
            _, seconds = pace_of(competitor, _turn, schedule.seconds / 4)
            # A slow contestant trains on fewer rows, so that its turns keep to the schedule.
            n_batches = min(network.steps_per_epoch, max(1, round(schedule.seconds / seconds)))
            load: dict[str, Any] = {"network": network.name, "n_batches": n_batches}
            preparations[competitor] = [("start_training", load), ("train", {"epochs": 1})]
    agreeing = list(ask_all(preparations, problems))

    meter = PeakMeter(agreeing, schedule.seconds)
    timings = take_turns(agreeing, _turn, schedule, meter.measure)
    return [
        {**timing_row(network.label, timing, timings, network.flops_per_step, meter.peaks), "network": network.name}
        for timing in timings
    ]


def _difference(losses: Sequence[float], expected: Sequence[float]) -> float:
    """Largest relative difference; infinite if a loss is not finite."""
    differences = [abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True)]
    return max(differences) if all(map(math.isfinite, differences)) else math.inf


def _turn(competitor: Competitor, epochs: int) -> tuple[float, float]:
    answer = competitor.ask("train", epochs=epochs)
    return answer["seconds"], answer["steps"]
