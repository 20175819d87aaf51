"""Mutated files of other tools: ModelFormatError or a model that works, whatever they say."""

import random
import warnings

import numpy as np
import pytest
from foreign_files import (
    RECORDED,
    changed_bytes,
    changed_description,
    onnx_file,
    onnx_node,
    safetensors_file,
    torch_file,
)

import fastnn
from fastnn._structures import leaves

COUNT = 250


def samples():
    """Return (bytes, reader) of a file of each format by its name."""
    draw = np.random.default_rng(0)
    kernel = draw.normal(size=(4, 3)).astype(np.float32)
    state = {"0.weight": kernel, "0.bias": np.ones(4, np.float32), "2.weight": kernel[:, :1].T.copy()}
    nodes = [
        onnx_node("Gemm", ["x", "w", "b"], ["h"], transB=1, alpha=1.0),
        onnx_node("Sigmoid", ["h"], ["s"]),
        onnx_node("Mul", ["h", "s"], ["a"]),
        onnx_node("LayerNormalization", ["a", "g"], ["n"], axis=-1, epsilon=1e-3),
        onnx_node("Reshape", ["n", "shape"], ["f"]),
        onnx_node("Add", ["f", "a"], ["y"]),
    ]
    constants = {"w": kernel, "b": np.ones(4, np.float32), "g": np.ones(4, np.float32), "shape": np.array([-1, 4])}
    graph = [
        onnx_node("Gather", ["v", "n"], ["e"], axis=0),
        onnx_node("Gemm", ["x", "w", "b"], ["h"], transB=1),
        onnx_node("Split", ["h"], ["p", "q"], axis=1, split=[2, 2]),
        onnx_node("Mul", ["p", "e"], ["m"]),
        onnx_node("Slice", ["x", "one", "three", "one"], ["s"]),
        onnx_node("Concat", ["m", "q", "s"], ["y"], axis=-1),
        onnx_node("Max", ["p", "q"], ["z"]),
    ]
    more = {"v": kernel[:, :2].copy(), "one": np.array([1]), "three": np.array([3]), **constants}
    ends = {"x": ([3], 1), "n": ([], 7)}
    found = {
        "dict.pt": (torch_file(state), fastnn.load_torch),
        "chain.pt": ((RECORDED / "chain.pt").read_bytes(), fastnn.load_torch),
        "checkpoint.pt": ((RECORDED / "checkpoint.pt").read_bytes(), fastnn.load_torch),
        "m.safetensors": (safetensors_file(state, format="pt"), fastnn.load_torch),
        "built.onnx": (onnx_file(nodes, constants, 3), fastnn.load_onnx),
        "graph_built.onnx": (onnx_file(graph, more, 3, ["y", "z"], inputs=ends), fastnn.load_onnx),
        "graph.onnx": ((RECORDED / "graph.onnx").read_bytes(), fastnn.load_onnx),
        "chain.onnx": ((RECORDED / "chain.onnx").read_bytes(), fastnn.load_onnx),
        "formulas.onnx": ((RECORDED / "formulas.onnx").read_bytes(), fastnn.load_onnx),
    }
    for name in ("chain.keras", "residual.keras", "residual.h5", "graph.keras", "graph.h5"):
        found[name] = ((RECORDED / name).read_bytes(), fastnn.load_keras)
    return found


def outcome(path, reader, activations=(["relu", "prelu"], "relu", ["relu"] * 3)):
    """Read a file; return whether it was refused. Anything but ModelFormatError and wrong activations is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in activations if reader is fastnn.load_torch else [None]:
            try:
                model = reader(path) if each is None else reader(path, each)
            except fastnn.ModelFormatError:
                return True
            except ValueError as error:
                # The file has another number of layers, or weights alone.
                if "activations" not in str(error) and "holds weights alone" not in str(error):
                    raise
                continue
            check_prediction(model)
            return False
    return True


def check_prediction(model):
    """Assert that a model predicts rows of zeros in the shapes that it says."""
    if isinstance(model, fastnn.Sequential):
        outputs = model.predict(np.zeros((2, *model.all_layers[0].declared_input)))
        assert outputs.shape == (2, model.output_shape[1])
        return
    given = {each.name: np.zeros((2, *each.row), str if each.dtype == "string" else float) for each in model.inputs}
    try:
        found = leaves(model.predict(given))
    except ValueError as error:
        # Dropped by a mutation: the number 0 or the empty string may be unknown.
        assert "takes" in str(error) or "vocabulary" in str(error) or "known" in str(error), error
        return
    shapes = [each.shape[1:] for each in leaves(model.output)]
    assert [each.shape[1:] for each in found] == shapes and all(len(each) == 2 for each in found)


@pytest.mark.parametrize("name", samples())
def test_mutated_files_are_refused_or_read(tmp_path, name):
    data, reader = samples()[name]
    path, draw = tmp_path / name, random.Random(name)
    path.write_bytes(data)
    assert not outcome(path, reader)
    refused = 0
    for _ in range(COUNT):
        described = name.endswith(".keras") and draw.random() < 0.7
        path.write_bytes(changed_description(data, draw) if described else changed_bytes(data, draw))
        refused += outcome(path, reader)
    assert COUNT // 10 < refused
