"""A loss that is not finite: the error message, and the last finite weights bit for bit."""

import numpy as np
import pytest
from same_bits import same_weights
from sample_models import tanh_model

import fastnn
from fastnn import layers
from fastnn.callbacks import Callback, LambdaCallback, LearningRateScheduler, TerminateOnNaN
from fastnn.network.outputs import misfit

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X[:, :1] - X[:, 1:2]


def make_model(rate=0.05, momentum=0.9):
    return tanh_model(fastnn.optimizers.SGD(rate, momentum=momentum))


def test_the_error_names_epoch_step_loss_and_cures():
    model = make_model(1e30)
    with pytest.raises(fastnn.DivergenceError) as caught:
        model.fit(X, Y, batch_size=8, epochs=7, verbose=0)
    error = caught.value
    assert isinstance(error, ArithmeticError)
    assert error.epoch == 1 and 2 <= error.step <= 5
    assert np.isfinite(error.last_loss)
    for part in (
        "epoch 1 of 7",
        f"step {error.step} of 5",
        f"{error.last_loss:.4g}",
        "scale inputs",
        "now 1e+30",
        "last finite",
    ):
        assert part in str(error)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_the_error_says_whether_the_last_finite_weights_are_usable():
    x = np.array(X)
    x[8, 0] = 1e30
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(1)], seed=1)
    model.compile(fastnn.optimizers.SGD(0.05), "mse")
    with pytest.raises(fastnn.DivergenceError) as caught:
        model.fit(x, Y, batch_size=8, epochs=7, shuffle=False, verbose=0)
    error = caught.value
    assert str(error) == (
        f"the loss became NaN or infinite in epoch 1 of 7, step {error.step} of 5; the mean loss of the epoch until "
        f"then was {error.last_loss:.4g}. The model keeps its last finite weights. Likely cures: scale inputs and "
        "targets to about unit size, lower the learning rate (now 0.05) or use a loss that grows slower (Huber)"
    )
    with pytest.raises(fastnn.DivergenceError, match=r"finite weights, but they have grown to \d\.\de\+\d\d: rebuild"):
        make_model(1e30).fit(X, Y, batch_size=8, epochs=7, verbose=0)


@pytest.mark.parametrize(
    ("activation", "loss", "cause"),
    [
        ("softmax", "mse", "mean_squared_error of a softmax: for classes use categorical_crossentropy"),
        (
            None,
            "categorical_crossentropy",
            "categorical_crossentropy takes probabilities, but the last layer's activation is 'linear': give the layer "
            "activation='softmax', or the loss from_logits=True. Other cures: scale the inputs",
        ),
        ("relu", "categorical_crossentropy", "activation is 'relu': give the layer activation='softmax'. Other cures"),
        (
            "softmax",
            fastnn.losses.BinaryCrossentropy(from_logits=True),
            "from_logits=True takes values before an activation, but the last layer has 'softmax'",
        ),
        (None, "poisson", "poisson takes positive predictions: give the last layer activation='softplus'"),
    ],
)
def test_the_error_names_a_loss_that_does_not_fit_the_output(activation, loss, cause):
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(8), layers.Dense(2, activation=activation)], seed=0)
    model.compile(fastnn.optimizers.SGD(1e20), loss)
    y = np.eye(2)[(X[:, 0] > 0).astype(int)]
    for train in (lambda: model.fit(X, y, epochs=50, batch_size=8, verbose=0), lambda: model.train_on_batch(X, y)):
        model.set_weights([np.full_like(weight, 3e38) for weight in model.get_weights()])
        with pytest.raises(fastnn.DivergenceError) as caught:
            train()
        assert "Likely cause: " in str(caught.value) and cause in str(caught.value)


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("softmax", "categorical_crossentropy"),
        ("softmax", "binary_crossentropy"),
        ("sigmoid", "binary_crossentropy"),
        ("sigmoid", "mse"),
        (None, fastnn.losses.CategoricalCrossentropy(from_logits=True)),
        ("exponential", "poisson"),
        (None, "mse"),
    ],
)
def test_a_loss_that_fits_is_not_named_as_the_cause(activation, loss):
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2, activation=activation)])
    model.compile("sgd", loss)
    assert misfit(model.loss, model.program) is None


def linear_model():
    """A model whose kernel starts at 0 and has the gradient 2 (prediction - y) x / rows."""
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(1, kernel_initializer="zeros")], seed=1)
    model.compile(fastnn.optimizers.SGD(0.01, momentum=0.9), "mse")
    return model


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("hooks", [False, True])
def test_infinite_weights_are_rolled_back(step, hooks):
    x, y = np.array(X), np.array(Y)
    # The loss of the step, 1e36, is finite; its gradient, 1e18 * 1e25, is not.
    x[8 * step : 8 * step + 8] = 0.0
    y[8 * step] = 1e18
    # The first weight is 0 until then, and so is its product with 1e25.
    x[:, 0] = np.where(np.arange(40) == 8 * step, 1e25, 0.0)
    hook = LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    model = linear_model()
    with pytest.raises(fastnn.DivergenceError) as caught:
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=[hook] if hooks else None)
    assert caught.value.step == step + 2
    expected = linear_model()
    if step:
        expected.fit(x[: 8 * step], y[: 8 * step], batch_size=8, shuffle=False, verbose=0)
    assert same_weights(model, expected)
    assert model.network.iterations == step
    for slot in range(2):
        np.testing.assert_array_equal(
            model.network.get_parameter(0, "kernel", slot), expected.network.get_parameter(0, "kernel", slot)
        )


