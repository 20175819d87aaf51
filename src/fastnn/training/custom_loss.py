"""Training with losses written in Python, which run between the native forward and backward pass of each batch."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core

Array = NDArray[Any]


class CustomLossFit:
    """A fit whose steps call losses written in Python; has the interface of the core's ``Fit``.

    Parameters
    ----------
    fit : the native fit.
    losses : the losses, of the outputs that have one written in Python.
    y : targets (n, columns) for each of them.
    """

    def __init__(self, fit: _core.Fit, losses: Sequence[Any], y: Sequence[Array]) -> None:
        self._fit = fit
        self._losses = losses
        self._y = y

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fit, name)

    def run(self, max_steps: int = -1, max_seconds: float = 0.05) -> str:
        """Run steps as ``Fit.run`` does; a step whose loss or gradient is not finite makes no update."""
        fit = self._fit
        end = time.monotonic() + max_seconds
        last = fit.n_steps if max_steps < 0 else min(fit.n_steps, fit.step + max_steps)
        while fit.step < last:
            outputs: Any = fit.forward()
            several = isinstance(outputs, list)
            rows = fit.batch_rows()
            given = zip(self._losses, self._y, outputs if several else [outputs], strict=True)
            found = [loss.evaluate(y[rows], y_pred) for loss, y, y_pred in given]
            if not all(np.isfinite(value) and np.isfinite(gradient).all() for value, gradient in found):
                fit.settle()
                return "nonfinite"
            values, gradients = [value for value, _ in found], [gradient for _, gradient in found]
            updated = fit.backward(gradients, values) if several else fit.backward(gradients[0], values[0])
            if updated is False:
                fit.settle()
                return "nonfinite"
            if fit.step == last:
                fit.settle()
            if time.monotonic() >= end:
                break
        return "finished" if fit.step >= fit.n_steps else "more"
