"""Graphs in every format: several inputs and outputs, shared layers, merges, slices, categories."""

import runpy
import subprocess

import numpy as np
import pytest
from exported_graphs import finite_graphs, outputs_of
from exported_models import C_FLAGS, compiler, run_all
from keras_graph_cases import CASES, Layers, starting_weights
from test_export_fortran import run

import fastnn
from fastnn import _core, layers
from fastnn.export import network, steps

GCC, GFORTRAN = compiler("gcc"), compiler("gfortran")
needs_gcc = pytest.mark.skipif(GCC is None, reason="needs gcc")


@pytest.fixture(scope="module")
def graphs():
    found = finite_graphs(range(24))
    assert len(found) > 20
    return found


def case_of(model, X, Y):
    return model, X, [each.shape[1] for each in Y]


@needs_gcc
def test_c_has_fastnn_s_bits(tmp_path, graphs):
    cases = [case_of(*each) for each in graphs]
    for (model, _, Y), pairs in zip(graphs, run_all(tmp_path, cases, GCC), strict=True):
        for expected, pair in zip(Y, pairs, strict=True):
            assert [each.tobytes() for each in pair] == [expected.tobytes()] * 2, model.name


@pytest.mark.skipif(GFORTRAN is None, reason="needs gfortran")
def test_fortran_agrees_to_two_units_of_the_largest_output(tmp_path, graphs):
    cases = [case_of(*each) for each in graphs]
    for (model, _, Y), pairs in zip(graphs, run(tmp_path, cases), strict=True):
        for expected, (one_by_one, batch) in zip(Y, pairs, strict=True):
            unit = np.spacing(np.abs(expected).max(axis=0))
            assert one_by_one.tobytes() == batch.tobytes()
            assert (np.abs(batch - expected).max(axis=0) <= 2 * unit).all(), model.name


def test_numpy_agrees_to_rounding(tmp_path, graphs):
    for model, X, Y in graphs:
        model.export_numpy(tmp_path / "net.py")
        predict = runpy.run_path(str(tmp_path / "net.py"))["predict"]
        found = predict(X if len(X) > 1 else X[0])
        found = found if len(Y) > 1 else [found]
        for outputs, expected in zip(found, Y, strict=True):
            tolerance = 1e-6 if model.dtype == np.float32 else 1e-13
            assert outputs.dtype == expected.dtype
            assert np.abs(outputs - expected).max() <= tolerance * np.abs(expected).max(), model.name


