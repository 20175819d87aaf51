"""Keras's import path of ``Sequential``."""

from fastnn.sequential import Sequential

__all__ = ["Sequential"]
