"""Graphs of Keras as models: what a file of Keras records comes back as the same function."""

import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from foreign_files import RECORDED

import fastnn
from fastnn import ModelFormatError, layers

INTEROP = Path(__file__).parents[2] / "shared" / "interop" / "keras"
ARRAYS = dict(np.load(RECORDED / "keras_graph.npz"))
X = {name: ARRAYS[name] for name in ("first", "second", "kind")}


@pytest.mark.parametrize("name", ["graph.keras", "graph.h5"])
def test_a_recorded_graph_gives_the_outputs_of_keras_and_trains_on(name):
    model = fastnn.load_keras(RECORDED / name)
    assert isinstance(model, fastnn.Model) and set(model.input_names) == set(X)
    found = model.predict(X)
    for key in ("size", "angle"):
        scale = np.abs(ARRAYS[key]).max()
        np.testing.assert_allclose(found[key], ARRAYS[key], rtol=1e-5, atol=1e-6 * scale)
    inner = model.get_layer("inner")
    assert not inner.layers[1].trainable and inner.layers[2].trainable
    frozen, gate = inner.layers[1].get_weights(), model.get_layer("gate").get_weights()
    model.compile("sgd", {"size": "mse", "angle": "mse"})
    model.fit(X, {"size": np.zeros((9, 2)), "angle": np.zeros((9, 1))}, epochs=1, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(inner.layers[1].get_weights(), frozen, strict=True))
    assert not np.array_equal(model.get_layer("gate").get_weights()[0], gate[0])


@pytest.mark.parametrize("name", ["graph.weights.h5", "graph.h5"])
def test_weights_of_a_graph_go_into_a_model(name):
    model = fastnn.load_keras(RECORDED / "graph.keras")
    other, third = fastnn.models.clone_model(model), fastnn.models.clone_model(model)
    other.load_weights(RECORDED / name)
    assert fastnn.load_keras(RECORDED / name, model=third) is third
    for each in (other, third):
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), each.get_weights(), strict=True))
    small = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(4)])
    before = small.get_weights()
    with pytest.raises(ValueError, match="of layers that the model does not have"):
        small.load_weights(RECORDED / name)
    assert all(np.array_equal(a, b) for a, b in zip(small.get_weights(), before, strict=True))


def test_weights_of_layers_within_a_layer_of_the_user_are_found_by_attribute(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the test writes a file with h5py")

    class Tower(fastnn.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.first, self.second = layers.Dense(3), layers.Dense(2)

        def call(self, x):
            return self.second(self.first(x))

    x = fastnn.Input((4,))
    model = fastnn.Model(x, Tower()(x))
    values = [np.random.default_rng(0).normal(size=weight.shape).astype(np.float32) for weight in model.weights]
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        for place, (name, number) in enumerate((part, n) for part in ("first", "second") for n in "01"):
            file[f"layers/tower/{name}/vars/{number}"] = values[place]
    model.load_weights(tmp_path / "w.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), values, strict=True))


def described(kind, name, *sources, **options):
    """Return the description of a layer that is called once on the outputs of layers."""
    tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [each, 0, 0]}} for each in sources]
    arguments = tensors if len(tensors) == 1 else [tensors]
    nodes = [{"args": arguments, "kwargs": {}}] if sources else []
    config = {"name": name, "trainable": True, **options}
    return {"class_name": kind, "config": config, "inbound_nodes": nodes}


def functional(listed, inputs, outputs, name="m"):
    ends = {"input_layers": [[each, 0, 0] for each in inputs], "output_layers": [[each, 0, 0] for each in outputs]}
    return {"class_name": "Functional", "config": {"name": name, "layers": listed, **ends}}


def written(path, config, weights=None):
    """Write an archive of a description and arrays by path."""
    h5py = pytest.importorskip("h5py", reason="the test writes files with h5py")
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for name, array in (weights or {"layers/none/vars": None}).items():
            if array is None:
                file.create_group(name)
            else:
                file[name] = array
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.write(path.with_suffix(".h5"), "model.weights.h5")
    return path


