"""Automatic names of layers, models and metrics, numbered as Keras numbers them."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator

_counters: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)


def automatic_name(class_name: str) -> str:
    """Return the name of the next object of a class: "dense", "dense_1", ..."""
    snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
    number = next(_counters[snake])
    return snake if number == 0 else f"{snake}_{number}"


def forget_automatic_names() -> None:
    """Start the numbers of automatic names at 0 again."""
    _counters.clear()
