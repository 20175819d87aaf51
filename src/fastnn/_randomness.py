"""Random numbers and seeds: the core's counter-based generator, keyed by (seed, stream)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core

# The core numbers the streams of shuffling and dropout from 0; those of initial values lie above them.
_FIRST_STREAM = 1 << 48

_global_seed: int | None = None
_seeds_drawn = 0


def set_global_seed(seed: int | None) -> None:
    """Make all later models and initializers that are given no seed reproducible; None draws fresh seeds again."""
    global _global_seed, _seeds_drawn
    _global_seed = seed
    _seeds_drawn = 0


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Within the block, draw seeds from this one, unless there is a global seed already."""
    given = _global_seed
    if given is None:
        set_global_seed(seed)
    try:
        yield
    finally:
        if given is None and _global_seed == seed:
            set_global_seed(None)


def draw_seed() -> int:
    """Return a 53-bit seed: the next one of the global seed, or a fresh one from the operating system."""
    global _seeds_drawn
    if _global_seed is None:
        return int.from_bytes(os.urandom(8)) >> 11
    _seeds_drawn += 1
    return int(_core.random_uniform(_global_seed, _FIRST_STREAM - _seeds_drawn, 1)[0] * 2.0**53)


class Stream:
    """An endless sequence of random numbers.

    Parameters
    ----------
    seed : seed, or None to draw one.
    number : number of the sequence among the seed's independent ones, from 0.
    """

    def __init__(self, seed: int | None = None, number: int = 0) -> None:
        self._seed = draw_seed() if seed is None else seed
        # Each draw uses its own stream, so its numbers do not depend on the sizes of earlier draws.
        self._next = _FIRST_STREAM + (number << 20)

    def uniform(self, n: int) -> NDArray[np.float64]:
        """Return n numbers, uniform in [0, 1)."""
        self._next += 1
        return _core.random_uniform(self._seed, self._next - 1, n)

    def normal(self, n: int) -> NDArray[np.float64]:
        """Return n standard normal numbers."""
        self._next += 1
        return _core.random_normal(self._seed, self._next - 1, n)
