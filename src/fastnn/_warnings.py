"""Warnings whose place is the user's line."""

import sys
import warnings
from types import FrameType

_INSIDE = ("fastnn", "contextlib")  # contextlib runs functions that a context manager decorates


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, with the line that called into this package as the warning's place."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
