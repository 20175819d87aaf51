"""The weights and moments of a compiled network: access by layer, copies, and the way back to finite weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn.layers import ParameterSpec
from fastnn.program import Program

Array = NDArray[Any]


def _finite(array: Array) -> bool:
    """Whether all numbers are finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is finite only if all its terms are; one pass without a mask of the array's size.
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


@dataclass(frozen=True)
class NetworkState:
    """Copies of all weights and moments, and the number of updates.

    Parameters
    ----------
    arrays : per weight ``[value, first moment, ...]``, in the order of ``NetworkWeights.parameters``.
    iterations : updates done.
    """

    arrays: list[list[Array]]
    iterations: int

    @property
    def finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(_finite(slots[0]) for slots in self.arrays)


class NetworkWeights:
    """Access to the weights of a network; counts the changes that come from outside training.

    Parameters
    ----------
    network : the compiled network.
    program : what it was compiled from.
    """

    def __init__(self, network: _core.Network, program: Program) -> None:
        self.network = network
        self.parameters = [
            (op, spec.name)
            for op, specs in zip(program.op_of_layer, program.specs, strict=True)
            for spec in specs
            if op is not None
        ]
        self.version = 0

    def read(self, op: int, name: str) -> Array:
        """Return a copy of one weight."""
        return self.network.get_parameter(op, name)

    def write(self, op: int, name: str, value: Array) -> None:
        """Replace one weight."""
        self.network.set_parameter(op, name, np.ascontiguousarray(value, dtype=self.network.dtype))
        self.version += 1

    def use_average(self) -> None:
        """Replace all weights by their moving average."""
        self.network.use_average()
        self.version += 1

    def capture(self) -> NetworkState:
        """Return a copy of everything training changes."""
        slots = range(self.network.n_slots + 1)
        arrays = [[self.network.get_parameter(op, name, slot) for slot in slots] for op, name in self.parameters]
        return NetworkState(arrays, self.network.iterations)

    def restore(self, state: NetworkState) -> None:
        """Go back to a captured state."""
        for (op, name), values in zip(self.parameters, state.arrays, strict=True):
            for slot, value in enumerate(values):
                self.network.set_parameter(op, name, value, slot)
        self.network.iterations = state.iterations

    def finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(_finite(self.network.get_parameter(op, name)) for op, name in self.parameters)


@dataclass(frozen=True)
class LayerWeights:
    """What a built model lends one layer: the weights of one op."""

    weights: NetworkWeights
    op: int

    def read(self, name: str) -> Array:
        """Return a copy of one weight."""
        return self.weights.read(self.op, name)

    def write(self, name: str, value: Array) -> None:
        """Replace one weight."""
        self.weights.write(self.op, name, value)


class KeptWeights:
    """Weights of a layer that was taken out of a built model.

    Parameters
    ----------
    specs : the layer's weights.
    values : their values.
    """

    def __init__(self, specs: Sequence[ParameterSpec], values: Sequence[Array]) -> None:
        self.values = {spec.name: value for spec, value in zip(specs, values, strict=True)}

    def read(self, name: str) -> Array:
        """Return a copy of one weight."""
        return self.values[name].copy()

    def write(self, name: str, value: Array) -> None:
        """Replace one weight."""
        self.values[name] = value.astype(self.values[name].dtype)
