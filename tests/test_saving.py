"""Saving: round trips, the safetensors layout, the order of system calls, disk faults, kills."""

import copy
import errno
import functools
import json
import os
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from same_bits import same_arrays, same_weights

import fastnn
from fastnn import layers, models

RNG = np.random.default_rng(3)
X = RNG.normal(size=(90, 4))
Y = np.column_stack([X.sum(axis=1), X[:, 0] * X[:, 1]])


def make(optimizer="adam", dtype="float32", seed=5):
    model = fastnn.Sequential(
        [
            fastnn.Input((4,)),
            layers.Dense(7, activation="relu", kernel_initializer="he_normal"),
            layers.Dropout(0.2),
            layers.Dense(5, use_bias=False),
            layers.LeakyReLU(0.1),
            layers.Dense(2),
        ],
        seed=seed,
        dtype=dtype,
    )
    model.compile(optimizer, fastnn.losses.Huber(0.7), metrics=["mae", fastnn.metrics.R2Score(name="r2")])
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        fastnn.optimizers.SGD(0.02, momentum=0.9, nesterov=True),
        "adam",
        fastnn.optimizers.RMSprop(0.002, momentum=0.3, centered=True),
        fastnn.optimizers.AdamW(0.003, weight_decay=0.1),
    ],
    ids=lambda optimizer: getattr(optimizer, "name", optimizer),
)
def test_a_loaded_model_continues_with_the_same_bits(tmp_path, optimizer, dtype):
    model = make(copy.deepcopy(optimizer), dtype)
    model.fit(X, Y, epochs=3, verbose=0)
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.load_model(tmp_path / "m.safetensors")
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.loss.get_config() == model.loss.get_config()
    assert loaded.get_config() == model.get_config()
    assert loaded.metrics_names == model.metrics_names
    history = [m.fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y)).history for m in (model, loaded)]
    assert history[0] == history[1]
    assert same_weights(model, loaded)


def check_that_copies_train_alike(model, copies):
    model.fit(X, Y, epochs=2, verbose=0)
    for other in copies:
        other.fit(X, Y, epochs=2, verbose=0)
        assert same_weights(model, other)


def test_pickle_and_deepcopy_continue_with_the_same_bits():
    model = make()
    model.fit(X, Y, epochs=2, verbose=0)
    check_that_copies_train_alike(model, [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)])


def test_models_that_are_not_compiled_or_not_built(tmp_path):
    path = tmp_path / "m.safetensors"
    plain = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2)], seed=1)
    plain.save(path)
    loaded = fastnn.load_model(path)
    assert same_weights(plain, loaded) and not loaded.compiled
    open_model = fastnn.Sequential([layers.Dense(2), layers.Dense(1)], seed=1)
    open_model.compile("sgd", "mse")
    open_model.save(path)
    loaded = fastnn.load_model(path)
    assert not loaded.built
    for model in (open_model, loaded):
        model.fit(X, Y[:, 0], epochs=1, verbose=0)
    assert same_weights(open_model, loaded)
    model = make()
    model.save(path)
    loaded = fastnn.load_model(path, compile=False)
    assert same_weights(model, loaded) and not loaded.compiled


def worst(y_true, y_pred):
    return np.max(np.abs(y_true - y_pred))


def test_functions_of_the_user_are_saved_by_name(tmp_path):
    path = tmp_path / "m.safetensors"
    model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(2)], seed=1)
    model.compile("sgd", "mse", metrics=[worst])
    model.save(path)
    with pytest.raises(ValueError, match="custom_objects"):
        fastnn.load_model(path)
    assert same_weights(model, fastnn.load_model(path, compile=False))
    loaded = fastnn.load_model(path, custom_objects={"worst": worst})
    assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert pickle.loads(pickle.dumps(model)).evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


def slower(step):
    return 0.1 / (step + 1)


class Slower(fastnn.optimizers.schedules.LearningRateSchedule):
    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return self.start / (step + 1)

    def get_config(self):
        return {"start": self.start}


