"""The output of a benchmark: the head, one table per grid, JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastnn.bench.contest import Timing
from fastnn.bench.contestants import CONTESTANTS, keras_backend

__all__ = ["Grid", "Report", "markdown_table", "progress", "table", "timing_row", "verdict"]


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

    def packages(self) -> list[str]:
        """Return the packages that the missing contestants need."""
        needed = [package for name in self.missing for package in CONTESTANTS[name].distributions]
        if "keras" in self.missing and keras_backend() is None:
            needed.append("jax")
        return [package for package in dict.fromkeys(needed) if package != "jaxlib"]

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
            peaks = machine.get("fma_peak_gflops_by_threads") or {machine["cores"]: machine["fma_peak_gflops"]}
            each = [f"{peaks[n]:.0f} with {n} thread{'s' if n > 1 else ''}" for n in sorted(peaks)]
            limits.append(f"multiply-add peak in GFLOP/s: {', '.join(each)}")
        if machine.get("copy_gb_per_second"):
            limits.append(f"memory copy {machine['copy_gb_per_second']:.1f} GB/s")
        if machine.get("load"):
            limits.append(f"load before the run {machine['load'][0]:.2f}")
        if limits:
            lines.append(", ".join(limits))
        lines.append(", ".join(f"{name} {version}" for name, version in self.versions.items()))
        if self.missing:
            lines.append(
                f"not installed, optional: {', '.join(self.missing)} (pip install {' '.join(self.packages())})"
            )
        return "\n".join(lines)


def timing_row(
    case: str, timing: Timing, timings: Sequence[Timing], flops: int, peaks: Mapping[int, float]
) -> dict[str, Any]:
    """One contestant's figures in one case; ``flops`` is per unit of work, ``peaks`` are GFLOP/s by threads."""
    gflops = flops / timing.best / 1e3
    peak = peaks.get(timing.n_threads)
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
    first = grid.rows[0]["contestant"] if grid.rows else "the first"
    against = f"against {first}"
    lines = [
        f"{'':24}{'threads':>8}{'best':>12}{'median':>12}{against:>18}{'GFLOP/s':>9}{'% of peak':>11}",
    ]
    case = None
    for row in grid.rows:
        if row["case"] != case:
            case = row["case"]
            lines.append(case)
        words = "" if row["contestant"] == first else _in_words(row["ratio"])
        percent = "" if row.get("percent_of_peak") is None else f"{row['percent_of_peak']:.1f}"
        lines.append(
            f"    {row['contestant']:20}{row['threads']:>8}{row['best_us']:>12.4g}{row['median_us']:>12.4g}"
            f"{words:>18}{row['gflops']:>9.3g}{percent:>11}"
        )
    return lines


def markdown_table(grid: Grid, value: str = "best_us") -> str:
    """Return a row per case and a column per contestant: microseconds, and how many times as long as the first."""
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
        return f" ({_ratio(row['ratio']) if row['ratio'] >= 1.0 else _in_words(row['ratio'])})"
    percent = row.get("percent_of_peak")
    return "" if percent is None else f" ({percent:.0f} % of peak)"


def _ratio(value: float) -> str:
    return f"{_significant(value)}x"


def _in_words(ratio: float) -> str:
    """Return a ratio of times as "2.06x slower" or "1.25x faster"."""
    if f"{ratio:.2f}" == "1.00":
        return "as fast"
    return f"{_ratio(ratio)} slower" if ratio > 1.0 else f"{_ratio(1.0 / ratio)} faster"


def verdict(grid: Grid) -> str | None:
    """Return in a sentence how fastnn compares with the others; None for a grid that compares it with nothing."""
    if grid.columns:
        return None
    cases: dict[str, dict[str, float]] = {}
    for row in grid.rows:
        cases.setdefault(row["case"], {})[row["contestant"]] = row["best_us"]
    cases = {case: times for case, times in cases.items() if "fastnn" in times and len(times) > 1}
    if not cases:
        return None
    ratios: dict[str, list[float]] = {}
    for times in cases.values():
        for name, time in times.items():
            if name != "fastnn":
                ratios.setdefault(name, []).append(time / times["fastnn"])
    names = ["fastnn", *ratios]
    n_won = sum(min(times, key=times.__getitem__) == "fastnn" for times in cases.values())
    each = ", ".join(f"{_range(values)} times as fast as {name}" for name, values in ratios.items())
    return (
        f"{grid.name.capitalize()}: fastnn is the fastest of {', '.join(names[:-1])} and {names[-1]} in {n_won} of "
        f"{len(cases)} case{'s' if len(cases) > 1 else ''}: {each}."
    )


def _range(values: Sequence[float]) -> str:
    """Return "2.2 to 119", or one number where both ends read the same."""
    low, high = _significant(min(values)), _significant(max(values))
    return low if low == high else f"{low} to {high}"


def _significant(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
