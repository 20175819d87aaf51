"""Checks of arguments: each returns the value, or raises a ValueError with its name, what is accepted and the value.

NumPy scalars are accepted as numbers; bools, NaN and infinities are not.
"""

import contextlib
import functools
import importlib
import inspect
import math
import os
import types
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
_FLOAT_TYPES = {
    **dict.fromkeys(("float32", "f4", "<f4", "=f4", "f", "single"), np.float32),
    **dict.fromkeys(("float64", "f8", "<f8", "=f8", "d", "double", "float"), np.float64),
}
_HALF_TYPES = ("float16", "bfloat16", "half")
_REAL_TYPES = {*_FLOAT_TYPES, *_HALF_TYPES, "bool", "int", "uint"} | {
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}

_LARGEST = (1 << 63) - 1
"""The largest number that the compiled core takes."""


def installed(package: str, what: str, extra: str | None = None) -> Any:
    """Import and return an optional package.

    Parameters
    ----------
    package : its name.
    what : what needs it, for the error.
    extra : the extra of fastnn that installs it; None if there is none.

    Raises
    ------
    ImportError
        It is not installed; the message has the line that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        line = f"pip install '.[{extra}]' from the checkout" if extra else f"pip install {package}"
        raise ImportError(f"{what} needs {package}: {line}") from error


@contextlib.contextmanager
def errors_of(name: str) -> Iterator[None]:
    """Put the name of an argument before the message of a ValueError or TypeError in the block."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name}: {error}") from error


def whole(name: str, value: Any, *, at_least: int = -(2**63), at_most: int | None = None, others: str = "") -> int:
    """Return a whole number, ``at_least <= value <= at_most``, less than 2**63 in any case.

    ``others`` names in the message what else the caller accepts, such as ", or None".
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
    """Return the accepted numbers in words, such as "a number between 0 and 1"."""
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


def text(name: str, value: Any) -> str:
    """Return a string; a TypeError names what else was given."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    return value


