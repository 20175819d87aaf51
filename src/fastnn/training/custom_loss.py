"""Training with a loss written in Python, which runs between the native forward and backward pass of each batch."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.losses.custom import CustomLoss

Array = NDArray[Any]


class CustomLossFit:
    """A fit whose steps call a loss written in Python; has the interface of the core's ``Fit``.

    Parameters
    ----------
    fit : the native fit.
    loss : the loss.
    y : targets (n, columns).
    """

    def __init__(self, fit: _core.Fit, loss: CustomLoss, y: Array) -> None:
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
