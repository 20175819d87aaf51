"""The base of all losses, and checks of their arguments."""

import math
from typing import Any, ClassVar, Self

from fastnn import registry

REDUCTIONS = ("sum_over_batch_size", "sum")


class Loss:
    """Base of all losses.

    Parameters
    ----------
    reduction : "sum_over_batch_size" (mean over the rows of a batch; "mean" means the same) or "sum".
    name : name of the loss.
    dtype : accepted as in Keras; the loss is computed in the model's type and summed in float64.
    """

    core_name: ClassVar[str]
    """Name of the loss in the compiled core."""
    targets: ClassVar[str] = "numbers"
    """What ``y`` holds: "numbers", "probabilities" (0 to 1), "one_hot" rows or class "labels"."""
    skipped_activation: ClassVar[str | None] = None
    """A final activation that this loss can take together with itself, from the values before it."""
    from_logits: bool = False
    couples_rows: bool = False
    """Whether the loss of a batch is no mean over its rows, so that it depends on how rows are cut into batches."""
    _options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None, dtype: Any = None) -> None:
        if reduction is None or reduction == "none":
            raise ValueError(
                f"reduction={reduction!r} gives a loss per row, which cannot be trained on: use 'sum_over_batch_size' "
                "or 'sum'"
            )
        reduction = "sum_over_batch_size" if reduction == "mean" else reduction
        if reduction not in REDUCTIONS:
            raise ValueError(registry.unknown_name("reduction", reduction, (*REDUCTIONS, "mean")))
        self.reduction = reduction
        self.name = name if name is not None else getattr(self, "core_name", type(self).__name__)

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Return the names of the options beside ``reduction`` and ``name``, in order."""
        return cls._options

    def target_columns(self, n_outputs: int) -> int:
        """Return the number of columns of the targets of a model with ``n_outputs`` outputs."""
        return n_outputs

    def options(self) -> dict[str, float]:
        """Return the options the compiled core takes."""
        options: dict[str, float] = {option: getattr(self, option) for option in self._options}
        if self.reduction == "sum":
            options["sum"] = True
        return options

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Return the loss of arrays (n, n_outputs); each row's loss is multiplied by its ``sample_weight``."""
        from fastnn import ops

        return ops.loss(self.core_name, y_true, y_pred, sample_weight=sample_weight, **self.options())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config: dict[str, Any] = {option: getattr(self, option) for option in self._options}
        return {**config, "reduction": self.reduction, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a loss from ``get_config()``."""
        return cls(**config)

    def __repr__(self) -> str:
        options = ", ".join(f"{option}={value!r}" for option, value in self.get_config().items())
        return f"{type(self).__name__}({options})"


def number_between(name: str, value: float, low: float, high: float) -> float:
    """``value`` as a float, low <= value <= high."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        bound = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be a number {bound}, got {value!r}")
    return float(value)


def last_axis(axis: int) -> int:
    """``axis`` after checking that it is that of the outputs."""
    if axis not in (-1, 1) or isinstance(axis, bool):
        raise ValueError(f"axis must be -1, the outputs of a row, got {axis!r}")
    return -1


def smoothing(value: float) -> float:
    """``label_smoothing`` after checking that it lies between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError(f"label_smoothing must lie between 0 and 1, got {value!r}")
    return float(value)
