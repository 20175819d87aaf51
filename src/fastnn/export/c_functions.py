"""The functions that exported C needs besides products, as C99 text: the operations of fastnn's kernels, one by one.

``real`` stands for float or double and ``FMA_REAL`` for its fused multiply-add. Entries of ``FUNCTIONS`` name what they
need first. Where float32 and float64 differ, the name has the suffix "/float32" or "/float64". The bits of each
function are those of ``csrc/kernels``: change both together.
"""

import re
from collections.abc import Iterable

import numpy as np

from fastnn.export.c_merging import MERGING_FUNCTIONS
from fastnn.export.c_rows import ROW_FUNCTIONS
from fastnn.export.c_tabular import TABULAR_FUNCTIONS

TABLES = {
    "expm1/float32": """
        0.4999999976834141, 0.1666667073297319, 0.04166652610110439, 0.008332526481583691, 0.0013930199871702875,
        0.0002024498846382266""",
    "expm1/float64": """
        0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326136, 0.0013888888888883748,
        0.00019841269874820627, 2.4801587325547743e-05, 2.7557255400206422e-06, 2.75572736431103e-07,
        2.5105217004720745e-08, 2.0914686968086876e-09""",
    "atanh/float32": """
        0.33333333325011805, 0.2000000538497483, 0.1428515286094183, 0.11132355604500663, 0.08732351232720387,
        0.10393808427873376""",
    "atanh/float64": """
        0.3333333333333333, 0.20000000000007292, 0.1428571428355438, 0.11111111358713932, 0.09090894718066429,
        0.07692785032479312, 0.06657072104827468, 0.06000536404795356, 0.04400369243072337, 0.08082022805971766""",
    "erfcx/float32": """
        1.2530080582697296, -0.1356210663430451, -0.047562296659243636, 0.129644042720777, -0.11927360558798808,
        0.06831700803853863, -0.02377085731873814, 0.002498087244603201, 0.001889324646152052, -0.0007254297184067546,
        -0.00010532366207527464, 7.694399242155757e-05, 4.284057498989632e-06""",
    "erfcx/float64": """
        1.2530080582697296, -0.13562110612458117, -0.04756229435345087, 0.1296451587027606, -0.11927366341530699,
        0.06830802734397848, -0.023770514918645888, 0.002529391816066239, 0.0018886903591561553, -0.0007798322721083991,
        -0.00010515979981501177, 0.00012509935235563107, 4.949484992570595e-06, -2.0100567931289227e-05,
        -7.315105164159062e-07, 3.472414602875686e-06, 3.5683839153992204e-07, -6.166496077604353e-07,
        -1.4160064940265987e-07, 1.0187000600072885e-07, 4.180784698845582e-08, -1.3326364813003834e-08,
        -8.500397929772615e-09, 9.885798831139365e-10, 8.864219016427092e-10""",
    "sine/float32": """
        -0.16666666663854168, 0.008333331874273714, -0.000198400864995936, 2.7249895230611676e-06""",
    "sine/float64": """
        -0.16666666666666666, 0.008333333333333331, -0.00019841269841265063, 2.7557319219337312e-06,
        -2.5052106231802837e-08, 1.6058531516797758e-10, -7.586691094197958e-13""",
    "cosine/float32": """
        0.041666666664320264, -0.0013888887671652504, 2.480060018036381e-05, -2.7300933687212943e-07""",
    "cosine/float64": """
        0.041666666666666664, -0.0013888888888888887, 2.4801587301584645e-05, -2.755731922140179e-07,
        2.0876755790721963e-09, -1.1470460830795304e-11, 4.7458685530816656e-14""",
}
"""Coefficients of the polynomials of csrc/kernels/functions.h, lowest power first."""


def polynomial(table: str, dtype: np.dtype[np.floating], variable: str) -> list[str]:
    """Return C statements that leave a polynomial's value in ``p``, by Horner's rule with ``fma``."""
    *lower, highest = TABLES[f"{table}/{dtype.name}"].replace("\n", " ").split(",")
    return [f"p = {highest.strip()};", *(f"p = fma(p, {variable}, {c.strip()});" for c in reversed(lower))]


