"""What a user's mypy reports for a script that uses fastnn, without this project's settings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

PACKAGE = Path(fastnn.__file__).parent
SCRIPT = """\
import numpy as np
import fastnn
from fastnn import layers, metrics

X, y = np.ones((8, 3)), np.ones(8)
model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(4, activation="relu"), layers.Dense(1)])
model.compile("adam", loss="mse", metrics=["mae", metrics.RootMeanSquaredError()])
reveal_type(model)
reveal_type(model.fit(X, y, epochs=2, verbose=0).history)
reveal_type(model.predict(X))
reveal_type(metrics.AUC().result())
layers.Dense("four")
model.fit(X, y, epochs="two")
model.predicts(X)
metrics.roc_auc_score(y)
"""
REVEALED = {
    "reveal_type(model)": re.escape(f"{fastnn.Sequential.__module__}.Sequential"),
    "reveal_type(model.fit(X, y, epochs=2, verbose=0).history)": r"dict\[str, list\[Any\]\]",
    "reveal_type(model.predict(X))": r"numpy\.ndarray\[.*, numpy\.dtype\[Any\]\]",
    "reveal_type(metrics.AUC().result())": "float",
}
REFUSED = {
    'layers.Dense("four")': 'Argument 1 to "Dense" has incompatible type "str"',
    'model.fit(X, y, epochs="two")': 'Argument "epochs" to "fit" of "Sequential" has incompatible type "str"',
    "model.predicts(X)": '"Sequential" has no attribute "predicts"',
    "metrics.roc_auc_score(y)": 'Missing positional argument "y_score"',
}


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """What strict mypy reports for SCRIPT: (kind, line of the script, message) for each line of output.

    mypy searches the same path as Python. So it finds fastnn in site-packages or, through PYTHONPATH, in a checkout.
    In both cases it reads the types only if py.typed exists.
    """
    folder = tmp_path_factory.mktemp("types")
    (folder / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    environment.pop("MYPYPATH", None)
    options = ["--config-file=", "--strict", "--no-error-summary", "--hide-error-codes"]
    command = [sys.executable, "-m", "mypy", *options, "script.py"]
    output = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert output.stderr == ""
    found = re.findall(r"^script\.py:(\d+): (note|error): (.*)$", output.stdout, flags=re.MULTILINE)
    assert len(found) == len(output.stdout.splitlines()), output.stdout
    return [(kind, SCRIPT.splitlines()[int(line) - 1], message) for line, kind, message in found]


def test_the_marker_of_a_typed_package_ships():
    assert (PACKAGE / "py.typed").read_bytes() == b""


def test_mypy_sees_types(reported):
    revealed = {
        line: re.fullmatch('Revealed type is "(.*)"', message)[1].replace("builtins.", "")
        for kind, line, message in reported
        if kind == "note"
    }
    assert revealed.keys() == REVEALED.keys()
    for line, pattern in REVEALED.items():
        assert re.fullmatch(pattern, revealed[line]), (line, revealed[line])


def test_mypy_refuses_wrong_calls_and_nothing_else(reported):
    refused = {line: message for kind, line, message in reported if kind == "error"}
    assert refused.keys() == REFUSED.keys()
    for line, message in REFUSED.items():
        assert refused[line].startswith(message)
