"""Coverage of the C core by the tests of the core: lines and branches, and what is not covered.

Run: python tests/nightly/core_coverage.py [TESTS ...] (needs the build's packages: pip install '.[dev,test]'). Prints
the lines and branches that no test reaches, then a line of JSON. A line of a kernel counts once, whatever the number of
instruction sets and functions that it is compiled for, and so does a branch: it is covered where one of them takes it.
"""

import collections
import gzip
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
TESTS = (
    "core golden_hashes gradients parts structural_layers layers ops inputs accepted_inputs class_weight "
    "training_parts output_penalties loss_reductions divergence class_factors thread_trials threads two_threads "
    "callers_memory landscape sequential initializers estimators_equal_sklearn interrupted_calls interruption "
    "system_threads batches nadam_product accuracy keras_arithmetic fault_injection bench inside checkpoints"
)
# Functions that are inlined for the sake of speed would be counted once for each constant that they are called with.
FLAGS = "--coverage -O0 -fprofile-update=atomic -Dalways_inline=unused"
LEAST_BRANCHES = 0.98


def build(folder):
    """Build the package with counters and unpack it; return its folder and that of the objects."""
    settings = {"build-dir": f"{folder}/build", "cmake.build-type": "Debug", "cmake.define.CMAKE_C_FLAGS": FLAGS}
    options = [f"--config-settings={name}={value}" for name, value in settings.items()]
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *options, "--wheel-dir", folder, str(CHECKOUT)], check=True)
    [wheel] = Path(folder).glob("*.whl")
    zipfile.ZipFile(wheel).extractall(f"{folder}/site")
    return Path(folder) / "site", Path(folder) / "build"


def counted(build_folder, folder):
    """{file: {line: count}} and {file: {(line, branch): count}} of csrc, summed over all objects."""
    lines = collections.defaultdict(collections.Counter)
    branches = collections.defaultdict(collections.Counter)
    for notes in build_folder.rglob("*.gcda"):
        if "csrc" not in str(notes):
            continue
        subprocess.run(["gcov", "-b", "--json-format", str(notes)], cwd=folder, check=True, capture_output=True)
        for report in Path(folder).glob("*.gcov.json.gz"):
            for file in json.loads(gzip.decompress(report.read_bytes()))["files"]:
                if "csrc/" not in file["file"]:
                    continue
                name = file["file"].split("csrc/")[-1].replace("layers/../", "")
                for line in file["lines"]:
                    number = line["line_number"]
                    lines[name][number] += line["count"]
                    of_line = line["branches"]
                    for i, branch in enumerate(of_line):
                        branches[name][number, len(of_line), i] += branch["count"]
            report.unlink()
    return lines, branches


def source(name, number):
    """One line of a source file."""
    return (CHECKOUT / "csrc" / name).read_text(encoding="utf-8").splitlines()[number - 1].strip()


def main():
    """Build, test, count."""
    names = sys.argv[1:] or TESTS.split()
    tests = [str(CHECKOUT / "tests" / f"test_{name}.py") for name in names]
    with tempfile.TemporaryDirectory() as folder:
        site, build_folder = build(folder)
        pytest = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *[t for t in tests if Path(t).exists()],
        ]
        run = subprocess.run(["env", f"PYTHONPATH={site}", *pytest], cwd=CHECKOUT, stdout=sys.stderr)
        lines, branches = counted(build_folder, folder)
    missed_branches = 0
    for name in sorted(lines):
        missed = {number for number, count in lines[name].items() if not count}
        untaken = collections.Counter(number for (number, _, _), count in branches[name].items() if not count)
        missed_branches += sum(untaken.values())
        for number in sorted(missed | set(untaken)):
            what = "line" if number in missed else f"{untaken[number]} branches"
            print(f"csrc/{name}:{number}: {what}: {source(name, number)}")
    n_lines, n_branches = sum(map(len, lines.values())), sum(map(len, branches.values()))
    missed_lines = sum(count == 0 for counts in lines.values() for count in counts.values())
    figures = {
        "lines": n_lines,
        "lines covered": round(1 - missed_lines / n_lines, 4),
        "branches": n_branches,
        "branches covered": round(1 - missed_branches / n_branches, 4),
    }
    print(json.dumps(figures))
    sys.exit(1 if figures["branches covered"] < LEAST_BRANCHES or run.returncode else 0)


if __name__ == "__main__":
    main()