@pytest.mark.parametrize("rate", [slower, Slower(0.1), lambda step: 0.1 / (step + 1)], ids=["def", "class", "lambda"])
def test_learning_rates_of_the_user_are_saved_by_name(tmp_path, rate):
    path = tmp_path / "m.safetensors"
    name = getattr(rate, "__name__", "Slower")
    model = make(fastnn.optimizers.SGD(rate))
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(path)
    with pytest.raises(ValueError, match=r"custom_objects|unknown schedule"):
        fastnn.load_model(path)
    assert same_weights(model, fastnn.load_model(path, compile=False))
    loaded = fastnn.load_model(path, custom_objects={name: Slower if name == "Slower" else rate})
    copies = [loaded, copy.deepcopy(model)]
    if name != "<lambda>":
        copies.append(pickle.loads(pickle.dumps(model)))
    check_that_copies_train_alike(model, copies)


def test_what_cannot_be_saved_is_named_before_anything_is_written(tmp_path):
    path = tmp_path / "m.safetensors"

    class Nameless(fastnn.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1

    same_name = "two functions or classes of your own have the name '<lambda>', by which they are saved"
    cases = [
        (functools.partial(slower), [], "has neither get_config"),
        (Nameless(), [], "Nameless cannot be saved: define its get_config"),
        (lambda step: 0.1, [lambda y_true, y_pred: 0.0], same_name),
    ]
    for rate, metrics, message in cases:
        model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(2)])
        model.compile(fastnn.optimizers.SGD(rate), "mse", metrics=metrics)
        with pytest.raises(ValueError, match=re.escape(message)):
            model.save(path)
        assert os.listdir(tmp_path) == []


def test_other_programs_can_read_the_weights(tmp_path):
    numpy_reader = pytest.importorskip("safetensors.numpy")
    model = make()
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(tmp_path / "m.safetensors")
    arrays = numpy_reader.load_file(tmp_path / "m.safetensors")
    assert np.array_equal(arrays[f"{model.layers[0].name}/kernel"], model.layers[0].kernel)
    assert sum(not name.startswith("moment_") for name in arrays) == len(model.get_weights())
    with numpy_reader_open(tmp_path / "m.safetensors") as file:
        metadata = file.metadata()
    assert metadata["format"] == "fastnn" and metadata["schema"] == "1"
    assert json.loads(metadata["model"])["layers"][1]["class_name"] == "Dense"


def numpy_reader_open(path):
    import safetensors

    return safetensors.safe_open(path, framework="np")


def test_weights_alone(tmp_path):
    path = tmp_path / "m.weights.safetensors"
    model, other = make(seed=1), make(seed=2)
    model.fit(X, Y, epochs=1, verbose=0)
    model.save_weights(path)
    assert not same_weights(model, other)
    other.load_weights(path)
    assert same_weights(model, other)
    model.save(tmp_path / "whole.safetensors")
    make_again = make(seed=3)
    make_again.load_weights(tmp_path / "whole.safetensors")
    assert same_weights(model, make_again)
    with pytest.raises(fastnn.ModelFormatError, match="weights only"):
        fastnn.load_model(path)
    narrow = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(7), layers.Dense(2)], seed=0)
    before = narrow.get_weights()
    with pytest.raises(ValueError, match="does not fit the model"):
        narrow.load_weights(path)
    assert same_arrays(before, narrow.get_weights())
    with pytest.raises(FileExistsError):
        model.save(path, overwrite=False)
    with pytest.raises(FileNotFoundError, match="folder"):
        model.save(tmp_path / "nowhere" / "m.safetensors")
    with pytest.raises(IsADirectoryError):
        model.save(tmp_path)


def test_descriptions_and_clones():
    model = make()
    again = fastnn.Sequential.from_config(json.loads(json.dumps(model.get_config())))
    assert again.get_config() == model.get_config() and same_weights(again, make(seed=model.seed))
    assert models.model_from_json(model.to_json()).get_config() == model.get_config()
    clone = models.clone_model(model)
    assert not clone.compiled and not same_weights(clone, model)
    assert [type(layer) for layer in clone.layers] == [type(layer) for layer in model.layers]
    with pytest.raises(ValueError):
        models.model_from_json("{}")
    clone.compile_from_config(model.get_compile_config())
    assert clone.metrics_names == model.metrics_names
    wide = models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "name": layer.name + "_new"})
    )
    assert wide.layers[0].name.endswith("_new")


