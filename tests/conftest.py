"""Fixtures that several test files use: other instruction sets, new interpreters, scikit-learn's metrics.

Plain functions live in modules in this folder: `definition`, `derivatives`, `same_bits`, `sample_models`. Tests and
scripts import these modules, and the `*_bits` scripts, by name: `pythonpath` in pyproject.toml adds this folder to
pytest's import path, and Python adds it for the scripts in it.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastnn import _core

TESTS = Path(__file__).parent
PATIENCE = 600
"""Seconds after which a new interpreter is taken to hang, on a busy machine too."""


@pytest.fixture(scope="session")
def run_per_isa():
    """Function that runs a script of this folder on each instruction set, in parallel, and returns what each prints."""

    def run(script, isas=None):
        processes = {
            isa: subprocess.Popen(
                [sys.executable, str(TESTS / script)],
                env={**os.environ, "FASTNN_ISA": isa},
                stdout=subprocess.PIPE,
                text=True,
            )
            for isa in isas or _core.config()["isas"]
        }
        results = {}
        for isa, process in processes.items():
            text, _ = process.communicate()
            assert process.returncode == 0, f"tests/{script} failed on {isa}"
            results[isa] = json.loads(text)
            assert results[isa]["isa"] == isa
        return results

    return run


@pytest.fixture(scope="session")
def run_python():
    """Function that runs code in a new interpreter, with more environment variables, and returns its process."""

    def run(code, **environment):
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    return run


@pytest.fixture
def sklearn_metrics():
    """The metrics of scikit-learn, to compare with."""
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")


@pytest.fixture
def interruptible():
    """Let SIGINT raise KeyboardInterrupt, also in background jobs, where shells have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
