"""Graphs in the compiled core: values by hand, shared weights, several losses, and what is left out."""

import numpy as np
import pytest
from graphs import Graph, op

from fastnn import _core

N = 10


def dense(n_out, *inputs, activation="linear", **options):
    """A dense op."""
    return "dense", {"n_out": n_out, "activation": activation, **({"inputs": inputs} if inputs else {}), **options}


def squared(weight=1.0):
    """A squared error."""
    return "mean_squared_error", {}, weight


def ran(fit, rate=0.1, epoch=0):
    """One epoch in order; return how it ended."""
    fit.begin_epoch(1, epoch, False, np.full(fit.n_steps, rate))
    while (state := fit.run()) == "more":
        pass
    return state


A, B, ONE = np.array([[1.0, -2.0, 4.0]]), np.array([[3.0, 5.0, -8.0]]), np.array([[2.0]])


@pytest.mark.parametrize(
    ("kind", "inputs", "options", "expected"),
    [
        ("add", (0, 1), {}, [4, 3, -4]),
        ("subtract", (0, 1), {}, [-2, -7, 12]),
        ("multiply", (0, 1), {}, [3, -10, -32]),
        ("divide", (1, 0), {}, [3, -2.5, -2]),
        ("average", (0, 1, 0, 1), {}, [2, 1.5, -2]),
        ("maximum", (0, 1), {}, [3, 5, 4]),
        ("minimum", (0, 1), {}, [1, -2, -8]),
        ("add", (0, 1, 0, 2), {}, [7, 3, 2]),
        ("multiply", (2, 0), {}, [2, -4, 8]),
        ("subtract", (2, 0), {}, [1, 4, -2]),
        ("divide", (0, 2), {}, [0.5, -1, 2]),
        ("subtract", (0,), {"number": 1.0}, [0, -3, 3]),
        ("subtract", (0,), {"number": 1.0, "number_first": True}, [0, 3, -3]),
        ("divide", (0,), {"number": 8.0, "number_first": True}, [8, -4, 2]),
        ("maximum", (0,), {"number": 0.5}, [1, 0.5, 4]),
        ("concatenate", (2, 0, 2), {}, [2, 1, -2, 4, 2]),
        ("slice", (0,), {"start": 0, "stop": 3, "step": 2}, [1, 4]),
        ("slice", (0,), {"start": 2, "stop": -1, "step": -1}, [4, -2, 1]),
        ("dot", (0, 1), {}, [3 - 10 - 32]),
        ("dot", (0, 1), {"normalize": True}, [-39 / np.sqrt(21 * 98)]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 64])
def test_values_by_hand(kind, inputs, options, expected, dtype, rows):
    network = _core.Network([3, 3, 1], [op(kind, *inputs, **options)], dtype)
    outputs = network.predict([np.repeat(each, rows, axis=0) for each in (A, B, ONE)])
    assert outputs.shape == (rows, len(expected))
    np.testing.assert_allclose(outputs, np.tile(expected, (rows, 1)), rtol=4 * np.finfo(dtype).eps)


def test_outputs_may_be_inputs_and_may_repeat():
    network = _core.Network([3, 1], [op("add", 0, 1)], "float64", outputs=[1, 2, 2, 0])
    one, total, again, first = network.predict([A, ONE])
    np.testing.assert_array_equal(one, ONE)
    np.testing.assert_array_equal(total, A + ONE)
    np.testing.assert_array_equal(again, total)
    np.testing.assert_array_equal(first, A)


def test_predictions_go_to_given_arrays_and_come_from_given_buffers():
    graph = Graph([4], [dense(16, activation="tanh"), dense(3), dense(2, 1)], [2, 3], [squared(), squared()], [0])
    network = graph.network("float32")
    X = np.random.default_rng(0).normal(size=(21, 4)).astype("float32")
    outputs = [np.full((21, width), np.nan, "float32") for width in (3, 2)]
    assert network.predict(X, outputs)[1] is outputs[1]
    for given, alone in zip(outputs, network.predict([X]), strict=True):
        np.testing.assert_array_equal(given, alone)
    hidden, same = network.predict(X, buffers=[1, 2])
    np.testing.assert_array_equal(same, outputs[0])
    np.testing.assert_allclose(
        hidden, np.tanh(X @ network.get_parameter(0, "kernel") + network.get_parameter(0, "bias")), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ValueError, match=r"buffers must be from 0 to 3, got 4"):
        network.predict(X, buffers=[4])
    with pytest.raises(ValueError, match=r"out must hold 2 arrays, got 1"):
        network.predict(X, outputs[:1])


# ---- shared weights ----

TOWERS = [
    dense(6, 0, activation="tanh", kernel_regularizer=(0.02, 0.03)),
    dense(6, 1, activation="tanh", weights_of=0),
    op("subtract", 2, 3),
    dense(2),
]


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"clipvalue": 0.05},
        {"clipnorm": 0.1},
        {"global_clipnorm": 0.2},
        {"gradient_accumulation_steps": 2},
    ],
)
def test_shared_weights_move_once_by_the_sum_of_their_gradients(rule):
    graph = Graph([5, 5], TOWERS, [5], [squared()], [0, 0])
    network = graph.network("float64", "sgd", rule)
    fit, X, y = graph.fit(network, N, N, 1)
    before = [network.get_parameter(*place) for place in graph.parameters()]
    _, found = graph.twin(network).gradients(X, y, graph.losses)
    gradients = [g for each in found for g in each]
    gradients[0] = gradients[0] + 0.02 * np.sign(before[0]) + 2.0 * 0.03 * before[0]
    steps = rule.get("gradient_accumulation_steps", 1)
    for epoch in range(steps):
        assert ran(fit, 0.5, epoch) == "finished"
    if "clipvalue" in rule:
        gradients = [np.clip(g, -0.05, 0.05) for g in gradients]
    if "clipnorm" in rule:
        gradients = [g * 0.1 / max(0.1, np.linalg.norm(g)) for g in gradients]
    if "global_clipnorm" in rule:
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
        gradients = [g * 0.2 / max(0.2, norm) for g in gradients]
    for place, start, gradient in zip(graph.parameters(), before, gradients, strict=True):
        np.testing.assert_allclose(network.get_parameter(*place), start - 0.5 * gradient, rtol=1e-9, atol=1e-12)


