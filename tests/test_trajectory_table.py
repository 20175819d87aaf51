"""Every loss with every update rule and kind of layer: 50 steps from equal weights against NumPy in float64.

`reference.LayerNetwork` computes what `fit` must give. `test_keras_arithmetic.py` compares the same pieces with Keras.
"""

import os

import numpy as np
import pytest

import fastnn
from fastnn import _core, layers, losses, optimizers, reference

N_ROWS, N_FEATURES, WIDTH, BATCH_SIZE, EPOCHS, SEED = 37, 4, 6, 8, 10, 5
TOLERANCE = 1e-5
"""Largest relative difference of a weight array, by norms, after the 50 steps."""

rng = np.random.default_rng(11)
X = rng.normal(size=(N_ROWS, N_FEATURES))
NUMBERS = np.stack([X @ [1.0, -2.0, 0.5, 0.0], X[:, 0] * X[:, 1]], axis=1)
LABELS = np.arange(N_ROWS) * 7 % 3
ONE_HOT = np.eye(3)[LABELS]
MANY = (NUMBERS > 0.0).astype(np.float64)
SIGNS = 2.0 * MANY - 1.0
COUNTS = np.abs(NUMBERS)


def fourth_power(y_true, y_pred):
    """A custom loss."""
    error = y_pred - y_true
    return float(np.mean(error**4)), 4.0 * error**3 / error.size


# loss -> description, activation of the outputs, targets
LOSSES = {
    "mean_squared_error": (losses.MeanSquaredError(), "linear", NUMBERS),
    "mean_absolute_error": (losses.MeanAbsoluteError(), "linear", NUMBERS),
    "mean_absolute_percentage_error": (losses.MeanAbsolutePercentageError(), "linear", NUMBERS + 20.0),
    "mean_squared_logarithmic_error": (losses.MeanSquaredLogarithmicError(), "softplus", COUNTS),
    "huber": (losses.Huber(0.7), "linear", NUMBERS),
    "log_cosh": (losses.LogCosh(), "linear", NUMBERS),
    "quantile": (losses.Quantile(0.8), "linear", NUMBERS),
    "gaussian_nll": (losses.GaussianNLL(), "tanh", NUMBERS[:, :1]),
    "multi_quantile": (losses.MultiQuantile((0.2, 0.9)), "linear", NUMBERS[:, :1]),
    "poisson": (losses.Poisson(), "softplus", COUNTS),
    "hinge": (losses.Hinge(), "tanh", SIGNS),
    "squared_hinge": (losses.SquaredHinge(), "linear", SIGNS),
    "cosine_similarity": (losses.CosineSimilarity(), "linear", NUMBERS),
    "binary_crossentropy": (losses.BinaryCrossentropy(label_smoothing=0.1), "sigmoid", MANY),
    "binary_focal_crossentropy": (
        losses.BinaryFocalCrossentropy(apply_class_balancing=True, from_logits=True),
        "linear",
        MANY,
    ),
    "dice": (losses.Dice(), "sigmoid", MANY),
    "categorical_crossentropy": (losses.CategoricalCrossentropy(label_smoothing=0.1), "softmax", ONE_HOT),
    "sparse_categorical_crossentropy": (losses.SparseCategoricalCrossentropy(from_logits=True), "linear", LABELS),
    "categorical_focal_crossentropy": (losses.CategoricalFocalCrossentropy(), "softmax", ONE_HOT),
    "categorical_hinge": (losses.CategoricalHinge(), "linear", ONE_HOT),
    "kl_divergence": (losses.KLDivergence(), "softmax", 0.8 * ONE_HOT + 0.1),
    "custom": (fourth_power, "tanh", MANY),
}

