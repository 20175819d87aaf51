"""Errors of the float32 functions in units in the last place, on a sample; benchmarks/ulp.py tries all 2^32 inputs."""

import numpy as np
import pytest

from fastnn import _core, ops, reference

ELEMENTWISE = [name for name in _core.ACTIVATIONS if name not in ("softmax", "log_softmax")]
OPTIONS = {
    "leaky_relu": {"negative_slope": 0.2},
    "elu": {"alpha": 1.3},
    "general_relu": {"negative_slope": 0.1, "max_value": 6.0, "threshold": 0.3},
}
# Zeros of the derivatives of gelu, gelu_tanh, silu and mish, and corners of other functions.
ZEROS = (-0.7517915, -0.7524614, -1.2784645, -1.1924312, -1.5, -3.0, 0.0, 3.0, 6.0)
# Overflow and underflow of exp, x exp(x), sech^2 and exp(-x^2 / 2); below the latter, results are subnormal.
EDGES = (88.722839, -87.33655, -91.9, -103.97208, -108.9, 44.0, 52.0, -13.0, -14.2, -5.05)


def neighbours(centre, count=2000):
    """Consecutive floats around a centre."""
    return (np.float32(centre).view(np.int32) + np.arange(-count, count, dtype=np.int32)).view(np.float32)


@pytest.fixture(scope="module")
def inputs():
    """Spread over all bit patterns and over [-20, 20], dense near zeros and edges, without NaN and infinity."""
    patterns = (np.arange(2**17, dtype=np.uint64) * 0x9E3779B1 & 0xFFFFFFFF).astype(np.uint32).view(np.float32)
    subnormal = np.arange(0, 2**23, 2**12, dtype=np.int32).view(np.float32)
    uniform = np.random.default_rng(0).uniform(-20, 20, 2**16).astype(np.float32)
    largest = np.finfo(np.float32).max
    near = [neighbours(x) for x in (*ZEROS[:6], *ZEROS[7:], *EDGES)]
    x = np.concatenate([patterns, subnormal, -subnormal, uniform, *near, [largest, -largest]])
    return x[np.isfinite(x)].astype(np.float32)


def errors(got, truth):
    """Errors in spacings of float32 at the true results; an overflow counts as 2^128."""
    top = 2.0**128
    wide, truth = (np.clip(np.asarray(a, np.float64), -top, top) for a in (got, truth))
    exponent = np.maximum(np.frexp(truth)[1] - 1, -126)
    return np.abs(wide - truth) / np.ldexp(1.0, exponent - 23)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_functions_and_derivatives_err_by_about_half_a_unit(name, inputs):
    options = OPTIONS.get(name, {})
    wide, one = inputs.astype(np.float64), np.ones_like(inputs)
    with np.errstate(over="ignore", under="ignore"):
        value = errors(ops.activation(name, inputs, **options), reference.activation(name, wide, **options))
        got = ops.activation_gradient(name, inputs, one, **options)
        slope = errors(got, reference.activation_gradient(name, wide, one.astype(np.float64), **options))
    assert value.max() < 0.65, inputs[value.argmax()]
    # The reference itself errs by half a unit at the floats next to a zero of the derivative.
    assert slope.max() < 1.25, inputs[slope.argmax()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype):
    """Class and value, and the sign of zeros and infinities."""
    inf, nan = np.inf, np.nan
    x = np.array([0.0, -0.0, inf, -inf, nan, 1000.0, -1000.0], dtype)
    scale, alpha = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772
    expected = {
        "linear": ([0.0, -0.0, inf, -inf, nan, 1000.0, -1000.0], [1, 1, 1, 1, 1, 1, 1]),
        "tanh": ([0.0, -0.0, 1, -1, nan, 1, -1], [1, 1, 0, 0, nan, 0, 0]),
        "sigmoid": ([0.5, 0.5, 1, 0, nan, 1, 0], [0.25, 0.25, 0, 0, nan, 0, 0]),
        "softplus": ([np.log(2.0)] * 2 + [inf, 0, nan, 1000, 0], [0.5, 0.5, 1, 0, nan, 1, 0]),
        "exponential": ([1, 1, inf, 0, nan, inf, 0], [1, 1, inf, 0, nan, inf, 0]),
        "elu": ([0.0, -0.0, inf, -1, nan, 1000, -1], [1, 1, 1, 0, nan, 1, 0]),
        "selu": ([0.0, -0.0, inf, -alpha, nan, scale * 1000, -alpha], [alpha, alpha, scale, 0, nan, scale, 0]),
        "gelu": ([0.0, -0.0, inf, -0.0, nan, 1000, -0.0], [0.5, 0.5, 1, 0, nan, 1, 0]),
        "gelu_tanh": ([0.0, -0.0, inf, -0.0, nan, 1000, -0.0], [0.5, 0.5, 1, 0, nan, 1, 0]),
        "silu": ([0.0, -0.0, inf, -0.0, nan, 1000, -0.0], [0.5, 0.5, 1, 0, nan, 1, 0]),
        "mish": ([0.0, -0.0, inf, -0.0, nan, 1000, -0.0], [0.6, 0.6, 1, 0, nan, 1, 0]),
        "softsign": ([0.0, -0.0, 1, -1, nan, 1000 / 1001, -1000 / 1001], [1, 1, 0, 0, nan, 1001.0**-2, 1001.0**-2]),
        "hard_sigmoid": ([0.5, 0.5, 1, 0, nan, 1, 0], [1 / 6, 1 / 6, 0, 0, 0, 0, 0]),
        "hard_silu": ([0.0, -0.0, inf, -0.0, nan, 1000, -0.0], [0.5, 0.5, 1, 0, nan, 1, 0]),
        "relu6": ([0.0, -0.0, 6, 0, nan, 6, 0], [0, 0, 0, 0, 0, 0, 0]),
    }
    for name, (values, slopes) in expected.items():
        value, slope = ops.activation(name, x), ops.activation_gradient(name, x, np.ones_like(x))
        np.testing.assert_array_max_ulp(value, np.array(values, dtype), 3 if dtype == np.float64 else 0)
        np.testing.assert_array_max_ulp(slope, np.array(slopes, dtype), 3 if dtype == np.float64 else 0)
        np.testing.assert_array_equal(np.signbit(value)[:4], np.signbit(values)[:4], name)
