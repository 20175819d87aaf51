"""Where the time of a training step goes: the phases' fractions of it, and how close their products are to the peak."""

from collections.abc import Sequence
from typing import Any

from fastnn.bench.contest import PeakMeter, open_competitors
from fastnn.bench.machine import n_cores
from fastnn.bench.networks import NETWORKS, Network
from fastnn.bench.report import Grid, progress

__all__ = ["PHASES", "measure_phases"]

PHASES = ("gather", "forward", "loss", "backward", "update", "wait")
"""The names of ``_core.Fit.phases``; "update" includes the products for the weights' gradients."""

_WINDOW = 2e-3  # seconds of steps that are timed together
_PEAKS = 130  # measurements of the peak per network, of which the best counts, as it does for the windows


def product_flops(network: Network) -> dict[str, int]:
    """Operations of a step's products by phase: 2·B·P each, without the gradient of the inputs."""
    one = 2 * network.batch_size * network.n_weights
    first = 2 * network.batch_size * network.n_first_weights
    return {"forward": one, "backward": one - first, "update": one}


def measure_phases(names: Sequence[str] = tuple(NETWORKS), seconds: float = 0.5) -> Grid:
    """Time the phases of each network's step on one thread and on all cores, for ``seconds`` each."""
    rows = []
    with open_competitors(["fastnn"], thread_counts=[n_cores()]) as (competitor,):
        meter = PeakMeter([competitor], _WINDOW)
        for name in names:
            progress(f"phases of {NETWORKS[name].label}")
            for n_threads in sorted({1, n_cores()}):
                arguments: dict[str, Any] = {"name": name, "n_threads": n_threads, "seconds": seconds}
                arguments["window"] = _WINDOW
                answer = competitor.ask("measure", function="fits.step_phases", arguments=arguments)
                for _ in range(_PEAKS):
                    meter.measure()
                rows.append(phase_row(NETWORKS[name], n_threads, answer["step"], answer["phases"], meter.peak))
    return Grid(
        name="phases",
        title="Phases: % of the time of all threads; products: % of the peak while in their phase",
        rows=rows,
        columns={
            "case": "network",
            "threads": "up to threads",
            "step_us": "step, us",
            "percent_of_peak": "% of peak",
            **{phase: phase for phase in PHASES},
            **{f"{phase}_peak": f"{phase} products" for phase in ("forward", "backward", "update")},
        },
        notes=["The update rule runs in the phase of its products. Reading the clock adds about 0.1 us to a step."],
    )


def phase_row(
    network: Network, n_threads: int, step: float, phases: dict[str, float], peak: float | None
) -> dict[str, Any]:
    """Return one line: ``step`` in seconds, ``phases`` in seconds of all threads, ``peak`` of all cores in GFLOP/s."""
    total = sum(phases.values())
    row: dict[str, Any] = {"case": network.label, "threads": n_threads, "step_us": 1e6 * step}
    share = None if peak is None else peak / n_cores()
    row["percent_of_peak"] = None if share is None else network.flops_per_step / step / share / n_threads / 1e7
    row.update({phase: 100 * phases[phase] / total for phase in PHASES})
    for phase, flops in product_flops(network).items():
        row[f"{phase}_peak"] = None if share is None or not flops else flops / phases[phase] / share / 1e7
    return row
