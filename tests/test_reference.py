"""The NumPy reference against hand values, finite differences and, if they are installed, SciPy and PyTorch."""

import math

import numpy as np
import pytest
from derivatives import finite_difference

from fastnn import reference

ACTIVATIONS = sorted(reference.ACTIVATIONS)
LOSS_CASES = [
    ("mean_squared_error", {}),
    ("mean_squared_error", {"sum": True}),
    ("mean_absolute_error", {}),
    ("huber", {}),
    ("huber", {"delta": 0.3}),
    ("binary_crossentropy", {}),
    ("binary_crossentropy", {"label_smoothing": 0.2}),
    ("binary_crossentropy", {"from_logits": True}),
    ("binary_crossentropy", {"from_logits": True, "label_smoothing": 0.2, "sum": True}),
    ("categorical_crossentropy", {}),
    ("categorical_crossentropy", {"label_smoothing": 0.1}),
    ("categorical_crossentropy", {"from_logits": True}),
    ("categorical_crossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    ("sparse_categorical_crossentropy", {}),
    ("sparse_categorical_crossentropy", {"from_logits": True}),
    ("sparse_categorical_crossentropy", {"from_logits": True, "label_smoothing": 0.1, "sum": True}),
]


def assert_gradient(actual, expected):
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)


def loss_data(name, options, seed=0, n=5, n_outputs=4):
    generator = np.random.default_rng(seed)
    if name in ("mean_squared_error", "mean_absolute_error", "huber"):
        return generator.normal(size=(n, n_outputs)), generator.normal(size=(n, n_outputs))
    if options.get("from_logits"):
        y_pred = generator.normal(size=(n, n_outputs)) * 3
    else:
        y_pred = generator.uniform(0.1, 0.9, size=(n, n_outputs))
    if name == "binary_crossentropy":
        return generator.integers(0, 2, size=(n, n_outputs)).astype(float), y_pred
    if name == "categorical_crossentropy":
        return generator.dirichlet(np.ones(n_outputs), size=n), y_pred
    return generator.integers(0, n_outputs, size=n), y_pred


# The error function. Expected values to 17 digits, from arbitrary-precision arithmetic.


@pytest.mark.parametrize(
    ("x", "erf", "erfc", "lower"),
    [
        (0.3, 0.32862675945912742, 0.67137324054087258, 0.38208857781104737),
        (0.5, 0.52049987781304654, 0.47950012218695346, 0.30853753872598690),
        (1.5, 0.96610514647531073, 0.033894853524689273, 0.066807201268858066),
        (3.0, 0.99997790950300141, 2.2090496998585441e-5, 0.0013498980316300945),
        (5.0, 0.99999999999846254, 1.5374597944280349e-12, 2.8665157187919391e-7),
        (10.0, 1.0, 2.0884875837625448e-45, 7.6198530241605261e-24),
        (25.0, 1.0, 8.3001725711965228e-274, 3.0566967063825609e-138),
    ],
)
def test_error_function_values(x, erf, erfc, lower):
    np.testing.assert_allclose(reference.erf([x, -x]), [erf, -erf], rtol=1e-15)
    np.testing.assert_allclose(reference.erfc([x, -x]), [erfc, 2 - erfc], rtol=1e-15)
    np.testing.assert_allclose(reference.normal_cdf([-x, x]), [lower, 1 - lower], rtol=1e-15)


def test_error_function_special_values():
    np.testing.assert_array_equal(reference.erf([0.0, np.inf, -np.inf, np.nan]), [0.0, 1.0, -1.0, np.nan])
    np.testing.assert_array_equal(reference.erfc([0.0, np.inf, -np.inf, np.nan]), [1.0, 0.0, 2.0, np.nan])
    np.testing.assert_array_equal(reference.normal_cdf([0.0, np.inf, -np.inf, np.nan]), [0.5, 1.0, 0.0, np.nan])


def test_error_function_against_scipy():
    special = pytest.importorskip("scipy.special", reason="SciPy is not installed")
    x = np.linspace(-6.0, 6.0, 100_001)
    np.testing.assert_allclose(reference.erf(x), special.erf(x), rtol=2e-15)
    np.testing.assert_allclose(reference.erfc(x), special.erfc(x), rtol=1e-14)


# Activations.


def test_activation_hand_values():
    x = np.array([-2.0, 0.0, 1.0])
    e = math.exp
    expected = {
        "linear": [-2.0, 0.0, 1.0],
        "relu": [0.0, 0.0, 1.0],
        "leaky_relu": [-0.4, 0.0, 1.0],
        "tanh": [math.tanh(-2), 0.0, math.tanh(1)],
        "sigmoid": [1 / (1 + e(2)), 0.5, 1 / (1 + e(-1))],
        "exponential": np.exp(x),
        "softmax": np.exp(x) / (e(-2) + 1 + e(1)),
        "log_softmax": x - math.log(e(-2) + 1 + e(1)),
        "softplus": [math.log(1 + e(-2)), math.log(2), math.log(1 + e(1))],
        "elu": [e(-2) - 1, 0.0, 1.0],
        "selu": [1.0507009873554805 * 1.6732632423543772 * (e(-2) - 1), 0.0, 1.0507009873554805],
        "gelu": [-2 * 0.022750131948179207, 0.0, 0.8413447460685429],
        "gelu_tanh": [0.5 * t * (1 + math.tanh(math.sqrt(2 / math.pi) * (t + 0.044715 * t**3))) for t in (-2, 0, 1)],
        "silu": [-2 / (1 + e(2)), 0.0, 1 / (1 + e(-1))],
        "relu6": [0.0, 0.0, 1.0],
        "general_relu": [0.0, 0.0, 1.0],
        "mish": [t * math.tanh(math.log(1 + e(t))) for t in (-2, 0, 1)],
        "softsign": [-2 / 3, 0.0, 0.5],
        "hard_sigmoid": [1 / 6, 0.5, 2 / 3],
        "hard_silu": [-1 / 3, 0.0, 2 / 3],
    }
    assert sorted(expected) == ACTIVATIONS
    for name, values in expected.items():
        np.testing.assert_allclose(reference.activation(name, x), values, rtol=1e-14, atol=1e-16, err_msg=name)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_gradient(name):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(4, 5)) * 2
    x[np.abs(x) < 0.01] = 0.5  # away from the kinks
    direction = generator.normal(size=x.shape)
    expected = finite_difference(lambda z: float((reference.activation(name, z) * direction).sum()), x)
    assert_gradient(reference.activation_gradient(name, x, direction), expected)


@pytest.mark.parametrize(("name", "options"), [("leaky_relu", {"negative_slope": 0.01}), ("elu", {"alpha": 0.7})])
def test_activation_options(name, options):
    x = np.array([-1.5, 0.3])
    y = reference.activation(name, x, **options)
    slope = options.get("negative_slope")
    assert y[0] == pytest.approx(-1.5 * slope if slope else 0.7 * math.expm1(-1.5), rel=1e-15)
    expected = finite_difference(lambda z: float(reference.activation(name, z, **options).sum()), x)
    assert_gradient(reference.activation_gradient(name, x, np.ones(2), **options), expected)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "exponential"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activation_is_finite_for_large_inputs(name, dtype):
    x = np.array([[-1e4, -100.0, -1e-30, 0.0, 100.0, 1e4]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = reference.activation(name, x)
        gradient = reference.activation_gradient(name, x, np.ones_like(x))
    assert y.dtype == gradient.dtype == dtype
    assert np.isfinite(y).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "gelu", "gelu_tanh", "silu"])
def test_tails_keep_relative_accuracy(name):
    assert reference.activation(name, np.array([-5.0]))[0] == pytest.approx(
        {
            "sigmoid": 1 / (1 + math.exp(5)),
            "softplus": math.log1p(math.exp(-5)),
            "gelu": -5 * 2.8665157187919391e-7,
            "gelu_tanh": -5 / (1 + math.exp(2 * math.sqrt(2 / math.pi) * (5 + 0.044715 * 125))),
            "silu": -5 / (1 + math.exp(5)),
        }[name],
        rel=4e-15,
    )


def test_activation_in_place():
    x = np.array([[-1.0, 2.0]])
    assert reference.activation("relu", x, out=x) is x
    np.testing.assert_array_equal(x, [[0.0, 2.0]])


def test_activation_errors():
    with pytest.raises(ValueError, match=r"unknown activation 'relo'.*'relu'.*sigmoid"):
        reference.activation("relo", [1.0])
    with pytest.raises(TypeError, match="'relu' has no option 'alpha'"):
        reference.activation("relu", [1.0], alpha=1.0)
    with pytest.raises(ValueError, match="negative_slope"):
        reference.activation("leaky_relu", [1.0], negative_slope=-1.0)
    with pytest.raises(ValueError, match="out must have shape"):
        reference.activation("relu", [1.0], out=np.empty(2))
    with pytest.raises(ValueError, match="grad_out"):
        reference.activation_gradient("relu", [1.0], [1.0, 2.0])
    with pytest.raises(TypeError, match="real numbers"):
        reference.activation("relu", ["a"])


