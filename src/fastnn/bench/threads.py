"""Do threads ever hurt? Fixed numbers of threads and the automatic one, against width and batch size."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from fastnn.bench.contest import KeptFit, Schedule, open_competitors, take_turns
from fastnn.bench.machine import n_cores
from fastnn.bench.report import Grid, progress

__all__ = ["measure_threads"]

WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
BATCH_SIZES = (1, 4, 16, 64, 256, 1024)
THREADS = (0, 1, 2, 4, 8)


def measure_threads(
    widths: Sequence[int] = WIDTHS,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    neighbours: int = 0,
    schedule: Schedule | None = None,
) -> Grid:
    """Time a step of w-w-w-w networks with each number of threads, next to ``neighbours`` busy processes."""
    rows = []
    with open_competitors(["fastnn"], thread_counts=[n_cores()]) as (competitor,), busy_processes(neighbours):
        for width in widths:
            progress(f"threads at width {width}")
            for batch_size in batch_sizes:
                flops = 18 * batch_size * width * width
                n_batches = max(2, min(500, 50_000_000 // flops))
                for n_threads in THREADS:
                    arguments = {
                        "key": str(n_threads),
                        "widths": [width] * 4,
                        "batch_size": batch_size,
                        "n_batches": n_batches,
                        "n_threads": n_threads,
                    }
                    competitor.ask("measure", function="fits.start_threads", arguments=arguments)
                counts = [KeptFit(str(n_threads), n_threads, competitor) for n_threads in THREADS]
                best = {
                    timing.n_threads: timing.best for timing in take_turns(counts, KeptFit.turn, schedule or _SHORT)
                }
                row: dict[str, Any] = {"width": width, "batch_size": batch_size, "automatic": best[0]}
                row.update({f"threads_{n_threads}": best[n_threads] for n_threads in THREADS[1:]})
                row["over_best"] = best[0] / min(best[1], best[2])
                rows.append(row)
                competitor.ask("measure", function="fits.clear", arguments={})
        product = competitor.ask("measure", function="fits.product_after_fit", arguments={"rounds": 30})
        pauses = [
            competitor.ask("measure", function="fits.after_pause", arguments={"n_threads": n, "rounds": 60})
            for n in (1, n_cores())
        ]
    load = f", next to {neighbours} busy processes" if neighbours else ""
    return Grid(
        name="threads",
        title=f"Threads: microseconds per step of w-w-w-w (best of rounds), {n_cores()} cores{load}",
        rows=rows,
        columns={
            "width": "width",
            "batch_size": "batch",
            "automatic": "automatic",
            **{f"threads_{n_threads}": f"{n_threads} set" for n_threads in THREADS[1:]},
            "over_best": "automatic / best of 1 and 2",
        },
        notes=[
            f"A NumPy product of 512 x 512 matrices takes {product['alone_us']:.0f} us alone and "
            f"{product['after_us']:.0f} us right after a fit (medians).",
            "After 20 ms without work, on 1 and on up to all cores (medians): 1,024 rows of 64-100-10 are predicted in "
            f"{pauses[0]['prediction_us']:.0f} and {pauses[1]['prediction_us']:.0f} us, a fit of 32 steps of 64 rows "
            f"takes {pauses[0]['fit_us']:.0f} and {pauses[1]['fit_us']:.0f} us.",
        ],
    )


_SHORT = Schedule(rounds=9, seconds=0.02)


@contextmanager
def busy_processes(n: int) -> Any:
    """Keep ``n`` cores busy with endless loops inside the ``with`` block."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"], env=os.environ) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
