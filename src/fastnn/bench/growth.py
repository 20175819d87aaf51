"""Growth: time per epoch against rows, width and depth, and the memory that a fit needs in addition to its data."""

from collections.abc import Sequence
from typing import Any

from fastnn.bench.contest import open_competitors
from fastnn.bench.machine import n_cores
from fastnn.bench.report import Grid, progress

__all__ = ["measure_growth"]

BATCH_SIZE = 128
ROWS = (1_000, 10_000, 100_000, 1_000_000)
WIDTHS = (16, 64, 256, 1024, 2048)
DEPTHS = (1, 2, 4, 8, 16, 32)
LAYOUTS = (("float32", False), ("float64", False), ("int64", False), ("float32", True))


def measure_growth(rows: Sequence[int] = ROWS, widths: Sequence[int] = WIDTHS, depths: Sequence[int] = DEPTHS) -> Grid:
    """Fit each case in a new process; measure seconds per epoch and the growth of the peak of resident memory."""
    cases: list[dict[str, Any]] = []
    for n_rows in rows:
        for dtype, strided in LAYOUTS:
            cases.append(_case("rows", n_rows, [64, 64, 64, 1], n_rows, dtype, strided))
    cases += [_case("width", width, [64, width, width, 1], 10_000) for width in widths]
    cases += [_case("depth", depth, [64, *[64] * depth, 1], 10_000) for depth in depths]
    results = []
    for case in cases:
        progress(f"growth: {case['of']} {case['value']}, {case['X']}")
        with open_competitors(["fastnn"], thread_counts=[n_cores()]) as (competitor,):
            answer = competitor.ask("measure", function="fits.fit_memory", arguments=case.pop("arguments"))
        grown = answer["grown_bytes"]
        results.append(
            {
                **case,
                "seconds": answer["seconds"],
                "data_mib": answer["data_bytes"] / 2**20,
                "grown_mib": None if grown is None else grown / 2**20,
                "limit_mib": answer["limit_bytes"] / 2**20,
                "within": None if grown is None else grown <= answer["limit_bytes"],
            }
        )
    return Grid(
        name="growth",
        title=f"Growth: 64 inputs, batch {BATCH_SIZE}, Adam; one epoch, and how much the fit raises the memory peak",
        rows=results,
        columns={
            "of": "against",
            "value": "value",
            "X": "X",
            "seconds": "s per epoch",
            "data_mib": "X MiB",
            "grown_mib": "grown MiB",
            "limit_mib": "limit MiB",
            "within": "within",
        },
        notes=["Limit: 3 x parameters x 4 bytes x (moments + 2) + 64 MiB. X is not copied, whatever its type."],
    )


def _case(
    of: str, value: int, widths: list[int], n_rows: int, dtype: str = "float32", strided: bool = False
) -> dict[str, Any]:
    arguments = {
        "widths": widths,
        "batch_size": BATCH_SIZE,
        "n_rows": n_rows,
        "dtype": dtype,
        "strided": strided,
    }
    return {"of": of, "value": value, "X": f"{dtype}{' strided' if strided else ''}", "arguments": arguments}
