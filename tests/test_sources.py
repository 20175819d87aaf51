"""Rows from files and arrays, block by block: the bits of the array, orders, errors, threads."""

import os
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

import fastnn
import fastnn._core as _core
import fastnn.data.tables as tables
from fastnn import layers
from fastnn.data import source

N = 1003


def make_rows(n=N, n_features=5, seed=0, dtype="float32"):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, n_features)).astype(dtype)
    return X, np.sin(X[:, 0]) * X[:, 1]


def make_model(seed=3, dropout=0.2, metrics=("mae",), first=(), dtype="float32"):
    stack = [*first, layers.Dense(16, "relu"), layers.Dropout(dropout), layers.Dense(1)]
    model = fastnn.Sequential(stack, seed=seed, dtype=dtype)
    model.compile("adam", "mse", metrics=list(metrics))
    return model


def assert_same_weights(a, b):
    for left, right in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def fitted(rows, *y, epochs=2, batch_size=32, model=None, **options):
    model = make_model() if model is None else model
    model.fit(rows, *y, epochs=epochs, batch_size=batch_size, verbose=0, **options)
    return model


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastnn-reader")]


def stream_of(rows, seed, number, batch_size, shuffle=True):
    """Return the order in which an epoch takes the rows: blocks, then rows within each window."""
    blocks = rows.blocks
    order = _core.random_order(seed, number | 1 << 62, len(blocks)) if shuffle else np.arange(len(blocks))
    windows, size = [[]], 0
    for block in order.tolist():
        if len(windows[-1]) >= rows.window and size >= batch_size:
            windows.append([])
            size = 0
        windows[-1].append(block)
        size += blocks[block][1] - blocks[block][0]
    stream = []
    for k, window in enumerate(windows):
        numbers = np.concatenate([np.arange(*blocks[block]) for block in sorted(window)])
        within = _core.random_order(seed, number + k, len(numbers)) if shuffle else np.arange(len(numbers))
        stream.append(numbers[within])
    return np.concatenate(stream), len(windows)


# The bits of the array


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_one_window_is_the_array(dtype, shuffle):
    X, y = make_rows()
    X = (X * 50).astype(dtype) if dtype[0] != "f" else X.astype(dtype)
    rows = source(X, y, block_rows=100, window=11)
    a = fitted(X, y, shuffle=shuffle, validation_data=(X[:90], y[:90]))
    b = fitted(rows, shuffle=shuffle, validation_data=rows.rows(0, 90))
    assert_same_weights(a, b)
    assert a.history.history == b.history.history
    assert a.evaluate(X, y, verbose=0) == b.evaluate(rows, verbose=0)
    np.testing.assert_array_equal(a.predict(X), b.predict(rows))


