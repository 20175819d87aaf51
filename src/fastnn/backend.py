"""Keras's import path of ``clear_session``, ``epsilon`` and ``floatx``."""

from fastnn.utils import clear_session

__all__ = ["clear_session", "epsilon", "floatx"]


def epsilon() -> float:
    """Return 1e-7, the small number that losses and metrics add or clip to."""
    return 1e-7


def floatx() -> str:
    """Return "float32", the default type of a model."""
    return "float32"
