"""Columns of several inputs or outputs, which are read together as a dict of arrays."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.data.columns import Columns

Array = NDArray[Any]


class NamedColumns:
    """Columns by the name of an input or output.

    Parameters
    ----------
    parts : the columns by name.
    argument : name of the argument in messages.

    Attributes
    ----------
    n_rows : number of rows.
    row_shape : (columns of all parts together,).
    dtype, names : by name, those of the parts.
    """

    def __init__(self, parts: Mapping[str, Columns], argument: str) -> None:
        if not parts:
            raise ValueError(f"{argument} is an empty dict: give it an entry for each input or output by name")
        self.parts = dict(parts)
        lengths = {name: part.n_rows for name, part in self.parts.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name!r} has {n}" for name, n in lengths.items())
            raise ValueError(f"all parts of {argument} must have the same number of rows: {shown}")
        self.n_rows = next(iter(lengths.values()))
        self.row_shape = (sum(int(np.prod(part.row_shape)) for part in self.parts.values()),)
        self.dtype = {name: part.dtype for name, part in self.parts.items()}
        self.names = {name: part.names for name, part in self.parts.items()}

    def read(self, begin: int, end: int) -> dict[str, Array]:
        """Return rows ``begin`` to ``end - 1`` of each part."""
        return {name: part.read(begin, end) for name, part in self.parts.items()}

    def files(self) -> list[str]:
        """Return the paths of the files that are read."""
        return [path for part in self.parts.values() for path in part.files()]

    def groups(self) -> list[int] | None:
        """Return the groups of rows of the first part that has some; see ``Columns.groups``."""
        return next((groups for part in self.parts.values() if (groups := part.groups()) is not None), None)


def part_of(columns: Columns | NamedColumns, message: str) -> Columns | None:
    """Return the columns that a message is about; None where it does not name them."""
    if isinstance(columns, Columns):
        return columns
    found = re.match(r"[^\[]*\['([^']*)'\]", message)
    return None if found is None else columns.parts.get(found[1])
