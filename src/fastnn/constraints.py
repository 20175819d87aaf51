"""Constraints on weights with Keras's names and arguments, applied after every update.

``axis`` is the axis that norms are taken over: 0 gives one norm for each unit (for a bias, one in all), 1 one for each
input, (0, 1) one for all weights.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import number
from fastnn._derivation import never_calls
from fastnn._missing import public_names

Array = NDArray[Any]

_SMALL = 1e-7


def _axis(value: Any) -> int | tuple[int, int]:
    """Return ``axis`` as 0, 1 or (0, 1)."""
    if value in (0, -2) and not isinstance(value, bool):
        return 0
    if value in (1, -1) and not isinstance(value, bool):
        return 1
    if isinstance(value, list | tuple) and sorted(value) == [0, 1]:
        return 0, 1
    raise ValueError(f"axis must be 0, 1 or (0, 1), got {value!r}")


_INSTEAD = (
    "the compiled core applies MaxNorm, NonNeg and UnitNorm. For another constraint change the weights in a callback's "
    "on_train_batch_end, layer.kernel.assign(...)"
)


@never_calls(__call__=_INSTEAD)
class Constraint(registry.Description):
    """Base of all constraints."""

    _needs, _instead_of_own = "core_name", _INSTEAD

    core_name: ClassVar[str]
    """Name of the constraint in the compiled core."""

    def __call__(self, w: Any) -> Array:
        """Return constrained weights."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(w)")

    def rule(self, parameter: str) -> tuple[str, float, int | None]:
        """Return name, bound and axis for the compiled core; axis None stands for all weights.

        Parameters
        ----------
        parameter : "kernel" or "bias".

        Raises
        ------
        ValueError
            The axis is one that a bias does not have.
        """
        axis = getattr(self, "axis", 0)
        if parameter == "bias" and axis != 0:
            raise ValueError(f"a bias has one axis: bias_constraint needs axis=0, got {self!r}")
        return self.core_name, float(getattr(self, "max_value", 0.0)), None if isinstance(axis, tuple) else axis


@registry.register("constraint", "MaxNorm", "max_norm")
class MaxNorm(Constraint):
    """Norms of at most ``max_value``: ``w * clip(|w|, 0, max_value) / (1e-7 + |w|)`` (Srivastava et al., 2014).

    Parameters
    ----------
    max_value : largest norm, positive.
    axis : as in the module.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.constraints.MaxNorm(1.0)(np.array([[3.0], [4.0]])).round(3)
    array([[0.6],
           [0.8]])
    """

    core_name = "max_norm"
    _options = ("max_value", "axis")

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value = number("max_value", max_value, above=0.0)
        self.axis = _axis(axis)

    def __call__(self, w: Any) -> Array:
        """Return constrained weights."""
        w = np.asarray(w)
        norms = np.sqrt(np.square(w).sum(axis=self.axis, keepdims=True))
        constrained: Array = w * (np.clip(norms, 0.0, self.max_value) / (_SMALL + norms))
        return constrained


@registry.register("constraint", "NonNeg", "non_neg")
class NonNeg(Constraint):
    """Weights of at least 0: ``max(w, 0)``."""

    core_name = "non_neg"

    def __call__(self, w: Any) -> Array:
        """Return constrained weights."""
        constrained: Array = np.maximum(np.asarray(w), 0)
        return constrained


@registry.register("constraint", "UnitNorm", "unit_norm")
class UnitNorm(Constraint):
    """Norms of 1: ``w / (1e-7 + |w|)``.

    Parameters
    ----------
    axis : as in the module.
    """

    core_name = "unit_norm"
    _options = ("axis",)

    def __init__(self, axis: Any = 0) -> None:
        self.axis = _axis(axis)

    def __call__(self, w: Any) -> Array:
        """Return constrained weights."""
        w = np.asarray(w)
        constrained: Array = w / (_SMALL + np.sqrt(np.square(w).sum(axis=self.axis, keepdims=True)))
        return constrained


max_norm, non_neg, unit_norm = MaxNorm, NonNeg, UnitNorm


def get(identifier: Any) -> Constraint | None:
    """Return the constraint for a name, class, dict or constraint; None for None.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest.
    """
    return None if identifier is None else registry.resolve("constraint", identifier, Constraint)


__all__ = [
    "Constraint",
    "MaxNorm",
    "NonNeg",
    "UnitNorm",
    "get",
    "max_norm",
    "non_neg",
    "unit_norm",
]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
