"""Groups of rows, and folds of whole groups."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.estimators.labels import labels_of

Array = NDArray[Any]


def groups_of(groups: Any, n: int, n_folds: int) -> Array | None:
    """Return the number of the group of each row (n,); raise ValueError if there are fewer groups than folds."""
    if groups is None:
        return None
    labels = labels_of(groups, "groups")
    if len(labels) != n:
        raise ValueError(f"groups must hold a label for each of the {n} rows, got {len(labels)}")
    known: dict[Any, int] = {}
    numbers = np.array([known.setdefault(label, len(known)) for label in labels.tolist()])
    if len(known) < n_folds:
        raise ValueError(
            f"groups must hold at least as many groups as there are folds, {n_folds}, got {len(known)}: lower n_bags, "
            "or leave groups out"
        )
    return numbers


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


def folds_of_groups(groups: Array, classes: Array, n_folds: int, seed: int) -> Array:
    """Return the number of the fold of each row (n,); each group is in one fold, and folds have like classes.

    The groups come from the largest to the smallest, equal ones in random order. Each goes to the fold that has the
    least of its classes, and of such folds to the smallest: no fold is empty.

    Parameters
    ----------
    groups : number of the group of each row (n,).
    classes : number of the class of each row (n,); with one class, folds have about equally many rows.
    n_folds : at most the number of groups.
    seed : of the order of equally large groups.
    """
    n_groups, n_classes = int(groups.max()) + 1, int(classes.max()) + 1
    counts = np.bincount(groups * n_classes + classes, minlength=n_groups * n_classes).reshape(n_groups, n_classes)
    sizes = counts.sum(axis=1)
    order = np.random.default_rng(seed).permutation(n_groups)
    order = order[np.argsort(-sizes[order], kind="stable")]
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    held, rows = np.zeros((n_folds, n_classes)), np.zeros(n_folds, np.intp)
    fold_of = np.empty(n_groups, np.intp)
    for group in order.tolist():
        alike = held @ shares[group]
        fold = int(np.argmin(np.where(alike <= alike.min(), rows, len(groups))))
        held[fold] += counts[group]
        rows[fold] += sizes[group]
        fold_of[group] = fold
    folds: Array = fold_of[groups]
    return folds
