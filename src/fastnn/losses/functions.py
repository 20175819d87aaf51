"""Losses as functions of arrays that return one value per row, such as ``keras.losses.mean_squared_error``."""

from dataclasses import dataclass
from typing import Any

import fastnn._registry as registry
from fastnn.losses.loss import Loss


@dataclass(frozen=True)
class LossFunction:
    """A loss as a function; ``compile`` takes it as the loss of this name.

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
        """The name, as Python functions have it."""
        return self.name

    def __call__(self, y_true: Any, y_pred: Any, *positional: Any, **options: Any) -> Any:
        """Return the loss of every row.

        Parameters
        ----------
        y_true : targets of y_pred's shape; labels of one dimension less for sparse_categorical_crossentropy.
        y_pred : (..., n_outputs); (n_outputs,) is one row.
        positional, options : the options of the loss's class except ``reduction``, in its order or by name.

        Returns
        -------
        ndarray or float
            (...), the last axis reduced; one number for one row, or where the loss couples rows.
        """
        described = registry.find("loss", self.name)
        loss: Loss = described(**dict(zip(described.option_names(), positional, strict=False)), **options)
        return loss.of_rows(y_true, y_pred)


binary_crossentropy = LossFunction("binary_crossentropy")
binary_focal_crossentropy = LossFunction("binary_focal_crossentropy")
categorical_crossentropy = LossFunction("categorical_crossentropy")
categorical_focal_crossentropy = LossFunction("categorical_focal_crossentropy")
categorical_hinge = LossFunction("categorical_hinge")
cosine_similarity = LossFunction("cosine_similarity")
dice = LossFunction("dice")
gaussian_nll = LossFunction("gaussian_nll")
hinge = LossFunction("hinge")
huber = LossFunction("huber")
kl_divergence = LossFunction("kl_divergence")
log_cosh = LossFunction("log_cosh")
mean_absolute_error = LossFunction("mean_absolute_error")
mean_absolute_percentage_error = LossFunction("mean_absolute_percentage_error")
mean_squared_error = LossFunction("mean_squared_error")
mean_squared_logarithmic_error = LossFunction("mean_squared_logarithmic_error")
multi_quantile = LossFunction("multi_quantile")
poisson = LossFunction("poisson")
quantile = LossFunction("quantile")
sparse_categorical_crossentropy = LossFunction("sparse_categorical_crossentropy")
squared_hinge = LossFunction("squared_hinge")