def test_steps_of_earlier_epochs_are_repeated_exactly():
    rates = [0.05, 0.04, 0.03, 3e38]
    schedule = LearningRateScheduler(lambda epoch, rate: rates[epoch])
    model, expected = make_model(), make_model()
    with pytest.raises(fastnn.DivergenceError) as caught:
        model.fit(X, Y, batch_size=8, epochs=6, verbose=0, callbacks=[schedule])
    assert caught.value.epoch == 4
    done = model.network.iterations
    assert 15 <= done <= 20

    def stop(batch, logs):
        expected.stop_training = expected.network.iterations == done

    expected.fit(X, Y, batch_size=8, epochs=4, verbose=0, callbacks=[schedule, LambdaCallback(on_train_batch_end=stop)])
    assert same_weights(model, expected)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("step", [0, 3, 4])
def test_infinite_weights_are_rolled_back_when_every_epoch_has_different_rows(step):
    first, second = np.array(X), np.array(X[::-1])
    first[:, 0] = 0.0
    # As in test_infinite_weights_are_rolled_back, in the second epoch.
    y = np.array(Y)
    second[8 * step : 8 * step + 8] = 0.0
    y[8 * step] = 1e18
    second[:, 0] = np.where(np.arange(40) == 8 * step, 1e25, 0.0)
    epochs = [(first, Y), (second, y), (first, Y)]
    batches = ((a[start : start + 8], b[start : start + 8]) for a, b in epochs for start in range(0, 40, 8))
    model, expected = linear_model(), linear_model()
    with pytest.raises(fastnn.DivergenceError) as caught:
        model.fit(batches, steps_per_epoch=5, epochs=3, verbose=0)
    assert caught.value.epoch == 2
    expected.fit(first, Y, batch_size=8, shuffle=False, verbose=0)
    if step:
        expected.fit(second[: 8 * step], y[: 8 * step], batch_size=8, shuffle=False, verbose=0)
    assert same_weights(model, expected)
    assert model.network.iterations == 5 + step


def test_weights_set_by_a_callback_are_not_undone():
    class Set(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.model.set_weights([np.full_like(weight, 0.25) for weight in self.model.get_weights()])
                self.model.optimizer.learning_rate = 3e38

    model = make_model(momentum=0.0)
    with pytest.raises(fastnn.DivergenceError):
        model.fit(X, Y, batch_size=40, epochs=5, verbose=0, callbacks=[Set()])
    weights = model.get_weights()
    assert all(np.isfinite(weight).all() for weight in weights)
    assert model.network.iterations >= 2


@pytest.mark.parametrize("optimizer", ["lm", "lm_bayes", "lbfgs"])
def test_methods_without_a_learning_rate_get_no_advice_on_it(optimizer):
    model = fastnn.Sequential([layers.Dense(2, "tanh"), layers.Dense(1)], dtype="float64", seed=0)
    model.compile(optimizer, "mse")
    with pytest.raises(fastnn.DivergenceError, match=r"Likely cures: scale inputs and targets to about unit size$"):
        model.fit(np.asarray(X, float), 1e200 * np.ones(len(X)), verbose=0)


@pytest.mark.parametrize("quiet", [False, True])
def test_infinite_weights_of_the_very_last_step_are_rolled_back(quiet):
    x, y = np.array(X), np.array(Y)
    x[32:], y[32] = 0.0, 1e18
    x[:, 0] = np.where(np.arange(40) == 32, 1e25, 0.0)
    model, expected = linear_model(), linear_model()
    if quiet:
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[TerminateOnNaN()])
    else:
        with pytest.raises(
            fastnn.DivergenceError, match="the weights became NaN or infinite in epoch 1 of 1, at its end"
        ):
            model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    expected.fit(x[:32], y[:32], batch_size=8, shuffle=False, verbose=0)
    assert same_weights(model, expected)
    assert model.network.iterations == 4


def test_training_continues_after_a_divergence():
    model = make_model(1e30)
    with pytest.raises(fastnn.DivergenceError):
        model.fit(X, Y, verbose=0, batch_size=8)
    model.set_weights(make_model().get_weights())
    model.compile("adam", "mse")
    history = model.fit(X, Y, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_terminate_on_nan_also_restores_finite_weights(capsys):
    model = make_model(1e30)
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0, callbacks=[TerminateOnNaN()])
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert model.stop_training


def test_train_on_batch_raises_before_its_update():
    model = make_model(1e30)
    with pytest.raises(fastnn.DivergenceError, match="the update was not made"):
        for _ in range(10):
            before = model.get_weights(), model.network.iterations
            model.train_on_batch(X, Y)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before[0], model.get_weights(), strict=True))
    assert model.network.iterations == before[1]
