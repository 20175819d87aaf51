"""``predict(out=)``: the bits of predict, resumed after a kill, and full disks."""

import errno
import io
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from test_sources import N, fitted, make_model, make_rows

import fastnn
import fastnn.training.evaluation as evaluation
import fastnn.training.predictions as predictions
from fastnn.data import source


@pytest.fixture
def model():
    return fitted(*make_rows(), epochs=1)


@pytest.fixture
def few_rows_per_call(monkeypatch):
    monkeypatch.setattr(evaluation, "_PRODUCTS_PER_CALL", 0.0)  # 64 rows
    monkeypatch.setattr(predictions, "_SECONDS_BETWEEN_RECORDS", 0.0)


class Stop(fastnn.callbacks.Callback):
    """Raises KeyboardInterrupt after some batches."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def on_predict_batch_end(self, batch, logs=None):
        if batch == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["array", "source", "generator"])
def test_the_file_has_the_bits_of_predict(model, tmp_path, kind, few_rows_per_call):
    X, _ = make_rows()
    given = {
        "array": X,
        "source": source(X, block_rows=90, window=2),
        "generator": (X[i : i + 50] for i in range(0, N, 50)),
    }
    found = model.predict(given[kind], out=tmp_path / "p.npy")
    assert isinstance(found, np.memmap) and found.dtype == np.float32
    np.testing.assert_array_equal(found, model.predict(X))
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), model.predict(X))
    assert os.listdir(tmp_path) == ["p.npy"]


@pytest.mark.parametrize("as_source", [False, True])
def test_resumed_files_equal_whole_ones(model, tmp_path, as_source, few_rows_per_call):
    X, _ = make_rows()
    given = source(X, block_rows=90, window=2) if as_source else X
    path = tmp_path / "p.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(KeyboardInterrupt):
        model.predict(given, batch_size=100, callbacks=[Stop(3)], out=path)
    np.testing.assert_array_equal(np.load(path), np.zeros(3))
    np.testing.assert_array_equal(model.predict(given, batch_size=100, out=path, resume=True), model.predict(X))
    assert os.listdir(tmp_path) == ["p.npy"]


def test_resume_predicts_only_the_rest(model, tmp_path, few_rows_per_call):
    X, _ = make_rows()
    path = tmp_path / "p.npy"
    with pytest.raises(KeyboardInterrupt):
        model.predict(X, batch_size=100, callbacks=[Stop(3)], out=path)

    class Count(fastnn.callbacks.Callback):
        rows = 0

        def on_predict_batch_end(self, batch, logs=None):
            self.rows += len(logs["outputs"])

    count = Count()
    model.predict(X, batch_size=100, callbacks=[count], out=path, resume=True)
    assert count.rows == N - 400
    again = Count()
    model.predict(X, batch_size=100, callbacks=[again], out=path, resume=True)
    assert again.rows == N


def test_resume_refuses_other_predictions(model, tmp_path, few_rows_per_call):
    X, y = make_rows()
    path = tmp_path / "p.npy"
    with pytest.raises(KeyboardInterrupt):
        model.predict(X, batch_size=100, callbacks=[Stop(3)], out=path)
    with pytest.raises(
        ValueError, match=r"cannot resume .*p.npy.partial': the shape \[1002, 1\] changed, was \[1003, 1\]"
    ):
        model.predict(X[:-1], out=path, resume=True)
    with pytest.raises(ValueError, match="the model or the inputs changed"):
        model.predict(X[::-1], out=path, resume=True)
    with pytest.raises(ValueError, match="the model or the inputs changed"):
        fitted(X, y, epochs=2).predict(X, out=path, resume=True)
    os.truncate(f"{path}.partial", 200)
    with pytest.raises(ValueError, match="it has 200 bytes, fewer than its 400 rows take"):
        model.predict(X, out=path, resume=True)
    np.testing.assert_array_equal(model.predict(X, out=path), model.predict(X))


def test_refusals(model, tmp_path):
    X, _ = make_rows()
    with pytest.raises(ValueError, match="resume=True needs out="):
        model.predict(X, resume=True)
    with pytest.raises(ValueError, match=r"out must be the path of a .npy file, got ndarray"):
        model.predict(X, out=np.empty((N, 1)))
    with pytest.raises(IsADirectoryError, match=r"give the name of a file"):
        model.predict(X, out=tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        model.predict(X, out=tmp_path / "no" / "p.npy")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="only a regular file can be replaced, not a device, a pipe or a socket"):
            model.predict(X, out=tmp_path / "pipe")
        assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
        os.unlink(tmp_path / "pipe")
    inputs = fastnn.Input((5,))
    several = fastnn.Model(inputs, [fastnn.layers.Dense(1)(inputs), fastnn.layers.Dense(2)(inputs)])
    with pytest.raises(ValueError, match="out= is for a model with one output, this one has 2"):
        several.predict(X, out=tmp_path / "p.npy")
    assert os.listdir(tmp_path) == []


SCRIPT = """
    import sys
    import numpy as np
    import fastnn
    import fastnn.training.evaluation as evaluation
    import fastnn.training.predictions as predictions

    evaluation._PRODUCTS_PER_CALL = predictions._SECONDS_BETWEEN_RECORDS = 0.0
    model = fastnn.load_model("model.fastnn")
    rows = fastnn.data.source("x.npy", block_rows=500, window=2)