@needs_gcc
@pytest.mark.parametrize("name", ["two_heads_dict", "nested_model", "shared_embedding", "own_layer"])
def test_self_tests_of_keras_s_cases(tmp_path, name):
    model = CASES[name].build(fastnn, Layers(fastnn, "float32"))
    model.set_weights(starting_weights(model))
    model.export_c(tmp_path / "net.c")
    flags = [*C_FLAGS, "-DNET_SELF_TEST", "net.c", "-o", "net", "-lm"]
    subprocess.run([*GCC, *flags], cwd=tmp_path, check=True)
    done = subprocess.run(["./net"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "all bits equal" in done.stdout


def two_by_two():
    station, event = fastnn.Input((3,), name="station"), fastnn.Input((), name="event", dtype="int32")
    hidden = layers.Dense(4, activation="tanh")(
        layers.concatenate([station, layers.Embedding(5, 2, name="table")(event)])
    )
    return fastnn.Model(
        {"station": station, "event": event},
        {"depth": layers.Dense(1, name="first")(hidden), "size": layers.Dense(2, name="second")(hidden)},
        seed=0,
    )


def test_signatures_and_names(tmp_path):
    model = two_by_two()
    model.export_c(tmp_path / "gmm.c", function="gmm")
    header = (tmp_path / "gmm.h").read_text()
    # in the order of model.inputs and model.outputs: a dict goes by its sorted keys
    assert model.input_names == ["event", "station"]
    assert "void gmm(const int32_t *x1, const float *x2, float *y1, float *y2);" in header
    assert "void gmm_batch(const int32_t *x1, const float *x2, float *y1, float *y2, size_t n);" in header
    for said in ("x1: event", "x2: station", "y1: depth", "gmm_inputs_2 = 3", "gmm_outputs_2 = 2"):
        assert said in header
    model.export_fortran(tmp_path / "gmm.f90", function="gmm")
    source = (tmp_path / "gmm.f90").read_text()
    assert "pure subroutine gmm(x1, x2, y1, y2)" in source
    assert "integer(int32), intent(in) :: x1(1)" in source


def test_numpy_takes_lists_and_dicts_and_refuses_what_fastnn_refuses(tmp_path):
    model, station, event = two_by_two(), np.ones((4, 3), np.float32), np.array([[0], [4], [2], [1]])
    model.export_numpy(tmp_path / "net.py")
    predict = runpy.run_path(str(tmp_path / "net.py"))["predict"]
    expected = model.predict({"station": station, "event": event})
    for X in ([event, station], {"station": station, "event": event}):
        first, second = predict(X)
        np.testing.assert_allclose(first, expected["depth"], rtol=1e-5)
        np.testing.assert_allclose(second, expected["size"], rtol=1e-5)
    for X, said in (
        ({"station": station}, "must have the entries"),
        ([station], "must have 2 arrays"),
        ([event, station[:, :2]], r"X\['station'\] must have the shape \(n, 3\)"),
        ([event[:2], station], "same number of rows"),
        ([event + 1, station], "whole numbers from 0 to 4"),
    ):
        with pytest.raises(ValueError, match=said):
            predict(X)


@needs_gcc
def test_integers_that_a_table_lacks_give_nan_in_c(tmp_path):
    model = two_by_two()
    X = [np.array([[0], [5], [-1], [2_000_000_000], [4]], np.int32), np.ones((5, 3), np.float32)]
    ((depth, _), _) = run_all(tmp_path, [(model, X, [1, 2])], GCC)[0]
    assert np.isnan(depth[:, 0]).tolist() == [False, True, True, True, False]


def strings():
    words = fastnn.Input((2,), name="words", dtype="string")
    x = fastnn.Input((3,), name="x")
    lookup = layers.StringLookup(vocabulary=["P", "S", "Lg"], mask_token="")
    one = layers.Embedding(lookup.vocabulary_size(), 2)(lookup(words[:, 0]))
    many = layers.StringLookup(vocabulary=["P", "S"], output_mode="multi_hot")(words)
    numbers = layers.Flatten()(layers.Embedding(5, 2)(lookup(words)))
    model = fastnn.Model([words, x], layers.Dense(2)(layers.concatenate([one, many, numbers, x])), seed=1)
    X = [np.array([["P", "S"], ["", "x"], ["Lg", "Lg"], ["?", "P"]]), np.random.default_rng(0).normal(size=(4, 3))]
    return model, [X[0], X[1].astype(np.float32)]


def test_strings_are_for_numpy_and_onnx(tmp_path):
    model, X = strings()
    expected = model.predict(X)
    model.export_numpy(tmp_path / "net.py")
    np.testing.assert_allclose(runpy.run_path(str(tmp_path / "net.py"))["predict"](X), expected, rtol=1e-5, atol=1e-6)
    for method, file in ((model.export_c, "net.c"), (model.export_fortran, "net.f90")):
        with pytest.raises(ValueError, match="no form for the input 'words', which has strings"):
            method(tmp_path / file)
    assert [file.name for file in tmp_path.iterdir()] == ["net.py"]


@pytest.mark.parametrize("layer", [layers.Hashing(4), layers.IntegerLookup(vocabulary=[1, 2], invert=True)])
def test_layers_that_cannot_be_exported_are_named(tmp_path, layer):
    x = fastnn.Input((2,), dtype="int64")
    model = fastnn.Model(x, layers.Dense(1)(layers.Flatten()(layers.Embedding(5, 2)(layer(x)))))
    for method, file in (("export_c", "net.c"), ("export_numpy", "net.py"), ("export_onnx", "net.onnx")):
        with pytest.raises(
            ValueError, match=f"layer '{layer.name}' of class {type(layer).__name__}.* cannot be exported"
        ):
            getattr(model, method)(tmp_path / file)
    assert not list(tmp_path.iterdir())


def test_every_op_of_the_core_is_described():
    described = {*steps._WEIGHTS, *steps._KEPT, *network.ARITHMETIC, "activation", "concatenate"}
    assert described | set(steps._TRAINING_ONLY) == set(_core.OPS)


# ONNX


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_onnx_agrees(tmp_path, graphs, opset):
    pytest.importorskip("onnxruntime", reason="the files are checked by ONNX Runtime")
    from test_export_onnx import checked, session_of

    for model, X, Y in graphs[:: 1 if opset == 17 else 4]:
        if opset == 13 and any(isinstance(layer, layers.LayerNormalization) for layer in model.leaf_layers()):
            continue
        if opset == 13 and any(isinstance(layer, layers.BatchNormalization) for layer in model.leaf_layers()):
            continue
        model.export_onnx(tmp_path / "m.onnx", opset)
        checked(tmp_path / "m.onnx")
        session = session_of(tmp_path / "m.onnx")
        assert [each.name for each in session.get_inputs()] == model.input_names
        found = session.run(None, dict(zip(model.input_names, X, strict=True)))
        for outputs, expected in zip(found, Y, strict=True):
            assert outputs.dtype == model.dtype
            assert np.abs(outputs - expected).max() <= 1e-6 * np.abs(expected).max(), model.name
        one = session.run(None, {name: array[:1] for name, array in zip(model.input_names, X, strict=True)})
        assert [len(each) for each in one] == [1] * len(Y)


def test_onnx_of_strings_and_shapes(tmp_path):
    pytest.importorskip("onnxruntime", reason="the files are checked by ONNX Runtime")
    from test_export_onnx import checked, session_of

    model, X = strings()
    model.export_onnx(tmp_path / "m.onnx")
    checked(tmp_path / "m.onnx")
    feed = {"words": X[0].astype(object), "x": X[1]}
    np.testing.assert_allclose(
        session_of(tmp_path / "m.onnx").run(None, feed)[0], outputs_of(model, X)[0], rtol=1e-5, atol=1e-6
    )
    model = two_by_two()
    model.export_onnx(tmp_path / "m.onnx")
    (event, station) = session_of(tmp_path / "m.onnx").get_inputs()
    assert (event.type, event.shape, station.shape) == ("tensor(int32)", ["N"], ["N", 3])
    images = fastnn.Input((2, 3), name="images")
    model = fastnn.Model(images, layers.Reshape((3, 1))(layers.Dense(3)(layers.Flatten()(images))))
    model.export_onnx(tmp_path / "m.onnx")
    checked(tmp_path / "m.onnx")
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    np.testing.assert_allclose(session_of(tmp_path / "m.onnx").run(None, {"images": x})[0], model.predict(x), rtol=1e-5)


def test_onnx_stores_shared_weights_once(tmp_path):
    onnx = pytest.importorskip("onnx", reason="writing ONNX files needs the extra onnx")
    model = CASES["nested_shared"].build(fastnn, Layers(fastnn, "float32"))
    model.export_onnx(tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    kernels = [node.input[1] for node in graph.node if node.op_type == "Gemm"]
    assert kernels[0] == kernels[2] and kernels[1] == kernels[3]
    assert len(set(kernels)) == 3


# PyTorch


def test_torch_agrees_and_safetensors_fit(tmp_path, graphs):
    torch = pytest.importorskip("torch", reason="to_torch needs PyTorch")
    read = pytest.importorskip("safetensors.torch").load_file
    tried = 0
    for model, X, Y in graphs:
        if any(layer.encodes for layer in model.leaf_layers()):
            with pytest.raises(ValueError, match="PyTorch has no module for layer"):
                model.to_torch()
            continue
        tried += 1
        module = model.to_torch()
        model.export_safetensors(tmp_path / "net.safetensors")
        module.load_state_dict(read(tmp_path / "net.safetensors"))
        with torch.no_grad():
            found = module(*map(torch.from_numpy, X))
        for outputs, expected in zip(found if len(Y) > 1 else [found], Y, strict=True):
            assert np.abs(outputs.numpy() - expected).max() <= 1e-5 * np.abs(expected).max(), model.name
        tensors = [value.numpy() for name, value in module.state_dict().items() if "num_batches" not in name]
        assert sum(each.size for each in tensors) >= model.count_params()
    assert tried > 10


def test_torch_has_shared_layers_once_and_their_names():
    pytest.importorskip("torch", reason="to_torch needs PyTorch")
    module = CASES["nested_shared"].build(fastnn, Layers(fastnn, "float32")).to_torch()
    names = [name for name, _ in module.named_parameters()]
    assert len(names) == 6
    assert all(name.startswith("parts.") for name in names)
    assert sum("tower" in name for name in names) == 4
    x = fastnn.Input((2,))
    called = fastnn.Model(x, layers.Dense(1, name="values")(x)).to_torch()
    assert "parts.values_.weight" in called.state_dict()


# Keras


@pytest.mark.parametrize("name", list(CASES))
def test_keras_has_the_same_outputs_and_weights(tmp_path, name):
    keras = pytest.importorskip("keras", reason="to_keras needs Keras")
    from fastnn._structures import leaves

    model = CASES[name].build(fastnn, Layers(fastnn, "float32"))
    model.set_weights(starting_weights(model))
    twin = model.to_keras()
    expected = leaves(model.predict(CASES[name].x))
    for outputs, each in zip(leaves(twin.predict(CASES[name].x, verbose=0)), expected, strict=True):
        np.testing.assert_allclose(outputs, each, rtol=1e-5, atol=1e-6)
    assert sorted(np.asarray(each).tobytes() for each in twin.get_weights()) == sorted(
        each.tobytes() for each in model.get_weights()
    )
    twin.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    for outputs, each in zip(leaves(again.predict(CASES[name].x, verbose=0)), expected, strict=True):
        np.testing.assert_allclose(outputs, each, rtol=1e-5, atol=1e-6)
