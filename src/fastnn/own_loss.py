"""Training with a loss written in Python: called between the native forward and backward pass of each batch."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.inputs import Rows
from fastnn.losses import Loss

Array = NDArray[Any]


class OwnLoss(Loss):
    """A loss of one's own: any function of targets and predictions of a batch, in Python.

    Parameters
    ----------
    function : ``f(y_true, y_pred) -> (loss, gradient)``: y_true (rows, columns of y), y_pred (rows, outputs); a number,
        and its gradient with respect to y_pred, of y_pred's shape.
    """

    core_name = "custom"
    targets = "any"
    couples_rows = True

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__(name=getattr(function, "__name__", type(function).__name__))
        self.function = function

    def evaluate(self, y_true: Any, y_pred: Any) -> tuple[float, NDArray[Any]]:
        """Return loss and gradient of a batch.

        Raises
        ------
        TypeError, ValueError
            The function returns something else; the message names it.
        """
        result = self.function(y_true, y_pred)
        if not isinstance(result, tuple) or len(result) != 2:
            given = f"{len(result)} values" if isinstance(result, tuple) else f"{type(result).__name__}"
            raise TypeError(
                f"loss function {self.name!r} must return (loss, gradient), got {given}: Python is not differentiated "
                "here, so give the gradient with respect to y_pred too, or compile one of fastnn's losses"
            )
        loss, gradient = np.asarray(result[0]), np.asarray(result[1])
        if loss.size != 1 or loss.dtype.kind not in "fiub":
            raise ValueError(f"the loss that {self.name!r} returns must be one number, got shape {loss.shape}")
        if gradient.shape != y_pred.shape or gradient.dtype.kind not in "fiub":
            raise ValueError(
                f"the gradient that {self.name!r} returns must have the shape of y_pred, {y_pred.shape}, and be real "
                f"numbers, got shape {gradient.shape} and dtype {gradient.dtype}"
            )
        return float(loss.reshape(())), np.ascontiguousarray(gradient, dtype=y_pred.dtype)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Return the loss of arrays."""
        if sample_weight is not None:
            raise ValueError(f"loss function {self.name!r} takes no sample_weight: weigh rows within it")
        return self.evaluate(y_true, y_pred)[0]

    def get_config(self) -> dict[str, Any]:
        """Return the function."""
        return {"function": self.function}


class OwnLossFit:
    """A fit whose steps call a loss in Python; used as the core's ``Fit`` is.

    Parameters
    ----------
    fit : the native fit.
    loss : the loss.
    y : targets (n, columns).
    """

    def __init__(self, fit: _core.Fit, loss: OwnLoss, y: Array) -> None:
        self._fit = fit
        self._loss = loss
        self._y = y

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fit, name)

    def run(self, max_steps: int = -1, max_seconds: float = 0.05) -> str:
        """Run steps as ``Fit.run`` does; a step whose loss or gradient is not finite makes no update."""
        fit = self._fit
        end = time.monotonic() + max_seconds
        last = fit.n_steps if max_steps < 0 else min(fit.n_steps, fit.step + max_steps)
        while fit.step < last:
            y_pred = fit.forward()
            value, gradient = self._loss.evaluate(self._y[fit.batch_rows()], y_pred)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                return "nonfinite"
            fit.backward(gradient, value)
            if time.monotonic() >= end:
                break
        return "finished" if fit.step >= fit.n_steps else "more"


def make_fit(network: _core.Network, loss: Loss, rows: Rows, batch_size: int, predictions: Array | None) -> Any:
    """Return the fit of a network on rows: a native one, or one around a loss in Python."""
    if not isinstance(loss, OwnLoss):
        return _core.Fit(network, rows.X, rows.y, rows.sample_weight, batch_size, 0, predictions)
    if rows.sample_weight is not None:
        raise ValueError(f"loss function {loss.name!r} takes no sample_weight: weigh rows within it")
    return OwnLossFit(_core.Fit(network, rows.X, rows.y, None, batch_size, 0, predictions), loss, rows.y)
