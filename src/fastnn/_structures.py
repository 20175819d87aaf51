"""Nested lists, tuples and dicts of things: their leaves in order, and the way back. Dicts go by their sorted keys."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def is_nested(value: Any) -> bool:
    """Whether a value is a list, a tuple or a dict."""
    return isinstance(value, list | tuple | Mapping)


def leaves(structure: Any) -> list[Any]:
    """Return the things in a structure that are not lists, tuples or dicts, in order."""
    if isinstance(structure, Mapping):
        return [leaf for key in sorted(structure) for leaf in leaves(structure[key])]
    if isinstance(structure, list | tuple):
        return [leaf for each in structure for leaf in leaves(each)]
    return [structure]


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """Return the structure with ``function(leaf)`` in place of each leaf; tuples become lists of the same kind."""
    if isinstance(structure, Mapping):
        return {key: mapped(function, value) for key, value in structure.items()}
    if isinstance(structure, list):
        return [mapped(function, each) for each in structure]
    if isinstance(structure, tuple):
        return tuple(mapped(function, each) for each in structure)
    return function(structure)


def filled(structure: Any, values: Iterator[Any]) -> Any:
    """Return the structure with the next value in place of each leaf, in the order of ``leaves``."""
    if isinstance(structure, Mapping):
        found = {key: filled(structure[key], values) for key in sorted(structure)}
        return {key: found[key] for key in structure}
    if isinstance(structure, list):
        return [filled(each, values) for each in structure]
    if isinstance(structure, tuple):
        return tuple(filled(each, values) for each in structure)
    return next(values)
