"""Free-threaded Python: fastnn is built for it, turns the GIL on when it is imported, and passes tests.

Run: python tests/nightly/free_threaded.py [PYTHON]. PYTHON is a free-threaded interpreter; without it, python3.14t or
python3.13t of the path. CPython's source gives one: ./configure --disable-gil. The tests run as Python does by default,
and with PYTHON_GIL=0, where the GIL stays off. Prints a line of JSON; where there is no such interpreter it says so,
and nothing is run.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("pytest", "hypothesis", "scikit-learn")
TESTS = ("two_threads", "many", "interruption", "inside", "sequential", "checkpoints", "layers", "graphs")
GIL = "import sys, fastnn; print(sys._is_gil_enabled())"


def passes(python, gil):
    """The number of tests that pass, as pytest counts them, and that of those that do not."""
    tests = [f"tests/test_{name}.py" for name in TESTS]
    command = ["env", f"PYTHON_GIL={gil}", python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(command if gil is not None else command[2:], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    print(run.stdout[-3000:], file=sys.stderr)
    counts = {kind: int(number) for number, kind in re.findall(r"(\d+) (passed|failed|errors?)", run.stdout)}
    return {"passed": counts.get("passed", 0), "failed": sum(counts.values()) - counts.get("passed", 0)}, run.returncode


def main():
    """Build, import, test."""
    named = sys.argv[1:2] or [path for path in map(shutil.which, ("python3.14t", "python3.13t")) if path]
    if not named:
        print(json.dumps({"interpreter": "none"}))
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([named[0], "-m", "venv", folder], check=True)
        python = f"{folder}/bin/python"
        pip = ["env", "PIP_PREFER_BINARY=1", python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *PACKAGES, str(CHECKOUT)], check=True)
        version = subprocess.run([python, "-VV"], check=True, capture_output=True, text=True).stdout.split()[1]
        imported = subprocess.run([python, "-c", GIL], check=True, capture_output=True, text=True, cwd=folder)
        turned_on = imported.stdout.strip() == "True" and "has been enabled to load module" in imported.stderr
        (default, code), (without, code_without) = passes(python, None), passes(python, 0)
    print(json.dumps({"Python": version, "GIL turned on": turned_on, "with it": default, "without it": without}))
    sys.exit(not turned_on or bool(code or code_without))


if __name__ == "__main__":
    main()
