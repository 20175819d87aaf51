"""Fixed parts of exported Fortran: activations, multiply-adds and functions of rows; ``rk`` is the network's kind."""

FORTRAN_NAMES = frozenset("x y rk real32 real64 real size merge sum exp tanh fma accumulate normalized softmax".split())
"""Words that the module uses itself."""

ACTIVATIONS = {
    "relu": "max({z}, 0.0_real64)",
    "leaky_relu": "merge({z}, {0} * {z}, {z} > 0)",
    "tanh": "tanh({z})",
    "sigmoid": "sigmoid({z})",
    "softplus": "softplus({z})",
    "elu": "merge({z}, {0} * expm1(min({z}, 0.0_real64)), {z} >= 0)",
    "selu": "1.0507009873554805_real64 * &\n      "
    "merge({z}, 1.6732632423543772_real64 * expm1(min({z}, 0.0_real64)), {z} >= 0)",
    "gelu": "0.5_real64 * {z} * erfc(-{z} * 0.7071067811865476_real64)",
    "gelu_tanh": "{z} * sigmoid(1.5957691216057308_real64 * {z} * &\n      (1 + 0.044715_real64 * {z}**2))",
    "silu": "{z} * sigmoid({z})",
    "exponential": "exp({z})",
    "relu6": "max(0.0_real64, min(6.0_real64, {z}))",
    "general_relu": "merge(max(0.0_real64, min({1}, {z})), &\n      {0} * ({z} - {2}), {z} > {2})",
    "mish": "{z} * tanh(softplus({z}))",
    "softsign": "{z} / (1 + abs({z}))",
    "hard_sigmoid": "max(0.0_real64, min(6.0_real64, {z} + 3)) / 6",
    "hard_silu": "{z} * max(0.0_real64, min(6.0_real64, {z} + 3)) / 6",
}
"""Elementwise activations of a vector z in real64."""

_ACCUMULATE = """  ! y = y + w x, input by input
  pure subroutine accumulate(y, x, w)
    real(rk), intent(inout) :: y(:)
    real(rk), intent(in) :: x(:), w(:, :)
    integer :: i, k
    do k = 1, size(x)
      do i = 1, size(y)
        y(i) = {value}
      end do
    end do
  end subroutine
"""

_MULTIPLY_ADD = """  pure function multiply_add(a, b, c) result(y)
    real(rk), intent(in) :: a(:), b(:), c(:)
    real(rk) :: y(size(a))
    integer :: i
    do i = 1, size(a)
      y(i) = {value}
    end do
  end function
"""

_FMA = """  interface
    pure function fma(a, b, c) bind(c, name="fma") result(value)
      import :: c_double
      real(c_double), intent(in), value :: a, b, c
      real(c_double) :: value
    end function
  end interface"""


def _procedures(fused: str) -> dict[str, str]:
    """Return the procedures that multiply and add, for an expression of a, b and c with one rounding."""
    chain = fused.format(a="w(i, k)", b="x(k)", c="y(i)")
    return {
        "multiply_add": _MULTIPLY_ADD.replace("{value}", fused.format(a="a(i)", b="b(i)", c="c(i)")),
        "accumulate": _ACCUMULATE.replace("{value}", chain),
    }


MULTIPLY_ADD: dict[str, tuple[list[str], dict[str, str]]] = {
    "float32": ([], _procedures("real(real({a}, real64) * real({b}, real64) + real({c}, real64), real32)")),
    "float64": ([_FMA], _procedures("fma({a}, {b}, {c})")),
}
"""By type: declarations, and procedures by the name that their callers write."""

HELPERS = {
    "sigmoid": """  pure function sigmoid(z) result(y)
    real(real64), intent(in) :: z(:)
    real(real64) :: y(size(z)), e(size(z))
    e = exp(-abs(z))
    y = merge(e, 1.0_real64, z < 0) / (1 + e)
  end function
""",
    "softplus": """  pure function softplus(z) result(y)
    real(real64), intent(in) :: z(:)
    real(real64) :: y(size(z)), e(size(z))
    e = exp(-abs(z))
    y = max(z, 0.0_real64) + 2 * atanh(e / (e + 2))
  end function
""",
    "expm1": """  pure function expm1(z) result(y)
    real(real64), intent(in) :: z(:)
    real(real64) :: y(size(z)), h(size(z))
    h = max(z, -700.0_real64) / 2
    y = 2 * sinh(h) * exp(h)
  end function
""",
    "log_softmax": """  pure function log_softmax(x) result(y)
    real(rk), intent(in) :: x(:)
    real(rk) :: y(size(x))
    real(real64) :: z(size(x)), rest
    z = real(x, real64) - real(maxval(x), real64)
    rest = sum(exp(z)) - 1
    if (rest < 1) rest = sum(exp(z), mask=z < 0) + (count(z >= 0) - 1)
    if (rest < 1) then
      y = real(z - 2 * atanh(rest / (rest + 2)), rk)
    else
      y = real(z - log(1 + rest), rk)
    end if
  end function
""",
    "softmax": """  pure function softmax(x) result(y)
    real(rk), intent(in) :: x(:)
    real(rk) :: y(size(x))
    real(real64) :: e(size(x))
    e = exp(real(x, real64) - real(maxval(x), real64))
    y = real(e / sum(e), rk)
  end function
""",
    "normalized": """  pure function normalized(x, scale, shift, epsilon, rms) result(y)
    real(rk), intent(in) :: x(:), scale(:), shift(:)
    real(real64), intent(in) :: epsilon
    logical, intent(in) :: rms
    real(rk) :: y(size(x))
    real(real64) :: mean, inverse
    mean = sum(real(x, real64)) / size(x)
    inverse = 1 / sqrt(sum((real(x, real64) - mean)**2) / size(x) + epsilon)
    if (rms) mean = 0
    y = real((real(x, real64) - mean) * inverse * real(scale, real64) + real(shift, real64), rk)
  end function
""",
}
"""Functions by the name that their callers write."""
