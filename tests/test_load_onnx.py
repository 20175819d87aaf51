"""ONNX graphs as models, read without the package onnx."""

import subprocess
import sys

import numpy as np
import pytest
from foreign_files import RECORDED, message, onnx_file, onnx_node
from random_models import difference, random_model

import fastnn
from fastnn import ModelFormatError, layers

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(7, 3)).astype(np.float32)
W = DRAW.normal(size=(3, 4)).astype(np.float32)
B = DRAW.normal(size=4).astype(np.float32)


def loaded(tmp_path, nodes, constants, **options):
    """Return the model of a graph that is built here."""
    (tmp_path / "m.onnx").write_bytes(onnx_file(nodes, constants, 3, **options))
    return fastnn.load_onnx(tmp_path / "m.onnx")


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def test_gemm_has_the_bits_of_the_weights(tmp_path):
    model = loaded(tmp_path, [onnx_node("Gemm", ["x", "w", "b"], ["y"])], {"w": W, "b": B})
    assert np.array_equal(model.layers[0].kernel, W) and np.array_equal(model.layers[0].bias, B)
    nodes = [onnx_node("Gemm", ["x", "w", "b"], ["h"], transB=1), onnx_node("Relu", ["h"], ["y"])]
    model = loaded(tmp_path, nodes, {"w": np.ascontiguousarray(W.T), "b": B})
    assert np.array_equal(model.layers[0].kernel, W) and model.layers[0].activation.name == "relu"
    model.compile("adam", "mse")
    model.fit(X, X @ W, epochs=1, verbose=0)


def test_a_product_and_a_sum_are_one_dense_layer(tmp_path):
    for order in (["h", "b"], ["b", "h"]):
        nodes = [
            onnx_node("MatMul", ["x", "w"], ["h"]),
            onnx_node("Add", order, ["g"]),
            onnx_node("Tanh", ["g"], ["y"]),
        ]
        model = loaded(tmp_path, nodes, {"w": W, "b": B})
        assert kinds(model) == ["Dense"] and np.array_equal(model.layers[0].bias, B)
        np.testing.assert_allclose(model.predict(X), np.tanh(X @ W + B), rtol=1e-5, atol=1e-6)


def test_a_type_of_doubles_is_kept(tmp_path):
    constants = {"w": W.astype(np.float64), "b": B.astype(np.float64)}
    model = loaded(tmp_path, [onnx_node("Gemm", ["x", "w", "b"], ["y"])], constants, element=11)
    assert model.dtype == np.float64


def test_scalings_become_layers_that_are_not_trained(tmp_path):
    mean, scale = np.array([1.0, 2.0, 3.0], np.float32), np.array([0.5, 2.0, 4.0], np.float32)
    nodes = [onnx_node("Sub", ["x", "m"], ["c"]), onnx_node("Div", ["c", "s"], ["z"])]
    model = loaded(tmp_path, [*nodes, onnx_node("MatMul", ["z", "w"], ["y"])], {"m": mean, "s": scale, "w": W})
    assert kinds(model) == ["Normalization", "Dense"]
    np.testing.assert_allclose(model.predict(X), (X - mean) / scale @ W, rtol=1e-5, atol=1e-6)
    negative = loaded(tmp_path, [onnx_node("Mul", ["x", "s"], ["y"])], {"s": -scale})
    assert kinds(negative) == ["BatchNormalization"] and not negative.layers[0].trainable
    np.testing.assert_allclose(negative.predict(X), -X * scale, rtol=1e-6)


def test_formulas_are_known_by_their_values(tmp_path):
    half, one, root = (np.array(value, np.float32) for value in (0.5, 1.0, np.sqrt(2.0)))
    gelu = [
        onnx_node("Div", ["x", "root"], ["d"]),
        onnx_node("Erf", ["d"], ["e"]),
        onnx_node("Add", ["e", "one"], ["a"]),
        onnx_node("Mul", ["x", "a"], ["p"]),
        onnx_node("Mul", ["p", "half"], ["y"]),
    ]
    model = loaded(tmp_path, gelu, {"half": half, "one": one, "root": root})
    assert model.layers[0].activation.name == "gelu"
    silu = [onnx_node("Sigmoid", ["x"], ["s"]), onnx_node("Mul", ["s", "x"], ["y"])]
    assert loaded(tmp_path, silu, {}).layers[0].activation.name == "silu"
    clip = loaded(tmp_path, [onnx_node("Clip", ["x", "low", "high"], ["y"])], {"low": 0 * one, "high": 3 * one})
    assert clip.layers[0].activation.parameters["max_value"] == 3.0


