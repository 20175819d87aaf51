"""Graphs of ONNX with branches, several inputs and several outputs, as models that train on."""

import numpy as np
import pytest
from foreign_files import RECORDED, onnx_file, onnx_node

import fastnn
from fastnn import ModelFormatError

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(7, 3)).astype(np.float32)
Z = DRAW.normal(size=(7, 4)).astype(np.float32)
W = DRAW.normal(size=(3, 4)).astype(np.float32)
V = DRAW.normal(size=(4, 4)).astype(np.float32)
B = DRAW.normal(size=4).astype(np.float32)
CONSTANTS = {"w": W, "v": V, "b": B, "one": np.array([1]), "two": np.array([2]), "half": np.array(0.5, np.float32)}


def loaded(folder, nodes, inputs=("x", "z"), output="y", constants=CONSTANTS, **options):
    """Return the model of a graph that is built here; x has 3 columns and z has 4."""
    kinds = {"x": ([3], 1), "z": ([4], 1), "n": ([2], 7), "k": ([], 7)}
    given = {name: kinds[name] for name in inputs}
    (folder / "m.onnx").write_bytes(onnx_file(nodes, constants, 3, output, inputs=given, **options))
    return fastnn.load_onnx(folder / "m.onnx")


def kinds(model):
    return [type(layer).__name__ for layer in model.all_layers if type(layer).__name__ != "InputLayer"]


def test_a_recorded_graph_gives_the_outputs_of_pytorch_and_trains_on():
    arrays = np.load(RECORDED / "torch_graph.npz")
    model = fastnn.load_onnx(RECORDED / "graph.onnx")
    assert model.input_names == ["x", "kinds"] and model.output_names == ["head", "angle"]
    given = [arrays["x"], arrays["kinds"]]
    for found, name in zip(model.predict(given), model.output_names, strict=True):
        np.testing.assert_allclose(found, arrays[name], rtol=1e-5, atol=1e-6)
    # The tower is one layer, as the vectors are: 4 * 3, 4 * 5 + 5, 5 * 5 + 5 and 13 * 2 + 2 weights that train.
    assert sum(weight.numpy().size for weight in model.trainable_weights) == 12 + 25 + 30 + 28
    model.compile("sgd", {"head": "mse", "angle": "mse"})
    model.fit(given, [arrays["head"], arrays["angle"]], epochs=1, verbose=0)


MERGED = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mean": lambda a, b: (a + b) / 2,
    "Sum": lambda a, b: a + b,
}


@pytest.mark.parametrize("operator", MERGED)
def test_operators_of_two_branches(tmp_path, operator):
    nodes = [
        onnx_node("MatMul", ["x", "w"], ["a"]),
        onnx_node("Softplus", ["z"], ["s"]),
        onnx_node(operator, ["a", "s"], ["y"]),
    ]
    model = loaded(tmp_path, nodes)
    expected = MERGED[operator](X @ W, np.log1p(np.exp(Z)))
    np.testing.assert_allclose(model.predict([X, Z]), expected, rtol=1e-5, atol=1e-5)
    assert model.predict({"x": X, "z": Z}).shape == (7, 4) and model.output_names == ["y"]


def test_formulas_of_one_value_that_are_no_activation(tmp_path):
    nodes = [
        onnx_node("Tanh", ["x"], ["t"]),
        onnx_node("Mul", ["x", "t"], ["p"]),
        onnx_node("Mul", ["p", "p"], ["q"]),
        onnx_node("Add", ["q", "half"], ["r"]),
        onnx_node("Div", ["half", "r"], ["y"]),
    ]
    model = loaded(tmp_path, nodes, inputs=["x"])
    np.testing.assert_allclose(model.predict(X), 0.5 / ((X * np.tanh(X)) ** 2 + 0.5), rtol=1e-5)


def test_columns_are_taken_joined_and_split(tmp_path):
    nodes = [
        onnx_node("Slice", ["z", "one", "four", "one", "two"], ["a"]),
        onnx_node("Gather", ["z", "some"], ["b"], axis=1),
        onnx_node("Gather", ["z", "last"], ["c"], axis=-1),
        onnx_node("Unsqueeze", ["c", "one"], ["d"]),
        onnx_node("Split", ["x", "sizes"], ["e", "f"], axis=1),
        onnx_node("Concat", ["f", "a", "b", "d", "e"], ["y"], axis=-1),
    ]
    more = {"four": np.array([4]), "some": np.array([3, 0, 1]), "last": np.array(-1), "sizes": np.array([1, 2])}
    model = loaded(tmp_path, nodes, constants={**CONSTANTS, **more})
    expected = np.concatenate([X[:, 1:], Z[:, 1:4:2], Z[:, [3, 0, 1]], Z[:, -1:], X[:, :1]], 1)
    assert np.array_equal(model.predict([X, Z]), expected)


def test_rows_of_constants_are_embeddings(tmp_path):
    nodes = [
        onnx_node("Gather", ["v", "n"], ["e"]),
        onnx_node("Shape", ["e"], ["s"]),
        onnx_node("Gather", ["s", "zero"], ["rows"], axis=0),
        onnx_node("Concat", ["rows", "minus"], ["sizes"], axis=0),
        onnx_node("Reshape", ["e", "sizes"], ["f"]),
        onnx_node("Gather", ["w", "k"], ["g"]),
        onnx_node("Concat", ["f", "g"], ["y"], axis=1),
    ]
    more = {"zero": np.array([0]), "minus": np.array([-1])}
    model = loaded(tmp_path, nodes, inputs=["n", "k"], constants={**CONSTANTS, **more})
    numbers, single = DRAW.integers(0, 4, (7, 2)), DRAW.integers(0, 3, 7)
    expected = np.concatenate([V[numbers].reshape(7, 8), W[single]], 1)
    assert np.array_equal(model.predict([numbers, single]), expected)
    with pytest.raises(ValueError, match="has 4 in row 0"):
        model.predict([numbers + 4, single])


