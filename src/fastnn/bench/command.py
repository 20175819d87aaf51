"""The benchmark command: which grids, how long, and where the results go."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import fastnn
import fastnn._core as _core
from fastnn.bench.contest import PeakMeter, Schedule, open_competitors
from fastnn.bench.contestants import CONTESTANTS, installed, keras_backend
from fastnn.bench.growth import measure_growth
from fastnn.bench.machine import describe_machine, n_cores, versions
from fastnn.bench.networks import NETWORKS
from fastnn.bench.options import add_arguments
from fastnn.bench.phases import measure_phases
from fastnn.bench.prediction import compare_prediction
from fastnn.bench.prices import measure_prices
from fastnn.bench.products import SIZES, compare_products
from fastnn.bench.report import Grid, Report, markdown_table, progress, table, verdict
from fastnn.bench.threads import measure_threads
from fastnn.bench.training import QUICK_NETWORKS, compare_training

__all__ = ["main", "run"]


@dataclass(frozen=True)
class Choice:
    """What the command line asks for."""

    full: bool
    contestants: list[str]
    networks: list[str]
    neighbours: int

    @property
    def schedule(self) -> Schedule:
        """Short turns, or with ``full`` long ones."""
        return Schedule.full() if self.full else Schedule.quick()


def _training(choice: Choice) -> Grid:
    networks = choice.networks or (list(NETWORKS) if choice.full else QUICK_NETWORKS)
    return compare_training(choice.contestants, networks, choice.schedule)


def _prediction(choice: Choice) -> Grid:
    networks = choice.networks or ["submarine", "digits", "mnist128"]
    if choice.full:
        networks = choice.networks or [*networks, "mnist512", "wide"]
    return compare_prediction(choice.contestants, networks, schedule=choice.schedule)


def _products(choice: Choice) -> Grid:
    sizes = SIZES if choice.full else [size for size in SIZES if max(size) <= 512]
    return compare_products(choice.contestants, sizes, choice.schedule)


def _phases(choice: Choice) -> Grid:
    return measure_phases(
        choice.networks or (list(NETWORKS) if choice.full else QUICK_NETWORKS), 3.0 if choice.full else 0.5
    )


def _prices(choice: Choice) -> Grid:
    return measure_prices(schedule=choice.schedule) if choice.full else measure_prices([32, 256])


def _threads(choice: Choice) -> Grid:
    if choice.full:
        return measure_threads(neighbours=choice.neighbours)
    return measure_threads([4, 32, 256], [1, 32, 256], neighbours=choice.neighbours)


def _growth(choice: Choice) -> Grid:
    return measure_growth() if choice.full else measure_growth([1_000, 100_000], [64, 256], [1, 4])


_GRIDS: dict[str, Callable[[Choice], Grid]] = {
    "training": _training,
    "prediction": _prediction,
    "products": _products,
    "phases": _phases,
    "prices": _prices,
    "threads": _threads,
    "growth": _growth,
}


def run(grids: Sequence[str], arguments: argparse.Namespace) -> int:
    """Run the grids, print and write their results; return 1 if a contestant disagreed or failed, else 0."""
    if arguments.plot is not None:
        from fastnn.bench.picture import require_matplotlib

        require_matplotlib()
    wanted = arguments.contestants or list(CONTESTANTS)
    present = [name for name in CONTESTANTS if name in wanted and installed(CONTESTANTS[name])]
    missing = [name for name in wanted if name not in present]
    choice = Choice(arguments.full, present, arguments.networks or [], arguments.neighbours)
    entering = [name for name in present if CONTESTANTS[name].grids & {*grids} or name == "fastnn"]
    report = _describe(entering, missing)
    print(report.head(), flush=True)
    for name in grids:
        grid = _GRIDS[name](choice)
        report.grids.append(grid)
        print(f"\n{table(grid)}", flush=True)
        if arguments.markdown and not grid.columns:
            print(markdown_table(grid), flush=True)
        if arguments.json is not None:
            report.write_json(arguments.json)
    for sentence in filter(None, map(verdict, report.grids)):
        print(f"\n{sentence}", flush=True)
    if arguments.plot is not None:
        from fastnn.bench.picture import draw

        for grid in report.grids:
            several = len(report.grids) > 1
            path = arguments.plot.with_stem(f"{arguments.plot.stem}-{grid.name}") if several else arguments.plot
            draw(grid, report.machine, path)
            print(f"picture: {path}")
    return 1 if any(grid.problems for grid in report.grids) else 0


def main(grids: Sequence[str]) -> int:
    """Run these grids with the arguments of the command line: the entry point of the commands in ``benchmarks/``."""
    parser = argparse.ArgumentParser(description=f"fastnn benchmark: {', '.join(grids)}")
    add_arguments(parser)
    return run(grids, parser.parse_args(sys.argv[1:]))


def _describe(contestants: Sequence[str], missing: list[str]) -> Report:
    progress("limits of the machine")
    machine = describe_machine()
    configuration = _core.config()
    machine.update({key: configuration[key] for key in ("isa", "threads", "compiler")})
    with open_competitors(["fastnn"], thread_counts=[n_cores()]) as (competitor,):
        meter = PeakMeter([competitor], 0.004)
        for _ in range(50):
            meter.measure()
        arguments = {"n_threads": n_cores(), "seconds": 0.5}
        copy = competitor.ask("measure", function="limits.memory_bandwidth", arguments=arguments)
    machine["fma_peak_gflops"] = meter.peak
    machine["fma_peak_gflops_by_threads"] = meter.peaks
    machine["copy_gb_per_second"] = copy["gb_per_second"]
    distributions = [name for contestant in contestants for name in CONTESTANTS[contestant].distributions]
    found = {"fastnn": fastnn.__version__, **versions(distributions)}
    if "keras" in found:
        found["keras"] += f" (on {keras_backend()})"
    return Report(machine=machine, versions=found, missing=missing, grids=[])
