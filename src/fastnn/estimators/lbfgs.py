"""Training by L-BFGS-B: SciPy's solver over the compiled core's loss and gradient."""

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
"""The limit of every running solver, the first one's first."""


@cache
def _libraries() -> ThreadpoolController:
    """Return the thread pools of this process; NumPy's and SciPy's BLAS are loaded by now."""
    return ThreadpoolController()


@contextmanager
def _blas_on_one_thread() -> Iterator[None]:
    """Keep BLAS on one thread while any solver runs.

    The solver's own products are of a few dozen elements, and BLAS threads that wait for the next one take the
    processors from the network's. The limit is the process's: the last solver restores what the first one found.
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
    """Raise for arguments beyond scikit-learn's that L-BFGS has no use for; it passes over scikit-learn's as that does.

    Raises
    ------
    ValueError
        Names the arguments.
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
    objective : what is minimised.
    rows : X, targets as the core takes them, and sample weights.
    options : "max_iter", "max_fun", "tol" and "verbose" of the estimator.
    n_threads : threads of the core.
    on_iteration : called with the flat parameters after every iteration, or None.

    Notes
    -----
    Byrd, Lu, Nocedal and Zhu (1995), as SciPy implements it. Where the reported loss has a factor of its own
    (``Objective.report``), the solver sees that loss with the gradient of the unscaled one, as scikit-learn's does.
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
