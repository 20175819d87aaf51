"""Every block of Python in the documentation runs, including the solutions of exercises."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

DOCS = Path(__file__).resolve().parent.parent / "docs"
SECONDS = 60
"""Processor time that a page may take; other processes do not count."""

for needed in ("matplotlib", "sklearn", "pandas"):
    pytest.importorskip(needed, reason=f"the tutorials need {needed}")


@pytest.mark.parametrize("page", runpy.run_path(str(DOCS / "run.py"))["pages"](), ids=lambda page: page.stem)
def test_page_runs_in_time(page):
    done = subprocess.run(
        [sys.executable, str(DOCS / "run.py"), str(page)], capture_output=True, text=True, timeout=30 * SECONDS
    )
    assert done.returncode == 0, done.stderr
    seconds = float(done.stderr.rsplit(":", 1)[1].split()[0])
    assert seconds < SECONDS, f"{page.name} takes {seconds} s"


def test_tutorials_are_complete():
    tutorials = list((DOCS / "tutorials").glob("[0-9]*_*.md"))
    assert sorted(int(page.name.split("_")[0]) for page in tutorials) == list(range(1, len(tutorials) + 1))
    assert len(tutorials) >= 13
    listed = (DOCS / "tutorials" / "index.md").read_text(encoding="utf-8")
    for page in tutorials:
        text = page.read_text(encoding="utf-8")
        assert "## Exercise" in text and text.count("<summary>Solution</summary>") >= 1, page.name
        assert page.stem in listed


@pytest.fixture(scope="module")
def reference():
    return runpy.run_path(str(DOCS / "api_reference.py"))


def test_the_api_reference_has_every_public_name(reference):
    texts = reference["page_texts"]()
    listed = {name for names in reference["TOP"].values() for name in names} | set(reference["MODULES"])
    assert set(fastnn.__all__) - listed == {"backend"}  # backend is only an import path of utils
    for module in ("regularizers", "constraints", "optimizers.schedules", "callbacks", "losses", "layers"):
        assert texts[f"fastnn.{module}.rst"].startswith(f"fastnn.{module}\n")
        assert f"<fastnn.{module}>`" in texts["index.rst"]
    everything = "\n".join(texts.values())
    for name in ("MLPRegressor", "L1L2", "MaxNorm", "OneCycle", "PyDataset", "BackupAndRestore"):
        assert f"\n.. autoclass:: {name}\n" in everything
    for name in ("to_categorical", "clone_model", "f1_score", "load_model"):
        assert f"\n.. autofunction:: {name}\n" in everything
    assert "``leaky_relu``" in everything and "``mean_squared_error``" in everything
    assert "unknown_name" not in everything
    assert not [name for name in texts if " " in name]


def test_every_public_method_is_on_a_page_and_no_internal_one(reference):
    pages = reference["class_pages"]()
    for documented, name in pages.items():
        in_full, inherited = reference["members"](documented, pages)
        shown = {*in_full, *(each for names in inherited.values() for each in names)}
        methods = {
            each
            for each in dir(documented)
            if not each.startswith("_")
            and callable(getattr(documented, each, None))
            and getattr(documented, each).__doc__
            and (getattr(getattr(documented, each), "__module__", None) or "").startswith("fastnn")
        }
        assert methods - shown <= reference["INTERNAL_MEMBERS"], name
    in_full, _ = reference["members"](fastnn.Sequential, pages)
    assert {"compile", "fit", "evaluate", "predict", "save", "summary", "__call__"} <= set(in_full)
    _, inherited = reference["members"](fastnn.layers.Dense, pages)
    assert "get_weights" in inherited["fastnn.layers.Layer"] and "lend" not in inherited["fastnn.layers.Layer"]


def test_every_member_that_is_left_out_exists(reference):
    known = {each for documented in reference["class_pages"]() for each in dir(documented)}
    assert reference["INTERNAL_MEMBERS"] <= known


def test_layers_are_shown_with_their_arguments():
    pytest.importorskip("sphinx", reason="the site's builder comes with the extra docs")
    signature_of = runpy.run_path(str(DOCS / "docstrings.py"))["signature_of"]
    assert signature_of(fastnn.layers.Dense).startswith("(units, activation=None, use_bias=True, ")
    assert signature_of(fastnn.layers.Identity).startswith("(*, name=None, ")


def test_docstrings_become_definition_lists():
    pytest.importorskip("sphinx", reason="the site's builder comes with the extra docs")
    restructured = runpy.run_path(str(DOCS / "docstrings.py"))["restructured"]
    lines = ["Do it.", "", "Parameters", "----------", "a, b : two numbers", "    of one kind.", "*c : more."]
    lines += [
        "d : int, optional",
        "    Third.",
        "X, e, f_initializer : others.",
        "",
        "Raises",
        "------",
        "ValueError",
        "    No.",
    ]
    assert restructured(lines, {"a": "int", "b": "int", "e": "bool"}) == [
        *("Do it.", "", "", ".. rubric:: Parameters", ""),
        *("**a**, **b** : ``int``", "    two numbers", "    of one kind.", "", "**\\*c**", "    more.", ""),
        *("**d** : ``int, optional``", "    Third.", ""),
        *("**X** : ``array_like``, **e** : ``bool``, **f_initializer** : ``str | Initializer``", "    others.", ""),
        *(".. rubric:: Raises", "", "``ValueError``", "    No.", ""),
    ]
