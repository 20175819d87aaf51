"""The suite in random order, and in a locale whose decimal point is a comma.

Run: python tests/nightly/any_order.py [SEED [TESTS ...]]. The file is also the pytest plugin that does it. Prints a
line of JSON with the numbers of tests.
"""

import json
import locale
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def pytest_configure(config):
    """Use the locale of the environment, where a plain Python uses that of C."""
    locale.setlocale(locale.LC_ALL, "")


def pytest_collection_modifyitems(items):
    """Shuffle files, and tests in files: fixtures of a file stay in use for as long as it takes."""
    seed = os.environ["ANY_ORDER_SEED"]
    files = {item.fspath: random.Random(f"{seed} {item.fspath}") for item in items}
    ranks = {path: source.random() for path, source in files.items()}
    items.sort(key=lambda item: (ranks[item.fspath], files[item.fspath].random()))


def main():
    """Run the suite."""
    seed, tests = (sys.argv[1] if len(sys.argv) > 1 else "0"), sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ANY_ORDER_SEED": seed}
        made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", f"{folder}/de_DE.UTF-8"], capture_output=True)
        comma = made.returncode == 0
        if comma:
            environment |= {"LOCPATH": folder, "LC_ALL": "de_DE.UTF-8"}
        environment["PYTHONPATH"] = f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "any_order", "-p", "no:cacheprovider", *tests]
        run = subprocess.run(command, cwd=HERE.parents[1], env=environment, stdout=subprocess.PIPE, text=True)
    print(run.stdout, file=sys.stderr)
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error)", run.stdout.splitlines()[-1])}
    print(json.dumps({"seed": int(seed), "comma": comma, "files": len(tests) or "all", **counts}))
    sys.exit(run.returncode)


if __name__ == "__main__":
    main()
