"""A stack of layers, trained by mini-batch steps in plain NumPy with penalties, clipping, averages and constraints."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.reference.arguments import Array, complete_options, require_known
from fastnn.reference.layers import Layer, Place
from fastnn.reference.losses import loss_and_gradient
from fastnn.reference.training_rules import (
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    moving_average,
    penalty_and_gradient,
)
from fastnn.reference.update_rules import OPTIMIZERS, weight_decay


class LayerNetwork:
    """Layers, a loss and an update rule.

    A step has Keras's order: gradients with penalties, mean over accumulated steps, clipping, weight decay, update,
    moving average, constraints.

    Parameters
    ----------
    layers : layers with their starting weights.
    loss : a key of `LOSSES`, or a function of (targets, outputs) that returns loss and gradient.
    optimizer : a key of `OPTIMIZERS`.
    learning_rate : number, or function of the number of earlier updates.
    loss_options, optimizer_options : options of `loss_and_gradient` and of the rule in `OPTIMIZERS`.
    seed : seed of dropout and noise.
    clip : ("clipnorm" | "clipvalue" | "global_clipnorm", bound), or None.
    average : momentum of the weights' moving average and the number of updates between replacements of the weights by
        it (0: none), or None.
    accumulate : number of steps whose mean gradient makes an update.

    Examples
    --------
    >>> from fastnn.reference.layers import Dense
    >>> network = LayerNetwork([Dense([[0.0]], [0.0])], "mean_squared_error", "sgd", 0.1)
    >>> network.step([[1.0]], [[1.0]], (0, 1, 0))
    1.0
    >>> [w.tolist() for w in network.weights]
    [[[0.2]], [0.2]]
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        loss: str | Callable[[Array, Array], tuple[float, Array]],
        optimizer: str,
        learning_rate: float | Callable[[int], float],
        *,
        loss_options: Mapping[str, Any] | None = None,
        optimizer_options: Mapping[str, float] | None = None,
        seed: int = 0,
        clip: tuple[str, float] | None = None,
        average: tuple[float, int] | None = None,
        accumulate: int = 1,
    ) -> None:
        self.layers = list(layers)
        self._parts = [part for layer in layers for part in layer.parts()]
        self._loss, self._loss_options = loss, dict(loss_options or {})
        require_known("optimizer", optimizer, OPTIMIZERS)
        self._rule = OPTIMIZERS[optimizer]
        self._options = complete_options(f"optimizer {optimizer!r}", optimizer_options or {}, self._rule.options)
        self._decay = self._options.pop("weight_decay")
        self._learning_rate, self._seed = learning_rate, seed
        self._clip, self._average, self._accumulate = clip, average, accumulate
        self._slots = [[np.zeros_like(w) for _ in range(self._rule.n_slots)] for w in self._trained()]
        self._averages = [np.zeros_like(w) for w in self._trained()]
        self._sums = [np.zeros_like(w) for w in self._trained()]
        self.steps = 0

    def _trained(self) -> list[Array]:
        return [w for part in self._parts for w in part.weights[: part.n_trained]]

    @property
    def weights(self) -> list[Array]:
        """Copies of all weights, layer by layer."""
        return [w.copy() for part in self._parts for w in part.weights]

    def predict(self, X: Any) -> Array:
        """Return the outputs (n, n_out) of inputs (n, n_in)."""
        return self._forward(np.asarray(X, np.float64), None)

    def _forward(self, x: Array, at: Place | None) -> Array:
        self._penalty = 0.0
        for layer in self.layers:
            x = layer.forward(x, at)
            if any(layer.activity):
                value, layer_gradient = penalty_and_gradient(x, *layer.activity)
                self._penalty += value / len(x)
                self._activity_gradients[id(layer)] = layer_gradient / len(x)
        return x

    def step(self, X: Any, y: Any, at: Place, sample_weight: Any = None) -> float:
        """Train on one batch and return its loss, with the penalties, before the update.

        Parameters
        ----------
        X : (n, n_in).
        y : (n, n_out), or labels (n,).
        at : seed, number of the epoch from 1, and of its step from 0, for the random numbers.
        sample_weight : (n,) factors of the row losses.
        """
        self._activity_gradients: dict[int, Array] = {}
        out = self._forward(np.asarray(X, np.float64), at)
        if callable(self._loss):
            value, grad = self._loss(y, out)
        else:
            value, grad = loss_and_gradient(self._loss, y, out, sample_weight, **self._loss_options)
        value += self._penalty
        for layer in reversed(self.layers):
            if id(layer) in self._activity_gradients:
                grad = grad + self._activity_gradients[id(layer)]
            grad = layer.backward(grad)
        gradients = []
        for part in self._parts:
            trained = part.weights[: part.n_trained]
            for w, g, factors in zip(trained, part.gradients[: part.n_trained], part.penalties, strict=True):
                penalty, slope = penalty_and_gradient(w, *factors)
                value += penalty
                gradients.append(g + slope)
        self.steps += 1
        self._update(gradients)
        return float(value)

    def _update(self, gradients: list[Array]) -> None:
        if self._accumulate > 1:
            for total, g in zip(self._sums, gradients, strict=True):
                total += g
            if self.steps % self._accumulate:
                return
            gradients = [total / self._accumulate for total in self._sums]
            for total in self._sums:
                total[...] = 0.0
        updates = self.steps // self._accumulate
        if self._clip is not None:
            kinds = {"clipvalue": clip_by_value, "clipnorm": clip_by_norm, "global_clipnorm": clip_by_global_norm}
            gradients = kinds[self._clip[0]](gradients, self._clip[1])
        rate = self._learning_rate(updates - 1) if callable(self._learning_rate) else self._learning_rate
        for w, g, slots, average in zip(self._trained(), gradients, self._slots, self._averages, strict=True):
            if self._decay:
                weight_decay(w, rate, self._decay)
            self._rule.apply(w, g, slots, updates, rate, self._options)
            if self._average is not None:
                momentum, overwrite = self._average
                moving_average(average, w, updates, momentum)
                if overwrite and updates % overwrite == 0:
                    w[...] = average
        for part in self._parts:
            for w, rule in zip(part.weights, part.constraints, strict=False):
                if rule is not None:
                    w[...] = rule(w)

    def fit(self, X: Any, y: Any, batch_size: int, epochs: int, sample_weight: Any = None) -> list[float]:
        """Train on the rows in order and return the mean loss of each epoch."""
        X, y = np.asarray(X, np.float64), np.asarray(y)
        history = []
        for epoch in range(1, epochs + 1):
            total = 0.0
            for step, start in enumerate(range(0, len(X), batch_size)):
                rows = slice(start, start + batch_size)
                weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
                total += self.step(X[rows], y[rows], (self._seed, epoch, step), weight) * len(X[rows])
            history.append(total / len(X))
        if self._average is not None:
            for w, average in zip(self._trained(), self._averages, strict=True):
                w[...] = average
        return history