def test_order_of_system_calls(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    calls = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    for name in real:

        def record(*arguments, _name=name):
            if _name == "fsync":
                kind = "folder" if os.path.isdir(f"/proc/self/fd/{arguments[0]}") else "file"
                calls.append(f"fsync {kind}")
                if kind == "file":
                    assert os.fstat(arguments[0]).st_size > 1000, "all is written before it is made durable"
            else:
                assert os.path.dirname(arguments[0]) == os.path.dirname(arguments[1])
                calls.append(_name)
            return real[_name](*arguments)

        monkeypatch.setattr(os, name, record)
    make().save(path)
    assert calls == ["fsync file", "replace", "fsync folder"]


@pytest.mark.parametrize("fault", ["write", "fsync", "replace", "chmod"])
def test_faults_leave_the_old_file(tmp_path, monkeypatch, fault):
    path = tmp_path / "m.safetensors"
    old = make(seed=1)
    old.save(path)
    content = path.read_bytes()
    new = make(seed=2)
    code = errno.ENOSPC if fault == "write" else errno.EIO

    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, fault, fail)
        with pytest.raises(OSError) as caught:
            new.save(path)
        assert caught.value.errno == code
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["m.safetensors"]
    new.save(path)
    assert same_weights(fastnn.load_model(path), new)


def test_kills_while_saving(tmp_path):
    script = Path(__file__).parent / "kill_while_saving.py"
    command = [sys.executable, str(script), str(tmp_path), "300", "100", "20", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=True)
    counts = json.loads(run.stdout)
    assert counts["lost"] == counts["torn"] == 0
    assert counts["changed"] > 100 and counts["interrupted"] > 20, "the kills must hit savings"


def test_a_file_and_a_description_give_the_class_that_is_asked_for(tmp_path):
    class Stack(fastnn.Sequential):
        """A subclass with the same constructor."""

    model = make()
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.saving.load_model(tmp_path / "m.safetensors")
    assert type(loaded) is fastnn.Sequential
    assert same_weights(loaded, model)
    assert type(Stack.from_config(model.get_config())) is Stack
    assert type(fastnn.models.load_model(tmp_path / "m.safetensors")) is fastnn.Sequential


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5", ".HDF5", ".pt", ".onnx", ".pkl", ".npz"])
def test_a_suffix_of_another_format_draws_one_warning(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    stem = f"m{suffix}"[: -len(os.path.splitext(suffix)[1] or suffix)]
    model = make()
    message = f"'m{suffix}' is a fastnn safetensors file.*name it '{stem}.safetensors'"
    for save in (model.save, model.save_weights):
        with pytest.warns(UserWarning, match=message) as caught:
            save(path)
        assert len(caught) == 1 and caught[0].filename == __file__
    with pytest.warns(UserWarning, match=message) as caught:
        checkpoint = fastnn.callbacks.ModelCheckpoint(path)
        model.fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y), callbacks=[checkpoint])
    assert len(caught) == 1 and caught[0].filename == __file__
    assert same_weights(fastnn.load_model(path), model)


