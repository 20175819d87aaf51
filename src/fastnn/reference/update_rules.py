"""Update rules in plain NumPy, in place, with the formulas of Keras 3: those of csrc/kernels/update.c.

Each rule takes the gradient ``g`` and changes the parameters ``w`` and its own moments, arrays of the same shape. The
gradient itself is not changed.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastnn.reference.arguments import Array


def weight_decay(w: Array, learning_rate: float, weight_decay: float) -> None:
    """Decoupled weight decay, applied before the update: ``w -= w * weight_decay * learning_rate``.

    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """
    w *= 1.0 - weight_decay * learning_rate


def sgd(
    w: Array,
    g: Array,
    velocity: Array | None = None,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> None:
    """Gradient descent: ``w -= learning_rate * g``; with momentum ``v = momentum * v - learning_rate * g; w += v``.

    Nesterov's form moves by ``momentum * v - learning_rate * g`` with the new v. ``velocity`` is needed and changed
    only if momentum is not 0. Sutskever et al., "On the importance of initialization and momentum", 2013.
    """
    step = g * -learning_rate
    if momentum == 0.0:
        w += step
        return
    if velocity is None:
        raise ValueError("velocity must be given when momentum is not 0.")
    velocity *= momentum
    velocity += step
    if nesterov:
        step += momentum * velocity
        w += step
    else:
        w += velocity


def adam(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    step: int,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> None:
    """Adam: ``w -= alpha * m / (sqrt(v) + epsilon)``, ``alpha = learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t)``.

    ``m += (g - m) * (1 - beta_1)`` and ``v += (g^2 - v) * (1 - beta_2)`` come first; t is ``step``, counted from 1.
    Epsilon is the "epsilon hat" of Kingma and Ba, "Adam: a method for stochastic optimization", 2015, section 2.
    """
    alpha = learning_rate * math.sqrt(1.0 - beta_2**step) / (1.0 - beta_1**step)
    change = g - m
    change *= 1.0 - beta_1
    m += change
    np.multiply(g, g, out=change)
    change -= v
    change *= 1.0 - beta_2
    v += change
    np.sqrt(v, out=change)
    change += epsilon
    np.divide(m, change, out=change)
    change *= alpha
    w -= change


def adamw(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    step: int,
    learning_rate: float = 0.001,
    weight_decay: float = 0.004,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> None:
    """Adam after decoupled weight decay: ``w -= w * weight_decay * learning_rate``, then `adam`.

    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """
    w *= 1.0 - weight_decay * learning_rate
    adam(w, g, m, v, step, learning_rate, beta_1, beta_2, epsilon)


def rmsprop(
    w: Array,
    g: Array,
    velocity: Array,
    momentum_buffer: Array | None = None,
    average_gradient: Array | None = None,
    learning_rate: float = 0.001,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-7,
    centered: bool = False,
) -> None:
    """RMSprop: ``v = rho * v + (1 - rho) * g^2; w -= learning_rate * g / sqrt(v + epsilon)``.

    If centered, the square of the gradient's running mean is subtracted from v under the root. With momentum,
    ``b = momentum * b + learning_rate * g / sqrt(...)`` and ``w -= b``. ``average_gradient`` is needed if centered,
    ``momentum_buffer`` if momentum is not 0. Tieleman and Hinton, lecture 6.5 of "Neural networks for machine
    learning", 2012; centered: Graves, "Generating sequences with recurrent neural networks", 2013.
    """
    velocity *= rho
    change = g * g
    change *= 1.0 - rho
    velocity += change
    if centered:
        if average_gradient is None:
            raise ValueError("average_gradient must be given when centered is true.")
        average_gradient *= rho
        np.multiply(g, 1.0 - rho, out=change)
        average_gradient += change
        np.multiply(average_gradient, average_gradient, out=change)
        np.subtract(velocity, change, out=change)
        change += epsilon
    else:
        np.add(velocity, epsilon, out=change)
    np.sqrt(change, out=change)
    np.divide(g, change, out=change)
    change *= learning_rate
    if momentum == 0.0:
        w -= change
        return
    if momentum_buffer is None:
        raise ValueError("momentum_buffer must be given when momentum is not 0.")
    momentum_buffer *= momentum
    momentum_buffer += change
    w -= momentum_buffer


def amsgrad(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    v_max: Array,
    step: int,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> None:
    """Adam that divides by the largest v so far (Reddi, Kale and Kumar, 2018)."""
    m += (g - m) * (1.0 - beta_1)
    v += (g * g - v) * (1.0 - beta_2)
    np.maximum(v_max, v, out=v_max)
    alpha = learning_rate * math.sqrt(1.0 - beta_2**step) / (1.0 - beta_1**step)
    w -= alpha * m / (np.sqrt(v_max) + epsilon)


def nadam(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    step: int,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> None:
    """Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov momentum into Adam", 2016).

    ``u_t = beta_1 (1 - 0.96^t / 2)``; P_t is the product of u_1 ... u_t.
    """
    u = [beta_1 * (1.0 - 0.5 * 0.96**t) for t in range(1, step + 2)]
    product = math.prod(u[:-1])
    m += (g - m) * (1.0 - beta_1)
    v += (g * g - v) * (1.0 - beta_2)
    m_hat = u[-1] * m / (1.0 - product * u[-1]) + (1.0 - u[-2]) * g / (1.0 - product)
    w -= learning_rate * m_hat / (np.sqrt(v / (1.0 - beta_2**step)) + epsilon)


def adamax(
    w: Array,
    g: Array,
    m: Array,
    u: Array,
    step: int,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> None:
    """Adam with the infinity norm (Kingma and Ba, 2015, section 7.1): ``u = max(beta_2 u, |g|)``."""
    m += (g - m) * (1.0 - beta_1)
    np.maximum(beta_2 * u, np.abs(g), out=u)
    w -= learning_rate * m / ((1.0 - beta_1**step) * (u + epsilon))


def adagrad(w: Array, g: Array, accumulator: Array, learning_rate: float = 0.001, epsilon: float = 1e-7) -> None:
    """Adagrad: ``a += g^2; w -= learning_rate * g / sqrt(a + epsilon)`` (Duchi, Hazan and Singer, 2011)."""
    accumulator += g * g
    w -= learning_rate * g / np.sqrt(accumulator + epsilon)


def adadelta(
    w: Array,
    g: Array,
    squares: Array,
    changes: Array,
    learning_rate: float = 0.001,
    rho: float = 0.95,
    epsilon: float = 1e-7,
) -> None:
    """Adadelta; steps have the unit of the weights (Zeiler, 2012), the moments are means of ``g^2`` and of ``d^2``."""
    squares *= rho
    squares += (1.0 - rho) * g * g
    change = np.sqrt(changes + epsilon) * g / np.sqrt(squares + epsilon)
    changes *= rho
    changes += (1.0 - rho) * change * change
    w -= learning_rate * change


def lion(w: Array, g: Array, m: Array, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.99) -> None:
    """``w -= learning_rate * sign(beta_1 m + (1 - beta_1) g)`` (Chen et al., 2023)."""
    w -= learning_rate * np.sign(beta_1 * m + (1.0 - beta_1) * g)
    m *= beta_2
    m += (1.0 - beta_2) * g


# The rules as the networks call them: rule(w, g, slots, step, learning_rate, options).


def _sgd_rule(w: Array, g: Array, slots: list[Array], step: int, learning_rate: float, o: dict[str, float]) -> None:
    sgd(w, g, slots[0], learning_rate, o["momentum"], bool(o["nesterov"]))


def _adam_rule(w: Array, g: Array, slots: list[Array], step: int, learning_rate: float, o: dict[str, float]) -> None:
    epsilon = o["epsilon"] * (math.sqrt(1.0 - o["beta_2"] ** step) if o["corrects_epsilon"] else 1.0)
    if o["amsgrad"]:
        amsgrad(w, g, slots[0], slots[1], slots[2], step, learning_rate, o["beta_1"], o["beta_2"], epsilon)
    else:
        adam(w, g, slots[0], slots[1], step, learning_rate, o["beta_1"], o["beta_2"], epsilon)


def _nadam_rule(w: Array, g: Array, slots: list[Array], step: int, learning_rate: float, o: dict[str, float]) -> None:
    nadam(w, g, slots[0], slots[1], step, learning_rate, o["beta_1"], o["beta_2"], o["epsilon"])


def _adamax_rule(w: Array, g: Array, slots: list[Array], step: int, learning_rate: float, o: dict[str, float]) -> None:
    adamax(w, g, slots[0], slots[1], step, learning_rate, o["beta_1"], o["beta_2"], o["epsilon"])


def _adagrad_rule(w: Array, g: Array, slots: list[Array], step: int, learning_rate: float, o: dict[str, float]) -> None:
    if step == 1:
        slots[0] += o["initial_accumulator_value"]
    adagrad(w, g, slots[0], learning_rate, o["epsilon"])


def _adadelta_rule(
    w: Array, g: Array, slots: list[Array], step: int, learning_rate: float, o: dict[str, float]
) -> None:
    adadelta(w, g, slots[0], slots[1], learning_rate, o["rho"], o["epsilon"])


def _lion_rule(w: Array, g: Array, slots: list[Array], step: int, learning_rate: float, o: dict[str, float]) -> None:
    lion(w, g, slots[0], learning_rate, o["beta_1"], o["beta_2"])


def _rmsprop_rule(w: Array, g: Array, slots: list[Array], step: int, learning_rate: float, o: dict[str, float]) -> None:
    rmsprop(
        w, g, slots[0], slots[1], slots[2], learning_rate, o["rho"], o["momentum"], o["epsilon"], bool(o["centered"])
    )


class UpdateRule(NamedTuple):
    """One update rule: its function, its number of moments, its options' defaults."""

    apply: Callable[..., None]
    n_slots: int
    options: dict[str, float]


