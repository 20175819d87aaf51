"""Arrays in the forms that users give them in, one by one, as lists and as dicts by name, put in their order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastnn._arguments import nearest
from fastnn._structures import is_nested, leaves


def by_place(
    given: Any, structure: Any, names: Sequence[str], argument: str, of: str, partial: bool = False
) -> list[Any]:
    """Return what was given for each input or output, in order.

    Parameters
    ----------
    given : one thing for the only place, or a list, tuple or dict of them; or the structure itself with other leaves.
    structure : what the constructor of the model was given.
    names : name of each place.
    argument : name of the argument in messages.
    of : "input" or "output".
    partial : whether a dict may leave places out, which are None then.

    Raises
    ------
    ValueError
        Another number of things, or a name that no place has; the message has the nearest name.
    """
    n = len(names)
    if isinstance(given, Mapping):
        keys = sorted(structure) if isinstance(structure, Mapping) and len(structure) == n else list(names)
        wanted = keys if set(given) & set(keys) or not set(given) & set(names) else list(names)
        return _by_name(given, wanted, argument, of, partial)
    if n == 1:
        return [given[0] if holds_one(given) else given]
    several = given if isinstance(given, list | tuple) else None
    if isinstance(structure, list | tuple) and any(is_nested(each) for each in structure) and several is not None:
        several = leaves(given)
    if several is None or len(several) != n:
        what = f"one {type(given).__name__}" if several is None else f"{len(several)} things"
        shape = f" of shape {np.shape(given)}" if several is None and hasattr(given, "shape") else ""
        raise ValueError(
            f"{argument} must be a list of {n} arrays or a dict by name, one for each {of} of the model: "
            f"{', '.join(names)}; got {what}{shape}"
        )
    return list(several)


def holds_one(given: Any) -> bool:
    """Whether a list holds the one array that is meant, instead of being the array."""
    if not isinstance(given, list | tuple) or len(given) != 1:
        return False
    return hasattr(given[0], "shape") and len(given[0].shape) != 0


def _by_name(given: Mapping[Any, Any], names: Sequence[str], argument: str, of: str, partial: bool) -> list[Any]:
    known = set(names)
    for key in given:
        if key not in known:
            near = nearest(key, names)
            hint = f". Did you mean {near!r}?" if near else ""
            raise ValueError(f"{argument} has {key!r}, but no {of} has this name; the {of}s: {', '.join(names)}{hint}")
    missing = [name for name in names if name not in given]
    if missing and not partial:
        raise ValueError(
            f"{argument} lacks {', '.join(map(repr, missing))}: it must have one entry for each {of} of the model: "
            f"{', '.join(names)}"
        )
    return [given.get(name) for name in names]
