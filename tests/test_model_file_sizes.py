"""What a model file may cost: time and memory are bounded by its size, whatever it says."""

import inspect
import json
import os
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from mutated_files import put_together, taken_apart
from refused_files import described, message_of, refused, small_file

import fastnn
from fastnn import ModelFormatError, layers
from fastnn.saving.safetensors import HEADER_LIMIT

METRICS = ("compile", "arguments", "metrics", 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_file(tmp_path_factory.mktemp("model"))


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


@pytest.mark.parametrize("size", [10**8, 10**9, 10**12, 10**18, 10**30])
@pytest.mark.parametrize(
    ("class_name", "option", "more"),
    [
        ("AUC", "num_thresholds", {}),
        ("SensitivityAtSpecificity", "num_thresholds", {"specificity": 0.5}),
        ("RecallAtPrecision", "num_thresholds", {"precision": 0.5}),
        ("MeanIoU", "num_classes", {}),
        ("OneHotMeanIoU", "num_classes", {}),
        ("IoU", "num_classes", {"target_class_ids": [0]}),
    ],
)
def test_sizes_of_metrics_are_bounded(data, tmp_path, class_name, option, more, size):
    metric = {"class_name": class_name, "config": {"name": "m", option: size, **more}}
    tracemalloc.start()
    message = refused(described(data, METRICS, metric), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ("metrics keep" if size < 1 << 63 else f"{option} must be a whole number") in message
    assert peak < 1 << 20


def test_sizes_of_many_metrics_are_added_up(data, tmp_path):
    some = [{"class_name": "AUC", "config": {"name": f"auc_{i}", "num_thresholds": 10**5}} for i in range(20)]
    assert "metrics keep" in refused(described(data, METRICS[:-1], some), tmp_path)


def test_no_metric_allocates_before_its_first_rows():
    from fastnn import _registry as registry

    for name in registry.listed("metric"):
        options = {
            parameter.name: 10**9 if parameter.name in ("num_thresholds", "num_classes", "top_k", "k") else 0.5
            for parameter in inspect.signature(registry.find("metric", name)).parameters.values()
            if parameter.default is parameter.empty or parameter.name in ("num_thresholds", "num_classes", "top_k", "k")
        }
        options.update({key: [0] for key in ("target_class_ids", "normalizer") if key in options})
        options.update({key: np.square for key in ("fn",) if key in options})
        tracemalloc.start()
        registry.find("metric", name)(**options)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 16, name


@pytest.mark.parametrize("size", [2 * 10**6, 10**9, 10**12, 10**18, 10**30])
@pytest.mark.parametrize(
    "layer",
    [
        ("Rescaling", {"scale": 2.0}),
        ("Normalization", {"mean": [0.0], "variance": [1.0]}),
        ("Dropout", {"rate": 0.5}),
        ("GaussianNoise", {"stddev": 0.5}),
        ("Activation", {"activation": "relu"}),
        ("LayerNormalization", {"center": False, "scale": False}),
        ("Flatten", {}),
        ("Dense", {"units": 1}),
        ("BatchNormalization", {}),
    ],
    ids=lambda layer: layer[0],
)
@pytest.mark.parametrize("built", [True, False])
def test_sizes_of_inputs_are_bounded(tmp_path, layer, size, built):
    class_name, options = layer
    stack = [{"class_name": "InputLayer", "config": {"name": "i", "shape": [size]}}]
    stack.append({"class_name": class_name, "config": {"name": "l", **options}})
    config = {"name": "m", "dtype": "float32", "seed": 0, "layers": stack}
    config["build_input_shape"] = [None, size] if built else None
    texts = {
        "format": "fastnn",
        "schema": "1",
        "n_weights": "0",
        "model": json.dumps(config),
        "compile": json.dumps({"arguments": None}),
        "training": json.dumps({"iterations": 0, "epochs_begun": 0, "seed": 0, "n_moments": 0}),
    }
    tracemalloc.start()
    refused(put_together({"__metadata__": texts}, b""), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_blocks_within_blocks_are_bounded(data, tmp_path):
    header, body = taken_apart(data)
    for depth in (10, 100, 1000, 5000):
        config = json.loads(header["__metadata__"]["model"])
        config["layers"][1] = "here"
        inner = '{"class_name":"Dense","config":{"units":2}}'
        block = '{"class_name":"Residual","config":{"layers":[' * depth + inner + "]}}" * depth
        copied = json.loads(json.dumps(header))
        copied["__metadata__"]["model"] = json.dumps(config).replace('"here"', block)
        refused(put_together(copied, body), tmp_path)
    double = {"class_name": "Normalization", "config": {"missing": "indicator"}}
    refused(
        described(data, ("model", "layers", 1), {"class_name": "Residual", "config": {"layers": [double] * 200}}),
        tmp_path,
    )
    wide = {"class_name": "Residual", "config": {"layers": [{"class_name": "Flatten", "config": {}}] * 600}}
    assert "512 layers" in refused(described(data, ("model", "layers", 3), wide), tmp_path)


@pytest.mark.parametrize("size", [2 << 30, 100 << 30])
def test_large_files_are_judged_by_their_header(data, tmp_path, size):
    path = tmp_path / "m.safetensors"
    header, body = taken_apart(data)
    header["junk"] = {"dtype": "U8", "shape": [size], "data_offsets": [len(body), len(body) + size]}
    for content, trouble in (
        (b"", "not a JSON object"),
        (data, "belong to no array"),
        (put_together(header, body), "13 arrays; its architecture needs 12"),
    ):
        path.write_bytes(content)
        os.truncate(path, size if trouble[0] in "nb" else len(content) + size)
        start = time.process_time()
        tracemalloc.start()
        with pytest.raises(ModelFormatError, match=trouble):
            fastnn.load_model(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 << 20 and time.process_time() - start < 1.0
        model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(3), layers.Dense(1)])
        with pytest.raises(ModelFormatError, match=trouble):
            model.load_weights(path)
    header["__metadata__"]["fit"] = "{}"
    path.write_bytes(put_together(header, body))
    os.truncate(path, os.path.getsize(path) + size)
    assert "bytes besides those of a model" in message_of(path)


def test_what_is_not_asked_for_takes_no_memory(tmp_path):
    path = tmp_path / "m.safetensors"
    model = fastnn.Sequential([fastnn.Input((1000,)), layers.Dense(1000), layers.Dense(16)], seed=0)
    model.compile(fastnn.optimizers.RMSprop(momentum=0.9, centered=True, use_ema=True), "mse")
    model.save(path)
    tracemalloc.start()
    model.load_weights(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * path.stat().st_size


def test_more_than_the_memory_of_the_machine_is_refused(data, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    monkeypatch.setattr("fastnn.saving.safetensors._physical_memory", lambda: 100.0)
    with pytest.raises(ModelFormatError, match="more than the memory of this machine"):
        fastnn.load_model(path)


def test_a_valid_file_takes_little_more_than_twice_its_size(tmp_path):
    path = tmp_path / "m.safetensors"
    model = fastnn.Sequential([fastnn.Input((1000,)), layers.Dense(1000), layers.Dense(16)], seed=0)
    model.compile("adam", "mse")
    model.save(path)
    code = (
        "import sys, fastnn; from pathlib import Path; fastnn.Sequential([fastnn.layers.Dense(1, input_dim=1)]);"
        "peak = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) * 1024;"
        "before = peak(); fastnn.load_model(sys.argv[1]); print(peak() - before)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 2.5 * path.stat().st_size