_ADAM_OPTIONS = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
OPTIMIZERS: dict[str, UpdateRule] = {
    "sgd": UpdateRule(_sgd_rule, 1, {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}),
    "adam": UpdateRule(
        _adam_rule, 3, {**_ADAM_OPTIONS, "amsgrad": False, "corrects_epsilon": False, "weight_decay": 0.0}
    ),
    "adamw": UpdateRule(
        _adam_rule, 3, {**_ADAM_OPTIONS, "amsgrad": False, "corrects_epsilon": False, "weight_decay": 0.004}
    ),
    "nadam": UpdateRule(_nadam_rule, 2, {**_ADAM_OPTIONS, "weight_decay": 0.0}),
    "adamax": UpdateRule(_adamax_rule, 2, {**_ADAM_OPTIONS, "weight_decay": 0.0}),
    "adagrad": UpdateRule(_adagrad_rule, 1, {"initial_accumulator_value": 0.1, "epsilon": 1e-7, "weight_decay": 0.0}),
    "adadelta": UpdateRule(_adadelta_rule, 2, {"rho": 0.95, "epsilon": 1e-7, "weight_decay": 0.0}),
    "lion": UpdateRule(_lion_rule, 1, {"beta_1": 0.9, "beta_2": 0.99, "weight_decay": 0.0}),
    "rmsprop": UpdateRule(
        _rmsprop_rule, 3, {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False, "weight_decay": 0.0}
    ),
}
