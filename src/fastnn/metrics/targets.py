"""Class labels for the metrics: the kind of target, the labels that occur, and how often each pair occurs."""

from typing import Any

import numpy as np

from fastnn._warnings import warn
from fastnn.metrics.counts import (
    codes_from,
    label_counts,
    labels_from,
    pair_counts,
    small_pair_counts,
    string_codes,
)
from fastnn.metrics.validation import (
    Array,
    as_column,
    as_dense,
    as_sample_weight,
    check_labels_present,
    require_finite,
    require_same_length,
)

_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)

# A table of all pairs of labels is made if it has at most this number of cells, or four per row.
_SMALL_TABLE = 4096


def _label_array(argument: str, values: Any) -> Array:
    """Return labels of any shape as an array of numbers, booleans, strings or objects, none of them missing."""
    array = as_dense(argument, values)
    if array.dtype.kind == "U" and array is not values and not hasattr(values, "dtype"):
        # np.asarray turns the numbers of a mixed list into strings.
        entries = np.asarray(values, dtype=object)
        check_labels_present(argument, entries)
        if not all(isinstance(value, str) for value in entries.flat):
            raise ValueError(f"Mix of label input types (string and number) in {argument}.")
    if array.dtype.kind == "T":
        array = array.astype(object)
    check_labels_present(argument, array)
    if array.dtype.kind == "O" and array.size and all(isinstance(value, _NUMBERS) for value in array.flat):
        return np.array(array.tolist())
    return array


def as_labels(argument: str, values: Any) -> Array:
    """Return class labels as an array (n,), or (n, k) with k > 1 for targets with several columns."""
    array = _label_array(argument, values)
    if array.dtype.kind == "S" or (array.dtype.kind == "O" and array.size and isinstance(array.flat[0], bytes)):
        raise TypeError(f"{argument} holds bytes; convert the labels to strings or integers.")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array.reshape(-1)
    if hasattr(values, "toarray") and array.ndim != 2:
        raise TypeError("Sparse input is only supported when targets are of multilabel type")
    if len(array) == 0:
        raise ValueError(f"Found empty input array {argument} while a minimum of 1 sample is required.")
    return array


def _whole_numbers(argument: str, array: Array) -> Array | None:
    """Return a numeric array as integers, or None if it holds fractions."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
    if np.array_equal(whole, array):
        return whole
    require_finite(argument, array)
    return None


def _has_more_than_two_values(argument: str, array: Array) -> bool:
    if array.dtype.kind in "iubf":
        low, high = array.min(), array.max()
        return bool(((array != low) & (array != high)).any())
    return len(encode(argument, array.reshape(-1))[0]) > 2


def type_of_target(argument: str, array: Array) -> str:
    """Return the kind of a target from `as_labels`, in scikit-learn's words.

    "binary", "multiclass", "continuous", "multilabel-indicator", "multiclass-multioutput", "continuous-multioutput" or
    "unknown".
    """
    if array.ndim > 2 or (array.dtype.kind == "O" and not isinstance(array.flat[0], str)):
        return "unknown"
    if array.dtype.kind not in "iubfUO":
        return "unknown"
    suffix = "-multioutput" if array.ndim == 2 else ""
    if array.dtype.kind == "f" and _whole_numbers(argument, array) is None:
        return "continuous" + suffix
    more = _has_more_than_two_values(argument, array)
    if array.ndim == 2:
        return "multiclass-multioutput" if more or array.dtype.kind in "UO" else "multilabel-indicator"
    return "multiclass" if more else "binary"


def encode(argument: str, array: Array) -> tuple[Array, Array]:
    """Return the sorted labels that occur in labels (n,), and each row's index among them."""
    whole = _whole_numbers(argument, array) if array.dtype.kind in "iubf" else None
    if whole is not None:
        low = int(whole.min())
        if int(whole.max()) - low < 4 * len(array) + _SMALL_TABLE:
            codes = codes_from(whole, low)
            present = label_counts(codes, 1) > 0
            labels = np.flatnonzero(present)
            if len(labels) < len(present):
                codes = (np.cumsum(present) - 1)[codes]
            return labels_from(labels, low).astype(array.dtype), codes
    coded = string_codes(array) if array.dtype.kind == "U" else None
    if coded is not None:
        return coded
    if array.dtype.kind != "O":
        labels, codes = np.unique(array, return_inverse=True)
        return labels, codes.reshape(-1)
    values = array.tolist()
    try:
        ordered = sorted(set(values))
    except TypeError:
        raise ValueError(f"Mix of label input types (string and number) in {argument}.") from None
    code_of = {label: code for code, label in enumerate(ordered)}
    return np.array(ordered, dtype=object), np.fromiter(map(code_of.__getitem__, values), np.intp, len(values))


