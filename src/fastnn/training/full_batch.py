"""Fits of optimizers whose steps take all rows."""

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.network.stack import LayerStack
from fastnn.training.outputs import Objective
from fastnn.training.rows import Rows, listed


class FullBatchFit:
    """A fit of one step an epoch; has the interface of the core's ``Fit``.

    The loss, the losses of the outputs and the predictions are those after the step.

    Parameters
    ----------
    model : a built and compiled model.
    rows : all rows.
    predictions : receives the outputs, an array or a list; or None.
    """

    n_steps = 1

    def __init__(self, model: LayerStack, rows: Rows, predictions: Any) -> None:
        self._model, self._predictions = model, predictions
        optimizer = model.optimizer
        optimizer.check_options()
        if optimizer.owner is not None and optimizer.owner() is not model:
            optimizer.begin_with(weakref.ref(model))  # another model has been compiled with it, or trained
        self._rows = rows if rows.numbers is None else rows.part(slice(None))
        self.step = 0
        self.loss_sum = 0.0
        self.loss_sums: list[float] = []

    def begin_epoch(
        self, seed: int, epoch: int, shuffle: bool, learning_rates: Any, order: Any = None, first_step: int = 0
    ) -> None:
        """Begin an epoch; the order of rows does not matter."""
        self.step, self.loss_sum = 0, 0.0
        self.loss_sums = [0.0 for loss in self._model.losses_of_outputs if loss is not None]

    def set_learning_rates(self, learning_rates: Any) -> None:
        """Do nothing: the optimizer has no learning rate."""

    def batch_rows(self) -> NDArray[np.int64]:
        """Return the numbers of the rows of a step."""
        return np.arange(self._rows.n)

    def run(self, max_steps: int = -1, max_seconds: float = 0.05) -> str:
        """Make the step; "nonfinite" if the loss of the weights before it is not finite."""
        if self.step or not max_steps:
            return "finished" if self.step else "more"
        if not self._make_step():
            return "nonfinite"
        self.step = 1
        network = self._model.network
        network.iterations += 1
        if self._predictions is not None:
            found = network.predict(self._rows.X)
            for new, old in zip(listed(found), listed(self._predictions), strict=True):
                old[...] = new
        return "finished"

    def sums_of_objective(self) -> list[float]:
        """Return the sum over rows of each loss, from predictions."""
        rows, objective = self._rows, Objective(self._model)
        outputs = objective.predict(self._model.network, rows.X)
        values = objective.values(rows.y, outputs, rows.sample_weight)[1]
        return [value * rows.n for value, loss in zip(values, objective.losses, strict=True) if loss is not None]

    def _make_step(self) -> bool:
        raise NotImplementedError
