"""Inputs of graphs in the compiled core: embeddings, and what is refused."""

import re

import numpy as np
import pytest
from graphs import Graph, op

from fastnn import _core

N = 12


def dense(n_out, *inputs):
    """A linear dense op."""
    return op("dense", *inputs, n_out=n_out, activation="linear")


SQUARED = ("mean_squared_error", {}, 1.0)
TABLE = [op("embedding", 0, n_rows=6, n_columns=3), dense(2, 2)]
GRAPH = Graph([2, 1], [*TABLE, dense(1, 1)], [3, 4], [SQUARED, SQUARED], [6, 0])


# ---- embeddings ----


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "float64"])
@pytest.mark.parametrize("n_columns", [1, 8, 16, 37])
@pytest.mark.parametrize("rows", [1, 70])
def test_an_embedding_looks_rows_up(dtype, n_columns, rows):
    network = _core.Network([3], [("embedding", {"n_rows": 50, "n_columns": n_columns})], "float32")
    table = np.random.default_rng(0).normal(size=(50, n_columns)).astype("float32")
    network.set_parameter(0, "kernel", table)
    X = np.random.default_rng(1).integers(0, 50, (rows, 3))
    np.testing.assert_array_equal(network.predict(X.astype(dtype)), table[X].reshape(rows, -1))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n_columns", [5, 40])
def test_the_gradient_of_a_table_is_the_sum_over_its_rows_in_order_and_zero_elsewhere(threads, n_columns):
    ops = [op("embedding", 0, n_rows=700, n_columns=n_columns), dense(4, 1)]
    graph = Graph([2], ops, [2], [SQUARED], [300])
    network = graph.network("float32")
    fit, (X,), (y,) = graph.fit(network, 200, 200, threads)
    found = {(number, name): gradient for number, name, gradient in fit.gradients()}
    kernel = network.get_parameter(1, "kernel")
    slopes = (2.0 / y.size * (network.predict(X) - y)).astype("float32")
    table = np.zeros((700, n_columns))
    np.add.at(table, X.ravel(), (slopes @ kernel.T).reshape(-1, n_columns))
    np.testing.assert_allclose(found[0, "kernel"], table, rtol=1e-4, atol=1e-6)
    named = np.unique(X)
    assert not np.delete(found[0, "kernel"], named, axis=0).any()
    before = network.get_parameter(0, "kernel")
    fit.begin_epoch(1, 0, True, np.full(1, 0.1))
    assert fit.run() == "finished"
    moved = (network.get_parameter(0, "kernel") != before).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(moved), named)


WRONG = [(6, "6.0"), (-1, "-1.0"), (1.5, "1.5"), (np.nan, "nan"), (np.inf, "inf"), (1e300, "1e+300")]


@pytest.mark.parametrize(("value", "text"), WRONG)
def test_a_number_that_names_no_row_is_refused_before_anything_changes(value, text):
    network = GRAPH.network("float64")
    X, y = GRAPH.inputs(N), GRAPH.targets(network, N)
    X[0] = X[0].astype(np.float64)
    X[0][7, 1] = value
    before = [network.get_parameter(*place) for place in GRAPH.parameters()]
    message = re.escape(f"X[0] has {text} in row 7, column 1, where an embedding takes integers from 0 to 5")
    out = [np.full((N, width), 3.0) for width in network.output_widths]
    with pytest.raises(ValueError, match=message):
        _core.Fit(network, X, y)
    with pytest.raises(ValueError, match=message):
        network.predict(X, out)
    assert all((each == 3.0).all() for each in out)
    assert network.iterations == 0
    for place, start in zip(GRAPH.parameters(), before, strict=True):
        np.testing.assert_array_equal(network.get_parameter(*place), start)


def test_a_number_that_is_changed_during_a_fit_reads_no_memory_of_others():
    network = GRAPH.network("float64")
    X, y = GRAPH.inputs(N), GRAPH.targets(network, N)
    fit = _core.Fit(network, X, y, None, 4)
    before = network.get_parameter(0, "kernel")
    fit.begin_epoch(1, 0, False, np.full(fit.n_steps, 0.1))
    X[0][...] = 1 << 40
    assert fit.run() == "nonfinite"
    np.testing.assert_array_equal(network.get_parameter(0, "kernel"), before)


def test_an_embedding_reads_columns_of_inputs_only():
    slices = [
        op("slice", 0, start=0, stop=3, step=2),
        op("concatenate", 2, 1),
        op("embedding", 3, n_rows=9, n_columns=2),
    ]
    network = _core.Network([4, 1], slices, "float32")
    X = [np.array([[1, 99, 2, 99]]), np.array([[3]])]
    assert network.predict(X).shape == (1, 6)
    with pytest.raises(ValueError, match=re.escape("X[1] has 9 in row 0, column 0")):
        network.predict([X[0], np.array([[9]])])
    with pytest.raises(
        ValueError, match="op 1, 'embedding', must read columns of an input, but what it reads is computed"
    ):
        _core.Network([4], [dense(2, 0), op("embedding", 1, n_rows=9, n_columns=2)])


