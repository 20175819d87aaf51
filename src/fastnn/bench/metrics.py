"""The metrics against scikit-learn's: the same calls on the same arrays, timed in turns."""

import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.bench.machine import describe_machine, versions

__all__ = ["CASES", "Case", "compare_metrics"]

_TURN = 0.02  # seconds that a turn takes at least; short calls are repeated


@dataclass(frozen=True)
class Case:
    """One call of a metric that both packages have.

    Parameters
    ----------
    metric : name of the function in both packages.
    target : description of the labels.
    data : function of the number of rows that returns ``(y_true, y_pred or y_score)`` and, if there are any, sample
        weights.
    options : further arguments of both functions.
    """

    metric: str
    target: str
    data: Callable[[int], tuple[NDArray[Any], ...]]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Metric and target."""
        return f"{self.metric}, {self.target}"


def _labels(n_classes: int, dtype: Any) -> Callable[[int], tuple[NDArray[Any], ...]]:
    """Labels, four fifths of them predicted correctly; strings if ``dtype`` is str or object."""

    def data(n_rows: int) -> tuple[NDArray[Any], ...]:
        rng = np.random.default_rng(0)
        true = rng.integers(0, n_classes, n_rows)
        pred = np.where(rng.random(n_rows) < 0.8, true, rng.integers(0, n_classes, n_rows))
        if dtype in (str, object):
            names = np.array([f"class {label}" for label in range(n_classes)], dtype=dtype)
            return names[true], names[pred]
        return true.astype(dtype), pred.astype(dtype)

    return data


def _scores(label_type: Any, score_type: Any, levels: int = 0, weighted: bool = False) -> Any:
    """Labels, scores in [0, 1), rounded down to ``levels`` levels unless that is 0, and weights."""

    def data(n_rows: int) -> tuple[NDArray[Any], ...]:
        rng = np.random.default_rng(0)
        true = rng.integers(0, 2, n_rows)
        score = np.clip(0.5 + 0.15 * (2 * true - 1) + 0.2 * rng.standard_normal(n_rows), 0.0, 1.0)
        if levels:
            score = np.floor(score * levels) / levels
        arrays = true.astype(label_type), score.astype(score_type)
        return (*arrays, rng.uniform(0.5, 2.0, n_rows)) if weighted else arrays

    return data


CASES: tuple[Case, ...] = (
    Case("accuracy_score", "10 classes, int64", _labels(10, np.int64)),
    Case("accuracy_score", "10 classes, float64", _labels(10, np.float64)),
    Case("accuracy_score", "10 classes, strings", _labels(10, str)),
    Case("confusion_matrix", "2 classes, int64", _labels(2, np.int64)),
    Case("confusion_matrix", "10 classes, int64", _labels(10, np.int64)),
    Case("confusion_matrix", "10 classes, float64", _labels(10, np.float64)),
    Case("confusion_matrix", "10 classes, strings", _labels(10, str)),
    Case("confusion_matrix", "10 classes, objects", _labels(10, object)),
    Case("f1_score", "2 classes, int64", _labels(2, np.int64)),
    Case("f1_score", "2 classes, bool", _labels(2, np.bool_)),
    Case("f1_score", "2 classes, float64", _labels(2, np.float64)),
    Case("f1_score", "2 classes, float32", _labels(2, np.float32)),
    Case("f1_score", "10 classes, int64, macro", _labels(10, np.int64), {"average": "macro"}),
    Case("f1_score", "10 classes, float64, macro", _labels(10, np.float64), {"average": "macro"}),
    Case("f1_score", "10 classes, strings, macro", _labels(10, str), {"average": "macro"}),
    Case("roc_auc_score", "float64 scores", _scores(np.int64, np.float64)),
    Case("roc_auc_score", "float32 scores", _scores(np.int64, np.float32)),
    Case("roc_auc_score", "float labels and scores", _scores(np.float64, np.float64)),
    Case("roc_auc_score", "float64 scores on 100 levels", _scores(np.int64, np.float64, levels=100)),
    Case("roc_auc_score", "float64 scores, weighted", _scores(np.int64, np.float64, weighted=True)),
    Case("roc_auc_score", "float32 scores, weighted", _scores(np.int64, np.float32, weighted=True)),
    Case("average_precision_score", "float64 scores", _scores(np.int64, np.float64)),
    Case("roc_curve", "float64 scores", _scores(np.int64, np.float64)),
    Case("log_loss", "float64 probabilities", _scores(np.int64, np.float64)),
    Case("brier_score_loss", "float64 probabilities", _scores(np.int64, np.float64)),
)
"""The comparisons."""


def _agree(ours: Any, theirs: Any) -> bool:
    """Whether two results, numbers, arrays or tuples of arrays, agree to 1e-12."""
    pairs = zip(ours, theirs, strict=True) if isinstance(theirs, tuple) else [(ours, theirs)]
    return all(np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in pairs)


def _calls(work: Callable[[], Any]) -> int:
    """Return how many calls fill a turn."""
    calls = 1
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            work()
        taken = time.perf_counter() - start
        if taken >= _TURN:
            return max(1, round(calls * _TURN / taken))
        calls = max(2 * calls, round(calls * _TURN / max(taken, 1e-6)))


def _compare_one(case: Case, n_rows: int, rounds: int) -> dict[str, Any]:
    """Time one case; both libraries must agree first."""
    import sklearn.metrics

    import fastnn.metrics

    true, pred, *weight = case.data(n_rows)
    options = dict(case.options, **({"sample_weight": weight[0]} if weight else {}))
    metrics = {library.__name__: getattr(library, case.metric) for library in (sklearn.metrics, fastnn.metrics)}
    work = {library: partial(metric, true, pred, **options) for library, metric in metrics.items()}
    ours, theirs = work["fastnn.metrics"](), work["sklearn.metrics"]()
    if not _agree(ours, theirs):
        raise RuntimeError(f"{case.name}, {n_rows:,} rows: fastnn gives {ours!r}, scikit-learn {theirs!r}")
    calls = {library: _calls(call) for library, call in work.items()}
    seconds: dict[str, list[float]] = {library: [] for library in work}
    for _ in range(rounds):
        for library, call in work.items():
            start = time.perf_counter()
            for _ in range(calls[library]):
                call()
            seconds[library].append((time.perf_counter() - start) / calls[library])
    result: dict[str, Any] = {"metric": case.metric, "target": case.target, "rows": n_rows}
    for library, key in (("sklearn.metrics", "scikit-learn"), ("fastnn.metrics", "fastnn")):
        result[key] = {"min_us": 1e6 * min(seconds[library]), "median_us": 1e6 * statistics.median(seconds[library])}
    return result


def _ratio(row: dict[str, Any], what: str) -> float:
    return float(row["scikit-learn"][what] / row["fastnn"][what])


def compare_metrics(
    names: Sequence[str] = (),
    n_rows: Sequence[int] = (1000, 1_000_000),
    rounds: int = 5,
    json_path: Path | None = None,
) -> str:
    """Time the metrics; return a table of microseconds, minimum and median of ``rounds``, and their ratios.

    Parameters
    ----------
    names : functions to time; empty for all of ``CASES``.
    n_rows : lengths of the arrays.
    rounds : turns of each library, one after the other.
    json_path : file to write machine, versions and rows to, or None.

    Raises
    ------
    RuntimeError
        If the two results differ by more than 1e-12, relative or absolute.
    """
    cases = [case for case in CASES if not names or case.metric in names]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [_compare_one(case, n, rounds) for n in n_rows for case in cases]
    if json_path is not None:
        report = {
            "machine": describe_machine(),
            "versions": versions(["fastnn", "numpy", "scikit-learn"]),
            "rows": rows,
        }
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    columns = ("rows", "metric", "scikit-learn, us: min", "median", "fastnn, us: min", "median", "ratio: min", "median")
    lines = [f"| {' | '.join(columns)} |", "| ---: | --- |" + " ---: |" * 6]
    for row in rows:
        times = [
            f"{row[library][what]:,.4g}" for library in ("scikit-learn", "fastnn") for what in ("min_us", "median_us")
        ]
        ratios = [f"{_ratio(row, what):.1f}" for what in ("min_us", "median_us")]
        lines.append(f"| {row['rows']:,} | {row['metric']}, {row['target']} | {' | '.join([*times, *ratios])} |")
    return "\n".join(lines)
