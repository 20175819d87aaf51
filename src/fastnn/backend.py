"""Keras's import path of ``clear_session``, which loops over folds call, and of ``epsilon`` and ``floatx``."""

from fastnn.utils import clear_session

__all__ = ["clear_session", "epsilon", "floatx"]


def epsilon() -> float:
    """Return 1e-7, the small number that losses and metrics add or clip to."""
    return 1e-7


def floatx() -> str:
    """Return "float32", the type of a model that is made without ``dtype``."""
    return "float32"