def test_a_suffix_of_another_format_draws_a_warning_when_a_model_is_exported(tmp_path):
    model = make()
    for export, suffix, message in (
        (model.export_safetensors, ".pt", "is a safetensors file, but '.pt' promises a PyTorch file.*'m.safetensors'"),
        (model.export_safetensors, ".py", "is a safetensors file, but '.py' promises Python source"),
        (model.save, ".c", "is a fastnn safetensors file, but '.c' promises C source"),
    ):
        with pytest.warns(UserWarning, match=message):
            export(tmp_path / f"m{suffix}")
    pytest.importorskip("onnx")
    for suffix, promised in ((".safetensors", "a safetensors file"), (".keras", "a Keras archive")):
        with pytest.warns(UserWarning, match=f"is an ONNX model, but '{suffix}' promises {promised}.*'m.onnx'"):
            model.export_onnx(tmp_path / f"m{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.export_onnx(tmp_path / "m.onnx")
        model.export_safetensors(tmp_path / "m.safetensors")


def test_usual_names_draw_no_warning(tmp_path):
    model = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("m", "m.safetensors", "m.fastnn", "v1.2", "m.weights.safetensors", "keras"):
            model.save(tmp_path / name)
            model.save_weights(tmp_path / name)


def test_a_file_that_could_not_be_loaded_is_not_written(tmp_path):
    path = tmp_path / "m.safetensors"

    class Odd(fastnn.initializers.Initializer):
        def draw(self, shape, source):
            return np.zeros(shape)

        def get_config(self):
            return {"value": 1}  # which the constructor does not take

    many = fastnn.metrics.AUC(num_thresholds=10**7)
    steps = make()
    steps.network.iterations = 1 << 50
    broken = make("adam")
    broken.optimizer = fastnn.optimizers.SGD()
    cases = [
        (fastnn.Sequential([layers.Dense(2, input_dim=4, kernel_initializer=Odd())]), "Odd"),
        (steps, "iterations must be a whole number from 0"),
        (broken, "it has 2 moments per weight; the optimizer has 0"),
        (fastnn.Sequential([layers.Dropout(0.5, input_shape=(1 << 22,))]), "has 4194304 outputs"),
    ]
    measured = make()
    measured.compile("sgd", "mse", metrics=[many])
    cases.append((measured, "metrics keep 40000000 numbers"))
    flat = [layers.Flatten() for _ in range(600)]
    cases.append((fastnn.Sequential([fastnn.Input((2,)), *flat, layers.Dense(1)]), "512"))
    repeating = fastnn.optimizers.AdamW()
    repeating.exclude_from_weight_decay(var_names=["(bias|gamma)+"])
    cases.append((make(repeating), "is not simple"))
    for model, reason in cases:
        with pytest.raises(ValueError, match=f"the model cannot be saved, because .*{reason}"):
            model.save(path)
        assert os.listdir(tmp_path) == []


def test_custom_layers_and_optimizers_are_saved_by_name(tmp_path):
    class Wide(layers.Dense):
        pass

    class Slow(fastnn.optimizers.SGD):
        pass

    path = tmp_path / "m.safetensors"
    model = fastnn.Sequential([fastnn.Input((4,)), Wide(2)], seed=0)
    model.compile(Slow(0.1), "mse")
    model.save(path)
    with pytest.raises(ValueError, match="unknown layer 'Wide'"):
        fastnn.load_model(path)
    loaded = fastnn.load_model(path, custom_objects={"Wide": Wide, "Slow": Slow})
    assert type(loaded.layers[0]) is Wide and type(loaded.optimizer) is Slow
    assert same_weights(copy.deepcopy(model), loaded)


def test_saving_to_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    model = make()
    for save in (model.save, model.save_weights):
        with pytest.raises(OSError, match="only a regular file"):
            save(tmp_path / "fifo")


def test_weights_of_layers_that_fit_can_be_loaded_alone(tmp_path):
    def net(*units):
        return fastnn.Sequential([fastnn.Input((3,)), *(layers.Dense(n) for n in units)])

    given, path = net(4, 2), tmp_path / "weights.safetensors"
    given.save_weights(path)
    for units, fit in (
        ((4, 5), [True, False]),
        ((5, 2), [False, False]),
        ((4,), [True]),
        ((4, 2, 1), [True, True, False]),
    ):
        model = net(*units)
        before = model.get_weights()
        with pytest.raises(ValueError, match="does not fit the model"):
            model.load_weights(path)
        same_arrays(model.get_weights(), before)
        if all(fit):
            model.load_weights(path, skip_mismatch=True)
        else:
            with pytest.warns(UserWarning, match=f"keep their weights: {model.layers[fit.index(False)].name}"):
                model.load_weights(path, skip_mismatch=True)
        wanted = [
            array
            for place, fits in enumerate(fit)
            for array in (given.get_weights() if fits else before)[2 * place : 2 * place + 2]
        ]
        same_arrays(model.get_weights(), wanted)
    with pytest.raises(ValueError, match="skip_mismatch must be True or False, got 'yes'"):
        given.load_weights(path, skip_mismatch="yes")