def test_an_op_that_shares_gives_the_weights_of_the_owner():
    network = Graph([5, 5], TOWERS, [5], [squared()], [0, 0]).network("float64")
    np.testing.assert_array_equal(network.get_parameter(1, "kernel"), network.get_parameter(0, "kernel"))
    network.set_parameter(1, "bias", np.arange(6.0))
    np.testing.assert_array_equal(network.get_parameter(0, "bias"), np.arange(6.0))


@pytest.mark.parametrize("frozen", [0, 1])
def test_freezing_one_op_freezes_all_that_share_its_weights(frozen):
    graph = Graph([5, 5], TOWERS, [5], [squared()], [0, 0])
    network = graph.network("float64")
    network.set_trainable(frozen, False)
    fit, _, _ = graph.fit(network, N, 4, 1)
    before = [network.get_parameter(*place) for place in graph.parameters()]
    ran(fit)
    after = [network.get_parameter(*place) for place in graph.parameters()]
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False, False]


def test_shared_batch_normalization_moves_its_statistics_once_per_call():
    ops = [
        op("batch_normalization", 0, momentum=0.75),
        op("batch_normalization", 1, momentum=0.75, weights_of=0),
        op("add", 2, 3),
        dense(1),
    ]
    graph = Graph([3, 3], ops, [5], [squared()], [0, 0])
    network = graph.network("float64")
    mean, variance = network.get_parameter(0, "moving_mean"), network.get_parameter(0, "moving_variance")
    fit, X, _ = graph.fit(network, N, N, 1)
    ran(fit)
    for x in X:
        mean = 0.75 * mean + 0.25 * x.mean(axis=0)
        variance = 0.75 * variance + 0.25 * x.var(axis=0)
    np.testing.assert_allclose(network.get_parameter(1, "moving_mean"), mean, rtol=1e-12)
    np.testing.assert_allclose(network.get_parameter(0, "moving_variance"), variance, rtol=1e-12)


