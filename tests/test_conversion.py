"""Models as objects of PyTorch, Keras and scikit-learn, and back, with equal bits of weights."""

import os

import numpy as np
import pytest
from random_models import difference, random_model

import fastnn
from fastnn import layers

os.environ.setdefault("KERAS_BACKEND", "jax")


def same(first, second):
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_safetensors_have_the_names_and_the_layout_of_pytorch(tmp_path):
    model = fastnn.Sequential(
        [
            fastnn.Input((3,)),
            layers.Dense(4, activation="relu"),
            layers.BatchNormalization(epsilon=1e-5),
            layers.Dense(4, use_bias=False),
            layers.PReLU(),
            layers.LayerNormalization(epsilon=1e-5),
            layers.Dense(2),
        ],
        seed=1,
    )
    path = tmp_path / "m.safetensors"
    model.export_safetensors(path)
    with pytest.raises(fastnn.ModelFormatError, match="another program"):
        fastnn.load_model(path)
    # A state dict does not say that the first activation stands before the normalization.
    again = fastnn.load_torch(path, ["relu", "prelu"])
    assert same(again.get_weights(), model.get_weights())
    names = [f"0.{leaf}" for leaf in ("weight", "bias")]
    names += [f"2.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    names += ["3.weight", "4.weight", "5.weight", "5.bias", "6.weight", "6.bias"]
    data = path.read_bytes()
    assert all(f'"{name}"'.encode() in data for name in names) and data.count(b"data_offsets") == len(names)
    with pytest.raises(ValueError, match="not built"):
        fastnn.Sequential([layers.Dense(1)]).export_safetensors(path)
    assert path.read_bytes() == data


def test_torch_modules_predict_the_same(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    for seed in range(60):
        model, X = random_model(seed)
        module = model.to_torch()
        assert not module.training
        with torch.no_grad():
            outputs = module(torch.from_numpy(X)).numpy()
        assert outputs.dtype == model.dtype
        assert difference(outputs, model.predict(X)) < (1e-5 if model.dtype == np.float32 else 1e-12), seed
        model.export_safetensors(tmp_path / "m.safetensors")
        module.load_state_dict(safetensors.load_file(tmp_path / "m.safetensors"))


def test_torch_modules_come_back_with_equal_bits(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for dtype in ("float32", "float64"):
        stack = [
            fastnn.Input((3,)),
            layers.Dense(5),
            layers.BatchNormalization(epsilon=1e-5),
            layers.Activation("gelu"),
        ]
        stack += [layers.Dense(4, activation="tanh"), layers.Dense(2)]
        model = fastnn.Sequential(stack, seed=2, dtype=dtype)
        torch.save(model.to_torch().state_dict(), tmp_path / "m.pt")
        again = fastnn.load_torch(tmp_path / "m.pt", ["gelu", "tanh"])
        assert again.dtype == dtype and same(again.get_weights(), model.get_weights())
        X = np.random.default_rng(0).normal(size=(9, 3))
        assert np.array_equal(again.predict(X), model.predict(X))
        live = fastnn.load_torch(model.to_torch().state_dict(), ["gelu", "tanh"])
        assert same(live.get_weights(), model.get_weights())
    with pytest.raises(TypeError, match=r"pass module\.state_dict\(\)"):
        fastnn.load_torch(model.to_torch(), "relu")


def test_frozen_layers_and_training_stay_in_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(4, trainable=False), layers.Dense(1)], seed=0)
    module = model.to_torch()
    assert [parameter.requires_grad for parameter in module.parameters()] == [False, False, True, True]
    module(torch.ones(2, 3)).sum().backward()
    before = model.get_weights()
    with torch.no_grad():
        module[1].bias += 1.0
    assert same(model.get_weights(), before)


def test_keras_models_predict_the_same_and_come_back(tmp_path):
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip("h5py")
    for seed in range(15):
        model, X = random_model(seed, missing=False)
        if model.dtype == np.float64:
            continue  # the backend needs a setting of the process for that
        network = model.to_keras()
        assert difference(np.asarray(network(X)), model.predict(X)) < 1e-5, seed
        network.save(tmp_path / "m.keras")
        again = fastnn.load_keras(tmp_path / "m.keras")
        assert same(again.get_weights(), model.get_weights())
        network.save_weights(tmp_path / "m.weights.h5")
        other = fastnn.models.clone_model(model)
        other.load_weights(tmp_path / "m.weights.h5")
        assert same(other.get_weights(), model.get_weights())
        assert isinstance(network, keras.Model)


@pytest.mark.parametrize(("package", "method"), [("torch", "to_torch"), ("keras", "to_keras")])
def test_a_missing_package_is_named(monkeypatch, package, method):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(1)])
    with pytest.raises(ImportError, match=f"{method} needs {package}: pip install {package}"):
        getattr(model, method)()


