"""The functions that exported Fortran needs besides products: the operations of fastnn's kernels, one by one.

``rk`` is the network's kind. Numbers are written without a kind and get that of ``real64``. ``fma`` is a multiply-add
with one rounding in float64; for float32 it rounds twice, in real64, which is far below the place that the result is
rounded to. Entries of the tables name what they need first. The formulas are those of ``c_functions.py``: change both
together.
"""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastnn.export.c_functions import TABLES
from fastnn.export.fortran_rows import ROW_FUNCTIONS

_SCALAR = """pure function {name}({arguments}) result(y)
  real(real64), intent(in) :: {arguments}
  real(real64) :: {results}
{body}
end function"""


def _function(arguments: str, body: str, local: str = "") -> str:
    """Return a pure function of numbers in real64; ``local`` names its other variables."""
    lines = "\n".join(f"  {line.strip()}" for line in body.strip().splitlines())
    results = f"y, {local}" if local else "y"
    return _SCALAR.format(name="{name}", arguments=arguments, results=results, body=lines)


FUNCTIONS: dict[str, tuple[str, str]] = {
    "larger": ("", _function("a, b", "y = merge(a, b, a > b)")),
    "smaller": ("", _function("a, b", "y = merge(a, b, a < b)")),
    "power_of_two": (
        "",
        """! 2**n from n + 3 * 2**51, which holds n in its low bits
pure function power_of_two(shifted) result(y)
  real(real64), intent(in) :: shifted
  real(real64) :: y
  y = transfer(shiftl(transfer(shifted, 0_int64), 52) + shiftl(1023_int64, 52), y)
end function""",
    ),
    "reduced_exp": (
        "",
        """! x = n log(2) + r: returns exp(r) - 1, and shifted = n + 3 * 2**51 (Cody and Waite, 1980)
pure subroutine reduced_exp(x, y, shifted)
  real(real64), intent(in) :: x
  real(real64), intent(out) :: y, shifted
  real(real64) :: p, n, r
  shifted = fma(x, 1.4426950408889634, 6755399441055744.0)
  n = shifted - 6755399441055744.0
  r = fma(n, -0.6931471803691238, x)
  r = fma(n, -1.9082149292705877e-10, r)
  POLYNOMIAL(expm1, r)
  y = fma(r * r, p, r)
end subroutine""",
    ),
    "exp_of/float32": (
        "larger smaller reduced_exp power_of_two",
        _function(
            "x",
            """call reduced_exp(larger(-200.0, smaller(200.0, x)), p, shifted)
            y = (p + 1.0) * power_of_two(shifted)""",
            "p, shifted",
        ),
    ),
    "exp_of/float64": (
        "larger smaller reduced_exp power_of_two",
        _function(
            "x",
            """! two factors, so that subnormal and overflowing results round once
            call reduced_exp(larger(-746.0, smaller(710.0, x)), p, shifted)
            n = shifted - 6755399441055744.0
            half = fma(n, 0.5, 6755399441055744.0)
            rest = (n - (half - 6755399441055744.0)) + 6755399441055744.0
            y = ((p + 1.0) * power_of_two(half)) * power_of_two(rest)""",
            "p, shifted, n, half, rest",
        ),
    ),
    "expm1_of": (
        "larger reduced_exp power_of_two",
        _function(
            "x",
            """call reduced_exp(larger(-700.0, x), m, shifted)
            s = power_of_two(shifted)
            y = fma(s, m, s - 1.0)""",
            "m, s, shifted",
        ),
    ),
    "twice_atanh": (
        "",
        _function(
            "s",
            """u = s * s
            twice = s + s
            POLYNOMIAL(atanh, u)
            y = fma(twice * u, p, twice)""",
            "u, twice, p",
        ),
    ),
    "log1p_of": ("twice_atanh", _function("e", "y = twice_atanh(e / (e + 2.0))")),
    "log_of": (
        "twice_atanh",
        """! x normal and positive: x = 2**n m, sqrt(1/2) < m < sqrt(2)
pure function log_of(x) result(y)
  real(real64), intent(in) :: x
  real(real64) :: y, n, m
  integer(int64), parameter :: offset = 4604544271217802189_int64
  integer(int64) :: shifted
  shifted = transfer(x, 0_int64) - offset
  n = real(shifta(shifted, 52), real64)
  m = transfer(iand(shifted, 4503599627370495_int64) + offset, m)
  y = fma(n, 1.9082149292705877e-10, twice_atanh((m - 1.0) / (m + 1.0)))
  y = fma(n, 0.6931471803691238, y) + (x - x)
end function""",
    ),
    "log_of_sum": (
        "log1p_of log_of",
        _function(
            "total, rest",
            """if (total < 2.0) then
            y = log1p_of(rest)
            else
            y = log_of(total)
            end if""",
        ),
    ),
    "cosine_of": (
        "larger smaller",
        """! x = n pi / 2 + r, |r| <= pi / 4 (Cody and Waite, 1980); larger arguments than 1e9 count as this
pure function cosine_of(x) result(y)
  real(real64), intent(in) :: x
  real(real64) :: y, bounded, shifted, n, r, u, p, half, most
  integer(int64) :: quadrant
  bounded = larger(-1.0e9, smaller(1.0e9, x))
  shifted = fma(bounded, 0.6366197723675814, 6755399441055744.0)
  n = shifted - 6755399441055744.0
  quadrant = transfer(shifted, 0_int64)
  r = fma(n, -1.5707963267341256, bounded)
  r = fma(n, -6.077100506303966e-11, r)
  r = fma(n, -2.0222662487959506e-21, r)
  u = r * r
  if (btest(quadrant, 0)) then
    POLYNOMIAL(sine, u)
    y = fma(r * u, p, r)
  else
    POLYNOMIAL(cosine, u)
    half = 0.5 * u
    most = 1.0 - half
    y = most + fma(u * u, p, (1.0 - most) - half)
  end if
  if (btest(quadrant + 1, 1)) y = -y
end function""",
    ),
    "gelu_rest": (
        "",
        _function(
            "x",
            """s = x * x
            s_rest = fma(x, x, -s)
            h = 1.5957691216057308 * x
            h_rest = fma(-9.96930880911092e-17, x, fma(1.5957691216057308, x, -h))
            t = fma(s, 0.044715, 1.0)
            p = s * 0.044715
            p_rest = fma(s, 0.044715, -p)
            back = t - 1.0
            t_rest = p_rest + fma(s, 2.1960211427085595e-18, s_rest * 0.044715)
            t_rest = ((1.0 - (t - back)) + (p - back)) + t_rest
            y = fma(h, t, -(h * t)) + fma(h, t_rest, h_rest * t)""",
            "s, s_rest, h, h_rest, t, p, p_rest, back, t_rest",
        ),
    ),
    "normal_exp/float32": ("exp_of", _function("x", "y = exp_of(x * x * (-0.5))")),
    "normal_exp/float64": (
        "exp_of",
        _function(
            "x",
            """h = x * x
            e = exp_of(h * (-0.5))
            y = fma(e * (-0.5), fma(x, x, -h), e)""",
            "h, e",
        ),
    ),
}
"""Functions of numbers by name: the names of those that they need, and their text."""

