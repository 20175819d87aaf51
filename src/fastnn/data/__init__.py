"""Rows from files and arrays that are larger than memory, read block by block while a model trains."""

from typing import TYPE_CHECKING

from fastnn._missing import public_names
from fastnn.data.source import Source, source

__all__ = ["Source", "source"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
