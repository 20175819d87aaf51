"""Bags of networks: their rows, training within a time limit, and outputs for the rows that a network did not see."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn._warnings import warn
from fastnn.models import Model
from fastnn.tabular.columns import TableEncoder
from fastnn.tabular.recipes import Task
from fastnn.tabular.scores import Score
from fastnn.tabular.training import Data, Trained, outputs_of, train_member
from fastnn.training.workers import as_threads, run_many

Array = NDArray[Any]
Pair = tuple[Array, Array | None]
"""The training rows of a network, and its held-out rows; None where all rows are needed for training."""


_SHARE_OF_TIME = 0.95
"""Part of the time for training; the rest is for scores and calibration."""
_SHARE_OF_EPOCHS_TRIED = 1 / 16
"""Part of the epochs after which one of two tasks is chosen."""
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of linear models that are tried."""


@dataclass(frozen=True)
class Bag:
    """Trained networks of one task.

    Parameters
    ----------
    task : what they predict.
    models : the networks.
    best_epochs : the epoch of each network's weights, counted from 0.
    held_out : the rows that each network did not see; None where it saw all.
    out_of_fold : (n, n_outputs), the mean outputs of the networks that did not see the row; NaN where all did.
    linear : linear models of the same rows, one for each network, or None.
    share : weight of the linear models in the outputs.
    """

    task: Task
    models: list[Model]
    best_epochs: list[int]
    held_out: list[Array | None]
    out_of_fold: Array
    linear: "Bag | None" = None
    share: float = 0.0

    @property
    def seen(self) -> Array:
        """Whether a row (n,) has out-of-fold outputs."""
        found: Array = np.isfinite(self.out_of_fold[:, 0])
        return found

    @property
    def saw(self) -> Array:
        """Whether a network was trained on a row, (n_networks, n)."""
        found = np.ones((len(self.models), len(self.out_of_fold)), bool)
        for network, rows in enumerate(self.held_out):
            if rows is not None:
                found[network, rows] = False
        return found

    def outputs(self, encoded: Array) -> Array:
        """Return the outputs (n_networks, n, n_outputs) of all networks, each averaged with its linear model."""
        return np.stack(list(self.each(encoded)))

    def each(self, encoded: Array) -> Iterator[Array]:
        """Yield the outputs (n, n_outputs) of one network after the other."""
        linear = None if self.linear is None else self.linear.each(encoded)
        for model in self.models:
            own = outputs_of(model, self.task, encoded)
            yield own if linear is None else _mixed(own, next(linear), self.share)

    def mean(self, encoded: Array) -> Array:
        """Return the mean of ``outputs`` in float64, in the memory of few networks."""
        each = self.each(encoded)
        total = next(each).astype(np.float64)
        for outputs in each:
            total += outputs
        total /= len(self.models)
        return total

    def with_linear(self, linear: "Bag", data: Data, score: Score) -> "Bag":
        """Return a bag that averages with linear models; the share has the best out-of-fold score, 0 leaves them out.

        Parameters
        ----------
        linear : models of the same rows.
        data : the rows.
        score : less is better; of equal scores the smaller share counts.
        """
        seen = self.seen
        rows = data.part(seen)
        both = self.out_of_fold[seen], linear.out_of_fold[seen]
        scores = [score(rows.y, _mixed(*both, share), rows.weight) for share in SHARES]
        share = SHARES[int(np.argmin(scores))]
        if not share:
            return self
        return replace(
            self, linear=linear, share=share, out_of_fold=_mixed(self.out_of_fold, linear.out_of_fold, share)
        )


def _mixed(own: Array, linear: Array, share: float) -> Array:
    mixed: Array = (1.0 - share) * own + share * linear
    return mixed


