"""Training steps equal Keras's: histories and weights that Keras computed from the same start.

`make_keras_trajectories.py` records what Keras computes for the cases below. Every case is built from a module `k`,
which is `keras` or `fastnn`: the same code works with both.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn

N_ROWS, N_FEATURES, EPOCHS, BATCH_SIZE = 45, 4, 17, 16


def _wave(*shape: int, frequency: float) -> np.ndarray:
    """Numbers between -1 and 1 that do not repeat, the same on every machine."""
    values = np.sin(frequency * (1.0 + np.arange(np.prod(shape))) ** 1.5)
    return np.round(values, 4).reshape(shape)


X = _wave(N_ROWS, N_FEATURES, frequency=0.7)
NUMBERS = np.stack([X @ [1.0, -2.0, 0.5, 0.0], X[:, 0] * X[:, 1]], axis=1).round(4)
LABELS = (np.arange(N_ROWS) * 7 % 3).astype(np.int64)
ONE_HOT = np.eye(3)[LABELS]
BINARY = (X[:, 0] + X[:, 1] > 0.0).astype(np.float64)
SAMPLE_WEIGHT = 1.0 + _wave(N_ROWS, frequency=0.3) / 2.0
SOME_LABELS = np.where(np.arange(N_ROWS) % 4 == 1, -1, LABELS)


def starting_weights(model: Any) -> list[np.ndarray]:
    """Return weights for a model: kernels between -0.8 and 0.8, vectors near their initial values."""
    weights = []
    for place, weight in enumerate(model.get_weights()):
        wave = 0.8 * _wave(*weight.shape, frequency=0.9 + place / 10.0)
        weights.append(wave if weight.ndim != 1 or not np.all(weight == 1.0) else 1.0 + 0.5 * wave)
    return weights


@dataclass(frozen=True)
class Case:
    """A network, how to train it, and its targets."""

    layers: Callable[[Any], list[Any]]
    optimizer: Callable[[Any], Any]
    loss: Callable[[Any], Any]
    y: np.ndarray
    metrics: list[str] = field(default_factory=list)
    fit: dict[str, Any] = field(default_factory=dict)


CASES = {
    "adam": Case(
        lambda k: [k.layers.Dense(8, activation="relu"), k.layers.Dense(2)],
        lambda k: k.optimizers.Adam(0.01),
        lambda k: "mse",
        NUMBERS,
        ["mae", "mse"],
    ),
    "adam with decay": Case(
        lambda k: [k.layers.Dense(8, activation="leaky_relu"), k.layers.Dense(2, use_bias=False)],
        lambda k: k.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-3, weight_decay=0.1),
        lambda k: "mean_squared_error",
        NUMBERS,
    ),
    "sgd": Case(
        lambda k: [k.layers.Dense(8, activation="tanh"), k.layers.Dense(2)],
        lambda k: "sgd",
        lambda k: "mae",
        NUMBERS,
        ["mae"],
        {"validation_split": 0.2, "sample_weight": SAMPLE_WEIGHT},
    ),
    "momentum": Case(
        lambda k: [k.layers.Dense(8, activation="elu"), k.layers.Dense(2)],
        lambda k: k.optimizers.SGD(0.05, momentum=0.9),
        lambda k: k.losses.Huber(delta=0.4),
        NUMBERS,
    ),
    "nesterov": Case(
        lambda k: [k.layers.Dense(8, activation="selu"), k.layers.Dense(2)],
        lambda k: k.optimizers.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.02),
        lambda k: k.losses.MeanSquaredError(),
        NUMBERS,
    ),
    "sum over the batch": Case(
        lambda k: [k.layers.Dense(8, activation="softplus"), k.layers.Dense(2)],
        lambda k: k.optimizers.SGD(0.002),
        lambda k: k.losses.MeanSquaredError(reduction="sum"),
        NUMBERS,
        fit={"validation_split": 0.3},
    ),
    "rmsprop": Case(
        lambda k: [k.layers.Dense(8, activation="silu"), k.layers.Dense(3, activation="softmax")],
        lambda k: "rmsprop",
        lambda k: "sparse_categorical_crossentropy",
        LABELS,
        ["accuracy"],
        {"class_weight": {0: 2.0, 1: 0.5}},
    ),
    "centered rmsprop": Case(
        lambda k: [k.layers.Dense(8), k.layers.LeakyReLU(negative_slope=0.1), k.layers.Dense(1)],
        lambda k: k.optimizers.RMSprop(0.01, rho=0.8, momentum=0.5, epsilon=1e-4, centered=True),
        lambda k: k.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.05),
        BINARY,
        [],
        {"class_weight": {0: 3.0}},
    ),
    "adamw": Case(
        lambda k: [k.layers.Dense(8, activation="gelu"), k.layers.Dense(3)],
        lambda k: k.optimizers.AdamW(0.02),
        lambda k: k.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        ONE_HOT,
        ["accuracy"],
    ),
    "binary": Case(
        lambda k: [k.layers.Dense(8, activation="relu"), k.layers.Dense(1), k.layers.Activation("sigmoid")],
        lambda k: k.optimizers.Adam(0.02),
        lambda k: "binary_crossentropy",
        BINARY,
        ["accuracy"],
        {"validation_data": (X[:10], BINARY[:10], SAMPLE_WEIGHT[:10])},
    ),
    "probabilities that do not sum to one": Case(
        lambda k: [k.layers.Dense(8, activation="relu"), k.layers.Dense(3, activation="sigmoid")],
        lambda k: k.optimizers.Adam(0.02),
        lambda k: "categorical_crossentropy",
        ONE_HOT,
        ["accuracy"],
    ),
    "three layers": Case(
        lambda k: [
            k.layers.Dense(6, activation="sigmoid"),
            k.layers.Dense(5, activation="tanh"),
            k.layers.Activation("relu"),
            k.layers.ELU(alpha=0.5),
            k.layers.Dense(3),
            k.layers.Softmax(),
        ],
        lambda k: k.optimizers.Adam(0.02),
        lambda k: k.losses.CategoricalCrossentropy(),
        ONE_HOT,
        ["categorical_accuracy"],
    ),
}


def _small(k: Any, **dense: Any) -> list[Any]:
    return [k.layers.Dense(6, activation="tanh", **dense), k.layers.Dense(2, **dense)]


def _classes(k: Any, activation: str | None = "softmax") -> list[Any]:
    return [k.layers.Dense(6, activation="tanh"), k.layers.Dense(3, activation=activation)]


COUNTS = np.abs(NUMBERS) * 3.0
SIGNS = np.where(NUMBERS > 0.0, 1.0, -1.0)
MANY = (NUMBERS > 0.0).astype(np.float64)

# One piece at a time: a loss, an update rule, an activation or an option.
PIECES = {
    **{
        name: Case(lambda k: _small(k), lambda k: k.optimizers.SGD(0.01, momentum=0.5), lambda k, name=name: name, y)
        for name, y in (
            ("mean_absolute_percentage_error", NUMBERS + 3.0),
            ("log_cosh", NUMBERS),
            ("hinge", MANY),
            ("squared_hinge", SIGNS),
            ("cosine_similarity", NUMBERS),
        )
    },
    **{
        name: Case(
            lambda k: [*_small(k), k.layers.Activation("softplus")],
            lambda k: k.optimizers.SGD(0.05),
            lambda k, name=name: name,
            COUNTS,
            fit={"sample_weight": SAMPLE_WEIGHT},
        )
        for name in ("mean_squared_logarithmic_error", "poisson")
    },
    **{
        name: Case(lambda k: _classes(k), lambda k: k.optimizers.SGD(0.1), lambda k, name=name: name, ONE_HOT)
        for name in ("kl_divergence", "categorical_hinge", "categorical_focal_crossentropy")
    },
    "binary focal": Case(
        lambda k: [*_small(k), k.layers.Activation("sigmoid")],
        lambda k: k.optimizers.SGD(0.1),
        lambda k: k.losses.BinaryFocalCrossentropy(apply_class_balancing=True, gamma=1.5, label_smoothing=0.1),
        MANY,
    ),
    "binary focal from logits": Case(
        lambda k: _small(k),
        lambda k: k.optimizers.SGD(0.1),
        lambda k: k.losses.BinaryFocalCrossentropy(from_logits=True),
        MANY,
        fit={"sample_weight": SAMPLE_WEIGHT},
    ),
    "categorical focal from logits": Case(
        lambda k: _classes(k, None),
        lambda k: k.optimizers.SGD(0.1),
        lambda k: k.losses.CategoricalFocalCrossentropy(alpha=0.5, gamma=3.0, from_logits=True, label_smoothing=0.2),
        ONE_HOT,
    ),
    "categorical focal with weights of classes": Case(
        lambda k: _classes(k),
        lambda k: k.optimizers.SGD(0.1),
        lambda k: k.losses.CategoricalFocalCrossentropy(alpha=[0.2, 1.5, 0.7], gamma=1.5, label_smoothing=0.1),
        ONE_HOT,
        fit={"sample_weight": SAMPLE_WEIGHT},
    ),
    "dice of a batch": Case(
        lambda k: [*_small(k), k.layers.Activation("sigmoid")],
        lambda k: k.optimizers.SGD(0.3),
        lambda k: k.losses.Dice(),
        MANY,
    ),
    "dice of rows": Case(
        lambda k: [*_small(k), k.layers.Activation("sigmoid")],
        lambda k: k.optimizers.SGD(0.3),
        lambda k: k.losses.Dice(axis=-1),
        MANY,
        fit={"sample_weight": SAMPLE_WEIGHT},
    ),
    **{
        name: Case(lambda k: _small(k), make, lambda k: "mse", NUMBERS)
        for name, make in (
            ("nadam", lambda k: k.optimizers.Nadam(0.02)),
            ("adamax", lambda k: k.optimizers.Adamax(0.02)),
            ("adagrad", lambda k: k.optimizers.Adagrad(0.05, weight_decay=0.01)),
            ("adadelta", lambda k: k.optimizers.Adadelta(5.0)),
            ("lion", lambda k: k.optimizers.Lion(0.01)),
            ("amsgrad", lambda k: k.optimizers.Adam(0.02, beta_2=0.9, amsgrad=True)),
            ("clipvalue", lambda k: k.optimizers.SGD(0.1, clipvalue=0.05)),
            ("clipnorm", lambda k: k.optimizers.SGD(0.1, momentum=0.9, clipnorm=0.2)),
            ("global_clipnorm", lambda k: k.optimizers.Adam(0.02, global_clipnorm=0.2)),
            ("average", lambda k: k.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9)),
            (
                "average that overwrites",
                lambda k: k.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=4),
            ),
            ("accumulation", lambda k: k.optimizers.Adam(0.02, clipnorm=0.3, gradient_accumulation_steps=2)),
            ("schedule", lambda k: k.optimizers.SGD(k.optimizers.schedules.PolynomialDecay(0.2, 10, 0.01, 2.0))),
        )
    },
    "penalties": Case(
        lambda k: _small(
            k,
            kernel_regularizer=k.regularizers.L1L2(0.01, 0.02),
            bias_regularizer="l2",
            activity_regularizer=k.regularizers.L1(0.03),
        ),
        lambda k: k.optimizers.Adam(0.02),
        lambda k: "mse",
        NUMBERS,
        fit={"validation_split": 0.2},
    ),
    "mean by weights": Case(
        lambda k: _small(k, kernel_regularizer="l2"),
        lambda k: k.optimizers.Adam(0.02),
        lambda k: k.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        NUMBERS,
        ["mae"],
        {"sample_weight": SAMPLE_WEIGHT, "validation_data": (X[:20], NUMBERS[:20], SAMPLE_WEIGHT[:20])},
    ),
    "mean by weights of classes": Case(
        lambda k: _classes(k),
        lambda k: k.optimizers.SGD(0.1),
        lambda k: k.losses.CategoricalCrossentropy(reduction="mean_with_sample_weight"),
        ONE_HOT,
        fit={"class_weight": {0: 2.0, 1: 0.0}},
    ),
    **{
        f"ignored class, {reduction}": Case(
            lambda k: _classes(k, None),
            lambda k: k.optimizers.SGD(0.02, momentum=0.5),
            lambda k, reduction=reduction: k.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=-1, reduction=reduction
            ),
            SOME_LABELS,
            ["accuracy"],
            fit,
        )
        for reduction, fit in (
            ("sum_over_batch_size", {"validation_split": 0.3}),
            ("mean", {"sample_weight": SAMPLE_WEIGHT}),
            ("mean_with_sample_weight", {"sample_weight": SAMPLE_WEIGHT}),
            ("sum", {"sample_weight": SAMPLE_WEIGHT}),
        )
    },
    "ignored class of the model": Case(
        lambda k: _classes(k),
        lambda k: k.optimizers.Adam(0.02),
        lambda k: k.losses.SparseCategoricalCrossentropy(ignore_class=2),
        LABELS,
        ["accuracy"],
    ),
    "norms of weights": Case(
        lambda k: [
            k.layers.Dense(6, "tanh", kernel_constraint=k.constraints.MaxNorm(0.9), bias_constraint="non_neg"),
            k.layers.Dense(5, "elu", kernel_constraint=k.constraints.UnitNorm(axis=1)),
            k.layers.Dense(2, kernel_constraint="non_neg", bias_constraint=k.constraints.MaxNorm(0.5)),
        ],
        lambda k: k.optimizers.SGD(0.05, momentum=0.9),
        lambda k: "mse",
        NUMBERS,
    ),
    "activations": Case(
        lambda k: [
            k.layers.Dense(6, "mish"),
            k.layers.Dense(6, "softsign"),
            k.layers.Dense(6, "hard_sigmoid"),
            k.layers.Dense(6, "hard_silu"),
            k.layers.Dense(6, "relu6"),
            k.layers.Dense(6),
            k.layers.ReLU(max_value=1.5, negative_slope=0.2, threshold=0.1),
            k.layers.Dense(2),
        ],
        lambda k: k.optimizers.Adam(0.02),
        lambda k: "mse",
        NUMBERS,
    ),
}


def _between(k: Any, *layers: Any) -> list[Any]:
    return [k.layers.Dense(6, activation="tanh"), *layers, k.layers.Dense(2)]


STRUCTURE = {
    name: Case(make, lambda k: k.optimizers.Adam(0.01), lambda k: "mse", NUMBERS, ["mae"], {"validation_split": 0.2})
    for name, make in (
        ("batch normalization", lambda k: _between(k, k.layers.BatchNormalization(momentum=0.9))),
        (
            "batch normalization first",
            lambda k: [k.layers.BatchNormalization(epsilon=0.01, center=False), *_between(k)],
        ),
        (
            "rules of batch normalization",
            lambda k: _between(
                k,
                k.layers.BatchNormalization(
                    beta_regularizer=k.regularizers.L2(0.01),
                    gamma_regularizer=k.regularizers.L1(0.01),
                    beta_constraint=k.constraints.MaxNorm(0.5),
                    gamma_constraint="non_neg",
                ),
            ),
        ),
        ("layer normalization", lambda k: _between(k, k.layers.LayerNormalization())),
        ("layer normalization of a row", lambda k: _between(k, k.layers.LayerNormalization(epsilon=1e-5, scale=False))),
        ("rms", lambda k: _between(k, k.layers.LayerNormalization(rms_scaling=True))),
        ("prelu", lambda k: _between(k, k.layers.PReLU(alpha_regularizer="l2"))),
        (
            "normalization",
            lambda k: [k.layers.Normalization(mean=[0.1, 0.2, -0.1, 0.0], variance=[0.5, 2.0, 1.0, 0.3]), *_between(k)],
        ),
        (
            "inverse normalization",
            lambda k: _between(k, k.layers.Normalization(mean=[0.1] * 6, variance=[0.5] * 6, invert=True)),
        ),
        (
            "residual",
            lambda k: _between(
                k,
                k.layers.Residual([k.layers.Dense(5, "relu"), k.layers.LayerNormalization(), k.layers.Dense(6)]),
            ),
        ),
        ("leaky relu", lambda k: _between(k, k.layers.LeakyReLU(), k.layers.Flatten())),
        ("softmax in between", lambda k: _between(k, k.layers.Softmax())),
    )
}
SCHEDULES = {
    name: Case(lambda k: _small(k), make, lambda k: "mse", NUMBERS)
    for name, make in (
        ("exponential", lambda k: k.optimizers.SGD(k.optimizers.schedules.ExponentialDecay(0.1, 7, 0.5, True))),
        ("cosine", lambda k: k.optimizers.Adam(k.optimizers.schedules.CosineDecay(0.0, 30, 0.1, "c", 0.05, 10))),
        ("restarts", lambda k: k.optimizers.Adam(k.optimizers.schedules.CosineDecayRestarts(0.02, 9, 1.5, 0.8, 0.1))),
        (
            "steps",
            lambda k: k.optimizers.SGD(k.optimizers.schedules.PiecewiseConstantDecay([8, 20], [0.1, 0.05, 0.01])),
        ),
        ("cycle", lambda k: k.optimizers.SGD(k.optimizers.schedules.PolynomialDecay(0.1, 10, 0.01, 1.0, True))),
        ("inverse time", lambda k: k.optimizers.SGD(k.optimizers.schedules.InverseTimeDecay(0.1, 5, 0.5))),
    )
}
OWN = {
    "quantile": Case(lambda k: _small(k), lambda k: k.optimizers.Adam(0.01), lambda k: k.losses.Quantile(0.7), NUMBERS),
    "gaussian": Case(
        lambda k: _small(k),
        lambda k: k.optimizers.Adam(0.01),
        lambda k: k.losses.GaussianNLL(),
        NUMBERS[:, :1],
        fit={"sample_weight": SAMPLE_WEIGHT},
    ),
}
CASES.update({**PIECES, **STRUCTURE, **SCHEDULES, **OWN})


def train(k: Any, case: Case, **model_options: Any) -> tuple[dict[str, list[float]], list[np.ndarray], list[float]]:
    """Return the history, the final weights, and the loss and metrics of all rows."""
    model = k.Sequential(case.layers(k), **model_options)
    model.build((None, N_FEATURES))
    model.set_weights(starting_weights(model))
    model.compile(optimizer=case.optimizer(k), loss=case.loss(k), metrics=case.metrics)
    history = model.fit(X, case.y, epochs=EPOCHS, batch_size=BATCH_SIZE, shuffle=False, verbose=0, **case.fit)
    results = np.atleast_1d(model.evaluate(X, case.y, batch_size=BATCH_SIZE, verbose=0))
    return history.history, model.get_weights(), [float(value) for value in results]


@pytest.fixture(scope="module")
def trajectories():
    return json.loads(Path(__file__).with_name("keras_trajectories.json").read_text())["trajectories"]


# Relative differences after 51 steps. Keras's weights are float64, but it sums the loss of an epoch in float32.
TOLERANCES = {"float64": 1e-5, "float32": 2e-4}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", CASES)
def test_history_and_weights_equal_keras(name, dtype, trajectories):
    expected, tolerance = trajectories[name], TOLERANCES[dtype]
    history, weights, results = train(fastnn, CASES[name], dtype=dtype)
    assert history.keys() == expected["history"].keys()
    for key, values in expected["history"].items():
        np.testing.assert_allclose(history[key], values, rtol=tolerance, err_msg=key)
    assert len(weights) == len(expected["weights"])
    for weight, value in zip(weights, expected["weights"], strict=True):
        assert np.linalg.norm(weight - np.array(value)) <= tolerance * np.linalg.norm(value)
    np.testing.assert_allclose(results, expected["evaluate"], rtol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_every_case_moves_every_weight(name, trajectories):
    model = fastnn.Sequential(CASES[name].layers(fastnn))
    model.build((None, N_FEATURES))
    weights = [np.array(weight) for weight in trajectories[name]["weights"]]
    for start, weight in zip(starting_weights(model), weights, strict=True):
        assert np.abs(weight - start).max() > 1e-3
