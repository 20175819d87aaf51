"""The floating-point environment of Python code that makes numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import fastnn._core as _core


@contextmanager
def default_arithmetic() -> Iterator[None]:
    """Round to nearest and keep subnormal numbers in a block or a function, whatever other libraries have set."""
    environment = _core.enter_environment()
    try:
        yield
    finally:
        _core.leave_environment(environment)