def _encode_both(t: Array, p: Array) -> tuple[Array, Array, Array]:
    """Return the sorted labels that occur in either of two targets (n,), and the rows' indices among them."""
    (labels_t, codes_t), (labels_p, codes_p) = encode("y_true", t), encode("y_pred", p)
    if np.array_equal(labels_t, labels_p):
        return labels_t, codes_t, codes_p
    both = [labels_t, labels_p]
    if {labels_t.dtype.kind, labels_p.dtype.kind} == {"i", "u"} and np.result_type(labels_t, labels_p).kind == "f":
        both = [labels.astype(object) for labels in both]  # float64 would merge large labels
    labels, position = encode("y_true and y_pred", np.concatenate(both))
    return labels, position[: len(labels_t)][codes_t], position[len(labels_t) :][codes_p]


class LabelPairs:
    """Comparison of the true and predicted targets of a classification.

    Attributes
    ----------
    arguments : the names of both targets in messages.
    kind : "binary", "multiclass" or "multilabel-indicator"
    labels : (k,) sorted labels that occur; column numbers for multilabel targets.
    n_rows : number of rows.
    weights : (n,) or None.
    true, pred : (n, k) boolean indicators of multilabel targets, else None.
    """

    def __init__(
        self, y_true: Any, y_pred: Any, sample_weight: Any, arguments: tuple[str, str] = ("y_true", "y_pred")
    ) -> None:
        self.arguments = arguments
        t, p = map(as_labels, arguments, (y_true, y_pred))
        self.n_rows = require_same_length(**dict(zip(arguments, (t, p), strict=True)))
        self.weights = as_sample_weight(sample_weight, self.n_rows)
        self.true: Array | None = None
        self.pred: Array | None = None
        # (k, k) weight of each pair of labels; None if there are too many labels, and only their codes are kept.
        self._table: Array | None = None
        columns = t.ndim == 1 and p.ndim == 1
        numbers = columns and t.dtype.kind in "iubf" and p.dtype.kind in "iubf"
        if numbers and self.weights is None:
            counts = small_pair_counts(t, p)
            if counts is not None:
                self._keep_table(counts)
                self._set_number_type(0, t.dtype, p.dtype)
                return
        if columns and t.dtype.kind in "iub" and p.dtype.kind in "iub":
            self._compare_numbers(t, p, t.dtype, p.dtype)
            return
        if columns and t.dtype.kind == p.dtype.kind == "U":
            self._compare_codes(*_encode_both(t, p))
            return
        if numbers:
            whole_t, whole_p = map(_whole_numbers, arguments, (t, p))
            if whole_t is not None and whole_p is not None:
                self._compare_numbers(whole_t, whole_p, t.dtype, p.dtype)
                return
        kinds = list(map(type_of_target, arguments, (t, p)))
        for argument, kind, array in zip(arguments, kinds, (t, p), strict=True):
            if kind == "unknown":
                raise ValueError(
                    f"{argument} must hold numbers, booleans or strings, (n,) or (n, k); unknown is not supported: "
                    f"dtype {array.dtype}, shape {array.shape}, first entry {array.flat[0]!r}"
                )
        merged = set(kinds)
        if merged == {"binary", "multiclass"}:
            merged = {"multiclass"}
        if len(merged) > 1:
            raise ValueError(f"Classification metrics can't handle a mix of {kinds[0]} and {kinds[1]} targets")
        kind = merged.pop()
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            raise ValueError(f"{kind} is not supported")
        if kind == "multilabel-indicator":
            if t.shape[1] != p.shape[1]:
                raise ValueError(
                    "Multi-label binary indicator input with different numbers of labels: "
                    f"{t.shape[1]} in {arguments[0]}, {p.shape[1]} in {arguments[1]}"
                )
            self.kind = kind
            self.labels = np.arange(t.shape[1])
            self.true, self.pred = t != 0, p != 0
            return
        if (t.dtype.kind in "UO") != (p.dtype.kind in "UO"):
            raise ValueError(
                "Mix of label input types (string and number): one in {}, the other in {}.".format(*arguments)
            )
        self._compare_codes(*_encode_both(t, p))

    def _compare_numbers(self, t: Array, p: Array, true_type: Any, pred_type: Any) -> None:
        """Compare integer labels; labels in a small range need no sorting."""
        low = min(int(t.min()), int(p.min()))
        high = max(int(t.max()), int(p.max()))
        limit = max(4 * self.n_rows, _SMALL_TABLE)
        if high - low >= limit:
            self._compare_codes(*_encode_both(t, p))
            return
        if low >= 0 and high < limit:
            low = 0  # the labels are their own codes
        else:
            t, p = codes_from(t, low), codes_from(p, low)
        n_codes = high - low + 1
        if n_codes * n_codes > limit:
            t, p = t.astype(np.intp), p.astype(np.intp)
            present_t, present_p = label_counts(t, n_codes) > 0, label_counts(p, n_codes) > 0
            present = present_t | present_p
            position = np.cumsum(present) - 1
            self._compare_codes(np.flatnonzero(present), position[t], position[p])
            self._in_true: Array = present_t[present]
        else:
            counts = pair_counts(t, p, n_codes)
            self._keep_table(counts, None if self.weights is None else pair_counts(t, p, n_codes, self.weights))
        self._set_number_type(low, true_type, pred_type)

    def _keep_table(self, counts: Array, sums: Array | None = None) -> None:
        """Keep the counts (k, k), or the summed weights, of the pairs of those labels 0..k-1 that occur."""
        present_t, present_p = np.asarray(counts.any(axis=1)), np.asarray(counts.any(axis=0))
        labels = np.flatnonzero(present_t | present_p)
        table = counts if sums is None else sums
        self._table = table if len(labels) == len(table) else table[labels][:, labels]
        self._set_labels(labels)
        self._in_true = present_t[labels]

    def _set_number_type(self, low: int, true_type: Any, pred_type: Any) -> None:
        """Give the labels y_true's type if they all occur in it: 1 and 1.0 are the same label."""
        dtype = true_type if self._in_true.all() else np.result_type(true_type, pred_type)
        self.labels = labels_from(self.labels, low).astype(dtype)

    def _compare_codes(self, labels: Array, true_codes: Array, pred_codes: Array) -> None:
        counts = small_pair_counts(true_codes, pred_codes) if self.weights is None else None
        if counts is not None:
            self._keep_table(counts)
            self.labels = labels[self.labels]
            return
        self._set_labels(labels)
        self._true_codes, self._pred_codes = true_codes, pred_codes
        self._in_true = label_counts(true_codes, len(labels)) > 0
        if len(labels) ** 2 <= max(4 * self.n_rows, _SMALL_TABLE):
            self._table = pair_counts(true_codes, pred_codes, len(labels), self.weights)

    def _set_labels(self, labels: Array) -> None:
        self.labels = labels
        self.kind = "binary" if len(labels) <= 2 else "multiclass"

    def positions(self, labels: Any) -> list[int]:
        """Return the index of each label among those that occur; -1 if it does not occur."""
        index = {label: position for position, label in enumerate(self.labels.tolist())}
        return [index.get(label, -1) for label in np.asarray(labels).tolist()]

    def table(self, labels: Any = None) -> Array:
        """Return the number of rows (or their weight) by true and predicted label, (k, k), in the given order."""
        if labels is None:
            if self._table is None:
                return pair_counts(self._true_codes, self._pred_codes, len(self.labels), self.weights)
            return self._table
        size = len(labels)
        result = np.zeros((size, size), dtype=np.int64 if self.weights is None else np.float64)
        # The last of repeated labels receives the counts.
        target = {position: i for i, position in enumerate(self.positions(labels)) if position >= 0}
        sources, targets = list(target.keys()), list(target.values())
        if self._table is not None:
            result[np.ix_(targets, targets)] = self._table[np.ix_(sources, sources)]
            return result
        row = np.full(len(self.labels), -1)
        row[sources] = targets
        t, p = row[self._true_codes], row[self._pred_codes]
        kept = (t >= 0) & (p >= 0)
        return pair_counts(t[kept], p[kept], size, None if self.weights is None else self.weights[kept])

    def label_sums(self) -> tuple[Array, Array, Array]:
        """Return true positives, predicted and true rows (or their weights) of every label that occurs, (k,) each."""
        if self.true is not None and self.pred is not None:
            both = self.true & self.pred
            if self.weights is None:
                return both.sum(axis=0), self.pred.sum(axis=0), self.true.sum(axis=0)
            return self.weights @ both, self.weights @ self.pred, self.weights @ self.true
        if self._table is not None:
            return self._table.diagonal(), self._table.sum(axis=0), self._table.sum(axis=1)
        k, t, p = len(self.labels), self._true_codes, self._pred_codes
        hit = t == p
        hit_weights = None if self.weights is None else self.weights[hit]
        return (
            label_counts(t[hit], k, hit_weights),
            label_counts(p, k, self.weights),
            label_counts(t, k, self.weights),
        )

    def labels_in_true(self) -> set[Any]:
        """Return the labels that occur in y_true."""
        return set(self.labels[self._in_true].tolist())


