"""Orders of imports, and processes that end while they train."""

import importlib.util
import itertools

import pytest

TRAIN = """
import numpy as np, hashlib, fastnn
model = fastnn.Sequential([fastnn.Input((20,)), fastnn.layers.Dense(64, "tanh"), fastnn.layers.Dense(2)], seed=1)
model.compile("adam", "mse")
X = (np.arange(20000) % 97 / 97.0).reshape(1000, 20)
model.fit(X, X[:, :2], batch_size=100, epochs=2, verbose=0)
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""
OTHERS = [name for name in ("numpy", "sklearn.neural_network", "torch") if importlib.util.find_spec(name.split(".")[0])]


def test_all_orders_of_imports_give_the_same_bits(run_python):
    results = set()
    for order in itertools.permutations([*OTHERS[1:], "fastnn"]):
        run = run_python(f"import {', '.join(order)}\n{TRAIN}")
        assert run.returncode == 0, run.stderr
        results.add(run.stdout)
    assert len(results) == 1


ENDS = {
    "of the main thread": "",
    "by sys.exit": "sys.exit(0)",
    "by os._exit": "os._exit(0)",
    "by an exception": "raise SystemExit",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_process_may_end_while_a_thread_trains(run_python, end):
    code = f"""
import os, sys, threading
import numpy as np, fastnn
begun = threading.Event()
class Begin(fastnn.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        begun.set()
def train(**options):
    model = fastnn.Sequential([fastnn.Input((50,)), fastnn.layers.Dense(200), fastnn.layers.Dense(1)], seed=1)
    model.compile("adam", "mse")
    X = np.ones((20000, 50), "f4")
    model.fit(X, X[:, :1], epochs=100000, verbose=0, **options)
for options in ({{"callbacks": [Begin()]}}, {{}}):
    threading.Thread(target=train, kwargs=options, daemon=True).start()
assert begun.wait(600)
{ENDS[end]}
"""
    run = run_python(code)
    assert run.returncode == 0 and not run.stderr, (run.returncode, run.stderr)
