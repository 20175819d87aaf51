"""The table of precision, recall, F1 and support by class.

Layout, names and results are scikit-learn's.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from fastnn._arguments import flag, takes_keywords, whole
from fastnn._warnings import warn
from fastnn.metrics.precision_recall import (
    average_scores,
    average_weights,
    label_sums,
    require_zero_division,
    scores_from_sums,
)
from fastnn.metrics.targets import LabelPairs, chosen_labels
from fastnn.metrics.validation import Array

_METRICS = ("precision", "recall", "f-score")
_HEADERS = ("precision", "recall", "f1-score", "support")


@takes_keywords
def classification_report(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    target_names: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    digits: int = 2,
    output_dict: bool = False,
    zero_division: Any = "warn",
) -> Any:
    """Precision, recall, F1 and number of true rows of every class, and their averages.

    Parameters
    ----------
    y_true, y_pred : array_like
        Labels (n,), or 0/1 indicators (n, k).
    labels : array_like, optional
        Classes of the table, in this order; default all classes that occur, sorted.
    target_names : array_like, optional
        Names of the classes, in the same order.
    sample_weight : array_like, optional
        (n,).
    digits : int
        Decimals in the text.
    output_dict : bool
        True: return a dictionary of dictionaries instead of text.
    zero_division : {"warn", 0, 1, nan}
        As for `precision_score`.

    Returns
    -------
    str or dict

    Examples
    --------
    >>> print(classification_report([0, 0, 1], [0, 1, 1], target_names=["cat", "dog"]))
                  precision    recall  f1-score   support
    <BLANKLINE>
             cat       1.00      0.50      0.67         2
             dog       0.50      1.00      0.67         1
    <BLANKLINE>
        accuracy                           0.67         3
       macro avg       0.75      0.75      0.67         3
    weighted avg       0.83      0.67      0.67         3
    <BLANKLINE>
    """
    flag("output_dict", output_dict)
    digits = whole("digits", digits, at_least=0)
    require_zero_division(zero_division)
    pairs = LabelPairs(y_true, y_pred, sample_weight)
    selection = chosen_labels(labels)
    shown = pairs.labels if selection is None else selection
    names = _names(shown, labels is not None, target_names)
    multilabel = pairs.kind == "multilabel-indicator"
    covers_all = labels is None or set(shown.tolist()) >= set(pairs.labels.tolist())
    averages = ["micro", "macro", "weighted"] + (["samples"] if multilabel else [])
    sums = label_sums(pairs, None, selection)
    by_label = scores_from_sums(sums, 1.0, None, zero_division, _METRICS)
    support = sums.true.sum()

    summary: dict[str, list[Any]] = {}
    for average in averages:
        averaged = sums if average in ("macro", "weighted") else label_sums(pairs, average, selection)
        scores = scores_from_sums(averaged, 1.0, average, zero_division, _METRICS)
        weights = average_weights(pairs, averaged, average)
        heading = "accuracy" if average == "micro" and covers_all and not multilabel else f"{average} avg"
        summary[heading] = [*[average_scores(scores[metric], weights) for metric in _METRICS], support]

    rows = list(zip(names, *[by_label[metric] for metric in _METRICS], sums.true, strict=False))
    if output_dict:
        result: dict[str, Any] = {name: dict(zip(_HEADERS, map(float, values), strict=True)) for name, *values in rows}
        for heading, values in summary.items():
            result[heading] = dict(zip(_HEADERS, map(float, values), strict=True))
        if "accuracy" in summary:
            result["accuracy"] = result["accuracy"]["precision"]
        return result
    width = max(*[len(name) for name in names], len("weighted avg"), digits)
    return _text(rows, summary, width, digits)


def _names(shown: Array, chosen: bool, target_names: Any) -> list[str]:
    """Return a name for each label of the table; ``chosen`` tells whether the caller named the labels."""
    if target_names is None:
        return [str(label) for label in shown]
    if isinstance(target_names, str) or not isinstance(target_names, Iterable):
        raise ValueError(f"target_names must be a list of names, got {target_names!r}")
    names = [str(name) for name in target_names]
    if len(names) != len(shown):
        sizes = f"target_names has {len(names)} names for {len(shown)} labels"
        if not chosen:
            raise ValueError(f"{sizes}. Try specifying the labels parameter.")
        warn(f"{sizes}.")
    return names


def _text(rows: Sequence[Sequence[Any]], summary: Mapping[str, Sequence[Any]], width: int, digits: int) -> str:
    """Return the table: a line (name, scores, support) for each label, and one for each heading of the summary."""
    lines = [f"{'':>{width}s} " + "".join(f" {header:>9}" for header in _HEADERS), ""]
    for name, *values, weight in rows:
        lines.append(f"{name:>{width}s} " + "".join(f" {value:>9.{digits}f}" for value in values) + f" {weight:>9}")
    lines.append("")
    for heading, (precision, recall, f1, weight) in summary.items():
        first = ["", ""] if heading == "accuracy" else [f"{precision:.{digits}f}", f"{recall:.{digits}f}"]
        cells = "".join(f" {cell:>9}" for cell in [*first, f"{f1:.{digits}f}", weight])
        lines.append(f"{heading:>{width}s} {cells}")
    return "\n".join(lines) + "\n"
