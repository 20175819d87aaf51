"""Every allocation of a call fails once: MemoryError each time, and the model works as before.

A library in front of the C library fails the n-th call of malloc and its kin, of whichever library. NumPy's sum of an
array that is not contiguous raises SystemError then, without a cause; contiguous arrays are checked by the core.
CPython reports a lock that it cannot make as RuntimeError.
"""

import shutil
import subprocess
import sys

import pytest

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
        except RuntimeError as error:
            fail_at.value, reached = -1, True
            assert "lock" in str(error), (name, n, error)
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
