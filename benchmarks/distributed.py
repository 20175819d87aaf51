"""Two ranks of an MPI job against two threads of one process and PyTorch's DistributedDataParallel on gloo.

The contestants train the same networks from the same weights on the same batches, one after another, in several turns.
Each rank has one thread. From the measured step of one thread, and the latency and bandwidth of an exchange, a model
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
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.bench.machine import describe_machine
from fastnn.bench.networks import NETWORKS, Network, network_data
from fastnn.distributed import LEAST_OPERATIONS

NAMES = ("submarine", "digits", "tabular", "wide")
RANKS = [2**power for power in range(11)]
RATE, EPSILON = 0.001, 1e-7
LABELS = {"1": "1 thread", "2": "2 threads", "ranks": "2 ranks", "ddp": "PyTorch DDP, 2 ranks"}


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
    """Measure fastnn, and what a rank sends in a step."""
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
    if arguments.worker == "ranks":
        with fastnn.distributed.mpi() as ranks:
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


def row_bytes(network: Network) -> int:
    """Bytes of a row in an exchange: inputs of the layers, gradients of their outputs, loss and its scale."""
    return 4 * (sum(network.sizes[:-1]) + len(network.sizes) - 1 + sum(network.sizes[1:])) + 16


def simulated(network: Network, step: float, n_ranks: int, weak: bool, latency: float, bandwidth: float) -> float:
    """Return the seconds of a step on some ranks.

    Assumptions: the arithmetic of a step takes ``step`` on one rank, is proportional to the rows, and is divided by
    panels of 16 rows; a rank receives what all others send, at the bandwidth of one link; an exchange takes the latency
    times the binary logarithm of the ranks; nothing overlaps. Every rank makes a step that is too small to divide.
    """
    rows = network.batch_size * (n_ranks if weak else 1)
    panels = -(-rows // 16)
    arithmetic = step * rows / network.batch_size * -(-panels // n_ranks) / panels
    if n_ranks == 1 or 6.0 * network.n_weights * rows < LEAST_OPERATIONS:
        return step * rows / network.batch_size
    others = (n_ranks - 1) / n_ranks
    received = others * (rows * row_bytes(network) + 4 * network.n_weights)
    return arithmetic + 2 * latency * math.log2(n_ranks) + received / bandwidth


def scaling(network: Network, step: float, latency: float, bandwidth: float) -> dict[str, list[float]]:
    """Return the rows per second of ``RANKS`` relative to one rank, for a batch that grows with them or does not."""
    found = {}
    for kind, weak in (("strong", False), ("weak", True)):
        times = [simulated(network, step, n, weak, latency, bandwidth) for n in RANKS]
        found[kind] = [times[0] / seconds * (n if weak else 1) for n, seconds in zip(RANKS, times, strict=True)]
    return found


def draw(lines: dict[str, dict[str, list[float]]], path: str) -> None:
    """Draw the scaling of all networks."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, kind in zip(axes, ("strong", "weak"), strict=True):
        for name, by_kind in lines.items():
            axis.plot(RANKS, by_kind[kind], marker=".", label=name)
        axis.plot(RANKS, RANKS, color="0.7", linewidth=1)
        axis.set(xscale="log", yscale="log", xlabel="ranks", title=f"{kind} scaling (computed)")
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


def report(turns: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Print the figures of all turns and what the model makes of them; return them."""
    latency = arguments.latency or statistics.median(turn["ranks"]["exchange"]["latency"] for turn in turns)
    bandwidth = arguments.bandwidth or statistics.median(turn["ranks"]["exchange"]["bandwidth"] for turn in turns)
    print(f"exchange between 2 ranks: {1e6 * latency:.1f} us, {bandwidth / 1e9:.2f} GB/s")
    print("median of the turns, best step of each; ratios of the same turn, least to most")
    lines, figures = {}, {}
    for name in arguments.networks:
        network = NETWORKS[name]
        best = {worker: [turn[worker][name]["best"] for turn in turns] for worker in turns[0]}
        losses = {worker: turns[0][worker][name]["losses"] for worker in turns[0]}
        assert losses["ranks"] == losses["1"] == losses["2"], f"{name}: the ranks have other losses: {losses}"
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
        sent = turns[0]["ranks"][name]
        print(f"  a rank sends {sent['bytes'] / 1e6:.3f} MB in {sent['exchanges']:.1f} exchanges of a step")
        step = statistics.median(best["1"])
        lines[name] = scaling(network, step, latency, bandwidth)
        for kind, values in lines[name].items():
            pairs = ", ".join(f"{n}: {value:.3g}" for n, value in zip(RANKS, values, strict=True))
            print(f"  {kind} scaling, computed: {pairs}")
        figures[name] = {"best": best, "sent": sent, "scaling": lines[name]}
    if arguments.plot:
        draw(lines, arguments.plot)
    return {"latency": latency, "bandwidth": bandwidth, "networks": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NAMES), choices=list(NETWORKS))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each network in a turn")
    parser.add_argument("--latency", type=float, help="seconds, for the model; default: measured")
    parser.add_argument("--bandwidth", type=float, help="bytes per second, for the model; default: measured")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--plot")
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    parser.add_argument("--mpiexec", default=shutil.which("mpiexec", path=folders))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    print(describe_machine())
    workers = ["1", "2", "ranks"] + ([] if arguments.no_torch else ["ddp"])
    turns = [{worker: launch(worker, arguments) for worker in workers} for _ in range(arguments.turns)]
    figures = report(turns, arguments)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
