"""Weighted residuals of a model on all rows: their sum of squares, Jacobian and normal equations, block by block."""

from collections.abc import Iterator

import numpy as np

import fastnn._core as _core
from fastnn.network.program import Program
from fastnn.training.jacobian import Array, Chain, ResidualNetwork, dot


class Residuals:
    """Residuals ``(outputs - targets) * scale`` as a function of the trained weights, a flat float64 array.

    Parameters
    ----------
    network : gives the outputs and their Jacobian.
    inputs : of the network, float64.
    targets, scale : (columns, n).
    """

    def __init__(self, network: ResidualNetwork, inputs: list[Array], targets: Array, scale: Array) -> None:
        self._network, self._inputs, self._targets, self._scale = network, inputs, targets, scale
        self._block, self._n = network.block_rows(), targets.shape[1]
        self._parts: list[Array] = []
        self._flat: Array | None = None
        self.places, self.n_weights, self.n_residuals = network.places, network.n_weights, targets.size

    def take_weights(self, network: _core.Network) -> Array:
        """Take what is not trained from a network; return its trained weights."""
        return self._network.copy_from(network)

    def square_sum(self, flat: Array) -> float:
        """Return the sum of the squared residuals."""
        self._network.set_weights(flat)
        self._flat = flat
        self._parts = [self._residuals(first, first + self._block) for first in range(0, self._n, self._block)]
        return sum(dot(part, part) for part in self._parts)

    def _residuals(self, first: int, last: int) -> Array:
        """Return the residuals (columns, n) of some rows with the weights of the copy."""
        outputs = self._network.outputs([x[first:last] for x in self._inputs])
        stacked = np.concatenate([output.T for output in outputs])
        return np.ascontiguousarray((stacked - self._targets[:, first:last]) * self._scale[:, first:last])

    def _blocks(self, flat: Array) -> Iterator[tuple[list[Array], Array, Array]]:
        """Yield inputs, residuals and factors of the rows, block by block."""
        if flat is not self._flat:
            self.square_sum(flat)
        for number, residuals in enumerate(self._parts):
            rows = slice(number * self._block, number * self._block + residuals.shape[1])
            yield [x[rows] for x in self._inputs], residuals, np.ascontiguousarray(self._scale[:, rows])

    def normal_equations(self, flat: Array) -> tuple[Array, Array]:
        """Return ``J.T J``, whose lower triangle is undefined, and ``J.T r``."""
        normal, gradient = np.zeros((self.n_weights, self.n_weights)), np.zeros(self.n_weights)
        for inputs, residuals, scale in self._blocks(flat):
            self._network.add_normal_equations(inputs, residuals, scale, normal, gradient)
        return np.ascontiguousarray(normal.T), gradient

    def jacobian(self, flat: Array) -> tuple[Array, Array]:
        """Return the transposed Jacobian (weights, residuals), and the residuals."""
        parts, residuals = [], []
        for inputs, block, scale in self._blocks(flat):
            parts.append(self._network.jacobian(inputs, scale).copy())
            residuals.append(block.ravel())
        return np.concatenate(parts, axis=1), np.concatenate(residuals)

    def squares_of_columns(self, flat: Array) -> Array:
        """Return the sums of the squared residuals of the columns."""
        squares = np.zeros(len(self._targets))
        for _, residuals, _ in self._blocks(flat):
            squares += (residuals**2).sum(axis=1)
        return squares


class ChainResiduals(Residuals):
    """The same numbers from the core, for a chain of dense layers; ``Residuals`` describes the other parameters.

    Parameters
    ----------
    chain : the layers, from ``ResidualNetwork.chain``.
    """

    def __init__(
        self, network: ResidualNetwork, chain: Chain, inputs: list[Array], targets: Array, scale: Array
    ) -> None:
        super().__init__(network, inputs, targets, scale)
        self._chain = chain
        self._reads_inputs = chain.buffer < len(inputs)
        if self._reads_inputs:
            self._native = self._read(inputs[chain.buffer])

    def _read(self, X: Array) -> _core.LeastSquares:
        return _core.LeastSquares(self._chain.layers, X, self._targets, self._scale, self._block)

    def take_weights(self, network: _core.Network) -> Array:
        """Take what is not trained from a network; return its trained weights."""
        if self._reads_inputs:
            return self._network.trained_weights(network)
        flat = super().take_weights(network)
        # What comes before the trained layers stays as it is.
        self._native = self._read(self._network.values(self._inputs, self._chain.buffer))
        return flat

    def square_sum(self, flat: Array) -> float:
        """Return the sum of the squared residuals."""
        return self._native.error(flat)

    def normal_equations(self, flat: Array) -> tuple[Array, Array]:
        """Return ``J.T J``, whose lower triangle is undefined, and ``J.T r``."""
        return self._native.normal_equations(flat)

    def jacobian(self, flat: Array) -> tuple[Array, Array]:
        """Return the transposed Jacobian (weights, residuals), and the residuals."""
        return self._native.jacobian(flat)


def residuals_of(program: Program, title: str, inputs: list[Array], targets: Array, scale: Array) -> Residuals:
    """Return the residuals of a network; ``title`` is the method that needs them, which errors name."""
    network = ResidualNetwork(program, title)
    chain = network.chain()
    if chain is None:
        return Residuals(network, inputs, targets, scale)
    return ChainResiduals(network, chain, inputs, targets, scale)
