"""What a release says about itself: one version, types for type checkers, a message where no compiler is found."""

import importlib.metadata
import importlib.resources
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, WHEELS = PYPROJECT["project"], PYPROJECT["tool"]["cibuildwheel"]


def test_version_is_the_same_everywhere():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    cited = re.search(r'^version: "(.*)"$', (ROOT / "CITATION.cff").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert PROJECT["version"] == newest[1] == cited[1]


def test_python_versions_are_those_of_the_wheels():
    built = {f"3.{minor}" for minor in re.findall(r"cp3(\d+)-", WHEELS["build"])}
    named = {line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if ":: Python :: 3." in line}
    assert built == named
    assert PROJECT["requires-python"] == f">={min(named, key=lambda version: int(version[2:]))}"


def test_wheels_run_tests_that_exist():
    named = re.findall(r"test_\w+\.py", WHEELS["overrides"][0]["test-command"])
    assert named
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


def test_types_are_installed():
    package = importlib.resources.files("fastnn")
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()


def test_sources_are_not_installed():
    files = importlib.metadata.files("fastnn") or []
    assert not [file for file in files if file.suffix in {".pyx", ".pxi", ".c", ".h"}]


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_a_missing_compiler_is_explained(tmp_path):
    configure = ["cmake", "-S", str(ROOT), "-B", str(tmp_path)]
    done = subprocess.run(configure, env={**os.environ, "CC": "/nonexistent"}, capture_output=True, text=True)
    said = " ".join(done.stderr.split())
    assert done.returncode
    assert "No working C compiler was found." in said
    for advice in ["apt install gcc", "dnf install gcc", "brew install libomp"]:
        assert advice in said