def test_a_sum_with_what_a_block_makes_is_residual(tmp_path):
    nodes = [
        onnx_node("Gemm", ["x", "w", "b"], ["h"]),
        onnx_node("Relu", ["h"], ["r"]),
        onnx_node("MatMul", ["r", "v"], ["o"]),
        onnx_node("Add", ["o", "x"], ["y"]),
    ]
    model = loaded(tmp_path, nodes, {"w": W, "b": B, "v": np.ascontiguousarray(W.T)})
    assert kinds(model) == ["Residual"]
    np.testing.assert_allclose(model.predict(X), X + np.maximum(X @ W + B, 0) @ W.T, rtol=1e-5, atol=1e-5)


REFUSED = {
    "operator": ([onnx_node("Conv", ["x", "w"], ["y"])], r"Conv \(node 'the Conv'\) cannot become a layer"),
    "domain": ([message((1, "x"), (2, "y"), (4, "Scaler"), (7, "ai.onnx.ml"))], r"ai\.onnx\.ml\.Scaler"),
    "formula": ([onnx_node("Sqrt", ["x"], ["y"])], r"Sqrt \(node 'the Sqrt'\) is no activation or scaling"),
    "value": ([onnx_node("Relu", ["z"], ["y"])], "takes the value 'z', which nothing computes"),
    "output": ([onnx_node("Relu", ["x"], ["z"])], "the output takes the value 'y'"),
    "shape": ([onnx_node("Gemm", ["x", "b"], ["y"])], r"Gemm .* attributes or shapes"),
    "transposed": ([onnx_node("Gemm", ["x", "w"], ["y"], transA=1)], r"Gemm .* attributes or shapes"),
    "weights": ([onnx_node("MatMul", ["x", "x"], ["y"])], r"MatMul .* not constant numbers"),
    "axis": ([onnx_node("Softmax", ["x"], ["y"], axis=0)], "Softmax"),
    "concat": ([onnx_node("Concat", ["x", "x"], ["y"], axis=0)], "Concat .*joins branches"),
    "branches": (
        [
            onnx_node("MatMul", ["x", "w"], ["g"]),
            onnx_node("Gemm", ["x", "w", "b"], ["h"]),
            onnx_node("Pow", ["g", "h"], ["y"]),
        ],
        r"Pow \(node 'the Pow'\) joins values",
    ),
    "widths": (
        [onnx_node("MatMul", ["x", "w"], ["g"]), onnx_node("Add", ["x", "g"], ["y"])],
        r"Add \(node 'the Add'\) joins values that fastnn does not: .*\(None, 3\), \(None, 4\)",
    ),
    "rows": ([onnx_node("Slice", ["x"], ["y"], starts=[0], ends=[1], axes=[0])], "Slice .*changes the rows"),
    "split": (
        [onnx_node("Split", ["x"], ["y", "z"], axis=1, split=[1, 1])],
        "Split .*something other than the columns",
    ),
    "column": ([onnx_node("Gather", ["x", "n"], ["y"], axis=1)], "Gather .*changes the rows"),
    "constants": ([onnx_node("Concat", ["x", "b"], ["y"], axis=1)], "Concat .*columns and constants"),
    "mean": (
        [
            onnx_node("ReduceMean", ["x"], ["m"], axes=[1]),
            onnx_node("Sub", ["x", "m"], ["c"]),
            onnx_node("Tanh", ["c"], ["y"]),
        ],
        "Tanh .*part of a formula",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_named_with_its_node(tmp_path, case):
    nodes, said = REFUSED[case]
    with pytest.raises(ModelFormatError, match=said):
        loaded(tmp_path, nodes, {"w": W, "b": B, "n": np.array([3])})


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    tensor = message((1, 10**9), (2, 1), (8, "w"))
    outside = message((1, 3), (2, 1), (8, "w"), (14, 1))
    cases = {
        b"": "no graph",
        b"\x08": "truncated",
        b"\xff" * 12: "truncated",
        b"\x0b": "wire type 3",
        onnx_file([], {}, 3, output="x", opset=6): "opset is 6",
        onnx_file([], {}, 3, inputs=("x", "z")): "takes the value 'y', which nothing computes",
        onnx_file([], {}, 3, element=8): "neither float nor double",
        onnx_file([], {}, "F"): "fastnn takes",
        message((7, message((5, tensor))), (8, message((2, 17)))): "do not fit its sizes",
        message((7, message((5, outside))), (8, message((2, 17)))): "lies in another file",
        message((8, message((2, 17))), (7, b"\x0a\x00" * 10_001)): "more than 10000 nodes",
        message((8, message((2, 17))), (7, b"\x52\x00" * 200_001)): "more than 200000 fields",
        (RECORDED / "chain.keras").read_bytes(): "it looks like a Keras",
    }
    for data, said in cases.items():
        path.write_bytes(data)
        with pytest.raises(ModelFormatError, match=said):
            fastnn.load_onnx(path)


def test_many_long_formulas_are_refused_soon(tmp_path):
    chain = [onnx_node("Sqrt", ["x" if i == 0 else f"v{i}"], [f"v{i + 1}"]) for i in range(60)]
    with pytest.raises(ModelFormatError, match="more than 32 operators"):
        loaded(tmp_path, [*chain, onnx_node("Relu", ["v60"], ["y"])], {})
    constants = {f"c{i}": np.array(1.0 + i / 7, np.float32) for i in range(5)}
    nodes, last = [], "x"
    for layer in range(300):
        nodes.append(onnx_node("Relu", [last], [f"r{layer}"]))
        for i in range(5):
            inner = f"r{layer}" if i == 0 else f"m{layer}_{i}"
            nodes.append(onnx_node("Pow", [inner, f"c{i}"], [f"m{layer}_{i + 1}"]))
        last = f"s{layer}"
        nodes.append(onnx_node("MatMul", [f"m{layer}_5", "w"], [last]))
    with pytest.raises(ModelFormatError, match="no activation or scaling"):
        loaded(tmp_path, [*nodes, onnx_node("Relu", [last], ["y"])], {**constants, "w": np.eye(3, dtype=np.float32)})


def test_files_of_pytorch():
    recorded = np.load(RECORDED / "torch.npz")
    for name in ("chain", "formulas"):
        model = fastnn.load_onnx(RECORDED / f"{name}.onnx")
        np.testing.assert_allclose(model.predict(recorded["x"]), recorded[name], rtol=1e-5, atol=1e-6)
    assert kinds(model) == ["Dense", "Dense", "Activation"]
    assert [layer.activation.name for layer in model.layers] == ["gelu", "silu", "softmax"]


def test_reading_imports_no_onnx():
    script = "import sys, fastnn; fastnn.load_onnx(sys.argv[1]); assert 'onnx' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, RECORDED / "chain.onnx"], check=True)


@pytest.mark.parametrize("opset", [17, 20, 22])
def test_own_files_come_back(tmp_path, opset):
    pytest.importorskip("onnx", reason="writing ONNX files needs the extra onnx")
    for seed in range(opset, opset + 30):
        model, X = random_model(seed)
        model.export_onnx(tmp_path / "m.onnx", opset)
        again = fastnn.load_onnx(tmp_path / "m.onnx")
        assert again.dtype == model.dtype
        assert difference(again.predict(X), model.predict(X)) < 2e-6, (seed, kinds(model), kinds(again))
        products, others = ([w for w in each.get_weights() if w.ndim == 2] for each in (model, again))
        assert all(np.array_equal(a, b) for a, b in zip(products, others, strict=True))


def test_regressors_come_back_with_their_scales(tmp_path):
    pytest.importorskip("onnx", reason="writing ONNX files needs the extra onnx")
    pytest.importorskip("sklearn")
    X = DRAW.normal(1000.0, 2.0, size=(60, 3))
    model = fastnn.MLPRegressor(standardize=True, max_iter=5, tol=1e9).fit(X, 1e4 * X[:, 0])
    model.export_onnx(tmp_path / "m.onnx")
    again = fastnn.load_onnx(tmp_path / "m.onnx")
    assert difference(again.predict(X)[:, 0], model.predict(X)) < 1e-10
    assert isinstance(again.layers[0], layers.Normalization)
