"""Every block of Python in the documentation runs, including the solutions of exercises."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

DOCS = Path(__file__).resolve().parent.parent / "docs"
SECONDS = 60

for needed in ("matplotlib", "sklearn"):
    pytest.importorskip(needed, reason=f"the tutorials need {needed}")


@pytest.mark.parametrize("page", runpy.run_path(str(DOCS / "run.py"))["pages"](), ids=lambda page: page.stem)
def test_page_runs_in_time(page):
    done = subprocess.run(
        [sys.executable, str(DOCS / "run.py"), str(page)], capture_output=True, text=True, timeout=3 * SECONDS
    )
    assert done.returncode == 0, done.stderr
    seconds = float(done.stderr.rsplit(":", 1)[1].split()[0])
    assert seconds < SECONDS, f"{page.name} takes {seconds} s"


def test_tutorials_are_complete():
    tutorials = sorted((DOCS / "tutorials").glob("[0-9]_*.md"))
    assert [page.name[0] for page in tutorials] == list("123456789")
    listed = (DOCS / "tutorials" / "index.md").read_text(encoding="utf-8")
    for page in tutorials:
        text = page.read_text(encoding="utf-8")
        assert "## Exercise" in text and text.count("<summary>Solution</summary>") >= 1, page.name
        assert page.stem in listed


def test_the_api_reference_has_every_public_name(tmp_path):
    reference = runpy.run_path(str(DOCS / "api_reference.py"))
    reference["write"](tmp_path / "api.md")
    text = (tmp_path / "api.md").read_text(encoding="utf-8")
    listed = {name for names in reference["TOP"].values() for name in names} | set(reference["MODULES"])
    assert set(fastnn.__all__) - listed == {"backend"}  # backend is only an import path of utils
    for module in ("regularizers", "constraints", "optimizers.schedules", "callbacks", "losses", "layers"):
        assert f"\n## fastnn.{module}\n" in text
    for name in ("MLPRegressor", "L1L2", "MaxNorm", "OneCycle", "to_categorical", "clone_model", "BackupAndRestore"):
        assert f"\n   {name}\n" in text
    assert "`leaky_relu`" in text and "`mean_squared_error`" in text
    assert "unknown_name" not in text
