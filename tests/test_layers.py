"""Layers, losses, optimizers and activations as descriptions: arguments, checks, configurations."""

import ast
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import activations, initializers, layers, losses, optimizers

PARTS = ("activations", "initializers")
DESCRIPTIONS = (*PARTS, "layers", "losses", "optimizers")


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions_import_neither_the_core_nor_their_like(name):
    package = Path(fastnn.__file__).parent
    files = [*package.glob(f"{name}.py"), *package.glob(f"{name}/*.py")]
    imported = set()
    for node in [node for file in files for node in ast.parse(file.read_text(encoding="utf-8")).body]:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fastnn"):
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    allowed = {name} if name in PARTS else {name, *PARTS}
    forbidden = {f"fastnn.{other}" for other in (*DESCRIPTIONS, "_core", "models") if other not in allowed}
    assert not imported & forbidden
    assert "fastnn._registry" in imported


def test_bad_arguments_of_layers():
    for make, message in (
        (lambda: layers.Dense(0), "units must be a whole number of at least 1, got 0"),
        (lambda: layers.Dense(2.0), "units must be a whole number of at least 1, got 2.0"),
        (lambda: layers.Dense(True), "units must be a whole number of at least 1, got True"),
        (lambda: layers.Dropout(1.0), "rate must be a number of at least 0 and less than 1, got 1.0"),
        (lambda: layers.Dropout(-0.1), "rate must be a number of at least 0"),
        (lambda: layers.Dropout("a lot"), "rate must be a number of at least 0 and less than 1, got 'a lot'"),
        (lambda: layers.LeakyReLU(-1.0), "negative_slope must be a finite number of at least 0"),
        (lambda: layers.ELU(float("nan")), "alpha must be a finite number of at least 0, got nan"),
        (lambda: fastnn.Input((0,)), "each size of shape must be a whole number of at least 1, got 0"),
        (lambda: layers.Dense(1, input_dim=2, input_shape=(2,)), "input_shape or input_dim, not both"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    for wrong in (3, lambda x: x):
        with pytest.raises(TypeError, match=r"activation must be a name .* or an ActivationFunction object"):
            layers.Dense(1, activation=wrong)
    with pytest.raises(TypeError, match="name must be a string"):
        layers.Dense(1, name=3)


def test_automatic_names_count_as_in_keras():
    first, second = layers.LeakyReLU(), layers.LeakyReLU()
    stem = "leaky_re_lu"
    numbers = [int(layer.name.removeprefix(stem).removeprefix("_") or 0) for layer in (first, second)]
    assert first.name.startswith(stem) and numbers[1] == numbers[0] + 1
    assert layers.Dense(1, name="output").name == "output"


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(3, activation="relu", use_bias=False, kernel_initializer="he_normal", name="a"),
        layers.Dense(3, activation=layers.LeakyReLU(0.05), kernel_initializer=initializers.Constant(2.0), input_dim=4),
        layers.Activation("swish"),
        layers.ReLU(),
        layers.ReLU(negative_slope=0.4),
        layers.LeakyReLU(0.01),
        layers.ELU(0.3),
        layers.Softmax(),
        layers.Dropout(0.2),
        layers.Flatten(input_shape=(2, 2)),
        fastnn.Input((4,)),
    ],
)
def test_layers_survive_their_configuration(layer):
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    assert again.name == layer.name
    assert again.op(4) == layer.op(4)
    specs = [(s.name, s.shape, repr(s.initializer)) for s in layer.parameter_specs(4)]
    assert specs == [(s.name, s.shape, repr(s.initializer)) for s in again.parameter_specs(4)]


