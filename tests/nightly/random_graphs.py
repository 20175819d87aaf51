"""Random graphs of the compiled core: gradients against NumPy and differences, bits on all threads and kernels.

Run: python tests/nightly/random_graphs.py [GRAPHS [FIRST]]. Prints what is wrong and a line of JSON.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from graphs import random_graph
from test_graphs import check_graph

from fastnn import _core

TESTS = Path(__file__).parents[1]


def wrong_gradients(count, first):
    """Graphs whose outputs or gradients disagree."""
    wrong = []
    for seed in range(first, first + count):
        try:
            check_graph(random_graph(random.Random(seed)))
        except AssertionError as error:
            print(f"graph {seed}: {error}")
            wrong.append(seed)
    return wrong


def different_bits(count, first):
    """Graphs whose bits differ with threads, cuts, rows or kernels with fused multiply-adds."""
    results = []
    for isa in _core.config()["isas"]:
        if isa != "baseline":
            command = [sys.executable, str(TESTS / "graph_bits.py"), str(count), str(first)]
            run = subprocess.run(command, env={**os.environ, "FASTNN_ISA": isa}, stdout=subprocess.PIPE, check=True)
            results.append(json.loads(run.stdout))
    mixed = {name for result in results for name in result["mixed"]}
    return sorted(
        name
        for name in results[0]["hashes"]
        if name in mixed or len({bits for result in results for bits in result["hashes"][name]}) > 1
    )


def main():
    """Both."""
    count, first = [int(text) for text in sys.argv[1:]] + [1000, 0][len(sys.argv) - 1 :]
    figures = {
        "graphs": count,
        "wrong gradients": wrong_gradients(count, first),
        "different bits": different_bits(count, first),
    }
    print(json.dumps(figures))
    raise SystemExit(bool(figures["wrong gradients"] or figures["different bits"]))


if __name__ == "__main__":
    main()
