"""The result of every loader: plain NumPy arrays, or pandas frames, with their names and units."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import flag

if TYPE_CHECKING:
    import pandas

__all__ = ["Dataset"]


@dataclass(frozen=True, repr=False, eq=False)
class Dataset(dict[str, NDArray[Any]]):
    """Inputs and targets of a problem, and all columns of the table that they come from.

    Like a pandas frame, it is a dictionary of its columns whose length is the number of rows: ``keys()`` are the names
    of the columns, and ``pandas.DataFrame(dataset)`` is the whole table.

    Parameters
    ----------
    data : ndarray, shape (n, n_features), float64
        Inputs, ready to use as ``X``; a DataFrame with ``as_frame=True``.
    target : ndarray, shape (n,) or (n, n_targets), float64
        Targets, ready to use as ``y``; with ``as_frame=True`` a Series, or a DataFrame of several targets.
    feature_names, target_names : tuple of str
        Names of the columns of ``data`` and ``target``.
    columns : dict of str to ndarray of shape (n,)
        Every column of the table by name: those of ``data`` and ``target``, and those that are neither.
    units : dict of str to str
        The unit of every column that has one.
    description : str
        Source and meaning of the numbers.
    frame : DataFrame or None
        The columns of ``data`` and ``target`` with ``as_frame=True``.

    Examples
    --------
    >>> from fastnn.datasets import load_ground_motion
    >>> records = load_ground_motion()
    >>> records
    <Dataset of 182 rows: magnitude, distance_km -> acceleration_g>
    >>> records.data.shape, records.target.shape
    ((182, 2), (182,))
    >>> records["acceleration_g"].max()
    np.float64(0.81)
    """

    data: Any
    target: Any
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    columns: dict[str, NDArray[Any]]
    units: dict[str, str]
    description: str
    frame: Any = None

    def __post_init__(self) -> None:
        """Fill the dictionary."""
        self.update(self.columns)

    __eq__ = object.__eq__  # arrays have no single truth value
    __ne__ = object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.data)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the column called ``name``, shape (n,)."""
        try:
            return self.columns[name]
        except KeyError:
            raise KeyError(f"there is no column {name!r}; the columns are {', '.join(self.columns)}") from None

    def __repr__(self) -> str:
        """Return one line: rows, inputs, targets."""
        return f"<Dataset of {len(self)} rows: {', '.join(self.feature_names)} -> {', '.join(self.target_names)}>"

    def to_frame(self) -> "pandas.DataFrame":
        """Return every column of the table as a pandas DataFrame.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("a frame needs pandas: pip install pandas") from None
        return pandas.DataFrame(dict(self))


def as_asked(dataset: Dataset, return_X_y: bool, as_frame: bool) -> Any:
    """Return the result of a loader in the form that its arguments ask for.

    Parameters
    ----------
    dataset : arrays.
    return_X_y : whether to return (data, target) alone.
    as_frame : whether data and target are pandas objects.
    """
    if flag("as_frame", as_frame):
        frame = dataset.to_frame()[[*dataset.feature_names, *dataset.target_names]].astype(np.float64)
        targets = frame[[*dataset.target_names]]
        target = targets if len(dataset.target_names) > 1 else targets[dataset.target_names[0]]
        dataset = replace(dataset, data=frame[[*dataset.feature_names]], target=target, frame=frame)
    return (dataset.data, dataset.target) if flag("return_X_y", return_X_y) else dataset


def dataset_from_columns(
    columns: dict[str, NDArray[Any]],
    feature_names: tuple[str, ...],
    target_names: tuple[str, ...],
    units: dict[str, str],
    description: str,
) -> Dataset:
    """Stack the named columns into ``data`` (n, n_features) and ``target`` (n,), or (n, n_targets) for several."""
    target = np.stack([columns[name] for name in target_names], axis=1).astype(np.float64)
    return Dataset(
        data=np.stack([columns[name] for name in feature_names], axis=1).astype(np.float64),
        target=target[:, 0].copy() if len(target_names) == 1 else target,
        feature_names=feature_names,
        target_names=target_names,
        columns=columns,
        units=units,
        description=description,
    )
