"""Ctrl-C in the middle of one long native call: it comes within 100 ms, and the model is as before the step.

Times are processor time of the thread that calls, so that other processes do not matter; elapsed time on platforms
without such a clock.
"""

import numpy as np
import pytest
from same_bits import same_weights

import fastnn

PROGRAM = """
import os, signal, threading, time
import numpy as np
import fastnn

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
per_thread = hasattr(time, "pthread_getcpuclockid")
clock = time.pthread_getcpuclockid(threading.get_ident()) if per_thread else time.CLOCK_MONOTONIC

def now():
    return time.clock_gettime(clock)

def interrupted(call, delay=0.1):
    '''Return how long the interrupt took that came after the delay; None if the call ended before.'''
    over, sent = threading.Event(), []
    start = now()

    def interrupt():
        while now() < start + delay:
            time.sleep(0.002)
            if over.is_set():
                return
        sent.append(now())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        call()
        over.set()
        thread.join()
        time.sleep(0.01)  # an interrupt that was on its way
    except KeyboardInterrupt:
        return now() - sent[0]

def network(*hidden, loss="mse", **options):
    model = fastnn.Sequential([fastnn.Input((64,)), *hidden, fastnn.layers.Dense(8)], seed=0)
    model.compile(fastnn.optimizers.Adam(**options), loss)
    return model

def state(model):
    network = model.network
    return [w.copy() for w in model.get_weights()], network.iterations

def same(one, other):
    return one[1] == other[1] and all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True))

Dense = fastnn.layers.Dense
X = np.random.default_rng(0).normal(size=(60_000, 64)).astype("f4")
Y = np.zeros((len(X), 8), "f4")
square = np.random.default_rng(1).normal(size=(1024, 1024)).astype("f4")
many = np.random.default_rng(2).normal(size=(40_000, 1024)).astype("f4")
wait, kept = None, True
"""

