"""Checks of arguments: each returns the value, or raises a ValueError with the name, what is accepted and the value.

NumPy's numbers count as numbers; bools, NaN and infinities do not.
"""

import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

_LARGEST = (1 << 63) - 1
"""The largest number that the compiled core takes."""


def whole(name: str, value: Any, *, at_least: int, at_most: int | None = None, others: str = "") -> int:
    """Return a whole number, ``at_least <= value <= at_most``, less than 2**63 in any case.

    ``others`` ends the list of what is accepted, such as ", or None": the caller has dealt with it.
    """
    accepted = not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= at_least
    if accepted and at_most is None and int(value) > _LARGEST:
        at_most = _LARGEST
    if not accepted or (at_most is not None and int(value) > at_most):
        bounds = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
        raise ValueError(f"{name} must be a whole number {bounds}{others}, got {value!r}")
    return int(value)


def number(
    name: str,
    value: Any,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
    others: str = "",
) -> float:
    """Return a finite number as a float, ``at_least <= value <= at_most`` and ``above < value < below``.

    ``others`` as in ``whole``.
    """
    try:
        converted = float(value) if not isinstance(value, bool) and isinstance(value, Real) else math.nan
    except OverflowError:
        converted = math.inf
    if not (math.isfinite(converted) and at_least <= converted <= at_most and above < converted < below):
        accepted = _within(at_least, above, at_most, below)
        raise ValueError(f"{name} must be {accepted}{others}, got {value!r}")
    return converted


def _within(at_least: float, above: float, at_most: float, below: float) -> str:
    """Return what lies within the bounds, such as "a number between 0 and 1"."""
    if at_least > -math.inf and at_most < math.inf:
        return f"a number between {at_least:g} and {at_most:g}"
    low = [f"of at least {at_least:g}"] * (at_least > -math.inf) + [f"greater than {above:g}"] * (above > -math.inf)
    high = [f"at most {at_most:g}"] * (at_most < math.inf) + [f"less than {below:g}"] * (below < math.inf)
    numbers = "a number" if low and high else "a finite number"
    return f"{numbers} {' and '.join(low + high)}".rstrip()


def optional(check: Callable[..., T], name: str, value: Any, **bounds: Any) -> T | None:
    """Return ``check(name, value, **bounds)``, or None for None."""
    return None if value is None else check(name, value, others=", or None", **bounds)


def choice(name: str, value: Any, known: Iterable[T]) -> T:
    """Return the one of ``known`` that equals ``value``: strings, whole numbers or None."""
    names = list(known)
    if isinstance(value, str | Integral | None) and not isinstance(value, bool) and value in names:
        return names[names.index(value)]  # type: ignore[arg-type]
    *others, last = map(repr, names)
    near = nearest(value, [each for each in names if isinstance(each, str)])
    hint = f". Did you mean {near!r}?" if near else ""
    raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {value!r}{hint}")


def flag(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def as_verbosity(verbose: Any) -> int:
    """Return 0, 1 or 2 for 0, 1, 2, a bool or "auto" (1)."""
    if isinstance(verbose, str) and verbose == "auto":
        return 1
    if isinstance(verbose, bool | Integral) and int(verbose) in (0, 1, 2):
        return int(verbose)
    raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")


def float_type(name: str, value: Any, *, others: str = "") -> np.dtype[Any]:
    """Return "float32" or "float64" as a dtype; objects with such a name, such as Keras's policies, count too."""
    try:
        found = np.dtype(value if isinstance(value, type) else getattr(value, "name", value))
    except (TypeError, ValueError):
        found = np.dtype(object)
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"{name} must be 'float32' or 'float64'{others}, got {value!r}")
    return found


def last_axis(axis: Any) -> int:
    """Return -1 for the last axis of rows, which have no other: -1, 1, or a list of one of them."""
    only = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if isinstance(only, bool) or only not in (-1, 1):
        raise ValueError(f"axis must be -1, the columns of a row, got {axis!r}")
    return -1


def absent(**arguments: Any) -> None:
    """Check that arguments of Keras which fastnn does not have are left out: None or False."""
    for name, value in arguments.items():
        if value is not None and value is not False:
            raise ValueError(f"{name} is not supported and must be left out, got {value!r}")


def nearest(given: object, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that is spelt most like ``given``, in whatever case; None if none is near."""
    import difflib

    names = list(known)
    near = difflib.get_close_matches(str(given).lower(), [name.lower() for name in names], n=1, cutoff=0.5)
    return next((name for name in names if near and name.lower() == near[0]), None)
