"""The compiled core against its definition: exact products, the same bits on all threads and instruction sets."""

import os
import threading

import numpy as np
import pytest
from core_options import complete_ops
from derivatives import finite_difference

from fastnn import _core

ISAS = _core.config()["isas"]


@pytest.fixture(scope="module")
def computed(run_per_isa):
    """What each instruction set of this machine computes (tests/core_bits.py)."""
    return run_per_isa("core_bits.py")


@pytest.mark.parametrize("isa", ISAS)
def test_integer_products_are_exact(computed, isa):
    assert computed[isa]["isa"] == isa
    assert computed[isa]["integer"] == []


@pytest.mark.parametrize("isa", ISAS)
def test_products_equal_the_definition_bit_for_bit(computed, isa):
    assert computed[isa]["definition"] == []


@pytest.mark.parametrize("isa", ISAS)
def test_predict_gives_a_row_the_same_bits_whatever_the_other_rows(computed, isa):
    assert computed[isa]["rows"] == []


@pytest.mark.parametrize("isa", ISAS)
def test_threads_change_no_bit(computed, isa):
    for recipe, hashes in computed[isa]["hashes"].items():
        assert len(set(hashes)) == 1, recipe


@pytest.mark.parametrize("isa", ISAS)
def test_cutting_an_epoch_changes_no_bit(computed, isa):
    for recipe, digest in computed[isa]["cut"].items():
        assert digest == computed[isa]["hashes"][f"{recipe} float32"][0], recipe


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa not in ("scalar", "baseline")])
def test_vector_kernels_equal_the_scalar_ones(computed, isa):
    assert computed[isa]["hashes"] == computed["scalar"]["hashes"]
    assert computed[isa]["functions"] == computed["scalar"]["functions"]


def test_the_baseline_differs_because_it_rounds_twice(computed):
    if "baseline" not in ISAS:
        pytest.skip("this architecture has no baseline without fused multiply-add")
    assert computed["baseline"]["hashes"] != computed["scalar"]["hashes"]


@pytest.mark.parametrize("name", ["sse9", "AVX2", "auto"])
def test_an_unknown_instruction_set_is_an_error(run_python, name):
    run = run_python("import fastnn", FASTNN_ISA=name)
    assert run.returncode != 0
    assert f"FASTNN_ISA={name!r}" in run.stderr
    assert "scalar" in run.stderr


def test_an_unsupported_instruction_set_is_an_error(run_python):
    foreign = "neon" if "avx2" in ISAS else "avx512"
    run = run_python("import fastnn", FASTNN_ISA=foreign)
    assert run.returncode != 0
    assert "not supported by this CPU or build" in run.stderr


