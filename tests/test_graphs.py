"""Networks that are graphs, in the compiled core: their gradients, and the same bits on all threads and processors."""

import random

import numpy as np
import pytest
from derivatives import partial_difference
from graphs import Graph, op, random_graph
from layer_bits import PARAMETERS

from fastnn import _core

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

ISAS = _core.config()["isas"]
N = 9


def dense(n_out, activation="tanh", **options):
    """A dense op."""
    return "dense", {"n_out": n_out, "activation": activation, **options}


def squared(count):
    """Squared errors for some outputs."""
    return [("mean_squared_error", {}, 1.0)] * count


def check_graph(graph, n=N):
    """Compare predictions and gradients with NumPy, and gradients with differences; return the network."""
    network = graph.network("float64")
    fit, X, targets = graph.fit(network, n, n, 2)
    fit.begin_epoch(1, 0, False, np.zeros(1))
    twin = graph.twin(network)
    outputs = network.predict(X)
    for out, expected in zip(outputs if len(graph.outputs) > 1 else [outputs], twin.predict(X), strict=True):
        np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9)
    total, expected = graph.twin(network, before_softmax=True).gradients(X, targets, graph.losses)
    found = fit.gradients(training=True)
    assert {place[:2] for place in found} == {
        (number, name)
        for number, name in graph.parameters()
        if "moving" not in name and graph.ops[number][0] != "bounded_lines"
    }
    scale = max(np.abs(gradient).max() for _, _, gradient in found)
    for number, name, gradient in found:
        wanted = expected[number][PARAMETERS[graph.ops[number][0]].index(name)]
        np.testing.assert_allclose(gradient, wanted, rtol=1e-7, atol=1e-9 * max(1.0, scale))
    assert loss_of(fit, n) == pytest.approx(total, rel=1e-9)
    check_differences(network, fit, found, n)
    return network


def loss_of(fit, n):
    """The loss in training, by a step with learning rate 0."""
    fit.begin_epoch(1, 0, False, np.zeros(1))
    assert fit.run(1) == "finished"
    return fit.loss_sum / n


def check_differences(network, fit, gradients, n):
    """Compare entries of each gradient with differences, of several widths: an extreme may have a kink nearby."""
    scale = max(1.0, max(np.abs(gradient).max() for _, _, gradient in gradients))
    for number, name, gradient in gradients:
        start = network.get_parameter(number, name)
        if "moving" in name:
            continue

        def moved_loss(moved, place=(number, name)):
            network.set_parameter(*place, moved)
            return loss_of(fit, n)

        for index in [tuple(np.random.default_rng(i).integers(0, start.shape)) for i in range(2)]:
            tolerance = 1e-6 * abs(gradient[index]) + 1e-8 * scale
            errors = []
            for h in (1e-4, 1e-3, 1e-5):
                errors.append(abs(partial_difference(moved_loss, start, index, h) - gradient[index]))
                if errors[-1] <= tolerance:
                    break
            network.set_parameter(number, name, start)
            assert min(errors) <= tolerance, (number, name, index, errors)


