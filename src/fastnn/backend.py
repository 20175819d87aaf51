"""Keras's import path of ``clear_session``, which loops over folds call."""

from fastnn.utils import clear_session

__all__ = ["clear_session"]
