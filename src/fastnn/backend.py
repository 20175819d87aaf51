"""Keras's import path of ``clear_session``, ``epsilon`` and ``floatx``."""

from typing import TYPE_CHECKING

from fastnn._missing import public_names
from fastnn.utils import clear_session

__all__ = ["clear_session", "epsilon", "floatx"]


def epsilon() -> float:
    """Return 1e-7, the small number that losses and metrics add or clip to."""
    return 1e-7


def floatx() -> str:
    """Return "float32", the default type of a model."""
    return "float32"


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
