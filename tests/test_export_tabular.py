"""Networks for tables in other tools: their layers, and whole networks of TabularClassifier and TabularRegressor."""

import runpy
from functools import partialmethod

import numpy as np
import pytest
from exported_graphs import outputs_of
from exported_models import compiler, layer_for_tables, run_all
from random_models import difference

import fastnn
from fastnn import layers

GCC = compiler("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="needs gcc")
N = 60
RNG = np.random.default_rng(0)


def model_for_tables(seed):
    """Layers of networks for tables, one after the other, and inputs."""
    rng, width = np.random.default_rng(seed), 6
    stack = [fastnn.Input((width,))]
    while len(stack) < 4 and width < 60:
        layer, width = layer_for_tables(rng, width)
        stack.append(layer)
    dtype = ("float32", "float64")[seed % 2]
    model = fastnn.Sequential([*stack, layers.Dense(3)], seed=seed, dtype=dtype, name=f"model {seed}")
    return model, rng.normal(size=(50, 6)).astype(dtype)


@pytest.mark.parametrize("opset", [13, 17, 20, 22])
def test_onnx_agrees(tmp_path, opset):
    pytest.importorskip("onnxruntime", reason="the files are checked by ONNX Runtime")
    from test_export_onnx import checked, session_of

    for seed in range(20 * opset, 20 * opset + 20):
        model, X = model_for_tables(seed)
        model.export_onnx(tmp_path / "m.onnx", opset)
        checked(tmp_path / "m.onnx")
        (given,) = session_of(tmp_path / "m.onnx").run(None, {"input": X})
        assert given.dtype == model.dtype
        assert difference(given, model.predict(X)) <= 1e-6, model.name


def test_torch_agrees():
    torch = pytest.importorskip("torch", reason="to_torch needs PyTorch")
    for seed in range(40):
        model, X = model_for_tables(seed)
        module = model.to_torch()
        with torch.no_grad():
            given = module(torch.from_numpy(X)).numpy()
        assert given.dtype == model.dtype
        assert difference(given, model.predict(X)) <= 1e-6, model.name
        frozen = sum(each.numel() for each in module.buffers())
        assert sum(each.numel() for each in module.parameters()) + frozen >= model.count_params()


@needs_gcc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cosines_have_fastnn_s_bits_on_extreme_inputs(tmp_path, dtype):
    powers = np.float64(2.0) ** np.arange(-126, 60)
    quarters = np.arange(400) / 8.0  # multiples of pi / 4
    values = [powers, -powers, quarters, RNG.normal(size=600) * 100, [1e9, 1.1e9, 0.0]]
    X = np.concatenate(values).astype(dtype)[:, None]
    model = fastnn.Sequential([fastnn.Input((1,)), layers.CosineFeatures(3)], dtype=dtype)
    model.set_weights([np.array([1.0, 0.37, 1.0 / (2.0 * np.pi)]), np.array([0.0, 1.25, 0.5 * np.pi])])
    expected = model.predict(X)
    for outputs in run_all(tmp_path, [(model, X, 3)], GCC)[0]:
        assert outputs.tobytes() == expected.tobytes()
    exact = np.cos(2.0 * np.pi * (X[:, :1].astype(np.float64) * model.get_weights()[0]) + model.get_weights()[1])
    near = np.abs(X[:, 0]) < 1e4
    assert np.abs(expected - exact)[near].max() < 1e-6  # the right function, too


@needs_gcc
@pytest.mark.parametrize("units", [1, 3, 16, 17, 33])
def test_panels_of_members_do_not_overwrite_neighbors(tmp_path, units):
    model = fastnn.Sequential([fastnn.Input((6,)), layers.MemberDense(3, units), layers.MemberDense(units, 2)], seed=1)
    X = RNG.normal(size=(29, 6)).astype(np.float32)
    for outputs in run_all(tmp_path, [(model, X, 2 * units)], GCC)[0]:
        assert outputs.tobytes() == model.predict(X).tobytes()


@needs_gcc
def test_layers_that_are_called_twice_have_their_weights_once(tmp_path):
    x = fastnn.Input((6,))
    edges = [[-1.0, 0.0, 0.25, 2.0]] * 6
    parts = [layers.MemberDense(3, 2), layers.ParametricActivation("mish", mix_initializer="random_normal")]
    parts += [layers.PiecewiseLinearEmbedding(6, 3, edges=edges, version="A"), layers.PeriodicEmbedding(18)]
    first, second = x, -x
    for part in parts:
        first, second = part(first), part(second)
    model = fastnn.Model(x, [first, second, layers.subtract([second, first])], seed=1)
    X = RNG.normal(size=(29, 6)).astype(np.float32)
    expected = outputs_of(model, [X])
    pairs = run_all(tmp_path, [(model, [X], [each.shape[1] for each in expected])], GCC)[0]
    assert [pair[1].tobytes() for pair in pairs] == [each.tobytes() for each in expected]
    source = (tmp_path / "m0.c").read_text()
    assert source.count("static const float mix_") == source.count("static const float frequencies_") == 1


@pytest.mark.parametrize("kind", ["int32", "int64", "float32"])
def test_robust_scaling_of_chosen_columns(tmp_path, kind):
    x = fastnn.Input((4,), dtype=kind, name="x")
    # float32 does not have these numbers: integers are scaled in float64
    scaled = layers.RobustScaling(None, center=[2e9 - 1, 16777217.0], scale=[1e-8, 0.5])(x[:, 1:3])
    bounded = layers.RobustScaling(center=[16777216.0], scale=[0.25])(x[:, 2:3])
    model = fastnn.Model(x, layers.Dense(3)(layers.concatenate([scaled, bounded])), seed=1)
    X = RNG.integers(16777200, 16777230, size=(20, 4)).astype(kind)
    expected = model.predict(X)
    assert len(np.unique(expected[:, 0])) > 5
    model.export_numpy(tmp_path / "net.py")
    np.testing.assert_allclose(runpy.run_path(str(tmp_path / "net.py"))["predict"](X), expected, rtol=1e-5)
    if GCC is not None:
        ((one_by_one, batch),) = run_all(tmp_path, [(model, [X], [3])], GCC)[0]
        assert one_by_one.tobytes() == batch.tobytes() == expected.tobytes()


def test_scaling_that_cannot_be_exported(tmp_path):
    for layer, said in (
        (layers.RobustScaling(name="first"), "layer 'first' has learned nothing"),
        (layers.RobustScaling(name="first", center=[1.0], scale=[1.0]), "layer 'first' has learned 1 columns, got 3"),
        (
            layers.QuantileTransform(name="first", quantiles=[[0.0] * 3, [1.0] * 3]),
            "layer 'first' of class QuantileTransform cannot be exported: .* numbers that the layer returns$",
        ),
    ):
        model = fastnn.Sequential([fastnn.Input((3,)), layer, layers.Dense(1)])
        for method, file in (("export_c", "net.c"), ("export_numpy", "net.py"), ("export_onnx", "net.onnx")):
            with pytest.raises(ValueError, match=said):
                getattr(model, method)(tmp_path / file)
    assert not list(tmp_path.iterdir())


# Whole networks of the recipes


@pytest.fixture(scope="module")
def networks():
    """{name: (network of a recipe, encoded rows)}, of a table with numbers, gaps and few and many categories."""
    pytest.importorskip("sklearn")
    from fastnn.tabular import recipes

    numbers = RNG.normal(size=(N, 3))
    numbers[:8, 1] = np.nan
    words = np.c_[RNG.choice(["red", "green", "blue"], N), RNG.choice([f"town {i}" for i in range(12)], N)]
    table = np.c_[numbers.astype(object), words]
    y = numbers[:, 0] + (words[:, 0] == "red")
    targets = {"regression": y, "two classes": y > 0.5, "three classes": np.digitize(y, [0.0, 1.0])}
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastnn.tabular.estimators._EPOCHS", 3)
        patch.setattr("fastnn.tabular.estimators._LINEAR_EPOCHS", 3)
        patch.setattr("fastnn.tabular.estimators.TabularEstimator._width", lambda self, n: 24)
        patch.setattr(recipes.Task, "__init__", partialmethod(recipes.Task.__init__, n_members=3))
        for recipe in recipes.RECIPES:
            for task, target in targets.items():
                cls = fastnn.TabularRegressor if task == "regression" else fastnn.TabularClassifier
                fitted = cls(recipe, n_bags=1, random_state=0).fit(table, target)
                found[f"{recipe}, {task}"] = fitted.models_[0], fitted._encoded(table).astype(np.float32)
    return found


@needs_gcc
def test_networks_of_recipes_have_fastnn_s_bits_in_c(tmp_path, networks):
    cases = [(net, [X], [each.shape[1] for each in outputs_of(net, [X])]) for net, X in networks.values()]
    for (name, (net, X)), pairs in zip(networks.items(), run_all(tmp_path, cases, GCC), strict=True):
        for expected, pair in zip(outputs_of(net, [X]), pairs, strict=True):
            assert [each.tobytes() for each in pair] == [expected.tobytes()] * 2, name


def test_networks_of_recipes_agree_in_onnx(tmp_path, networks):
    pytest.importorskip("onnxruntime", reason="the files are checked by ONNX Runtime")
    from test_export_onnx import checked, session_of

    for name, (net, X) in networks.items():
        net.export_onnx(tmp_path / "m.onnx")
        checked(tmp_path / "m.onnx")
        found = session_of(tmp_path / "m.onnx").run(None, {net.input_names[0]: X})
        for given, expected in zip(found, outputs_of(net, [X]), strict=True):
            assert given.dtype == np.float32
            assert difference(given, expected) <= 1e-6, name
