"""The table of promises: each is held by files that exist, or says why not; the page shows the last figures."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def nightly(monkeypatch):
    """The module that makes the table."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "nightly"))
    import run

    yield run
    for name in ("run", "promises"):
        del sys.modules[name]


def test_every_promise_is_held_or_says_why_not(nightly):
    for promises in nightly.SECTIONS.values():
        for promise in promises:
            assert promise.held or promise.why, promise
            for name in promise.held:
                where, _ = nightly.cell(name, {})
                assert any((ROOT / folder / where).is_file() for folder in ("tests", "")), where


def test_the_page_is_made_of_the_last_figures(nightly):
    figures = json.loads(nightly.FIGURES.read_text(encoding="utf-8"))
    assert nightly.TABLE.read_text(encoding="utf-8") == nightly.table(figures)
