"""Less common arguments of Keras: what they do, and the errors about those that are not supported."""

import pickle

import numpy as np
import pytest
from sample_models import tanh_model

import fastnn
from fastnn import layers, losses

X = np.random.default_rng(0).normal(size=(30, 3))
Y = X[:, :1] - X[:, 1:2]


def test_a_layer_is_frozen_by_its_constructor():
    frozen = [layers.Dense(3, trainable=False), layers.BatchNormalization(trainable=False)]
    block = layers.Residual([layers.Dense(3)], trainable=False)
    model = fastnn.Sequential([fastnn.Input((3,)), *frozen, block, layers.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    start = model.get_weights()
    model.fit(X, Y, epochs=2, verbose=0)
    same = [bool((a == b).all()) for a, b in zip(start, model.get_weights(), strict=True)]
    assert same == [True] * 8 + [False] * 2
    assert [layer.trainable for layer in pickle.loads(pickle.dumps(model)).layers] == [False, False, False, True]
    assert [w.shape for w in model.layers[0].non_trainable_weights] == [(3, 3), (3,)]
    assert model.layers[0].trainable_weights == []
    model.trainable = True
    assert len(model.trainable_variables) == 8 and len(model.non_trainable_variables) == 2


def test_dtype_of_a_layer_is_that_of_the_model():
    model = fastnn.Sequential([layers.Dense(2, dtype="float64")], dtype="float64")
    assert layers.Dense.from_config(model.layers[0].get_config()).dtype == np.float64
    with pytest.raises(ValueError, match=r"has dtype float64, but the model has float32.*Sequential\(..., dtype="):
        fastnn.Sequential([layers.Dense(2, dtype="float64")])
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', got 'float16'"):
        layers.Dense(2, dtype="float16")


def test_input_takes_a_batch_shape():
    for given in (layers.Input((3,), 8, "float32"), layers.Input(batch_shape=(None, 3)), layers.Input(shape=3)):
        assert given.shape == (None, 3)
    for wrong, message in (
        ({}, "give shape or batch_shape, one of them"),
        ({"shape": (3,), "sparse": True}, "sparse and ragged must be None"),
        ({"shape": (3,), "batch_size": 0}, "batch_size must be a whole number of at least 1, or None, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            layers.Input(**wrong)


def squares(y_true, y_pred):
    return ((y_pred - y_true) ** 2).mean(), 2.0 * (y_pred - y_true) / y_true.size


@pytest.mark.parametrize(
    "optimizer, loss", [("adam", "mae"), ("sgd", squares), ("lm", "mse"), ("lm_bayes", "mse"), ("lbfgs", "mae")]
)
def test_lists_of_one_and_the_weight_of_one_loss(optimizer, loss):
    """A chain takes [x], [y], [sample_weight] and loss_weights, as a graph of the same layers does."""
    x = fastnn.Input((3,))
    graph = fastnn.Model(x, layers.Dense(1)(layers.Dense(4, "tanh")(x)), seed=1, dtype="float64")
    chain = fastnn.Sequential([layers.Dense(4, "tanh"), layers.Dense(1)], seed=1, dtype="float64")
    inputs = np.random.default_rng(5).normal(size=(20, 3))
    targets, weights = inputs[:, 0] * inputs[:, 1], np.linspace(0.5, 1.5, 20)
    if optimizer.startswith("l") or loss is squares:
        weights = None
    graph.compile(optimizer, loss, loss_weights=[2.5], metrics=["mae"])
    chain.compile(optimizer, loss, loss_weights=2.5, metrics=["mae"])
    expected = graph.fit(inputs, targets[:, None], epochs=3, verbose=0, sample_weight=weights)
    column = [targets] if loss == "mae" else [targets[:, None]]
    found = chain.fit([inputs], column, epochs=3, verbose=0, sample_weight=None if weights is None else [weights])
    assert found.history == expected.history
    np.testing.assert_array_equal(chain.predict([inputs]), graph.predict(inputs))
    assert chain.evaluate([inputs], [targets], verbose=0) == graph.evaluate(inputs, targets, verbose=0)
    single = chain.predict(inputs[:1])
    np.testing.assert_array_equal(chain.predict([inputs[0]]), single)  # a list of one row
    chain.compile(optimizer, loss)
    unweighted = chain.evaluate(inputs, targets, verbose=0)
    assert graph.evaluate(inputs, targets, verbose=0)[0] == pytest.approx(2.5 * unweighted, rel=1e-12)


def test_unsupported_arguments_are_named():
    for make, message in (
        (lambda: layers.Dense(2, lora_rank=4), "lora_rank is not supported"),
        (lambda: layers.BatchNormalization(renorm=True), "renorm is not supported"),
        (lambda: layers.Flatten("channels_first"), "data_format must be None or 'channels_last'"),
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class=0.5), "ignore_class must be a whole number from"),
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class=True), "ignore_class must be a whole number from"),
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class=2**63), "ignore_class must be a whole number from"),
        (lambda: losses.BinaryCrossentropy(axis=0), "axis must be -1"),
        (lambda: tanh_model().compile("sgd", "mse", ["mae"]), r"loss_weights must be None.*\['mae'\]"),
        (
            lambda: tanh_model().fit(X, Y, validation_data=(X, Y), validation_steps=0),
            "validation_steps must be a whole",
        ),
        (lambda: tanh_model().evaluate(X, Y, steps=0), "steps must be a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_steps_are_the_first_batches():
    model = tanh_model()
    assert model.evaluate(X, Y, 8, 0, None, 2) == model.evaluate(X[:16], Y[:16], verbose=0)
    assert model.evaluate(X, Y, 8, 0, steps=9) == model.evaluate(X, Y, verbose=0)
    np.testing.assert_array_equal(model.predict(X, 8, steps=1), model.predict(X[:8]))
    data = {"validation_data": (X, Y), "verbose": 0, "shuffle": False}
    few = tanh_model().fit(X, Y, 10, steps_per_epoch=3, validation_steps=2, validation_batch_size=7, **data).history
    cut = {"validation_data": (X[:14], Y[:14]), "verbose": 0, "shuffle": False}
    assert few == tanh_model().fit(X, Y, 10, **cut).history


def test_loss_functions_give_a_value_per_row_and_train_natively():
    t, p = np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[0.5, 0.5], [0.0, 4.0]])
    np.testing.assert_allclose(losses.mean_squared_error(t, p), [0.25, 5.0])
    np.testing.assert_allclose(losses.huber(t, p, 0.5), [0.125, (0.375 + 1.375) / 2])
    np.testing.assert_allclose(losses.binary_crossentropy(t, p, from_logits=True)[0], np.log1p(np.exp(0.5)) - 0.25)
    np.testing.assert_allclose(
        losses.sparse_categorical_crossentropy([1, 0], [[0.25, 0.75], [0.5, 0.5]]), -np.log([0.75, 0.5])
    )
    assert losses.mean_absolute_error(t[0], p[0]) == 0.5
    assert losses.mean_absolute_error(t[None], p[None]).shape == (1, 2)
    assert losses.dice(t, p) == losses.Dice()(t, p)
    assert all(losses.get(getattr(losses, name)).core_name == name for name in fastnn._core.LOSSES if name != "custom")
    model = tanh_model()
    model.compile("sgd", losses.mean_squared_error, metrics=[losses.mean_absolute_error])
    assert isinstance(model.loss, losses.MeanSquaredError)
    assert list(model.fit(X, Y, verbose=0).history) == ["loss", "mean_absolute_error"]


