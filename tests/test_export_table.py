"""The table of formats and layers in the documentation is what the exports do."""

from pathlib import Path

import pytest
from export_table import table
from exported_models import compiler

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "export.md"


@pytest.mark.skipif(not (compiler("gcc") and compiler("gfortran")), reason="needs gcc and gfortran")
def test_table_of_formats_and_layers():
    assert table() in PAGE.read_text(), "run tests/export_table.py and put the table on the page"
