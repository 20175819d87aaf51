"""Checks of arguments: what counts as a number, and the wording of the errors."""

import re
from fractions import Fraction

import numpy as np
import pytest

from fastnn._arguments import choice, flag, float_type, last_axis, number, optional, whole


def test_numbers_of_numpy_count():
    assert whole("n", np.int64(3), at_least=1) == 3
    assert number("p", np.float32(0.5), at_least=0.0, at_most=1.0) == 0.5
    assert number("p", np.uint8(1), above=0.0) == 1.0
    assert number("p", Fraction(1, 4)) == 0.25
    assert flag("shuffle", np.True_) is True
    for value in (whole("n", np.int32(1), at_least=0), number("p", 1), number("p", np.float64(1.0))):
        assert type(value) in (int, float)


@pytest.mark.parametrize("value", [True, np.True_, np.nan, np.inf, -np.inf, "1", None, 1j, [1.0], 10**400])
def test_what_is_not_a_finite_number_is_refused(value):
    with pytest.raises(ValueError, match=rf"^p must be a finite number, got {re.escape(repr(value))}$"):
        number("p", value)


@pytest.mark.parametrize("value", [True, 1.0, np.float64(1.0), "1", None, -1])
def test_what_is_not_a_whole_number_is_refused(value):
    expected = f"n must be a whole number of at least 0, got {value!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        whole("n", value, at_least=0)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: whole("n", 4, at_least=1, at_most=3), "n must be a whole number from 1 to 3, got 4"),
        (lambda: number("p", -1, at_least=0.0), "p must be a finite number of at least 0, got -1"),
        (lambda: number("p", 0, above=0.0), "p must be a finite number greater than 0, got 0"),
        (lambda: number("p", 2, at_least=0.0, at_most=1.0), "p must be a number between 0 and 1, got 2"),
        (lambda: number("p", 1, at_least=0, below=1), "p must be a number of at least 0 and less than 1, got 1"),
        (lambda: number("p", 0, above=0, at_most=1), "p must be a number greater than 0 and at most 1, got 0"),
        (lambda: optional(whole, "n", 0, at_least=1), "n must be a whole number of at least 1, or None, got 0"),
        (lambda: choice("mode", "mim", ("min", "max", None)), "mode must be 'min', 'max' or None, got 'mim'. Did you "),
        (lambda: choice("dimensions", True, (1, 2)), "dimensions must be 1 or 2, got True"),
        (lambda: flag("shuffle", 1), "shuffle must be True or False, got 1"),
        (lambda: float_type("dtype", "float16"), "dtype must be 'float32' or 'float64', got 'float16'"),
        (lambda: last_axis(0), "axis must be -1, the columns of a row, got 0"),
    ],
)
def test_errors_say_the_name_what_is_accepted_and_the_value(check, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        check()


def test_none_passes_where_it_is_optional():
    assert optional(number, "baseline", None) is None
    assert optional(number, "baseline", 2) == 2.0