WIDE = "Dense(1024, activation='tanh'), Dense(1024)"
CALLS = {
    "fit": f"""
model = network({WIDE})
before = state(model)
wait = interrupted(lambda: model.fit(X, Y, batch_size=len(X), verbose=0))
kept = same(state(model), before)
""",
    "fit, late": """
few, targets = X[:20_000], Y[:20_000]
def fit(model, epochs):
    model.fit(few, targets, batch_size=len(few), epochs=epochs, verbose=0)
wait = 0.0
for delay in (0.1, 0.17, 0.24, 0.31, 0.38):  # in different phases of a step
    model, repeated = network(Dense(2048)), network(Dense(2048))
    wait = max(wait, interrupted(lambda: fit(model, 10**6), delay))
    if model.network.iterations:
        fit(repeated, model.network.iterations)
    kept = kept and same(state(model), state(repeated))
""",
    "fit, normalized and clipped": f"""
model = network({WIDE}, fastnn.layers.BatchNormalization(), fastnn.layers.LayerNormalization(), clipnorm=1.0)
before = state(model)
wait = interrupted(lambda: model.fit(X, Y, batch_size=len(X), verbose=0))
kept = same(state(model), before)
""",
    "fit, a loss in Python": f"""
def squares(y, p):
    return float(np.mean((p - y) ** 2)), 2.0 * (p - y) / y.size
model = network({WIDE}, loss=squares, clipnorm=1.0)
before = state(model)
wait = interrupted(lambda: model.fit(X, Y, batch_size=len(X), verbose=0))
kept = same(state(model), before)
""",
    "predict": f"wait = interrupted(lambda: network({WIDE}).predict(X, batch_size=len(X)))",
    "call": f"wait = interrupted(lambda: network({WIDE})(X))",
    "gradients": f"wait = interrupted(lambda: network({WIDE}).gradients(X, Y))",
    "evaluate": f"wait = interrupted(lambda: network({WIDE}).evaluate(X, Y, batch_size=len(X), verbose=0))",
    "dense_forward": """
wait = interrupted(lambda: [fastnn.ops.dense_forward(many, square, None) for _ in range(20)])
""",
    "dense_backward": """
out = fastnn.ops.dense_forward(many, square, None, "tanh")
wait = interrupted(lambda: [fastnn._core.dense_backward(many, many, square, None, out, "tanh") for _ in range(20)])
""",
    "loss": """
probabilities = np.full((100_000, 500), 0.002, "f4")
wait = interrupted(lambda: [fastnn.ops.loss("kl_divergence", probabilities, probabilities) for _ in range(20)])
""",
    "activation": """
wait = interrupted(lambda: [fastnn.ops.activation("gelu", many) for _ in range(40)])
""",
    "activation_gradient": """
wait = interrupted(lambda: [fastnn.ops.activation_gradient("gelu", many, many) for _ in range(40)])
""",
    "blocks of a wide network": """
model, few = network(Dense(700), Dense(2048)), X[:400]
wait = interrupted(lambda: [model(few) for _ in range(1000)])
""",
    "softmax": """
wait = interrupted(lambda: [fastnn.ops.activation("log_softmax", many) for _ in range(40)])
""",
    "weights": """
wait = interrupted(lambda: fastnn.initializers.HeNormal(seed=0)((40_000, 1024), "float32"))
""",
    "normal equations": """
model = fastnn.Sequential([fastnn.Input((64,)), Dense(12, "tanh"), Dense(8)], seed=0)
model.compile("lm", "mse")
before = state(model)
wait = interrupted(lambda: model.fit(X, Y, verbose=0), delay=0.3)
kept = same(state(model), before)
""",
    "squared error": """
row = np.zeros((1, len(X)))
squares = fastnn._core.LeastSquares([(64, True, "gelu", ()), (1, True, "linear", ())], X, row, row, 64)
wait = interrupted(lambda: [squares.error(np.ones(64 * 65 + 65)) for _ in range(100)])
""",
    "jacobian": """
row = np.zeros((1, len(X)))
squares = fastnn._core.LeastSquares([(4, True, "gelu", ()), (1, True, "linear", ())], X, row, row, 64)
wait = interrupted(lambda: [squares.jacobian(np.ones(64 * 4 + 9)) for _ in range(10)])
""",
    "order": """
fit = fastnn._core.Fit(network().network, np.zeros((30_000_000, 64), "u1"), np.zeros((30_000_000, 8), "f4"))
wait = interrupted(lambda: [fit.begin_epoch(0, e, True, np.zeros(fit.n_steps)) for e in range(10)])
""",
}

LANDSCAPE = """
model = network(Dense(512))
threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    fastnn.loss_landscape(model, X, Y, n=101, verbose=0)
except KeyboardInterrupt:
    print(threading.active_count())
"""


def test_an_interrupt_ends_a_loss_landscape(run_python):
    """Its 10,201 points would take minutes."""
    done = run_python(PROGRAM + LANDSCAPE)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_ends_a_long_call_soon(name, run_python):
    done = run_python(f"{PROGRAM}\nimport fastnn._core\n{CALLS[name]}\nprint(wait, kept)")
    assert done.returncode == 0, done.stderr
    wait, kept = done.stdout.split()
    assert float(wait) < 0.1
    assert kept == "True"


@pytest.mark.parametrize("shared", [False, True])
def test_steps_that_store_their_gradients_have_the_bits_of_those_that_do_not(shared):
    """With a bound on norms, which none reaches here, every long step stores them; without, one of more than 40 ms."""

    def trained(**options):
        inputs = fastnn.Input((512,))
        layer = fastnn.layers.Dense(512, activation="relu")
        hidden = layer(layer(inputs)) if shared else layer(inputs)
        model = fastnn.Model(inputs, fastnn.layers.Dense(1024)(hidden), seed=0)
        model.compile(fastnn.optimizers.Adam(**options), "mse")
        model.fit(X, Y, batch_size=len(X), epochs=4, verbose=0)
        return model

    generator = np.random.default_rng(0)
    X, Y = (generator.normal(size=(512, n)).astype(np.float32) for n in (512, 1024))
    assert same_weights(trained(), trained(global_clipnorm=1e9))
