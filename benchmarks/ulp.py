"""Measure the errors of the kernels' functions and derivatives, in units in the last place.

Builds and runs benchmarks/ulp.c on all 2^32 float32 inputs (an hour) or on ``--samples`` of them. In float64 it takes a
million samples and needs GCC with libquadmath. The exit status is 1 if float32 misses a goal.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("ulp.c")
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fopenmp"]
ISAS = {"x86_64": ["-DFNN_ISA_AVX2", "-mavx2", "-mfma"], "aarch64": ["-DFNN_ISA_NEON"]}
GOALS = {"exp": 1.0, "tanh": 1.5, "sigmoid": 2.0, "log": 2.0, "log1p": 2.0, "normal_cdf": 2.0}
OTHER_GOAL = 4.0


def measure(folder: str, float64: bool, samples: int, functions: list[str]) -> list[list[str]]:
    """Return rows (function, error, at, error of the derivative, at), and print each as it arrives."""
    program = os.path.join(folder, "ulp")
    isa = ISAS.get(platform.machine(), ["-DFNN_ISA_SCALAR"])
    kind = ["-DFNN_DOUBLE"] if float64 else []
    command = [os.environ.get("CC", "cc"), *FLAGS, *isa, *kind, str(SOURCE), "-o", program]
    subprocess.run([*command, *(["-lquadmath"] if float64 else []), "-lm"], check=True)
    rows = []
    with subprocess.Popen([program, str(samples), *functions], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    if process.returncode:
        sys.exit(process.returncode)
    return rows[2:]


def missed(rows: list[list[str]]) -> list[str]:
    """Name the functions whose value or derivative errs by more than its goal."""
    return [
        name
        for name, value, _, slope, _ in rows
        if not (float(value) <= GOALS.get(name, OTHER_GOAL) and float(slope) <= OTHER_GOAL)
    ]


def power_of_two(text: str) -> int:
    """Return a number of inputs, for argparse."""
    value = int(text) if text.isdecimal() else 0
    if not 4096 <= value <= 2**32 or value & (value - 1):
        raise argparse.ArgumentTypeError(f"must be a power of two from 4096 to 2^32, got {text!r}")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("functions", nargs="*", help="names as in the table; default: all")
    parser.add_argument(
        "--samples", type=power_of_two, default=2**32, help="float32 inputs, a power of two; default: all"
    )
    parser.add_argument("--float64", action="store_true", help="the float64 functions instead")
    given = parser.parse_args()
    samples = min(given.samples, 2**20) if given.float64 else given.samples
    with tempfile.TemporaryDirectory() as folder:
        print(f"float{64 if given.float64 else 32}, 2^{math.log2(samples):g} inputs")
        rows = measure(folder, given.float64, samples, given.functions)
    bad = [] if given.float64 else missed(rows)
    print(
        json.dumps(
            {
                "functions": len(rows),
                "largest error": max(float(row[1]) for row in rows),
                "of a derivative": max(float(row[3]) for row in rows),
                "beyond their goals": bad,
            }
        )
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
