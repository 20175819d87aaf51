"""The loss as a function of one or two directions in the space of weights (Li et al., 2018)."""

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn._arguments import as_verbosity, choice, number, takes_keywords, whole
from fastnn._missing import public_names
from fastnn._progress import ProgressLine
from fastnn.callbacks import Callback, Logs
from fastnn.network.stack import require_stack
from fastnn.network.weights import new_network
from fastnn.training.outputs import Objective
from fastnn.training.rows import Rows, joined, rows_of, take

if TYPE_CHECKING:
    from fastnn.models.sequential import Sequential

__all__ = ["LossLandscape", "WeightRecorder", "loss_landscape"]

Array = NDArray[Any]

DIRECTIONS = ("filter", "random", "trajectory")
_QUIET_SECONDS = 0.5
"""A landscape that takes at most this time shows no progress line."""
_ROWS_AT_A_TIME = 16384
"""Rows that are predicted between two looks for an interrupt."""


class WeightRecorder(Callback):
    """Records the weights at the start of training and after every epoch: the path through the landscape.

    Parameters
    ----------
    every : number of epochs between records.

    Attributes
    ----------
    weights : for each record the arrays of ``model.get_weights()``.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> model = fastnn.Sequential([fastnn.layers.Dense(1)], seed=0)
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> recorder = fastnn.WeightRecorder()
    >>> history = model.fit(np.ones((4, 2)), np.ones(4), epochs=3, verbose=0, callbacks=[recorder])
    >>> len(recorder.weights)
    4
    """

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self.every = whole("every", every, at_least=1)
        self.weights: list[list[Array]] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Record the starting weights; a second ``fit`` continues the path."""
        if not self.weights:
            self.weights.append(self.model.get_weights())

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the weights after an epoch."""
        if (epoch + 1) % self.every == 0:
            self.weights.append(self.model.get_weights())


@dataclass(frozen=True, eq=False)
class LossLandscape:
    """Losses on a line or in a plane through a model's weights.

    Parameters
    ----------
    directions : "filter", "random" or "trajectory".
    alpha : (n,) steps along the first direction.
    beta : (n,) steps along the second direction; None in one dimension.
    loss : (n,) or (n_beta, n_alpha); ``loss[j, i]`` is the loss at ``w + alpha[i] * d1 + beta[j] * d2``.
    centre_loss : loss at the model's own weights, alpha = beta = 0.
    path : (n_records, dimensions) coordinates of the recorded weights; None without a trajectory.
    explained_variance : fraction of the path's variance along each direction; None without a trajectory.
    seconds : duration of the evaluation.
    """

    directions: str
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64] | None
    loss: NDArray[np.float64]
    centre_loss: float
    path: NDArray[np.float64] | None
    explained_variance: NDArray[np.float64] | None
    seconds: float

    def plot(self, ax: Any = None) -> Any:
        """Draw the curve in one dimension, contours and surface in two.

        Parameters
        ----------
        ax : axes to draw into: flat axes for contours or the curve, axes with ``projection="3d"`` for the surface. None
            makes a new figure, which in two dimensions has both.

        Returns
        -------
        The axes; an array of two for contours and surface.
        """
        import fastnn.plotting as plotting

        return plotting.loss_landscape(self, ax=ax)

    def __repr__(self) -> str:
        shape = " x ".join(str(size) for size in self.loss.shape)
        return (
            f"<LossLandscape {shape} points, directions {self.directions!r}, loss {np.nanmin(self.loss):.4g} to "
            f"{np.nanmax(self.loss):.4g}, at the model {self.centre_loss:.4g}>"
        )