@dataclass(frozen=True)
class Limit:
    """The time that training may take.

    Parameters
    ----------
    seconds : of the whole fit; None for no limit.
    end : time of ``time.monotonic()`` at which training must end.
    """

    seconds: float | None
    end: float

    def ends(self, n_tasks: int, threads: int) -> list[float | None]:
        """Return when each network must end; None without a limit.

        Parameters
        ----------
        n_tasks, threads : number of networks, and of those that are trained at the same time.
        """
        if self.seconds is None:
            return [None] * n_tasks
        now, waves = time.monotonic(), -(-n_tasks // threads)
        wave = max(_SHARE_OF_TIME * (self.end - now), 0.0) / waves
        return [now + (i // threads + 1) * wave for i in range(n_tasks)]


NO_LIMIT = Limit(None, 0.0)


class Rival(NamedTuple):
    """Another task, which takes the place of the first one where its networks are better.

    Parameters
    ----------
    task : the other task.
    is_better : function of held-out rows and of the outputs (n, n_outputs) for them of both tasks, its own the last.
    """

    task: Task
    is_better: Callable[[Data, Array, Array], bool]


@dataclass(frozen=True)
class Trainer:
    """Trains bags on the same rows.

    Where the encoder gives quantiles of numbers, the second half of the networks takes them: few rows do not tell which
    is the better scale.

    Parameters
    ----------
    encoder : of the table.
    data : all rows, encoded, and targets.
    pairs, seeds : rows and seed of each network.
    epochs : most epochs.
    n_threads : networks that are trained at the same time; None is ``fastnn.get_num_threads()``.
    """

    encoder: TableEncoder
    data: Data
    pairs: list[Pair]
    seeds: Array
    epochs: int
    n_threads: int | None

    def train(self, task: Task, score: Score, limit: Limit, rival: Rival | None = None) -> tuple[Bag, int]:
        """Train a network on each pair of rows; return them and the most epochs that one of them could be trained.

        Parameters
        ----------
        task : what to build.
        score : what chooses the epoch; less is better.
        limit : the time.
        rival : what may be built instead.
        """
        if rival is not None:
            task = self._better(task, rival, score)
        ends = limit.ends(len(self.pairs), self._threads(len(self.pairs)))
        trained = self._networks([(task, pair, end) for pair, end in enumerate(ends)], score)
        if limit.seconds is not None and min(each.epochs for each in trained) <= 1.0:
            warn(f"time_limit={limit.seconds} does not suffice for one epoch: each network is trained for a part of it")
        held_out = [rows for _, rows in self.pairs]
        means = self._out_of_fold(task, held_out, trained)
        bag = Bag(task, [each.model for each in trained], [each.best_epoch for each in trained], held_out, means)
        return bag, math.ceil(max(each.epochs for each in trained))

    def _better(self, task: Task, rival: Rival, score: Score) -> Task:
        """Return the better one of two tasks: each trains all networks for a sixteenth of the epochs."""
        short = replace(self, epochs=math.ceil(_SHARE_OF_EPOCHS_TRIED * self.epochs))
        bags = [short.train(each, score, NO_LIMIT)[0] for each in (task, rival.task)]
        seen = bags[0].seen
        is_better = rival.is_better(self.data.part(seen), *(bag.out_of_fold[seen] for bag in bags))
        return rival.task if is_better else task

    def _threads(self, n_networks: int) -> int:
        return min(as_threads(self.n_threads), n_networks)

    def _networks(self, jobs: Sequence[tuple[Task, int, float | None]], score: Score) -> list[Trained]:
        """Train networks; jobs: the task, the number of the pair of rows, and when training ends (None: at its end)."""

        def train(task: Task, number: int, deadline: float | None) -> Trained:
            training, held_out = self.pairs[number]
            if 2 * number >= len(self.pairs):
                task = replace(task, quantiles=True)
            rows, others = self.data.part(training), None if held_out is None else self.data.part(held_out)
            seed = int(self.seeds[number])
            return train_member(task, self.encoder, rows, others, score, self.epochs, seed, deadline)

        results, errors = run_many([partial(train, *job) for job in jobs], self._threads(len(jobs)))
        if errors:
            raise next(iter(errors.values()))
        return [result for result in results if result is not None]

    def _out_of_fold(self, task: Task, held_out: list[Array | None], trained: list[Trained]) -> Array:
        """Return the mean outputs of the networks that did not see a row."""
        n = len(self.data.y)
        sums, counts = np.zeros((n, task.n_outputs)), np.zeros((n, 1))
        for rows, each in zip(held_out, trained, strict=True):
            if rows is not None and each.outputs is not None:
                sums[rows] += each.outputs
                counts[rows] += 1
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
