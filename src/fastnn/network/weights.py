"""The weights and moments of a compiled network: access as a whole and layer by layer, and copies to go back to."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.network.program import Program

Array = NDArray[Any]


def new_network(program: Program, dtype: np.dtype[Any], several: bool = False) -> _core.Network:
    """Return the compiled network of a program, with weights of 0; ``several`` lets one of one input take a list."""
    if not several and program.is_chain and program.outputs == [len(program.ops)]:
        return _core.Network(program.input_widths[0], program.ops, dtype.name, None, program.sources)
    return _core.Network(program.input_widths, program.ops, dtype.name, program.outputs, program.sources)


class NetworkCopy(NamedTuple):
    """A copy of all weights and moments as the kernels keep them, and the number of updates.

    Parameters
    ----------
    slots : weights, first moments, ... of the whole network, each a row.
    iterations : updates done.
    """

    slots: Array
    iterations: int


class NetworkState(NamedTuple):
    """Copies of all weights and moments for files and pickles, and the number of updates.

    Parameters
    ----------
    arrays : per weight ``[value, first moment, ...]``, in the order of ``NetworkWeights.parameters``.
    iterations : updates done.
    """

    arrays: list[list[Array]]
    iterations: int


class NetworkWeights:
    """Access to the weights of a network; counts the changes that come from outside training.

    Parameters
    ----------
    network : the compiled network.
    parameters : op and name of every weight.

    Attributes
    ----------
    shared : whether another network has the weights of some of the layers, too.
    when_shared : weak reference to what to call when this becomes so.
    """

    def __init__(self, network: _core.Network, parameters: list[tuple[int, str]]) -> None:
        self.network = network
        self.parameters = parameters
        self.version = 0
        self.shared = False
        self.when_shared: Callable[[], Callable[[], None] | None] | None = None

    def share(self) -> None:
        """Note that another network has some of the weights, too."""
        self.shared = True
        notify = None if self.when_shared is None else self.when_shared()
        if notify is not None:
            notify()

    def read(self, op: int, name: str) -> Array:
        """Return a copy of one weight."""
        return self.network.get_parameter(op, name)

    def write(self, op: int, name: str, value: Array) -> None:
        """Replace one weight."""
        self.write_all([(op, name)], [value])

    def write_all(self, places: Iterable[tuple[int, str]], values: Iterable[Array]) -> None:
        """Replace the weights at some places: all of them, or none where one is refused."""
        arrays = [np.asarray(value, dtype=self.network.dtype, order="C") for value in values]
        self.network.set_parameters([(op, name, 0) for op, name in places], arrays)
        self.version += 1

    def use_average(self) -> None:
        """Replace all weights by their moving average."""
        self.network.use_average()
        self.version += 1

    def capture(self) -> NetworkState:
        """Return a copy of everything that training changes, weight by weight."""
        slots = range(self.network.n_slots + 1)
        arrays = [[self.network.get_parameter(op, name, slot) for slot in slots] for op, name in self.parameters]
        return NetworkState(arrays, self.network.iterations)

    def restore(self, state: NetworkState) -> None:
        """Go back to a captured state."""
        slots = range(self.network.n_slots + 1)
        places = [(op, name, slot) for op, name in self.parameters for slot in slots]
        self.network.set_parameters(places, [value for values in state.arrays for value in values])
        self.network.iterations = state.iterations
        self.version += 1

    def copy_state(self, out: NetworkCopy | None = None) -> NetworkCopy:
        """Return a copy of everything that training changes; an earlier copy ``out`` gives its memory."""
        return NetworkCopy(
            self.network.copy_slots(self.network.n_slots + 1, out and out.slots), self.network.iterations
        )

    def restore_state(self, copy: NetworkCopy) -> None:
        """Go back to a copy of the state, as a part of training."""
        self.network.restore_slots(copy.slots)
        self.network.iterations = copy.iterations

    def finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return self.network.weights_are_finite()

    def copy(self, out: Array | None = None) -> Array:
        """Return a copy (1, elements) of all weights, for ``go_back``; an earlier copy ``out`` gives its memory."""
        return self.network.copy_slots(1, out)

    def go_back(self, copy: Array) -> None:
        """Replace all weights by those of a copy."""
        self.network.restore_slots(copy)
        self.version += 1


class LayerWeights(NamedTuple):
    """The weights of one layer in a built model: ``places`` holds op and name in the network by the layer's name."""

    weights: NetworkWeights
    places: dict[str, tuple[int, str]]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the weights."""
        return self.weights.network.dtype

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


class KeptWeights(NamedTuple):
    """The weights of a layer that has left a built model; ``values`` holds the arrays by name."""

    values: dict[str, Array]
    dtype: np.dtype[Any]

    def read(self, name: str) -> Array:
        """Return a copy of one weight."""
        return self.values[name].copy()

    def write(self, name: str, value: Array) -> None:
        """Replace one weight, in place: a block and its layers share the arrays."""
        self.values[name][...] = value

    def set_trainable(self, names: Sequence[str], trainable: bool) -> None:
        """Do nothing: the layer itself remembers."""