@pytest.mark.parametrize(
    ("block_rows", "window", "batch_size"), [(100, 3, 32), (7, 2, 40), (64, 1, 64), (200, 2, 2000)]
)
def test_windows_are_the_array_in_their_order(block_rows, window, batch_size):
    X, y = make_rows()
    rows = source(X, y, block_rows=block_rows, window=window)
    a, b = make_model(dropout=0.0), make_model(dropout=0.0)
    fitted(rows, model=b, batch_size=batch_size, epochs=3)
    number, losses = 1, []
    for _ in range(3):
        stream, n_windows = stream_of(rows, a.seed, number, batch_size)
        assert sorted(stream.tolist()) == list(range(N))
        number += n_windows
        losses += a.fit(X[stream], y[stream], batch_size, shuffle=False, verbose=0).history["loss"]
    assert_same_weights(a, b)
    np.testing.assert_allclose(b.history.history["loss"], losses, rtol=1e-12)
    assert b.optimizer.iterations == 3 * -(-N // batch_size)


def test_neither_readers_nor_their_timing_change_a_bit(monkeypatch):
    X, y = make_rows()
    expected = fitted(source(X, y, block_rows=50, window=3))
    read = tables.ArrayTable.read
    delays = np.random.default_rng(0)

    def slow(self, begin, end, columns):
        time.sleep(delays.uniform(0.0, 0.003))
        return read(self, begin, end, columns)

    monkeypatch.setattr(tables.ArrayTable, "read", slow)
    for n_readers in (1, 2, 5):
        assert_same_weights(expected, fitted(source(X, y, block_rows=50, window=3, n_readers=n_readers)))


def test_graphs_take_sources():
    X, y = make_rows()
    inputs = fastnn.Input((5,))
    hidden = layers.Dense(8, "relu")(inputs)
    outputs = layers.Dense(1)(layers.Concatenate()([hidden, inputs]))
    weights = []
    for given in ((X, y), (source(X, y),)):
        model = fastnn.Model(inputs, outputs, seed=1)
        model.compile("adam", "mse")
        model.set_weights([np.full(w.shape, 0.1, w.dtype) for w in model.get_weights()])
        model.fit(*given, epochs=2, verbose=0)
        weights.append([model.predict(given[0]), *model.get_weights()])
    for left, right in zip(*weights, strict=True):
        np.testing.assert_array_equal(left, right)


def test_labels_weights_and_classes():
    X, y = make_rows()
    labels = (y > 0).astype(np.int64) + (y > 0.5)
    weight = np.linspace(0.5, 2.0, N)

    def trained(*given, **options):
        model = fastnn.Sequential([layers.Dense(8, "tanh"), layers.Dense(3, "softmax")], seed=1)
        model.compile("adam", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
        model.fit(*given, verbose=0, epochs=2, class_weight={0: 2.0, 2: 0.5}, **options)
        return model

    a = trained(X, labels, sample_weight=weight)
    b = trained(source(X, labels, sample_weight=weight, block_rows=100, window=20))
    assert_same_weights(a, b)
    assert a.history.history == b.history.history


def test_batch_callbacks_see_the_batches_of_the_epoch():
    X, y = make_rows()
    seen = []
    callback = fastnn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append((batch, logs["mae"])))
    a = fitted(X, y, callbacks=[callback])
    first, seen[:] = list(seen), []
    b = fitted(source(X, y, block_rows=100, window=20), callbacks=[callback])
    assert seen == first and len(seen) == 2 * 32
    assert_same_weights(a, b)
    seen[:] = []
    fitted(source(X, y, block_rows=100, window=2), callbacks=[callback])
    assert [batch for batch, _ in seen] == 2 * list(range(32))


def test_resumed_fits_have_the_same_bits(tmp_path):
    X, y = make_rows()
    rows = source(X, y, block_rows=50, window=3)
    expected = fitted(rows, epochs=5)

    class KilledError(Exception):
        pass

    class Kill(fastnn.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3 and not (tmp_path / "resumed").exists():
                raise KilledError

    model = make_model()
    with pytest.raises(KilledError):
        fitted(rows, model=model, epochs=5, callbacks=[fastnn.callbacks.BackupAndRestore(tmp_path / "b"), Kill()])
    (tmp_path / "resumed").touch()
    again = make_model(seed=99)
    fitted(rows, model=again, epochs=5, callbacks=[fastnn.callbacks.BackupAndRestore(tmp_path / "b"), Kill()])
    assert_same_weights(expected, again)
    assert expected.history.history == again.history.history


def test_two_fits_are_one():
    X, y = make_rows()
    rows = source(X, y, block_rows=50, window=3)
    model = fitted(rows, epochs=2)
    assert_same_weights(fitted(rows, epochs=5), fitted(rows, epochs=3, model=model))


def test_divergence_keeps_the_last_finite_weights():
    X, y = make_rows()
    y[700] = 1e30
    model = make_model(dropout=0.0, metrics=())
    with pytest.raises(fastnn.DivergenceError):
        fitted(source(X, y, block_rows=50, window=3), model=model, epochs=20)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


# Files


def test_npy_files_and_memory_maps(tmp_path):
    X, y = make_rows()
    expected = fitted(X, y)
    cuts = [0, 400, 401, N]
    paths = []
    for number, (begin, end) in enumerate(pairwise(cuts)):
        paths.append(tmp_path / f"part-{number}.npy")
        np.save(paths[-1], X[begin:end])
    np.save(tmp_path / "targets.npy", y)
    mapped = np.load(tmp_path / "targets.npy", mmap_mode="r")
    assert_same_weights(expected, fitted(source(paths, mapped, window=20, block_rows=90)))
    os.rename(tmp_path / "targets.npy", tmp_path / "targets.bin")
    assert_same_weights(expected, fitted(source(tmp_path, mapped)))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(X))
    assert_same_weights(expected, fitted(source(tmp_path / "fortran.npy", y)))


def test_columns_by_number_and_by_name(tmp_path):
    X, y = make_rows()
    table = np.column_stack([y, X, y]).astype("float32")
    expected = fitted(X[:, [2, 0]], y.astype("float32"))
    assert_same_weights(expected, fitted(source(table, columns=[3, 1], target=-1)))
    named = np.empty(N, [("t", "f4"), ("a", "f4"), ("b", "f8"), ("c", "f4"), ("text", "U3")])
    for place, name in enumerate("abc"):
        named[name] = X[:, place]
    named["t"] = y
    np.save(tmp_path / "named.npy", named)
    rows = source(tmp_path / "named.npy", columns=["c", "a"], target="t")
    model = fitted(rows)
    assert_same_weights(expected, model)
    assert model.feature_names_in_ == ["c", "a"]
    with pytest.raises(ValueError, match="the columns of x must be those of fit"):
        model.predict(source(tmp_path / "named.npy", columns=["a", "c"]))
    whole = source(table, target=0)
    assert whole.shape == (N, 6) and whole.columns is None
    with pytest.raises(ValueError, match=r"holds <U3, not numbers.*columns with numbers: 't', 'a', 'b', 'c'"):
        source(tmp_path / "named.npy")


def test_data_frames_and_lists_of_arrays():
    pandas = pytest.importorskip("pandas")
    X, y = make_rows()
    expected = fitted(X, y)
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(y=y)
    assert_same_weights(expected, fitted(source(frame, target="y")))
    assert_same_weights(expected, fitted(source([X[:10], X[10:]], [y[:500], y[500:]])))


def test_zarr_arrays(tmp_path):
    zarr = pytest.importorskip("zarr")
    X, y = make_rows()
    array = zarr.create_array(store=tmp_path / "x.zarr", data=X, chunks=(100, 5))
    assert source(array, y).block_rows == 100
    expected = fitted(source(X, y, block_rows=100, window=4))
    assert_same_weights(expected, fitted(source(tmp_path / "x.zarr", y, window=4)))


def test_part_of_a_source():
    X, y = make_rows()
    rows = source(X, y, block_rows=100, window=20)
    part = rows.rows(250, 777)
    assert len(part) == 527 and part.blocks[0] == (0, 100) and part.blocks[-1] == (500, 527)
    assert_same_weights(fitted(X[250:777], y[250:777]), fitted(part))
    np.testing.assert_array_equal(part.rows(10, 20).read(0, 10)[0], X[260:270])
    with pytest.raises(ValueError, match=r"end must be a whole number from 11 to 527"):
        part.rows(10, 600)


def test_sizes_are_stated():
    rows = source(np.zeros((100_000, 100), "float32"))
    assert rows.block_rows == 8192 and rows.window == 20
    assert repr(rows) == "<Source rows=100,000, columns=100, blocks=13, block_rows=8,192, window=20>"


# Errors


def test_errors_name_rows_of_the_whole():
    X, y = make_rows()
    X[612, 3] = np.nan
    rows = source(X, y, block_rows=50, window=3)
    with pytest.raises(ValueError, match=r"x has nan at row 612, column 3 \(counted from 0\); all"):
        fitted(rows)
    with pytest.raises(ValueError, match="x has nan at row 612, column 3 "):
        fitted(rows.rows(400, 900))
    model = fitted(rows.rows(0, 600))
    with pytest.raises(ValueError, match="row 612"):
        model.predict(rows)
    with pytest.raises(ValueError, match="row 612"):
        model.evaluate(rows, verbose=0)
    with pytest.raises(ValueError, match="validation_data has nan at row 612"):
        fitted(rows.rows(0, 600), validation_data=rows)
    y[77] = np.inf
    with pytest.raises(ValueError, match="the targets of x has inf at row 77"):
        fitted(source(X[:600], y[:600], block_rows=50, window=3))
    with pytest.raises(ValueError, match=r"row 77, column 0 \(counted from 0\), in y\[1\]"):
        fitted(source(X[:600], [y[:50], y[50:600]], block_rows=50, window=3))
    assert not readers()


def test_refusals():
    X, y = make_rows()
    rows = source(X, y)
    model = make_model()
    for options, message in (
        ({"y": y}, "give y to fastnn.data.source"),
        ({"sample_weight": y}, "give sample_weight to fastnn.data.source"),
        ({"validation_split": 0.1}, "instead of validation_split give validation_data"),
        ({"steps_per_epoch": 3}, "instead of steps_per_epoch"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(rows, **options)
    with pytest.raises(ValueError, match="x is a source without targets"):
        model.fit(source(X))
    with pytest.raises(ValueError, match="y is a Source"):
        model.fit(X, rows)
    assert not model.built


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ("nothing.npy", {}, FileNotFoundError, "there is no file 'nothing.npy'"),
        ("nothing.csv", {}, FileNotFoundError, "there is no file"),
        (__file__, {}, ValueError, "must be a .npy, .parquet"),
        (3.0, {}, ValueError, "x must be an array, a path"),
        ([], {}, ValueError, "x must be an array"),
        (np.zeros((0, 3)), {}, ValueError, "x is empty"),
        (np.zeros((5, 3)), {"y": np.zeros(4)}, ValueError, "x has 5 rows, but y has 4"),
        (np.zeros((5, 3)), {"y": np.zeros(5), "target": 0}, ValueError, "give y or target, not both"),
        (np.zeros((5, 3)), {"target": 3}, ValueError, "target must hold numbers of columns of x, -3 to 2, got 3"),
        (np.zeros((5, 3)), {"columns": ["a"]}, ValueError, "columns has 'a', but the columns of x have no names"),
        (np.zeros((5, 3)), {"columns": [0, 1], "target": 1}, ValueError, "columns and target both have 1"),
        (np.zeros((5, 3)), {"columns": []}, ValueError, "columns is empty"),
        (np.zeros((5, 3), "U2"), {}, ValueError, "must hold real numbers, but its dtype is <U2"),
        (np.zeros((5, 3)), {"block_rows": 0}, ValueError, "block_rows must be"),
        (np.zeros((5, 3)), {"window": 1.5}, ValueError, "window must be"),
        (np.zeros((5, 3)), {"n_readers": 0}, ValueError, "n_readers must be"),
        ([np.zeros((5, 3)), np.zeros((5, 2))], {}, ValueError, r"rows of shape \(2,\), but x\[0\] has rows of \(3,\)"),
    ],
)
def test_arguments_of_source(given, options, error, message):
    with pytest.raises(error, match=message):
        source(given, **options)


def test_files_that_become_shorter(tmp_path):
    X, y = make_rows()
    path = tmp_path / "x.npy"
    np.save(path, X)
    rows = source(path, y, block_rows=50, window=3)
    os.truncate(path, 10_000)
    with pytest.raises(OSError, match=r"x.npy' ends before row \d+: it has become shorter"):
        fitted(rows)
    with pytest.raises(ValueError, match=r"is not a .npy file of numbers, or it is truncated"):
        source(path)


# Threads and files end with the call


def test_nothing_is_left_behind(tmp_path):
    X, y = make_rows()
    np.save(tmp_path / "x.npy", X)
    rows = source(tmp_path / "x.npy", y, block_rows=10, window=2, n_readers=3)
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []

    class Interrupt(fastnn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(rows, callbacks=[Interrupt()])
    model = fitted(rows, validation_data=rows)

    class Stop(fastnn.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

        def on_predict_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as kept:
        model.evaluate(rows, callbacks=[Stop()], verbose=0)
    with pytest.raises(KeyboardInterrupt) as kept_too:
        model.predict(rows, callbacks=[Stop()])
    assert kept.value is not kept_too.value
    assert not readers()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_normalization_adapts_to_sources():
    X, y = make_rows(dtype="float64")
    X[:, 1] += 1000.0
    expected, whole, blocks = (layers.Normalization() for _ in range(3))
    expected.adapt(X)
    whole.adapt(source(X, y, block_rows=N))
    np.testing.assert_array_equal(expected.mean, whole.mean)
    np.testing.assert_array_equal(expected.variance, whole.variance)
    rows = source(X, y, block_rows=90)
    blocks.adapt(rows)
    np.testing.assert_allclose(blocks.mean, expected.mean, rtol=1e-14)
    np.testing.assert_allclose(blocks.variance, expected.variance, rtol=1e-12)
    assert fitted(rows, model=make_model(first=[blocks])).evaluate(rows, verbose=0)[0] < 2.0


def test_normalization_adapts_to_missing_values():
    X, y = make_rows(dtype="float64")
    X[:95, 2] = np.nan
    X[::3, 0] = np.nan
    X[:, 4] = np.nan
    expected, blocks = (layers.Normalization(missing="indicator") for _ in range(2))
    expected.adapt(X)
    blocks.adapt(source(X, y, block_rows=90))
    np.testing.assert_allclose(blocks.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(blocks.variance, expected.variance, rtol=1e-12)
    with pytest.raises(ValueError, match=r"data has nan at row 0, column 0 \(counted from 0\); .*missing='mean'"):
        layers.Normalization().adapt(source(X, y))
    with pytest.raises(ValueError, match="adapt to an array, not to a source"):
        layers.Normalization(axis=None).adapt(source(X, y))
    model = make_model(first=[expected])
    model.build((None, 5))
    with pytest.raises(ValueError, match="data has 2 features"):
        expected.adapt(source(X[:, :2], y))
