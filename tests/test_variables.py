"""Weights are variables over the network's own memory: read like arrays, changed by ``assign``."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import layers

X = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
Y = X.sum(axis=1, keepdims=True)
PATHS = [
    *("first/kernel", "first/bias", "block/inner/kernel", "block/inner/bias"),
    *("norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance", "slope/alpha"),
]


def make(dtype="float32"):
    block = layers.Residual([layers.Dense(3, name="inner")], name="block")
    others = [layers.BatchNormalization(name="norm"), layers.PReLU(name="slope")]
    return fastnn.Sequential([fastnn.Input((2,)), layers.Dense(3, name="first"), block, *others], seed=1, dtype=dtype)


def linear():
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(1, name="d")], seed=0)
    model.compile("sgd", "mse")
    return model


def test_names_paths_shapes_and_types():
    model = make("float64")
    assert [weight.path for weight in model.weights] == PATHS
    assert [weight.name for weight in model.weights] == [path.split("/")[-1] for path in PATHS]
    assert [weight.shape for weight in model.weights] == [weight.shape for weight in model.get_weights()]
    assert all(weight.dtype == "float64" for weight in model.variables)
    assert [weight.path for weight in model.non_trainable_weights] == PATHS[6:8]
    assert model.layers[1].layers[0].kernel.path == "block/inner/kernel"
    model.layers[1].layers[0].trainable = False
    assert [weight.trainable for weight in model.weights] == [True] * 2 + [False] * 2 + [True] * 2 + [False] * 2 + [
        True
    ]
    for weight, array in zip(model.weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, array)
    assert repr(linear().layers[0].bias) == "<Variable path=d/bias, shape=(1,), dtype=float32, value=[0.]>"


def test_assigning_changes_the_next_prediction():
    model = linear()
    kernel, bias = model.weights
    assert kernel.assign([[2.0], [3.0]]) is kernel
    bias.assign([0.5])
    np.testing.assert_array_equal(model(np.array([[1.0, 1.0]])), [[5.5]])
    kernel.assign_add([[1.0], [0.0]])
    kernel.assign_sub(np.array([[0.0], [1.0]]))
    np.testing.assert_array_equal(kernel.numpy(), [[3.0], [2.0]])
    np.testing.assert_array_equal(model.get_weights()[0], [[3.0], [2.0]])
    kernel.assign(model.layers[0].kernel)
    np.testing.assert_array_equal(model.predict(np.array([[1.0, 1.0]])), [[5.5]])


def test_a_weight_follows_training_and_its_layer():
    model = linear()
    kernel = model.layers[0].kernel
    before = kernel.numpy()
    model.fit(X, Y, epochs=3, verbose=0)
    assert (kernel != before).all()
    np.testing.assert_array_equal(kernel, model.get_weights()[0])
    layer = model.pop()
    np.testing.assert_array_equal(kernel, layer.kernel)
    kernel.assign(before)
    model.add(layer)
    np.testing.assert_array_equal(model.get_weights()[0], before)


def test_assigning_in_a_callback_counts_as_a_change_from_outside():
    class Positive(fastnn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kernel = self.model.layers[0].kernel
            kernel.assign(np.maximum(kernel, 0.0))

    model, constrained = (
        linear(),
        fastnn.Sequential([fastnn.Input((2,)), layers.Dense(1, kernel_constraint="non_neg")], seed=0),
    )
    constrained.compile("sgd", "mse")
    version = model.network_weights.version
    model.fit(X, -Y, epochs=5, verbose=0, callbacks=[Positive()])
    assert model.network_weights.version > version
    constrained.fit(X, -Y, epochs=5, verbose=0)
    np.testing.assert_array_equal(model.weights[0], constrained.weights[0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, r"d/kernel has shape \(2, 1\), got \(\)"),
        ([1.0, 2.0], r"d/kernel has shape \(2, 1\), got \(2,\)"),
        ([["a"], ["b"]], "d/kernel must be real numbers"),
        (np.ones((2, 1)) * 1j, "d/kernel must be real numbers"),
        (np.full((2, 1), 1e300), "d/kernel has type float32, which cannot hold 1e\\+300"),
        (None, "d/kernel is missing"),
    ],
)
def test_a_wrong_value_changes_nothing(value, message):
    model = linear()
    kernel, before = model.weights[0], model.get_weights()
    with pytest.raises(ValueError, match=message):
        kernel.assign(value)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_what_would_be_lost_is_refused():
    model = linear()
    kernel, before = model.layers[0].kernel, model.get_weights()
    with pytest.raises(TypeError, match="d/kernel cannot be changed in place: use assign"):
        kernel[0] = 1.0
    with pytest.raises(TypeError, match="d/kernel cannot be changed in place: use assign"):
        kernel += 1.0
    with pytest.raises(TypeError, match="d/kernel cannot be changed in place: use assign"):
        np.multiply(kernel, 2.0, out=kernel)
    for change in (kernel.sort, lambda: kernel.fill(0.0), lambda: kernel.value.fill(0.0)):
        with pytest.raises(ValueError, match="read-only"):
            change()
    with pytest.raises(AttributeError, match="cannot be set alone"):
        kernel.trainable = False
    with pytest.raises(AttributeError, match="has no attribute 'assing'"):
        kernel.assing([0.0])
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_a_weight_can_be_used_like_an_array():
    model = make()
    kernel = model.layers[0].kernel
    array = kernel.numpy()
    for result, expected in (
        (X @ kernel, X @ array),
        (kernel @ array.T, array @ array.T),
        (2.0 * kernel + 1.0 - kernel / 3.0, 2.0 * array + 1.0 - array / 3.0),
        (kernel * kernel, array * array),
        (-kernel, -array),
        (abs(kernel) ** 2, abs(array) ** 2),
        (kernel > 0.0, array > 0.0),
        (kernel == array, np.ones((2, 3), bool)),
        (kernel.T, array.T),
        (kernel[1], array[1]),
        (kernel[:, :2], array[:, :2]),
        (kernel.astype(np.float64), array.astype(np.float64)),
        (kernel.sum(axis=0), array.sum(axis=0)),
        (np.exp(kernel), np.exp(array)),
        (np.concatenate([kernel, array]), np.concatenate([array, array])),
        (np.asarray(kernel), array),
        (np.array(kernel, np.float64), array.astype(np.float64)),
        (list(kernel), list(array)),
        (kernel.ravel().tolist(), array.ravel().tolist()),
        (np.linalg.norm(kernel), np.linalg.norm(array)),
        (np.add.reduce(kernel), np.add.reduce(array)),
    ):
        np.testing.assert_array_equal(result, expected)
    assert (kernel.size, kernel.ndim, len(kernel)) == (6, 2, 2)
    assert float(linear().layers[0].bias[0]) == 0.0 and not linear().layers[0].bias
    for copied in (copy.deepcopy(kernel), copy.copy(kernel), pickle.loads(pickle.dumps(kernel))):
        assert type(copied) is np.ndarray
        np.testing.assert_array_equal(copied, array)
    model.set_weights(model.weights)
    np.testing.assert_array_equal(kernel, array)


def test_weight_decay_leaves_given_weights_out():
    model = linear()
    optimizer = fastnn.optimizers.SGD(0.5, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[model.layers[0].bias])
    model.compile(optimizer, "mse")
    model.set_weights([[[1.0], [1.0]], [1.0]])
    model.fit(np.zeros((4, 2)), np.ones((4, 1)), verbose=0)
    np.testing.assert_allclose(model.weights[0], [[0.95], [0.95]], rtol=1e-6)
    np.testing.assert_array_equal(model.weights[1], [1.0])


def test_a_metric_with_variables_is_copied():
    class Count(fastnn.metrics.Metric):
        def __init__(self):
            super().__init__()
            self.total = self.add_variable(name="total")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(len(y_true))

        def result(self):
            return self.total

    metric = Count()
    metric.update_state(Y, Y)
    copied = copy.deepcopy(metric)
    copied.update_state(Y, Y)
    assert (float(metric.result()), float(copied.result())) == (12.0, 24.0)
    copied.reset_state()
    assert float(copied.result()) == 0.0


def test_an_assigned_weight_is_answered_with_assign():
    model = linear()
    before = model.get_weights()
    for name in ("kernel", "bias"):
        with pytest.raises(AttributeError, match=rf"^{name} of layer .* use layer\.{name}\.assign\(array\)$"):
            setattr(model.layers[0], name, np.zeros((2, 1)))
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    normalization = fastnn.layers.BatchNormalization(input_shape=(2,), scale=False)
    fastnn.Sequential([normalization])
    with pytest.raises(AttributeError, match=r"use layer\.moving_mean\.assign\(array\)"):
        normalization.moving_mean = np.zeros(2)
    with pytest.raises(AttributeError, match="no setter"):
        normalization.gamma = np.zeros(2)
    with pytest.raises(ValueError, match="has no weights yet: give the model an Input"):
        fastnn.layers.Dense(2).kernel = np.zeros((2, 2))
