"""Threads of the operating system: forked children, limits, threads that cannot be made, and processor time."""

import os
import shutil
import subprocess
import sys

import pytest

MODEL = """
import os, sys, time
import numpy as np
import fastnn

def make():
    model = fastnn.Sequential([fastnn.Input((256,)), fastnn.layers.Dense(512), fastnn.layers.Dense(1)], seed=0)
    model.compile("adam", "mse")
    return model

def tasks():
    return len(os.listdir("/proc/self/task"))

X = np.random.default_rng(0).normal(size=(4096, 256)).astype("f4")
fastnn.set_num_threads(2)
"""

needs_tasks = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads Linux's list of threads")


def two_processors():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor: there is one thread in any case")


@needs_tasks
@pytest.mark.skipif(shutil.which("gcc") is None, reason="compiles a library with OpenMP")
def test_a_forked_child_trains_where_another_library_ran_openmp_before(tmp_path, run_python):
    """The runtime would wait for threads that the child does not have, also where fastnn had only been imported."""
    source, library = tmp_path / "region.c", tmp_path / "region.so"
    source.write_text(
        "int sum(void) {\n    int total = 0;\n#pragma omp parallel num_threads(3) reduction(+ : total)\n"
        "    total += 1;\n    return total;\n}\n"
    )
    subprocess.run(["gcc", "-fopenmp", "-shared", "-fPIC", "-o", library, source], check=True)
    program = f"""
import ctypes
{MODEL}
assert ctypes.CDLL({str(library)!r}).sum() == 3
model = make()
child = os.fork()
if child == 0:
    before = tasks()
    model.fit(X, X[:, :1], epochs=2, verbose=0)
    model.predict(X)
    np.save({str(tmp_path / "child.npy")!r}, model.get_weights()[0])
    os._exit(tasks() - before)
assert os.waitpid(child, 0)[1] == 0
model.fit(X, X[:, :1], epochs=2, verbose=0)
print((np.load({str(tmp_path / "child.npy")!r}) == model.get_weights()[0]).all())
"""
    done = run_python(program, OMP_NUM_THREADS="3")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


@needs_tasks
def test_a_forked_child_runs_on_one_thread_after_the_parent_ran_on_two(run_python):
    program = f"""
{MODEL}
model = make()
expected = model.predict(X)
child = os.fork()
if child == 0:
    before = tasks()
    same = (model.predict(X) == expected).all()
    os._exit(not same or tasks() - before)
print(os.waitpid(child, 0)[1], (model.predict(X) == expected).all())
"""
    done = run_python(program)
    assert (done.returncode, done.stdout) == (0, "0 True\n"), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits the threads of a user, as Linux does")
def test_one_thread_where_no_thread_can_be_made(run_python):
    program = f"""
import resource, threading
{MODEL}
def results():
    model = make()
    history = model.fit(X, X[:, :1], batch_size=1024, epochs=2, verbose=0).history["loss"]
    loss = model.evaluate(X, X[:, :1], batch_size=4096, verbose=0)
    return [model.predict(X, batch_size=4096), model(X), *model.get_weights(), *model.gradients(X, X[:, :1]),
            fastnn.ops.dense_forward(X, *model.get_weights()[:2]), history, loss]

with fastnn.threads(1):
    expected = results()
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
if os.getuid() == 0:  # the limit does not hold for root
    os.setuid(65534)
try:
    threading.Thread(target=int).start()
    print("unlimited")
except RuntimeError:
    print(all(np.array_equal(a, b) for a, b in zip(results(), expected)))
"""
    done = run_python(program)
    if done.stdout == "unlimited\n":
        pytest.skip("this system does not limit the threads of a user")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


@needs_tasks
def test_waiting_threads_sleep(run_python):
    """Linux tells the state of each thread, so that the load of the machine does not matter."""
    two_processors()
    program = f"""
{MODEL}
def states():
    stats = [open(f"/proc/self/task/{{task}}/stat").read() for task in os.listdir("/proc/self/task")]
    return [stat.rpartition(")")[2].split()[0] for stat in stats]

model = make()
model.network.predict(X)
deadline = time.monotonic() + 60
while states().count("R") > 1 and time.monotonic() < deadline:  # this thread runs
    time.sleep(0.01)
print(states().count("R"), tasks() > 1)
"""
    done = run_python(program, OPENBLAS_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (0, "1 True\n"), done.stderr


LIMITS = """
from threadpoolctl import threadpool_info, threadpool_limits

def started():
    before = tasks()
    model.fit(X, X[:, :1], batch_size=1024, epochs=2, verbose=0)
    model.predict(X)
    return tasks() - before

model = make()
assert "openmp" in [pool["user_api"] for pool in threadpool_info()]
with threadpool_limits(1):
    limited = started()
print(limited, started())
"""


@needs_tasks
def test_limits_of_threadpoolctl_hold(run_python):
    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    two_processors()
    done = run_python(MODEL + LIMITS, OMP_NUM_THREADS="2")
    assert (done.returncode, done.stdout) == (0, "0 1\n"), done.stderr


MANY = """
import threading
from threadpoolctl import threadpool_limits

def workers(wait):
    seen = set()

    class Note(fastnn.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.add(threading.get_ident())
            wait()

    fastnn.fit_many(lambda seed: make(), X, X[:, :1], seeds=2, epochs=1, verbose=0, callbacks=lambda: [Note()])
    return len(seen)

with threadpool_limits(1):
    limited = workers(lambda: None)
print(limited, workers(threading.Barrier(2, timeout=300).wait))
"""


def test_limits_of_threadpoolctl_hold_for_many_models(run_python):
    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    two_processors()
    done = run_python(MODEL + MANY, OMP_NUM_THREADS="2")
    assert (done.returncode, done.stdout) == (0, "1 2\n"), done.stderr
