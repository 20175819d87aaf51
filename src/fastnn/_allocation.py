"""The machine's memory, and failed allocations that Python's own modules report as other errors than MemoryError."""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

__all__ = ["allocating", "new_lock", "physical_memory"]


@contextmanager
def allocating(what: str) -> Iterator[None]:
    """Turn errors of a block that can only fail for lack of memory into MemoryError.

    CPython raises RuntimeError where it cannot allocate a lock, and OpenSSL's ValueError comes out of ``hashlib``.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise MemoryError(f"no memory for {what}: {error}") from error


def new_lock() -> AbstractContextManager[Any]:
    """Return a lock that a thread may take again while it holds it."""
    with allocating("a lock"):
        return threading.RLock()


def physical_memory() -> float:
    """Return the bytes of memory of this machine; infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf
