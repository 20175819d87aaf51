"""Training whole networks in the NumPy reference: updates, pure Python and, if it is installed, PyTorch."""

import math

import numpy as np
import pytest

from fastnn import reference
from fastnn.bench.pure_python import PurePythonNetwork


def regression_data(n=6, n_features=3, n_outputs=2):
    generator = np.random.default_rng(5)
    return generator.normal(size=(n, n_features)), generator.normal(size=(n, n_outputs))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_network_step_is_the_update_rule(optimizer):
    network = reference.DenseNetwork([3, 200, 100, 2], optimizer=optimizer, dtype="float64", learning_rate=0.01)
    X, y = regression_data()
    w, (loss, g) = network.weights, network.gradients(X, y)
    assert network.step(X, y) == loss and network.iterations == 1
    for before, gradient, after in zip(w, g, network.weights, strict=True):
        m, v = np.zeros_like(before), np.zeros_like(before)
        if optimizer == "sgd":
            reference.sgd(before, gradient, learning_rate=0.01)
        elif optimizer == "adam":
            reference.adam(before, gradient, m, v, 1, 0.01)
        elif optimizer == "adamw":
            reference.adamw(before, gradient, m, v, 1, 0.01)
        else:
            reference.rmsprop(before, gradient, v, learning_rate=0.01)
        np.testing.assert_array_equal(after, before)


def test_network_learns_a_line():
    X = np.linspace(-1, 1, 32)[:, None]
    network = reference.DenseNetwork([1, 1], learning_rate=0.1, optimizer="sgd", dtype="float64")
    for _ in range(500):
        network.step(X, 3 * X + 2)
    np.testing.assert_allclose(np.concatenate([w.ravel() for w in network.weights]), [3.0, 2.0], rtol=1e-8)


def test_network_without_bias_and_other_batch_sizes():
    network = reference.DenseNetwork([2, 3, 1], use_bias=False, dtype="float32")
    assert [w.shape for w in network.weights] == [(2, 3), (3, 1)]
    for n in (4, 1, 7):
        assert math.isfinite(network.step(np.ones((n, 2)), np.zeros((n, 1))))
    assert network.predict(np.ones((2, 2))).dtype == np.float32


def test_network_errors():
    network = reference.DenseNetwork([2, 3, 1])
    with pytest.raises(ValueError, match=r"X must have shape \(n, 2\)"):
        network.step(np.ones((4, 3)), np.ones((4, 1)))
    with pytest.raises(ValueError, match="y_true"):
        network.step(np.ones((4, 2)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="weights must have the shapes"):
        network.weights = [np.ones((2, 3))]
    with pytest.raises(ValueError, match="unknown optimizer"):
        reference.DenseNetwork([2, 1], optimizer="ftrl")
    with pytest.raises(TypeError, match="no option 'rho'"):
        reference.DenseNetwork([2, 1], optimizer_options={"rho": 0.5})
    with pytest.raises(ValueError, match="sizes"):
        reference.DenseNetwork([2])
    with pytest.raises(ValueError, match="dtype"):
        reference.DenseNetwork([2, 1], dtype="float16")


@pytest.mark.parametrize(
    ("sizes", "activation", "loss"),
    [
        ([5, 8, 6, 3], "relu", "mean_squared_error"),
        ([4, 7, 1], "tanh", "binary_crossentropy"),
        ([6, 9, 4], "sigmoid", "sparse_categorical_crossentropy"),
        ([6, 4], "relu", "sparse_categorical_crossentropy"),
    ],
)
def test_pure_python_agrees(sizes, activation, loss):
    generator = np.random.default_rng(7)
    X = generator.normal(size=(10, sizes[0]))
    if loss == "sparse_categorical_crossentropy":
        y = generator.integers(0, sizes[-1], 10)
    else:
        y = generator.integers(0, 2, size=(10, sizes[-1])).astype(float)
    network = reference.DenseNetwork(sizes, activation, loss, 0.01, dtype="float64")
    start = network.weights
    lists = PurePythonNetwork(sizes, activation, loss, 0.01, [w.tolist() for w in start])
    for _ in range(20):
        assert lists.step(X.tolist(), y.tolist()) == pytest.approx(network.step(X, y), rel=1e-12)
    for a, b, before in zip(lists.weights, network.weights, start, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        assert np.abs(b - before).max() > 1e-3
    np.testing.assert_allclose(lists.predict(X.tolist()), network.predict(X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ["mean_squared_error", "sparse_categorical_crossentropy"])
@pytest.mark.parametrize("rule", ["sgd", "adam", "adamw"])
def test_training_against_torch(rule, loss):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    network = reference.DenseNetwork(
        [4, 16, 3],
        "tanh",
        loss,
        0.01,
        optimizer=rule,
        optimizer_options={
            "sgd": {"momentum": 0.9, "nesterov": True},
            "adam": {"epsilon": 1e-15},
            "adamw": {"epsilon": 1e-15, "weight_decay": 0.01},
        }[rule],
        dtype="float64",
    )
    w = [torch.tensor(a, requires_grad=True) for a in network.weights]
    optimizer = {
        "sgd": lambda: torch.optim.SGD(w, 0.01, momentum=0.9, nesterov=True),
        # PyTorch adds epsilon after the bias correction; at 1e-15 the two agree.
        "adam": lambda: torch.optim.Adam(w, 0.01, eps=1e-15),
        "adamw": lambda: torch.optim.AdamW(w, 0.01, eps=1e-15, weight_decay=0.01),
    }[rule]()
    generator = np.random.default_rng(9)
    X = generator.normal(size=(20, 4))
    y = generator.normal(size=(20, 3)) if loss == "mean_squared_error" else generator.integers(0, 3, 20)
    criterion = torch.nn.MSELoss() if loss == "mean_squared_error" else torch.nn.CrossEntropyLoss()
    for _ in range(50):
        optimizer.zero_grad()
        output = torch.tanh(torch.tensor(X) @ w[0] + w[1]) @ w[2] + w[3]
        value = criterion(output, torch.tensor(y))
        value.backward()
        optimizer.step()
        assert network.step(X, y) == pytest.approx(value.item(), rel=1e-10)
    for a, b in zip(network.weights, w, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-8, atol=1e-11)