# ---- losses ----

HEADS = [
    dense(8, activation="tanh"),
    dense(3, 1, activation="softmax"),
    dense(2, 1),
    dense(4, 1, kernel_regularizer=(0.0, 1.0), activity_regularizer=(0.0, 1.0)),
    op("batch_normalization", 4, momentum=0.5),
]


def heads(losses, dtype="float64"):
    """A network with three heads, and its fit with predictions."""
    graph = Graph([5], HEADS, [2, 3, 5], losses, [0])
    network = graph.network(dtype)
    predictions = [np.full((N, width), np.nan, dtype) for width in network.output_widths]
    X, targets = graph.inputs(N), graph.targets(network, N)
    y = [each for each, loss in zip(targets, losses, strict=True) if loss is not None]
    fit = _core.Fit(network, X, y, None, 4, 1, predictions)
    return network, fit, predictions, X, targets


CROSSENTROPY = "sparse_categorical_crossentropy", {"from_logits": True}, 0.5


def test_the_loss_is_the_sum_of_all_losses_times_their_weights():
    network, fit, _, X, (labels, numbers, _) = heads([CROSSENTROPY, squared(3.0), None])
    probabilities, outputs, _ = network.predict(X)
    assert ran(fit, 0.0) == "finished"
    crossentropy, error = (value / N for value in fit.loss_sums)
    assert crossentropy == pytest.approx(-np.mean(np.log(probabilities[np.arange(N), labels])), rel=1e-9)
    assert error == pytest.approx(np.mean((outputs - numbers) ** 2), rel=1e-9)
    assert fit.loss_sum / N == pytest.approx(0.5 * crossentropy + 3.0 * error, rel=1e-12)


def test_what_no_loss_depends_on_is_neither_trained_nor_penalized():
    network, fit, predictions, X, _ = heads([CROSSENTROPY, squared(), None])
    assert network.penalty == 0.0
    unused = [(3, "kernel"), (3, "bias"), (4, "gamma"), (4, "moving_mean"), (4, "moving_variance")]
    before = [network.get_parameter(*place) for place in unused]
    outputs = network.predict(X)
    assert ran(fit) == "finished"
    assert fit.penalty_sum == 0.0
    for place, start in zip(unused, before, strict=True):
        np.testing.assert_array_equal(network.get_parameter(*place), start)
    # the outputs of the first batch are those before the first update, where batch normalization does not act
    for prediction, output in zip(predictions[:2], outputs[:2], strict=True):
        np.testing.assert_allclose(prediction[:4], output[:4], rtol=1e-12)
    assert np.isfinite(predictions[2]).all()


def test_an_output_with_a_loss_is_penalized():
    network, fit, _, X, _ = heads([None, None, squared()])
    kernel = network.get_parameter(3, "kernel")
    assert network.penalty == pytest.approx(np.sum(kernel**2))
    ran(fit, 0.0)
    assert fit.penalty_sum / N == pytest.approx(np.sum(kernel**2))
    activity = np.empty(N)
    network.predict(X, activity=activity)
    batches = [activity[first : first + 4].mean() * len(activity[first : first + 4]) for first in range(0, N, 4)]
    assert fit.loss_sum == pytest.approx(fit.loss_sums[0] + fit.penalty_sum + sum(batches))