"""


def start(folder, code):
    script = textwrap.dedent(SCRIPT) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model.fastnn")
    np.save(tmp_path / "x.npy", make_rows(20_000)[0])
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_processes_are_resumed(model, folder):
    expected = model.predict(np.load(folder / "x.npy"))
    partial, rows = folder / "p.npy.partial", set()
    for _ in range(6):
        process = start(folder, "model.predict(rows, out='p.npy', resume=True)")
        before = partial.stat().st_size if partial.exists() else 0
        while process.poll() is None and not (partial.exists() and partial.stat().st_size > before + 6000):
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        rows.add(partial.stat().st_size if partial.exists() else -1)
    assert len(rows) > 1
    process = start(folder, "model.predict(rows, out='p.npy', resume=True)")
    assert process.wait() == 0, process.communicate()[0]
    process.communicate()
    np.testing.assert_array_equal(np.load(folder / "p.npy"), expected)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files")
def test_full_disks_lose_nothing(model, folder):
    code = """
        import resource, signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            model.predict(rows, out="p.npy")
        except OSError as error:
            print(error)
    """
    process = start(folder, code)
    text = process.communicate()[0]
    assert "the predictions cannot be written (File too large); 12416 of 20000 rows are kept in" in text, text
    assert "The whole file takes 80128 bytes: make room, and call again with resume=True" in text
    assert not (folder / "p.npy").exists()
    rows = source(folder / "x.npy", block_rows=500, window=2)
    np.testing.assert_array_equal(
        model.predict(rows, out=folder / "p.npy", resume=True), model.predict(np.load(folder / "x.npy"))
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_is_full_from_the_start(model, tmp_path):
    os.symlink("/dev/full", tmp_path / "p.npy.partial")
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\); 0 of 1003 rows are kept"):
        model.predict(make_rows()[0], out=tmp_path / "p.npy")


class SmallDisk:
    """The files of predictions on a disk of a few blocks."""

    BLOCK = 4096

    def __init__(self, blocks, monkeypatch):
        self.room = blocks * self.BLOCK
        write_atomically, disk = predictions.write_atomically, self

        class File(io.FileIO):
            def write(self, data):
                room = disk.room - os.path.getsize(self.name)
                if room <= 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return super().write(data[:room])

        def record(path, pieces):
            used = -(-os.path.getsize(path.replace(".progress", ".partial")) // self.BLOCK) * self.BLOCK
            if used + 2 * self.BLOCK > self.room:  # the old record and the new one
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write_atomically(path, pieces)

        monkeypatch.setattr(predictions, "open", lambda path, mode="r", **_: File(path, mode), raising=False)
        monkeypatch.setattr(predictions, "write_atomically", record)


def check_full_disk(model, folder, n_bytes):
    """Check that what is written to a disk with room for some of the predictions is kept."""
    X, _ = make_rows(40_000)
    with pytest.raises(
        OSError, match=r"No space left on device\); \d+ of 40000 rows are kept in .*resume=True"
    ) as caught:
        model.predict(X, out=folder / "p.npy")
    kept = int(re.search(r"(\d+) of 40000", str(caught.value))[1])
    assert n_bytes - 8 * SmallDisk.BLOCK < 4 * kept < n_bytes
    return X


@pytest.mark.parametrize("blocks", [10, 23])
def test_a_disk_without_room_for_the_record_keeps_the_rows(model, tmp_path, monkeypatch, blocks):
    monkeypatch.setattr(evaluation, "_PRODUCTS_PER_CALL", 0.0)
    with monkeypatch.context() as patch:
        X = check_full_disk(model, tmp_path, SmallDisk(blocks, patch).room)
    np.testing.assert_array_equal(model.predict(X, out=tmp_path / "p.npy", resume=True), model.predict(X))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="only root can mount a small disk")
@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_real_disk_that_is_full(model, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "_PRODUCTS_PER_CALL", 0.0)
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        X = check_full_disk(model, folder, 1 << 16)
        subprocess.run(["mount", "-o", "remount,size=1m", folder], check=True)
        found = model.predict(X, out=folder / "p.npy", resume=True)
        np.testing.assert_array_equal(found, model.predict(X))
        del found
    finally:
        subprocess.run(["umount", folder], check=True)


def test_untrained_models_and_empty_inputs(tmp_path):
    model = make_model()
    model.build((None, 5))
    assert model.predict(np.zeros((0, 5)), out=tmp_path / "p.npy").shape == (0, 1)


def test_files_that_are_read_are_not_replaced(model, tmp_path):
    X, y = make_rows()
    path, link = tmp_path / "x.npy", tmp_path / "link.npy"
    np.save(path, X)
    link.symlink_to(path)
    np.save(tmp_path / "y.npy", y)
    rows = source([path, path], np.append(y, y))
    for x, out in ((rows, path), (rows.rows(0, 9), link), (np.load(path, mmap_mode="r")[5:], path), (link, path)):
        with pytest.raises(ValueError, match="is a file that x reads: give the predictions another path"):
            model.predict(source(x) if x is link else x, out=out)
    with pytest.raises(ValueError, match="is a file that x reads"):
        model.predict(source(X, tmp_path / "y.npy"), out=tmp_path / "y.npy")
    np.testing.assert_array_equal(np.load(path), X)


def test_a_link_stays_a_link(model, tmp_path):
    X, _ = make_rows()
    (tmp_path / "there").mkdir()
    (tmp_path / "link.npy").symlink_to(tmp_path / "there" / "p.npy")
    found = model.predict(X, out=tmp_path / "link.npy")
    np.testing.assert_array_equal(found, model.predict(X))
    assert (tmp_path / "link.npy").is_symlink() and os.listdir(tmp_path / "there") == ["p.npy"]


def test_the_suffix_of_another_format_draws_a_warning(tmp_path):
    model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)])
    with pytest.warns(UserWarning, match=r"'p.csv' is a NumPy array, but '.csv' promises a table as text.*'p.npy'"):
        model.predict(np.zeros((3, 2)), out=tmp_path / "p.csv")
