"""A search over hyperparameters whose candidates are trained on threads, without worker processes."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import joblib
import numpy as np
import sklearn
from joblib.parallel import get_active_backend
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from fastnn._arguments import nearest, takes_keywords, whole
from fastnn._arrays import check_in_memory
from fastnn.estimators.candidates import candidates_of, fit_search, is_covered
from fastnn.training.workers import as_threads


@takes_keywords
def sweep(
    estimator: Any,
    grid_or_distributions: Any,
    X: Any,
    y: Any = None,
    *,
    cv: Any = None,
    scoring: Any = None,
    n_iter: int | None = None,
    random_state: Any = None,
    refit: Any = True,
    error_score: Any = float("nan"),
    return_train_score: bool = False,
    n_threads: int | None = None,
    **fit_params: Any,
) -> Any:
    """Search for the best hyperparameters by cross-validation, several candidates at a time.

    The search is scikit-learn's, and so are its results; a candidate is trained on one thread. Threads share the rows,
    while the worker processes of ``GridSearchCV(n_jobs=...)`` have to start and to copy them.

    Parameters
    ----------
    estimator : an ``MLPClassifier``, ``MLPRegressor``, or a pipeline with one.
    grid_or_distributions : dict from a parameter to a list of values, or a list of such dicts: all combinations are
        tried. With ``n_iter``, or if a value is a distribution (it has ``rvs``), combinations are drawn at random.
    X, y : the rows.
    cv, scoring, refit, error_score, return_train_score : as in ``GridSearchCV``.
    n_iter : combinations to draw; 10 where only the distributions say that they are drawn.
    random_state : seed of the draws; refused where nothing is drawn. The estimator has its own.
    n_threads : candidates that are trained at the same time; by default ``fastnn.get_num_threads()``, or those that a
        Dask cluster has room for, in ``with joblib.parallel_config("dask"):``.
    fit_params : further arguments of the estimator's ``fit``, such as ``sample_weight``, and ``groups`` of ``cv``.

    Returns
    -------
    GridSearchCV or RandomizedSearchCV
        Fitted: ``cv_results_``, ``best_estimator_``, ``best_params_``, ``best_score_``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import fastnn
    >>> X, y = load_iris(return_X_y=True)
    >>> net = fastnn.MLPClassifier(hidden_layer_sizes=(8,), max_iter=20, random_state=0, standardize=True)
    >>> search = fastnn.sweep(net, {"learning_rate_init": [0.001, 0.1]}, X, y, cv=3)
    >>> search.best_params_
    {'learning_rate_init': 0.1}
    """
    check_in_memory(X, "X", "sweep")
    _check_fit_params(estimator, fit_params)
    threads = as_threads(n_threads)
    grids = grid_or_distributions if isinstance(grid_or_distributions, list | tuple) else [grid_or_distributions]
    for grid in grids:
        if not isinstance(grid, Mapping):
            raise TypeError(f"grid_or_distributions must be a dict or a list of dicts, got {grid_or_distributions!r}")
    drawn = n_iter is not None or any(hasattr(value, "rvs") for grid in grids for value in dict(grid).values())
    options = {
        "scoring": scoring,
        "cv": cv,
        "refit": refit,
        "error_score": error_score,
        "return_train_score": return_train_score,
        "n_jobs": threads,
    }
    if drawn:
        count = 10 if n_iter is None else whole("n_iter", n_iter, at_least=1)
        search = RandomizedSearchCV(
            estimator, grid_or_distributions, n_iter=count, random_state=random_state, **options
        )
    elif random_state is not None:
        raise ValueError(
            f"random_state={random_state!r} has no effect on a grid of lists, all of whose combinations are tried: "
            "give n_iter or a distribution, or give the estimator a random_state"
        )
    else:
        search = GridSearchCV(estimator, grid_or_distributions, **options)
    if n_threads is None and type(get_active_backend()[0]).__name__ == "DaskDistributedBackend":
        search.n_jobs = -1
        return search.fit(X, y, **fit_params)
    candidates = candidates_of(search) if _is_repeatable(random_state) else []
    if candidates and is_covered(search, candidates, fit_params):
        found = fit_search(search, candidates, X, y, threads)
        if found is not None:
            return found
    with joblib.parallel_config("threading", n_jobs=threads):
        return search.fit(X, y, **fit_params)


def _check_fit_params(estimator: Any, fit_params: dict[str, Any]) -> None:
    """Raise TypeError for an argument that is neither ``sweep``'s nor the estimator's ``fit``'s."""
    if sklearn.get_config()["enable_metadata_routing"]:
        return
    of_fit = {*_fit_arguments(estimator), "groups"}
    free = tuple(name[:-1] for name in of_fit if name.endswith("*"))
    unknown = [name for name in fit_params if name not in of_fit and not name.startswith(free)]
    if unknown:
        own = [name for name in inspect.signature(sweep).parameters if name != "fit_params"]
        near = nearest(unknown[0], [*own, *sorted(of_fit)])
        hint = f" Did you mean {near!r}?" if near else ""
        raise TypeError(
            f"sweep() got an unexpected keyword argument {unknown[0]!r}.{hint} Its arguments: {', '.join(own)}; "
            f"those of the estimator's fit: {', '.join(sorted(of_fit))}"
        )


def _fit_arguments(estimator: Any, before: str = "") -> Iterator[str]:
    """Give the names of the arguments of ``fit`` after X and y, of each step in a pipeline; "*" for any name."""
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list):
        for name, step in steps:
            yield from _fit_arguments(step, f"{before}{name}__")
    elif callable(getattr(estimator, "fit", None)):
        for each in inspect.signature(estimator.fit).parameters.values():
            if each.kind is each.VAR_KEYWORD:
                yield f"{before}*"
            elif each.name not in ("X", "y"):
                yield f"{before}{each.name}"


def _is_repeatable(random_state: Any) -> bool:
    """Whether candidates can be drawn twice: where a fit fails, scikit-learn draws them again."""
    return random_state is None or isinstance(random_state, int | np.integer)