def test_activations_of_a_layer():
    assert layers.Dense(1, activation=None).op(2)[1]["activation"] == "linear"
    assert layers.Dense(1, activation=activations.relu).op(2)[1]["activation"] == "relu"
    assert layers.Dense(1, activation=layers.ELU(0.5)).op(2)[1]["parameters"] == (0.5,)
    assert layers.Dense(1, activation="leaky_relu").op(2)[1]["parameters"] == (0.2,)
    assert layers.LeakyReLU().op(2)[1] == {"activation": "leaky_relu", "parameters": (0.3,)}
    assert layers.ReLU().op(2) == ("activation", {"activation": "relu"})
    assert layers.Dropout(0.0).op(2) is None


def test_activations_are_functions_of_arrays():
    x = np.array([[-2.0, -0.5, 0.0, 1.5]])
    np.testing.assert_allclose(activations.relu(x), [[0.0, 0.0, 0.0, 1.5]])
    np.testing.assert_allclose(activations.leaky_relu(x), [[-0.4, -0.1, 0.0, 1.5]])
    np.testing.assert_allclose(activations.leaky_relu(x, negative_slope=0.5), [[-1.0, -0.25, 0.0, 1.5]])
    np.testing.assert_allclose(activations.elu(x, alpha=2.0), [[2 * np.expm1(-2.0), 2 * np.expm1(-0.5), 0.0, 1.5]])
    np.testing.assert_allclose(activations.sigmoid(x), 1.0 / (1.0 + np.exp(-x)), rtol=1e-12)
    np.testing.assert_allclose(activations.softmax(x), np.exp(x) / np.exp(x).sum(), rtol=1e-12)
    assert activations.get("swish") is activations.silu
    assert activations.get(None) is activations.linear
    assert activations.get({"class_name": "elu", "config": {"alpha": 3.0}}).parameters == {"alpha": 3.0}
    with pytest.raises(TypeError, match="'relu' has no option 'alpha'"):
        activations.relu(x, alpha=1.0)
    options = {"negative_slope": 0.5, "max_value": 1.0, "threshold": 0.25}
    np.testing.assert_allclose(activations.relu(x, **options), [[-1.125, -0.375, -0.125, 1.0]])
    general = activations.get({"class_name": "relu", "config": options})
    assert general.get_config() == {"class_name": "relu", "config": options}
    assert activations.relu.with_parameters(max_value=None).get_config()["config"]["max_value"] is None


def test_every_activation_of_the_core_has_a_name_here_and_trains():
    from fastnn import _core

    x = np.random.default_rng(0).normal(size=(30, 3))
    for name in _core.ACTIVATIONS:
        if name == "general_relu":  # is relu with options
            name = activations.relu.with_parameters(negative_slope=0.1, max_value=3.0)
        else:
            assert activations.get(name).name == name
        model = fastnn.Sequential([layers.Dense(4, activation=name), layers.Dense(1)], seed=0)
        model.compile("adam", "mse")
        history = model.fit(x, x[:, :1], epochs=30, verbose=0).history["loss"]
        assert history[-1] < history[0], name


def test_losses_by_every_spelling():
    for spellings in (
        ("mse", "MSE", "mean_squared_error", "MeanSquaredError"),
        ("mae", "MAE", "mean_absolute_error", "MeanAbsoluteError"),
        ("huber", "Huber", "huber_loss"),
        ("bce", "BCE", "binary_crossentropy", "BinaryCrossentropy"),
        ("categorical_crossentropy", "CategoricalCrossentropy"),
        ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"),
    ):
        kinds = {type(losses.get(name)) for name in spellings}
        assert len(kinds) == 1
        assert type(losses.get(kinds.pop())) is type(losses.get(spellings[0]))


