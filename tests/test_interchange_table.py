"""The table of layers and tools in the documentation is what becomes of the layers."""

import pytest
from interchange_table import ROWS, TOOLS, cells, table


@pytest.mark.parametrize("tool", TOOLS)
def test_the_table_is_true(tool):
    pytest.importorskip(TOOLS[tool][0], reason=f"{tool} is not installed")
    if tool == "ONNX":
        pytest.importorskip("onnx", reason="writing ONNX files needs the extra onnx")
    head, _, *lines = table()
    places = [head.index(f"{way} {tool}") for way in ("to", "from")]
    assert [line[0] for line in lines] == list(ROWS)
    for line in lines:
        assert tuple(line[place] for place in places) == cells(tool, line[0]), line[0]
