"""Layers that occur in several places of a model: each of their descriptions has the same number."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

NUMBER = "shared_object_id"
"""Key of the number in the description of a layer that occurs more than once; Keras's key."""

_described: ContextVar[dict[int, tuple[int, Any, list[dict[str, Any]]]] | None] = ContextVar("described", default=None)
_made: ContextVar[dict[int, Any] | None] = ContextVar("made", default=None)


@contextmanager
def describing() -> Iterator[None]:
    """Give layers that are described several times inside the block a number in each of their descriptions."""
    if _described.get() is not None:
        yield
        return
    found: dict[int, tuple[int, Any, list[dict[str, Any]]]] = {}
    token = _described.set(found)
    try:
        yield
    finally:
        _described.reset(token)
        for _, _, places in found.values():
            for place in places if len(places) == 1 else ():
                del place[NUMBER]


def note_description(layer: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Give the description of a layer its number, inside ``describing``; return the description."""
    found = _described.get()
    if found is not None:
        config[NUMBER], _, places = found.setdefault(id(layer), (len(found), layer, []))
        places.append(config)
    return config


@contextmanager
def making() -> Iterator[None]:
    """Make one layer of all descriptions with the same number inside."""
    if _made.get() is not None:
        yield
        return
    token = _made.set({})
    try:
        yield
    finally:
        _made.reset(token)


def made_before(config: Any) -> Any:
    """Return the layer that was made of a description with the same number; None if there is none."""
    made, number = _made.get(), _number(config)
    return None if made is None or number is None else made.get(number)


def note_layer(config: Any, layer: Any) -> Any:
    """Remember the layer that was made of a description; return the layer."""
    made, number = _made.get(), _number(config)
    if made is not None and number is not None:
        made[number] = layer
    return layer


def _number(config: Any) -> int | None:
    """Return the number in a description; None if it has none."""
    number = config.get(NUMBER) if isinstance(config, dict) else None
    return number if isinstance(number, int) else None
