"""The result of every loader: plain NumPy arrays with their names and units."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset"]


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """Inputs and targets of a problem, and all columns of the table that they come from.

    Parameters
    ----------
    data : ndarray, shape (n, n_features), float64
        Inputs, ready to use as ``X``.
    target : ndarray, shape (n,) or (n, n_targets), float64
        Targets, ready to use as ``y``.
    feature_names, target_names : tuple of str
        Names of the columns of ``data`` and ``target``.
    columns : dict of str to ndarray of shape (n,)
        Every column of the table by name: those of ``data`` and ``target``, and those that are neither.
    units : dict of str to str
        The unit of every column that has one.
    description : str
        Source and meaning of the numbers.

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

    data: NDArray[np.float64]
    target: NDArray[np.float64]
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    columns: dict[str, NDArray[Any]]
    units: dict[str, str]
    description: str

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
