"""Prints the tables of functions.h: interpolating polynomials, made in 80 digits (needs mpmath).

Chebyshev's nodes, but in the float32 build also the arguments at which the derivatives of GELU, tanh-GELU, SiLU and
Mish are zero: two large terms cancel there, and their difference is right only if both terms are.
"""

from collections.abc import Callable, Sequence

from mpmath import cos, erfc, exp, factorial, findroot, log, lu_solve, matrix, mp, mpf, nint, pi, sqrt

mp.dps = 80

# Just wider than the reduced arguments, whose bound is rounded.
HALF = log(2) / 2 * mpf("1.0001")
QUARTER = (pi / 4) ** 2 * mpf("1.0001")


def expm1_quotient(r: mpf) -> mpf:
    """(exp(r) - 1 - r) / r^2."""
    return sum(r**k / factorial(k + 2) for k in range(60))


def atanh_quotient(u: mpf) -> mpf:
    """(atanh(s) / s - 1) / s^2 in u = s^2."""
    return sum(u**k / (2 * k + 3) for k in range(100))


def scaled_erfc(t: mpf) -> mpf:
    """(1 + 2 z) exp(z^2) erfc(z) in t = (z - 3) / (z + 3)."""
    z = 3 * (1 + t) / (1 - t)
    return (1 + 2 * z) * exp(z * z) * erfc(z)


def sine_quotient(u: mpf) -> mpf:
    """(sin(r) / r - 1) / r^2 in u = r^2."""
    return sum((-1) ** (k + 1) * u**k / factorial(2 * k + 3) for k in range(40))


def cosine_quotient(u: mpf) -> mpf:
    """(cos(r) - 1 + r^2 / 2) / r^4 in u = r^2."""
    return sum((-1) ** k * u**k / factorial(2 * k + 4) for k in range(40))


def chebyshev(low: mpf, high: mpf, n: int) -> list[mpf]:
    """Nodes of degree n between low and high."""
    return [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * i + 1) / (2 * n)) for i in range(n)]


def interpolant(function: Callable[[mpf], mpf], nodes: Sequence[mpf]) -> list[float]:
    """Coefficients, lowest power first."""
    system = matrix([[x**j for j in range(len(nodes))] for x in nodes])
    return [float(c) for c in lu_solve(system, matrix([function(x) for x in nodes]))]


def zeros() -> tuple[mpf, list[mpf]]:
    """Return the zero of GELU's derivative, and the arguments of exp at all four zeros less multiples of ln 2."""
    root, cubic = sqrt(8 / pi), mpf("0.044715")

    def sigmoid(x: mpf) -> mpf:
        return 1 / (1 + exp(-x))

    def u(x: mpf) -> mpf:
        return root * (x + cubic * x**3)

    def mish(x: mpf) -> mpf:
        n = exp(x) * (exp(x) + 2)
        return n * (n + 2) + 4 * x * exp(x) * (1 + exp(x))

    gelu = findroot(lambda x: erfc(-x / sqrt(2)) / 2 + x * exp(-x * x / 2) / sqrt(2 * pi), -0.75)
    tanh_gelu = findroot(lambda x: 1 + x * sigmoid(-u(x)) * root * (1 + 3 * cubic * x * x), -0.75)
    silu = findroot(lambda x: 1 + x * sigmoid(-x), -1.3)
    arguments = [-gelu * gelu / 2, u(tanh_gelu), silu, findroot(mish, -1.2)]
    return gelu, [x - nint(x / log(2)) * log(2) for x in arguments]


def main() -> None:
    """Print every table as C."""
    gelu, reduced = zeros()
    z = -gelu / sqrt(2)
    at = (z - 3) / (z + 3)
    nodes = chebyshev(mpf(-1), mpf(1), 13)
    nearest = min(nodes, key=lambda t: abs(t - at))
    tables = {
        # the two further nodes make the largest of |r^2 (r - node) ... / exp(r)| least
        "EXPM1 float32": interpolant(expm1_quotient, [*reduced, mpf("-0.3331"), mpf("0.3006")]),
        "EXPM1 float64": interpolant(expm1_quotient, chebyshev(-HALF, HALF, 11)),
        "ATANH float32": interpolant(atanh_quotient, chebyshev(mpf(0), mpf(1) / 9, 6)),
        "ATANH float64": interpolant(atanh_quotient, chebyshev(mpf(0), mpf(1) / 9, 10)),
        "ERFCX float32": interpolant(scaled_erfc, [at if t == nearest else t for t in nodes]),
        "ERFCX float64": interpolant(scaled_erfc, chebyshev(mpf(-1), mpf(1), 25)),
        "SINE float32": interpolant(sine_quotient, chebyshev(mpf(0), QUARTER, 4)),
        "SINE float64": interpolant(sine_quotient, chebyshev(mpf(0), QUARTER, 7)),
        "COSINE float32": interpolant(cosine_quotient, chebyshev(mpf(0), QUARTER, 4)),
        "COSINE float64": interpolant(cosine_quotient, chebyshev(mpf(0), QUARTER, 7)),
    }
    for name, values in tables.items():
        print(f"/* {name} */", ", ".join(repr(v) for v in values))


if __name__ == "__main__":
    main()
