"""A file larger than the memory that a process may have: rows per second, cold and warm, and the peak of memory."""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
import fastnn.data
from fastnn import layers
from fastnn._command_line import positive_count, positive_number
from fastnn.bench.report import Grid, progress, table

__all__ = ["main", "measure_memory_maps"]

_WARM = ("array", "memmap", "source")
_COLD = ("source, cold", "read, cold")
_BATCH_SIZE = 256
_READ_BYTES = 1 << 22
_WIDTHS = ([100, 64, 64, 1], [30, 32, 1])


def measure_memory_maps(
    gigabytes: float, widths: Sequence[int], limit: int = 1 << 30, epochs: int = 2, turns: int = 3
) -> Grid:
    """Fit a file of random float32 in new processes: as an array in memory, as a memory map, and as a source.

    The warm ways take turns, after a first reading of the new file. All but the array have at most ``limit`` bytes of
    private memory (RLIMIT_DATA). The peak of resident memory also counts the pages of the file that are mapped: those
    of a memory map, which the system takes back when it needs them.
    """
    n_rows = max(1, int(gigabytes * 1e9 / (4 * widths[0])))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        progress(f"memmap: writing {gigabytes:g} GB")
        _write(path, n_rows, widths[0])
        _measure("read", path, widths, 1, limit)
        measured: dict[str, list[dict[str, Any]]] = {way: [] for way in _WARM + _COLD}
        for turn in range(turns):
            for way in _WARM:
                progress(f"memmap: {way}, turn {turn + 1} of {turns}")
                measured[way].append(_measure(way, path, widths, epochs, limit))
        for way in _COLD:
            progress(f"memmap: {way}")
            measured[way].append(_measure(way, path, widths, 1, limit))
    results = [_summary(way, found, n_rows, widths[0]) for way, found in measured.items()]
    return Grid(
        name="memmap",
        title=f"A file of {gigabytes:g} GB: {n_rows:,} rows through {'-'.join(map(str, widths))}, batch {_BATCH_SIZE}",
        rows=results,
        columns={
            "way": "rows from",
            "million_rows": "M rows/s",
            "spread": "of turns",
            "gigabytes": "GB/s",
            "peak_mib": "peak MiB",
            "private_mib": "private MiB",
        },
        notes=[
            f"Median of {turns} turns, each the shortest of {epochs} epochs; one epoch where it is cold. Private",
            f"memory: at most {limit >> 20} MiB, except for the array. Cold: the file's pages were dropped from the",
            "page cache. 'read' only reads the file.",
            _ratios(results),
        ],
    )


def _measure(way: str, path: Path, widths: Sequence[int], epochs: int, limit: int) -> dict[str, Any]:
    """Run one way in a new process."""
    arguments = {"way": way, "path": str(path), "widths": list(widths), "epochs": epochs, "limit": limit}
    command = [sys.executable, "-m", "fastnn.bench.memory_maps", json.dumps(arguments)]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def _summary(way: str, turns: Sequence[dict[str, Any]], n_rows: int, n_columns: int) -> dict[str, Any]:
    """Return the row of the table for the turns of one way."""
    speeds = [n_rows / turn["seconds"] / 1e6 for turn in turns]
    return {
        "way": way,
        "million_rows": statistics.median(speeds),
        "spread": f"{min(speeds):.3g}-{max(speeds):.3g}" if len(speeds) > 1 else "",
        "gigabytes": statistics.median(speeds) * 4 * n_columns / 1e3,
        "peak_mib": max(turn["peak_mib"] for turn in turns),
        "private_mib": max(turn["private_mib"] for turn in turns),
    }


def _ratios(results: Sequence[dict[str, Any]]) -> str:
    """Return the speeds of files as shares of those of arrays; cold, of what limits them: the disk or training."""
    speeds = {result["way"]: result["million_rows"] for result in results}
    limit = min(speeds["read, cold"], speeds["source"])
    shares = {
        "memmap / array": speeds["memmap"] / speeds["array"],
        "source / array": speeds["source"] / speeds["array"],
    }
    shares["source, cold / the slower of read and warm source"] = speeds["source, cold"] / limit
    return "; ".join(f"{name}: {share:.0%}" for name, share in shares.items())


def _write(path: Path, n_rows: int, n_columns: int) -> None:
    rows = np.lib.format.open_memmap(path, mode="w+", dtype="float32", shape=(n_rows, n_columns))
    generator = np.random.Generator(np.random.Philox(0))
    block = generator.standard_normal((min(n_rows, 100_000), n_columns), dtype=np.float32)
    for start in range(0, n_rows, len(block)):
        rows[start : start + len(block)] = block[: n_rows - start]
    rows.flush()


def _drop_from_cache(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _run(way: str, path: str, widths: list[int], epochs: int, limit: int) -> dict[str, Any]:
    """Run one way in this process; return seconds of an epoch and the peaks of resident and of private memory."""
    if way != "array":
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    cold = way.endswith("cold")
    if cold:
        _drop_from_cache(path)
    if way.startswith("read"):
        begin = time.perf_counter()
        with open(path, "rb", buffering=0) as file:
            buffer = bytearray(_READ_BYTES)
            while file.readinto(buffer):
                pass
        seconds = time.perf_counter() - begin
    else:
        mapped = np.load(path, mmap_mode="r")
        y = np.zeros(len(mapped), np.float32)
        x: Any = np.load(path) if way == "array" else mapped
        targets: Any = y
        if way.startswith("source"):
            x, targets = fastnn.data.source(path, y), None
        stack: list[Any] = [layers.Dense(units, "relu") for units in widths[1:-1]]
        model = fastnn.Sequential([*stack, layers.Dense(widths[-1])], seed=0)
        model.compile("adam", "mse")
        seconds = float("inf")
        ends = [time.perf_counter()]
        clock = fastnn.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
        model.fit(x, targets, _BATCH_SIZE, 1 if cold else epochs, verbose=0, callbacks=[clock])
        seconds = min(after - before for before, after in pairwise(ends))
    return {"seconds": seconds, "peak_mib": _status("VmHWM"), "private_mib": _status("RssAnon")}


def _status(name: str) -> float:
    """Return a line of the process's status in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main(arguments: Sequence[str]) -> int:
    """Print the table for the arguments of the command line."""
    parser = argparse.ArgumentParser(prog="growth.py --memmap", description=measure_memory_maps.__doc__)
    parser.add_argument("--gigabytes", type=positive_number, default=6.0)
    parser.add_argument(
        "--widths", type=positive_count, nargs="+", help="of one network, instead of 100-64-64-1 and 30-32-1"
    )
    parser.add_argument("--epochs", type=positive_count, default=2)
    parser.add_argument("--turns", type=positive_count, default=3)
    options = parser.parse_args(arguments)
    for widths in [options.widths] if options.widths else _WIDTHS:
        print(table(measure_memory_maps(options.gigabytes, widths, epochs=options.epochs, turns=options.turns)))
    return 0


if __name__ == "__main__":
    print(json.dumps(_run(**json.loads(sys.argv[1]))))
