"""Pictures of classifiers: confusion matrix, ROC, precision and recall, calibration, decision regions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastnn.metrics as metrics
from fastnn._arguments import takes_keywords
from fastnn.plotting.canvas import COLOURS, MARKERS, column, new_axes, tidy

__all__ = ["calibration_curve", "confusion_matrix", "decision_regions", "precision_recall_curve", "roc_curve"]


@takes_keywords
def confusion_matrix(
    y_true: Any, y_pred: Any, *, class_names: Sequence[str] | None = None, normalize: str | None = None, ax: Any = None
) -> Any:
    """Draw the confusion matrix: how often rows of each class are predicted as each class.

    Parameters
    ----------
    y_true, y_pred : (n,) class labels.
    class_names : names of the classes in the order of the sorted labels.
    normalize : None for counts; "true", "pred" or "all" for fractions, as in ``metrics.confusion_matrix``.
    ax : axes to draw into.
    """
    truth, predicted = np.asarray(y_true).ravel(), np.asarray(y_pred).ravel()
    labels = np.unique(np.concatenate([truth, predicted]))
    names = [str(label) for label in labels] if class_names is None else list(class_names)
    if len(names) != len(labels):
        raise ValueError(f"class_names has {len(names)} names, but there are {len(labels)} classes")
    counts = metrics.confusion_matrix(truth, predicted, normalize=normalize)
    ax = new_axes(ax, (4.6, 4.0))
    image = ax.imshow(counts, cmap="viridis", vmin=0.0)
    ax.figure.colorbar(image, ax=ax, label="rows" if normalize is None else f"fraction of {normalize}")
    top = max(float(counts.max()), np.finfo(float).tiny)
    for (row, place), value in np.ndenumerate(counts):
        text = f"{value:,}" if normalize is None else f"{value:.2f}"
        ax.text(place, row, text, ha="center", va="center", color="black" if value > 0.6 * top else "white")
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted class", ylabel="true class")
    return ax


@takes_keywords
def roc_curve(y_true: Any, y_score: Any, *, label: str | None = None, ax: Any = None) -> Any:
    """Draw the receiver operating characteristic with its area.

    Parameters
    ----------
    y_true : (n,) classes 0 and 1.
    y_score : (n,) scores or probabilities of class 1.
    label : name of the classifier, to which the area is appended.
    ax : axes to draw into; a second call with the same axes adds a curve.
    """
    scores = column(y_score, "y_score")
    false_rate, true_rate, _ = metrics.roc_curve(y_true, scores)
    area = metrics.roc_auc_score(y_true, scores)
    ax = new_axes(ax, (4.4, 4.2))
    if not ax.lines:
        ax.plot([0.0, 1.0], [0.0, 1.0], ":", color="0.4", label="guessing (AUC 0.500)")
    ax.plot(false_rate, true_rate, color=_next_colour(ax), label=f"{label or 'classifier'} (AUC {area:.3f})")
    ax.set(xlabel="false positive rate", ylabel="true positive rate (recall)", aspect="equal")
    ax.legend(frameon=False, loc="lower right")
    tidy(ax)
    return ax


@takes_keywords
def precision_recall_curve(y_true: Any, y_score: Any, *, label: str | None = None, ax: Any = None) -> Any:
    """Draw precision against recall, with the average precision and the precision of guessing.

    Parameters
    ----------
    y_true, y_score, label, ax : as in ``roc_curve``.
    """
    scores = column(y_score, "y_score")
    precision, recall, _ = metrics.precision_recall_curve(y_true, scores)
    average = metrics.average_precision_score(y_true, scores)
    ax = new_axes(ax, (4.6, 4.0))
    if not ax.lines:
        rate = float(np.mean(np.asarray(y_true).ravel()))
        ax.axhline(rate, linestyle=":", color="0.4", label=f"guessing ({rate:.3g})")
    ax.step(recall, precision, where="pre", color=_next_colour(ax), label=f"{label or 'classifier'} (AP {average:.3f})")
    ax.set(xlabel="recall", ylabel="precision", xlim=(0.0, 1.02), ylim=(0.0, 1.04))
    ax.legend(frameon=False, loc="lower left")
    tidy(ax)
    return ax


@takes_keywords
def calibration_curve(y_true: Any, y_prob: Any, *, n_bins: int = 10, label: str | None = None, ax: Any = None) -> Any:
    """Draw observed frequency against predicted probability, with the expected calibration error.

    Parameters
    ----------
    y_true : (n,) classes 0 and 1.
    y_prob : (n,) probabilities of class 1.
    n_bins : number of bins of equal width.
    label, ax : as in ``roc_curve``.
    """
    probabilities = column(y_prob, "y_prob")
    observed, predicted = metrics.calibration_curve(y_true, probabilities, n_bins=n_bins)
    error = metrics.expected_calibration_error(y_true, probabilities, n_bins=n_bins)
    ax = new_axes(ax, (4.4, 4.2))
    if not ax.lines:
        ax.plot([0.0, 1.0], [0.0, 1.0], ":", color="0.4", label="perfect")
    ax.plot(
        predicted,
        observed,
        "o-",
        color=_next_colour(ax),
        label=f"{label or 'classifier'} (calibration error {error:.3f})",
    )
    ax.set(xlabel="predicted probability", ylabel="observed frequency", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    ax.legend(frameon=False, loc="upper left")
    tidy(ax)
    return ax


@takes_keywords
def decision_regions(
    predict: Callable[[Any], Any],
    X: Any,
    y: Any,
    *,
    feature_names: Sequence[str] = ("feature 1", "feature 2"),
    class_names: Sequence[str] | None = None,
    n: int = 200,
    ax: Any = None,
) -> Any:
    """Draw the regions in which a classifier of two features predicts each class, with the data.

    Parameters
    ----------
    predict : function, or object with ``predict``, from (m, 2) to classes (m,), probabilities (m, 1) of class 1, or
        scores (m, n_classes).
    X, y : (n_rows, 2) features and (n_rows,) classes 0 to n_classes - 1, or strings. Probabilities and scores refer to
        the strings in alphabetical order.
    feature_names : names with units, for the axes.
    class_names : names of the classes, in order; by default strings are their own names.
    n : number of grid points along each feature.
    ax : axes to draw into.

    Raises
    ------
    ValueError
        Not two features, labels that are not classes, or fewer names than classes.
    """
    from matplotlib.colors import ListedColormap

    points = np.asarray(X, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"X must have two features, got shape {points.shape}")
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.06 * np.where(high > low, high - low, 1.0)
    first, second = (np.linspace(low[k] - margin[k], high[k] + margin[k], n) for k in (0, 1))
    grid = np.stack([part.ravel() for part in np.meshgrid(first, second)], axis=1)
    outputs = np.asarray((predict if callable(predict) and not hasattr(predict, "predict") else predict.predict)(grid))
    classes, regions, names = _as_classes(np.asarray(y).ravel(), outputs)
    if class_names is not None:
        if len(class_names) < len(names):
            raise ValueError(f"class_names has {len(class_names)} names, but there are {len(names)} classes")
        names = list(class_names)
    n_classes = len(names)
    ax = new_axes(ax, (5.0, 4.2))
    colours = [COLOURS[k % len(COLOURS)] for k in range(n_classes)]
    ax.pcolormesh(
        first,
        second,
        regions.reshape(n, n).astype(np.float64),
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=n_classes - 0.5,
        alpha=0.25,
        shading="nearest",
        rasterized=True,
    )
    for k, name in enumerate(names):
        own = classes == k
        ax.scatter(*points[own].T, s=18, color=colours[k], marker=MARKERS[k % 7], edgecolor="white", lw=0.4, label=name)
    ax.set(xlabel=feature_names[0], ylabel=feature_names[1])
    ax.legend(frameon=True, fontsize=8, loc="upper right")
    return ax


def _as_classes(labels: Any, outputs: Any) -> tuple[Any, Any, list[str]]:
    """Return the classes of the labels and of a classifier's outputs as numbers, and the names of all classes."""
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        outputs = outputs.argmax(axis=1)
    elif outputs.ndim == 2 and np.issubdtype(outputs.dtype, np.floating):
        outputs = outputs > 0.5
    predicted = outputs.ravel()
    if labels.dtype.kind in "OUT":
        texts = labels.astype(np.str_)
        if predicted.dtype.kind in "OUT":
            names, numbers = np.unique(np.concatenate([texts, predicted.astype(np.str_)]), return_inverse=True)
            return numbers[: len(texts)], numbers[len(texts) :], names.tolist()
        names, classes = np.unique(texts, return_inverse=True)
        if predicted.max() >= len(names):
            raise ValueError(f"predict returned class number {predicted.max()}, but y has {len(names)} classes")
        return classes, predicted, names.tolist()
    for what, given in (("y must hold", labels), ("predict must return", predicted)):
        if given.dtype.kind not in "fiub" or not np.all((given >= 0) & (given == np.floor(given))):
            raise ValueError(f"{what} classes 0 to n_classes - 1, or strings in both y and predict, got {given[0]!r}")
    classes = labels.astype(np.int64)
    n_classes = int(max(classes.max(), predicted.max())) + 1
    return classes, predicted, [f"class {k}" for k in range(n_classes)]


def _next_colour(ax: Any) -> str:
    """Return the colour of the next curve; the first line of the axes is the reference."""
    return COLOURS[(len(ax.lines) - 1) % len(COLOURS)]
