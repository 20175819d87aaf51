"""What a user gives as rows, opened: paths, folders, lists of them, arrays, frames."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._arguments import installed
from fastnn._arrays import check_unmasked
from fastnn.data.tables import ArrayTable, FrameTable, NpyFile, Table

_SUFFIXES = {".npy": "npy", ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow"}
_KINDS = "a .npy, .parquet, .arrow or .feather file, or a zarr folder"
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")


def open_tables(given: Any, name: str) -> list[Table]:
    """Return the tables of what was given, in order.

    Parameters
    ----------
    given : path, folder, list of these, array, data frame, ``pyarrow.Table`` or ``pyarrow.dataset.Dataset``.
    name : name of the argument in messages.

    Raises
    ------
    ValueError
        A file of an unknown kind, a damaged file, or a list without entries.
    FileNotFoundError
        There is no such file.
    ImportError
        The package that reads the file is missing; the message has the line that installs it.
    """
    check_unmasked(given, name)
    if isinstance(given, str | os.PathLike):
        return _open_path(os.fspath(given), name)
    if isinstance(given, list | tuple) and given and all(isinstance(each, str | os.PathLike) for each in given):
        return [table for each in given for table in _open_path(os.fspath(each), name)]
    if isinstance(given, list | tuple) and given and all(hasattr(each, "dtype") and each.ndim > 0 for each in given):
        return [ArrayTable(each, f"{name}[{place}]") for place, each in enumerate(given)]
    module = type(given).__module__.split(".")[0]
    if module == "pyarrow":
        return _open_arrow(given, name)
    if module in ("pandas", "polars"):
        return [FrameTable(given, name) if hasattr(given, "columns") else ArrayTable(np.asarray(given), name)]
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        return [ArrayTable(given, name)]
    if isinstance(given, Sequence) and given:
        return [ArrayTable(np.asarray(given), name)]
    raise ValueError(f"{name} must be an array, a path of {_KINDS}, or a list of them, got {given!r}"[:300])


def _open_arrow(given: Any, name: str) -> list[Table]:
    from fastnn.data.arrow_files import ArrowInMemory

    if hasattr(given, "get_fragments"):
        return _open_dataset(given, name)
    if hasattr(given, "num_rows") and hasattr(given, "select"):
        return [ArrowInMemory(given, name)]
    return [ArrayTable(np.asarray(given), name)]


def _open_dataset(given: Any, name: str) -> list[Table]:
    """Return the tables of a ``pyarrow.dataset.Dataset`` of local files.

    Raises
    ------
    ValueError
        The data set is not one of local files, leaves out rows of them, or has columns that are not in them.
    """
    kind = type(given).__name__
    if not hasattr(given, "files"):
        raise ValueError(f"{name} is a data set without files ({kind}): give its rows as {name}.to_table()")
    if given.filesystem.type_name != "local":
        raise ValueError(f"{name} has files on {given.filesystem.type_name!r}: only local files can be read")
    tables = [table for path in given.files for table in _open_path(path, name)]
    for table in tables:
        added = [column for column in given.schema.names if table.columns is not None and column not in table.columns]
        if added:
            raise ValueError(
                f"{name} has the column {added[0]!r}, which is not in {table.name}: give the files as paths to read "
                f"only what is in them, or the rows as {name}.to_table()"
            )
    n_rows = sum(table.n_rows for table in tables)
    if given.count_rows() != n_rows:
        raise ValueError(
            f"{name} has a filter, which leaves {given.count_rows()} of the {n_rows} rows of its files: a source reads "
            f"whole files. Give the rows as {name}.to_table(), or write them to files"
        )
    return tables


def _open_path(path: str, name: str) -> list[Table]:
    """Return the tables of one path: of a file, of a zarr array, or of all files in a folder in the order of names."""
    if os.path.isdir(path):
        if any(os.path.exists(os.path.join(path, file)) for file in _ZARR_FILES):
            return [_open_zarr(path)]
        found = [
            os.path.join(folder, file)
            for folder, _, files in os.walk(path)
            for file in files
            if os.path.splitext(file)[1].lower() in _SUFFIXES and not file.startswith((".", "_"))
        ]
        if not found:
            raise ValueError(f"the folder {path!r} has no file that {name} can read: {_KINDS}")
        return [_open_file(file) for file in sorted(found)]
    return [_open_file(path)]


def _open_file(path: str) -> Table:
    kind = _SUFFIXES.get(os.path.splitext(path)[1].lower())
    if kind == "npy":
        return NpyFile(path)
    if kind is None:
        if not os.path.exists(path):
            raise FileNotFoundError(f"the file {path!r} does not exist")
        raise ValueError(f"{path!r} must be {_KINDS}")
    from fastnn.data.arrow_files import ArrowFile, ParquetFile

    return ParquetFile(path) if kind == "parquet" else ArrowFile(path)


def _open_zarr(path: str) -> Table:
    zarr = installed("zarr", "reading zarr arrays", "zarr")
    try:
        found = zarr.open(path, mode="r")
    except Exception as error:  # zarr raises errors of many classes for damaged metadata
        raise ValueError(f"{path!r} is not a zarr array: {error}") from error
    if not hasattr(found, "shape"):
        inside = ", ".join(repr(os.path.join(path, key)) for key in sorted(found))
        raise ValueError(f"{path!r} is a zarr group: give one of its arrays, {inside or 'of which there is none'}")
    return ArrayTable(found, repr(path))
