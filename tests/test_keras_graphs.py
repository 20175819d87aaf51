"""Functional models equal Keras's: layers, histories and weights that Keras computed from the same start."""

import json
from pathlib import Path

import numpy as np
import pytest
from keras_graph_cases import CASES, train

import fastnn

RUNS = json.loads((Path(__file__).parent / "data" / "keras_graphs.json").read_text())["runs"]
# Relative differences after 12 steps. Keras's weights are float64, but it sums the loss of an epoch in float32.
TOLERANCES = {"float64": 1e-6, "float32": 5e-5}


def test_every_case_is_recorded():
    assert list(CASES) == list(RUNS) and len(RUNS) >= 40


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", CASES)
def test_history_and_weights_equal_keras(name, dtype):
    expected, tolerance = RUNS[name], TOLERANCES[dtype]
    found = train(fastnn, name, dtype)
    assert found["layers"] == expected["layers"]
    assert sorted(found["history"]) == sorted(expected["history"])
    for key, values in expected["history"].items():
        np.testing.assert_allclose(found["history"][key], values, rtol=tolerance, err_msg=key)
    assert len(found["weights"]) == len(expected["weights"])
    for weight, value in zip(found["weights"], expected["weights"], strict=True):
        assert np.linalg.norm(weight - np.array(value)) <= tolerance * np.linalg.norm(value)
    np.testing.assert_allclose(found["evaluate"], expected["evaluate"], rtol=tolerance)