def test_whole_numbers_in_a_column_of_floats(tmp_path):
    nodes = [
        onnx_node("Gather", ["x", "place"], ["c"], axis=1),
        onnx_node("Cast", ["c"], ["n"], to=7),
        onnx_node("Gather", ["v", "n"], ["e"], axis=0),
        onnx_node("Concat", ["e", "x"], ["y"], axis=1),
    ]
    model = loaded(tmp_path, nodes, inputs=["x"], constants={**CONSTANTS, "place": np.array(1)})
    given = X.copy()
    given[:, 1] = [0, 1, 2, 3, 0, 1, 2]
    assert np.array_equal(model.predict(given), np.concatenate([V[given[:, 1].astype(int)], given], 1))
    nodes[2] = onnx_node("Tanh", ["n"], ["e"])
    with pytest.raises(ModelFormatError, match=r"Tanh .*part of a formula"):
        loaded(tmp_path, nodes, inputs=["x"], constants={**CONSTANTS, "place": np.array(1)})


def test_products_with_the_same_constants_are_one_layer(tmp_path):
    nodes = [
        onnx_node("Gemm", ["z", "v", "b"], ["h"]),
        onnx_node("Relu", ["h"], ["r"]),
        onnx_node("Gemm", ["r", "v", "b"], ["y"]),
    ]
    model = loaded(tmp_path, nodes, inputs=["z"])
    assert isinstance(model, fastnn.Model) and model.count_params() == 20
    np.testing.assert_allclose(model.predict(Z), np.maximum(Z @ V + B, 0) @ V + B, rtol=1e-5, atol=1e-5)
    model.compile("sgd", "mse")
    model.fit(Z, Z, epochs=1, verbose=0)


def test_scalar_products_sums_and_means_of_rows(tmp_path):
    nodes = [
        onnx_node("MatMul", ["x", "w"], ["a"]),
        onnx_node("Mul", ["a", "z"], ["p"]),
        onnx_node("ReduceSum", ["p", "one"], ["dot"], keepdims=1),
        onnx_node("ReduceSum", ["z", "one"], ["sum"], keepdims=1),
        onnx_node("ReduceMean", ["z"], ["mean"], axes=[-1], keepdims=1),
    ]
    model = loaded(tmp_path, nodes, output=["dot", "sum", "mean"])
    dot, total, mean = model.predict([X, Z])
    np.testing.assert_allclose(dot[:, 0], ((X @ W) * Z).sum(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(total[:, 0], Z.sum(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean[:, 0], Z.mean(1), rtol=1e-4, atol=1e-5)
    assert "Dot" in kinds(model) and model.trainable_weights[0].shape == (3, 4) and len(model.trainable_weights) == 1


def test_a_product_whose_values_are_used_twice_keeps_its_kernel_once(tmp_path):
    nodes = [
        onnx_node("MatMul", ["x", "w"], ["h"]),
        onnx_node("Add", ["h", "b"], ["g"]),
        onnx_node("Concat", ["h", "g"], ["y"], axis=1),
    ]
    model = loaded(tmp_path, nodes, inputs=["x"])
    np.testing.assert_allclose(model.predict(X), np.concatenate([X @ W, X @ W + B], 1), rtol=1e-5, atol=1e-6)
    assert model.count_params() == 12


def test_inputs_and_values_are_outputs(tmp_path):
    nodes = [onnx_node("MatMul", ["x", "w"], ["h"]), onnx_node("Relu", ["h"], ["r"])]
    model = loaded(tmp_path, nodes, inputs=["x"], output=["h", "r", "x"])
    found = model.predict(X)
    for values, expected in zip(found, (X @ W, np.maximum(X @ W, 0), X), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_names_of_the_file_are_free_of_those_of_layers(tmp_path):
    name = fastnn.layers.automatic_name("Dense")
    number = int(name.rpartition("_")[2]) if "_" in name else 0
    taken = [f"dense_{number + step}" for step in range(1, 4)]
    nodes = [onnx_node("MatMul", [taken[0], "w"], ["h"]), onnx_node("MatMul", [taken[1], "w"], ["g"])]
    given = {each: ([3], 1) for each in taken[:2]}
    (tmp_path / "m.onnx").write_bytes(onnx_file(nodes, CONSTANTS, 3, ["h", "g"], inputs=given))
    model = fastnn.load_onnx(tmp_path / "m.onnx")
    assert model.input_names == taken[:2] and len({layer.name for layer in model.all_layers}) == 3


def test_hostile_graphs_are_refused(tmp_path):
    doubled = [onnx_node("Concat", [f"c{n}", f"c{n}"], [f"c{n + 1}"], axis=1) for n in range(60)]
    first = onnx_node("MatMul", ["x", "w"], ["c0"])
    squares = [onnx_node("Mul", [f"c{n}", f"c{n}"], [f"c{n + 1}"]) for n in range(60)]
    sums = [onnx_node("Add", [f"c{n}", "z"], [f"c{n + 1}"]) for n in range(400)]
    cases = {
        "columns": ([first, *doubled], "c60", "more memory than a file"),
        "powers": ([first, *squares], "c60", "more than 32 operators"),
        "many": ([first, *sums], "c400", "255"),
        "itself": ([first, onnx_node("Add", ["c0", "y"], ["y"])], "y", "takes the value 'y', which nothing computes"),
    }
    for nodes, output, said in cases.values():
        with pytest.raises(ModelFormatError, match=said):
            loaded(tmp_path, nodes, inputs=["x", "z"], output=output)
