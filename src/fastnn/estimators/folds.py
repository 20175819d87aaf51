"""Folds: stratified ones of classes that have fewer rows than there are folds, and the rows in and out of each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def folds_of_classes(classes: Array, n_folds: int, seed: int) -> Array:
    """Return the number of the fold of each row (n,): folds are equally large, and so are their parts of each class.

    A class may have fewer rows than there are folds; no fold has all rows of one with two rows or more.

    Parameters
    ----------
    classes : number of the class of each row (n,).
    n_folds : at least 2, and at most n.
    seed : of the order of the rows of a class.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    folds = np.empty(len(classes), np.intp)
    folds[order[np.argsort(classes[order], kind="stable")]] = np.arange(len(classes)) % n_folds
    return folds


def pairs_of(folds: Array, n_folds: int) -> list[tuple[Array, Array]]:
    """Return for each fold the numbers of the other rows, and of its own; folds: the number of each row's (n,)."""
    return [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(n_folds)]
