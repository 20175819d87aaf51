"""Coverage of the C core by its tests: lines and branches, and what is not covered.

Run: python tests/nightly/core_coverage.py [TESTS ...] (needs the build's packages: pip install '.[dev,test]').
The kernels are counted in tests/portability/steps.c, which runs on AVX2 and AVX-512, and as scalar code where there is
neither. The engine is counted there, in limits.c, which interrupts long calls wherever they can be, and in tests of the
package, whose kernels are the optimized ones: with counters they would take ten times as long.
Prints the lines and branches that nothing reaches, then a line of JSON. A line of a kernel counts once, whatever the
number of instruction sets and functions that it is compiled for, and so does a branch: it is covered where one of them
takes it. Branches that nothing can take here are listed in unreachable_branches.txt, each with its reason, and are not
counted; an entry that is taken, or whose line is not there, is a failure. Tests of waiting times may fail on this slow
build; their outcome is that of the plain build.
"""

import collections
import gzip
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import c_programs

CHECKOUT = Path(__file__).parents[2]
TESTS = (
    "graphs parts gradients structural_layers tabular_layers tabular_estimators training_parts graph_training "
    "inputs accepted_inputs callers_memory batches steps_per_epoch epochs_together epochs_watched checkpoints "
    "sequential many class_weight class_factors loss_reductions output_penalties precision divergence second_order "
    "nadam_product reference_network ops inside threads two_threads system_threads dask distributed interrupted_calls "
    "interruption fault_injection allocation_failures rounding_mode estimators_bagging "
    "least_squares"
)
# Functions that are inlined for the sake of speed would be counted once for each constant that they are called with.
COUNTERS = ["--coverage", "-O0", "-fprofile-update=atomic", "-Dalways_inline=unused"]
LEAST_BRANCHES = 0.98
LIMITS = ["-DPOLL_NS=0", "-DFNN_PIECE_OPERATIONS=2e5"]
# Lines "FILE: BRANCHES: SOURCE LINE", each after its reason, which is indented. BRANCHES "0-2": it depends on when the
# system runs a thread.
UNREACHABLE = Path(__file__).with_name("unreachable_branches.txt")


def build(folder):
    """Build the package with counters in the engine and unpack it; return its folder and that of the objects."""
    settings = {"build-dir": f"{folder}/build", "cmake.define.FASTNN_COVERAGE": "ON"}
    options = [f"--config-settings={name}={value}" for name, value in settings.items()]
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *options, "--wheel-dir", folder, str(CHECKOUT)], check=True)
    [wheel] = Path(folder).glob("*.whl")
    zipfile.ZipFile(wheel).extractall(f"{folder}/site")
    return Path(folder) / "site", Path(folder) / "build"


def run_program(folder, name, isa, flags=(), kernel_flags=None):
    """Build a C program with counters in the folder of the objects and run it; return its process."""
    place = folder / f"csrc_{name}_{isa}"
    place.mkdir()
    driver = c_programs.NUMBERS.with_name(f"{name}.c")
    program = c_programs.program(place, isa, [*COUNTERS, *flags], driver=driver, kernel_flags=kernel_flags)
    run = c_programs.run([program])
    print(run.stderr, file=sys.stderr)
    return run


def run_programs(folder):
    """Run the C programs; return whether they did what they should."""
    isas = [*["avx2"] * c_programs.AVX2, *["avx512"] * c_programs.AVX512] or ["scalar"]
    pinned = c_programs.PINNED.read_text(encoding="utf-8")
    with ThreadPoolExecutor() as pool:
        steps = [pool.submit(run_program, folder, "steps", isa) for isa in isas]
        limits = pool.submit(run_program, folder, "limits", isas[-1], LIMITS, ["-O2"])
        return all(run.result().stdout == pinned for run in steps) and limits.result().returncode == 0


def unreachable():
    """{(file, source line): least and most branches} that nothing takes."""
    entries = re.finditer(r"^(\S+): (\d+)(?:-(\d+))?: (.*)$", UNREACHABLE.read_text(encoding="utf-8"), re.M)
    return {(match[1], match[4]): (int(match[2]), int(match[3] or match[2])) for match in entries}


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


def report(lines, branches):
    """Print what is missed, and entries of the list that do not hold; return the figures."""
    known, missed_branches, left_out = unreachable(), 0, 0
    untaken_of = collections.Counter()  # equal lines of a file have one entry
    for name in sorted(lines):
        missed = {number for number, count in lines[name].items() if not count}
        untaken = collections.Counter(number for (number, _, _), count in branches[name].items() if not count)
        for number in sorted(missed | set(untaken)):
            place = name, source(name, number)
            most = known.get(place, (0, 0))[1] - untaken_of[place]
            untaken_of[place] += untaken[number]
            explained = min(max(most, 0), untaken[number])
            left_out += explained
            missed_branches += untaken[number] - explained
            if (number in missed and not explained) or untaken[number] > explained:
                what = "line" if number in missed else f"{untaken[number] - explained} branches"
                print(f"csrc/{name}:{number}: {what}: {place[1]}")
    wrong = [place for place, (least, _) in known.items() if untaken_of[place] < least]
    for name, line in wrong:
        print(f"{UNREACHABLE.name}: {name}: taken, or not there: {line}")
    n_lines, n_branches = sum(map(len, lines.values())), sum(map(len, branches.values())) - left_out
    missed_lines = sum(count == 0 for counts in lines.values() for count in counts.values())
    return {
        "lines": n_lines,
        "lines covered": round(1 - missed_lines / n_lines, 4),
        "branches": n_branches,
        "branches covered": round(1 - missed_branches / n_branches, 4),
        "unreachable": left_out,
        "wrong entries": len(wrong),
    }


def main():
    """Build, test, count."""
    names = sys.argv[1:] or TESTS.split()
    tests = [str(CHECKOUT / "tests" / f"test_{name}.py") for name in names]
    with tempfile.TemporaryDirectory() as folder:
        site, build_folder = build(folder)
        fine = run_programs(build_folder)
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        subprocess.run(["env", f"PYTHONPATH={site}", *pytest], cwd=CHECKOUT, stdout=sys.stderr)
        figures = report(*counted(build_folder, folder))
    print(json.dumps(figures))
    sys.exit(1 if figures["branches covered"] < LEAST_BRANCHES or figures["wrong entries"] or not fine else 0)


if __name__ == "__main__":
    main()
