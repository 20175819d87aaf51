"""First values of weights from the data: which layers get them, the forms of the inputs, and what is refused."""

import numpy as np
import pytest

import fastnn
from fastnn import layers
from fastnn.models import initialize_from_data

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)) * [1.0, 10.0, 0.1]


class Block(layers.Layer):
    """Two layers in a block."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first, self.second = layers.Dense(4, "tanh"), layers.NTPDense(3)

    def call(self, x):
        return self.second(self.first(x))


def model_of(*parts):
    x = fastnn.Input((3,))
    h = x
    for part in parts:
        h = part(h)
    return fastnn.Model(x, layers.Dense(2)(h), dtype="float64", seed=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: model_of(Block()),
        lambda: model_of(layers.Residual([layers.Dense(5, "tanh"), layers.Dense(3)])),
        lambda: model_of(fastnn.Sequential([layers.Dense(4, "relu"), layers.NTPDense(3)], dtype="float64")),
        lambda: fastnn.Sequential([layers.Dense(4, "relu"), Block(), layers.Dense(2)], dtype="float64", seed=0),
    ],
)
def test_layers_within_others_get_them_too(make):
    """The values of each layer, without its bias, have the deviation 1: those of tanh's layers before the tanh."""
    model = make()
    initialize_from_data(model, X, bias=None)
    assert not any(np.any(weight) for weight in model.get_weights() if weight.ndim == 1 and weight.shape == (2,))
    seen = []
    for leaf in model.program.leaves:
        if isinstance(leaf.layer, layers.Dense):
            seen.append(leaf.layer)
            kernel = np.asarray(leaf.layer.kernel)
            leaf.layer.kernel.assign(2.0 * kernel)  # a second call finds the deviation 2 here, and only here
            initialize_from_data(model, X, bias=None)
            np.testing.assert_allclose(np.asarray(leaf.layer.kernel), kernel, rtol=1e-12)
    assert len(seen) == 3 + (type(model) is fastnn.Sequential)
    np.testing.assert_allclose((model.predict(X, verbose=0) - np.asarray(seen[-1].bias)).std(axis=0), 1.0, rtol=1e-12)


def test_frozen_layers_stay():
    model = model_of(layers.Dense(4, "tanh", trainable=False))
    before = model.get_weights()
    initialize_from_data(model, X)
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert moved == [False, False, True, True]


def test_inputs_have_the_forms_that_predict_takes():
    def made(structure):
        a, b = fastnn.Input((3,), name="a"), fastnn.Input((2,), name="b")
        joined = layers.concatenate([a, layers.Dense(3, "tanh")(b)])
        inputs = {"a": a, "b": b} if structure is dict else structure((a, b))
        return fastnn.Model(inputs, layers.Dense(2)(joined), dtype="float64", seed=0)

    found = []
    for structure, given in ((list, [X, X[:, :2]]), (tuple, (X, X[:, :2])), (dict, {"b": X[:, :2], "a": X})):
        model = made(structure)
        initialize_from_data(model, given)
        found.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    text = fastnn.Input((1,), dtype="string")
    hot = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(text)
    initialize_from_data(fastnn.Model(text, layers.Dense(2)(hot)), np.array([["a"], ["b"], ["c"]]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.where(np.arange(600).reshape(200, 3) == 7, np.nan, X), "X has nan at row 2, column 1"),
        (X[:, :2], "X has 2 features"),
        (X[:0], "X is empty"),
        ([X, X], "X must have shape"),
        (X * 1e299, "gives values of X that are too large: scale X"),
    ],
)
def test_refused_inputs_change_nothing(rows, message):
    model = model_of(layers.Dense(4), layers.Rescaling(1e10), layers.Dense(4))
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        initialize_from_data(model, rows)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match=r"must be a fastnn\.Sequential"):
        initialize_from_data([model], rows)
