"""Files of Keras as models, read without Keras and without the library of HDF5."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from foreign_files import RECORDED

import fastnn
from fastnn import ModelFormatError, layers

INTEROP = Path(__file__).parents[2] / "shared" / "interop" / "keras"
EXPECTED = np.load(RECORDED / "keras.npz")


def chain():
    """The layers of the recorded chain, without weights."""
    return fastnn.Sequential(
        [
            fastnn.Input((5,)),
            layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4, 0.5], variance=[1.0, 2.0, 3.0, 4.0, 5.0]),
            layers.Dense(6, activation="gelu"),
            layers.BatchNormalization(scale=False, epsilon=1e-4),
            layers.Dense(4, activation="leaky_relu", use_bias=False),
            layers.PReLU(),
            layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("name", ["chain.keras", "residual.keras", "residual.h5"])
def test_recorded_files_give_the_outputs_of_keras_and_train_on(name):
    model = fastnn.load_keras(RECORDED / name)
    expected = EXPECTED[name.partition(".")[0]]
    np.testing.assert_allclose(model.predict(EXPECTED["x"]), expected, rtol=1e-5, atol=1e-6)
    model.compile("adam", "mse")
    model.fit(EXPECTED["x"], expected, epochs=1, verbose=0)


def test_options_of_training_come_along():
    model = fastnn.load_keras(RECORDED / "chain.keras")
    dense, normalization = model.layers[1:3]
    assert isinstance(dense.kernel_regularizer, fastnn.regularizers.L2)
    assert (normalization.momentum, normalization.epsilon, normalization.scale) == (0.99, 1e-4, False)
    assert fastnn.load_keras(RECORDED / "residual.h5").layers[0].name == "added"


@pytest.mark.parametrize("kind, rate", [("Dropout", "rate"), ("AlphaDropout", "rate"), ("GaussianNoise", "stddev")])
def test_seeds_of_random_layers_come_along(kind, rate, tmp_path):
    for given, expected in ((7, 7), (None, None), (-3, None)):
        described = {"class_name": kind, "config": {"name": "random", rate: 0.5, "seed": given}}
        model = fastnn.load_keras(changed_config(tmp_path, lambda layers, added=described: layers.append(added)))
        assert model.layers[-1].seed == expected and getattr(model.layers[-1], rate) == 0.5


def test_weights_files_go_into_a_model():
    path = RECORDED / "chain.weights.h5"
    with pytest.raises(ValueError, match=r"holds weights alone.*load_keras\(path, model=model\)"):
        fastnn.load_keras(path)
    model, other = chain(), chain()
    assert fastnn.load_keras(path, model=model) is model
    other.load_weights(path)
    np.testing.assert_allclose(model.predict(EXPECTED["x"]), EXPECTED["chain"], rtol=1e-5, atol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


def test_weights_of_another_model_are_refused_and_change_nothing():
    narrow = fastnn.Sequential([fastnn.Input((5,)), layers.Dense(7), layers.Dense(4), layers.Dense(3)])
    short = fastnn.Sequential([fastnn.Input((5,)), layers.Dense(6)])
    for model, said in (
        (narrow, "layers that the model does not have"),
        (short, r"layers that the model does not have: .*dense_1"),
    ):
        before = model.get_weights()
        with pytest.raises(ValueError, match=said):
            model.load_weights(RECORDED / "chain.weights.h5")
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    other = chain()
    other.pop()
    other.add(layers.Dense(2))
    with pytest.raises(ValueError, match=r"does not fit the model: .* have shapes \[\(4, 3\), \(3,\)\] in the file"):
        other.load_weights(RECORDED / "chain.weights.h5")
    with pytest.raises(TypeError, match=r"must be a fastnn.Sequential"):
        fastnn.load_keras(RECORDED / "chain.weights.h5", model="x")


def test_models_of_other_layers_are_refused_by_class(tmp_path):
    cases = {
        "LSTM": ({"class_name": "LSTM", "config": {"name": "memory", "units": 3}}, "'memory' is of the class LSTM"),
        "option": (
            {"class_name": "Dense", "config": {"name": "d", "units": 3, "lora_rank": 4}},
            r"'d' \(Dense\) has lora_rank=4",
        ),
        "function": (
            {"class_name": "Dense", "config": {"name": "d", "units": 3, "activation": "celu"}},
            "unknown activation 'celu'",
        ),
        "nothing": ({"class_name": "Dense"}, "has no config"),
    }
    for each, said in cases.values():
        with pytest.raises(ModelFormatError, match=said):
            fastnn.load_keras(changed_config(tmp_path, lambda layers, each=each: layers.append(each)))
    with pytest.raises(ModelFormatError, match="have shapes"):
        fastnn.load_keras(changed_config(tmp_path, lambda layers: layers[2]["config"].update(units=7)))
    with pytest.raises(ModelFormatError, match="have shapes"):
        fastnn.load_keras(changed_config(tmp_path, lambda layers: layers[2]["config"].update(units=10**9)))
    with pytest.raises(ModelFormatError, match=r"twice|two layers are called"):
        fastnn.load_keras(changed_config(tmp_path, lambda layers: layers.append(layers[-1])))


def changed_config(folder, change):
    """Write the recorded chain with another description, and return the path."""
    with zipfile.ZipFile(RECORDED / "chain.keras") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(contents["config.json"])
    change(config["config"]["layers"])
    contents["config.json"] = json.dumps(config)
    with zipfile.ZipFile(folder / "changed.keras", "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return folder / "changed.keras"


def legacy_file(path, config, version="2.4.0", **variables):
    """Write a file of Keras 2."""
    h5py = pytest.importorskip("h5py", reason="the test writes a file with h5py")
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in variables]
        for name, arrays in variables.items():
            inner = group.create_group(name)
            paths = [f"{name}/{leaf}:0" for leaf in arrays]
            inner.attrs["weight_names"] = [each.encode() for each in paths]
            for each, array in zip(paths, arrays.values(), strict=True):
                inner[each] = array


def dense_config(**options):
    return {"class_name": "Dense", "config": {"name": "d", "units": 2, "batch_input_shape": [None, 3], **options}}


def test_files_of_keras_2(tmp_path):
    kernel, bias = np.arange(6, dtype=np.float32).reshape(3, 2), np.ones(2, np.float32)
    slope = {"class_name": "LeakyReLU", "config": {"name": "l", "alpha": 0.25}}
    config = {"class_name": "Sequential", "config": {"layers": [dense_config(), slope]}}
    legacy_file(tmp_path / "m.h5", config, d={"kernel": kernel, "bias": bias}, l={})
    model = fastnn.load_keras(tmp_path / "m.h5")
    assert np.array_equal(model.layers[0].kernel, kernel) and model.layers[1].activation.parameters == {
        "negative_slope": 0.25
    }
    other = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2)])
    other.load_weights(tmp_path / "m.h5")
    assert np.array_equal(other.layers[0].bias, bias)
    config = {"class_name": "Sequential", "config": {"layers": [dense_config(activation="hard_sigmoid")]}}
    legacy_file(tmp_path / "m.h5", config, d={"kernel": kernel, "bias": bias})
    with pytest.raises(ModelFormatError, match="hard_sigmoid of Keras 2"):
        fastnn.load_keras(tmp_path / "m.h5")


def test_arrays_outside_the_file_are_not_read(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the test writes files with h5py")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(24))
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2, use_bias=False)])
    cases = {
        "external": lambda group: group.create_dataset(
            "0", (3, 2), np.float32, external=[(str(secret), 0, h5py.h5f.UNLIMITED)]
        ),
        "link": lambda group: group.__setitem__("0", h5py.ExternalLink(str(secret), "/x")),
        "soft": lambda group: group.__setitem__("0", h5py.SoftLink("/layers")),
        "large": lambda group: group.create_dataset("0", (10**6, 10**6), np.float32, chunks=(8, 8)),
        "texts": lambda group: group.create_dataset("0", data=b"abc"),
    }
    for name, make in cases.items():
        with h5py.File(tmp_path / name, "w") as file:
            make(file.create_group("layers/dense/vars"))
        with pytest.raises(ModelFormatError):
            model.load_weights(tmp_path / name)


def test_other_files_are_named(tmp_path):
    for name, said in {"chain.pt": "no entry 'config.json'", "chain.onnx": "it looks like an ONNX"}.items():
        with pytest.raises(ModelFormatError, match=said):
            fastnn.load_keras(RECORDED / name)
    shutil.copy(RECORDED / "chain.keras", tmp_path / "cut.keras")
    data = (RECORDED / "chain.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(data[:-30])
    with pytest.raises(ModelFormatError, match="zip archive cannot be read"):
        fastnn.load_keras(tmp_path / "cut.keras")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 10**7)
    (tmp_path / "bomb.keras").write_bytes(bomb.getvalue())
    with pytest.raises(ModelFormatError, match=r"'config.json' has 10000000 bytes"):
        fastnn.load_keras(tmp_path / "bomb.keras")


def test_reading_imports_neither_keras_nor_h5py():
    script = "import sys, fastnn; fastnn.load_keras(sys.argv[1]); assert not {'keras', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script, RECORDED / "chain.keras"], check=True)


@pytest.mark.skipif(not INTEROP.is_dir(), reason="the folder of models from elsewhere is not there")
@pytest.mark.parametrize("name", ["sequential.keras", "sequential.h5", "normalized.keras"])
def test_models_from_elsewhere(name):
    arrays = np.load(INTEROP / f"{name.partition('.')[0]}.npz")
    model = fastnn.load_keras(INTEROP / name)
    np.testing.assert_allclose(model.predict(arrays["x0"]), arrays["y0"], rtol=1e-5, atol=1e-6)
    other = fastnn.models.clone_model(model)
    other.load_weights(INTEROP / name.replace(".keras", ".weights.h5"))
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))