OUTPUTS = [
    ("linear", "mean_squared_error", {}),
    ("linear", "mean_absolute_error", {"sum": True}),
    ("tanh", "huber", {"delta": 0.3}),
    ("sigmoid", "binary_crossentropy", {"label_smoothing": 0.1}),
    ("sigmoid", "binary_crossentropy", {"from_logits": True}),
    ("linear", "binary_crossentropy", {"from_logits": True}),
    ("softmax", "categorical_crossentropy", {}),
    ("softmax", "categorical_crossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    ("linear", "categorical_crossentropy", {"from_logits": True}),
    ("softmax", "sparse_categorical_crossentropy", {}),
    ("softmax", "sparse_categorical_crossentropy", {"from_logits": True}),
]


@pytest.mark.parametrize(("output", "loss", "options"), OUTPUTS)
@pytest.mark.parametrize("hidden", _core.ACTIVATIONS)
def test_gradients_agree_with_finite_differences(hidden, output, loss, options):
    rng = np.random.default_rng(7)
    n, sizes = 23, [5, 7, 4]
    ops = [
        ("dense", {"n_out": sizes[1], "activation": hidden}),
        ("activation", {"activation": "silu"}),
        ("dense", {"n_out": sizes[2], "activation": output}),
    ]
    network = _core.Network(sizes[0], complete_ops(ops), "float64")
    network.compile(loss, options, "sgd", {})
    for op, shape in ((0, (5, 7)), (2, (7, 4))):
        network.set_parameter(op, "kernel", rng.normal(size=shape) * 0.7)
        network.set_parameter(op, "bias", rng.normal(size=shape[1]) * 0.3)
    X = rng.normal(size=(n, sizes[0]))
    weight = rng.uniform(0.5, 2, n)
    if loss.startswith("sparse"):
        y = rng.integers(0, 4, n)
    elif "categorical" in loss:
        y = rng.dirichlet(np.ones(4), n)
    elif loss == "binary_crossentropy":
        y = rng.integers(0, 2, (n, 4)).astype(float)
    else:
        y = rng.normal(size=(n, 4))
    logits = bool(options.get("from_logits")) and output != "linear"

    def loss_with(op, name, moved):
        network.set_parameter(op, name, moved)
        return _core.loss_and_gradient(loss, y, network.predict(X, logits=logits), weight, gradient=False, **options)[0]

    gradients = _core.Fit(network, X, y, weight, batch_size=n, n_threads=2).gradients()
    assert [(op, name) for op, name, _ in gradients] == [(0, "kernel"), (0, "bias"), (2, "kernel"), (2, "bias")]
    for op, name, gradient in gradients:
        parameter = network.get_parameter(op, name)
        numeric = finite_difference(lambda moved, op=op, name=name: loss_with(op, name, moved), parameter)
        network.set_parameter(op, name, parameter)
        assert np.abs(gradient).max() > 0
        np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-9)


def test_a_network_in_use_refuses_a_second_trainer():
    network = _core.Network(200, [("dense", {"n_out": 300}), ("dense", {"n_out": 200})], "float32")
    network.compile("mean_squared_error", {}, "sgd", {})
    X = np.ones((20000, 200), np.float32)
    fits = [_core.Fit(network, X, X, None, 64, 1) for _ in range(2)]
    refusals = []

    def train(fit, **limit):
        try:
            fit.run(**limit)
        except RuntimeError as error:
            refusals.append(str(error))

    for _ in range(100):  # A busy machine may run the threads one after the other.
        for fit in fits:
            fit.begin_epoch(0, 0, False, np.full(fit.n_steps, 1e-6))
        thread = threading.Thread(target=train, args=(fits[0],), kwargs={"max_seconds": 0.5})
        thread.start()
        while thread.is_alive() and not refusals:
            train(fits[1], max_steps=1)
        thread.join()
        if refusals:
            break
    assert refusals
    assert all("in use by another thread" in refusal for refusal in refusals)


def test_a_forked_child_computes_the_same_bits(run_python):
    if not hasattr(os, "fork"):
        pytest.skip("this platform has no fork")
    code = """
import os, sys, fastnn, numpy as np
from fastnn import _core
_core.set_num_threads(2)
X = np.random.default_rng(0).normal(size=(4000, 50)).astype(np.float32)
network = _core.Network(50, [("dense", {"n_out": 200, "activation": "relu"}), ("dense", {"n_out": 3})])
network.set_parameter(0, "kernel", np.full((50, 200), 0.01)); network.set_parameter(1, "kernel", np.full((200, 3), 0.1))
network.compile("mean_squared_error", {}, "adam", fastnn.optimizers.Adam().options())
fit = _core.Fit(network, X, X[:, :3].copy(), None, 400)
fit.begin_epoch(0, 0, True, np.full(fit.n_steps, 1e-3))
fit.run(max_seconds=60)
before = network.predict(X).tobytes()
pid = os.fork()
if pid == 0:
    same = network.predict(X).tobytes() == before
    fit.begin_epoch(0, 1, True, np.full(fit.n_steps, 1e-3))
    fit.run(max_seconds=60)
    os._exit(0 if same else 1)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    assert run_python(code).returncode == 0
