"""Rows per second of exported C against fastnn's own prediction on one thread; README.md in this folder explains it.

Run: python benchmarks/exported_c.py [--compiler gcc]. Both predict the same 1,024 rows again and again, in turn; the
bits are compared first. Prints the best time of each, and the quotient of the times.
"""

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn.bench.networks import NETWORKS, network_data, network_weights

ROWS = 1024
ROUNDS = 15
FLAGS = ("-std=c99", "-O3", "-march=native", "-ffp-contract=off")
DRIVER = r"""
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "net.h"
static float x[ROWS * net_inputs], y[ROWS * net_outputs];
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
int main(int argc, char **argv) {
    FILE *in = fopen("x.bin", "rb"), *out = fopen("y.bin", "wb");
    double best[2] = {1e9, 1e9};
    int repeat, i, r;
    if (fread(x, sizeof x, 1, in) != 1) return 1;
    for (repeat = 0; repeat < 30; repeat++)
        for (i = 0; i < 2; i++) {
            const double start = now();
            if (i)
                net_batch(x, y, ROWS);
            else
                for (r = 0; r < ROWS; r++) net(x + r * net_inputs, y + r * net_outputs);
            if (now() - start < best[i]) best[i] = now() - start;
        }
    fwrite(y, sizeof y, 1, out);
    printf("%.9g %.9g\n", best[0], best[1]);
    return fclose(out) + argc - 1 + !argv;
}
"""


def build(name: str, folder: Path, compiler: str) -> tuple[fastnn.Sequential, np.ndarray]:
    network = NETWORKS[name]
    X = np.ascontiguousarray(np.resize(network_data(network)[0], (ROWS, network.sizes[0])), np.float32)
    final = "softmax" if network.loss == "sparse_categorical_crossentropy" else "linear"
    activations = ["relu"] * (len(network.sizes) - 2) + [final]
    stack = [fastnn.layers.Dense(n, activation=a) for n, a in zip(network.sizes[1:], activations, strict=True)]
    model = fastnn.Sequential([fastnn.Input((network.sizes[0],)), *stack])
    model.set_weights(network_weights(network))
    model.export_c(folder / "net.c")
    (folder / "driver.c").write_text(DRIVER)
    X.tofile(folder / "x.bin")
    command = [*compiler.split(), *FLAGS, f"-DROWS={ROWS}", "driver.c", "net.c", "-o", "driver", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return model, X


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", default="gcc")
    chains = [name for name, network in NETWORKS.items() if network.shape == "chain"]
    parser.add_argument("--networks", nargs="+", choices=chains, default=["submarine", "digits", "mnist128"])
    arguments = parser.parse_args()
    if not arguments.compiler or shutil.which(arguments.compiler.split()[0]) is None:
        parser.error(f"argument --compiler: there is no program {arguments.compiler!r}")
    fastnn.set_num_threads(1)
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder_name:
            folder = Path(folder_name)
            model, X = build(name, folder, arguments.compiler)
            own, rows, batch = [], [], []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                Y = model.predict(X)
                own.append(time.perf_counter() - start)
                run = subprocess.run(["./driver"], cwd=folder, capture_output=True, text=True, check=True)
                first, second = map(float, run.stdout.split())
                rows.append(first)
                batch.append(second)
                for _ in range(10):
                    start = time.perf_counter()
                    model.predict(X)
                    own.append(time.perf_counter() - start)
            assert (folder / "y.bin").read_bytes() == Y.tobytes(), "the bits differ"
        best = [min(times) * 1e6 for times in (own, rows, batch)]
        print(
            f"{name:10} fastnn {best[0]:8.1f} us  net {best[1]:8.1f} us ({best[0] / best[1]:.2f} of its speed)  "
            f"net_batch {best[2]:8.1f} us ({best[0] / best[2]:.2f})"
        )


if __name__ == "__main__":
    main()