def as_path(name: str, value: Any) -> str:
    """Return a path as a string; a TypeError names what else was given."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"{name} must be a path, a string or a path object, got {value!r}")
    return path


def as_given(check: Callable[..., Any], name: str, value: T, **bounds: Any) -> T:
    """Return ``value`` itself, in its own type, after ``check(name, value, **bounds)``."""
    check(name, value, **bounds)
    return value


def as_verbosity(verbose: Any) -> int:
    """Return 0, 1 or 2 for 0, 1, 2, a bool or "auto" (1)."""
    if isinstance(verbose, str) and verbose == "auto":
        return 1
    if isinstance(verbose, bool | Integral) and int(verbose) in (0, 1, 2):
        return int(verbose)
    raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")


def float_type(name: str, value: Any, *, others: str = "") -> np.dtype[Any]:
    """Return "float32" or "float64" as a dtype; an object with such a name, like a Keras policy, is accepted too."""
    given = value if isinstance(value, type) else getattr(value, "name", value)
    if isinstance(given, str):
        # Names go through a table: NumPy's parser takes a small language, and fails in many ways on other text.
        given = _FLOAT_TYPES.get(given, object)
    found: np.dtype[Any] = np.dtype(object)
    if isinstance(given, type):
        with contextlib.suppress(TypeError):
            found = np.dtype(given)
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"{name} must be 'float32' or 'float64'{others}, got {value!r}")
    return found


def input_type(name: str, value: Any) -> str | None:
    """Return the name of a type of inputs as Keras takes it: None, a real NumPy type, "string", or its name.

    Half precision is None: such arrays are read in the type that the network computes in.
    """
    given = value if isinstance(value, type) else getattr(value, "name", value)
    if given is None or given == "string":
        return given
    real = (
        given in _REAL_TYPES if isinstance(given, str) else isinstance(given, type) and np.dtype(given).kind in "biuf"
    )
    if not real:
        raise ValueError(
            f"{name} must be the name of a real type such as 'float32' or 'uint8', 'string', or None, got {value!r}"
        )
    found = _FLOAT_TYPES.get(given, given) if isinstance(given, str) else given
    known = found if isinstance(found, str) else np.dtype(found).name
    return None if known in _HALF_TYPES else known


def last_axis(axis: Any) -> int:
    """Return -1 if ``axis`` is the last axis of a matrix of rows: -1, 1, or a list that holds one of them."""
    only = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if isinstance(only, bool) or only not in (-1, 1):
        raise ValueError(f"axis must be -1, the columns of a row, got {axis!r}")
    return -1


def absent(**arguments: Any) -> None:
    """Check that Keras arguments that fastnn does not support are left out: None or False."""
    for name, value in arguments.items():
        if value is not None and value is not False:
            raise ValueError(f"{name} is not supported and must be left out, got {value!r}")


def nearest(given: object, known: Iterable[str], alike: float = 0.5) -> str | None:
    """Return the name in ``known`` that is spelled most like ``given``; None if none is similar. Case decides last.

    ``alike`` is the least ratio of similarity of ``difflib``, from 0 to 1.
    """
    import difflib

    names = list(known)
    near = difflib.get_close_matches(str(given).lower(), [name.lower() for name in names], n=1, cutoff=alike)
    alike_but_for_case = [name for name in names if near and name.lower() == near[0]]
    return next(iter(difflib.get_close_matches(str(given), alike_but_for_case, n=1, cutoff=0.0)), None)


_OTHER_NAMES = {
    "lr": "learning_rate",
    "decay": "weight_decay",
    "nb_epoch": "epochs",
    "act": "activation",
    "alpha": "negative_slope",
}
"""Names that older versions and other libraries have for an argument."""


def takes_keywords(function: F, owner: type | None = None) -> F:
    """Return the function; an unknown keyword argument raises a TypeError with the nearest name and all names.

    Parameters
    ----------
    function : function, or method of ``owner``.
    owner : class; the other keyword arguments of its constructor go to the constructors of its bases.
    """
    accepted: frozenset[str] | None = None

    @functools.wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        nonlocal accepted
        if options:
            if accepted is None:
                accepted = frozenset(_keywords(function, owner))
            if accepted and not options.keys() <= accepted:
                raise TypeError(_unknown_keyword(function, owner, arguments, options))
        return function(*arguments, **options)

    return checked  # type: ignore[return-value]


def check_keywords(cls: type) -> None:
    """Let the constructor of a class, ``fit`` and its methods with optional arguments check their keyword arguments.

    The hooks of callbacks are left out: fastnn calls them, at every step.
    """
    for name, method in list(vars(cls).items()):
        if isinstance(method, types.FunctionType) and not name.startswith(("_", "on_")):
            plain = inspect.unwrap(method)
            if plain.__defaults__ or plain.__kwdefaults__ or name == "fit":
                setattr(cls, name, takes_keywords(method, cls))
        elif name == "__init__":
            setattr(cls, name, takes_keywords(method, cls))


def _keywords(function: Callable[..., Any], owner: type | None) -> list[str]:
    """Return the names of the keyword arguments; an empty list if any name is accepted."""
    parameters = list(inspect.signature(function).parameters.values())[0 if owner is None else 1 :]
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        return names
    constructors = [
        vars(each)["__init__"] for each in (owner.__mro__[1:-1] if owner else ()) if "__init__" in vars(each)
    ]
    passed_on = [
        each.name
        for constructor in constructors
        for each in inspect.signature(constructor).parameters.values()
        if each.kind is each.KEYWORD_ONLY and each.name not in names
    ]
    return [*names, *passed_on] if passed_on and function.__name__ == "__init__" else []


def _unknown_keyword(function: Callable[..., Any], owner: type | None, arguments: Any, options: Any) -> str:
    """Return the message for the first unknown keyword argument."""
    known = _keywords(function, owner)
    given = next(name for name in options if name not in known)
    called = function.__name__ if owner is None else type(arguments[0]).__name__
    if owner is not None and function.__name__ != "__init__":
        called += f".{function.__name__}"
    usual = _OTHER_NAMES.get(given)
    near = usual if usual in known else nearest(given, known)
    hint = f" Did you mean {near!r}?" if near else ""
    return f"{called}() got an unexpected keyword argument {given!r}.{hint} Its arguments: {', '.join(known) or 'none'}"
