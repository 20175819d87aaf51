"""Automatic names of layers, models and metrics, numbered as Keras numbers them."""

import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator

_counters: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)


def automatic_name(class_name: str) -> str:
    """Return the name of the next object of a class: "dense", "dense_1", ..."""
    snake = _in_snake_case(class_name)
    number = next(_counters[snake])
    return snake if number == 0 else f"{snake}_{number}"


@functools.cache
def _in_snake_case(class_name: str) -> str:
    snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()


def forget_automatic_names() -> None:
    """Start the numbers of automatic names at 0 again."""
    _counters.clear()
