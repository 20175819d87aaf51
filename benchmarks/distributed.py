"""Two ranks of an MPI job against two threads of one process and PyTorch's DistributedDataParallel on gloo.

The contestants train the same networks from the same weights on the same batches, one after another, in several turns.
Each rank has one thread. The ranks train through the memory that they have in common, and with messages, as on several
machines. From the measured step of one thread, and the latency and bandwidth of an exchange, a model
computes how a network scales to 1,024 ranks. README.md explains the figures and the model.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn._command_line import output_file, picture_file, positive_count, positive_number
from fastnn.bench.machine import describe_machine
from fastnn.bench.networks import NETWORKS, Network, network_data
from fastnn.distributed import LEAST_OPERATIONS

NAMES = ("submarine", "digits", "tabular", "wide")
RANKS = [2**power for power in range(11)]
RATE, EPSILON = 0.001, 1e-7
BARS = {
    "tabular": {"2": 1 / 1.15, "ddp": 1.3},
    "wide": {"2": 1 / 1.15},
    "submarine": {"ddp": 3.0},
    "digits": {"ddp": 3.0},
}
"""The least ratio of a contestant's step to that of the ranks: at most 15 % more than two threads take."""

LABELS = {
    "1": "1 thread",
    "2": "2 threads",
    "ranks": "2 ranks",
    "messages": "2 ranks, messages",
    "ddp": "PyTorch DDP, 2 ranks",
}


def build(network: Network) -> fastnn.Sequential:
    classes = network.loss != "mse"
    hidden = [fastnn.layers.Dense(units, activation="relu") for units in network.sizes[1:-1]]
    last = fastnn.layers.Dense(network.sizes[-1], activation="softmax" if classes else None)
    model = fastnn.Sequential([fastnn.Input((network.sizes[0],)), *hidden, last], seed=0)
    model.compile(fastnn.optimizers.Adam(RATE, epsilon=EPSILON), network.loss)
    return model


# ---- workers: each prints a line of JSON with the figures of all networks ----


