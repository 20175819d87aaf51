"""Rows from files and arrays that are larger than memory, read block by block while a model trains."""

from fastnn.data.source import Source, source

__all__ = ["Source", "source"]
