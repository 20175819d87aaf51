"""Splits that do not leak through space; for splits by group and by time see scikit-learn."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import check_keywords, flag, number, optional, whole
from fastnn._missing import public_names

__all__ = ["SpatialBlockSplit"]

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (International Union of Geodesy and Geophysics)."""


class SpatialBlockSplit:
    """Cross-validation whose test sets are blocks of space, with a gap to the training rows.

    Rows that are close to each other are similar: a random split puts neighbours on both sides, and its scores are too
    good. Here space is cut into square blocks, and whole blocks are assigned to the folds at random, so that the folds
    have about the same number of rows. Training rows within ``buffer`` of a test row are left out.

    Parameters
    ----------
    n_splits : number of folds, at least 2.
    block_size : side of a block, in the unit of the coordinates; kilometres with ``geographic``.
    buffer : distance within which training rows are left out; 0 keeps all rows.
    geographic : whether the coordinates are latitude and longitude in degrees.
    seed : seed of the random order of blocks.

    References
    ----------
    D. R. Roberts et al. (2017), Cross-validation strategies for data with temporal, spatial, hierarchical, or
    phylogenetic structure, Ecography 40, 913-929.

    Examples
    --------
    >>> from fastnn.datasets import load_earthquakes
    >>> from fastnn.model_selection import SpatialBlockSplit
    >>> events = load_earthquakes()
    >>> splitter = SpatialBlockSplit(n_splits=5, block_size=200.0, geographic=True)
    >>> sum(len(test) for train, test in splitter.split(events.data[:, :2]))
    596
    """

    def __init__(
        self, n_splits: int = 5, block_size: float = 1.0, buffer: float = 0.0, geographic: bool = False, seed: int = 0
    ) -> None:
        self.n_splits = whole("n_splits", n_splits, at_least=2)
        self.block_size = number("block_size", block_size, above=0.0)
        self.buffer = number("buffer", buffer, at_least=0.0)
        self.geographic, self.seed = flag("geographic", geographic), optional(whole, "seed", seed, at_least=0)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the row numbers of the training and the test set of each fold.

        Parameters
        ----------
        X : coordinates (n, 2) or (n, 3), or any features if ``groups`` has the coordinates.
        y : ignored.
        groups : coordinates (n, 2) or (n, 3) if X has other columns, as in ``cross_val_score(..., groups=...)``.
        """
        positions = self._positions(X if groups is None else groups, "X" if groups is None else "groups")
        fold = self._folds(self.blocks(X if groups is None else groups))
        for k in range(self.n_splits):
            test = fold == k
            train = ~test
            if self.buffer > 0.0:
                train &= ~_near(positions, positions[test], self.buffer)
            if not train.any():
                raise ValueError(f"no training row is more than buffer={self.buffer:g} from the test rows of fold {k}")
            yield np.flatnonzero(train), np.flatnonzero(test)

    def blocks(self, coordinates: Any) -> NDArray[np.intp]:
        """Return each row's block number, (n,)."""
        points = self._coordinates(coordinates, "coordinates")
        if not self.geographic:
            cells = np.floor(points / self.block_size)
        else:
            # Bands of latitude; within a band, steps of longitude whose length in its middle is block_size.
            step = np.degrees(self.block_size / EARTH_RADIUS_KM)
            band = np.floor(points[:, 0] / step)
            across = np.cos(np.radians(np.clip((band + 0.5) * step, -89.9, 89.9)))
            cells = np.column_stack([band, np.floor(points[:, 1] * across / step)])
        _, numbers = np.unique(cells, axis=0, return_inverse=True)
        return numbers.ravel()

    def _folds(self, blocks: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return each row's fold: blocks, largest first and at random among equals, go to the emptiest fold."""
        counts = np.bincount(blocks)
        if len(counts) < self.n_splits:
            raise ValueError(
                f"{len(counts)} blocks of size {self.block_size:g} cannot fill {self.n_splits} folds: make block_size "
                "smaller"
            )
        order = np.random.default_rng(self.seed).permutation(len(counts))
        order = order[np.argsort(-counts[order], kind="stable")]
        rows = np.zeros(self.n_splits, dtype=np.intp)
        fold_of_block = np.empty(len(counts), dtype=np.intp)
        for block in order:
            fold_of_block[block] = rows.argmin()
            rows[fold_of_block[block]] += counts[block]
        return np.asarray(fold_of_block[blocks])

    def _coordinates(self, value: Any, name: str) -> NDArray[np.float64]:
        points = np.asarray(value, dtype=np.float64)
        sizes = (2,) if self.geographic else (1, 2, 3)
        if points.ndim != 2 or points.shape[1] not in sizes or not np.isfinite(points).all():
            raise ValueError(
                f"{name} must be finite coordinates (n, {' or '.join(map(str, sizes))}), got shape {points.shape}; "
                "pass the coordinates as groups= if X has other columns"
            )
        if self.geographic and np.abs(points[:, 0]).max(initial=0.0) > 90.0:
            raise ValueError(f"{name} must be latitude, longitude in degrees, but a latitude is beyond 90")
        return points

    def _positions(self, value: Any, name: str) -> NDArray[np.float64]:
        """Return points whose Euclidean distances are those of the coordinates; on the globe, chords in kilometres."""
        points = self._coordinates(value, name)
        if not self.geographic:
            return points
        latitude, longitude = np.radians(points).T
        return EARTH_RADIUS_KM * np.column_stack(
            [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
        )


def _near(points: NDArray[np.float64], others: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """Return whether each point is within ``distance`` of any of ``others``, computed in blocks of points."""
    near = np.zeros(len(points), dtype=bool)
    block = max(1, 4_000_000 // max(1, len(others)))
    for first in range(0, len(points), block):
        part = points[first : first + block]
        squares = np.zeros((len(part), len(others)))
        for axis in range(points.shape[1]):
            squares += (part[:, None, axis] - others[None, :, axis]) ** 2
        near[first : first + block] = (squares <= distance**2).any(axis=1)
    return near


check_keywords(SpatialBlockSplit)

if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
