"""Bits of 300 random models exported as C and Fortran, from several compilers and levels of optimization.

Run: python tests/nightly/exported_sources.py [NUMBER OF MODELS]. A third of the models are graphs. Tries gcc, clang and
zig cc at -O1 and -O3, with and without the processor's own multiply-add, a compiler for aarch64 under qemu-user, and
gfortran. Prints a line of JSON: models, graphs among them, compilers, outputs of C whose bits differ, and the largest
difference in Fortran in units in the last place of the largest output.
"""

import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import test_export_fortran
from exported_graphs import finite_graphs
from exported_models import finite_models, run_all

FLAGS = ("-std=c99", "-ffp-contract=off")
NATIVE = ("-O3", "-march=native")
AT_ONCE = 25


def found():
    """{name: (command, flags, runner)} of what is installed."""
    zig = [sys.executable, "-m", "ziglang", "cc"] if importlib.util.find_spec("ziglang") else ["zig", "cc"]
    cross = ["aarch64-linux-gnu-gcc", "-static"]
    qemu = ("qemu-aarch64",)
    candidates = {
        "gcc -O1": (["gcc"], ("-O1",), ()),
        "gcc -O3": (["gcc"], ("-O3",), ()),
        "gcc -O3 -march=native": (["gcc"], NATIVE, ()),
        "g++ -O3 -march=native": (["g++", "-x", "c++"], NATIVE, ()),
        "clang -O3": (["clang"], ("-O3",), ()),
        "clang -O3 -march=native": (["clang"], NATIVE, ()),
        "zig cc -O3 -march=native": (zig, NATIVE, ()),
        "aarch64 gcc -O3": (cross, ("-O3",), qemu),
    }
    return {
        name: (command, flags, runner)
        for name, (command, flags, runner) in candidates.items()
        if shutil.which(command[0]) and all(map(shutil.which, runner))
    }


def pairs_of(results):
    """(expected, by row, by batch) of each output of models and of what a compiler made of them."""
    for (_, _, Y), pairs in results:
        yield from ((expected, *pair) for expected, pair in zip(Y, pairs, strict=True))


def in_parts(models, run):
    """Exports, compiles and runs models, some at a time; returns each model with its results."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(models), AT_ONCE):
            part = models[start : start + AT_ONCE]
            cases = [(model, X, [each.shape[1] for each in Y]) for model, X, Y in part]
            results += zip(part, run(Path(folder), cases), strict=True)
    return results


def units(expected, outputs):
    """The largest difference in units in the last place of each output's largest value."""
    return float((np.abs(outputs - expected).max(axis=0) / np.spacing(np.abs(expected).max(axis=0))).max())


def main(n_models):
    """Export, compile, run and compare."""
    n_graphs = n_models // 3
    chains = finite_models(range(1000, 1000 + n_models - n_graphs))
    graphs = finite_graphs(range(1000, 1000 + n_graphs))
    models = [*((model, [X], [model.predict(X)]) for model, X in chains), *graphs]
    differing, compilers, largest = 0, found(), None
    for name, (command, flags, runner) in compilers.items():
        options = (*(() if "c++" in command else FLAGS[:1]), FLAGS[1], *flags)

        def run(folder, cases, command=command, options=options, runner=runner):
            return run_all(folder, cases, command, options, runner)

        count = 0
        for expected, *outputs in pairs_of(in_parts(models, run)):
            words = f"u{expected.itemsize}"
            count += sum(int((each.view(words) != expected.view(words)).sum()) for each in outputs)
        print(f"{name}: {count} outputs differ", flush=True)
        differing += count
    if shutil.which("gfortran"):
        results = in_parts(models, test_export_fortran.run)
        largest = max(units(expected, each) for expected, *outputs in pairs_of(results) for each in outputs)
        print(f"gfortran: {largest} units in the last place", flush=True)
    counts = {"models": len(models), "graphs": len(graphs), "compilers": len(compilers), "differing": differing}
    print(json.dumps({**counts, "Fortran's largest ULP": largest}))
    return differing != 0 or (largest is not None and largest > 2)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