_GELU_TANH = """bounded = larger(-60.0, smaller(60.0, x))
        u = (1.5957691216057308 * bounded) * fma(bounded * bounded, 0.044715, 1.0)
        e = {exponential}
        q = 1.0 / (e + 1.0)
        y = larger(-60.0, x) * merge(e * q, q, u < 0.0)"""

ACTIVATIONS: dict[str, tuple[str, str, str]] = {
    "relu": ("", "y = merge(0.0, x, 0.0 > x)", ""),
    "leaky_relu": ("", "y = x * merge(1.0, {0}, x > 0.0)", ""),
    "tanh": (
        "smaller expm1_of",
        """e = expm1_of(smaller(354.0, abs(x)) * 2.0)
        y = sign(abs(e * (1.0 / (e + 2.0))), x)""",
        "e",
    ),
    "sigmoid": (
        "exp_of",
        """e = exp_of(-abs(x))
        q = 1.0 / (e + 1.0)
        y = merge(e * q, q, x < 0.0)""",
        "e, q",
    ),
    "softplus": ("larger exp_of log1p_of", "y = larger(0.0, x) + log1p_of(exp_of(-abs(x)))", ""),
    "elu": ("smaller expm1_of", "y = merge(x, {0} * expm1_of(smaller(0.0, x)), x >= 0.0)", ""),
    "selu": (
        "smaller expm1_of",
        """scale = 1.0507009873554805
        y = merge(scale * x, (scale * 1.6732632423543772) * expm1_of(smaller(0.0, x)), x >= 0.0)""",
        "scale",
    ),
    "gelu": (
        "larger smaller normal_exp",
        """bounded = larger(-60.0, smaller(60.0, x))
        e = normal_exp(bounded)
        z = abs(bounded) * 0.7071067811865476
        t = (z - 3.0) / (z + 3.0)
        POLYNOMIAL(erfcx, t)
        tail = ((0.5 * e) * p) / fma(z, 2.0, 1.0)
        y = larger(-60.0, x) * merge(1.0 - tail, tail, bounded > 0.0)""",
        "bounded, e, z, t, p, tail",
    ),
    "gelu_tanh/float32": (
        "larger smaller exp_of",
        _GELU_TANH.format(exponential="exp_of(-abs(u))"),
        "bounded, u, e, q",
    ),
    "gelu_tanh/float64": (
        "larger smaller exp_of gelu_rest",
        _GELU_TANH.format(
            exponential="""exp_of(-abs(u))
            rest = gelu_rest(bounded)
            e = fma(e, merge(rest, -rest, u < 0.0), e)"""
        ),
        "bounded, u, e, q, rest",
    ),
    "silu": (
        "larger smaller exp_of",
        """e = exp_of(-abs(larger(-1000.0, smaller(1000.0, x))))
        q = 1.0 / (e + 1.0)
        y = larger(-1000.0, x) * merge(e * q, q, x < 0.0)""",
        "e, q",
    ),
    "exponential": ("exp_of", "y = exp_of(x)", ""),
    "relu6": ("larger smaller", "y = larger(0.0, smaller(6.0, x))", ""),
    "general_relu": (
        "larger smaller",
        "y = merge(larger(0.0, smaller({1}, x)), {0} * (x - {2}), x > {2})",
        "",
    ),
    "mish": (
        "larger smaller exp_of",
        """e = exp_of(-abs(larger(-1000.0, smaller(1000.0, x))))
        square = e * e
        twice = e + e
        s = merge(square + twice, twice + 1.0, x < 0.0)
        u = merge((square + twice) + 2.0, fma(square, 2.0, twice + 1.0), x < 0.0)
        y = larger(-1000.0, x) * (s * (1.0 / u))""",
        "e, square, twice, s, u",
    ),
    "softsign": (
        "larger smaller",
        """bounded = larger(-1.0e300, smaller(1.0e300, x))
        y = bounded * (1.0 / (abs(bounded) + 1.0))""",
        "bounded",
    ),
    "hard_sigmoid": ("larger smaller", "y = larger(0.0, smaller(6.0, x + 3.0)) * (1.0 / 6.0)", ""),
    "hard_silu": (
        "larger smaller",
        "y = larger(-3.0, x) * (larger(0.0, smaller(6.0, x + 3.0)) * (1.0 / 6.0))",
        "",
    ),
}
"""Elementwise activations: what they need, the body of a function of x with the result y, and its other variables."""