def test_losses_are_functions_of_arrays():
    y, p = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.5, 0.5], [0.25, 0.75]])
    assert losses.MeanSquaredError()(y, p) == pytest.approx((0.25 + 0.25 + 0.5625 + 0.5625) / 4.0)
    assert losses.MeanAbsoluteError(reduction="sum")(y, p) == pytest.approx(0.5 + 0.75)
    assert losses.MeanSquaredError()(y, p, sample_weight=[1.0, 0.0]) == pytest.approx(0.125)
    assert losses.CategoricalCrossentropy()(y, p) == pytest.approx((np.log(2.0) + np.log(4.0)) / 2.0)
    assert losses.SparseCategoricalCrossentropy()([1, 0], p) == pytest.approx((np.log(2.0) + np.log(4.0)) / 2.0)
    assert losses.BinaryCrossentropy(label_smoothing=1.0)(y[:, :1], p[:, :1]) == pytest.approx(
        (np.log(2.0) - (np.log(0.25) + np.log(0.75)) / 2.0) / 2.0
    )
    assert losses.Huber(delta=0.5)([[0.0]], [[2.0]]) == pytest.approx(0.5 * 2.0 - 0.125)


def test_bad_arguments_of_losses_and_optimizers():
    for make, message in (
        (lambda: losses.Huber(0.0), "delta must be a finite number greater than 0, got 0.0"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=1.5), "label_smoothing must be a number between 0 and 1"),
        (lambda: optimizers.Adam(-0.1), "learning_rate must be a finite number of at least 0, got -0.1"),
        (lambda: optimizers.Adam(float("inf")), "learning_rate must be a finite number"),
        (lambda: optimizers.Adam("fast"), "learning_rate must be a finite number of at least 0, got 'fast'"),
        (lambda: optimizers.Adam(beta_1=1.0), "beta_1 must be a number of at least 0 and less than 1, got 1.0"),
        (lambda: optimizers.SGD(momentum=1.5), "momentum must be a number between 0 and 1, got 1.5"),
        (lambda: optimizers.RMSprop(rho=-1.0), "rho must be"),
        (lambda: optimizers.AdamW(weight_decay=-1.0), "weight_decay must be"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match=r"loss must be a name .* or a Loss object"):
        losses.get(3)
    with pytest.raises(TypeError, match=r"optimizer must be a name .* or an Optimizer object"):
        optimizers.get(None)


@pytest.mark.parametrize(
    "described",
    [
        losses.Huber(0.3),
        losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction="sum"),
        losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        optimizers.Adam(0.1, beta_2=0.5, weight_decay=0.1),
        optimizers.AdamW(0.1),
        optimizers.RMSprop(centered=True),
        initializers.HeNormal(seed=3),
        initializers.VarianceScaling(2.0, "fan_out", "uniform"),
        initializers.Orthogonal(2.0),
    ],
)
def test_descriptions_survive_their_configuration(described):
    again = type(described).from_config(described.get_config())
    assert again.get_config() == described.get_config()
    assert repr(again) == repr(described)
    if hasattr(described, "options"):
        assert again.options() == described.options()


def test_defaults_are_those_of_keras():
    assert optimizers.Adam().get_config() == {
        "learning_rate": 0.001,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-7,
        "amsgrad": False,
        "weight_decay": None,
        "clipnorm": None,
        "clipvalue": None,
        "global_clipnorm": None,
        "use_ema": False,
        "ema_momentum": 0.99,
        "ema_overwrite_frequency": None,
        "gradient_accumulation_steps": None,
        "loss_scale_factor": None,
        "name": "adam",
    }
    assert (optimizers.SGD().learning_rate, optimizers.SGD().momentum) == (0.01, 0.0)
    assert (optimizers.AdamW().weight_decay, optimizers.AdamW().learning_rate) == (0.004, 0.001)
    assert (optimizers.RMSprop().rho, optimizers.RMSprop().epsilon) == (0.9, 1e-7)
    dense = layers.Dense(1)
    assert type(dense.kernel_initializer) is initializers.GlorotUniform
    assert type(dense.bias_initializer) is initializers.Zeros
    assert losses.Huber().delta == 1.0 and losses.Huber().name == "huber_loss"
    model = fastnn.Sequential([layers.Dense(1)])
    model.compile()
    assert model.optimizer.name == "rmsprop"