def test_sample_weights_are_those_of_each_output():
    graph = Graph([5], HEADS[:3], [2, 3], [CROSSENTROPY, squared()], [0])
    network = graph.network("float64")
    X, targets = graph.inputs(N), graph.targets(network, N)
    weights = np.random.default_rng(5).random(N)
    probabilities, outputs = network.predict(X)
    expected = -np.log(probabilities[np.arange(N), targets[0]]), ((outputs - targets[1]) ** 2).mean(axis=1)
    for given, factors in (
        (weights, (weights, weights)),
        ([weights, None], (weights, np.ones(N))),
        ([None, weights], (np.ones(N), weights)),
    ):
        fit = _core.Fit(network, X, targets, given, N)
        ran(fit, 0.0)
        for found, values, factor in zip(fit.loss_sums, expected, factors, strict=True):
            assert found / N == pytest.approx(np.mean(values * factor), rel=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_of_the_caller_train_with_the_native_ones(dtype):
    native, fit, _, _, _ = heads([CROSSENTROPY, squared(3.0), squared()], dtype)
    other, mixed, _, _, (_, numbers, last) = heads([CROSSENTROPY, ("custom", {}, 3.0), ("custom", {}, 1.0)], dtype)
    for epoch in range(3):
        ran(fit, 0.1, epoch)
        mixed.begin_epoch(1, epoch, False, np.full(mixed.n_steps, 0.1))
        while mixed.step < mixed.n_steps:
            errors = [
                y_pred - y[mixed.batch_rows()] for y_pred, y in zip(mixed.forward(), (numbers, last), strict=True)
            ]
            values = [float(np.mean(error.astype("float64") ** 2)) for error in errors]
            assert mixed.backward([2.0 * error / error.size for error in errors], values)
        assert mixed.loss_sum == pytest.approx(fit.loss_sum, rel=1e-5 if dtype == "float32" else 1e-12)
    for number, name in ((0, "kernel"), (1, "bias"), (2, "kernel"), (3, "kernel"), (4, "gamma")):
        wanted = native.get_parameter(number, name)
        np.testing.assert_allclose(
            other.get_parameter(number, name), wanted, rtol=2e-4 if dtype == "float32" else 1e-10
        )


def test_a_native_loss_that_is_not_finite_stops_a_step_with_a_loss_of_the_caller():
    network, fit, _, _, (_, numbers, _) = heads([None, ("custom", {}, 1.0), squared()])
    network.set_parameter(3, "bias", np.full(4, np.finfo(np.float64).max))
    before = network.get_parameter(2, "kernel")
    fit.begin_epoch(1, 0, False, np.full(fit.n_steps, 0.1))
    (y_pred,) = fit.forward()
    assert not fit.backward([y_pred - numbers[:4]], [1.0])
    assert fit.step == 0
    np.testing.assert_array_equal(network.get_parameter(2, "kernel"), before)


def test_the_softmax_is_left_to_the_loss_where_nothing_else_uses_it():
    ops = [dense(3, activation="softmax"), dense(2)]
    penalized = dense(3, activation="softmax", activity_regularizer=(0.0, 1.0))
    X = np.zeros((2, 4), np.float32)
    np.testing.assert_array_equal(_core.Network([4], ops[:1]).predict(X, logits=True), np.zeros((2, 3)))
    for others in ((ops, [1, 2]), (ops[:1], [1, 1]), ([penalized], [1])):
        logits = [True, False][: len(others[1])]
        with pytest.raises(ValueError, match="output 0 has no logits: something else uses it, or"):
            _core.Network([4], others[0], outputs=others[1]).predict(X, logits=logits)


def test_logits_are_those_of_each_output():
    graph = Graph([5], HEADS[:3], [2, 3], [CROSSENTROPY, squared()], [0])
    network = graph.network("float64")
    X = graph.inputs(N)
    probabilities, outputs = network.predict(X)
    logits, same = network.predict(X, logits=[True, False])
    exponentials = np.exp(logits)
    np.testing.assert_allclose(exponentials / exponentials.sum(axis=1, keepdims=True), probabilities, rtol=1e-12)
    np.testing.assert_array_equal(same, outputs)
    used = _core.Network([4], [dense(3, activation="softmax"), dense(2)], outputs=[1, 2])
    with pytest.raises(ValueError, match="output 0 has no logits: something else uses it"):
        used.predict(np.zeros((1, 4)), logits=True)