def test_correlations_of_rows_and_of_outputs():
    rng = np.random.default_rng(1)
    t, p = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    p += t
    pearson = [np.corrcoef(a, b)[0, 1] for a, b in zip(t.T, p.T, strict=True)]
    assert fastnn.metrics.PearsonCorrelation(axis=0)(t, p) == pytest.approx(np.mean(pearson))
    rows = [np.corrcoef(a, b)[0, 1] for a, b in zip(t, p, strict=True)]
    assert fastnn.metrics.PearsonCorrelation()(t, p) == pytest.approx(np.mean(rows))
    spread = t.var(axis=1) + p.var(axis=1) + (t.mean(axis=1) - p.mean(axis=1)) ** 2
    concordance = 2 * np.array(rows) * t.std(axis=1) * p.std(axis=1) / (spread + 1e-7)
    assert fastnn.metrics.ConcordanceCorrelation()(t, p) == pytest.approx(concordance.mean())
    # Keras's documented examples
    t, p = [[0, 1, 0.5], [1, 1, 0.2]], [[0.1, 0.9, 0.5], [1, 0.9, 0.2]]
    assert fastnn.metrics.PearsonCorrelation()(t, p) == pytest.approx(0.9966996338993913)
    assert fastnn.metrics.ConcordanceCorrelation()(t, p) == pytest.approx((0.97560976 + 0.98765432) / 2)


def test_terminate_on_nan_may_raise():
    model = tanh_model()
    model.compile(fastnn.optimizers.SGD(1e30), "mse")
    with pytest.raises(RuntimeError, match=r"the loss of batch .* is NaN or infinite"):
        model.fit(X, Y, epochs=30, verbose=0, callbacks=[fastnn.callbacks.TerminateOnNaN(raise_error=True)])
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_what_cannot_be_trained_is_named():
    class Rows:
        """Rows that come in batches."""

    for call, error, message in (
        (lambda: tanh_model().fit(Rows(), Y), ValueError, "x is a Rows; fastnn takes arrays"),
        (lambda: tanh_model().fit({"a": X}, Y), ValueError, "x is a dict; a network has one input and one output"),
        (lambda: tanh_model().fit((row for row in X), Y), ValueError, "x is a generator"),
        (lambda: layers.Dense(2)(X), TypeError, r"cannot be called: list layers in fastnn.Sequential"),
        (lambda: fastnn.Sequential([tanh_model]), TypeError, "a Sequential takes layers, got <function"),
    ):
        with pytest.raises(error, match=message):
            call()
