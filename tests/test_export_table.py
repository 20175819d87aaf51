"""The table of formats and layers in the documentation is what the exports do."""

import export_table
import pytest


@pytest.mark.parametrize("column", export_table.COLUMNS)
def test_table_of_formats_and_layers(column):
    if not export_table.COLUMNS[column][1]:
        pytest.skip(f"{column} is not installed")
    said = {label: row[column] for label, row in export_table.on_page().items()}
    found = {label: row[column] for label, row in export_table.table([column]).items()}
    assert found == said, "run tests/export_table.py and put its columns on the page"
