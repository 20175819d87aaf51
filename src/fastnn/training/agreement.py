"""What the ranks that train together have in common: checked when a fit begins and after every epoch."""

import struct
import zlib
from collections.abc import Iterable

import numpy as np

import fastnn._ranks as _ranks
from fastnn.network.stack import LayerStack
from fastnn.training.rows import Rows

_ROWS_CHECKED = 64
"""Rows whose numbers are compared; reading all of them would cost an epoch."""


class Agreement:
    """Ranks that train one model, or this process alone.

    Parameters
    ----------
    model : the model.
    ranks : the ranks, or None.
    """

    def __init__(self, model: LayerStack, ranks: _ranks.Ranks | None) -> None:
        self._model = model
        self._ranks = ranks

    def begin(self, rows: Rows, numbers: Iterable[int]) -> None:
        """Check that all ranks begin the same fit: ``rows``, the weights, and the options in ``numbers``.

        Raises
        ------
        RuntimeError
            They do not; the message says what differs.
        """
        if self._ranks is None:
            return
        self._check("rows", _sum_of_rows(rows))
        self._check("weights", self._model.network.weights_checksum())
        options = [*numbers, self._model.seed, self._model.epochs_begun, self._model.network.iterations]
        self._check("arguments of fit, or seeds", zlib.crc32(repr(options).encode()))

    def after_steps(self, epoch: int) -> None:
        """Check that all ranks have the same weights after the steps of an epoch."""
        if self._ranks is not None:
            self._check(f"weights after epoch {epoch + 1}", self._model.network.weights_checksum())

    def after_callbacks(self) -> None:
        """Check what callbacks may have changed; all ranks stop where a callback of one has asked for it."""
        if self._ranks is None:
            return
        rate = np.float64(self._model.optimizer.learning_rate).tobytes()
        self._check("learning rates, which a callback has set", zlib.crc32(rate))
        if self.decide(bool(self._model.stop_training)):
            self._model.stop_training = True

    def decide(self, found: bool) -> bool:
        """Return whether any rank has found something; check that callbacks have set weights on all ranks or none."""
        if self._ranks is None:
            return found
        told = self._ranks.tell("fit: a decision", struct.pack("<?Q", found, self._model.network_weights.version))
        if len({version[1:] for version in told}) > 1:
            raise RuntimeError("the ranks have different weights: a callback has set them on some ranks only")
        return any(value[0] for value in told)

    def _check(self, what: str, value: int) -> None:
        """Raise RuntimeError where a number differs between ranks."""
        assert self._ranks is not None
        told = self._ranks.tell(f"fit: {what}", struct.pack("<Q", value))
        others = [number for number, each in enumerate(told) if each != told[0]]
        if others:
            raise RuntimeError(
                f"the ranks have different {what}: rank {others[0]} differs from rank 0. Every rank must run the same "
                "script on the same data with the same versions"
            )


def agreement(model: LayerStack) -> Agreement:
    """Return the agreement of the current ranks about a model."""
    return Agreement(model, _ranks.current())


def _sum_of_rows(rows: Rows) -> int:
    """Return a checksum of the shapes, the types and some rows of all arrays."""
    total = 0
    for array in rows.arrays():
        if array is not None:
            chosen = np.unique(np.linspace(0, len(array) - 1, _ROWS_CHECKED).astype(np.int64))
            total = zlib.crc32(repr((array.shape, array.dtype.str)).encode(), total)
            total = zlib.crc32(np.ascontiguousarray(array[chosen]).data, total)
    return total
