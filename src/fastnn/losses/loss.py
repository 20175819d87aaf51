"""The base of all losses."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

import fastnn._registry as registry
import fastnn.ops as ops
from fastnn._arguments import choice, float_type, optional, text
from fastnn._arrays import as_numbers
from fastnn._derivation import never_calls

Array = NDArray[Any]

REDUCTIONS = ("sum_over_batch_size", "mean_with_sample_weight", "sum", "none")


_INSTEAD = (
    "the compiled core computes the loss. Pass compile a function of (y_true, y_pred) that returns (loss, gradient "
    "with respect to y_pred), both NumPy"
)


@never_calls(__call__=_INSTEAD, call=_INSTEAD)
class Loss(registry.Description):
    """Base of all losses.

    Parameters
    ----------
    reduction : "sum_over_batch_size" or "mean" (the mean over the rows of a batch), "mean_with_sample_weight" (divided
        by the batch's sum of sample weights; 0 where this is 0), "sum", or "none" or None (one loss per row, which
        cannot be trained on).
    name : name of the loss.
    dtype : None, "float32" or "float64": the loss is computed in the model's type and summed in float64.
    """

    _needs, _instead_of_own = "core_name", _INSTEAD
    core_name: ClassVar[str]
    """Name of the loss in the compiled core."""
    targets: ClassVar[str] = "numbers"
    """Kind of the targets: "numbers", "probabilities" (0 to 1), "one_hot" rows or class "labels"."""
    skipped_activation: ClassVar[str | None] = None
    """A final activation that the core computes together with this loss, from the values before it."""
    from_logits: bool = False
    ignore_class: int | None = None
    couples_rows: bool = False
    """Whether the loss of a batch is not a mean over its rows, so that it depends on the division into batches."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        optional(float_type, "dtype", dtype)
        chosen = choice("reduction", reduction, (*REDUCTIONS, "mean", None))
        self.reduction = {"mean": "sum_over_batch_size", None: "none"}.get(chosen, chosen)
        self.name = getattr(self, "core_name", type(self).__name__) if name is None else text("name", name)

    @property
    def depends_on_batches(self) -> bool:
        """Whether the mean loss of rows depends on their division into batches."""
        weighs_batches = self.reduction in ("sum", "mean_with_sample_weight")
        return weighs_batches or self.ignore_class is not None or self.couples_rows

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Return the names of the options except ``reduction`` and ``name``, in order."""
        return cls._options

    def target_columns(self, n_outputs: int) -> int:
        """Return the number of columns of the targets of a model with ``n_outputs`` outputs."""
        return n_outputs

    def predictions(self, outputs: Array) -> Array:
        """Return the outputs (n, n_targets) that predict the targets, of outputs (n, n_outputs)."""
        return outputs[:, : self.target_columns(outputs.shape[1])]

    def options(self) -> dict[str, Any]:
        """Return the options that the compiled core takes."""
        return {
            **ops.LOSS_OPTIONS.get(self.core_name, {}),
            **{option: getattr(self, option) for option in self._options},
            "sum": self.reduction == "sum",
            "weighted_mean": self.reduction == "mean_with_sample_weight",
        }

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of arrays (n, n_outputs); each row's loss is multiplied by its ``sample_weight`` (n,).

        With reduction "none" it is an array, as from ``of_rows``.
        """
        if self.reduction == "none":
            rows = self.of_rows(y_true, y_pred)
            return rows if sample_weight is None else rows * _weights_of(rows, sample_weight)
        return ops.loss(self.core_name, y_true, y_pred, sample_weight=sample_weight, **self.options())

    def of_rows(self, y_true: ArrayLike, y_pred: ArrayLike) -> Any:
        """Return the loss of every row; the reduction has no effect.

        Parameters
        ----------
        y_true : targets of y_pred's shape; labels of one dimension less for sparse_categorical_crossentropy.
        y_pred : (..., n_outputs); (n_outputs,) is one row.

        Returns
        -------
        ndarray or float
            (...), the last axis reduced; one number for one row, or where the loss couples rows.
        """
        predictions, truth = as_numbers(y_pred, "y_pred"), as_numbers(y_true, "y_true")
        if predictions.ndim == 0:
            raise ValueError(f"y_pred of {self.name} must have at least one axis, got a single number")
        if predictions.shape[:-1] not in (truth.shape, truth.shape[:-1]):
            raise ValueError(
                f"y_true must have the rows of y_pred, which has shape {predictions.shape}; got shape {truth.shape}"
            )
        rows = predictions.reshape(-1, predictions.shape[-1])
        targets = truth.reshape(len(rows), -1)
        if self.couples_rows:
            return ops.loss(self.core_name, targets, rows, **self.options())
        pairs = zip(targets[:, None], rows[:, None], strict=True)
        values: Array = np.array([ops.loss(self.core_name, t, p, **self.options()) for t, p in pairs])
        return values.reshape(predictions.shape[:-1]) if predictions.ndim > 1 else float(values[0])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "reduction": self.reduction, "name": self.name}


def _weights_of(rows: Any, sample_weight: Any) -> Array:
    """Return the weights of the losses of rows, a number or an array of their shape."""
    weights = as_numbers(sample_weight, "sample_weight")
    shape = np.shape(rows)
    weights = weights.reshape(shape) if weights.shape == (*shape, 1) else weights
    if weights.shape not in ((), shape):
        raise ValueError(f"sample_weight must have shape {shape}, one weight per row, got {weights.shape}")
    return weights