# ---- what is refused ----


@pytest.mark.parametrize(
    ("widths", "ops", "outputs", "message"),
    [
        ([3], [op("add", 0, 1)], None, "op 0, 'add', reads buffer 1, but only 0 to 0 come before it"),
        ([3], [dense(2, -1)], None, "op 0, 'dense', reads buffer -1"),
        ([3, 2], [op("add", 0, 1)], None, "op 0, 'add', takes inputs of equal width, or of width 1, got widths [3, 2]"),
        ([3, 3], [dense(2, 0, 1)], None, "op 0, 'dense', takes 1 inputs, got 2"),
        ([3, 3], [op("subtract", 0, 1, 0)], None, "op 0, 'subtract', takes 2 inputs, got 3"),
        ([3, 2], [op("dot", 0, 1)], None, "op 0, 'dot', takes two inputs of equal width, got widths [3, 2]"),
        ([3, 3], [op("add", 0, 1, number=1.0)], None, "op 0, 'add', takes 1 inputs, got 2"),
        ([3], [op("average", 0, number=1.0)], None, "op 0, 'average', takes no number"),
        ([3], [op("slice", 0, start=1, stop=1, step=1)], None, "op 0, 'slice', must take at least one of 3 columns"),
        ([3], [op("slice", 0, start=1, stop=5, step=1)], None, "op 0, 'slice', must take at least one of 3 columns"),
        ([3], [op("slice", 0, start=1, stop=2, step=0)], None, "op 0, 'slice', has the step 0"),
        ([3], [op("slice", 0, start=1)], None, "op 0, 'slice', lacks stop, step"),
        (
            [3],
            [op("embedding", 0, n_rows=0, n_columns=2)],
            None,
            "n_rows of op 0, 'embedding', must be from 1 to 16777216",
        ),
        (
            [3],
            [op("grouped_product", 0, n_rows=3, n_columns=0, groups=1)],
            None,
            "n_columns of op 0, 'grouped_product', must be from 1 to 1099511627776, got 0",
        ),
        (
            [3],
            [dense(2, 0), ("dense", {"n_out": 3, "weights_of": 0})],
            None,
            "op 1, 'dense', cannot use the weights of op 0",
        ),
        (
            [3],
            [dense(3, 0), ("prelu", {"weights_of": 0})],
            None,
            "op 1, 'prelu', cannot use the weights of op 0, 'dense'",
        ),
        ([3], [("dense", {"n_out": 3, "weights_of": 0})], None, "weights_of of op 0 must be an earlier op, got 0"),
        ([3], [dense(2, 0)], [2], "outputs must be buffers from 0 to 1, got 2"),
        ([3], [dense(2, 0)], [], "a network has 1 to 64 outputs, got 0"),
        ([], [], None, "a network has 1 to 255 inputs, got 0"),
        ([3, 0], [], None, "n_features must be from 1 to"),
    ],
)
def test_programs_that_are_refused(widths, ops, outputs, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        _core.Network(widths, ops, outputs=outputs)


def test_arrays_that_are_refused():
    network = GRAPH.network("float64")
    X, y = GRAPH.inputs(N), GRAPH.targets(network, N)
    for bad, message in (
        (X[:1], "the network takes 2 inputs, got 1"),
        (X[0], "the network takes 2 inputs, got 1"),
        ([X[0], X[1][:5]], "X[1] has 5 rows, but X[0] has 12"),
        ([X[1], X[0]], "X[0] has 1 features, but the network takes 2"),
        ([X[0], np.full((N, 1), np.nan)], "X[1] has a value that is not finite in row 0, column 0: nan"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            network.predict(bad)
    for bad, message in (
        (y[:1], "y must hold 2 arrays, got 1"),
        ([y[0], y[1][:3]], "y[1] must have shape (12, 1), got (3, 1)"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            _core.Fit(network, X, bad)
    with pytest.raises(ValueError, match=re.escape("sample_weight[1] must have shape (12,), got (3,)")):
        _core.Fit(network, X, y, [None, np.ones(3)])
    with pytest.raises(ValueError, match=re.escape("predictions[1] must be a writeable")):
        _core.Fit(network, X, y, predictions=[None, np.ones((3, 1))])


def test_losses_that_are_refused():
    network = GRAPH.network("float64")
    for losses, message in (
        ([SQUARED], "the network has 2 outputs, but 1 losses are given"),
        ([None, None], "at least one output must have a loss"),
        ([SQUARED, ("mean_squared_error", {}, np.inf)], "the weight of loss 1 must be finite, got inf"),
    ):
        with pytest.raises(ValueError, match=message):
            network.compile(losses, None, "sgd", {})
    with pytest.raises(RuntimeError, match="the network has no loss: call compile"):
        _core.Fit(_core.Network([2, 1], GRAPH.ops), GRAPH.inputs(N), None)
