"""A search over hyperparameters whose candidates are trained on threads, without worker processes."""

from typing import Any

import joblib
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from fastnn._arguments import takes_keywords, whole
from fastnn._arrays import check_in_memory
from fastnn._processors import MOST_THREADS, get_num_threads


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
    random_state : seed of the draws.
    n_threads : candidates that are trained at the same time; by default ``fastnn.get_num_threads()``.
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
    threads = (
        get_num_threads() if n_threads is None else whole("n_threads", n_threads, at_least=1, at_most=MOST_THREADS)
    )
    grids = grid_or_distributions if isinstance(grid_or_distributions, list | tuple) else [grid_or_distributions]
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
    else:
        search = GridSearchCV(estimator, grid_or_distributions, **options)
    with joblib.parallel_config("threading", n_jobs=threads):
        return search.fit(X, y, **fit_params)
