"""Callbacks of an estimator's fit: scikit-learn's own (from version 1.9 on), and the model that fastnn's work on."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["CallbackModel", "CallbackSupportMixin", "TaskReporter", "copies_of"]

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Replacement for scikit-learn's class of this name, which exists from version 1.9 on."""


class TaskReporter:
    """Reports the iterations of one fit to scikit-learn's callbacks.

    Parameters
    ----------
    estimator : the estimator being fitted.
    max_iter : largest number of iterations.
    X, y : the training data.
    attributes : returns the fitted attributes that a copy of the estimator needs to predict.
    """

    def __init__(self, estimator: Any, max_iter: int, X: Any, y: Any, attributes: Callable[[], dict[str, Any]]) -> None:
        self._estimator = estimator
        self._data = {"X": X, "y": y}
        self._attributes = attributes
        self._root: Any = None
        self._task: Any = None
        if getattr(estimator, "_skl_callbacks", None) and hasattr(estimator, "_init_callback_context"):
            self._root = estimator._init_callback_context(max_subtasks=max_iter)
            self._root.call_on_fit_task_begin(estimator=estimator, **self._data)

    @property
    def active(self) -> bool:
        """Whether the estimator has callbacks."""
        return self._root is not None

    def begin(self) -> None:
        """Report the start of an iteration."""
        if self._root is not None:
            self._task = self._root.subcontext(task_name="iteration")
            self._task.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def end(self) -> bool:
        """Report the end of an iteration; return whether a callback asks to stop."""
        if self._task is None:
            return False
        task, self._task = self._task, None
        stop: bool = task.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=self._attributes, **self._data
        )
        return stop

    def close(self) -> None:
        """Report the end of the fit."""
        if self._root is not None:
            self.end()
            self._root.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=self._attributes, **self._data
            )


class CallbackModel:
    """The model of fastnn's callbacks in a fit of an estimator.

    Parameters
    ----------
    network : the network being trained.
    optimizer : the update rule; a learning rate assigned to it takes effect in the next epoch.

    Attributes
    ----------
    stop_training : set to True to stop after the epoch.
    """

    def __init__(self, network: Any, optimizer: Any) -> None:
        self.network = network
        self.optimizer = optimizer
        self.stop_training = False

    def get_weights(self) -> list[Array]:
        """Return copies of all weights: kernel and bias of the first layer, of the second, and so on."""
        return [array for pair in zip(*self.network.read(), strict=True) for array in pair]

    def set_weights(self, weights: list[Array]) -> None:
        """Replace all weights."""
        self.network.write(weights[::2], weights[1::2])

    def count_params(self) -> int:
        """Return the number of weights."""
        return sum(int(np.size(array)) for array in self.get_weights())


def copies_of(callbacks: Any) -> Any:
    """Return copies for a fit to run: callbacks record the fit, which may not change an estimator's arguments.

    Raises
    ------
    TypeError
        A callback cannot be copied.
    """
    try:
        return copy.deepcopy(callbacks)
    except TypeError as error:
        raise TypeError(
            f"callbacks must be objects that copy.deepcopy can copy, as fit runs copies of them; got {callbacks!r}: "
            f"{error}"
        ) from error
