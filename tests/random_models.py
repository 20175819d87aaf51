"""Random models over all layers, activations and types, with inputs, for tests of what becomes of them elsewhere."""

import numpy as np

import fastnn
from fastnn import layers

ACTIVATIONS = [
    "linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "elu", "selu", "gelu", "gelu_tanh", "silu",
    "exponential", "relu6", "mish", "softsign", "hard_sigmoid", "hard_silu", "softmax", "log_softmax",
]  # fmt: skip


def random_model(seed, missing=True):
    """Return a built model with random weights and inputs (33, n), some of them missing if the model takes that."""
    draw = np.random.default_rng(seed)
    dtype = str(draw.choice(["float32", "float64"]))
    n = width = int(draw.integers(1, 9))
    start = []
    kind = int(draw.integers(0, 5))
    if kind == 0:
        start = [layers.Normalization(mean=draw.normal(size=n), variance=draw.uniform(0.3, 2.0, n))]
    elif kind == 1:
        start = [layers.Normalization(missing=["mean", "indicator"][int(draw.integers(0, 2))] if missing else None)]
        start[0].adapt(draw.normal(1.0, 2.0, size=(30, n)))
        width = 2 * n if start[0].missing == "indicator" else n
    body, width = _body(draw, width, 0)
    final = str(draw.choice(["linear", "softmax", "sigmoid", "exponential"]))
    last = layers.Dense(int(draw.integers(1, 6)), activation=final)
    model = fastnn.Sequential([fastnn.Input((n,)), *start, *body, last], seed=seed, dtype=dtype)
    model.set_weights([_values(draw, weight) for weight in model.weights])
    X = draw.normal(size=(33, n)).astype(dtype)
    if start and start[0].missing:
        X[draw.random(X.shape) < 0.2] = np.nan
    return model, X


def _values(draw, weight):
    value = weight.numpy()
    if weight.name in ("gamma", "moving_variance"):
        return draw.uniform(0.5, 1.5, value.shape)
    if weight.name in ("bias", "beta", "moving_mean"):
        return draw.normal(0.0, 0.3, value.shape)
    return draw.uniform(-0.2, 0.5, value.shape) if weight.name == "alpha" else value


def _activation(draw):
    kind = int(draw.integers(0, 24))
    if kind == 20:
        return layers.LeakyReLU(float(draw.uniform(0.0, 0.5)))
    if kind == 21:
        return layers.ELU(float(draw.uniform(0.1, 2.0)))
    if kind == 22:
        options = {"negative_slope": float(draw.uniform(0.0, 0.3)), "threshold": float(draw.uniform(0.0, 0.5))}
        return layers.ReLU(max_value=float(draw.uniform(1.0, 2.0)), **options)
    return str(draw.choice(ACTIVATIONS))


def _body(draw, n, depth):
    """Return some layers for n inputs, and the number of their outputs."""
    stack = []
    for _ in range(int(draw.integers(1, 5))):
        kind = int(draw.integers(0, 11))
        switches = [bool(each) for each in draw.integers(0, 2, 2)]
        if kind <= 3:
            n = int(draw.integers(1, 20))
            stack.append(layers.Dense(n, activation=_activation(draw), use_bias=bool(draw.integers(0, 4))))
        elif kind == 4:
            epsilon = float(draw.choice([1e-3, 1e-5]))
            stack.append(layers.BatchNormalization(center=switches[0], scale=switches[1], epsilon=epsilon))
        elif kind == 5:
            rms = bool(draw.integers(0, 4) == 0)
            stack.append(layers.LayerNormalization(center=switches[0], scale=switches[1], rms_scaling=rms))
        elif kind == 6:
            stack.append(layers.PReLU())
        elif kind == 7:
            stack.append(layers.Activation(_activation(draw)))
        elif kind == 8:
            choices = [layers.Dropout(0.3), layers.AlphaDropout(0.2), layers.GaussianNoise(0.1), layers.Identity()]
            stack.append(choices[int(draw.integers(0, 4))])
        elif kind == 9 and switches[0]:
            stack.append(layers.Rescaling(draw.uniform(0.5, 2.0, n), draw.normal(size=n)))
        elif kind == 9:
            statistics = {"mean": draw.normal(size=n), "variance": draw.uniform(0.3, 2.0, n)}
            stack.append(layers.Normalization(**statistics, invert=switches[1]))
        elif depth < 2:
            inner, _ = _body(draw, n, depth + 1)
            stack.append(layers.Residual([*inner, layers.Dense(n)]))
    return stack, n


def difference(given, expected):
    """Return the largest difference, relative to the largest expected value."""
    return np.abs(given - expected).max() / max(np.abs(expected).max(), 1e-30)
