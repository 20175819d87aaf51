"""Training by L-BFGS-B: SciPy's solver on the compiled core's loss and gradient."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy import __version__ as scipy_version
from sklearn.utils.optimize import _check_optimize_result
from threadpoolctl import ThreadpoolController

import fastnn._core as _core
from fastnn.estimators.network import FittedNetwork, Objective

Array = NDArray[Any]

_lock = threading.Lock()
_limits: list[Any] = []
"""The limits of all running solvers, oldest first."""


@cache
def _libraries() -> ThreadpoolController:
    """Return the thread pools of this process; called once NumPy's and SciPy's BLAS are loaded."""
    return ThreadpoolController()


@contextmanager
def _blas_on_one_thread() -> Iterator[None]:
    """Keep BLAS on one thread while any solver runs.

    The solver's own products have a few dozen elements, and BLAS threads that wait for the next product take
    processors from the network's threads. The limit applies to the whole process: the last solver to finish restores
    the setting that the first one found.
    """
    with _lock:
        _limits.append(_libraries().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            limit = _limits.pop()
            if not _limits:
                limit.restore_original_limits()


def check_arguments(estimator: Any, validation_data: Any) -> None:
    """Check that no argument is set that scikit-learn does not have and L-BFGS does not use.

    scikit-learn's own arguments that L-BFGS does not use are ignored, as in scikit-learn.

    Raises
    ------
    ValueError
        Such an argument is set; the message names it.
    """
    given = {
        "optimizer": estimator.optimizer is not None,
        "dropout": np.any(estimator.dropout),
        "callbacks": bool(estimator.callbacks),
        "progress": estimator.progress,
        "validation_data": validation_data is not None,
        f"dtype={estimator.dtype!r}": estimator.dtype is not None and estimator._network_dtype(None) != np.float64,
    }
    unused = [name for name, is_given in given.items() if is_given]
    if unused:
        raise ValueError(
            f"solver='lbfgs' takes no {' and no '.join(unused)}: it trains in float64 on all rows at once, without "
            "epochs; leave that out, or use solver='adam' or 'sgd'"
        )


def minimize(
    network: FittedNetwork,
    objective: Objective,
    rows: tuple[Array, Array, Array | None],
    options: dict[str, Any],
    n_threads: int,
    on_iteration: Callable[[Array], None] | None,
) -> tuple[float, int]:
    """Train a float64 network on all rows at once; return the loss and the number of iterations.

    Parameters
    ----------
    network : starts from its weights and receives the solution.
    objective : the loss to minimize.
    rows : X, targets in the core's form, and sample weights.
    options : "max_iter", "max_fun", "tol" and "verbose" of the estimator.
    n_threads : threads of the core.
    on_iteration : called with the flat parameters after every iteration, or None.

    Notes
    -----
    Byrd, Lu, Nocedal and Zhu (1995), as SciPy implements it. If the reported loss differs from the
    minimized one by a factor (``Objective.report``), the solver gets the value of the first and the gradient of the
    second, as in scikit-learn.
    """
    X, targets, sample_weight = rows
    network.compile(objective)
    fit = _core.Fit(network.core, X, targets, sample_weight, X.shape[0], n_threads)
    fit.begin_epoch(0, 0, False, np.zeros(fit.n_steps))
    coefs, intercepts = network.read()
    parameters = np.concatenate([array.ravel() for array in (*coefs, *intercepts)])

    def value(flat: Array) -> tuple[float, Array]:
        gradient = np.empty_like(flat)
        total, penalty = fit.loss_and_gradient(flat, gradient)
        return objective.reported(total, penalty), gradient

    settings = {"maxfun": options["max_fun"], "maxiter": options["max_iter"], "gtol": options["tol"]}
    # SciPy 1.15 moved L-BFGS-B to C and 1.16 deprecated its printing.
    if options["verbose"] and tuple(map(int, scipy_version.split(".")[:2])) < (1, 15):
        settings["iprint"] = 1
    with _blas_on_one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*iprint.*", category=DeprecationWarning)
        result = scipy.optimize.minimize(
            value, parameters, method="L-BFGS-B", jac=True, options=settings, callback=on_iteration
        )
    n_iter = _check_optimize_result("lbfgs", result, options["max_iter"])
    value(np.ascontiguousarray(result.x))
    return float(result.fun), int(n_iter)
