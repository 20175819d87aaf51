"""Training by L-BFGS-B: SciPy's solver over the compiled core's loss and gradient."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy import __version__ as scipy_version
from sklearn.utils.optimize import _check_optimize_result

from fastnn import _core
from fastnn.estimators.network import FittedNetwork, Objective

Array = NDArray[Any]


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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*iprint.*", category=DeprecationWarning)
        result = scipy.optimize.minimize(
            value, parameters, method="L-BFGS-B", jac=True, options=settings, callback=on_iteration
        )
    n_iter = _check_optimize_result("lbfgs", result, options["max_iter"])
    value(np.ascontiguousarray(result.x))
    return float(result.fun), int(n_iter)