TWO = [dense(3), dense(3, "sigmoid", inputs=(0,))]  # buffers 1 and 2 of one input
NARROW = [dense(1), dense(3, "sigmoid", inputs=(0,))]
WIDE = [dense(3), dense(1, "sigmoid", inputs=(0,))]
PAIRS = ("add", "subtract", "multiply", "divide", "average", "maximum", "minimum")
ALONE = {
    **{
        f"{kind} {name}": [*two, op(kind, 1, 2)]
        for kind in PAIRS
        for name, two in (("equal", TWO), ("narrow first", NARROW), ("narrow second", WIDE))
    },
    **{
        f"{kind} of three": [*WIDE, dense(3, inputs=(0,)), op(kind, 2, 1, 3)]
        for kind in PAIRS
        if kind not in ("subtract", "divide")
    },
    **{f"{kind} of one": [dense(3), op(kind, 1)] for kind in PAIRS if kind not in ("subtract", "divide")},
    **{f"{kind} twice the same": [dense(3, "sigmoid"), op(kind, 1, 1)] for kind in PAIRS},
    **{
        f"{kind} and a number": [dense(3, "sigmoid"), op(kind, 1, number=0.4, number_first=first)]
        for kind in PAIRS
        if kind != "average"
        for first in (False,)
    },
    **{
        f"a number and {kind}": [dense(3, "sigmoid"), op(kind, 1, number=0.4, number_first=True)]
        for kind in PAIRS
        if kind != "average"
    },
    "concatenate": [*TWO, op("concatenate", 2, 1, 2)],
    "slice": [dense(6), op("slice", 1, start=1, stop=5, step=2)],
    "slice backwards": [dense(6), op("slice", 1, start=5, stop=-1, step=-2)],
    "dot": [*TWO, op("dot", 1, 2)],
    "dot with itself": [dense(4), op("dot", 1, 1)],
    "cosine": [*TWO, op("dot", 1, 2, normalize=True)],
    "shared dense": [dense(4), dense(4), dense(4, weights_of=1), dense(4, weights_of=2)],
    "shared normalization": [
        dense(4),
        op("layer_normalization", 1),
        dense(4),
        op("layer_normalization", 3, weights_of=1),
    ],
    "shared prelu": [dense(4), op("prelu", 1), dense(4), op("prelu", 3, weights_of=1)],
    "shared batch normalization": [
        dense(4),
        op("batch_normalization", 1),
        dense(4),
        op("batch_normalization", 3, weights_of=1),
    ],
    "feature scale": [dense(3), op("feature_scale", 1, members=2)],
    "shared feature scale": [
        dense(4),
        op("feature_scale", 1, members=1),
        op("feature_scale", 2, members=1, weights_of=1),
    ],
    "parametric activation": [dense(4, "linear"), op("parametric_activation", 1, function="mish")],
    "cosine features": [dense(3), op("cosine_features", 1, count=5)],
    "grouped product": [dense(6), op("grouped_product", 1, n_rows=2, n_columns=12, groups=3)],
    "bounded lines": [dense(3), op("bounded_lines", 1, n_rows=3, n_columns=12)],
    "member product": [dense(6), op("member_product", 1, n_rows=2, n_columns=4, groups=3)],
    "branches from one place": [
        dense(4),
        dense(4),
        ("add", {"source": 1}),
        dense(4),
        ("add", {"source": 1}),
        ("add", {"source": 1}),
    ],
}


@pytest.mark.parametrize("name", ALONE)
def test_gradients_of_each_op_agree_with_numpy_and_with_differences(name):
    ops = [*ALONE[name], dense(2)]
    if any("source" in options for _, options in ops):
        ops = [(kind, _with_inputs(i, options)) for i, (kind, options) in enumerate(ops)]
    ops = [(kind, {"inputs": (i,), **options}) for i, (kind, options) in enumerate(ops)]
    check_graph(Graph([5], ops, [len(ops)], squared(1), [0]))


def _with_inputs(number, options):
    """An op of a chain without "source"."""
    return {"inputs": (options["source"], number)} if "source" in options else options


@pytest.mark.parametrize("n_columns", [1, 8, 17])
def test_gradients_of_an_embedding_agree_with_numpy_and_with_differences(n_columns):
    ops = [op("slice", 0, start=1, stop=3, step=1), op("embedding", 2, n_rows=5, n_columns=n_columns)]
    ops += [op("concatenate", 3, 1), dense(2)]
    check_graph(Graph([4, 3], [*ops[:3], ("dense", {"inputs": (4,), **ops[3][1]})], [5], squared(1), [5, 0]))


@hypothesis.given(st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
def test_random_graphs_agree_with_numpy_and_with_differences(seed):
    check_graph(random_graph(random.Random(seed)))


@pytest.fixture(scope="module")
def computed(run_per_isa):
    """What each instruction set of this machine computes (tests/graph_bits.py)."""
    return run_per_isa("graph_bits.py")


@pytest.mark.parametrize("isa", ISAS)
def test_threads_and_cuts_change_no_bit(computed, isa):
    assert [name for name, hashes in computed[isa]["hashes"].items() if len(set(hashes)) > 1] == []


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa not in ("scalar", "baseline")])
def test_vector_kernels_equal_the_scalar_ones(computed, isa):
    assert computed[isa]["hashes"] == computed["scalar"]["hashes"]


@pytest.mark.parametrize("isa", ISAS)
def test_a_row_has_the_same_prediction_whatever_else_is_predicted(computed, isa):
    assert computed[isa]["mixed"] == {}
