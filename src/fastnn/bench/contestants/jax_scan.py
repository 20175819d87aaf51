"""JAX: the whole training is one compiled call, `lax.scan` over the steps of an epoch in a loop over epochs."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fastnn.bench.contestants.contestant import EPSILON, LEARNING_RATE, MOMENTUM, Array
from fastnn.bench.networks import Network

_MAX_EPOCHS = 100_000  # length of the buffer of losses


def _forward(shape: str, activation: str, weights: list[Any], inputs: list[Any]) -> Any:
    if shape == "two towers":
        pairs = zip(inputs, weights[:4:2], weights[1:4:2], strict=True)
        return _chain(
            weights[4:], jnp.concatenate([jax.nn.relu(x @ kernel + bias) for x, kernel, bias in pairs], axis=1)
        )
    if shape == "wide and deep":
        return _chain(weights[:-2], inputs[0]) + (inputs[0] @ weights[-2] + weights[-1])
    return _chain(weights, inputs[0], {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation])


def _chain(weights: list[Any], x: Any, activation: Any = jax.nn.relu) -> Any:
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = activation(x @ kernel + bias)
    return x @ weights[-2] + weights[-1]


def _loss(name: str, shape: str, activation: str, weights: list[Any], x: list[Any], y: Any) -> Any:
    z = _forward(shape, activation, weights, x)
    if name == "mse":
        return jnp.mean((z - y) ** 2)
    if name == "binary_crossentropy":
        return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))


@partial(jax.jit, static_argnames=("network",), donate_argnames=("weights", "first", "second"))
def _train(network: Network, weights: Any, first: Any, second: Any, t: Any, X: Any, y: Any, epochs: Any) -> Any:
    """Each of X (steps, batch, features), y (steps, batch, ...); first, second: the moments, t the steps so far."""
    loss = partial(_loss, network.loss, network.shape, network.activation)

    def step(state: Any, batch: Any) -> Any:
        weights, first, second, t = state
        value, gradients = jax.value_and_grad(loss)(weights, *batch)
        t = t + 1
        if network.optimizer == "momentum":
            first = [MOMENTUM * m + g for m, g in zip(first, gradients, strict=True)]
            weights = [w - LEARNING_RATE * m for w, m in zip(weights, first, strict=True)]
            return (weights, first, second, t), value
        rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
        weights = [w - rate * m / (jnp.sqrt(v) + EPSILON) for w, m, v in zip(weights, first, second, strict=True)]
        return (weights, first, second, t), value

    def epoch(i: Any, carry: Any) -> Any:
        state, losses = carry
        state, values = lax.scan(step, state, (X, y))
        return state, losses.at[i].set(values.mean())

    losses = jnp.zeros(_MAX_EPOCHS, dtype=jnp.float32)
    return lax.fori_loop(0, epochs, epoch, ((weights, first, second, t), losses))


class _JaxScan:
    """For one thread it is pinned to a core: XLA's thread flags do not limit its products."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def start_training(self, network: Network, X: Array, y: Array, weights: list[Array]) -> None:
        self.network = network
        self.X = [jnp.asarray(x.reshape(-1, network.batch_size, *x.shape[1:])) for x in network.inputs(X)]
        self.y = jnp.asarray(y.reshape(-1, network.batch_size, *y.shape[1:]))
        values = [jnp.asarray(w) for w in weights]
        moments = [[jnp.zeros_like(w) for w in weights] for _ in range(2)]
        self.state = (values, *moments, jnp.float32(0))

    def train(self, epochs: int) -> list[float]:
        self.state, losses = _train(self.network, *self.state, self.X, self.y, epochs)
        return [float(value) for value in np.asarray(losses)[:epochs]]

    def start_prediction(self, network: Network, weights: list[Array]) -> None:
        self.network, values = network, [jnp.asarray(w) for w in weights]
        forward = partial(_forward, network.shape, network.activation, values)
        if network.loss == "mse":
            self.function = jax.jit(forward)
        elif network.loss == "binary_crossentropy":
            self.function = jax.jit(lambda x: jax.nn.sigmoid(forward(x)))
        else:
            self.function = jax.jit(lambda x: jax.nn.softmax(forward(x)))

    def predict(self, x: Array) -> Array:
        return np.asarray(self.function(self.network.inputs(x)))


CONTESTANT = _JaxScan