FUNCTIONS: dict[str, tuple[str, str]] = {
    "larger": ("", "static double larger(double a, double b) { return a > b ? a : b; } /* b where either is NaN */"),
    "smaller": ("", "static double smaller(double a, double b) { return a < b ? a : b; }"),
    "magnitude": (
        "",
        """
static double magnitude(double x) {
    uint64_t bits;
    memcpy(&bits, &x, 8);
    bits &= 0x7fffffffffffffffu;
    memcpy(&x, &bits, 8);
    return x;
}""",
    ),
    "with_sign": (
        "",
        """
/* the sign of x on a >= 0 */
static double with_sign(double a, double x) {
    uint64_t bits, sign;
    memcpy(&bits, &a, 8);
    memcpy(&sign, &x, 8);
    bits |= sign & 0x8000000000000000u;
    memcpy(&a, &bits, 8);
    return a;
}""",
    ),
    "power_of_two": (
        "",
        """
/* 2^n from n + 1.5 * 2^52, which holds n in its low bits */
static double power_of_two(double shifted) {
    uint64_t bits;
    double result;
    memcpy(&bits, &shifted, 8);
    bits = (bits << 52) + 0x3ff0000000000000u;
    memcpy(&result, &bits, 8);
    return result;
}""",
    ),
    "reduced_exp": (
        "",
        """
/* x = n ln 2 + r: returns exp(r) - 1; *shifted = n + 1.5 * 2^52 (Cody and Waite, 1980) */
static double reduced_exp(double x, double *shifted) {
    double p, n, r;
    *shifted = fma(x, 1.4426950408889634, 6755399441055744.0);
    n = *shifted - 6755399441055744.0;
    r = fma(n, -0.6931471803691238, x);
    r = fma(n, -1.9082149292705877e-10, r);
    POLYNOMIAL(expm1, r)
    return fma(r * r, p, r);
}""",
    ),
    "exp_of/float32": (
        "larger smaller reduced_exp power_of_two",
        """
static double exp_of(double x) {
    double shifted, p;
    p = reduced_exp(larger(-200.0, smaller(200.0, x)), &shifted) + 1.0;
    return p * power_of_two(shifted);
}""",
    ),
    "exp_of/float64": (
        "larger smaller reduced_exp power_of_two",
        """
/* two factors, so that subnormal and overflowing results round once */
static double exp_of(double x) {
    double shifted, p, n, half, rest;
    p = reduced_exp(larger(-746.0, smaller(710.0, x)), &shifted) + 1.0;
    n = shifted - 6755399441055744.0;
    half = fma(n, 0.5, 6755399441055744.0);
    rest = (n - (half - 6755399441055744.0)) + 6755399441055744.0;
    return p * power_of_two(half) * power_of_two(rest);
}""",
    ),
    "expm1_of": (
        "larger reduced_exp power_of_two",
        """
/* exp(x) - 1, x <= 708 */
static double expm1_of(double x) {
    double shifted, m, s;
    m = reduced_exp(larger(-700.0, x), &shifted);
    s = power_of_two(shifted);
    return fma(s, m, s - 1.0);
}""",
    ),
    "twice_atanh": (
        "",
        """
static double twice_atanh(double s) {
    const double u = s * s, twice = s + s;
    double p;
    POLYNOMIAL(atanh, u)
    return fma(twice * u, p, twice);
}""",
    ),
    "log1p_of": (
        "twice_atanh",
        """
/* log(1 + e), 0 <= e <= 1 */
static double log1p_of(double e) { return twice_atanh(e / (e + 2.0)); }""",
    ),
    "log_of": (
        "twice_atanh",
        """
/* x normal and positive: x = 2^n m, sqrt(1/2) < m < sqrt(2) */
static double log_of(double x) {
    const uint64_t offset = 0x3fe6a09e667f3bcdu;
    uint64_t bits, shifted, part;
    double n, m, l;
    memcpy(&bits, &x, 8);
    shifted = bits - offset;
    part = ((shifted ^ 0x8000000000000000u) >> 52) | 0x4330000000000000u;
    memcpy(&n, &part, 8);
    n -= 4503599627372544.0;
    part = (shifted & 0x000fffffffffffffu) + offset;
    memcpy(&m, &part, 8);
    l = twice_atanh((m - 1.0) / (m + 1.0));
    return fma(n, 0.6931471803691238, fma(n, 1.9082149292705877e-10, l)) + (x - x);
}""",
    ),
    "log_of_sum": (
        "log1p_of log_of",
        """
/* log(sum) of exponentials of which the largest is 1; rest: the sum of the others */
static double log_of_sum(double sum, double rest) { return sum < 2.0 ? log1p_of(rest) : log_of(sum); }""",
    ),
    "gelu_rest": (
        "",
        """
/* what rounding left out of the argument of gelu_tanh's exponential */
static double gelu_rest(double x) {
    const double c = 1.5957691216057308, a = 0.044715;
    const double s = x * x, s_rest = fma(x, x, -s), h = c * x;
    const double h_rest = fma(-9.96930880911092e-17, x, fma(c, x, -h));
    const double t = fma(s, a, 1.0), p = s * a, p_rest = fma(s, a, -p), back = t - 1.0;
    const double t_rest =
        ((1.0 - (t - back)) + (p - back)) + (p_rest + fma(s, 2.1960211427085595e-18, s_rest * a));
    return fma(h, t, -(h * t)) + fma(h, t_rest, h_rest * t);
}""",
    ),
    "gelu_exp/float32": (
        "exp_of",
        "static double gelu_exp(double u, double x) { (void)x; return exp_of(-magnitude(u)); }",
    ),
    "gelu_exp/float64": (
        "exp_of gelu_rest",
        """
static double gelu_exp(double u, double x) {
    const double e = exp_of(-magnitude(u));
    return fma(e, u < 0.0 ? gelu_rest(x) : -gelu_rest(x), e);
}""",
    ),
    "normal_exp/float32": ("exp_of", "static double normal_exp(double x) { return exp_of(x * x * -0.5); }"),
    "normal_exp/float64": (
        "exp_of",
        """
/* exp(-x^2 / 2) */
static double normal_exp(double x) {
    const double h = x * x, e = exp_of(h * -0.5), low = fma(x, x, -h);
    return fma(e * -0.5, low, e);
}""",
    ),
    "cosine_of": (
        "larger smaller",
        """
/* x = n pi / 2 + r, |r| <= pi / 4 (Cody and Waite, 1980); larger arguments than 1e9 count as this */
static double cosine_of(double x) {
    const double bounded = larger(-1e9, smaller(1e9, x));
    const double shifted = fma(bounded, 0.6366197723675814, 6755399441055744.0), n = shifted - 6755399441055744.0;
    double r, u, p, half, most, y;
    uint64_t quadrant;
    memcpy(&quadrant, &shifted, 8);
    r = fma(n, -1.5707963267341256, bounded);
    r = fma(n, -6.077100506303966e-11, r);
    r = fma(n, -2.0222662487959506e-21, r);
    u = r * r;
    if (quadrant & 1u) {
        POLYNOMIAL(sine, u)
        y = fma(r * u, p, r);
    } else {
        POLYNOMIAL(cosine, u)
        half = 0.5 * u;
        most = 1.0 - half;
        y = most + fma(u * u, p, (1.0 - most) - half);
    }
    return (quadrant + 1u) & 2u ? -y : y;
}""",
    ),
    "sum_of_8": (
        "",
        """
static double sum_of_8(const double *s) {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}""",
    ),
}
"""Functions by name: the names of those that they need, and their text."""

