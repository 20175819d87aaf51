"""Every allocation of a call fails once: MemoryError each time, and the model works as before.

Also where a module of Python reports its failed allocation as another error.

A library in front of the C library fails the n-th call of malloc and its kin, of whichever library. NumPy's sum of an
array that is not contiguous raises SystemError then, without a cause; contiguous arrays are checked by the core.
"""

import copy
import hashlib
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from same_bits import same_arrays
from sample_models import dropout_model

import fastnn
from fastnn import estimators

SHIM = r"""
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
long fail_at = -1, count;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static int fails(void) {
    if (fail_at < 0 || __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED) != fail_at) return 0;
    errno = ENOMEM;
    return 1;
}
void *malloc(size_t n) { return fails() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t m) { return fails() ? NULL : __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return fails() ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t a, size_t n) { return fails() ? NULL : __libc_memalign(a, n); }
"""

PROGRAM = """
import collections, ctypes, sys
import numpy as np
import fastnn, fastnn._core as core

shim = ctypes.CDLL(sys.argv[1])
fail_at, count = ctypes.c_long.in_dll(shim, "fail_at"), ctypes.c_long.in_dll(shim, "count")
X = np.random.default_rng(0).normal(size=(600, 40)).astype("f4")
Y, W = X[:, :3].copy(), np.ones((40, 600), "f4")

def make():
    hidden = fastnn.layers.Dense(900, "relu"), fastnn.layers.BatchNormalization()
    model = fastnn.Sequential([fastnn.Input((40,)), *hidden, fastnn.layers.Dense(3)], seed=0)
    model.compile("adam", "mse")
    return model

model = make()
weights = model.get_weights()
out = fastnn.ops.dense_forward(X, W, None)
calls = {
    "predict": lambda: model.predict(X),
    "call": lambda: model(X),
    "fit": lambda: model.fit(X, Y, verbose=0).history["loss"],
    "evaluate": lambda: model.evaluate(X, Y, verbose=0),
    "gradients": lambda: model.gradients(X, Y),
    "input_gradients": lambda: model.input_gradients(X[:3]),
    "dense_forward": lambda: fastnn.ops.dense_forward(X, W, None),
    "dense_backward": lambda: core.dense_backward(out, X, W, None, out, "relu"),
    "activation": lambda: fastnn.ops.activation("log_softmax", X),
    "activation_gradient": lambda: fastnn.ops.activation_gradient("gelu", X, X),
    "loss": lambda: fastnn.ops.loss("huber", X, X),
    "weights": lambda: model.set_weights(weights),
    "model": lambda: make().get_weights(),
    "least squares": lambda: core.LeastSquares([(3, True, "tanh", ())], X, Y.T, Y.T, 16).error(np.ones(123)),
}

def start():
    model.set_weights(weights)
    model.compile("adam", "mse")
    model.seed = 0

def same(a, b):
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a is b is None or np.array_equal(a, b)

for name, call in calls.items():
    start()
    expected = call()
    for n in range(1000):
        start()
        count.value, fail_at.value = 0, n
        try:
            call()
            reached = count.value > n
            fail_at.value = -1
        except MemoryError:
            fail_at.value, reached = -1, True
        except BaseException:
            fail_at.value = -1
            print(name, n)
            raise
        if not reached:
            break
    assert n < 999, name
    if name != "fit":
        start()
        assert same(call(), expected), name
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("gcc") is None, reason="compiles a library for glibc")
def test_each_allocation_that_fails_is_a_memory_error(tmp_path, run_python):
    library = tmp_path / "shim.so"
    (tmp_path / "shim.c").write_text(SHIM)
    built = subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, tmp_path / "shim.c"], check=False)
    if built.returncode:
        pytest.skip("this C library has no allocator of these names")
    done = run_python(PROGRAM.replace("sys.argv[1]", repr(str(library))), LD_PRELOAD=str(library))
    if "__libc_" in done.stderr:
        pytest.skip("this C library has no allocator of these names")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def no_lock():
    raise RuntimeError("can't allocate lock")


class NoDigest:
    """A SHA-256 of which one method fails as OpenSSL does."""

    def __init__(self, method):
        self._method, self._digest = method, hashlib.sha256()

    def __getattr__(self, name):
        if name == self._method:
            raise ValueError("[digital envelope routines] not able to copy ctx")
        return getattr(self._digest, name)


@pytest.mark.parametrize("method", ["made", "update", "hexdigest"])
def test_a_checksum_without_memory_is_a_memory_error(tmp_path, monkeypatch, method):
    model, path = dropout_model(seed=1), tmp_path / "m.safetensors"
    model.save(path)
    before = path.read_bytes()

    def no_digest():
        if method == "made":
            raise ValueError("[digital envelope routines] initialization error")
        return digests.pop()

    for call in (lambda: fastnn.load_model(path), lambda: model.load_weights(path), lambda: model.save(path)):
        digests = [NoDigest(method)]
        with monkeypatch.context() as patch, pytest.raises(MemoryError, match="no memory for a checksum"):
            patch.setattr(hashlib, "sha256", no_digest)
            call()
    assert path.read_bytes() == before
    assert same_arrays(fastnn.load_model(path).get_weights(), model.get_weights())


def test_a_lock_without_memory_is_a_memory_error(tmp_path, monkeypatch):
    model, path = dropout_model(seed=1), tmp_path / "m.safetensors"
    model.save(path)
    before = path.read_bytes()
    calls = [
        lambda: dropout_model(seed=1),
        lambda: copy.deepcopy(model),
        lambda: fastnn.load_model(path),
        lambda: model.save(path),
    ]
    for call in calls:
        with monkeypatch.context() as patch, pytest.raises(MemoryError, match="no memory for a lock"):
            patch.setattr(threading, "RLock", no_lock)
            call()
    assert path.read_bytes() == before
    assert same_arrays(fastnn.load_model(path).get_weights(), model.get_weights())


def test_an_estimator_without_memory_for_a_lock_can_be_fitted_later(monkeypatch):
    pytest.importorskip("sklearn")
    X = np.eye(6)
    regressor = estimators.MLPRegressor(hidden_layer_sizes=(3,), max_iter=5, random_state=0)
    with monkeypatch.context() as patch, pytest.raises(MemoryError, match="no memory for a lock"):
        patch.setattr(threading, "RLock", no_lock)
        regressor.fit(X, X[0])
    assert not hasattr(regressor, "coefs_")
    with pytest.warns(match="convergence|iterations"):
        regressor.fit(X, X[0])


def test_a_file_without_memory_for_its_buffer_is_a_memory_error(tmp_path, monkeypatch):
    dropout_model(seed=1).save(tmp_path / "m.safetensors")

    def no_buffer(file):
        raise RuntimeError("can't allocate read lock")

    with monkeypatch.context() as patch, pytest.raises(MemoryError, match="no memory for a buffer"):
        patch.setattr("fastnn.saving.model_file.io.BufferedReader", no_buffer)
        fastnn.load_model(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="null"):
        fastnn.load_model("a\0b")


def test_a_metric_without_memory_for_one_batch_ends_the_fit():
    failures = [MemoryError("full")]

    def full(y_true, y_pred):
        if failures:
            raise failures.pop()
        return 0.0

    model = dropout_model(seed=1)
    model.compile("sgd", "mse", metrics=[full])
    ends = fastnn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    with pytest.raises(MemoryError, match="full"):
        model.fit(np.eye(3), np.ones(3), batch_size=1, verbose=0, callbacks=[ends])
