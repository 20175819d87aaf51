"""Checks of the reference's arguments: names, options, floating arrays."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise ValueError unless ``name`` is one of ``known``; the message lists them and the nearest."""
    names = sorted(known)
    if name in names:
        return
    nearest = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def complete_options(owner: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``defaults`` overridden by ``given``; raise TypeError for an option without a default."""
    for option in given:
        if option not in defaults:
            accepted = ", ".join(defaults) or "none"
            raise TypeError(f"{owner} has no option {option!r}; accepted: {accepted}.")
    return {**defaults, **given}


def as_floating(argument: str, values: Any) -> Array:
    """Return ``values`` as a float32 or float64 array; other real types become float64."""
    array = np.asarray(values)
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{argument} must hold real numbers, got dtype {array.dtype}.")
    return array.astype(np.float64)


def require_matrix(argument: str, array: Array) -> None:
    """Raise ValueError unless ``array`` has two dimensions."""
    if array.ndim != 2:
        raise ValueError(f"{argument} must have 2 dimensions, got shape {array.shape}.")