@pytest.mark.parametrize(
    ("layer", "values"),
    [
        (lambda: layers.Dense(2, bias_initializer=None), {"bias": 0.0}),
        (lambda: layers.PReLU(alpha_initializer=None), {"alpha": 0.0}),
        (lambda: layers.LayerNormalization(gamma_initializer=None, beta_initializer=None), {"gamma": 1.0, "beta": 0.0}),
        (
            lambda: layers.BatchNormalization(moving_mean_initializer=None, moving_variance_initializer=None),
            {"moving_mean": 0.0, "moving_variance": 1.0},
        ),
    ],
)
def test_no_initializer_means_the_default(layer, values):
    model = fastnn.Sequential([fastnn.Input((3,)), layer()])
    for name, value in values.items():
        np.testing.assert_array_equal(getattr(model.layers[0], name), value)
    kernels = [
        fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2, kernel_initializer=name)], seed=4).get_weights()[0]
        for name in (None, "glorot_uniform")
    ]
    np.testing.assert_array_equal(*kernels)


def test_normalization_of_all_elements_together():
    power = np.array([1.0, 3.0, 5.0])  # mean 3, variance 8/3
    layer = layers.Normalization(input_shape=[1], axis=None)
    layer.adapt(power)
    model = fastnn.Sequential([layer, layers.Dense(1)])
    np.testing.assert_allclose([layer.mean, layer.variance], [[3.0], [8.0 / 3.0]], rtol=1e-6)
    assert model.predict(power).shape == (3, 1)
    columns = np.array([[1.0, 2.0], [3.0, 6.0]])  # mean 3, variance (4 + 1 + 0 + 9) / 4
    for axis in (None, ()):
        model = fastnn.Sequential([fastnn.Input((2,)), layers.Normalization(axis=axis)])
        model.layers[0].adapt(columns)
        np.testing.assert_allclose(model.predict(columns), (columns - 3.0) / np.sqrt(3.5), rtol=1e-6)
    pictures = np.arange(8.0).reshape(2, 2, 2)
    layer = layers.Normalization(axis=None)
    layer.adapt(pictures)
    model = fastnn.Sequential([fastnn.Input((2, 2)), layer, layers.Flatten()])
    np.testing.assert_allclose(model.predict(pictures), (pictures.reshape(2, 4) - 3.5) / np.sqrt(5.25), rtol=1e-6)
    again = fastnn.models.clone_model(model)
    assert again.layers[0].axis is None
    layer = layers.Normalization(axis=None)
    layer.adapt(5.0)
    assert (float(layer.mean[0]), float(layer.variance[0])) == (5.0, 0.0)
    known = fastnn.Sequential([fastnn.Input((2,)), layers.Normalization(axis=None, mean=3.0, variance=4.0)])
    np.testing.assert_array_equal(known.predict([[1.0, 5.0]]), [[-1.0, 1.0]])
    for axis in (-1, 1, [-1], (1,)):
        assert layers.Normalization(axis=axis).axis == -1
    for axis in (0, 2, "a", True, (0, 1)):
        with pytest.raises(ValueError, match="axis must be -1"):
            layers.Normalization(axis=axis)
    with pytest.raises(ValueError, match="axis=None takes one mean and one variance"):
        layers.Normalization(axis=None, mean=[1.0, 2.0], variance=1.0)


def test_a_linear_activation_may_come_first_or_alone():
    rows = np.array([[1.0, -2.0]])
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Activation("linear")])
    np.testing.assert_array_equal(model.predict(rows), rows)
    model.add(layers.Dense(1, kernel_initializer="ones"))
    np.testing.assert_array_equal(model.predict(rows), [[-1.0]])
    for first in (
        layers.Activation("relu"),
        layers.Activation("linear"),
        layers.Dropout(0.5),
        layers.GaussianNoise(1.0),
    ):
        model = fastnn.Sequential([fastnn.Input((2, 1)), first, layers.Flatten()])
        expected = (
            np.maximum(rows, 0.0) if isinstance(first, layers.Activation) and "relu" in repr(first.activation) else rows
        )
        np.testing.assert_array_equal(model.predict(rows[..., None]), expected)
