"""Checked arguments: each function returns the value, or raises one error that names the argument."""

from typing import Any

import numpy as np


def as_count(value: Any, name: str, minimum: int = 1) -> int:
    """Return a whole number of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    return int(value)


def as_verbosity(verbose: Any) -> int:
    """Return 0, 1 or 2 for 0, 1, 2, a bool or "auto" (1)."""
    if isinstance(verbose, str) and verbose == "auto":
        return 1
    if isinstance(verbose, bool | int | np.integer) and int(verbose) in (0, 1, 2):
        return int(verbose)
    raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")
