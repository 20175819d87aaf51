"""Count the instructions of small networks' training steps and predictions, for each kernel set; Linux on x86-64.

The counted calls run one instruction at a time under ptrace, so the counts need no performance counters and depend on
neither the load nor the clock. A step is the difference of two epochs, 4 and 8 steps long, on one thread. A prediction
is the difference of two calls of ``model(x)`` and one. ``--functions N`` lists where the instructions are, with an
extension that has its symbols (``pip wheel -Cinstall.strip=false``).
"""

import argparse
import ctypes
import gc
import os
import signal
import subprocess
import sys
from bisect import bisect
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn
import fastnn._core as _core
from fastnn import layers
from fastnn._command_line import count, positive_count
from fastnn.bench.networks import NETWORKS, network_data, network_weights

STEPS = 4
VARIANTS = ("batch-normalized", "layer-normalized", "residual")  # 20-64-64-1
PTRACE_TRACEME, PTRACE_PEEKUSER, PTRACE_CONT, PTRACE_SINGLESTEP = 0, 3, 7, 9
RIP = 16 * 8  # offset of the instruction pointer in struct user of Linux on x86-64
LOSSES = {
    "mse": ("mean_squared_error", {}),
    "binary_crossentropy": ("binary_crossentropy", {"from_logits": True}),
    "sparse_categorical_crossentropy": ("sparse_categorical_crossentropy", {"from_logits": True}),
}


def training_call(name: str, shuffle: bool) -> Callable[[int], None]:
    """Return a function that trains ``STEPS`` steps times its argument, 1 or 2, in one epoch."""
    network = NETWORKS[name]
    dense = [{"n_out": units, "use_bias": True, "activation": "relu"} for units in network.sizes[1:]]
    dense[-1]["activation"] = "linear"
    core = _core.Network(network.sizes[0], [("dense", options) for options in dense])
    for op, kernel in enumerate(network_weights(network)[::2]):
        core.set_parameter(op, "kernel", kernel)
    core.compile(*LOSSES[network.loss], "adam", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7})
    X, y = network_data(network)
    fits = []
    for n_steps in (STEPS, 2 * STEPS):
        rows = n_steps * network.batch_size
        fits.append(_core.Fit(core, X[:rows].copy(), y[:rows].copy(), batch_size=network.batch_size))
    rates = [np.full(fit.n_steps, 1e-3) for fit in fits]

    def train(multiple: int) -> None:
        fits[multiple - 1].begin_epoch(0, 0, shuffle, rates[multiple - 1])
        fits[multiple - 1].run(max_seconds=1e9)

    return train


def prediction_model(name: str) -> Any:
    """Return a network of the training grid, or one of ``VARIANTS``."""
    normalizations = {"batch-normalized": layers.BatchNormalization, "layer-normalized": layers.LayerNormalization}
    if name in normalizations:
        blocks = [[layers.Dense(64), normalizations[name](), layers.PReLU()] for _ in range(2)]
        return fastnn.Sequential([layers.Input((20,)), *blocks[0], *blocks[1], layers.Dense(1)])
    if name == "residual":
        inputs = layers.Input((20,))
        x = layers.Dense(64, activation="relu")(inputs)
        for _ in range(2):
            x = layers.Add()([x, layers.Dense(64, activation="relu")(x)])
        return fastnn.Model(inputs, layers.Dense(1)(x))
    network = NETWORKS[name]
    hidden = [layers.Dense(units, activation="relu") for units in network.sizes[1:-1]]
    return fastnn.Sequential([layers.Input((network.sizes[0],)), *hidden, layers.Dense(network.sizes[-1])])


def prediction_call(name: str, rows: int) -> Callable[[int], None]:
    """Return a function that predicts ``rows`` rows as many times as its argument says."""
    model = prediction_model(name)
    x = np.random.default_rng(0).standard_normal((rows, model.input_shape[-1]), dtype=np.float32)

    def predict(multiple: int) -> None:
        for _ in range(multiple):
            model(x)

    return predict


def run_calls(call: Callable[[int], None]) -> None:
    """Call with 1 and with 2 between stops that the tracer waits for."""
    for _ in range(20):
        call(1)
        call(2)
    gc.disable()
    libc = ctypes.CDLL(None)
    libc.ptrace(PTRACE_TRACEME, 0, 0, 0)
    for multiple in (1, 2):
        os.kill(os.getpid(), signal.SIGSTOP)
        call(multiple)
        os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)