def measure(epoch: Any, network: Network, seconds: float, ranks: Any = None) -> dict[str, Any]:
    """Return losses of the first two epochs, and seconds of a step in those that follow; rank 0 says when they end."""
    losses, times = [epoch(), epoch()], []
    steps, end = -(-network.n_rows // network.batch_size), time.perf_counter() + seconds
    more = True
    while more:
        start = time.perf_counter()
        epoch()
        times.append((time.perf_counter() - start) / steps)
        more = time.perf_counter() < end or len(times) < 3
        if ranks is not None:
            more = ranks.tell("another epoch", bytes([more]))[0] != b"\0"
    return {"losses": losses, "best": min(times), "median": statistics.median(times), "epochs": len(times) + 2}


def train(names: list[str], seconds: float, ranks: Any = None) -> dict[str, Any]:
    """Measure fastnn, and what a rank receives in a step."""
    found = {}
    for name in names:
        network = NETWORKS[name]
        X, y = network_data(network)
        model = build(network)

        def epoch(model: Any = model, X: Any = X, y: Any = y, network: Network = network) -> float:
            history = model.fit(X, y, batch_size=network.batch_size, shuffle=False, verbose=0)
            return float(history.history["loss"][0])

        before = (0, 0) if ranks is None else (ranks.n_exchanges, ranks.n_bytes)
        found[name] = measure(epoch, network, seconds, ranks)
        if ranks is not None:
            n_steps = found[name]["epochs"] * -(-network.n_rows // network.batch_size)
            found[name]["exchanges"] = (ranks.n_exchanges - before[0]) / n_steps
            found[name]["bytes"] = (ranks.n_bytes - before[1]) / n_steps
    return found


def exchange_speed(ranks: Any) -> dict[str, float]:
    """Return seconds of an exchange of 8 bytes, and bytes per second that a rank receives in one of 4 MB."""
    found = {}
    for n_bytes in (8, 1 << 22):
        memory, times = memoryview(bytearray(n_bytes * ranks.size)), []
        for _ in range(50):
            start = time.perf_counter()
            ranks.gather(memory, [rank * n_bytes for rank in range(ranks.size + 1)])
            times.append(time.perf_counter() - start)
        found[n_bytes] = statistics.median(times)
    return {"latency": found[8], "bandwidth": (1 << 22) * (ranks.size - 1) / found[1 << 22]}


class _Told:
    """What ``measure`` asks of ranks, for PyTorch."""

    @staticmethod
    def tell(what: str, value: bytes) -> list[bytes]:
        from mpi4py import MPI

        return list(MPI.COMM_WORLD.allgather(value))


def train_ddp(names: list[str], seconds: float, folder: str) -> dict[str, Any]:
    """Measure PyTorch: each rank takes half of every batch."""
    import torch
    from mpi4py import MPI
    from torch.nn.parallel import DistributedDataParallel

    rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/gloo", rank=rank, world_size=size)
    found = {}
    for name in names:
        network = NETWORKS[name]
        X, y = (torch.from_numpy(np.array(array)) for array in network_data(network))
        weights = build(network).get_weights()
        modules: list[Any] = []
        for place, (n_in, n_out) in enumerate(pairwise(network.sizes)):
            linear = torch.nn.Linear(n_in, n_out)
            linear.weight.data = torch.from_numpy(weights[2 * place].T.copy())
            linear.bias.data = torch.from_numpy(weights[2 * place + 1])
            modules += [linear, torch.nn.ReLU()]
        model = DistributedDataParallel(torch.nn.Sequential(*modules[:-1]))
        optimizer = torch.optim.Adam(model.parameters(), RATE, eps=EPSILON, fused=True)
        loss_of = torch.nn.MSELoss() if network.loss == "mse" else torch.nn.CrossEntropyLoss()
        own = network.batch_size // size
        parts = [
            (X[first : first + own], y[first : first + own])
            for first in range(rank * own, network.n_rows, network.batch_size)
        ]

        def epoch(parts: Any = parts, model: Any = model, optimizer: Any = optimizer, loss_of: Any = loss_of) -> float:
            total = torch.zeros(())
            for inputs, targets in parts:
                optimizer.zero_grad(set_to_none=True)
                loss = loss_of(model(inputs), targets)
                loss.backward()
                optimizer.step()
                total += loss.detach()
            torch.distributed.all_reduce(total)
            return float(total) / size / len(parts)

        found[name] = measure(epoch, network, seconds, _Told)
    torch.distributed.destroy_process_group()
    return found


def work(arguments: argparse.Namespace) -> None:
    if arguments.worker in ("ranks", "messages"):
        with fastnn.distributed.mpi(shared_memory=arguments.worker == "ranks") as ranks:
            found = {"exchange": exchange_speed(ranks), **train(arguments.networks, arguments.seconds, ranks)}
            print(json.dumps(found))
        return
    if arguments.worker == "ddp":
        found = train_ddp(arguments.networks, arguments.seconds, arguments.folder)
    else:
        fastnn.set_num_threads(int(arguments.worker))
        found = train(arguments.networks, arguments.seconds)
    print(json.dumps(found))


# ---- the model ----

CHUNK = 256
"""Rows of a chunk of a batch; a rank of the weak scaling has at least one."""

SCATTERED = 1e-6
"""Seconds in which a rank sends one of the messages, one to each rank, of an exchange of sums."""


@dataclass(frozen=True)
class Exchange:
    """What a rank receives in a step, and in how many exchanges."""

    gathers: int
    scatters: int
    n_bytes: float

    def seconds(self, n_ranks: int, latency: float, bandwidth: float) -> float:
        """Return the time that it takes."""
        each = latency * math.log2(n_ranks)
        messages = self.scatters * SCATTERED * (n_ranks - 1)
        return (self.gathers + self.scatters) * each + messages + self.n_bytes / bandwidth


def exchange(network: Network, rows: int, n_ranks: int, way: str) -> Exchange:
    """Return what a rank receives in a step: ``way`` is "rows", "sums" of chunks, or for each layer the "less" of both.

    A row of a layer is its inputs, a one and the gradients of its outputs, four bytes each; sums are those of a rank's
    share of the weights, from every chunk. The weights always travel, and for the loss 16 bytes of each row.
    """
    chunks = -(-rows // CHUNK)
    gathers, scatters, received = 2, 0, rows * 16.0 + 4 * network.n_weights
    even = -(-chunks // n_ranks) * n_ranks <= 1.25 * chunks
    for n_in, n_out in network.kernels:
        of_rows, of_sums = 4.0 * rows * (n_in + 1 + n_out), 4.0 * chunks / n_ranks * (n_in + 1) * n_out
        sums = way == "sums" or (way == "less" and even and of_sums < of_rows)
        received += of_sums if sums else of_rows
        gathers += not sums
        scatters += sums
    return Exchange(gathers, scatters, received * (n_ranks - 1) / n_ranks)


def batch_of(network: Network, n_ranks: int, weak: bool) -> int:
    """Return the rows of a batch: the network's, or at least a chunk for each rank."""
    return n_ranks * max(network.batch_size, CHUNK) if weak else network.batch_size


def simulated(network: Network, step: float, n_ranks: int, weak: bool, latency: float, bandwidth: float) -> float:
    """Return the seconds of a step on some ranks.

    Assumptions: the arithmetic of a step takes ``step`` on one rank, is proportional to the rows, and is divided by
    panels of 16 rows, or chunks where their sums travel; a rank receives what all others send, at the bandwidth of one
    link; an exchange takes the latency times the binary logarithm of the ranks, and one of sums ``SCATTERED`` for each
    of them; nothing overlaps. Every rank makes a step that is too small to divide.
    """
    rows = batch_of(network, n_ranks, weak)
    whole = step * rows / network.batch_size
    if n_ranks == 1 or 6.0 * network.n_weights * rows < LEAST_OPERATIONS:
        return whole
    travels = exchange(network, rows, n_ranks, "less")
    unit = CHUNK if travels.scatters else 16
    units = -(-rows // unit)
    return whole * -(-units // n_ranks) / units + travels.seconds(n_ranks, latency, bandwidth)


def scaling(network: Network, step: float, latency: float, bandwidth: float) -> dict[str, list[float]]:
    """Return the rows per second of ``RANKS`` relative to one rank, for a batch that grows with them or does not."""
    found = {}
    for kind, weak in (("strong", False), ("weak", True)):
        times = [simulated(network, step, n, weak, latency, bandwidth) for n in RANKS]
        found[kind] = [times[0] / seconds * (n if weak else 1) for n, seconds in zip(RANKS, times, strict=True)]
    return found


def print_volumes(network: Network) -> None:
    """Print what a rank receives in a step of the weak scaling, either way."""
    print(f"  a rank receives in a step, computed, {batch_of(network, 1, True)} rows on each rank, MB (exchanges):")
    for way in ("rows", "sums", "less"):
        found = [(n, exchange(network, batch_of(network, n, True), n, way)) for n in RANKS if n in (2, 8, 64, 1024)]
        counts = [f"{n} ranks: {e.n_bytes / 1e6:.3g} ({e.gathers + e.scatters})" for n, e in found]
        print(f"    {way:5s} " + ", ".join(counts))


def draw(lines: dict[str, dict[str, list[float]]], path: str) -> None:
    """Draw the scaling of all networks."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, kind in zip(axes, ("strong", "weak"), strict=True):
        for name, by_kind in lines.items():
            axis.plot(RANKS, by_kind[kind], marker=".", label=name)
        axis.plot(RANKS, RANKS, color="0.7", linewidth=1, label="ideal")
        axis.set(xscale="log", yscale="log", xlabel="ranks", ylim=(0.5, 2000))
    axes[0].set_title("Strong scaling, computed", fontsize=11)
    axes[1].set_title(f"Weak scaling, computed ({CHUNK} or more rows per rank)", fontsize=11)
    axes[0].set_ylabel("rows/s relative to one rank")
    axes[0].legend()
    figure.savefig(path, dpi=150)


# ---- turns ----


def launch(worker: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one contestant; return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__)), "--worker", worker, "--folder", folder]
        command += ["--seconds", str(arguments.seconds), "--networks", *arguments.networks]
        if not worker.isdecimal():
            command = [arguments.mpiexec, "-n", "2", *command]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(next(line for line in run.stdout.splitlines() if line.startswith("{"))))


def verdicts_of(name: str, ratios: dict[str, Any]) -> list[str]:
    """Return a line for each bar of a network: the median of the ratios, the least and the greatest."""
    lines = []
    for worker, bar in BARS.get(name, {}).items():
        if worker in ratios:
            found = ratios[worker]
            verdict = "reached" if np.median(found) >= bar else "missed"
            measured = f"{np.median(found):.2f} ({found.min():.2f} to {found.max():.2f})"
            lines.append(f"{verdict}: {name}, {LABELS[worker]}: {measured} times the step of 2 ranks, bar {bar:.2f}")
    return lines


def report(turns: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Print the figures of all turns and what the model makes of them; return them."""
    latency = arguments.latency or statistics.median(turn["ranks"]["exchange"]["latency"] for turn in turns)
    bandwidth = arguments.bandwidth or statistics.median(turn["ranks"]["exchange"]["bandwidth"] for turn in turns)
    print(f"exchange between 2 ranks: {1e6 * latency:.1f} us, {bandwidth / 1e9:.2f} GB/s")
    print("median of the turns, best step of each; ratios of the same turn, least to most")
    lines, figures, verdicts = {}, {}, []
    for name in arguments.networks:
        network = NETWORKS[name]
        best = {worker: [turn[worker][name]["best"] for turn in turns] for worker in turns[0]}
        losses = {worker: turns[0][worker][name]["losses"] for worker in turns[0]}
        assert losses["ranks"] == losses["messages"] == losses["1"] == losses["2"], (
            f"{name}: the ranks have other losses: {losses}"
        )
        if "ddp" in losses:
            # PyTorch adds epsilon to another root, which matters in the first steps, where gradients are small.
            np.testing.assert_allclose(losses["ddp"], losses["1"], rtol=2e-2)
        print(f"\n{network.label}")
        for worker, label in LABELS.items():
            if worker in best:
                ratios = np.divide(best[worker], best["ranks"])
                print(
                    f"  {label:22s}{1e6 * statistics.median(best[worker]):12.1f} us"
                    f"{np.median(ratios):9.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
                )
        verdicts += verdicts_of(name, {worker: np.divide(best[worker], best["ranks"]) for worker in best})
        shared, received = turns[0]["ranks"][name], turns[0]["messages"][name]
        computed = exchange(network, network.batch_size, 2, "less").n_bytes if received["bytes"] else 0.0
        print(
            f"  a rank receives {received['bytes'] / 1e6:.3f} MB in {received['exchanges']:.1f} exchanges of a step "
            f"(computed: {computed / 1e6:.3f} MB); with common memory {shared['bytes'] / 1e6:.3f} MB in "
            f"{shared['exchanges']:.1f}"
        )
        print_volumes(network)
        step = statistics.median(best["1"])
        lines[name] = scaling(network, step, latency, bandwidth)
        for kind, values in lines[name].items():
            pairs = ", ".join(f"{n}: {value:.3g}" for n, value in zip(RANKS, values, strict=True))
            print(f"  {kind} scaling, computed: {pairs}")
        figures[name] = {"best": best, "received": received, "shared": shared, "scaling": lines[name]}
    if arguments.plot:
        draw(lines, arguments.plot)
    print("", *verdicts, sep="\n")
    return {"latency": latency, "bandwidth": bandwidth, "networks": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    chains = [name for name, network in NETWORKS.items() if network.shape == "chain"]
    parser.add_argument("--networks", nargs="+", default=list(NAMES), choices=chains)
    parser.add_argument("--turns", type=positive_count, default=5)
    parser.add_argument("--seconds", type=positive_number, default=0.7, help="of each network in a turn")
    parser.add_argument("--latency", type=positive_number, help="seconds, for the model; default: measured")
    parser.add_argument("--bandwidth", type=positive_number, help="bytes per second, for the model; default: measured")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--json", type=output_file)
    parser.add_argument("--plot", type=picture_file)
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    parser.add_argument("--mpiexec", default=shutil.which("mpiexec", path=folders) or "mpiexec")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    if shutil.which(arguments.mpiexec, path=folders) is None:
        parser.error(f"argument --mpiexec: there is no program {arguments.mpiexec!r}")
    print(describe_machine())
    workers = ["1", "2", "ranks", "messages"] + ([] if arguments.no_torch else ["ddp"])
    turns = [{worker: launch(worker, arguments) for worker in workers} for _ in range(arguments.turns)]
    figures = report(turns, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
