"""The weights and moments of a compiled network: access by layer, copies, and the way back to finite weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn._arrays import first_nonfinite
from fastnn.layers import ParameterSpec
from fastnn.network.program import Program

Array = NDArray[Any]


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
        return all(first_nonfinite(slots[0]) is None for slots in self.arrays)


class NetworkWeights:
    """Access to the weights of a network; counts the changes that come from outside training.

    Parameters
    ----------
    network : the compiled network.
    program : what it was compiled from.
    """

    def __init__(self, network: _core.Network, program: Program) -> None:
        self.network = network
        self.parameters = [place for places in program.places for place in places]
        self.version = 0

    def read(self, op: int, name: str) -> Array:
        """Return a copy of one weight."""
        return self.network.get_parameter(op, name)

    def write(self, op: int, name: str, value: Array) -> None:
        """Replace one weight."""
        self.network.set_parameter(op, name, np.asarray(value, dtype=self.network.dtype, order="C"))
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
        return all(first_nonfinite(self.network.get_parameter(op, name)) is None for op, name in self.parameters)


@dataclass(frozen=True)
class LayerWeights:
    """What a built model lends one layer: its weights, each with its op and its name there."""

    weights: NetworkWeights
    places: dict[str, tuple[int, str]]

    def read(self, name: str) -> Array:
        """Return a copy of one weight."""
        return self.weights.read(*self.places[name])

    def write(self, name: str, value: Array) -> None:
        """Replace one weight."""
        self.weights.write(*self.places[name], value)

    def set_trainable(self, names: Sequence[str], trainable: bool) -> None:
        """Freeze or release the weights of these names."""
        for op in {self.places[name][0] for name in names}:
            self.weights.network.set_trainable(op, trainable)


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

    def set_trainable(self, names: Sequence[str], trainable: bool) -> None:
        """Do nothing: the layer itself remembers."""