# Dense layers.


def test_dense_hand_values():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    kernel = np.array([[1.0, -1.0, 0.0], [2.0, 1.0, -1.0]])
    bias = np.array([0.5, 0.0, 1.0])
    out = np.full((2, 3), np.nan)
    assert reference.dense_forward(x, kernel, bias, "relu", out=out) is out
    np.testing.assert_array_equal(out, [[5.5, 1.0, 0.0], [11.5, 1.0, 0.0]])
    grad_x, grad_kernel, grad_bias = reference.dense_backward(np.ones((2, 3)), x, kernel, out, "relu")
    np.testing.assert_array_equal(grad_x, [[0.0, 3.0], [0.0, 3.0]])
    np.testing.assert_array_equal(grad_kernel, [[4.0, 4.0, 0.0], [6.0, 6.0, 0.0]])
    np.testing.assert_array_equal(grad_bias, [2.0, 2.0, 0.0])


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dense_backward(name, with_bias):
    generator = np.random.default_rng(3)
    x, kernel = generator.normal(size=(4, 3)), generator.normal(size=(3, 5))
    bias = generator.normal(size=5) if with_bias else None
    direction = generator.normal(size=(4, 5))

    def value(x, kernel, bias):
        return float((reference.dense_forward(x, kernel, bias, name) * direction).sum())

    out = reference.dense_forward(x, kernel, bias, name)
    grads = reference.dense_backward(direction, x, kernel, out, name, bias)
    assert_gradient(grads[0], finite_difference(lambda z: value(z, kernel, bias), x))
    assert_gradient(grads[1], finite_difference(lambda z: value(x, z, bias), kernel))
    if bias is not None:
        assert_gradient(grads[2], finite_difference(lambda z: value(x, kernel, z), bias))


def test_dense_errors():
    with pytest.raises(ValueError, match="x has 2 columns"):
        reference.dense_forward(np.ones((1, 2)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="bias must have shape"):
        reference.dense_forward(np.ones((1, 3)), np.ones((3, 1)), np.ones(2))
    with pytest.raises(ValueError, match="grad_out must have shape"):
        reference.dense_backward(np.ones((1, 2)), np.ones((1, 3)), np.ones((3, 1)), np.ones((1, 1)))


# Losses.


def test_loss_hand_values():
    y, p = [[1.0, 0.0], [0.0, 2.0]], [[0.5, 1.0], [0.0, 0.0]]
    assert reference.loss("mean_squared_error", y, p) == (0.25 + 1 + 4) / 4
    assert reference.loss("mean_absolute_error", y, p) == (0.5 + 1 + 2) / 4
    assert reference.loss("huber", y, p) == (0.125 + 0.5 + 1.5) / 4
    assert reference.loss("mean_squared_error", y, p, sum=True) == (0.25 + 1 + 4) / 2
    assert reference.loss("mean_squared_error", y, p, sample_weight=[2.0, 1.0]) == (2 * 1.25 + 4) / 2 / 2
    labels = [[0.8, 0.4]]
    expected = -(math.log(0.8) + math.log(0.6)) / 2
    assert reference.loss("binary_crossentropy", [[1.0, 0.0]], labels) == pytest.approx(expected, rel=1e-15)
    # Rows that do not sum to one are divided by their sum.
    assert reference.loss("categorical_crossentropy", [[0.0, 1.0]], [[1.0, 3.0]]) == pytest.approx(-math.log(0.75))
    assert reference.loss("sparse_categorical_crossentropy", [1], [[1.0, 3.0]]) == pytest.approx(-math.log(0.75))
    logits = [[math.log(1.0), math.log(3.0)]]
    assert reference.loss("sparse_categorical_crossentropy", [[0]], logits, from_logits=True) == pytest.approx(
        math.log(4.0), rel=1e-15
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "options"), LOSS_CASES)
def test_loss_gradient(name, options, weighted):
    y_true, y_pred = loss_data(name, options)
    weight = np.array([0.5, 2.0, 0.0, 1.0, 3.0]) if weighted else None
    value, gradient = reference.loss_and_gradient(name, y_true, y_pred, weight, **options)
    assert value == reference.loss(name, y_true, y_pred, weight, **options)
    expected = finite_difference(lambda p: reference.loss(name, y_true, p, weight, **options), y_pred)
    assert_gradient(gradient, expected)