ACTIVATIONS: dict[str, tuple[str, str]] = {
    "relu": ("", "return 0.0 > x ? 0.0 : x;"),
    "leaky_relu": ("", "return x * (x > 0.0 ? 1.0 : {0});"),
    "tanh": (
        "smaller magnitude expm1_of with_sign",
        """const double e = expm1_of(smaller(354.0, magnitude(x)) * 2.0);
    return with_sign(magnitude(e * (1.0 / (e + 2.0))), x);""",
    ),
    "sigmoid": (
        "magnitude exp_of",
        """const double e = exp_of(-magnitude(x)), q = 1.0 / (e + 1.0);
    return x < 0.0 ? e * q : q;""",
    ),
    "softplus": (
        "larger magnitude exp_of log1p_of",
        "return larger(0.0, x) + log1p_of(exp_of(-magnitude(x)));",
    ),
    "elu": (
        "smaller expm1_of",
        """const double e = {0} * expm1_of(smaller(0.0, x));
    return x >= 0.0 ? x : e;""",
    ),
    "selu": (
        "smaller expm1_of",
        """const double e = 1.0507009873554805 * 1.6732632423543772 * expm1_of(smaller(0.0, x));
    return x >= 0.0 ? 1.0507009873554805 * x : e;""",
    ),
    "gelu": (
        "larger smaller magnitude normal_exp",
        """const double bounded = larger(-60.0, smaller(60.0, x)), e = normal_exp(bounded);
    const double z = magnitude(bounded) * 0.7071067811865476, t = (z - 3.0) / (z + 3.0);
    double p, tail;
    POLYNOMIAL(erfcx, t)
    tail = 0.5 * e * p / fma(z, 2.0, 1.0);
    return larger(-60.0, x) * (bounded > 0.0 ? 1.0 - tail : tail);""",
    ),
    "gelu_tanh": (
        "larger smaller magnitude gelu_exp",
        """const double bounded = larger(-60.0, smaller(60.0, x));
    const double u = 1.5957691216057308 * bounded * fma(bounded * bounded, 0.044715, 1.0);
    const double e = gelu_exp(u, bounded), q = 1.0 / (e + 1.0);
    return larger(-60.0, x) * (u < 0.0 ? e * q : q);""",
    ),
    "silu": (
        "larger smaller magnitude exp_of",
        """const double bounded = larger(-1000.0, smaller(1000.0, x));
    const double e = exp_of(-magnitude(bounded)), q = 1.0 / (e + 1.0);
    return larger(-1000.0, x) * (x < 0.0 ? e * q : q);""",
    ),
    "exponential": ("exp_of", "return exp_of(x);"),
    "relu6": ("larger smaller", "return larger(0.0, smaller(6.0, x));"),
    "general_relu": (
        "larger smaller",
        """const double below = {0} * (x - {2});
    return x > {2} ? larger(0.0, smaller({1}, x)) : below;""",
    ),
    "mish": (
        "larger smaller magnitude exp_of",
        """const double bounded = larger(-1000.0, smaller(1000.0, x)), e = exp_of(-magnitude(bounded));
    const double square = e * e, twice = e + e;
    const double s = x < 0.0 ? square + twice : twice + 1.0;
    const double u = x < 0.0 ? square + twice + 2.0 : fma(square, 2.0, twice + 1.0);
    return larger(-1000.0, x) * (s * (1.0 / u));""",
    ),
    "softsign": (
        "larger smaller magnitude",
        """const double bounded = larger(-1e300, smaller(1e300, x));
    return bounded * (1.0 / (magnitude(bounded) + 1.0));""",
    ),
    "hard_sigmoid": ("larger smaller", "return larger(0.0, smaller(6.0, x + 3.0)) * (1.0 / 6.0);"),
    "hard_silu": (
        "larger smaller",
        "return larger(-3.0, x) * (larger(0.0, smaller(6.0, x + 3.0)) * (1.0 / 6.0));",
    ),
}
"""Elementwise activations by the core's name: what they need, and the body of a function of double x."""


def functions_text(names: Iterable[str], dtype: np.dtype[np.floating]) -> str:
    """Return the functions of these names and all that they need, each after what it needs."""
    texts: dict[str, str] = {}
    of_rows = ROW_FUNCTIONS | MERGING_FUNCTIONS | TABULAR_FUNCTIONS

    def require(name: str) -> None:
        if name in texts:
            return
        needs, text = FUNCTIONS.get(f"{name}/{dtype.name}") or FUNCTIONS.get(name) or of_rows[name]
        for each in needs.split():
            require(each)
        texts[name] = text.strip("\n")

    for name in names:
        require(name)
    return with_types("\n\n".join(texts.values()), dtype)


def with_types(text: str, dtype: np.dtype[np.floating]) -> str:
    """Return C text for one dtype, with the polynomials written out."""

    def horner(match: re.Match[str]) -> str:
        indent, table, variable = match.groups()
        return "\n".join(indent + line for line in polynomial(table, dtype, variable))

    text = re.sub(r"( *)POLYNOMIAL\((\w+), (\w+)\)", horner, text)
    real, fma = ("float", "fmaf") if dtype == np.float32 else ("double", "fma")
    return re.sub(r"\breal\b", real, text.replace("FMA_REAL", fma))
