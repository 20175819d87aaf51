"""Promised accuracy: products, the logarithms of softmax, and gelu_tanh in float64."""

from fractions import Fraction

import numpy as np
import pytest

import fastnn
from fastnn import ops, reference

# log(1 + exp(-42)), log(1 + exp(-80)) and log(1 + exp(-1) + exp(-2)), each rounded once
CONFIDENT = [
    ([42.0, 0.0], 5.74952226429356e-19),
    ([80.0, 0.0], 1.8048513878454153e-35),
    ([3.0, 1.0, 2.0], 0.4076059644443803),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("logits", "truth"), CONFIDENT)
def test_crossentropy_of_a_confident_row_is_not_rounded_to_zero(logits, truth, dtype):
    tolerance = 1e-8 if dtype == "float32" else 4e-16
    rows, labels, one_hot = (
        np.array([logits] * 20, dtype),
        np.zeros(20, int),
        np.eye(len(logits), dtype=dtype)[[0] * 20],
    )
    sparse = ops.loss("sparse_categorical_crossentropy", labels, rows, from_logits=True)
    dense = ops.loss("categorical_crossentropy", one_hot, rows, from_logits=True)
    assert sparse == pytest.approx(truth, rel=tolerance)
    assert dense == pytest.approx(truth, rel=tolerance)
    for count in (1, 20):  # as rows and as a panel
        log = ops.activation("log_softmax", rows[:count])
        np.testing.assert_allclose(log[:, 0], -truth, rtol=1e-7 if dtype == "float32" else tolerance)
    if dtype == "float64":
        twin = reference.loss("sparse_categorical_crossentropy", labels, rows, from_logits=True)
        assert twin == pytest.approx(truth, rel=tolerance)
        np.testing.assert_allclose(reference.activation("log_softmax", rows)[:, 0], -truth, rtol=tolerance)


def test_a_fit_reports_the_loss_of_confident_rows():
    model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(2, "softmax", use_bias=False)], dtype="float64")
    model.compile(fastnn.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    model.set_weights([np.eye(2)])
    history = model.fit(np.array([[42.0, 0.0]] * 3), np.zeros(3, int), verbose=0)
    assert history.history["loss"][0] == pytest.approx(CONFIDENT[0][1], rel=4e-16)


# x and x / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))), computed with 60 digits
GELU_TANH = [
    (-21.0, -6.016648487631484e-301),
    (-18.3, -4.615642163247279e-202),
    (-15.0, -1.5584769937274055e-114),
    (-11.7, -2.1247179515168302e-57),
    (-8.25, -6.282266543229164e-23),
    (-5.1, -1.154452163907134e-07),
    (-3.0, -0.003637392081773019),
    (-1.75, -0.07020461765874868),
    (-0.7, -0.16942986529488324),
    (-0.1, -0.04601724895456484),
    (0.1, 0.053982751045435165),
    (0.9, 0.7342284887097206),
    (2.5, 2.484915733910001),
    (6.0, 5.9999999999156035),
]


def test_gelu_tanh_in_float64_is_within_3_units_in_the_last_place():
    x, truth = (np.array(column) for column in zip(*GELU_TANH, strict=True))
    np.testing.assert_array_max_ulp(ops.activation("gelu_tanh", x), truth, 3)


@pytest.mark.parametrize(("n", "k", "m"), [(1, 4000, 3), (7, 4000, 17), (300, 4000, 5), (3, 100_000, 2), (33, 129, 65)])
def test_products_are_within_the_bound_of_a_chain(n, k, m):
    """|C - exact C| <= (k + 1) 2^-24 (|A| |B| + |bias|) for every element, in every way a product is computed."""
    rng = np.random.default_rng(k)
    A, B, bias = (rng.normal(size=s).astype("f4") for s in ((n, k), (k, m), (m,)))
    C = ops.dense_forward(A, B, bias)
    exact, size = (
        A.astype(float) @ B.astype(float) + bias,
        np.abs(A).astype(float) @ np.abs(B).astype(float) + np.abs(bias),
    )
    assert (np.abs(C - exact) <= ((k + 1) * 2.0**-24 + 1e-12) * size).all()
    model = fastnn.Sequential([fastnn.Input((k,)), fastnn.layers.Dense(m)])
    model.build((None, k))
    model.set_weights([B, bias])
    assert np.array_equal(model(A), C)


def test_the_bound_of_a_chain_is_met_exactly_counted():
    """The same in exact arithmetic, on numbers of very different sizes."""
    rng = np.random.default_rng(1)
    k = 513
    A = (rng.normal(size=(2, k)) * 10.0 ** rng.integers(-8, 8, (2, k))).astype("f4")
    B = (rng.normal(size=(k, 3)) * 10.0 ** rng.integers(-8, 8, (k, 3))).astype("f4")
    C = ops.dense_forward(A, B, None)
    for i in range(2):
        for j in range(3):
            terms = [Fraction(float(a)) * Fraction(float(b)) for a, b in zip(A[i], B[:, j], strict=True)]
            error = abs(Fraction(float(C[i, j])) - sum(terms))
            assert error <= Fraction(k + 1, 2**24) * sum(map(abs, terms))
