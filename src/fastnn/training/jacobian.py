"""The Jacobian of a network's outputs with respect to its weights, by blocks of rows, in float64."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.layers.normalization import deviation_of
from fastnn.network.program import Program
from fastnn.network.weights import new_network

Array = NDArray[np.float64]

_ELEMENTS = 1 << 17
"""Elements of the Jacobian in a block: they stay in the second-level cache."""
_COLUMNS = 64
"""Columns of ``J.T J`` that are computed together."""
_ROW_ACTIVATIONS = ("softmax", "log_softmax")
_SUPPORTED = (
    "Dense, NTPDense, Activation, Concatenate, Add, Subtract, Average, Normalization, Rescaling, slices and products "
    "with numbers"
)


class Place(NamedTuple):
    """Where a weight stands: op and name in the core, and its slice of the flat weights."""

    op: int
    name: str
    shape: tuple[int, ...]
    flat: slice


class Chain(NamedTuple):
    """Dense layers, each of which reads the one before.

    Parameters
    ----------
    buffer : what the first one reads.
    layers : of each its outputs, whether it has a bias, its activation and the activation's parameters.
    """

    buffer: int
    layers: list[tuple[int, bool, str, Sequence[float]]]


def product(a: Array, b: Array) -> Array:
    """Return ``a @ b`` with the bits of the core."""
    return _core.dense_forward(a, np.ascontiguousarray(b), None, "linear", None)


def dot(a: Array, b: Array) -> float:
    """Return the scalar product of two vectors with the bits of the core."""
    return float(product(a.reshape(1, -1), b.reshape(-1, 1))[0, 0])


def _has_derivative(kind: str, options: dict[str, Any]) -> bool:
    """Return whether the derivative of an op is known here."""
    if kind in ("multiply", "divide"):
        return "number" in options and not (kind == "divide" and options["number_first"])
    if kind == "normalization":
        return options["missing"] is None
    return kind in ("dense", "activation", "concatenate", "add", "subtract", "average", "slice")


def name_of_option(option: str) -> str:
    """Return what messages call an option of an op that says how a weight is trained."""
    factors = "learning_rate_factors or weight_decay_factors"
    return factors if option.endswith("_factors") else option.replace("_", " ")


class ResidualNetwork:
    """A float64 copy of a network, and the Jacobian of weighted residuals.

    Parameters
    ----------
    program : of the network.
    title : the method that needs the Jacobian; named in errors.

    Raises
    ------
    ValueError
        An op whose derivative is not known here stands after trained weights, or is random; or a trained weight has a
        regularizer or constraint.
    """

    def __init__(self, program: Program, title: str) -> None:
        self._program, self._title = program, title
        self._n_inputs = len(program.input_widths)
        self.places: list[Place] = []
        start = 0
        for spec, (op, name) in program.trained:
            self.places.append(Place(op, name, spec.shape, slice(start, start + math.prod(spec.shape))))
            start = self.places[-1].flat.stop
        if not self.places:
            raise ValueError(f"{title} has nothing to train: all layers are frozen")
        self.n_weights = start
        self.n_columns = sum(head.n_outputs for head in program.heads)
        self._by_op: dict[tuple[int, str], Place] = {(place.op, place.name): place for place in self.places}
        self._moves = [False] * self._n_inputs
        for number, (kind, options) in enumerate(program.ops):
            self._check(number, kind, options)
        self._space = np.empty(0)

    @cached_property
    def network(self) -> _core.Network:
        """The copy."""
        return new_network(self._program, np.dtype(np.float64), several=True)

    def _check(self, number: int, kind: str, options: dict[str, Any]) -> None:
        """Note whether an op depends on trained weights; raise ValueError if it is not supported."""
        inputs = self._inputs_of(number)
        trained = any(place.op == options.get("weights_of", number) for place in self.places)
        moves = trained or any(self._moves[buffer] for buffer in inputs)
        self._moves.append(moves)
        if kind in ("dropout", "gaussian_noise"):
            raise ValueError(f"{self._title} takes no layer that is random in training: leave Dropout and noise out")
        if "activity_regularizer" in options:
            raise ValueError(f"{self._title} takes no activity regularizer; leave it out, or use optimizer='lbfgs'")
        if not moves:
            return
        if not _has_derivative(kind, options):
            raise ValueError(
                f"{self._title} has no derivative of {kind.replace('_', ' ')} after trained weights; it knows "
                f"{_SUPPORTED}. Use optimizer='lbfgs' or 'adam'"
            )
        if options.get("activation") in _ROW_ACTIVATIONS:
            raise ValueError(f"{self._title} minimizes squared errors and takes no {options['activation']}")
        refused = [option for option in options if option.endswith(("_regularizer", "_constraint", "_factors"))]
        if refused:
            others = "'lbfgs' or 'adam'" if refused[0].endswith("_regularizer") else "'adam'"
            raise ValueError(f"{self._title} takes no {name_of_option(refused[0])}; use optimizer={others}")

    def _inputs_of(self, number: int) -> tuple[int, ...]:
        """Return the buffers that an op reads."""
        given = self._program.ops[number][1].get("inputs")
        return tuple(given) if given is not None else (number + self._n_inputs - 1 if number else 0,)

    def block_rows(self) -> int:
        """Return the number of rows in a block; it depends on the network alone, so that sums keep their order."""
        rows = _ELEMENTS // (self.n_weights * self.n_columns)
        return int(min(max(rows // 16 * 16, 64), 4096))

    def copy_from(self, network: _core.Network) -> Array:
        """Take all weights and states of a network; return the trained weights, flat."""
        every = [(op, name, 0) for op, name in self._program.parameters]
        self.network.set_parameters(every, [np.asarray(network.get_parameter(*place), np.float64) for place in every])
        return self.trained_weights(network)

    def trained_weights(self, network: _core.Network) -> Array:
        """Return the trained weights of a network, flat."""
        parts = [network.get_parameter(place.op, place.name).ravel() for place in self.places]
        return np.concatenate(parts, dtype=np.float64)

    def chain(self) -> Chain | None:
        """Return the ops that depend on trained weights, if they are dense layers in a row, all trained."""
        first, at = self._moves.index(True) - self._n_inputs, 0
        layers: list[tuple[int, bool, str, Sequence[float]]] = []
        for number, (kind, options) in enumerate(self._program.ops[first:], first):
            follows = number == first or self._inputs_of(number) == (number + self._n_inputs - 1,)
            if kind != "dense" or "weights_of" in options or not follows:
                return None
            use_bias = options.get("use_bias", True)
            for name in ("kernel", "bias")[: 1 + use_bias]:
                place = self._by_op.get((number, name))
                if place is None or place.flat.start != at:
                    return None
                at = place.flat.stop
            activation = options.get("activation", "linear")
            layers.append((options["n_out"], use_bias, activation, options.get("parameters", ())))
        if self._program.outputs != [len(self._moves) - 1]:
            return None
        return Chain(self._inputs_of(first)[0], layers)

    def values(self, inputs: Sequence[Array], buffer: int) -> Array:
        """Return one buffer of some rows."""
        found: list[Array] = self.network.predict(list(inputs), buffers=[buffer])
        return found[0]

    def set_weights(self, flat: Array) -> None:
        """Set the trained weights."""
        places = [(place.op, place.name, 0) for place in self.places]
        self.network.set_parameters(places, [flat[place.flat].reshape(place.shape) for place in self.places])

    def outputs(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs (n, columns) of some rows."""
        found = self.network.predict(list(inputs))
        return found if isinstance(found, list) else [found]

    def add_normal_equations(
        self, inputs: Sequence[Array], residuals: Array, scale: Array, normal: Array, gradient: Array
    ) -> None:
        """Add ``J.T J`` of some rows to the lower triangle of ``normal``, and ``J.T r`` to ``gradient``.

        Parameters
        ----------
        inputs : of the network, float64.
        residuals : (columns, n) r, scaled.
        scale : (columns, n) factors of the residuals.
        """
        J = self.jacobian(inputs, scale)
        gradient += product(J, residuals.reshape(-1, 1))[:, 0]
        for first in range(0, self.n_weights, _COLUMNS):
            last = min(first + _COLUMNS, self.n_weights)
            normal[first:, first:last] += product(J[first:], J[first:last].T)

    def jacobian(self, inputs: Sequence[Array], scale: Array) -> Array:
        """Return the transposed Jacobian (weights, columns * n) of the scaled outputs; the next call writes over it."""
        buffers = self.network.predict(list(inputs), buffers=list(range(self._n_inputs, len(self._moves))))
        values: list[Any] = [*inputs, *buffers]
        m, n = scale.shape
        if self._space.size < self.n_weights * m * n:
            self._space = np.empty(self.n_weights * m * n)
        J = self._space[: self.n_weights * m * n].reshape(self.n_weights, m * n)
        written: set[tuple[int, str]] = set()
        slopes: dict[int, Array] = {}
        first = 0
        for buffer, head in zip(self._program.outputs, self._program.heads, strict=True):
            seed = np.zeros((head.n_outputs, m, n))
            for column in range(head.n_outputs):
                seed[column, first + column] = scale[first + column]
            first += head.n_outputs
            _add(slopes, buffer, seed)
        for number in reversed(range(len(self._program.ops))):
            slope = slopes.pop(number + self._n_inputs, None)
            if slope is not None and self._moves[number + self._n_inputs]:
                self._backward(number, values, slope, slopes, J, written)
        for place in self.places:
            if (place.op, place.name) not in written:
                J[place.flat] = 0.0
        return J

    def _backward(
        self,
        number: int,
        values: list[Array],
        slope: Array,
        slopes: dict[int, Array],
        J: Array,
        written: set[tuple[int, str]],
    ) -> None:
        """Take the derivatives with respect to an op's output to its weights and its inputs."""
        kind, options = self._program.ops[number]
        inputs = self._inputs_of(number)
        if kind == "dense":
            self._dense_backward(number, values[inputs[0]], slope, slopes, J, written)
        elif kind == "activation":
            _add(slopes, inputs[0], _through(options, values[inputs[0]], slope))
        elif kind == "concatenate":
            first = 0
            for buffer in inputs:
                width = values[buffer].shape[1]
                _add(slopes, buffer, np.ascontiguousarray(slope[first : first + width]))
                first += width
        elif kind == "slice":
            whole = np.zeros((values[inputs[0]].shape[1], *slope.shape[1:]))
            whole[options["start"] : options["stop"] : options["step"]] = slope
            _add(slopes, inputs[0], whole)
        elif kind in ("multiply", "divide", "normalization"):
            _add(slopes, inputs[0], slope * self._factors(number)[:, None, None])
        else:
            if kind == "average":
                slope = slope / len(inputs)
            for place, buffer in enumerate(inputs):
                part = slope
                if values[buffer].shape[1] == 1 and slope.shape[0] > 1:
                    part = slope.sum(axis=0, keepdims=True)
                negative = kind == "subtract" and (place == 1 or options.get("number_first", False))
                _add(slopes, buffer, -part if negative else part)

    def _factors(self, number: int) -> Array:
        """Return what an op multiplies its inputs by: one factor for all columns, or one for each."""
        kind, options = self._program.ops[number]
        if kind != "normalization":
            return np.array([options["number"] if kind == "multiply" else 1.0 / options["number"]])
        variance = options.get("variance")
        if variance is None:
            variance = self.network.get_parameter(options.get("weights_of", number), "variance")
        deviation = deviation_of(variance)
        return deviation if options["invert"] else 1.0 / deviation

    def _dense_backward(
        self,
        number: int,
        x: Array,
        slope: Array,
        slopes: dict[int, Array],
        J: Array,
        written: set[tuple[int, str]],
    ) -> None:
        options = self._program.ops[number][1]
        first = options.get("weights_of", number)
        kernel = self.network.get_parameter(first, "kernel")
        bias = self.network.get_parameter(first, "bias") if options.get("use_bias", True) else None
        width, m, n = slope.shape
        if options.get("activation", "linear") != "linear":
            slope = _through(options, _core.dense_forward(x, kernel, bias, "linear", None), slope)
        rows = np.ascontiguousarray(x.T)[:, None, None, :]
        for name in ("kernel", "bias"):
            place = self._by_op.get((first, name))
            if place is None:
                continue
            target = J[place.flat].reshape(*place.shape, m, n)
            if (first, name) in written:
                target += rows * slope if name == "kernel" else slope
            elif name == "kernel":
                np.multiply(rows, slope, out=target)
            else:
                target[...] = slope
            written.add((first, name))
        buffer = self._inputs_of(number)[0]
        if self._moves[buffer]:
            _add(slopes, buffer, product(kernel, slope.reshape(width, m * n)).reshape(-1, m, n))


def _through(options: dict[str, Any], z: Array, slope: Array) -> Array:
    """Return the derivatives with respect to the input z (n, width) of an activation."""
    name = options["activation"]
    if name == "linear":
        return slope
    spread = np.ascontiguousarray(np.broadcast_to(np.ascontiguousarray(z.T)[:, None, :], slope.shape))
    return _core.activation_gradient(name, spread, np.ascontiguousarray(slope), options.get("parameters", ()))


def _add(slopes: dict[int, Array], buffer: int, slope: Array) -> None:
    """Add derivatives to those that a buffer has."""
    slopes[buffer] = slopes[buffer] + slope if buffer in slopes else slope
