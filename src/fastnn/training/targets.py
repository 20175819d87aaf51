"""Targets of a loss as arrays of the network's type, or as labels: checked, with advice where they do not fit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arrays import as_numbers, check_finite, check_target_range

__all__ = ["as_targets"]

Array = NDArray[Any]

_SPARSE = ", and use softmax and sparse_categorical_crossentropy"
_MAX_HINTED_CLASSES = 1000


def as_targets(
    value: Any,
    kind: str,
    loss_name: str,
    n_outputs: int,
    n_rows: int,
    dtype: np.dtype[Any],
    name: str = "y",
    x_name: str = "x",
    ignored: int | None = None,
) -> Array:
    """Return targets as (n, n_outputs) in the network's dtype, or as int64 labels (n,).

    Parameters
    ----------
    value : array-like; (n,) and (n, 1) mean the same.
    kind : targets of the loss: "numbers", "probabilities", "one_hot", "labels", or "any" number of columns.
    loss_name : name of the loss in messages.
    n_outputs : the model's outputs.
    n_rows : rows of the inputs.
    dtype : the network's dtype.
    name, x_name : names in messages.
    ignored : label that is accepted even if it is not a class.

    Raises
    ------
    ValueError
        Not numbers, wrong shape or length, values that are not finite, or labels out of range.
    """
    array = as_numbers(value, name)
    if array.ndim == 0 or array.shape[0] != n_rows:
        rows = "one value" if array.ndim == 0 else f"{array.shape[0]} rows"
        raise ValueError(f"{x_name} has {n_rows} rows, but {name} has {rows}")
    column = array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)
    if kind == "labels":
        if not column:
            hint = "; for one-hot rows use categorical_crossentropy" if array.shape[1:] == (n_outputs,) else ""
            raise ValueError(
                f"{loss_name} takes one class label per row, {name} of shape ({n_rows},); got {array.shape}{hint}"
            )
        return _as_labels(array.reshape(-1), n_outputs, loss_name, name, ignored)
    if kind == "any" and array.ndim <= 2:
        check_finite(array, name, dtype)
        return np.ascontiguousarray(array.reshape(n_rows, -1), dtype=dtype)
    if column and n_outputs == 1:
        array = array.reshape(n_rows, 1)
    if array.shape != (n_rows, n_outputs):
        raise ValueError(
            f"{name} must have shape ({n_rows}, {n_outputs}) for a model with {n_outputs} "
            f"output{'s' if n_outputs > 1 else ''}, got {array.shape}{_shape_hint(array, kind, column)}"
        )
    check_finite(array, name, dtype)
    if kind in ("probabilities", "one_hot"):
        check_target_range(array, 0.0, 1.0, loss_name, name, _class_hint(array, _SPARSE) if column else "")
    return np.ascontiguousarray(array, dtype=dtype)


def _shape_hint(array: Array, kind: str, column: bool) -> str:
    """Return advice for targets of the wrong shape."""
    if kind == "one_hot" and column:
        return "; for class labels use sparse_categorical_crossentropy, or fastnn.utils.to_categorical(y)"
    if kind == "probabilities" and array.ndim == 2 and not column:
        return "; for one-hot rows give the last layer one unit per class and use categorical_crossentropy"
    return ""


def _class_hint(targets: Array, for_labels: str) -> str:
    """Return advice for targets that look like labels of more classes than the last layer has units."""
    if not 0 <= targets.min() <= targets.max() < _MAX_HINTED_CLASSES or (targets != np.floor(targets)).any():
        return ""
    return f"; for class labels give the last layer one unit per class, here {int(targets.max()) + 1}{for_labels}"


def _as_labels(labels: Array, n_classes: int, loss_name: str, name: str, ignored: int | None) -> Array:
    """Return labels as int64 after checking that each is 0..n_classes-1 or the ignored one."""
    wrong = (labels < 0) | (labels >= n_classes)
    if labels.dtype.kind == "f":
        # Written so that NaN counts as wrong.
        wrong = ~((labels >= 0) & (labels < n_classes) & (labels == np.floor(labels)))
    if ignored is not None:
        wrong &= labels != ignored
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{name} has label {labels[row]} at row {row} (counted from 0); {loss_name} takes whole numbers from 0 to "
            f"{n_classes - 1} for a model with {n_classes} output{'s' if n_classes > 1 else ''}"
            + _class_hint(labels, ", or number the classes from 0" if labels.min() > 0 else "")
        )
    return np.ascontiguousarray(labels, dtype=np.int64)
