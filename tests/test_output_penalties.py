"""Penalties on outputs of layers (``activity_regularizer``) outside training: by hand, as in fit, on all threads."""

import numpy as np
import pytest

import fastnn
from fastnn import _core, layers, regularizers

RNG = np.random.default_rng(0)


def test_evaluate_adds_the_penalty_of_one_row_on_average():
    model = fastnn.Sequential(
        [fastnn.Input((2,)), layers.Dense(2, activity_regularizer=regularizers.L1L2(0.5, 0.25), use_bias=False)],
        dtype="float64",
    )
    model.set_weights([np.array([[1.0, 0.0], [0.0, -2.0]])])
    model.compile("sgd", "mse")
    X = np.array([[1.0, 1.0], [2.0, 0.0], [-4.0, 3.0]])  # outputs (1, -2), (2, 0), (-4, -6)
    penalty = (0.5 * 15.0 + 0.25 * 61.0) / 3
    for y, error in ((X * [1.0, -2.0], 0.0), (X * [1.0, -2.0] + 2.0, 4.0)):
        assert model.evaluate(X, y, verbose=0) == pytest.approx(error + penalty, rel=1e-15)
        assert model.test_on_batch(X, y) == pytest.approx(error + penalty, rel=1e-15)
        # The batches have 2 and 1 rows; their mean, weighted by rows, is that of all rows.
        assert model.evaluate(X, y, batch_size=2, verbose=0) == pytest.approx(error + penalty, rel=1e-15)
        history = model.fit(X, y, validation_data=(X, y), verbose=0, epochs=1, batch_size=3).history
        model.set_weights([np.array([[1.0, 0.0], [0.0, -2.0]])])
        assert history["loss"][0] == pytest.approx(error + penalty, rel=1e-15)


def test_evaluate_reports_the_loss_of_fit_after_layers_of_every_kind():
    penalized = {"activation": "tanh", "activity_regularizer": regularizers.L1L2(0.3, 0.7)}
    model = fastnn.Sequential(
        [
            fastnn.Input((5,)),
            layers.Normalization(mean=np.arange(5.0), variance=np.arange(1.0, 6.0)),
            layers.Dense(7, **penalized),
            layers.BatchNormalization(),
            layers.Residual([layers.Dense(7, **penalized), layers.PReLU("ones"), layers.LayerNormalization()]),
            layers.Dense(3, "softmax", activity_regularizer="l1"),
        ],
        seed=0,
        dtype="float64",
    )
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.2, 1.5, w.shape) for w in model.get_weights()])
    model.layers[2].trainable = False  # so that fit uses the moving statistics too
    model.compile("sgd", "categorical_crossentropy")
    X, y = 3.0 * RNG.normal(size=(37, 5)), np.eye(3)[RNG.integers(0, 3, 37)]
    before = model.evaluate(X, y, verbose=0)
    assert model.fit(X, y, batch_size=37, epochs=1, verbose=0).history["loss"][0] == pytest.approx(before, rel=1e-13)
    assert model.evaluate(X, y, verbose=0) != before


SMALL, LARGE = (20, 40, 33, 6), (300, 700, 640, 48)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("last", ["linear", "softmax"])
@pytest.mark.parametrize(("sizes", "rows"), [(SMALL, 1), (SMALL, 4099), (LARGE, 47), (LARGE, 401)])
def test_penalties_and_outputs_are_the_same_bits_on_any_number_of_threads(dtype, last, sizes, rows):
    ops = [("dense", {"n_out": n, "activation": "tanh", "activity_regularizer": (0.3, 0.7)}) for n in sizes[1:]]
    del ops[1][1]["activity_regularizer"]
    ops[-1][1]["activation"] = last
    network = _core.Network(sizes[0], ops, dtype)
    rng = np.random.default_rng(2)
    for op in range(3):
        n_in, n_out = sizes[op : op + 2]
        network.set_parameter(op, "kernel", rng.normal(size=(n_in, n_out)) / np.sqrt(n_in))
    X = rng.normal(size=(rows, sizes[0])).astype(dtype)
    outputs = network.predict(X)
    lower = _core.Network(sizes[0], ops[:1], dtype)
    lower.set_parameter(0, "kernel", network.get_parameter(0, "kernel"))
    both = [lower.predict(X).astype(np.float64), outputs.astype(np.float64)]
    expected = sum(0.3 * np.abs(a).sum(axis=1) + 0.7 * np.square(a).sum(axis=1) for a in both)
    first = np.full(rows, np.nan)
    for threads in (1, 2, 3, 4, 8):
        penalties = np.full(rows, np.nan)
        assert network.predict(X, n_threads=threads, activity=penalties).tobytes() == outputs.tobytes()
        np.testing.assert_allclose(penalties, expected, rtol=1e-14 * sizes[1])
        if threads == 1:
            first = penalties
        assert penalties.tobytes() == first.tobytes()


@pytest.mark.parametrize(
    ("activity", "error"),
    [
        ([0.0, 0.0], TypeError),
        (np.zeros(3), ValueError),
        (np.zeros(2, np.float32), ValueError),
        (np.zeros(4)[::2], ValueError),
    ],
)
def test_an_array_that_cannot_hold_the_penalties_is_refused(activity, error):
    network = _core.Network(2, [("dense", {"n_out": 1, "activity_regularizer": (1.0, 0.0)})])
    with pytest.raises(error, match="activity must be a"):
        network.predict(np.ones((2, 2), np.float32), activity=activity)
