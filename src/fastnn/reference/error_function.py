"""The error function, its complement and the normal distribution function in plain NumPy.

Rational Chebyshev approximations on |x| <= 0.46875, 0.46875 < |x| <= 4 and |x| > 4, of relative error below 1e-16:
W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23 (1969) 631-637.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from fastnn.reference.arguments import Array, as_floating

_SMALL = 0.46875
# Coefficients, highest power first. erf(x) = x * P(x^2) / Q(x^2) for |x| <= 0.46875.
_ERF_P = (
    1.85777706184603153e-1,
    3.16112374387056560e00,
    1.13864154151050156e02,
    3.77485237685302021e02,
    3.20937758913846947e03,
)
_ERF_Q = (1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03)
# exp(x^2) erfc(x) = P(x) / Q(x) for 0.46875 < x <= 4.
_MIDDLE_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e00,
    6.61191906371416295e01,
    2.98635138197400131e02,
    8.81952221241769090e02,
    1.71204761263407058e03,
    2.05107837782607147e03,
    1.23033935479799725e03,
)
_MIDDLE_Q = (
    1.0,
    1.57449261107098347e01,
    1.17693950891312499e02,
    5.37181101862009858e02,
    1.62138957456669019e03,
    3.29079923573345963e03,
    4.36261909014324716e03,
    3.43936767414372164e03,
    1.23033935480374942e03,
)
# exp(x^2) erfc(x) = (1/sqrt(pi) - t P(t) / Q(t)) / x with t = 1/x^2, for x > 4.
_TAIL_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
_TAIL_Q = (
    1.0,
    2.56852019228982242e00,
    1.87295284992346725e00,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)


def _ratio(numerator: tuple[float, ...], denominator: tuple[float, ...], t: Array) -> Array:
    """Evaluate the quotient of two polynomials of equal degree by Horner's rule."""
    p = np.full_like(t, numerator[0])
    q = np.full_like(t, denominator[0])
    for a, b in zip(numerator[1:], denominator[1:], strict=True):
        p *= t
        p += a
        q *= t
        q += b
    p /= q
    return p


def _scaled_erfc(y: Array) -> Array:
    """exp(y^2) erfc(y) for y > 0.46875."""
    scaled = np.empty_like(y)
    far = y > 4.0
    near = ~far
    scaled[near] = _ratio(_MIDDLE_P, _MIDDLE_Q, y[near])
    yf = y[far]
    t = 1.0 / (yf * yf)
    scaled[far] = (1.0 / math.sqrt(math.pi) - t * _ratio(_TAIL_P, _TAIL_Q, t)) / yf
    return scaled


def _exp_minus_square(y: Array, factor: float) -> Array:
    """exp(-factor * y^2) without the rounding error of y^2: y = s + d, s a multiple of 1/16 with exact square."""
    s = np.trunc(y * 16.0) / 16.0
    return np.exp(-factor * s * s) * np.exp(-factor * (y - s) * (y + s))


def _upper_tail(y: Array) -> Array:
    """erfc(y) for y > 0.46875; y is limited to 30, beyond which erfc is zero in float64."""
    y = np.minimum(y, 30.0)
    return _exp_minus_square(y, 1.0) * _scaled_erfc(y)


def _erf_small(x: Array) -> Array:
    return x * _ratio(_ERF_P, _ERF_Q, x * x)


def erf(x: ArrayLike) -> Array:
    """Error function ``2/sqrt(pi) * integral of exp(-t^2) from 0 to x``, elementwise.

    Relative error at most 1e-15 in float64 (Cody 1969).

    Examples
    --------
    >>> float(erf(0.5))
    0.5204998778130465
    """
    values = np.atleast_1d(as_floating("x", x))
    result: Array = np.empty_like(values)
    small = np.abs(values) <= _SMALL
    result[small] = _erf_small(values[small])
    large = values[~small]
    result[~small] = np.copysign(1.0 - _upper_tail(np.abs(large)), large)
    return result.reshape(np.shape(x))


def erfc(x: ArrayLike) -> Array:
    """Complementary error function ``1 - erf(x)``, elementwise, with small relative error for large x too.

    Examples
    --------
    >>> float(erfc(0.0))
    1.0
    """
    values = np.atleast_1d(as_floating("x", x))
    result: Array = np.empty_like(values)
    small = np.abs(values) <= _SMALL
    result[small] = 1.0 - _erf_small(values[small])
    large = values[~small]
    tail = _upper_tail(np.abs(large))
    result[~small] = np.where(large < 0.0, 2.0 - tail, tail)
    return result.reshape(np.shape(x))


def normal_cdf(x: ArrayLike) -> Array:
    """Distribution function of the standard normal, ``erfc(-x / sqrt(2)) / 2``, elementwise.

    The exponent is taken from x itself, so that the rounding of ``x / sqrt(2)`` is not amplified in the tail.

    Examples
    --------
    >>> float(normal_cdf(0.0))
    0.5
    """
    values = np.atleast_1d(as_floating("x", x))
    result: Array = np.empty_like(values)
    z = values * math.sqrt(0.5)
    small = np.abs(z) <= _SMALL
    result[small] = 0.5 + 0.5 * _erf_small(z[small])
    large = values[~small]
    magnitude = np.minimum(np.abs(large), 40.0)
    tail = 0.5 * _exp_minus_square(magnitude, 0.5) * _scaled_erfc(magnitude * math.sqrt(0.5))
    result[~small] = np.where(large < 0.0, tail, 1.0 - tail)
    return result.reshape(np.shape(x))
