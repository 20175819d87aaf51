"""Damaged, truncated, foreign and hostile model files: all are refused and change nothing."""

import hashlib
import json
import random
import time
import tracemalloc

import numpy as np
import pytest
from same_bits import same_arrays

import fastnn
from fastnn import ModelFormatError, layers
from fastnn.saving.safetensors import HEADER_LIMIT, decode


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(3, activation="tanh"), layers.Dense(1)], seed=0)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.eye(2), np.ones(2), epochs=1, verbose=0)
    model.save(path)
    return path.read_bytes()


def refused(data, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    start = time.process_time()
    with pytest.raises(ModelFormatError) as caught:
        fastnn.load_model(path)
    assert time.process_time() - start < 1.0
    return str(caught.value)


def taken_apart(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put_together(header, body, sign=True):
    """Return the file of a header and a body, by default with the right checksum."""
    if isinstance(header, dict):
        if sign and isinstance(header.get("__metadata__"), dict):
            header["__metadata__"]["sha256"] = hashlib.sha256(body).hexdigest()
        header = json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + body


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
    header, body = taken_apart(data)

    def described(path, value):
        copied = json.loads(json.dumps(header))
        for key in ("model", "compile", "training"):
            text = json.loads(copied["__metadata__"][key])
            place = text
            if path[0] != key:
                continue
            for step in path[1:-1]:
                place = place[step]
            place[path[-1]] = value
            copied["__metadata__"][key] = json.dumps(text)
        return put_together(copied, body)

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
        refused(described(path, value), tmp_path)


def test_hostile_headers_cost_no_memory(tmp_path):
    texts = [
        b'{"a":' * 200000,
        b"[" * 1000000,
        b'{"a":{},' + b"".join(b'"%d":{},' % i for i in range(80000)) + b'"z":{}}',
        b'{"a":[' + b"0," * 500000 + b"0]}",
        b'{"a":' + b"9" * 1000000 + b"}",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\\ud800"}',
        b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"\xef\xbb\xbf{}",
        b" {}",
        b"{}\n",
        b"{} x",
        b"[]",
        b'"a"',
        b"{" + b" " * 1000000 + b"}",
    ]
    for text in texts:
        content = put_together(text, b"")
        (tmp_path / "m.safetensors").write_bytes(content)
        tracemalloc.start()
        refused(content, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # The bytes themselves, written and read, count in addition to what reading allocates.
        assert peak <= 3 * len(content) + (4 << 20)
    refused((HEADER_LIMIT + 1).to_bytes(8, "little") + b"{" + b" " * HEADER_LIMIT, tmp_path)
    refused(((1 << 64) - 1).to_bytes(8, "little") + b"{}", tmp_path)


def mutated(data, draw):
    """Return the file with a few random changes, of bytes or of its header; the latter with the right checksum."""
    if draw.random() < 0.5:
        wrong = bytearray(data)
        for _ in range(draw.randint(1, 8)):
            place = draw.randrange(len(wrong))
            kind = draw.randrange(4)
            if kind == 0:
                wrong[place] = draw.randrange(256)
            elif kind == 1:
                del wrong[place : place + draw.randint(1, 9)]
            elif kind == 2:
                wrong[place:place] = bytes(draw.randrange(256) for _ in range(draw.randint(1, 9)))
            else:
                wrong[place] ^= 1 << draw.randrange(8)
        return bytes(wrong)
    header, body = taken_apart(data)
    for _ in range(draw.randint(1, 3)):
        name = draw.choice(list(header))
        entry = header[name]
        numbers = [0, -1, 1, 2, 6, 1 << 31, 1 << 63, 1 << 64, 0.5]
        values = [*numbers, None, True, "", "F32", "F64", [], {}, [1], [[0, 4]], "x"]
        if name == "__metadata__" and isinstance(entry, dict) and entry:
            key = draw.choice(list(entry))
            text = entry[key]
            if isinstance(text, str) and text:
                place = draw.randrange(len(text))
                put_in = draw.choice(["", "0", "9", "}", "{", ",", '"', "null", "-"])
                entry[key] = text[:place] + put_in + text[place + 1 :]
            else:
                entry[key] = draw.choice(values)
        elif isinstance(entry, dict) and entry:
            entry[draw.choice(list(entry))] = draw.choice(values)
        else:
            header[name] = draw.choice(values)
    if draw.random() < 0.2:
        body = body[: draw.randrange(len(body))]
    return put_together(header, body)


def test_thousands_of_mutations(data, tmp_path):
    draw = random.Random(11)
    path = tmp_path / "m.safetensors"
    refusals = 0
    for _ in range(3000):
        path.write_bytes(mutated(data, draw))
        start = time.process_time()
        try:
            model = fastnn.load_model(path)
            assert model.count_params() == 13
        except ModelFormatError:
            refusals += 1
        assert time.process_time() - start < 1.0
    assert refusals > 2000


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
