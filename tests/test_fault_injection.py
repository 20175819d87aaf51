"""Every allocation of the extension fails once, and for ever: MemoryError, and the same objects work afterwards."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "nightly" / "fault_injection.py"


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="preloads a library that it compiles"
)
def test_every_allocation_of_the_extension_may_fail():
    run = subprocess.run([sys.executable, str(SCRIPT), "core"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert json.loads(run.stdout)["core"]["faults"] >= 16
