"""A custom loss: a function in Python."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.losses.loss import Loss


class CustomLoss(Loss):
    """A loss that is a Python function of the targets and the predictions of a batch.

    Parameters
    ----------
    function : ``f(y_true, y_pred) -> (loss, gradient)`` with y_true (rows, columns of y) and y_pred (rows, outputs);
        it returns a number and its gradient with respect to y_pred, of y_pred's shape.
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
            The function returns something else; the message says what.
        """
        result = self.function(y_true, y_pred)
        if not isinstance(result, tuple) or len(result) != 2:
            given = f"{len(result)} values" if isinstance(result, tuple) else f"{type(result).__name__}"
            raise TypeError(
                f"loss function {self.name!r} must return (loss, gradient), got {given}: fastnn does not differentiate "
                "Python functions, so return the gradient with respect to y_pred too, or use one of fastnn's losses"
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
            raise ValueError(f"loss function {self.name!r} takes no sample_weight: weight the rows inside of it")
        return self.evaluate(y_true, y_pred)[0]

    def get_config(self) -> dict[str, Any]:
        """Return the function."""
        return {"function": self.function}