@takes_keywords
def loss_landscape(
    model: "Sequential",
    x: Any,
    y: Any,
    span: float = 1.0,
    n: int = 51,
    directions: str = "filter",
    seed: int = 0,
    *,
    dimensions: int = 2,
    trajectory: WeightRecorder | Sequence[Sequence[Array]] | None = None,
    sample_weight: Any = None,
    verbose: Any = "auto",
) -> LossLandscape:
    r"""Evaluate the loss around a model's weights, :math:`L(w + \alpha d_1 + \beta d_2)`.

    The ``directions`` are

    - "filter": normal random numbers, scaled for every unit to the norm of its incoming weights,
      :math:`d_{ij} \leftarrow d_{ij} \lVert w_j \rVert / \lVert d_j \rVert`, so that networks of different scales can
      be compared. Biases and the weights of normalization layers are not changed;
    - "random": the same, but scaled to the norm of the whole kernel;
    - "trajectory": the first principal axes of the differences between the recorded weights and the model's, without
      moving means and variances. The path is drawn as well, and alpha and beta are distances in weight space.

    The penalties of regularizers are not included in the loss. The model is not changed.

    Parameters
    ----------
    model : compiled model with weights.
    x, y, sample_weight : data (n_rows, n_features) and targets, as in ``fit``.
    span : half-width of the line or plane: alpha and beta run from -span to span; with "trajectory" it is in units of
        the path's extent, and the centre is that of the path.
    n : points along each direction, at least 2; with an odd number the model itself is in the middle.
    directions : "filter", "random" or "trajectory".
    seed : key of the random directions.
    dimensions : 1 for a line, 2 for a plane.
    trajectory : ``WeightRecorder`` of the training, or a list of ``get_weights()``; needed for "trajectory".
    verbose : 0: silent; 1 or "auto": a progress line if it takes more than half a second.

    Raises
    ------
    ValueError
        Unknown ``directions``, a trajectory that is missing or does not move, or data that do not match the model.

    References
    ----------
    H. Li, Z. Xu, G. Taylor, C. Studer and T. Goldstein (2018), Visualizing the loss landscape of neural nets,
    Advances in Neural Information Processing Systems 31.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> model = fastnn.Sequential([fastnn.layers.Dense(8, activation="tanh"), fastnn.layers.Dense(1)], seed=0)
    >>> model.compile(optimizer="adam", loss="mse")
    >>> X = np.linspace(-1.0, 1.0, 64).reshape(-1, 1)
    >>> history = model.fit(X, X**2, epochs=5, verbose=0)
    >>> fastnn.loss_landscape(model, X, X**2, n=11).loss.shape
    (11, 11)
    """
    choice("directions", directions, DIRECTIONS)
    choice("dimensions", dimensions, (1, 2))
    span = number("span", span, above=0.0)
    n, seed = whole("n", n, at_least=2), whole("seed", seed, at_least=0)
    verbosity = as_verbosity(verbose)
    require_stack(model)
    model.require_compiled("loss_landscape")
    centre = _flatten(model.get_weights())
    rows, _ = rows_of(model, x, y, sample_weight)
    if trajectory is not None and directions != "trajectory":
        raise ValueError(f"trajectory is for directions='trajectory', got directions={directions!r}")
    path, explained = None, None
    half_width = np.full(dimensions, float(span))
    middle = np.zeros(dimensions)
    if directions == "trajectory":
        vectors, path, explained = _principal_directions(model, centre, trajectory, dimensions)
        extent = np.ptp(path, axis=0)
        middle = path.min(axis=0) + extent / 2
        half_width = span * np.maximum(extent, 1e-3 * extent.max())
    else:
        shapes = [value.shape for value in model.get_weights()]
        generator = np.random.Generator(np.random.Philox(seed))
        vectors = np.stack([_random_direction(centre, shapes, directions, generator) for _ in range(dimensions)])
    axes = [np.linspace(m - h, m + h, n) for m, h in zip(middle, half_width, strict=True)]
    if directions != "trajectory" and n % 2:
        for steps in axes:
            steps[n // 2] = 0.0
    steps = np.stack([grid.ravel() for grid in np.meshgrid(*axes)], axis=1)
    start = time.perf_counter()
    losses = _Evaluation(model, rows, centre, vectors).run(np.vstack([np.zeros(dimensions), steps]), verbosity)
    return LossLandscape(
        directions=directions,
        alpha=axes[0],
        beta=axes[1] if dimensions == 2 else None,
        loss=losses[1:].reshape((n,) * dimensions),
        centre_loss=float(losses[0]),
        path=path,
        explained_variance=explained,
        seconds=time.perf_counter() - start,
    )


class _Evaluation:
    """Losses of a network at many points; every thread has its own network and takes the next points."""

    def __init__(self, model: "Sequential", rows: Rows, centre: NDArray[np.float64], vectors: Array) -> None:
        self._program, self._objective = model.program, Objective(model)
        self._rows = Rows(_converted(rows.X, model.dtype), rows.y, rows.sample_weight)
        self._dtype = model.dtype
        self._centre, self._vectors = centre, vectors
        self._weights: list[tuple[int, str, slice, tuple[int, ...], bool]] = []
        first = 0
        for (op, parameter), spec in zip(self._program.parameters, self._program.parameter_specs, strict=True):
            part = slice(first, first + int(np.prod(spec.shape)))
            self._weights.append((op, parameter, part, spec.shape, bool(vectors[:, part].any())))
            first = part.stop

    def run(self, steps: Array, verbosity: int) -> NDArray[np.float64]:
        """Return the loss at each of ``steps`` (n_points, dimensions)."""
        losses = np.empty(len(steps))
        threads = min(_core.most_own_threads(), len(steps))
        blocks = np.array_split(np.arange(len(steps)), min(len(steps), 8 * threads))
        networks = [self._network() for _ in range(threads)]
        line, start, done = ProgressLine(), time.perf_counter(), 0
        self._ended = False
        with ThreadPoolExecutor(threads) as pool:

            def evaluate(block: Array) -> int:
                network = networks.pop()
                try:
                    losses[block] = [self._loss_at(network, step) for step in steps[block]]
                finally:
                    networks.append(network)
                return len(block)

            try:
                for count in pool.map(evaluate, blocks):
                    done += count
                    if verbosity and line.due() and time.perf_counter() - start > _QUIET_SECONDS:
                        line.show(f"loss landscape: {done:,} of {len(steps):,} points")
            finally:
                self._ended = True  # after an interrupt the threads have points left
        line.end()
        return losses

    def _network(self) -> _core.Network:
        network = new_network(self._program, self._dtype)
        for op, name, part, shape, _ in self._weights:
            network.set_parameter(op, name, self._centre[part].reshape(shape))
        return network

    def _loss_at(self, network: _core.Network, step: Array) -> float:
        point = (self._centre + step @ self._vectors).astype(self._dtype)
        for op, name, part, shape, moves in self._weights:
            if moves:
                network.set_parameter(op, name, point[part].reshape(shape))
        outputs = []
        for first in range(0, self._rows.n, _ROWS_AT_A_TIME):
            if self._ended:
                return math.nan
            part = slice(first, first + _ROWS_AT_A_TIME)
            outputs.append(self._objective.predict(network, take(self._rows.X, part), 1))
        return self._objective.values(self._rows.y, joined(outputs), self._rows.sample_weight)[0]


def _converted(X: Any, dtype: np.dtype[Any]) -> Any:
    """Return inputs in the network's type; integers stay what they are."""
    if isinstance(X, list):
        return [_converted(each, dtype) for each in X]
    return np.ascontiguousarray(X, dtype=dtype if X.dtype.kind == "f" else X.dtype)


def _flatten(weights: Sequence[Array]) -> NDArray[np.float64]:
    return np.concatenate([np.asarray(value, dtype=np.float64).ravel() for value in weights])


def _random_direction(
    centre: NDArray[np.float64], shapes: Sequence[tuple[int, ...]], kind: str, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return a direction (n_weights,), scaled to the kernels' norms and 0 for biases and normalization weights."""
    parts, first = [], 0
    for shape in shapes:
        last = first + int(np.prod(shape))
        direction = np.zeros(shape)
        if len(shape) == 2:
            kernel = centre[first:last].reshape(shape)
            direction = generator.standard_normal(shape)
            # A unit's filter is a column of the kernel (n_in, units).
            axis = 0 if kind == "filter" else None
            direction *= np.linalg.norm(kernel, axis=axis) / np.linalg.norm(direction, axis=axis)
        parts.append(direction.ravel())
        first = last
    return np.concatenate(parts)


def _principal_directions(
    model: "Sequential", centre: NDArray[np.float64], trajectory: Any, dimensions: int
) -> tuple[Array, Array, Array]:
    """Return orthonormal directions (dimensions, n_weights), the path's coordinates, and its explained variance.

    The differences are to the model's weights, not to the mean of the records (Li et al., 2018, section 7.2).
    """
    if trajectory is None:
        raise ValueError(
            "directions='trajectory' needs the weights that training visited: fit with "
            "callbacks=[recorder := fastnn.WeightRecorder()] and pass trajectory=recorder"
        )
    records = trajectory.weights if isinstance(trajectory, WeightRecorder) else list(trajectory)
    expected = [value.shape for value in model.get_weights()]
    for place, record in enumerate(records):
        if [np.shape(value) for value in record] != expected:
            raise ValueError(f"record {place} of trajectory does not have the shapes of model.get_weights()")
    if len(records) <= dimensions:
        raise ValueError(f"trajectory must hold more than {dimensions} records, got {len(records)}")
    differences = np.stack([_flatten(record) for record in records]) - centre
    # Moving means and variances follow the data, and a variance must not become negative.
    specs = model.program.parameter_specs
    differences[:, ~np.concatenate([np.full(int(np.prod(spec.shape)), spec.trainable) for spec in specs])] = 0.0
    _, singular, axes = np.linalg.svd(differences, full_matrices=False)
    if not singular[0] > 0.0:
        raise ValueError("all records of trajectory equal the model's weights: there is no path to draw")
    vectors = axes[:dimensions]
    return vectors, differences @ vectors.T, singular[:dimensions] ** 2 / np.sum(singular**2)


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
