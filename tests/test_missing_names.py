"""Names that fastnn does not have are answered with the way round them or the nearest name."""

import importlib
import json
from pathlib import Path

import pytest

import fastnn
import fastnn.metrics
from fastnn import layers

NAMES = json.loads(Path(__file__).with_name("keras_names.json").read_text())["names"]
MODULES = [path for path in NAMES if path not in ("Sequential", "Layer")]
OTHERS = [
    *("backend", "data", "datasets", "diagnosis", "diagram", "distributed", "estimators", "interchange"),
    *("landscape", "many", "model_selection", "ops", "plotting", "saving", "tabular"),
]


def message(owner, name):
    with pytest.raises(AttributeError) as raised:
        getattr(owner, name)
    return str(raised.value)


@pytest.mark.parametrize("path", MODULES)
def test_every_missing_name_of_keras_has_an_answer(path):
    owner = importlib.import_module(f"fastnn.{path}")
    for name in NAMES[path]:
        if not hasattr(owner, name):
            start = f"module 'fastnn.{path}' has no attribute {name!r}"
            answer = message(owner, name)
            assert answer.startswith((f"{start}: ", f"{start}. Did you mean ")), answer


@pytest.mark.parametrize(
    ("owner", "name", "answer"),
    [
        ("layers", "TextVectorization", "StringLookup"),
        ("layers", "Lambda", r"compose layers in a class that derives from Layer"),
        ("layers", "Conv2D", "dense networks only"),
        ("layers", "Dens", r"Did you mean 'Dense'\?"),
        ("layers", "Batchnormalization", r"Did you mean 'BatchNormalization'\?"),
        ("callbacks", "TensorBoard", "CSVLogger"),
        ("utils", "plot_model", "fastnn.plotting"),
        ("backend", "set_floatx", r"dtype='float64'"),
        ("backend", "mean", "fastnn.ops"),
        ("optimizers", "Adafactor", "Adam"),
        ("optimizers", "ExponentialDecay", "it is fastnn.optimizers.schedules.ExponentialDecay"),
        ("losses", "mse", "it is mean_squared_error"),
        ("losses", "f1_score", "it is fastnn.metrics.f1_score"),
        ("metrics", "F1score", r"Did you mean 'F1Score'\?"),
        ("initializers", "Glorotuniform", r"Did you mean 'GlorotUniform'\?"),
        ("datasets", "mnist", "sklearn.datasets"),
        ("models", "Functional", r"fastnn\.Model\(inputs=..., outputs=...\)"),
        ("model_selection", "KFold", "sklearn.model_selection"),
        ("data", "sorce", r"Did you mean 'source'\?"),
        ("data", "read_csv", r"fastnn\.data\.source\(path_or_list_or_array\)"),
        ("diagnosis", "diagnos", r"Did you mean 'diagnose'\?"),
        ("diagram", "network_sgv", r"Did you mean 'network_svg'\?"),
        ("distributed", "init_process_group", r"within fastnn\.distributed\.mpi\(\) fit divides"),
        ("estimators", "MLPRegresor", r"Did you mean 'MLPRegressor'\?"),
        ("landscape", "loss_landscap", r"Did you mean 'loss_landscape'\?"),
        ("optimizers", "lm", "it is LevenbergMarquardt"),
        ("optimizers", "LBGFS", r"Did you mean 'LBFGS'\?"),
        ("reference", "DenseNetwrk", r"Did you mean 'DenseNetwork'\?"),
        ("tabular", "TabularRegresor", r"Did you mean 'TabularRegressor'\?"),
        ("tabular", "fold_of", "have the recipes 'realmlp' and 'tabm'"),
    ],
)
def test_answers_of_modules(owner, name, answer):
    with pytest.raises(AttributeError, match=answer):
        getattr(importlib.import_module(f"fastnn.{owner}"), name)


def test_answers_of_the_package():
    for name, answer in (
        ("Modell", "Did you mean 'Model'?"),
        ("config", "no global settings"),
        ("Dense", "it is fastnn.layers.Dense"),
        ("Metric", "it is fastnn.metrics.Metric"),
        ("RealMLP", "have the recipes 'realmlp' and 'tabm'"),
        ("DataLoader", "fastnn.data.source"),
        ("StandardScaler", "scikit-learn has it"),
        ("GradientTape", "the compiled core computes whole models"),
    ):
        assert answer in message(fastnn, name)


def test_a_from_import_is_answered_too():
    with pytest.raises(ImportError, match=r"'fastnn\.layers' has no attribute 'Lambda': the compiled core runs"):
        from fastnn.layers import Dense, Lambda  # noqa: F401
    with pytest.raises(ImportError, match=r"it is fastnn\.layers\.Dense"):
        from fastnn import Dense  # noqa: F401


def test_answers_of_objects():
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    for owner, name, answer in (
        (model, "train_step", "a custom loss function"),
        (model, "predict_classes", "argmax"),
        (model, "predit", "Did you mean 'predict'?"),
        (model, "state_dict", "model.get_weights()"),
        (model.layers[0], "call", "the compiled core computes"),
        (model.layers[0], "weigths", "Did you mean 'weights'?"),
        (model.layers[0], "W", "layer.kernel"),
        (model.layers[0], "core_names", ""),
        (model.optimizer, "lerning_rate", "Did you mean 'learning_rate'?"),
        (model.optimizer, "apply_gradients", "the compiled core makes the updates"),
        (model.optimizer, "lr", "its name is learning_rate"),
    ):
        answered = message(owner, name)
        assert answered.startswith(f"{type(owner).__name__} has no attribute {name!r}") and answer in answered
        assert name not in dir(owner)
    with pytest.raises(TypeError, match="its name is learning_rate"):
        model.optimizer.lr = 0.1
    assert "'_" not in message(model.layers[0], "core_names")  # private names are no answer
    assert message(model, "_private") == "Sequential has no attribute '_private'"


def test_the_error_of_a_property_is_kept():
    class Named(layers.Dense):
        @property
        def label(self):
            return self.name.title_case

    with pytest.raises(AttributeError, match="'str' object has no attribute 'title_case'"):
        _ = Named(1).label


@pytest.mark.parametrize("path", [*MODULES, *OTHERS])
def test_a_module_lists_its_public_names(path):
    module = importlib.import_module(f"fastnn.{path}")
    listed = dir(module)
    assert listed == sorted(module.__all__) or (path == "ops" and set(module.__all__) < set(listed))
    assert all(hasattr(module, name) for name in listed)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: fastnn.optimizers.get("trainbr"), "lm_bayes"),
        (lambda: fastnn.optimizers.get("trainLM"), "lm"),
        (lambda: fastnn.layers.Dense(2, "purelin"), "linear"),
        (lambda: fastnn.layers.Dense(2, "logsig"), "sigmoid"),
    ],
)
def test_names_of_matlab_are_known_to_messages(make, name):
    with pytest.raises(ValueError, match=f"Did you mean '{name}'"):
        make()
