"""Models and estimators as ONNX files: valid, and the same predictions in ONNX Runtime and onnx's own evaluator."""

import numpy as np
import pytest
from random_models import difference, random_model

import fastnn
from fastnn import layers

onnx = pytest.importorskip("onnx", reason="writing ONNX files needs the extra onnx")
runtime = pytest.importorskip("onnxruntime", reason="the files are checked by ONNX Runtime")
reference = pytest.importorskip("onnx.reference")

TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(string)": object, "tensor(int64)": np.int64}


def checked(path):
    """Return the model of a file that passes all of onnx's checks."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    assert {each.domain for each in model.opset_import} == {""}
    return model


def session_of(path):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("opset", [17, 18, 20, 22])
def test_random_models_predict_the_same(tmp_path, opset):
    for seed in range(opset, opset + 30):
        model, X = random_model(seed)
        model.export_onnx(tmp_path / "m.onnx", opset)
        expected = model.predict(X)
        (given,) = session_of(tmp_path / "m.onnx").run(None, {"input": X})
        assert given.dtype == model.dtype and given.shape == expected.shape
        assert difference(given, expected) <= 1e-6, (seed, [type(layer).__name__ for layer in model.layers])
        if seed % 5 == 0:
            evaluator = reference.ReferenceEvaluator(checked(tmp_path / "m.onnx"))
            assert difference(evaluator.run(None, {"input": X})[0], expected) <= 1e-6, seed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*fastnn.activations.__all__])
def test_every_activation_is_within_1e_6(tmp_path, name, dtype):
    if not isinstance(getattr(fastnn.activations, name), fastnn.activations.ActivationFunction):
        pytest.skip("not an activation")
    model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(7, activation=name)], seed=1, dtype=dtype)
    X = np.random.default_rng(0).normal(0.0, 3.0, size=(50, 4)).astype(dtype)
    for opset in (13, 17, 22):
        model.export_onnx(tmp_path / "m.onnx", opset)
        checked(tmp_path / "m.onnx")
        (given,) = session_of(tmp_path / "m.onnx").run(None, {"input": X})
        assert difference(given, model.predict(X)) <= 1e-6


def test_dense_layers_are_gemm_with_a_dynamic_batch(tmp_path):
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(4, activation="relu"), layers.Dense(2, use_bias=False)])
    model.export_onnx(tmp_path / "m.onnx")
    graph = checked(tmp_path / "m.onnx").graph
    assert [node.op_type for node in graph.node][:3] == ["Gemm", "Relu", "Gemm"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    session = session_of(tmp_path / "m.onnx")
    for n in (1, 2, 50):
        assert session.run(None, {"input": np.zeros((n, 3), np.float32)})[0].shape == (n, 2)


def test_rows_of_several_axes_become_vectors(tmp_path):
    model = fastnn.Sequential([fastnn.Input((2, 3)), layers.Rescaling(0.5), layers.Flatten(), layers.Dense(2)])
    X = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    model.export_onnx(tmp_path / "m.onnx")
    checked(tmp_path / "m.onnx")
    assert difference(session_of(tmp_path / "m.onnx").run(None, {"input": X})[0], model.predict(X)) < 1e-6
    assert fastnn.load_onnx(tmp_path / "m.onnx").input_shape == (None, 6)


def test_an_opset_too_low_is_refused_with_the_layer_and_no_file(tmp_path):
    path = tmp_path / "m.onnx"
    model = fastnn.Sequential([fastnn.Input((3,)), layers.LayerNormalization(), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"opset=16 is too low for LayerNormalization.*needs opset 17"):
        model.export_onnx(path, opset=16)
    for opset in (12, 0, 10_000, "17", 17.5):
        with pytest.raises(ValueError, match="opset"):
            model.export_onnx(path, opset=opset)
    with pytest.raises(ValueError, match="not built"):
        fastnn.Sequential([layers.Dense(1)]).export_onnx(path)
    assert not path.exists()


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(1)])
    with pytest.raises(ImportError, match=r"export_onnx needs onnx: pip install '.\[onnx\]'"):
        model.export_onnx(tmp_path / "m.onnx")


# Estimators

sklearn = pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
DRAW = np.random.default_rng(0)
X = DRAW.normal(3.0, 2.0, (120, 4))
Y = X[:, 0] - X[:, 1]
GAPS = np.where(DRAW.random(X.shape) < 0.1, np.nan, X)
SINGLE = X.astype(np.float32)


def classifiers():
    yield "three texts", dict(), X, np.array(["a", "bb", "c"])[np.digitize(Y, [-1, 1])]
    yield "two texts", dict(standardize=True), SINGLE, np.where(Y > 0, "yes", "no")
    yield "numbers", dict(activation="tanh", dropout=0.2), SINGLE, np.digitize(Y, [-1, 0, 1])
    yield "booleans", dict(standardize=True, missing="median"), GAPS.astype(np.float32), Y > 0
    yield "several labels", dict(activation="gelu"), X, (X > 3).astype(int)


def regressors():
    yield "one", dict(standardize=True), X, Y
    yield "two", dict(hidden_layer_sizes=(5, 4), activation=["elu", "silu"]), SINGLE, np.c_[Y, -Y]
    yield "poisson", dict(loss="poisson"), X, Y**2
    yield "gaussian", dict(loss="gaussian_nll", standardize=True), SINGLE, np.c_[Y, Y]
    yield "missing", dict(standardize=True, missing="indicator"), GAPS, Y


def outputs_of(path, X):
    """Return the outputs of ONNX Runtime, which those of the reference evaluator equal."""
    session = session_of(path)
    if hasattr(X, "columns"):
        feed = {each.name: X[each.name].to_numpy().astype(TYPES[each.type])[:, None] for each in session.get_inputs()}
    else:
        feed = {"input": X.astype(TYPES[session.get_inputs()[0].type])}
    found = session.run(None, feed)
    for given, other in zip(reference.ReferenceEvaluator(checked(path)).run(None, feed), found, strict=True):
        assert given.shape == other.shape
        assert np.array_equal(given, other) or difference(given, other) < 1e-6
    return [each.name for each in session.get_outputs()], found


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("case", list(classifiers()), ids=lambda case: case[0])
def test_classifiers_give_label_and_probabilities(tmp_path, case):
    _, options, X, y = case
    model = fastnn.MLPClassifier(max_iter=4, random_state=0, **options).fit(X, y)
    model.export_onnx(tmp_path / "m.onnx")
    names, (label, probabilities) = outputs_of(tmp_path / "m.onnx", X)
    assert names == ["label", "probabilities"]
    assert np.array_equal(label, model.predict(X)) and label.shape == model.predict(X).shape
    assert difference(probabilities, model.predict_proba(X)) <= 1e-6


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("case", list(regressors()), ids=lambda case: case[0])
def test_regressors_give_columns_in_the_units_of_the_targets(tmp_path, case):
    _, options, X, y = case
    model = fastnn.MLPRegressor(max_iter=4, random_state=0, **options).fit(X, y)
    model.export_onnx(tmp_path / "m.onnx")
    names, found = outputs_of(tmp_path / "m.onnx", X)
    expected = model.predict(X)
    assert found[0].shape == (len(X), model.n_outputs_)
    assert difference(found[0], expected.reshape(len(X), -1)) <= 1e-6
    if case[0] == "gaussian":
        assert names == ["output", "standard_deviation"]
        assert difference(found[1], model.predict(X, return_std=True)[1]) <= 1e-6
    else:
        assert names == ["output"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_columns_of_frames_are_inputs_by_name(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    frame = pandas.DataFrame(
        {
            "size": X[:, 0],
            "colour": DRAW.choice(["red", "green", "blue"], len(X)),
            "grade": pandas.Categorical(DRAW.choice([3, 1, 2], len(X))),
            "output": X[:, 1] > 3,
        }
    )
    for dtype in ("float32", "float64"):
        model = fastnn.MLPRegressor(max_iter=4, standardize=True, dtype=dtype).fit(frame, Y)
        model.export_onnx(tmp_path / "m.onnx")
        names, found = outputs_of(tmp_path / "m.onnx", frame)
        assert names == ["output_"]  # "output" is a column
        assert difference(found[0][:, 0], model.predict(frame)) <= 1e-6
        unseen = frame.assign(colour="purple")
        assert difference(outputs_of(tmp_path / "m.onnx", unseen)[1][0][:, 0], model.predict(unseen)) <= 1e-6
    mixed = frame.assign(grade=pandas.Series([1, "x"] * (len(X) // 2), dtype=object))
    model = fastnn.MLPRegressor(max_iter=2).fit(mixed, Y)
    with pytest.raises(ValueError, match="column 'grade' has categories of the types int, str"):
        model.export_onnx(tmp_path / "m.onnx")
