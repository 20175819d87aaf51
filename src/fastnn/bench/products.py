"""Matrix products alone, on one core: `fastnn.ops.dense_forward` against NumPy's matmul."""

from collections.abc import Sequence
from typing import Any

from fastnn.bench.contest import Competitor, PeakMeter, Schedule, open_competitors, take_turns
from fastnn.bench.contestants import CONTESTANTS
from fastnn.bench.report import Grid, progress, timing_row

__all__ = ["compare_products"]

SIZES = (
    (16, 16, 16),
    (32, 32, 32),
    (64, 64, 64),
    (128, 128, 128),
    (512, 512, 512),
    (2048, 2048, 2048),
    (6, 400, 400),
)
"""Rows of x, columns of the kernel, and the summed index between them."""


def compare_products(
    contestants: Sequence[str],
    sizes: Sequence[tuple[int, int, int]] = SIZES,
    schedule: Schedule | None = None,
) -> Grid:
    """Multiply integer-valued matrices, whose products are exact; the results must be equal before they are timed."""
    entering = [name for name in contestants if "products" in CONTESTANTS[name].grids]
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    with open_competitors(entering, thread_counts=[1]) as competitors:
        for dtype in ("float32", "float64"):
            for m, n, k in sizes:
                case = f"({m}, {k}) @ ({k}, {n}) {dtype}"
                progress(f"product {case}")
                sums = [c.ask("start_product", m=m, n=n, k=k, dtype=dtype)["sum"] for c in competitors]
                if len(set(sums)) > 1:
                    problems.append(f"{case}: the products differ and are not timed")
                    continue
                schedule = schedule or Schedule.quick()
                meter = PeakMeter(competitors, schedule.seconds)
                timings = take_turns(competitors, _turn, schedule, meter.measure)
                # A vector register holds half as many float64 numbers.
                lanes = 1.0 if dtype == "float32" else 0.5
                peaks = {n_threads: lanes * peak for n_threads, peak in meter.peaks.items()}
                rows += [timing_row(case, timing, timings, 2 * m * n * k, peaks) for timing in timings]
    return Grid(
        name="products",
        title="Products on one core: microseconds per call from Python into a given array",
        rows=rows,
        problems=problems,
        notes=["The peak is that of one core in the same precision; a small product is mostly the call from Python."],
    )


def _turn(competitor: Competitor, calls: int) -> tuple[float, float]:
    return competitor.ask("multiply", calls=calls)["seconds"], calls