# scikit-learn

DRAW = np.random.default_rng(0)
X = DRAW.normal(3.0, 2.0, (80, 4))
Y = X[:, 0] - X[:, 1]
TARGETS = {
    "two classes": np.where(Y > 0, "yes", "no"),
    "classes": np.digitize(Y, [-1, 0, 1]),
    "labels": (X > 3).astype(int),
    "number": Y,
    "numbers": np.c_[Y, -Y],
}


def probabilities(estimator, X):
    return estimator.predict_proba(X) if hasattr(estimator, "classes_") else estimator.predict(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"activation": "tanh"}])
def test_scikit_learns_estimators_come_and_go(targets, options):
    neural_network = pytest.importorskip("sklearn.neural_network", reason="the estimators need scikit-learn")
    name = "MLPRegressor" if targets.startswith("number") else "MLPClassifier"
    if targets == "labels" and "early_stopping" in options:
        pytest.skip("scikit-learn cannot stratify several labels")
    y = TARGETS[targets]
    theirs = getattr(neural_network, name)(max_iter=4, random_state=0, **options).fit(X, y)
    ours = getattr(fastnn, name).from_sklearn(theirs)
    assert same(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_)
    np.testing.assert_allclose(probabilities(ours, X), probabilities(theirs, X), rtol=1e-12, atol=1e-12)
    assert np.array_equal(ours.predict(X), theirs.predict(X)) or name == "MLPRegressor"
    back = ours.to_sklearn()
    assert type(back) is type(theirs)
    assert same(back.coefs_ + back.intercepts_, theirs.coefs_ + theirs.intercepts_)
    assert back.get_params() == theirs.get_params()
    np.testing.assert_allclose(probabilities(back, X), probabilities(theirs, X), rtol=1e-12, atol=1e-12)
    if not options:
        for each in (ours, back, theirs):
            each.partial_fit(X, y)
        np.testing.assert_allclose(probabilities(ours, X), probabilities(back, X), rtol=1e-9, atol=1e-12)
    for each in (ours, theirs):
        each.set_params(warm_start=True).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scales_become_part_of_the_layers():
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    model = fastnn.MLPRegressor(standardize=True, max_iter=5, random_state=0).fit(X, 1e3 * TARGETS["numbers"])
    np.testing.assert_allclose(model.to_sklearn().predict(X), model.predict(X), rtol=1e-9)
    poisson = fastnn.MLPRegressor("poisson", max_iter=5).fit(X, Y**2)
    np.testing.assert_allclose(poisson.to_sklearn().predict(X), poisson.predict(X), rtol=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_scikit_learn_lacks_is_named():
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    regressor = fastnn.MLPRegressor
    gaps = np.where(X > 6, np.nan, X)
    for model, inputs, said in (
        (regressor(activation="gelu", max_iter=2), X, "one activation for all hidden layers, of identity"),
        (regressor("gaussian_nll", max_iter=2), X, "gaussian_nll"),
        (regressor(missing="mean", max_iter=2), gaps, "takes no missing values; missing is 'mean'"),
    ):
        with pytest.raises(ValueError, match=said):
            model.fit(inputs, Y).to_sklearn()
    with pytest.warns(UserWarning, match="no such loss, dropout"):
        regressor("huber", dropout=0.1, max_iter=2).fit(X, Y).to_sklearn()


def test_only_fitted_estimators_of_the_same_kind_are_taken():
    neural_network = pytest.importorskip("sklearn.neural_network", reason="the estimators need scikit-learn")
    from sklearn.exceptions import NotFittedError

    with pytest.raises(TypeError, match=r"must be a sklearn\.neural_network\.MLPRegressor, got MLPClassifier"):
        fastnn.MLPRegressor.from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(NotFittedError):
        fastnn.MLPRegressor.from_sklearn(neural_network.MLPRegressor())
    for method in ("to_sklearn", "export_onnx"):
        with pytest.raises(NotFittedError):
            getattr(fastnn.MLPRegressor(), method)(*["x"] * (method == "export_onnx"))
