"""The estimators against scikit-learn's: the same fits, epochs and predictions, timed in turns."""

import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.bench.machine import describe_machine, n_cores, versions

__all__ = ["CASES", "Case", "compare_estimators"]


@dataclass(frozen=True)
class Case:
    """One comparison.

    Parameters
    ----------
    name : description of the measurement.
    kind : "classifier" or "regressor".
    data : returns X and y.
    options : arguments of both constructors.
    predicts : whether ``predict`` of one row is timed instead of ``fit``.
    """

    name: str
    kind: str
    data: Callable[[], tuple[Any, Any]]
    options: dict[str, Any]
    predicts: bool = False


def _digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X, y


def _classes(n: int, n_features: int, n_classes: int, dtype: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_features)).astype(dtype)
    return X, np.argmax(X @ rng.standard_normal((n_features, n_classes)), axis=1)


def _curve() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (1000, 10))
    return X, np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2]


_CHECKED_EPOCHS = 20  # in a longer fit, rounding differences grow
_COVERTYPE = {"hidden_layer_sizes": (64, 32), "batch_size": 32, "solver": "sgd", "max_iter": 5}
CASES: dict[str, Case] = {
    "digits": Case("default fit on digits, 200 epochs", "classifier", _digits, {}),
    "digits32": Case("the same in float32", "classifier", lambda: (_digits()[0].astype("float32"), _digits()[1]), {}),
    "covertype": Case(
        "54-64-32-7, batch 32, SGD, 5 epochs", "classifier", lambda: _classes(4000, 54, 7, "float64"), _COVERTYPE
    ),
    "covertype32": Case("the same in float32", "classifier", lambda: _classes(4000, 54, 7, "float32"), _COVERTYPE),
    "mnist": Case(
        "784-128-10, batch 128, 2 epochs, float32",
        "classifier",
        lambda: _classes(6000, 784, 10, "float32"),
        {"hidden_layer_sizes": (128,), "batch_size": 128, "max_iter": 2},
    ),
    "lbfgs": Case(
        "regressor, L-BFGS, 50 iterations", "regressor", _curve, {"solver": "lbfgs", "max_iter": 50, "tol": 0.0}
    ),
    "one_row": Case("predict one row, digits", "classifier", _digits, {"max_iter": 2}, predicts=True),
}
"""The comparisons by name."""


def _estimators(kind: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Return scikit-learn's estimator and fastnn's."""
    from sklearn import neural_network

    import fastnn

    name = "MLPClassifier" if kind == "classifier" else "MLPRegressor"
    fixed = {"random_state": 0, "tol": 0.0, "n_iter_no_change": 10**6, **options}
    return getattr(neural_network, name)(**fixed), getattr(fastnn, name)(**fixed)


_PAUSE = 0.1
"""Seconds before each turn, in which the other library's idle threads go to sleep."""


def _time(work: Callable[[], Any], calls: int) -> float:
    time.sleep(_PAUSE)
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def _check_equal(case: Case, X: NDArray[Any], y: NDArray[Any]) -> None:
    """Raise RuntimeError unless both predict the same after the same number of epochs."""
    options = {**case.options, "max_iter": min(case.options.get("max_iter", 200), _CHECKED_EPOCHS)}
    ask = "predict_proba" if case.kind == "classifier" else "predict"
    theirs, ours = (estimator.fit(X, y) for estimator in _estimators(case.kind, options))
    expected, got = getattr(theirs, ask)(X), getattr(ours, ask)(X)
    tolerance = 1e-6 if X.dtype == np.float64 else 2e-2
    if theirs.n_iter_ != ours.n_iter_ or not np.allclose(expected, got, rtol=tolerance, atol=tolerance):
        raise RuntimeError(f"{case.name}: the results of the two differ by up to {np.abs(expected - got).max():.3g}")


def _compare_one(case: Case, rounds: int, thread_counts: Sequence[int]) -> dict[str, Any]:
    """Time one case; both must agree first."""
    from threadpoolctl import threadpool_limits

    X, y = case.data()
    _check_equal(case, X, y)
    theirs, ours = (estimator.fit(X, y) for estimator in _estimators(case.kind, case.options))
    row = X[:1]
    calls = 300 if case.predicts else 1

    def work(estimator: Any) -> Callable[[], Any]:
        return (lambda: estimator.predict(row)) if case.predicts else (lambda: estimator.fit(X, y))

    times: dict[str, dict[int, list[float]]] = {
        library: {n_threads: [] for n_threads in thread_counts} for library in ("scikit-learn", "fastnn")
    }
    for _ in range(rounds):
        for n_threads in thread_counts:
            with threadpool_limits(n_threads):
                times["scikit-learn"][n_threads].append(1e3 * _time(work(theirs), calls))
            ours.set_params(n_threads=n_threads)
            times["fastnn"][n_threads].append(1e3 * _time(work(ours), calls))
    result: dict[str, Any] = {"case": case.name}
    for library, by_threads in times.items():
        chosen = min(by_threads, key=lambda n_threads: min(by_threads[n_threads]))
        best, median = min(by_threads[chosen]), float(np.median(by_threads[chosen]))
        result[library] = {"best": best, "median": median, "threads": chosen}
    result["ratio"] = result["scikit-learn"]["best"] / result["fastnn"]["best"]
    return result


def compare_estimators(
    names: Sequence[str], rounds: int = 7, thread_counts: Sequence[int] = (), json_path: Path | None = None
) -> str:
    """Time the named cases; return a table: milliseconds, best and median of ``rounds`` on the better thread count.

    Parameters
    ----------
    names : keys of ``CASES``.
    rounds : turns of each library on each number of threads.
    thread_counts : numbers of threads to try; empty for one and all cores.
    json_path : file to write machine, versions and rows to, or None.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [_compare_one(CASES[name], rounds, thread_counts or sorted({1, n_cores()})) for name in names]
    if json_path is not None:
        report = {
            "machine": describe_machine(),
            "versions": versions(["fastnn", "numpy", "scikit-learn", "scipy"]),
            "rows": rows,
        }
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    lines = [
        "| case | scikit-learn, ms | median | threads | fastnn, ms | median | threads | times faster |",
        "| --- |" + " ---: |" * 7,
    ]
    for row in rows:
        cells = [
            cell
            for figures in (row["scikit-learn"], row["fastnn"])
            for cell in (f"{figures['best']:.4g}", f"{figures['median']:.4g}", str(figures["threads"]))
        ]
        lines.append(f"| {row['case']} | {' | '.join(cells)} | {row['ratio']:.1f} |")
    return "\n".join(lines)