def symbols() -> tuple[list[int], list[str], int, int]:
    """Return addresses and names of the compiled core's functions, and where this process has the core."""
    path = os.path.realpath(_core.__file__)
    with open("/proc/self/maps", encoding="ascii") as maps:
        regions = [line.split() for line in maps if line.rstrip().endswith(path)]
    spans = [[int(bound, 16) for bound in region[0].split("-")] for region in regions]
    listing = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    found = sorted((int(line[:16], 16), line[19:]) for line in listing.splitlines() if line[17:18] in "tT")
    return [address for address, _ in found], [name for _, name in found], spans[0][0], spans[-1][1]


def traced_counts(pid: int, name_of: Callable[[int], str] | None) -> list[Counter[str]]:
    """Instructions of the two calls of a traced process, by function or all under "all"."""
    libc = ctypes.CDLL(None)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    counts = []
    for _ in range(2):
        os.waitpid(pid, 0)
        places: Counter[int] = Counter()
        total = 0
        while True:
            libc.ptrace(PTRACE_SINGLESTEP, pid, None, None)
            _, status = os.waitpid(pid, 0)
            if os.WSTOPSIG(status) == signal.SIGSTOP:
                break
            total += 1
            if name_of:
                places[libc.ptrace(PTRACE_PEEKUSER, pid, RIP, None)] += 1
        count: Counter[str] = Counter({"all": total})
        for place, times in places.items():
            count[name_of(place)] += times
        counts.append(count)
        libc.ptrace(PTRACE_CONT, pid, None, None)
    os.waitpid(pid, 0)
    return counts


def count_instructions(call: Callable[[int], None], per: int, functions: bool) -> Counter[str]:
    """Return the difference of the calls with 2 and with 1, divided by ``per``."""
    addresses, names, low, high = symbols() if functions else ([], [], 0, 0)

    def name_of(place: int) -> str:
        return names[bisect(addresses, place - low) - 1] if low <= place < high else "elsewhere"

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # both processes on one core, which hands over faster
    pid = os.fork()
    if not pid:
        run_calls(call)
    one, two = traced_counts(pid, name_of if functions else None)
    return Counter({name: round((two[name] - one[name]) / per) for name in two})


def report(arguments: argparse.Namespace) -> None:
    """Print the counts of this process's kernel set."""
    fastnn.set_num_threads(1)
    isa = _core.config()["isa"]
    calls: list[tuple[str, Callable[[int], None], int]] = []
    for name in arguments.networks:
        calls.append((f"{NETWORKS[name].label}, a step", training_call(name, arguments.shuffle), STEPS))
    for name in arguments.predictions:
        for rows in arguments.rows:
            calls.append((f"{name}, model(x) of {rows} rows", prediction_call(name, rows), 1))
    for title, call, per in calls:
        counts = count_instructions(call, per, arguments.functions > 0)
        print(f"{isa:8} {title:44} {counts.pop('all'):10,}", flush=True)
        for function, found in counts.most_common(arguments.functions):
            print(f"{'':12} {function:50} {found:10,}")


def main() -> int:
    """Run this script once for each kernel set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    small = [name for name, network in NETWORKS.items() if network.shape == "chain"]
    parser.add_argument("--networks", nargs="*", default=["binary", "submarine"], choices=small, help="to train")
    parser.add_argument("--shuffle", action="store_true", help="draw an order of rows for the epoch")
    parser.add_argument("--predictions", nargs="*", default=[], choices=[*small, *VARIANTS])
    parser.add_argument("--rows", nargs="+", type=positive_count, default=[1, 32], help="of predictions")
    available = _core.config()["isas"]
    default = [isa for isa in ("avx512", "avx2") if isa in available]
    parser.add_argument("--isas", nargs="+", choices=available, default=default, help="kernel sets")
    parser.add_argument("--functions", type=count, default=0, help="how many functions to list")
    arguments = parser.parse_args()
    if "FASTNN_COUNTED" in os.environ:
        report(arguments)
        return 0
    for isa in arguments.isas:
        environment = {**os.environ, "FASTNN_ISA": isa, "FASTNN_COUNTED": "1", "PYTHONHASHSEED": "0"}
        subprocess.run([sys.executable, *sys.argv], env=environment, check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
