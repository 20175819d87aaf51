"""Complete scripts, written for Keras as users write them, run on fastnn when only their imports change."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))
PATIENCE = 1800
# The scripts save under Keras's suffixes, which fastnn warns of; no other warning is expected.
RUN = """import runpy, sys, warnings
warnings.simplefilter("error", UserWarning)
warnings.filterwarnings("ignore", ".* is a fastnn safetensors file, but", UserWarning)
runpy.run_path(sys.argv[1], run_name="__main__")"""


def from_imports(source: str) -> str:
    """``from keras.layers import Dense`` becomes ``from fastnn.layers import Dense``."""
    source = re.sub(r"^import keras$", "import fastnn as keras", source, flags=re.M)
    return re.sub(r"^from keras\b", "from fastnn", source, flags=re.M)


def attributes(source: str) -> str:
    """``from keras.layers import Dense`` becomes ``Dense = fastnn.layers.Dense``."""
    tree = ast.parse(source)
    body: list[ast.stmt] = [tree.body[0], *ast.parse("import fastnn\nkeras = fastnn").body]
    for node in tree.body[1:]:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "keras":
            path = (node.module or "").replace("keras", "fastnn", 1)
            body += [ast.parse(f"{name.asname or name.name} = {path}.{name.name}").body[0] for name in node.names]
        elif not (isinstance(node, ast.Import) and node.names[0].name == "keras"):
            body.append(node)
    tree.body = body
    return ast.unparse(ast.fix_missing_locations(tree))


@pytest.mark.parametrize("spelling", [from_imports, attributes])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_runs_on_fastnn(script, spelling, tmp_path):
    pytest.importorskip("sklearn")
    if "matplotlib" in script.read_text():
        pytest.importorskip("matplotlib")
    changed = spelling(script.read_text())
    assert not re.search(r"^\s*(import|from) keras", changed, flags=re.M)
    path = tmp_path / script.name
    path.write_text(changed)
    command = [sys.executable, "-c", RUN, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stderr


def test_there_are_eight_scripts():
    assert [path.stem for path in SCRIPTS] == [
        "autoencoder",
        "batches_and_loops",
        "focal_classes",
        "imbalanced_binary",
        "kfold",
        "multi_class_one_hot",
        "multi_output_regression",
        "tabular_callbacks",
    ]