# update rule -> description; the name up to the first space is that of the reference
RULES = {
    "sgd": optimizers.SGD(0.02),
    "sgd momentum": optimizers.SGD(0.003, momentum=0.9),
    "sgd nesterov": optimizers.SGD(0.003, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": optimizers.Adam(0.01),
    "adam amsgrad": optimizers.Adam(0.01, beta_2=0.9, amsgrad=True),
    "adamw": optimizers.AdamW(0.01),
    "nadam": optimizers.Nadam(0.01),
    "adamax": optimizers.Adamax(0.01),
    "rmsprop": optimizers.RMSprop(0.01),
    "rmsprop centered": optimizers.RMSprop(0.01, momentum=0.5, epsilon=1e-4, centered=True),
    "adagrad": optimizers.Adagrad(0.05),
    "adadelta": optimizers.Adadelta(1.0),
    "lion": optimizers.Lion(0.003),
}

# kind of layer -> layer, and its twin from an iterator over the weights and the number of a stream of random numbers
KINDS = {
    "Dense": (lambda: layers.Dense(WIDTH, "gelu"), lambda w, at: reference.Dense(next(w), next(w), "gelu")),
    "Dense without bias": (
        lambda: layers.Dense(WIDTH, "silu", use_bias=False),
        lambda w, at: reference.Dense(next(w), None, "silu"),
    ),
    "Activation": (lambda: layers.Activation("mish"), lambda w, at: reference.Activation("mish")),
    "ReLU": (
        lambda: layers.ReLU(max_value=0.8, negative_slope=0.1),
        lambda w, at: reference.Activation("general_relu", negative_slope=0.1, max_value=0.8, threshold=0.0),
    ),
    "LeakyReLU": (lambda: layers.LeakyReLU(0.2), lambda w, at: reference.Activation("leaky_relu", negative_slope=0.2)),
    "ELU": (lambda: layers.ELU(0.5), lambda w, at: reference.Activation("elu", alpha=0.5)),
    "Softmax": (layers.Softmax, lambda w, at: reference.Activation("softmax")),
    "PReLU": (layers.PReLU, lambda w, at: reference.PReLU(next(w))),
    "BatchNormalization": (
        lambda: layers.BatchNormalization(momentum=0.9),
        lambda w, at: reference.BatchNormalization(next(w), next(w), next(w), next(w), momentum=0.9),
    ),
    "LayerNormalization": (layers.LayerNormalization, lambda w, at: reference.LayerNormalization(next(w), next(w))),
    "LayerNormalization rms": (
        lambda: layers.LayerNormalization(rms_scaling=True),
        lambda w, at: reference.LayerNormalization(next(w)),
    ),
    "Normalization": (
        layers.Normalization,
        lambda w, at: reference.Normalization(next(w), next(w), next(w)),
    ),
    "Dropout": (lambda: layers.Dropout(0.3), lambda w, at: reference.Dropout(0.3, at)),
    "AlphaDropout": (lambda: layers.AlphaDropout(0.2), lambda w, at: reference.Dropout(0.2, at, alpha=True)),
    "Dropout with a seed": (
        lambda: layers.Dropout(0.3, seed=2**63 - 1),
        lambda w, at: reference.Dropout(0.3, 256, seed=2**63 - 1),
    ),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.2), lambda w, at: reference.GaussianNoise(0.2, at)),
    "Flatten": (layers.Flatten, lambda w, at: reference.Activation("linear")),
    "Reshape": (lambda: layers.Reshape((-1,)), lambda w, at: reference.Activation("linear")),
    "Identity": (layers.Identity, lambda w, at: reference.Activation("linear")),
    "Rescaling": (
        lambda: layers.Rescaling(0.5, -1.0),
        lambda w, at: reference.Normalization(-np.ones(WIDTH), np.full(WIDTH, 0.25), invert=True),
    ),
    "Residual": (
        lambda: layers.Residual([layers.Dense(5, "tanh"), layers.LayerNormalization(), layers.Dense(WIDTH)]),
        lambda w, at: reference.Residual(
            [
                reference.Dense(next(w), next(w), "tanh"),
                reference.LayerNormalization(next(w), next(w)),
                reference.Dense(next(w), next(w)),
            ]
        ),
    ),
}


def stack(kind, activation, n_outputs):
    """Return the layers of a model with a kind of layer between two dense ones."""
    return [layers.Dense(WIDTH, "tanh"), KINDS[kind][0](), layers.Dense(n_outputs, activation)]


