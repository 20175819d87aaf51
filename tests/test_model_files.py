"""Damaged, truncated, foreign and hostile model files: all are refused and change nothing."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mutated_files import put_together, taken_apart
from refused_files import described, refused, small_file
from same_bits import same_arrays

import fastnn
from fastnn import ModelFormatError, layers
from fastnn.saving.safetensors import decode, parse_json


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_file(tmp_path_factory.mktemp("model"))


def test_unchanged_file_is_read(data, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(put_together(*taken_apart(data)))
    assert fastnn.load_model(path).count_params() == 13


def test_truncation_at_every_byte(data, tmp_path):
    path = tmp_path / "m.safetensors"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFormatError):
            fastnn.load_model(path)


def test_every_bit_of_the_body_is_covered_by_the_checksum(data):
    start = 8 + int.from_bytes(data[:8], "little")
    for place in range(start, len(data)):
        wrong = bytearray(data)
        wrong[place] ^= 1 << (place % 8)
        with pytest.raises(ModelFormatError, match="checksum"):
            decode(bytes(wrong))


def test_foreign_files(data, tmp_path):
    for content in (b"", b"\x89HDF\r\n\x1a\n" + bytes(200), b"PK\x03\x04" + bytes(500), bytes(100), b"\xff" * 300):
        refused(content, tmp_path)
    refused(data + b"PK\x05\x06" + bytes(18), tmp_path)
    numpy_writer = pytest.importorskip("safetensors.numpy")
    refused(numpy_writer.save({"dense/kernel": np.zeros((2, 3), np.float32)}), tmp_path)
    refused(numpy_writer.save({"a": np.zeros(3)}, {"format": "pt"}), tmp_path)


def test_hostile_layouts(data, tmp_path):
    header, body = taken_apart(data)
    first = next(name for name in header if name != "__metadata__")
    second = [name for name in header if name != "__metadata__"][1]
    changes = {
        "overlap": lambda h: h[second].update(data_offsets=h[first]["data_offsets"], shape=h[first]["shape"]),
        "offsets backwards": lambda h: h[first].update(data_offsets=h[first]["data_offsets"][::-1]),
        "beyond the end": lambda h: h[first].update(data_offsets=[0, 1 << 40], shape=[1 << 38]),
        "2^63": lambda h: h[first].update(shape=[1 << 63, 2]),
        "product wraps to the right size": lambda h: h[first].update(shape=[1 << 32, (1 << 32) + 6]),
        "negative": lambda h: h[first].update(shape=[-2, -3]),
        "zero": lambda h: h[first].update(shape=[0, 1 << 62], data_offsets=[0, 0]),
        "bool": lambda h: h[first].update(shape=[True, 6]),
        "float": lambda h: h[first].update(shape=[2.0, 3.0]),
        "many dimensions": lambda h: h[first].update(shape=[2, 3] + [1] * 60),
        "dtype": lambda h: h[first].update(dtype="BF16"),
        "dtype object": lambda h: h[first].update(dtype="|O"),
        "further key": lambda h: h[first].update(url="file:///etc/passwd"),
        "key missing": lambda h: h[first].pop("shape"),
        "entry is a list": lambda h: h.update({first: [1, 2]}),
        "hole": lambda h: h.pop(first),
        "metadata not texts": lambda h: h["__metadata__"].update(schema=1),
        "metadata a list": lambda h: h.update(__metadata__=[]),
        "no metadata": lambda h: h.pop("__metadata__"),
        "schema": lambda h: h["__metadata__"].update(schema="999"),
        "n_weights": lambda h: h["__metadata__"].update(n_weights="1e3"),
        "n_weights too many": lambda h: h["__metadata__"].update(n_weights="99"),
        "no architecture": lambda h: h["__metadata__"].pop("model"),
        "architecture no JSON": lambda h: h["__metadata__"].update(model="{"),
        "architecture deep": lambda h: h["__metadata__"].update(model='{"a":' * 30000 + "1" + "}" * 30000),
        "NaN": lambda h: h["__metadata__"].update(training='{"iterations": NaN}'),
        "infinity": lambda h: h["__metadata__"].update(training='{"iterations": 1e999}'),
        "renamed": lambda h: h.update({"x": h.pop(first)}),
    }
    for change in changes.values():
        copied = json.loads(json.dumps(header))
        change(copied)
        refused(put_together(copied, body), tmp_path)
    header["__metadata__"]["sha256"] = "0" * 64
    refused(put_together(header, body, sign=False), tmp_path)


def test_hostile_architectures(data, tmp_path):
    for path, value in (
        (("model", "layers", 1, "config", "units"), 10**12),
        (("model", "layers", 1, "config", "units"), 4),
        (("model", "layers", 1, "config", "units"), -1),
        (("model", "layers", 1, "config", "units"), None),
        (("model", "layers", 0, "config", "shape"), [10**9, 10**9]),
        (("model", "layers", 1, "class_name"), "os.system"),
        (("model", "layers", 1, "class_name"), "__import__"),
        (("model", "layers", 1, "class_name"), 7),
        (("model", "layers", 1, "config"), {"command": "true"}),
        (("model", "layers", 1, "config", "activation"), "tanhh"),
        (("model", "layers"), []),
        (("model", "layers"), {"0": 1}),
        (("model", "layers"), [{"class_name": "Flatten", "config": {}}] * 5000),
        (("model", "dtype"), "float16"),
        (("model", "dtype"), "object"),
        (("model", "seed"), -1),
        (("model", "seed"), "x"),
        (("model", "build_input_shape"), [None, 1 << 62]),
        (("model", "build_input_shape"), [None, 3]),
        (("model", "build_input_shape"), None),
        (("model", "name"), ["a"]),
        (("compile", "arguments", "loss", "class_name"), "exec"),
        (("compile", "arguments", "optimizer", "config"), {"learning_rate": -1}),
        (("compile", "arguments", "optimizer", "class_name"), "SGD"),
        (("compile", "arguments", "metrics"), ["nothing"]),
        (("compile", "arguments", "metrics"), [["mae"]]),
        (("training", "iterations"), -5),
        (("training", "iterations"), 1 << 70),
        (("training", "iterations"), 1.5),
        (("training", "n_moments"), 0),
        (("training", "epochs_begun"), None),
    ):
        refused(described(data, path, value), tmp_path)


def test_thousands_of_mutations():
    script = Path(__file__).parent / "nightly" / "fuzz_model_files.py"
    run = subprocess.run([sys.executable, str(script), "2000", "11"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    counts = json.loads(run.stdout)
    assert counts["files"] == 2000 and counts["refused"] > 1200


def test_load_weights_changes_nothing_on_error(data, tmp_path):
    path = tmp_path / "m.safetensors"
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(3), layers.Dense(1)], seed=9)
    before = model.get_weights()
    draw = random.Random(5)
    for _ in range(200):
        wrong = bytearray(data)
        wrong[draw.randrange(len(wrong))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(wrong))
        try:
            model.load_weights(path)
        except ModelFormatError:
            assert same_arrays(before, model.get_weights())
        else:
            model.set_weights(before)


def test_weights_excluded_from_decay_stay_excluded_in_a_file(tmp_path):
    optimizer = fastnn.optimizers.AdamW(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
    model = fastnn.Sequential([fastnn.layers.Dense(2)], seed=0)
    model.compile(optimizer, "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    model.save(tmp_path / "m.safetensors")
    kept = fastnn.load_model(tmp_path / "m.safetensors").optimizer
    assert [kept.decays(f"dense/{name}") for name in ("kernel", "bias", "gamma")] == [True, False, False]


def test_frozen_layers_of_a_block_stay_frozen_in_a_file(tmp_path):
    block = layers.Residual([layers.Dense(3, activation="relu"), layers.Dense(3)])
    block.layers[0].trainable = False
    model = fastnn.Sequential([fastnn.Input((3,)), block, layers.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.safetensors")
    kept = fastnn.load_model(tmp_path / "m.safetensors").layers[0]
    assert [layer.trainable for layer in kept.layers] == [False, True]


@pytest.mark.parametrize(
    "dtype",
    ["01f4", "9" * 5000, "f4,f4", "O", "V999999999", ">f4", "float16", {"names": ["a"], "formats": ["01f4"]}, 7, None],
)
@pytest.mark.parametrize("path", [("dtype",), ("layers", 0, "config", "dtype"), ("layers", 1, "config", "dtype")])
def test_names_of_types_go_through_a_table(data, tmp_path, path, dtype):
    if path != ("dtype",) and (dtype is None or (path[1] == 0 and dtype == "float16")):
        return  # accepted by a layer
    assert "dtype" in refused(described(data, ("model", *path), dtype), tmp_path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model", "layers", 1, "config", "units"), 3.0),
        (("model", "layers", 1, "config", "units"), "3"),
        (("model", "layers", 2, "config", "units"), True),
        (("model", "layers", 1, "config", "use_bias"), 1),
        (("model", "layers", 1, "config", "use_bias"), "no"),
        (("model", "layers", 1, "config", "use_bias"), None),
        (("model", "layers", 1, "trainable"), 0),
        (("model", "layers", 0, "config", "shape"), ["2"]),
        (("model", "layers", 0, "config", "shape"), 2),
        (("model", "layers", 0, "config", "sparse"), False),
        (("model", "build_input_shape"), [None, 2.0]),
        (("model", "build_input_shape"), [2, 2]),
        (("model", "seed"), 0.0),
        (("model", "seed"), False),
        (("model", "seed"), "0"),
        (("model", "seed"), 1 << 63),
        (("model", "further"), 1),
        (("compile", "arguments", "optimizer", "config", "learning_rate"), "0.1"),
        (("compile", "arguments", "optimizer", "config", "learning_rate"), True),
        (("compile", "arguments", "optimizer", "config", "use_ema"), 0),
        (("compile", "arguments", "optimizer", "config", "use_ema"), "yes"),
        (("compile", "arguments", "optimizer", "config", "amsgrad"), None),
        (("compile", "arguments", "optimizer", "config", "excluded_from_weight_decay"), ["(a+)+$"]),
        (
            ("compile", "arguments", "optimizer", "config", "excluded_from_weight_decay"),
            ["[a-z]*[a-z]*[a-z]*[a-z]*[a-z]*[a-z]*[a-z]*[0-9]"],
        ),
        (("compile", "arguments", "optimizer", "config", "excluded_from_weight_decay"), ["["]),
        (("compile", "arguments", "optimizer", "config", "excluded_from_weight_decay"), ["[[" * 100]),
        (("compile", "arguments", "optimizer", "config", "excluded_from_weight_decay"), ["(" * 20000]),
        (("compile", "arguments", "optimizer", "config", "excluded_from_weight_decay"), ["a" * 200000]),
        (("compile", "arguments", "optimizer", "config", "excluded_from_weight_decay"), ["a{99999999999}"]),
        (("compile", "arguments", "optimizer"), None),
        (("model", "name"), "\ud800"),
        (("model", "layers", 1, "config", "name"), "a\udfff"),
        (("model", "layers", 1, "class_name"), "a" * 900000),
        (("compile", "arguments", "loss", "class_name"), "a" * 900000),
        (("compile", "arguments", "loss", "config", "reduction"), 1),
        (("compile", "arguments"), []),
        (("training", "iterations"), True),
        (("training", "iterations"), "1"),
        (("training", "iterations"), 10**18),
        (("training", "epochs_begun"), 10**18),
        (("training", "seed"), -1),
        (("training", "seed"), 1 << 63),
        (("training", "n_moments"), 3),
        (("training", "n_moments"), 1 << 40),
    ],
)
def test_every_value_has_the_type_that_fastnn_writes(data, tmp_path, path, value):
    refused(described(data, path, value), tmp_path)


def test_negative_zero_and_missing_options_are_read(data, tmp_path):
    path = tmp_path / "m.safetensors"
    optimizer = {"class_name": "Adam", "config": {"learning_rate": -0.0}}
    path.write_bytes(described(data, ("compile", "arguments", "optimizer"), optimizer))
    assert fastnn.load_model(path).optimizer.learning_rate == 0.0


def test_long_numbers_are_refused_whatever_python_allows():
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        with pytest.raises(ModelFormatError, match="whole number of 900000 characters"):
            parse_json('{"a":' + "9" * 900000 + "}", "header")
    finally:
        sys.set_int_max_str_digits(limit)
    assert parse_json('{"a":-9223372036854775808}', "header") == {"a": -(1 << 63)}
