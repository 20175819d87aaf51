"""Run what holds the promises, and write the figures to docs/trust.json and the table to docs/trust.md.

Run: python tests/nightly/run.py [NAMES ...]. NAMES: scripts, "tests" for all test files of the table, or single test
files; default: everything. Figures of other runs stay. "--table" only writes the table. The exit status is 1 if
something failed.
"""

import datetime
import json
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from promises import CHECK, SECTIONS

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
FIGURES, TABLE = CHECKOUT / "docs" / "trust.json", CHECKOUT / "docs" / "trust.md"
WHEEL_CHECKS = "wheels"  # made by .ci/nightly itself
SCRIPTS = {
    "same_results": [], "fault_injection": [], "thread_sanitizer": [], "memory_checks": [], "core_coverage": [],
    "mutation": ["100"], "fuzz_model_files": ["100000"], "fuzz_foreign_models": ["10000"],
    "subnormals": [], "process_ends": ["200"], "soak": ["2000"],
    "any_order": [], "compilers": [], "random_graphs": [], "exported_sources": ["300"],
    "lost_ranks": ["20"], "free_threaded": [],
}  # fmt: skip
OTHERS = {
    "ulp": ["benchmarks/ulp.py", "--samples", str(2**24)],
    "kill_while_saving": ["tests/kill_while_saving.py", "FOLDER", "3000", "0", "0", "1"],
    CHECK: [f"tests/{CHECK}"],
}
TEXT = """# Trust

What fastnn promises, the test or script that holds each promise, and its figures when it last ran. Files are in
`tests/` unless they say otherwise. Tests run with each change. The scripts in `tests/nightly/` take minutes to hours;
`.ci/nightly` runs them and writes this page.
"""


def script_figures(name):
    """Run a script; return what it reports."""
    command = OTHERS.get(name) or [f"tests/nightly/{name}.py", *SCRIPTS[name]]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *[folder if part == "FOLDER" else part for part in command]]
        run = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    print(run.stdout, flush=True)
    last = (run.stdout.splitlines() or [""])[-1]
    said = json.loads(last) if last.startswith("{") else {"as wanted": run.returncode == 0}
    return {"failed": bool(run.returncode or said.get("lost") or said.get("torn")), "said": said}


def test_figures(names):
    """Run test files; return {name: what pytest reports}."""
    with tempfile.TemporaryDirectory() as folder:
        report = f"{folder}/report.xml"
        files = [f"tests/{name}.py" for name in names]
        subprocess.run([sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *files], cwd=CHECKOUT)
        cases = ElementTree.parse(report).iter("testcase")
        counts = {name: Counter() for name in names}
        for case in cases:
            name = re.search(r"test_\w+", case.get("classname"))[0]
            kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
            counts[name][kinds.pop() if kinds else "passed"] += 1
    return {name: {"failed": bool(n["failure"] + n["error"]), "said": dict(n)} for name, n in counts.items()}


def cell(name, figures):
    """One test or script: its file, and its figures."""
    where = OTHERS[name][0] if name in OTHERS else f"nightly/{name}.py" if name in SCRIPTS else f"{name}.py"
    where = {".ci/run": ".ci/run", WHEEL_CHECKS: "packaging/check_wheel.sh"}.get(name, where).removeprefix("tests/")
    if name == ".ci/run":
        return where, "with each change"
    entry = figures.get(name)
    if entry is None:
        return where, "with each change" if name.startswith("test_") else "no figures yet: runs from `.ci/nightly`"
    parts = []
    for key, value in entry["said"].items():
        if isinstance(value, dict):
            value = f"({', '.join(f'{inner} {number}' for inner, number in value.items())})"
        parts.append(f"{key} {'none' if value == [] else value}")
    return where, f"{'FAILED: ' * entry['failed']}{', '.join(parts)} ({entry['date']})"


def table(figures):
    """The page."""
    lines = [TEXT]
    for title, promises in SECTIONS.items():
        lines += [f"## {title}\n", "| | Promise | Held by | Last figures |", "| --- | --- | --- | --- |"]
        for promise in promises:
            cells = [cell(name, figures) for name in promise.held]
            held = "<br>".join(f"`{where}`" for where, _ in cells) or "nothing yet"
            said = "<br>".join([*(text for _, text in cells), *([promise.why] if promise.why else [])])
            lines.append(f"| {promise.name} | {promise.text} | {held} | {said} |")
        lines.append("")
    explained = HERE / "explained.md"
    return "\n".join(lines) + "\n" + explained.read_text(encoding="utf-8")


def keep(figures, results):
    """Add results to the figures of earlier runs, and write both files."""
    today = datetime.date.today().isoformat()
    figures |= {name: result | {"date": today} for name, result in results.items()}
    FIGURES.write_text(json.dumps(dict(sorted(figures.items())), indent=1) + "\n", encoding="utf-8")
    TABLE.write_text(table(figures), encoding="utf-8")
    return any(result["failed"] for result in results.values())


def main():
    """Run everything, and write the figures after each part: the last ones take hours."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    wanted = sys.argv[1:]
    held = [name for promises in SECTIONS.values() for promise in promises for name in promise.held]
    tests = list(dict.fromkeys(name for name in held if name.startswith("test_")))
    tests = tests if not wanted or "tests" in wanted else [name for name in tests if name in wanted]
    failed = keep(
        figures, {WHEEL_CHECKS: {"failed": False, "said": {"as wanted": True}}} if WHEEL_CHECKS in wanted else {}
    )
    failed |= keep(figures, test_figures(tests) if tests else {})
    for name in [*SCRIPTS, *OTHERS]:
        if not wanted or name in wanted:
            print(f"== {name}", flush=True)
            failed |= keep(figures, {name: script_figures(name)})
    sys.exit(failed)


if __name__ == "__main__":
    main()