def test_clipped_probabilities():
    value, gradient = reference.loss_and_gradient("binary_crossentropy", [1.0, 0.0], [0.0, 0.0])
    assert value == pytest.approx(-(math.log(1e-7) + math.log(1 - 1e-7)) / 2, rel=1e-14)
    np.testing.assert_array_equal(gradient, [0.0, 0.0])
    value, gradient = reference.loss_and_gradient("sparse_categorical_crossentropy", [0], [[0.0, 1.0]])
    assert value == pytest.approx(-math.log(1e-7), rel=1e-14)
    np.testing.assert_array_equal(gradient, [[0.0, 0.0]])


def test_losses_from_extreme_logits_are_exact():
    z = np.array([[1000.0], [-1000.0]])
    value, gradient = reference.loss_and_gradient("binary_crossentropy", [[0.0], [0.0]], z, from_logits=True)
    assert value == 500.0
    np.testing.assert_array_equal(gradient, [[0.5], [0.0]])
    logits = np.array([[1000.0, 0.0]])
    value, gradient = reference.loss_and_gradient("sparse_categorical_crossentropy", [1], logits, from_logits=True)
    assert value == 1000.0
    np.testing.assert_array_equal(gradient, [[1.0, -1.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), LOSS_CASES)
def test_loss_keeps_type_and_arguments(name, options, dtype):
    y_true, y_pred = loss_data(name, options)
    y_pred = y_pred.astype(dtype)
    before = y_true.copy(), y_pred.copy()
    value, gradient = reference.loss_and_gradient(name, y_true, y_pred, np.ones(5, dtype), **options)
    assert isinstance(value, float) and gradient.dtype == dtype and gradient.shape == y_pred.shape
    np.testing.assert_array_equal(y_true, before[0])
    np.testing.assert_array_equal(y_pred, before[1])
    expected, expected_gradient = reference.loss_and_gradient(name, y_true, y_pred.astype("float64"), **options)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def test_loss_errors():
    with pytest.raises(ValueError, match=r"unknown loss 'mean_square_error'.*'mean_squared_error'"):
        reference.loss("mean_square_error", [1.0], [1.0])
    with pytest.raises(ValueError, match="shape of y_pred"):
        reference.loss("mean_squared_error", [1.0, 2.0], [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"0\.\.1.*got 0\.\.2"):
        reference.loss("sparse_categorical_crossentropy", [0, 2], np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"got -1\.\.0"):
        reference.loss("sparse_categorical_crossentropy", [0, -1], np.ones((2, 2)))
    with pytest.raises(ValueError, match="whole-number"):
        reference.loss("sparse_categorical_crossentropy", [0, 0.5], np.ones((2, 2)))
    with pytest.raises(ValueError, match="sample_weight must have shape"):
        reference.loss("huber", [1.0], [1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="delta"):
        reference.loss("huber", [1.0], [1.0], delta=0.0)
    with pytest.raises(TypeError, match="no option 'delta'"):
        reference.loss("mean_squared_error", [1.0], [1.0], delta=1.0)
    with pytest.raises(ValueError, match="empty"):
        reference.loss("mean_squared_error", np.empty((0, 1)), np.empty((0, 1)))


# Update rules.


def test_sgd_hand_values():
    w, velocity = np.array([1.0]), np.array([0.5])
    reference.sgd(w, np.array([2.0]), learning_rate=0.1)
    assert w[0] == pytest.approx(0.8, rel=1e-15)
    reference.sgd(w, np.array([2.0]), velocity, 0.1, momentum=0.5)
    assert velocity[0] == pytest.approx(0.05, rel=1e-14) and w[0] == pytest.approx(0.85, rel=1e-15)
    reference.sgd(w, np.array([2.0]), velocity, 0.1, momentum=0.5, nesterov=True)
    assert velocity[0] == pytest.approx(-0.175, rel=1e-14)
    assert w[0] == pytest.approx(0.85 + 0.5 * -0.175 - 0.2, rel=1e-14)


def test_adam_hand_values():
    w, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    reference.adam(w, np.array([0.5]), m, v, 1, learning_rate=0.1)
    assert m[0] == pytest.approx(0.05, rel=1e-14) and v[0] == pytest.approx(0.00025, rel=1e-12)
    alpha = 0.1 * math.sqrt(1 - 0.999) / (1 - 0.9)
    assert w[0] == pytest.approx(1 - alpha * 0.05 / (math.sqrt(0.00025) + 1e-7), rel=1e-14)
    u, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    reference.adamw(u, np.array([0.5]), m, v, 1, learning_rate=0.1, weight_decay=0.01)
    assert u[0] == pytest.approx(w[0] - 0.001, rel=1e-14)
    decayed = np.array([2.0])
    reference.weight_decay(decayed, 0.1, 0.01)
    assert decayed[0] == pytest.approx(1.998, rel=1e-15)


def test_rmsprop_hand_values():
    w, v = np.array([1.0]), np.array([1.0])
    reference.rmsprop(w, np.array([2.0]), v, learning_rate=0.1)
    assert v[0] == pytest.approx(1.3, rel=1e-14)
    assert w[0] == pytest.approx(1 - 0.2 / math.sqrt(1.3 + 1e-7), rel=1e-14)
    w, v, momentum, average = np.array([1.0]), np.array([1.0]), np.array([0.5]), np.zeros(1)
    reference.rmsprop(w, np.array([2.0]), v, momentum, average, 0.1, momentum=0.9, centered=True)
    assert average[0] == pytest.approx(0.2, rel=1e-14)
    increment = 0.2 / math.sqrt(1.3 - 0.04 + 1e-7)
    assert momentum[0] == pytest.approx(0.45 + increment, rel=1e-14)
    assert w[0] == pytest.approx(1 - 0.45 - increment, rel=1e-13)


def test_rules_need_their_moments():
    with pytest.raises(ValueError, match="velocity"):
        reference.sgd(np.ones(1), np.ones(1), momentum=0.9)
    with pytest.raises(ValueError, match="momentum_buffer"):
        reference.rmsprop(np.ones(1), np.ones(1), np.ones(1), momentum=0.9)
    with pytest.raises(ValueError, match="average_gradient"):
        reference.rmsprop(np.ones(1), np.ones(1), np.ones(1), centered=True)


# Whole networks.


def network_data(name, options, n=6, n_features=3, n_outputs=4):
    X = np.random.default_rng(5).normal(size=(n, n_features))
    y, _ = loss_data(name, options, n=n, n_outputs=n_outputs)
    return X, y


@pytest.mark.parametrize(("name", "options"), LOSS_CASES)
@pytest.mark.parametrize("hidden", ["tanh", "gelu", "softplus"])
def test_network_gradients(name, options, hidden):
    needs_probabilities = "from_logits" in reference.LOSSES[name].options
    output = ("sigmoid" if name == "binary_crossentropy" else "softmax") if needs_probabilities else "linear"
    network = reference.DenseNetwork(
        [3, 5, 4], hidden, name, output_activation=output, loss_options=options, dtype="float64", seed=2
    )
    X, y = network_data(name, options)
    weight = np.array([1.0, 0.5, 2.0, 1.0, 0.0, 1.0])
    value, gradients = network.gradients(X, y, weight)
    start = network.weights
    for index, gradient in enumerate(gradients):

        def value_at(w, index=index):
            network.weights = [*start[:index], w, *start[index + 1 :]]
            return network.gradients(X, y, weight)[0]

        assert_gradient(gradient, finite_difference(value_at, start[index]))
    network.weights = start
    # The loss in training is that of the predictions: logits or not.
    options = {k: v for k, v in options.items() if k != "from_logits"}
    assert value == pytest.approx(reference.loss(name, y, network.predict(X), weight, **options), rel=1e-6)


# Third parties.


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_against_torch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    functional = torch.nn.functional
    peers = {
        "linear": lambda t: t,
        "relu": torch.relu,
        "leaky_relu": lambda t: functional.leaky_relu(t, 0.2),
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "exponential": torch.exp,
        "softmax": lambda t: torch.softmax(t, -1),
        "log_softmax": lambda t: torch.log_softmax(t, -1),
        "softplus": lambda t: functional.softplus(t, threshold=1000),
        "elu": functional.elu,
        "selu": functional.selu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda t: functional.gelu(t, approximate="tanh"),
        "silu": functional.silu,
        "relu6": functional.relu6,
        "general_relu": torch.relu,
        "mish": functional.mish,
        "softsign": functional.softsign,
        "hard_sigmoid": lambda t: functional.relu6(t + 3.0) / 6.0,  # hardsigmoid rounds 1 / 6 to float32
        "hard_silu": functional.hardswish,
    }
    generator = np.random.default_rng(8)
    x = generator.normal(size=(20, 6)) * 3
    direction = generator.normal(size=x.shape)
    t = torch.tensor(x, requires_grad=True)
    y = peers[name](t)
    y.backward(torch.tensor(direction))
    np.testing.assert_allclose(reference.activation(name, x), y.detach().numpy(), rtol=1e-12, atol=1e-14)
    actual = reference.activation_gradient(name, x, direction)
    np.testing.assert_allclose(actual, t.grad.numpy(), rtol=1e-10, atol=1e-13)