def start(model):
    """Set and return starting weights that do not depend on the seed of the layers."""
    random = np.random.default_rng(2)
    weights = [w + random.uniform(-0.4, 0.4, w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    return weights


def twin(kind, activation, weights, **options):
    """Return the NumPy twin of ``stack``; its random numbers are those of the core's second op."""
    named = iter(weights)
    first = reference.Dense(next(named), next(named), "tanh")
    between = KINDS[kind][1](named, 2)
    return reference.LayerNetwork(
        [first, between, reference.Dense(next(named), next(named), activation)], seed=SEED, **options
    )


def assert_close(model, network):
    for got, wanted in zip(model.get_weights(), network.weights, strict=True):
        distance = np.linalg.norm(got - wanted)
        assert distance <= TOLERANCE * np.linalg.norm(wanted) + 1e-15, (distance, np.linalg.norm(wanted))


def rules_of(loss, kind):
    """Return the update rules to try: all if FASTNN_FULL_TABLE=1, else one, so that each meets every loss and kind."""
    if os.environ.get("FASTNN_FULL_TABLE") == "1":
        return list(RULES)
    return [list(RULES)[(list(LOSSES).index(loss) + list(KINDS).index(kind)) % len(RULES)]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_50_steps_equal_float64_numpy(loss, kind):
    described, activation, y = LOSSES[loss]
    n_outputs = 2 if loss in ("gaussian_nll", "multi_quantile") else 3 if y.ndim == 1 or y.shape[1] == 3 else 2
    for rule in rules_of(loss, kind):
        optimizer = RULES[rule]
        model = fastnn.Sequential([fastnn.Input((N_FEATURES,)), *stack(kind, activation, n_outputs)], SEED, "float64")
        weights, before = start(model), [weight.numpy() for weight in model.trainable_weights]
        model.compile(type(optimizer).from_config(optimizer.get_config()), described)
        options = dict(optimizer.options())
        rate = optimizer.learning_rate
        network = twin(
            kind,
            activation,
            weights,
            loss=described if loss == "custom" else loss,
            optimizer=rule.split()[0],
            learning_rate=rate,
            loss_options=None if loss == "custom" else described.options(),
            optimizer_options={name: value for name, value in options.items() if value is not None},
        )
        history = model.fit(X, y, BATCH_SIZE, EPOCHS, 0, shuffle=False).history["loss"]
        expected = network.fit(X, y, BATCH_SIZE, EPOCHS)
        np.testing.assert_allclose(history, expected, rtol=TOLERANCE, err_msg=rule)
        assert_close(model, network)
        np.testing.assert_allclose(model.predict(X), network.predict(X), rtol=1e-4, atol=1e-9)
        moved = [np.abs(a - b).max() > 1e-6 for a, b in zip(model.trainable_weights, before, strict=True)]
        assert all(moved), rule
    assert model.network.iterations == 50


def test_the_table_is_complete():
    assert set(LOSSES) == set(_core.LOSSES)
    described = {type(optimizer) for optimizer in RULES.values()}
    assert described == {
        value
        for value in vars(optimizers).values()
        if isinstance(value, type) and issubclass(value, optimizers.Optimizer) and value is not optimizers.Optimizer
    }
    not_computing = {"Input", "InputLayer", "Layer", "ParameterSpec", "WeightAccess", "automatic_name"}
    # Those of test_keras_graphs.py.
    of_graphs = {f"fastnn.layers.{name}" for name in ("merging", "embedding", "encoding", "lookups")}
    # Those of test_tabular_recordings.py, and scalers, which compute before the network.
    of_tables = {f"fastnn.layers.{name}" for name in ("tabular", "numeric_embeddings", "preprocessing")}
    elsewhere = {name for name in layers.__all__ if getattr(layers, name).__module__ in of_graphs | of_tables}
    assert {kind.split()[0] for kind in KINDS} == set(layers.__all__) - not_computing - elsewhere