_APPLIED = """pure function apply_{name}(x) result(y)
  real(rk), intent(in) :: x(:)
  real(rk) :: y(size(x))
  integer :: i
  do i = 1, size(x)
    y(i) = real({name}_of(real(x(i), real64)), rk)
  end do
end function"""


def activation_text(name: str, kind: str, parameters: Iterable[str], dtype: np.dtype[Any]) -> tuple[str, str]:
    """Return what an activation needs, and its functions: of one number, and of a row."""
    needs, body, local = ACTIVATIONS.get(f"{kind}/{dtype.name}") or ACTIVATIONS[kind]
    values = list(parameters)
    one = _function("x", body.format(*values) if values else body, local).replace("{name}", f"{name}_of")
    return needs, f"{one}\n\n{_APPLIED.format(name=name)}"


def functions_text(names: Iterable[str], dtype: np.dtype[Any]) -> list[str]:
    """Return the functions of these names and all that they need."""
    texts: dict[str, str] = {}

    def require(name: str) -> None:
        if name in texts or (name == "fma" and dtype == np.float64):
            return
        variant = f"{name}/{dtype.name}"
        needs, text = FUNCTIONS.get(variant) or FUNCTIONS.get(name) or ROW_FUNCTIONS.get(variant) or ROW_FUNCTIONS[name]
        for each in [*needs.split(), *(["fma"] if "fma(" in text and name != "fma" else [])]:
            require(each)
        texts[name] = text.replace("{name}", name)

    for name in names:
        require(name)
    return list(texts.values())


def with_kinds(text: str, dtype: np.dtype[Any]) -> str:
    """Return Fortran text with its polynomials written out and the kind of its numbers."""

    def horner(match: re.Match[str]) -> str:
        indent, table, variable = match.groups()
        *lower, highest = TABLES[f"{table}/{dtype.name}"].replace("\n", " ").split(",")
        lines = [f"p = {highest.strip()}", *(f"p = fma(p, {variable}, {c.strip()})" for c in reversed(lower))]
        return "\n".join(indent + line for line in lines)

    text = re.sub(r"( *)POLYNOMIAL\((\w+), (\w+)\)", horner, text)
    return re.sub(r"(?<![\w.])(\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]?\d+)(?!\w)", r"\1_real64", text)
