"""The process of one contestant: reads one request per line from standard input and answers on standard output.

A request is a JSON object with "command" and its arguments, the answer a JSON object; an error is {"error": text}.
Run by `fastnn.bench.contest` as ``python -m fastnn.bench.worker NAME THREADS [CORE]``.
"""

import importlib
import json
import os
import sys
import time
import traceback
from typing import Any, TextIO

import numpy as np

from fastnn.bench.contestants import create
from fastnn.bench.networks import NETWORKS, network_data, network_weights

Answer = dict[str, Any]


class Worker:
    """The commands; each returns the answer to send back."""

    def __init__(self, name: str, n_threads: int) -> None:
        self.name = name
        self.n_threads = n_threads
        self.contestant = create(name, n_threads)

    def start_training(self, network: str, n_batches: int = 0) -> Answer:
        """Load a network with its first ``n_batches`` batches (0: all of its data), at the starting weights."""
        chosen = NETWORKS[network]
        X, y = network_data(chosen)
        n_rows = n_batches * chosen.batch_size or chosen.n_rows
        self.n_batches = n_rows // chosen.batch_size
        self.contestant.start_training(chosen, X[:n_rows], y[:n_rows], network_weights(chosen))
        return {}

    def train(self, epochs: int) -> Answer:
        """Train; return the seconds of the whole call, the number of steps and the losses of the epochs."""
        start = time.perf_counter()
        losses = self.contestant.train(epochs)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "steps": epochs * self.n_batches, "losses": losses}

    def start_prediction(self, network: str, n_rows: int) -> Answer:
        """Load a network and the first rows of its data; return the outputs of these rows."""
        chosen = NETWORKS[network]
        X, _ = network_data(chosen)
        self.contestant.start_prediction(chosen, network_weights(chosen))
        self.x = X[:n_rows].copy()
        return {"outputs": self.contestant.predict(self.x)[:8].tolist()}

    def predict(self, calls: int) -> Answer:
        """Return the seconds of ``calls`` predictions, each with NumPy arrays in and out."""
        predict, x = self.contestant.predict, self.x
        start = time.perf_counter()
        for _ in range(calls):
            predict(x)
        return {"seconds": time.perf_counter() - start}

    def start_product(self, m: int, n: int, k: int, dtype: str) -> Answer:
        """Keep factors (m, k) and (k, n) of integers -2 to 2; return the exact sum of squares of their product."""
        generator = np.random.Generator(np.random.Philox(m + n + k))
        x, kernel = (generator.integers(-2, 3, shape).astype(dtype) for shape in ((m, k), (k, n)))
        self.contestant.start_product(x, kernel)
        return {"sum": float(np.square(self.contestant.multiply(), dtype=np.float64).sum())}

    def multiply(self, calls: int) -> Answer:
        """Return the seconds of ``calls`` products."""
        multiply = self.contestant.multiply
        start = time.perf_counter()
        for _ in range(calls):
            multiply()
        return {"seconds": time.perf_counter() - start}

    def measure(self, function: str, arguments: dict[str, Any]) -> Answer:
        """Call "module.function" of `fastnn.bench`; its result is the answer."""
        module, name = function.split(".")
        answer: Answer = getattr(importlib.import_module(f"fastnn.bench.{module}"), name)(**arguments)
        return answer


def serve(worker: Worker, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until the input ends."""
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("command"))(**request)
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Pin the process if a core is given, then serve. Output of the libraries goes to standard error."""
    name, n_threads, *core = sys.argv[1:]
    if core:
        os.sched_setaffinity(0, {int(core[0])})
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Worker(name, int(n_threads)), sys.stdin, answers)


if __name__ == "__main__":
    main()
