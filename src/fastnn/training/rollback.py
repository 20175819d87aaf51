"""Going back to the last finite weights after a divergence.

Design: a) a step whose loss is not finite changes nothing, so usually the weights are still finite and nothing has to
be done; b) otherwise an earlier step, whose own loss was finite, made them infinite. Training is deterministic, so the
weights before that step are found by going back to a copy and repeating the steps since; c) copying may take at most
1 % of the time.
"""

import time
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.network.weights import NetworkCopy, NetworkWeights

_COPY_SHARE = 0.01


class EpochStart(NamedTuple):
    """How to begin an epoch of a fit, or several that follow one another.

    Parameters
    ----------
    seed, number, shuffle, learning_rates : as in ``Fit.begin_epoch``.
    factors : values for ``Fit.set_factors`` by name.
    first, last : numbers of the first step, counted from 0, and of the one after the last.
    epochs : number of epochs; several have all steps.
    order : numbers of the rows in the order to take them, or None.
    """

    seed: int
    number: int
    shuffle: bool
    learning_rates: NDArray[np.float64]
    factors: dict[str, NDArray[np.float64]]
    first: int
    last: int
    epochs: int = 1
    order: NDArray[np.int64] | None = None

    def begin(self, fit: _core.Fit) -> None:
        """Begin the epoch, or the first one of several in ``fit.run_epochs``."""
        for name, values in self.factors.items():
            fit.set_factors(name, values)
        if self.epochs > 1:
            fit.begin_epochs(self.seed, self.number, self.epochs, self.shuffle, self.learning_rates)
            return
        fit.begin_epoch(self.seed, self.number, self.shuffle, self.learning_rates, self.order, self.first)

    def each(self) -> "list[EpochStart]":
        """Return the epochs one by one."""
        return [self._replace(number=self.number + k, epochs=1) for k in range(self.epochs)]

    def run(self, fit: _core.Fit, n_steps: int) -> bool:
        """Begin the epoch and run some of its steps; return False if a loss is not finite."""
        self.begin(fit)
        while fit.step < self.first + n_steps:
            if fit.run(self.first + n_steps - fit.step) == "nonfinite":
                return False
        return True


class Rollback:
    """Keeps copies of the weights at the start of some epochs, and finds the last finite weights from a copy.

    Parameters
    ----------
    weights : the network's weights.
    fit : the running fit.
    same_rows : whether every epoch has the same rows; if not, only the current epoch can be repeated.
    decide : returns what all ranks decide from what this one found; clocks differ.
    """

    def __init__(
        self,
        weights: NetworkWeights,
        fit: _core.Fit,
        same_rows: bool,
        decide: Callable[[bool], bool],
    ) -> None:
        self._decide = decide
        self._weights = weights
        self._fit = fit
        self._same_rows = same_rows
        self._copy: NetworkCopy | None = None
        self._version = -1
        self._copied_at = 0.0
        self._copy_seconds = 0.0
        self._epochs: list[EpochStart] = []

    def begin_epoch(self, start: EpochStart) -> None:
        """Copy the weights if a copy is due, then begin an epoch of the fit."""
        now = time.monotonic()
        changed = self._weights.version != self._version or not self._same_rows
        if self._decide(changed or _COPY_SHARE * (now - self._copied_at) > self._copy_seconds):
            # Training cannot be repeated from a copy that is not finite: keep the older one.
            if changed or self._weights.finite():
                self._copy = self._weights.copy_state(self._copy)
                self._version = self._weights.version
                self._epochs.clear()
            self._copied_at = time.monotonic()
            self._copy_seconds = self._copied_at - now
        self._epochs.append(start)
        start.begin(self._fit)

    def recover(self) -> None:
        """Give the network the last finite weights that it had."""
        if self._copy is None or self._weights.finite():
            return
        self._weights.restore_state(self._copy)
        # A callback has set weights during the epoch: the steps since the copy cannot be repeated.
        if self._weights.version != self._version:
            return
        for epoch in chain.from_iterable(start.each() for start in self._epochs):
            start = self._weights.copy_state()
            if epoch.run(self._fit, epoch.last - epoch.first) and self._weights.finite():
                continue
            self._weights.restore_state(start)
            epoch.begin(self._fit)
            finite_steps = 0
            while self._fit.run(1) != "nonfinite" and self._weights.finite():
                finite_steps += 1
            self._weights.restore_state(start)
            epoch.run(self._fit, finite_steps)
            return
