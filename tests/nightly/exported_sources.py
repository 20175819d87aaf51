"""Bits of 300 random models exported as C, from several compilers and levels of optimization.

Run: python tests/nightly/exported_sources.py [NUMBER OF MODELS]. Tries gcc, clang and zig cc at -O1 and -O3, with and
without the processor's own multiply-add, and a compiler for aarch64 under qemu-user. Prints a line of JSON: models,
compilers, and outputs whose bits differ.
"""

import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from exported_models import finite_models, run_all

FLAGS = ("-std=c99", "-ffp-contract=off")
NATIVE = ("-O3", "-march=native")


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


def main(n_models):
    """Export, compile, run and compare."""
    models = finite_models(range(1000, 1000 + n_models))
    cases = [(model, X, model.output_shape[1]) for model, X in models]
    differing, compilers = 0, found()
    for name, (command, flags, runner) in compilers.items():
        standard = () if "c++" in command else FLAGS[:1]
        count = 0
        with tempfile.TemporaryDirectory() as folder:
            for start in range(0, len(cases), 25):
                part = cases[start : start + 25]
                results = run_all(Path(folder), part, command, (*standard, FLAGS[1], *flags), runner)
                for (model, X, _), pair in zip(part, results, strict=True):
                    expected = model.predict(X)
                    words = f"u{expected.itemsize}"
                    count += sum(int((result.view(words) != expected.view(words)).sum()) for result in pair)
        print(f"{name}: {count} outputs differ", flush=True)
        differing += count
    print(json.dumps({"models": len(cases), "compilers": len(compilers), "differing": differing}))
    return differing != 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
