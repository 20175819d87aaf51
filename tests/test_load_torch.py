"""State dicts of PyTorch as models, read without PyTorch and without running code."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from foreign_files import (
    RECORDED,
    evil_pickle,
    pickled_dict,
    pickled_tensor,
    safetensors_file,
    torch_file,
    torch_zip,
)

import fastnn
from fastnn import ModelFormatError, layers

DRAW = np.random.default_rng(0)
INTEROP = Path(__file__).parents[2] / "shared" / "interop"


def linear(n_in, n_out, dtype=np.float32, bias=True):
    values = {"weight": DRAW.normal(size=(n_out, n_in)).astype(dtype)}
    return {**values, "bias": DRAW.normal(size=n_out).astype(dtype)} if bias else values


def named(**modules):
    return {f"{module}.{leaf}": value for module, tensors in modules.items() for leaf, value in tensors.items()}


def two_layers(dtype=np.float32):
    return named(fc1=linear(3, 4, dtype), fc2=linear(4, 2, dtype))


def relu_net(state, x):
    hidden = np.maximum(x @ state["fc1.weight"].T + state["fc1.bias"], 0.0)
    return hidden @ state["fc2.weight"].T + state["fc2.bias"]


@pytest.mark.parametrize("kind", ["dict", "zip", "big-endian zip", "safetensors"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_have_the_bits_of_the_tensors(tmp_path, kind, dtype):
    state = two_layers(dtype)
    path = tmp_path / "net.pt"
    if kind == "safetensors":
        path.write_bytes(safetensors_file(state, format="pt"))
    else:
        path.write_bytes(torch_file(state, "big" if "big" in kind else "little"))
    model = fastnn.load_torch(state if kind == "dict" else path, activations="relu")
    assert model.dtype == dtype
    for weight, name in zip(model.get_weights(), state, strict=True):
        assert np.array_equal(weight, state[name].T if weight.ndim == 2 else state[name])
    x = DRAW.normal(size=(5, 3)).astype(dtype)
    np.testing.assert_allclose(model.predict(x), relu_net(state, x), rtol=1e-5)
    model.compile("adam", "mse")
    model.fit(x, relu_net(state, x), epochs=2, verbose=0)


def test_half_precisions_become_float32(tmp_path):
    state = two_layers()
    half = {name: value.astype(np.float16) for name, value in state.items()}
    (tmp_path / "half.pt").write_bytes(torch_file(half))
    model = fastnn.load_torch(tmp_path / "half.pt", "relu")
    assert model.dtype == np.float32 and np.array_equal(model.layers[1].bias, half["fc2.bias"].astype(np.float32))
    codes = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in state.items()}
    file = safetensors_file({name: ("BF16", code) for name, code in codes.items()})
    (tmp_path / "bf16.safetensors").write_bytes(file)
    model = fastnn.load_torch(tmp_path / "bf16.safetensors", "relu", dtype="float64")
    expected = (codes["fc2.bias"].astype(np.uint32) << 16).view(np.float32)
    assert model.dtype == np.float64 and np.array_equal(model.layers[1].bias, expected)


def test_activations_are_asked_for_by_name():
    state = two_layers()
    with pytest.raises(ValueError, match=r"pass activations, one name for the 1 hidden layers.*fc1, fc2"):
        fastnn.load_torch(state)
    for activations in (["relu", "relu", "relu"], []):
        with pytest.raises(ValueError, match="activations must be one for all hidden layers, or a list of 1 or 2"):
            fastnn.load_torch(state, activations)
    with pytest.raises(ValueError, match="unknown activation 'rellu'"):
        fastnn.load_torch(state, "rellu")
    with pytest.raises(ValueError, match="activations has 'prelu' for 'fc1'"):
        fastnn.load_torch(state, "prelu")
    names = [layer.activation.name for layer in fastnn.load_torch(state, ["tanh", "softmax"]).layers]
    assert names == ["tanh", "softmax"]
    assert fastnn.load_torch(state, [None]).layers[0].activation.name == "linear"
    assert fastnn.load_torch(named(fc=linear(3, 1))).output_shape == (None, 1)
    assert fastnn.load_torch(linear(3, 1)).output_shape == (None, 1)


def test_normalizations_stand_before_the_activation():
    features = {"weight": np.full(4, 2.0, np.float32), "bias": np.ones(4, np.float32)}
    moving = {"running_mean": np.full(4, 0.5, np.float32), "running_var": np.full(4, 0.25, np.float32)}
    state = named(a=linear(3, 4), b={**features, **moving, "num_batches_tracked": np.array(7)}, c=linear(4, 2))
    model = fastnn.load_torch(state, "tanh", epsilon=1e-3)
    assert [type(layer) for layer in model.layers] == [
        *(layers.Dense, layers.BatchNormalization, layers.Activation, layers.Dense)
    ]
    x = DRAW.normal(size=(5, 3)).astype(np.float32)
    hidden = x @ state["a.weight"].T + state["a.bias"]
    hidden = np.tanh((hidden - 0.5) / np.sqrt(0.25 + 1e-3) * 2.0 + 1.0)
    expected = hidden @ state["c.weight"].T + state["c.bias"]
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)
    plain = fastnn.load_torch(named(a=moving, c=linear(4, 2)))
    assert not plain.layers[0].scale and not plain.layers[0].center


def test_slopes_of_prelu():
    one = named(a=linear(3, 4), slope={"weight": np.array([0.1], np.float32)}, c=linear(4, 2))
    assert np.array_equal(fastnn.load_torch(one, "relu").layers[1].alpha, np.full(4, 0.1, np.float32))
    four = {**one, "slope.weight": np.arange(4, dtype=np.float32)}
    assert np.array_equal(fastnn.load_torch(four, "prelu").layers[1].alpha, np.arange(4))
    with pytest.raises(ModelFormatError, match=r"'slope\.weight'.*put 'prelu' into activations"):
        fastnn.load_torch(four, "relu")


def test_tensors_of_no_layer_are_listed_in_a_warning():
    state = {**two_layers(), "features_mean": np.zeros(3), "scaler.std": np.ones(3)}
    with pytest.warns(UserWarning, match="ignored: features_mean, scaler.std") as caught:
        model = fastnn.load_torch(state, "relu")
    assert caught[0].filename == __file__ and len(model.get_weights()) == 4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (named(conv={"weight": np.zeros((4, 3, 2, 2), np.float32)}), r"lacks, 'conv', with the tensors conv\.weight"),
        ({"lstm.weight_ih_l0": np.zeros((8, 3), np.float32)}, "'lstm.weight_ih_l0'.* lacks"),
        (named(fc3=linear(7, 1)), "'fc3' takes 7 inputs, but the layer before it has 2 outputs"),
        (named(fc3={"weight": np.zeros((1, 2), np.int64)}), "'fc3' that are not floating-point"),
        (named(fc3={**linear(2, 1), "bias": np.zeros(3, np.float32)}), r"fc3\.bias has shape \(3,\)"),
        (named(fc3={"bias": np.zeros(3, np.float32)}), "lacks, 'fc3'"),
    ],
)
def test_layers_that_fastnn_lacks_are_named(more, said):
    with pytest.raises(ModelFormatError, match=said):
        fastnn.load_torch({**two_layers(), **more}, "relu")


def test_safetensors_files_are_sorted_by_number(tmp_path):
    state = named(**{str(place): linear(3, 3) for place in range(0, 24, 2)})
    shuffled = {name: state[name] for name in sorted(state)}
    assert list(shuffled) != list(state)
    (tmp_path / "m.safetensors").write_bytes(safetensors_file(shuffled))
    model = fastnn.load_torch(tmp_path / "m.safetensors", "tanh")
    assert np.array_equal(model.layers[-1].bias, state["22.bias"])
    model.save(tmp_path / "own.safetensors")
    with pytest.raises(ModelFormatError, match=r"fastnn.load_model reads it"):
        fastnn.load_torch(tmp_path / "own.safetensors", "tanh")


def test_recorded_files_give_the_outputs_of_pytorch():
    recorded = np.load(RECORDED / "torch.npz")
    for name in ("chain.pt", "checkpoint.pt"):
        model = fastnn.load_torch(RECORDED / name, ["relu", "prelu"])
        np.testing.assert_allclose(model.predict(recorded["x"]), recorded["chain"], rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelFormatError, match=r"class torch\.nn\.modules.*module\.state_dict\(\)"):
        fastnn.load_torch(RECORDED / "module.pt", "relu")
    with pytest.raises(ModelFormatError, match=r"before version 1\.6.*state_dict"):
        fastnn.load_torch(RECORDED / "legacy.pt", "relu")


def test_a_state_dict_beside_statistics_is_found(tmp_path):
    weight = pickled_tensor("0", 6, (2, 3), (3, 1))
    inner = pickled_dict({"0.weight": weight})[2:-1]
    file = torch_zip(pickled_dict({"mean": pickled_tensor("0", 6, (6,), (1,)), "state_dict": inner}), {"0": FLOATS})
    (tmp_path / "m.pt").write_bytes(file)
    assert fastnn.load_torch(tmp_path / "m.pt").output_shape == (None, 2)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_code_of_a_file_runs(tmp_path, protocol):
    made = tmp_path / "made"
    (tmp_path / "evil.pt").write_bytes(torch_zip(evil_pickle(made, protocol), {}))
    with pytest.raises(ModelFormatError):
        fastnn.load_torch(tmp_path / "evil.pt", "relu")
    assert not made.exists()


FLOATS = np.arange(6, dtype=np.float32).tobytes()


@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (pickled_dict({"0.weight": pickled_tensor("0", 6, (2, 4), (4, 1))}), "not a contiguous part"),
        (pickled_dict({"0.weight": pickled_tensor("0", 6, (2, 3), (0, 0))}), "not a contiguous part"),
        (pickled_dict({"0.weight": pickled_tensor("0", 7, (2, 3), (3, 1))}), "24 bytes for 7 elements"),
        (pickled_dict({"0.weight": pickled_tensor("1", 6, (2, 3), (3, 1))}), "no entry 'archive/data/1'"),
        (pickled_dict({"0.weight": pickled_tensor("0", 6, (2, 3), (3, 1), -1)}), "not a whole number"),
        (pickled_dict({"0.weight": pickled_tensor("0", 6, (0, 3), (3, 1))}), "no elements"),
        (pickled_dict({"0.weight": pickled_tensor("0", 6, (6,), (1,), storage="QInt8Storage")}), "QInt8Storage"),
        (pickled_dict({"x": pickled_dict({"0.weight": pickled_tensor("0", 6, (2, 3), (3, 1))})[2:-1]}), "'x'"),
        (pickled_dict({"lr": b"K\x01"}), "checkpoint with the keys 'lr'"),
        (b"\x80\x02].", "does not hold a state_dict"),
        (b"\x80\x02}", "truncated"),
        (b"\x80\x02" + b"}" * 400_000 + b".", "more than 300000 operations"),
        (b"\x80\x02}" + b"r\xff\xff\xff\xff" + b".", "does not hold|checkpoint"),
        (b"\x80\x02\x8c", "truncated"),
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.", r"class os\.system"),
        (b"\x80\x02cbuiltins\neval\n.", "class builtins.eval"),
        (b"\x80\x02i", "operation 0x69"),
    ],
)
def test_damaged_pickles_are_refused(tmp_path, pickled, said):
    path = tmp_path / "m.pt"
    path.write_bytes(torch_zip(pickled, {"0": FLOATS}))
    with pytest.raises(ModelFormatError, match=said):
        fastnn.load_torch(path, "relu")


def test_parts_of_storages_and_transposed_tensors(tmp_path):
    pickled = pickled_dict(
        {"0.weight": pickled_tensor("0", 6, (2, 2), (1, 2), offset=1), "0.bias": pickled_tensor("0", 6, (2,), (1,), 4)}
    )
    (tmp_path / "m.pt").write_bytes(torch_zip(pickled, {"0": FLOATS}))
    kernel, bias = fastnn.load_torch(tmp_path / "m.pt").get_weights()
    assert np.array_equal(kernel, [[1, 2], [3, 4]]) and np.array_equal(bias, [4, 5])


def test_other_arguments_are_refused(tmp_path):
    with pytest.raises(TypeError, match="path_or_state_dict must be a path or a dict"):
        fastnn.load_torch(3)
    with pytest.raises(TypeError, match=r"arrays of numbers, got str for 'a.weight'"):
        fastnn.load_torch({"a.weight": "x"})
    with pytest.raises(ModelFormatError, match="no weight of a Linear layer"):
        fastnn.load_torch({})
    with pytest.raises(FileNotFoundError):
        fastnn.load_torch(tmp_path / "none.pt")
    with pytest.raises(ModelFormatError, match="load_keras"):
        fastnn.load_torch(RECORDED / "chain.keras", "relu")


def test_reading_imports_no_torch():
    script = "import sys, fastnn; fastnn.load_torch(sys.argv[1], ['relu', 'prelu']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, RECORDED / "chain.pt"], check=True)


@pytest.mark.skipif(not INTEROP.is_dir(), reason="the folder of models from elsewhere is not there")
def test_a_published_network_has_its_published_outputs():
    torch = pytest.importorskip("torch", reason="the statistics of inputs and outputs lie in the same file")
    path = INTEROP / "convection" / "nn_state.pt"
    state = {name: value.numpy().astype(np.float64) for name, value in torch.load(path).items()}
    with pytest.warns(UserWarning, match="ignored: features_mean, features_std, outputs_mean, outputs_std"):
        model = fastnn.load_torch(path, "relu", dtype="float64")
    x = (np.ones((1, 61)) - state["features_mean"]) / state["features_std"]
    y = model.predict(x) * state["outputs_std"] + state["outputs_mean"]
    expected = np.loadtxt(INTEROP / "convection" / "nn_ones.txt")
    np.testing.assert_allclose(y[0], expected, atol=3e-8, rtol=2e-6)