def positive_class(pos_label: Any, labels: Array) -> Any:
    """Return the label of the positive class, one of the sorted labels of y_true; 1 by default for {0, 1}, {-1, 1}."""
    found = labels.tolist()
    if pos_label is not None:
        if len(found) >= 2 and pos_label not in found:
            raise ValueError(f"pos_label={pos_label!r} is not a valid label. It should be one of {labels}")
        return pos_label
    if labels.dtype.kind in "OUS" or found not in ([0, 1], [-1, 1], [0], [-1], [1]):
        listing = ", ".join(map(repr, found))
        raise ValueError(
            f"y_true takes value in {{{listing}}} and pos_label is not specified: either make y_true take value in "
            "{0, 1} or {-1, 1} or pass pos_label explicitly."
        )
    return 1


def chosen_labels(labels: Any) -> Array | None:
    """Return the argument ``labels`` of a metric as an array (k,); None stays None."""
    return None if labels is None else as_column("labels", _label_array("labels", labels))


def warn_of_labels(labels: Any, known: Array) -> None:
    """Warn where ``labels`` leaves out one of the labels of binary targets, which are counted all the same."""
    chosen = chosen_labels(labels)
    if chosen is not None and not set(known.tolist()) <= set(chosen.tolist()):
        warn(f"labels={chosen.tolist()} has no effect: the targets are binary, with the labels {known.tolist()}")


def labels_1d(argument: str, values: Any) -> Array:
    """Return labels (n,); ValueError for targets with several columns."""
    return as_column(argument, as_labels(argument, values))
