"""What users give: checked and converted once, before anything is changed.

Every function returns arrays the compiled core accepts, or raises one error that names the argument, what was given
and what is accepted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core

Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """Rows to train on or to evaluate.

    Parameters
    ----------
    X : (n, n_features).
    y : (n, n_outputs) in the network's dtype, or int64 labels (n,).
    sample_weight : (n,) in the network's dtype, or None.
    """

    X: Array
    y: Array
    sample_weight: Array | None

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    def first(self, n_batches: int | None, batch_size: int, name: str) -> "Rows":
        """Return the first batches; all rows for None. ``name`` is that of the number in messages."""
        if n_batches is None:
            return self
        return self.split(as_count(n_batches, name) * batch_size)[0]

    def split(self, point: int) -> tuple["Rows", "Rows"]:
        """Return the rows before and from ``point`` on."""
        weight = self.sample_weight
        first = Rows(self.X[:point], self.y[:point], None if weight is None else weight[:point])
        return first, Rows(self.X[point:], self.y[point:], None if weight is None else weight[point:])


def as_numbers(value: Any, name: str) -> Array:
    """Return ``value`` as an array of real numbers.

    Raises
    ------
    ValueError
        Strings, objects, dates, complex numbers, rows of different lengths, sparse or masked arrays.
    """
    if value is None:
        raise ValueError(f"{name} is missing (None)")
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise ValueError(f"{name} is a sparse matrix; fastnn takes dense arrays: pass {name}.toarray()")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries; fill them first, for instance with {name}.filled(0.0)")
    if isinstance(value, Mapping):
        raise ValueError(f"{name} is a {type(value).__name__}; a network has one input and one output: pass the array")
    if callable(getattr(value, "__next__", None)):
        raise ValueError(f"{name} is a generator; fastnn takes arrays: collect it first with numpy.array(list({name}))")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} cannot become an array: {error}") from error
    if array.dtype.kind == "O" and array.ndim == 0:
        raise ValueError(f"{name} is a {type(value).__name__}; fastnn takes arrays: collect its rows into one first")
    if array.dtype.kind == "O" and _holds_nullable_numbers(value):
        array = value.to_numpy(dtype=np.float64, na_value=np.nan)
    if array.dtype.kind not in "fiub":
        raise ValueError(_not_numbers(array, name))
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        # Float16 and extended precision; the core reads float32, float64 and whole numbers.
        return array.astype(np.float32 if array.dtype.itemsize == 2 else np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _holds_nullable_numbers(value: Any) -> bool:
    """Whether a pandas frame or column holds nothing but numbers, some of a dtype that knows missing ones."""
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or type(value).__module__.split(".")[0] != "pandas":
        return False
    return all(getattr(dtype, "kind", "O") in "fiub" for dtype in (dtypes if value.ndim == 2 else [dtypes]))


def _not_numbers(array: Array, name: str) -> str:
    """Message for an array whose dtype is not real numbers."""
    message = f"{name} must be real numbers, but its dtype is {array.dtype}"
    if array.dtype.kind in "OUST":
        entries = np.ndenumerate(array)
        accepted = (bool, int, float, np.bool_, np.integer, np.floating)
        position, entry = next(((p, e) for p, e in entries if not isinstance(e, accepted)), ((), None))
        if position:
            message += f" (first entry that is no number: {entry!r} at index {list(map(int, position))})"
            return f"{message}; turn text and categories into numbers first, for instance with numpy.unique"
        return f"{message}; convert it with {name}.astype(float)"
    return message


def _check_finite(
    array: Array, name: str, dtype: np.dtype[Any], allow_missing: bool = False, missing_hint: str = ""
) -> None:
    """Raise for the first NaN, infinity or number that the network's dtype cannot hold; NaN may be allowed.

    ``missing_hint`` says what else can be done about NaN.
    """
    if array.dtype.kind != "f":
        return
    if allow_missing and np.isnan(array).any():
        array = np.where(np.isnan(array), array.dtype.type(0), array)
    matrix = array.reshape(-1, 1) if array.ndim == 1 else array
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is finite only if all its terms are; one pass without a mask of the array's size.
        surely_finite = np.isfinite(array.sum())
    found = None if surely_finite else _core.first_nonfinite(matrix)
    if found is not None:
        row, column = found
        where = f"row {row}" if array.ndim == 1 else f"row {row}, column {column}"
        hint = missing_hint if np.isnan(matrix[row, column]) else ""
        raise ValueError(
            f"{name} has {matrix[row, column]} at {where} (counted from 0); all values must be finite: drop such rows "
            f"or fill them in{hint}"
        )
    if array.dtype.itemsize > dtype.itemsize and array.size:
        largest = np.finfo(dtype).max
        if array.max() > largest or array.min() < -largest:
            row, column = map(int, np.argwhere(np.abs(matrix) > largest)[0])
            raise ValueError(
                f"{name} has {matrix[row, column]} at row {row}, column {column} (counted from 0), which is too large "
                f"for {dtype}: rescale {name} or use dtype='float64'"
            )


def as_features(
    value: Any,
    n_features: int | None,
    dtype: np.dtype[Any],
    name: str = "x",
    row_shape: tuple[int, ...] | None = None,
    allow_missing: bool = False,
    missing_hint: str = "",
    allow_empty: bool = False,
) -> Array:
    """Return inputs as (n, n_features), finite, of any real dtype; no copy where none is needed.

    Parameters
    ----------
    value : array-like (n, n_features); (n,) where the model has one feature.
    n_features : columns the model takes, or None if not known yet.
    dtype : the network's dtype.
    name : name in messages.
    row_shape : shape of one row for a model that flattens its input, such as (28, 28); () accepts any shape.
    allow_missing : whether NaN is accepted, as a missing value.
    missing_hint : what else than dropping and filling can be done about NaN, for the message.
    allow_empty : whether no rows are accepted.

    Raises
    ------
    ValueError
        Not numbers, wrong shape, no rows or columns, or values that are not finite.
    """
    array = as_numbers(value, name)
    if array.ndim == 1 and n_features == 1:
        array = array.reshape(-1, 1)
    if array.ndim > 2 and row_shape is not None:
        if row_shape and array.shape[1:] != row_shape and len(row_shape) > 1:
            raise ValueError(f"{name} has rows of shape {array.shape[1:]}, but the model takes rows of {row_shape}")
        array = array.reshape(array.shape[0], math.prod(array.shape[1:]))
    if array.ndim != 2:
        takes = "n_features" if n_features is None else n_features
        hint = f"; for one row pass {name}.reshape(1, -1)" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have shape (n, {takes}), got {array.shape}{hint}")
    if array.shape[0] == 0 and not allow_empty:
        raise ValueError(f"{name} is empty: it has shape {array.shape}, at least one row is needed")
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(f"{name} has {array.shape[1]} features (columns), but the model takes {n_features}")
    if array.shape[1] == 0:
        raise ValueError(f"{name} has no columns: shape {array.shape}")
    _check_finite(array, name, dtype, allow_missing, missing_hint)
    return array


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
    kind : what the loss takes: "numbers", "probabilities", "one_hot", "labels", or "any" number of columns.
    loss_name : name of the loss in messages.
    n_outputs : the model's outputs.
    n_rows : rows of the inputs.
    dtype : the network's dtype.
    name, x_name : names in messages.
    ignored : label that is accepted whether it is a class or not.

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
        _check_finite(array, name, dtype)
        return np.ascontiguousarray(array.reshape(n_rows, -1), dtype=dtype)
    if column and n_outputs == 1:
        array = array.reshape(n_rows, 1)
    if array.shape != (n_rows, n_outputs):
        raise ValueError(
            f"{name} must have shape ({n_rows}, {n_outputs}) for a model with {n_outputs} "
            f"output{'s' if n_outputs > 1 else ''}, got {array.shape}{_shape_hint(array, kind, column)}"
        )
    _check_finite(array, name, dtype)
    if kind in ("probabilities", "one_hot"):
        check_target_range(array, 0.0, 1.0, loss_name, name)
    return np.ascontiguousarray(array, dtype=dtype)


def check_target_range(targets: Array, low: float, high: float, loss_name: str, name: str) -> None:
    """Raise for the first of the targets (n, n_outputs) that is not between ``low`` and ``high``, which may be inf."""
    if targets.min() < low or targets.max() > high:
        row, col = map(int, np.argwhere((targets < low) | (targets > high))[0])
        accepted = f"of at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(
            f"{name} has {targets[row, col]} at row {row}, column {col} (counted from 0); {loss_name} takes targets "
            f"{accepted}"
        )


def _shape_hint(array: Array, kind: str, column: bool) -> str:
    """Advice for targets of the wrong shape."""
    if kind == "one_hot" and column:
        return "; for class labels use sparse_categorical_crossentropy, or fastnn.utils.to_categorical(y)"
    if kind == "probabilities" and array.ndim == 2 and not column:
        return "; for one-hot rows give the last layer one unit per class and use categorical_crossentropy"
    return ""


def _as_labels(labels: Array, n_classes: int, loss_name: str, name: str, ignored: int | None) -> Array:
    """Labels as int64, each 0..n_classes-1 or the ignored one."""
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
            f"{n_classes - 1} for a model with {n_classes} outputs"
        )
    return np.ascontiguousarray(labels, dtype=np.int64)


def as_sample_weight(value: Any, n_rows: int, dtype: np.dtype[Any], name: str = "sample_weight") -> Array | None:
    """Return one weight per row (n,) in the network's dtype, or None for None.

    Raises
    ------
    ValueError
        Not numbers, not one for each row, or not finite.
    """
    if value is None:
        return None
    weights = as_numbers(value, name)
    if weights.shape not in ((n_rows,), (n_rows, 1)):
        raise ValueError(f"{name} must have shape ({n_rows},), one weight per row, got {weights.shape}")
    weights = weights.reshape(-1)
    _check_finite(weights, name, dtype)
    return np.ascontiguousarray(weights, dtype=dtype)


def weigh_classes(rows: Rows, class_weight: Any, kind: str, n_classes: int, dtype: np.dtype[Any]) -> Rows:
    """Return the rows with their weights multiplied by the weight of their class.

    Parameters
    ----------
    rows : checked rows.
    class_weight : dict from class to weight; classes left out count 1.
    kind : what the loss takes.
    n_classes : the model's outputs.
    dtype : the network's dtype.

    Raises
    ------
    ValueError
        Not a dict, a class that does not exist, a weight that is no number, or targets without classes.
    """
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be a dict from class to weight, got {type(class_weight).__name__}")
    factors = np.ones(rows.n)
    known: Any = slice(None)
    if kind == "labels":
        classes = rows.y
        known = (classes >= 0) & (classes < n_classes)  # an ignored label need not be a class
    elif kind == "one_hot" and n_classes > 1:
        classes = np.argmax(rows.y, axis=1)
    elif kind == "probabilities" and n_classes == 1:
        n_classes = 2
        classes = np.rint(rows.y[:, 0]).astype(np.int64)
    else:
        raise ValueError("class_weight needs targets with one class per row; use sample_weight instead")
    table = np.ones(n_classes)
    for label, weight in class_weight.items():
        if (
            not isinstance(label, int | float | np.integer | np.floating)
            or label != int(label)
            or not 0 <= label < n_classes
        ):
            raise ValueError(f"class_weight has class {label!r}; the classes are 0 to {n_classes - 1}")
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number) or not math.isfinite(weight):
            raise ValueError(f"class_weight of class {label!r} must be a finite number, got {weight!r}")
        table[int(label)] = weight
    factors[known] = table[classes[known]]
    per_row = factors if rows.sample_weight is None else factors * rows.sample_weight
    return Rows(rows.X, rows.y, np.ascontiguousarray(per_row, dtype=dtype))


def split_point(n: int, validation_split: Any) -> int:
    """Return how many of the first rows are for training; the rest, the last rows, are for validation."""
    number = isinstance(validation_split, int | float | np.number) and not isinstance(validation_split, bool)
    if not number or not 0.0 <= validation_split < 1.0:
        raise ValueError(f"validation_split must be at least 0 and less than 1, got {validation_split!r}")
    point = math.floor(n * (1.0 - float(validation_split)))
    if validation_split and not 0 < point < n:
        raise ValueError(
            f"validation_split={validation_split} of {n} rows leaves {point} for training and {n - point} for "
            "validation; both need at least one"
        )
    return point


def as_count(value: Any, name: str, minimum: int = 1) -> int:
    """Return a whole number of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    return int(value)


def as_verbosity(verbose: Any) -> int:
    """Return 0, 1 or 2 for 0, 1, 2, a bool or "auto" (1)."""
    if isinstance(verbose, str) and verbose == "auto":
        return 1
    if isinstance(verbose, bool | int | np.integer) and int(verbose) in (0, 1, 2):
        return int(verbose)
    raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")
