"""Losses as functions of arrays: one value per row, as ``keras.losses.mean_squared_error`` and its like give."""

from dataclasses import dataclass
from typing import Any

from fastnn import registry
from fastnn.loss import Loss


@dataclass(frozen=True)
class LossFunction:
    """A loss as a function; in ``compile`` it is the loss of the same name.

    Parameters
    ----------
    name : a registered loss.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.losses.mean_absolute_error([[0.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [2.0, 5.0]])
    array([0.5, 1.5])
    """

    name: str

    @property
    def __name__(self) -> str:
        """The name, as functions have one."""
        return self.name

    def __call__(self, y_true: Any, y_pred: Any, *positional: Any, **options: Any) -> Any:
        """Return the loss of every row.

        Parameters
        ----------
        y_true : targets of y_pred's shape; labels of one dimension less for sparse_categorical_crossentropy.
        y_pred : (..., n_outputs); (n_outputs,) is one row.
        positional, options : the options of the loss's class, in its order or by name, without ``reduction``.

        Returns
        -------
        ndarray or float
            (...), the last axis reduced; one number for one row, or where the loss couples rows.
        """
        described = registry.find("loss", self.name)
        loss: Loss = described(**dict(zip(described.option_names(), positional, strict=False)), **options)
        return loss.of_rows(y_true, y_pred)