def source(name, columns=3, **options):
    return described("InputLayer", name, batch_shape=[None, columns], **options)


def test_merging_layers_and_categories(tmp_path):
    words = described("InputLayer", "words", batch_shape=[None, 1], dtype="string")
    lookup = described("StringLookup", "look", "words", vocabulary=["a", "b"], output_mode="one_hot")
    listed = [source("x"), source("y"), words, lookup]
    kinds = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
    listed += [described(kind, kind.lower(), "x", "y") for kind in kinds]
    names = [kind.lower() for kind in kinds]
    model = fastnn.load_keras(written(tmp_path / "m.keras", functional(listed, ["x", "y", "words"], [*names, "look"])))
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(2, 5, 3)).astype(np.float32)
    *found, hot = model.predict([x, y, np.array([["b"], ["a"], ["?"], ["b"], ["a"]])])
    for values, expected in zip(
        found, (x + y, x - y, x * y, (x + y) / 2, np.maximum(x, y), np.minimum(x, y)), strict=True
    ):
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)
    assert np.array_equal(hot.argmax(1), [2, 1, 0, 2, 1])


def test_a_vocabulary_lies_among_the_assets(tmp_path):
    words = described("InputLayer", "words", batch_shape=[None, 1], dtype="string")
    lookup = described("StringLookup", "look", "words", vocabulary=None, output_mode="one_hot")
    path = written(tmp_path / "m.keras", functional([source("x"), words, lookup], ["x", "words"], ["x", "look"]))
    with pytest.raises(ModelFormatError, match=r"'look' \(StringLookup\) was not adapted"):
        fastnn.load_keras(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/layers/string_lookup/vocabulary.txt", "[UNK]\nred\nblue")
    model = fastnn.load_keras(path)
    _, hot = model.predict([np.zeros((2, 3)), np.array([["blue"], ["red"]])])
    assert np.array_equal(hot.argmax(1), [2, 1])


def test_files_of_keras_2_with_several_inputs_and_a_model_in_a_model(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the test writes a file with h5py")

    def old(kind, name, *nodes, **options):
        return {"class_name": kind, "name": name, "config": {"name": name, **options}, "inbound_nodes": list(nodes)}

    inner = {
        "name": "inner",
        "layers": [
            old("InputLayer", "i", batch_input_shape=[None, 3]),
            old("BatchNormalization", "n", [["i", 0, 0, {}]], epsilon=0.5),
            old("Dense", "d", [["n", 0, 0, {}]], units=2, use_bias=False),
        ],
        "input_layers": [["i", 0, 0]],
        "output_layers": [["d", 0, 0]],
    }
    model = {"class_name": "Model", "name": "inner", "config": inner}
    listed = [
        old("InputLayer", "x", batch_input_shape=[None, 3]),
        old("InputLayer", "y", batch_input_shape=[None, 3]),
        {**model, "inbound_nodes": [[["x", 0, 0, {}]], [["y", 0, 0, {}]]]},
        old("Concatenate", "c", [["inner", 1, 0, {}], ["inner", 2, 0, {}]], axis=1),
    ]
    config = functional(listed, ["x", "y"], ["c"])
    draw = np.random.default_rng(2)
    gamma, beta, mean, variance = np.abs(draw.normal(size=(4, 3))).astype(np.float32)
    kernel = draw.normal(size=(3, 2)).astype(np.float32)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.4.0"
        group = file.create_group("model_weights/inner")
        names = {"n/gamma:0": gamma, "n/beta:0": beta, "d/kernel:0": kernel}
        names |= {"n/moving_mean:0": mean, "n/moving_variance:0": variance}
        for name, array in names.items():
            group[name] = array
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name in ("x", "y", "c"):
            file.create_group(f"model_weights/{name}").attrs["weight_names"] = np.array([])
        file["model_weights"].attrs["layer_names"] = [name.encode() for name in ("x", "y", "inner", "c")]
    x, y = draw.normal(size=(2, 5, 3)).astype(np.float32)
    found = fastnn.load_keras(tmp_path / "m.h5").predict([x, y])
    expected = [((each - mean) / np.sqrt(variance + 0.5) * gamma + beta) @ kernel for each in (x, y)]
    np.testing.assert_allclose(found, np.concatenate(expected, 1), rtol=1e-5, atol=1e-6)


def bomb(depth):
    """Return a model that calls a model twice, which calls a model twice, and so on."""
    config = functional([source("x"), described("Dense", "d", "x", units=3)], ["x"], ["d"], "m0")
    for number in range(depth):
        tensors = [
            {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": place}}], "kwargs": {}}
            for place in (["x", 0, 0], [f"m{number}", 1, 0])
        ]
        config = functional([source("x"), {**config, "inbound_nodes": tensors}], ["x"], [], f"m{number + 1}")
        config["config"]["output_layers"] = [f"m{number}", 2, 0]
    return config


def doubled(depth):
    """Return a model whose columns are doubled again and again."""
    names = ["x", *(f"c{number}" for number in range(depth))]
    listed = [described("Concatenate", b, a, a) for a, b in itertools.pairwise(names)]
    return functional([source("x"), *listed], ["x"], [names[-1]])


HOSTILE = {
    "cycle": (
        functional([source("x"), described("Add", "a", "x", "b"), described("ReLU", "b", "a")], ["x"], ["b"]),
        "wait for each other in a cycle",
    ),
    "itself": (functional([source("x"), described("Add", "a", "x", "a")], ["x"], ["a"]), "in a cycle"),
    "missing": (functional([source("x"), described("Add", "a", "x", "z")], ["x"], ["a"]), "nothing gives"),
    "output": (functional([source("x"), source("y")], ["x"], ["z"]), "of 'z' is not computed"),
    "name": (functional([source("x"), source("x", 4)], ["x"], ["x"]), "two layers are called 'x'"),
    "bomb": (bomb(15), "called more than 2000 times"),
    "deep": (bomb(25), "models in models"),
    "columns": (doubled(40), "more columns than a file may ask for"),
    "shape": (functional([source("x", 10**12), source("y")], ["x", "y"], ["x", "y"]), "more memory than a file"),
    "many": (
        functional([source(f"x{number}") for number in range(1001)], ["x0"], ["x0", "x1"]),
        "more than 1000 layers",
    ),
    "class": (
        functional([source("x"), source("y"), described("LSTM", "memory", "x")], ["x", "y"], ["memory"]),
        "'memory' is of the class LSTM, which fastnn lacks",
    ),
    "arguments": (
        functional(
            [source("x"), described("Add", "a", "x", "x"), described("Dense", "d", "a", "x", units=1)], ["x"], ["d"]
        ),
        "layer 'd' takes one tensor",
    ),
    "disconnected": (functional([source("x"), source("y")], ["x"], ["y"]), "not among the inputs"),
    "weights": (
        functional(
            [source("x"), source("y"), described("Add", "a", "x", "y"), described("Dense", "d", "a", units=2)],
            ["x", "y"],
            ["d"],
        ),
        r"layer 'd' have shapes \[\] in the file",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_and_unknown_graphs_are_refused(tmp_path, case):
    config, said = HOSTILE[case]
    with pytest.raises(ModelFormatError, match=said):
        fastnn.load_keras(written(tmp_path / "m.keras", config))


@pytest.mark.skipif(not INTEROP.is_dir(), reason="the folder of models from elsewhere is not there")
@pytest.mark.parametrize("name", ["two_inputs.keras", "two_inputs.h5"])
def test_a_graph_from_elsewhere(name):
    arrays = np.load(INTEROP / "two_inputs.npz")
    model = fastnn.load_keras(INTEROP / name)
    for found, expected in zip(model.predict([arrays["x0"], arrays["x1"]]), (arrays["y0"], arrays["y1"]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    other = fastnn.models.clone_model(model)
    other.load_weights(INTEROP / "two_inputs.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))
