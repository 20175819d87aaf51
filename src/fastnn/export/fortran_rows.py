"""Functions of exported Fortran that work on a whole row: products, softmax, normalizations, tables of categories."""

ROW_FUNCTIONS: dict[str, tuple[str, str]] = {
    "fma/float32": (
        "",
        """pure function fma(a, b, c) result(y)
  real(real64), intent(in) :: a, b, c
  real(real64) :: y
  y = a * b + c
end function""",
    ),
    "multiply_add": (
        "",
        """pure function multiply_add(a, b, c) result(y)
  real(rk), intent(in) :: a(:), b(:), c(:)
  real(rk) :: y(size(a))
  integer :: i
  do i = 1, size(a)
    y(i) = FUSED[a(i) | b(i) | c(i)]
  end do
end function""",
    ),
    "accumulate": (
        "",
        """! y = y + w x, input by input
pure subroutine accumulate(y, x, w)
  real(rk), intent(inout) :: y(:)
  real(rk), intent(in) :: x(:), w(:, :)
  integer :: i, k
  do k = 1, size(x)
    do i = 1, size(y)
      y(i) = FUSED[w(i, k) | x(k) | y(i)]
    end do
  end do
end subroutine""",
    ),
    "sum_of_8": (
        "",
        """pure function sum_of_8(s) result(y)
  real(real64), intent(in) :: s(0:7)
  real(real64) :: y
  y = ((s(0) + s(4)) + (s(2) + s(6))) + ((s(1) + s(5)) + (s(3) + s(7)))
end function""",
    ),
    "softmax": (
        "exp_of sum_of_8",
        """pure function softmax(x) result(y)
  real(rk), intent(in) :: x(:)
  real(rk) :: y(size(x))
  real(real64) :: s(8), e, largest
  integer :: i
  s = 0
  largest = real(maxval(x), real64)
  do i = 1, size(x)
    e = exp_of(real(x(i), real64) - largest)
    s(modulo(i - 1, 8) + 1) = s(modulo(i - 1, 8) + 1) + e
    y(i) = real(e, rk)
  end do
  e = 1.0 / sum_of_8(s)
  y = real(real(y, real64) * e, rk)
end function""",
    ),
    "log_softmax": (
        "exp_of sum_of_8 log_of_sum",
        """pure function log_softmax(x) result(y)
  real(rk), intent(in) :: x(:)
  real(rk) :: y(size(x))
  real(real64) :: s(8), rest(8), e, largest, log_sum
  integer :: i, j
  s = 0
  rest = 0
  largest = real(maxval(x), real64)
  do i = 1, size(x)
    j = modulo(i - 1, 8) + 1
    e = exp_of(real(x(i), real64) - largest)
    s(j) = s(j) + e
    if (e < 1.0) rest(j) = rest(j) + e
  end do
  log_sum = log_of_sum(sum_of_8(s), sum_of_8(rest))
  y = real((real(x, real64) - largest) - log_sum, rk)
end function""",
    ),
    "normalized": (
        "sum_of_8",
        """! (x - mean) / sqrt(variance + epsilon) * scale + shift; rms: without subtracting the mean
pure function normalized(x, scale, shift, epsilon, rms) result(y)
  real(rk), intent(in) :: x(:), scale(:), shift(:)
  real(real64), intent(in) :: epsilon
  logical, intent(in) :: rms
  real(rk) :: y(size(x))
  real(real64) :: s(8), v(8), mean, inverse, d
  integer :: i, j
  s = 0
  v = 0
  do i = 1, size(x)
    j = modulo(i - 1, 8) + 1
    s(j) = s(j) + real(x(i), real64)
  end do
  mean = sum_of_8(s) * (1.0 / real(size(x), real64))
  do i = 1, size(x)
    j = modulo(i - 1, 8) + 1
    d = real(x(i), real64) - mean
    v(j) = fma(d, d, v(j))
  end do
  inverse = 1.0 / sqrt(sum_of_8(v) * (1.0 / real(size(x), real64)) + epsilon)
  if (rms) mean = 0
  do i = 1, size(x)
    d = (real(x(i), real64) - mean) * inverse
    y(i) = real(fma(d, real(scale(i), real64), real(shift(i), real64)), rk)
  end do
end function""",
    ),
    "cosines": (
        "cosine_of",
        """! cos(2 pi w x + b)
pure function cosines(x, w, b) result(y)
  real(rk), intent(in) :: x(:), w(:), b(:)
  real(rk) :: y(size(x))
  integer :: i
  do i = 1, size(x)
    y(i) = real(cosine_of(fma(real(x(i), real64) * real(w(i), real64), 6.283185307179586, real(b(i), real64))), rk)
  end do
end function""",
    ),
    "robust_scaling": (
        "",
        """! z = (x - centre) scale, and z / sqrt(1 + (z / bound)**2) with a bound; 0 is no bound
pure function robust_scaling(x, centre, scale, bound) result(y)
  real(real64), intent(in) :: x(:), centre(:), scale(:), bound
  real(rk) :: y(size(x))
  real(real64) :: z, part
  integer :: i
  do i = 1, size(x)
    z = (x(i) - centre(i)) * scale(i)
    if (bound > 0) then
      if (z > 1.0e150 * bound) z = 1.0e150 * bound
      if (z < -1.0e150 * bound) z = -1.0e150 * bound
      part = z / bound
      z = z / sqrt(1.0 + part * part)
    end if
    y(i) = real(z, rk)
  end do
end function""",
    ),
    "larger_of": (
        "",
        """! the larger ones, and NaN where either is
pure function larger_of(a, b) result(y)
  real(rk), intent(in) :: a(:), b(:)
  real(rk) :: y(size(a))
  y = merge(a, b, a > b .or. ieee_is_nan(a))
end function""",
    ),
    "smaller_of": (
        "",
        """! the smaller ones, and NaN where either is
pure function smaller_of(a, b) result(y)
  real(rk), intent(in) :: a(:), b(:)
  real(rk) :: y(size(a))
  y = merge(a, b, a < b .or. ieee_is_nan(a))
end function""",
    ),
    "inverse_norm": (
        "",
        """pure function inverse_norm(squares) result(y)
  real(rk), intent(in) :: squares
  real(real64) :: y, s
  s = real(squares, real64)
  y = 1.0 / sqrt(merge(s, 1.0e-14, s > 1.0e-14))
end function""",
    ),
    "scalar_product": (
        "inverse_norm",
        """! of a and b, one chain of multiply-adds; normalize: of a and b over their norms
pure function scalar_product(a, b, normalize) result(y)
  real(rk), intent(in) :: a(:), b(:)
  logical, intent(in) :: normalize
  real(rk) :: y, of_a, of_b
  integer :: i
  y = 0
  of_a = 0
  of_b = 0
  do i = 1, size(a)
    y = FUSED[a(i) | b(i) | y]
    of_a = FUSED[a(i) | a(i) | of_a]
    of_b = FUSED[b(i) | b(i) | of_b]
  end do
  if (normalize) y = real((real(y, real64) * inverse_norm(of_a)) * inverse_norm(of_b), rk)
end function""",
    ),
    "embed": (
        "",
        """! the columns of a table, of which the first one is number `first`, that numbers in x name
pure subroutine embed(y, x, table, first)
  real(rk), intent(inout) :: y(:)
  real(rk), intent(in) :: x(:), table(:, :)
  integer, intent(in) :: first
  integer :: i, n, row
  n = size(table, 1)
  do i = 1, size(x)
    if (.not. (x(i) >= first .and. x(i) < first + size(table, 2))) cycle
    row = int(x(i)) - first
    if (abs(x(i) - aint(x(i))) > 0) cycle
    y((i - 1) * n + 1 : i * n) = table(:, row + 1)
  end do
end subroutine""",
    ),
    "whole": (
        "",
        """pure function whole(x) result(y)
  real(rk), intent(in) :: x(:)
  integer(int64) :: y(size(x))
  y = nint(max(-9.0e18, min(9.0e18, real(x, real64))), int64)
end function""",
    ),
    "look_up": (
        "",
        """! the numbers of values in a vocabulary of ascending keys; first + modulo(value, unknown) for other values
pure function look_up(values, keys, numbers, first, unknown) result(y)
  integer(int64), intent(in) :: values(:), keys(:), first, unknown
  real(rk), intent(in) :: numbers(:)
  real(rk) :: y(size(values))
  integer :: i, low, high, middle
  do i = 1, size(values)
    low = 1
    high = size(keys)
    do while (low < high)
      middle = (low + high) / 2
      if (keys(middle) < values(i)) then
        low = middle + 1
      else
        high = middle
      end if
    end do
    if (keys(low) == values(i)) then
      y(i) = numbers(low)
    else if (unknown == 0) then
      y(i) = ieee_value(y(i), ieee_quiet_nan)
    else
      y(i) = real(first + modulo(values(i), unknown), rk)
    end if
  end do
end function""",
    ),
    "discretize": (
        "",
        """! how many of ascending boundaries are not above x
pure function discretize(x, boundaries) result(y)
  real(real64), intent(in) :: x(:), boundaries(:)
  real(rk) :: y(size(x))
  integer :: i
  do i = 1, size(x)
    y(i) = real(count(boundaries <= x(i)), rk)
  end do
end function""",
    ),
    "hot": (
        "",
        """! 1 in the columns that numbers name, 0 in the others, or how often, for each `group` numbers together
pure function hot(x, group, depth, counted, strict) result(y)
  real(rk), intent(in) :: x(:)
  integer, intent(in) :: group, depth
  logical, intent(in) :: counted, strict
  real(rk) :: y(size(x) / group * depth)
  integer :: i, first, place
  y = 0
  do i = 1, size(x)
    first = (i - 1) / group * depth
    place = -1
    if (x(i) >= 0 .and. x(i) < depth) place = int(x(i))
    if (place >= 0) then
      y(first + place + 1) = merge(y(first + place + 1) + 1, 1.0_rk, counted)
    else if (strict .or. ieee_is_nan(x(i))) then
      y(first + 1 : first + depth) = ieee_value(1.0_rk, ieee_quiet_nan)
    end if
  end do
end function""",
    ),
}
"""Procedures by the name that their callers write: the names of those that they need, and their text.

``FUSED[a | b | c]`` is a multiply-add of the network's kind, with one rounding.
"""
