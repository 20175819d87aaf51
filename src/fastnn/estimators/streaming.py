"""Estimators on ``fastnn.data`` sources: inputs are read block by block, targets and weights are in memory."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn._arrays import as_features, is_source
from fastnn.data.source import Source
from fastnn.estimators.network import FittedNetwork
from fastnn.estimators.preprocessing import InputPreparation
from fastnn.training.rows import Rows
from fastnn.training.windows import Window, Windows

Array = NDArray[Any]

_ROWS_PER_CALL = 4096


def targets_of_source(
    estimator: Any, X: Source, y: Any, sample_weight: Any, validation_data: Any
) -> tuple[Array | None, Array | None]:
    """Return the targets and the sample weights of a source for a fit of an estimator.

    Raises
    ------
    ValueError
        The estimator's arguments, or those of its fit, need all rows in memory.
    """
    X.check_single("X", type(estimator).__name__)
    if y is not None or sample_weight is not None:
        what = "y" if y is not None else "sample_weight"
        raise ValueError(f"X is a source: give {what} to fastnn.data.source, not to this call")
    if not X.has_targets:
        raise ValueError("X is a source without targets: give it y= or target=")
    if estimator.solver == "lbfgs":
        raise ValueError("solver='lbfgs' needs all rows in memory: use 'adam' or 'sgd' with a source")
    if estimator.early_stopping and validation_data is None:
        raise ValueError("early_stopping=True with a source needs validation_data, such as X.rows(begin, end)")
    y, sample_weight = X.read_targets()
    if sample_weight is not None and estimator.shuffle and estimator.loss == "poisson":
        raise ValueError("loss='poisson' takes a source with sample weights only with shuffle=False")
    return y, sample_weight


def scored_targets(X: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Return the targets and sample weights of a score to which no targets are given: those of a source.

    Raises
    ------
    ValueError
        X is not a source with targets, or weights are given in addition.
    """
    if not is_source(X):
        raise ValueError("y is missing (None): score compares predictions with targets")
    if sample_weight is not None:
        raise ValueError("X is a source: give sample_weight to fastnn.data.source, not to this call")
    if not X.has_targets:
        raise ValueError("X is a source without targets: give it y= or target=")
    found: tuple[Any, Any] = X.read_targets()
    return found


class PreparedRows:
    """Reads rows of a source as the network takes them.

    Parameters
    ----------
    source : the source.
    preparation : fills missing values and standardizes, or None.
    missing : the estimator's argument: what missing values mean.
    dtype : the network's.
    y, weights : targets and sample weights of all rows, or None.
    """

    def __init__(
        self,
        source: Source,
        preparation: InputPreparation | None,
        missing: str,
        dtype: np.dtype[Any],
        y: Array | None,
        weights: Array | None,
    ) -> None:
        self.source = source
        self._preparation, self._missing, self._dtype = preparation, missing, dtype
        self._y, self._weights = y, weights

    def dtype_of(self, array: Array) -> np.dtype[Any]:
        """Return the type in which inputs are kept."""
        return self._dtype

    def read(self, begin: int, end: int, out: Array | None = None) -> tuple[Rows, None]:
        """Return rows ``begin`` to ``end - 1``; inputs of the type and shape of ``out`` are read into it.

        Raises
        ------
        ValueError
            A value is not finite; the message has its row in all rows, and its file.
        """
        x = self.source.read_inputs(begin, end, out)
        try:
            X = as_features(x, self.source.shape[1], self._dtype, "X", allow_missing=self._missing != "error")
        except ValueError as error:
            raise ValueError(self.source.in_all_rows(str(error), begin)) from None
        if self._preparation is not None:
            X = self._preparation.transform(X)
        rows = slice(begin, end)
        y, weights = (None if each is None else each[rows] for each in (self._y, self._weights))
        return Rows(X, y, weights), None


class SourceFit:
    """A fit of the core over the windows of a source, with the methods that an epoch needs.

    Parameters
    ----------
    network : the core's network.
    rows : reads the rows, with their targets.
    batch_size, n_threads : as in the core's ``Fit``.
    seed : of the orders of blocks and rows; None to keep them.
    """

    def __init__(
        self, network: _core.Network, rows: PreparedRows, batch_size: int, n_threads: int, seed: int | None
    ) -> None:
        self._network, self._batch_size, self._n_threads, self._seed = network, batch_size, n_threads, seed
        self._windows = Windows(rows, batch_size)
        self._pass: Iterator[Window] = iter(())
        self._fit: _core.Fit | None = None
        self.n_steps = self._windows.n_batches

    def close(self) -> None:
        """End the threads that read."""
        self._windows.close()

    def begin_epoch(
        self, seed: int, epoch: int, shuffle: bool, learning_rates: NDArray[np.float64], order: None = None
    ) -> None:
        """Begin an epoch as ``Fit.begin_epoch`` does, in an order of its own."""
        self._drawn, self._rates, self._number = seed, learning_rates, epoch
        shuffles = self._seed is not None
        self._pass = self._windows.one_pass(self._seed or 0, epoch, shuffles, another=False)
        self.step, self._sums, self._first, self._end = 0, (0.0, 0.0), 0, 0
        self._fit = None

    @property
    def loss_sum(self) -> float:
        """Sum of the losses of the epoch's rows so far."""
        return self._sums[0] + (0.0 if self._fit is None else self._fit.loss_sum)

    @property
    def penalty_sum(self) -> float:
        """Sum of the penalties, of a step's for each of its rows so far."""
        return self._sums[1] + (0.0 if self._fit is None else self._fit.penalty_sum)

    def run(self, max_steps: int = -1, max_seconds: float = 0.05) -> str:
        """Run steps of one window as ``Fit.run`` does."""
        if self.step == self._end:
            self._next_window()
        assert self._fit is not None
        most = self._end - self.step
        status = self._fit.run(most if max_steps < 0 else min(max_steps, most), max_seconds)
        self.step = self._first + self._fit.step
        if status == "nonfinite":
            return status
        return "finished" if self.step == self.n_steps else "more"

    def _next_window(self) -> None:
        """Make the core's fit of the next window."""
        self._sums = (self.loss_sum, self.penalty_sum)
        self._fit = None
        window = next(self._pass)
        rows = window.rows
        fit = _core.Fit(self._network, rows.X, rows.y, rows.sample_weight, self._batch_size, self._n_threads)
        rates = np.zeros(fit.n_steps)
        rates[: window.n_batches] = self._rates[self.step : self.step + window.n_batches]
        fit.begin_epoch(self._drawn, self._number, False, rates, window.order)
        self._number += 1
        self._fit, self._first, self._end = fit, self.step, self.step + window.n_batches


def outputs_of_source(network: FittedNetwork, rows: PreparedRows, n_threads: int) -> Array:
    """Return the outputs (n, n_outputs) of a network for the rows of a source."""
    windows = Windows(rows, _ROWS_PER_CALL)
    outputs = []
    try:
        with closing(windows.one_pass()) as found:
            for window in found:
                taken = min(window.rows.n, window.n_batches * _ROWS_PER_CALL)
                outputs.append(network.predict(window.rows.X[:taken], n_threads))
    finally:
        windows.close()
    return np.concatenate(outputs)
