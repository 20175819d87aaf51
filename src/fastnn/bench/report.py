"""The output of a benchmark: the head, one table per grid, JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastnn.bench.contest import Timing

__all__ = ["Grid", "Report", "markdown_table", "progress", "table", "timing_row"]


@dataclass
class Grid:
    """The rows of one grid: dictionaries with the same keys, as they are written to JSON.

    ``columns`` maps the keys to print to their headings; if it is empty, the rows are those of `timing_row`.
    """

    name: str
    title: str
    rows: list[dict[str, Any]]
    columns: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Report:
    """Machine, versions and grids."""

    machine: dict[str, Any]
    versions: dict[str, str]
    missing: list[str]
    grids: list[Grid]

    def write_json(self, path: str | Path) -> None:
        """Write everything, including every round."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def head(self) -> str:
        """Processor, kernels, threads, limits and versions."""
        machine = self.machine
        lines = [
            f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}",
        ]
        if "isa" in machine:
            lines.append(f"fastnn kernels: {machine['isa']}, up to {machine['threads']} threads, {machine['compiler']}")
        limits = []
        if machine.get("fma_peak_gflops"):
            limits.append(f"multiply-add peak {machine['fma_peak_gflops']:.0f} GFLOP/s")
        if machine.get("copy_gb_per_second"):
            limits.append(f"memory copy {machine['copy_gb_per_second']:.1f} GB/s")
        if machine.get("load"):
            limits.append(f"load before the run {machine['load'][0]:.2f}")
        if limits:
            lines.append(", ".join(limits))
        lines.append(", ".join(f"{name} {version}" for name, version in self.versions.items()))
        if self.missing:
            lines.append(f"not installed: {', '.join(self.missing)} (pip install '.[bench]' from the checkout)")
        return "\n".join(lines)


def timing_row(case: str, timing: Timing, timings: Sequence[Timing], flops: int, peak: float | None) -> dict[str, Any]:
    """One contestant's figures in one case; ``flops`` is per unit of work, ``peak`` in GFLOP/s."""
    gflops = flops / timing.best / 1e3
    return {
        "case": case,
        "contestant": timing.name,
        "threads": timing.n_threads,
        "best_us": timing.best,
        "median_us": timing.median,
        "rounds_us": timing.microseconds,
        "ratio": timing.best / timings[0].best,
        "gflops": gflops,
        "peak_gflops": peak,
        "percent_of_peak": None if peak is None else 100 * gflops / peak,
    }


def table(grid: Grid) -> str:
    """Return the grid as text: its own columns, or one line per contestant below each case."""
    lines = [grid.title, "", *(_plain_lines(grid) if grid.columns else _timing_lines(grid)), ""]
    lines += [*grid.notes, *(f"PROBLEM: {problem}" for problem in grid.problems)]
    return "\n".join(lines).rstrip() + "\n"


def _plain_lines(grid: Grid) -> list[str]:
    texts = [list(grid.columns.values())]
    texts += [[_text(row[key]) for key in grid.columns] for row in grid.rows]
    widths = [max(len(row[column]) for row in texts) + 2 for column in range(len(grid.columns))]
    return ["".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in texts]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return _significant(value) if isinstance(value, float) else str(value)


def _timing_lines(grid: Grid) -> list[str]:
    lines = [
        f"{'':44}{'threads':>8}{'best':>12}{'median':>12}{'ratio':>9}{'GFLOP/s':>9}{'% of peak':>11}",
    ]
    case = None
    for row in grid.rows:
        if row["case"] != case:
            case = row["case"]
            lines.append(case)
        percent = row.get("percent_of_peak")
        lines.append(
            f"    {row['contestant']:40}{row['threads']:>8}{row['best_us']:>12.4g}{row['median_us']:>12.4g}"
            f"{_ratio(row['ratio']):>9}{row['gflops']:>9.3g}{'' if percent is None else format(percent, '.1f'):>11}"
        )
    return lines


def markdown_table(grid: Grid, value: str = "best_us") -> str:
    """Return a row per case and a column per contestant: microseconds, and the ratio to the first contestant."""
    cases = list(dict.fromkeys(row["case"] for row in grid.rows))
    names = list(dict.fromkeys(row["contestant"] for row in grid.rows))
    cells = {(row["case"], row["contestant"]): row for row in grid.rows}
    lines = ["| " + " | ".join(["", *names]) + " |", "| --- |" + " ---: |" * len(names)]
    for case in cases:
        texts = []
        for name in names:
            row = cells.get((case, name))
            texts.append("" if row is None else f"{_significant(row[value])}" + _comparison(row, name == names[0]))
        lines.append("| " + " | ".join([case, *texts]) + " |")
    return "\n".join(lines) + "\n"


def progress(text: str) -> None:
    """Print a line about what is being measured to standard error."""
    print(f"... {text}", file=sys.stderr, flush=True)


def _comparison(row: dict[str, Any], is_first: bool) -> str:
    """Return the first contestant's percentage of the peak, the others' ratio to the first."""
    if not is_first:
        return f" ({_ratio(row['ratio'])})"
    percent = row.get("percent_of_peak")
    return "" if percent is None else f" ({percent:.0f} % of peak)"


def _ratio(value: float) -> str:
    return f"{_significant(value)}x"


def _significant(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
