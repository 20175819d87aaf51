"""Penalties on weights and outputs with Keras's names and arguments.

A penalty on weights is added once to the loss of each batch, and its gradient to the gradient of the weights. A penalty
on the outputs of a layer is divided by the number of rows of the batch.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import fastnn._registry as registry
from fastnn._arguments import number
from fastnn._derivation import never_calls
from fastnn._missing import public_names


@never_calls(
    __call__=(
        "the compiled core computes the penalty l1 * sum(|w|) + l2 * sum(w^2): pass l1 and l2. For another penalty "
        "change the weights in a callback's on_train_batch_end, layer.kernel.assign(...)"
    )
)
@registry.register("regularizer", "L1L2", "l1_l2")
class L1L2(registry.Description):
    """``l1 * sum(|w|) + l2 * sum(w^2)`` (elastic net: Zou and Hastie, 2005).

    Parameters
    ----------
    l1, l2 : factors, at least 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.regularizers.L1L2(l1=1.0, l2=0.5)(np.array([1.0, -2.0]))
    5.5
    """

    _options: ClassVar[tuple[str, ...]] = ("l1", "l2")

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = number("l1", 0.0 if l1 is None else l1, at_least=0.0)
        self.l2 = number("l2", 0.0 if l2 is None else l2, at_least=0.0)

    def __call__(self, x: Any) -> float:
        """Return the penalty of an array."""
        values = np.asarray(x, dtype=np.float64)
        return self.l1 * float(np.abs(values).sum()) + self.l2 * float(np.square(values).sum())

    def factors(self) -> tuple[float, float]:
        """Return (l1, l2) for the compiled core."""
        return self.l1, self.l2


@registry.register("regularizer", "L1", "l1")
class L1(L1L2):
    """``l1 * sum(|w|)``, the lasso's penalty (Tibshirani, 1996)."""

    _options = ("l1",)

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=0.01 if l1 is None else l1)


@registry.register("regularizer", "L2", "l2")
class L2(L1L2):
    """``l2 * sum(w^2)``, ridge regression's penalty (Hoerl and Kennard, 1970)."""

    _options = ("l2",)

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=0.01 if l2 is None else l2)


Regularizer = L1L2
l1, l2, l1_l2 = L1, L2, L1L2


def get(identifier: Any) -> L1L2 | None:
    """Return the regularizer for a name, class, dict or regularizer; None for None.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest.
    """
    return None if identifier is None else registry.resolve("regularizer", identifier, L1L2)


__all__ = [
    "L1",
    "L1L2",
    "L2",
    "Regularizer",
    "get",
    "l1",
    "l1_l2",
    "l2",
]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
