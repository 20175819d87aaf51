"""Exported NumPy modules."""

import runpy

import numpy as np
import pytest
from exported_models import ACTIVATIONS, finite_models

import fastnn
from fastnn import layers


def predict_of(path):
    return runpy.run_path(str(path))["predict"]


def test_random_models_agree_to_rounding(tmp_path):
    for model, X in finite_models(range(100, 140)):
        model.export_numpy(tmp_path / "net.py")
        outputs, expected = predict_of(tmp_path / "net.py")(X), model.predict(X)
        assert outputs.dtype == expected.dtype
        scale = np.abs(expected).max()
        tolerance = 1e-6 if model.dtype == np.float32 else 1e-13
        assert np.abs(outputs - expected).max() <= tolerance * max(scale, 1e-30), model.name


@pytest.mark.parametrize("name", ACTIVATIONS[1:])
def test_activations_agree_where_they_saturate(tmp_path, name):
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Activation(name)], dtype="float64")
    X = np.random.default_rng(0).normal(size=(300, 3)) * np.logspace(-3, 2.5, 300)[:, None]
    model.export_numpy(tmp_path / "net.py")
    outputs, expected = predict_of(tmp_path / "net.py")(X), model.predict(X)
    np.testing.assert_allclose(outputs, expected, rtol=2e-13, atol=1e-15 if name == "log_softmax" else 1e-300)


def test_module_is_plain_and_refuses_other_shapes(tmp_path):
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2, activation="tanh")], name='a"""b\n')
    model.export_numpy(tmp_path / "net.py")
    text = (tmp_path / "net.py").read_text()
    assert "fastnn." not in text.replace("written by fastnn", "")
    with pytest.raises(ValueError, match=r"X must have the shape \(n, 3\)"):
        predict_of(tmp_path / "net.py")(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"path must end in '\.py'"):
        model.export_numpy(tmp_path / "net.c")
