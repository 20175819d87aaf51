"""Training of one network of a recipe, with the weights of its best epoch."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn._arithmetic import default_arithmetic
from fastnn.callbacks import CallbackList, StepFactors
from fastnn.errors import DivergenceError
from fastnn.models import Model
from fastnn.tabular import tabm
from fastnn.tabular.columns import TableEncoder
from fastnn.tabular.folds import folds_of_groups
from fastnn.tabular.recipes import Plan, Task, build, compile_model, mean_of_members, plan_of, targets_of
from fastnn.tabular.scores import Division, Score
from fastnn.training.epochs import run_steps
from fastnn.training.native import make_fit
from fastnn.training.rows import Rows

Array = NDArray[Any]

_PARTS = 50
"""Parts of the steps that are left, after each of which the time is looked at; at first, of those of an epoch."""
_PARTS_OF_HELD_OUT = 8
"""Parts of the held-out rows: the outputs of each are of the epoch that the others chose."""
_ROWS_TIMED = 256
"""Held-out rows whose outputs tell how long those of all take."""
_ROWS_OF_FIRST_VALUES = 20_000
"""Most rows that the first weights are computed from: half a million took 20 s and 1.8 GB for each network."""
_ROWS_OF_FIRST_VALUES_IN_TIME = 2000
"""The same where time is limited: deviations of 2,000 rows are within 2 % of those of all."""


class Trained(NamedTuple):
    """A trained network.

    Parameters
    ----------
    model : the network.
    outputs : for the held-out rows; those of a row are of the epoch that other held-out rows chose: ``HeldOut``.
    best_epoch : the epoch of its weights, counted from 0.
    epochs : number of epochs of its plan, or for which the time sufficed.
    """

    model: Model
    outputs: Array | None
    best_epoch: int
    epochs: float


class Data(NamedTuple):
    """Encoded rows X (n, n_columns), targets y (n, n_outputs), weights and groups (n,) of the rows, or None."""

    X: Array
    y: Array
    weight: Array | None = None
    group: Array | None = None

    def part(self, rows: Array) -> "Data":
        """Return some of the rows."""
        weight, group = (None if each is None else each[rows] for each in (self.weight, self.group))
        return Data(self.X[rows], self.y[rows], weight, group)


class HeldOut:
    """Held-out rows: they choose the epoch of a network, and their outputs are of an epoch that they did not choose.

    All rows choose the epoch whose weights the network keeps. For the outputs the rows are divided at random into
    eight parts; those of a part are of the best epoch of all other parts, so that errors of the outputs are as large
    as errors on new rows. A part has whole groups. A single row or group gets the outputs of the last epoch. Of equal
    scores the later epoch counts.

    Parameters
    ----------
    data : the rows.
    score : less is better.
    seed : seed of the parts.
    """

    def __init__(self, data: Data, score: Score, seed: int) -> None:
        self.data, self._score = data, score
        self._part = _parts_of(len(data.y), seed) if data.group is None else _parts_of_groups(data.group, seed)
        self._division = Division(self._part, data.weight)
        self._best = np.full(self._division.n_parts + 1, np.inf)
        self.best_epoch, self.outputs = -1, np.empty(0)

    def see(self, epoch: int, outputs: Array) -> bool:
        """Take the outputs (n, n_outputs) of an epoch; return whether it is the best one."""
        if not self.outputs.size:
            self.outputs = outputs.copy()
        scores = self._division.scores(self._score, self.data.y, outputs)
        better = scores <= self._best
        np.copyto(self._best, scores, where=better)
        np.copyto(self.outputs, outputs, where=better[self._part, None])
        is_best = bool(better[-1]) or self.best_epoch < 0
        if is_best:
            self.best_epoch = epoch
        return is_best


def _parts_of(n: int, seed: int) -> Array:
    """Return the number of the part of each of n rows."""
    order = np.random.default_rng(seed).permutation(n)
    part = np.empty(n, np.intp)
    for number, rows in enumerate(np.array_split(order, min(_PARTS_OF_HELD_OUT, n))):
        part[rows] = number
    return part


def _parts_of_groups(groups: Array, seed: int) -> Array:
    """Return the number of the part of each row; groups: numbers (n,)."""
    known, numbers = np.unique(groups, return_inverse=True)
    return folds_of_groups(numbers, np.zeros(len(groups), np.intp), min(_PARTS_OF_HELD_OUT, len(known)), seed)


def outputs_of(model: Model, task: Task, X: Array) -> Array:
    """Return the mean outputs (n, n_outputs) of the members of a network."""
    found = model.network.predict(X)
    return mean_of_members(task, found)


def _some_rows(X: Array, most: int, seed: int) -> Array:
    """Return random rows, in their order."""
    return X if len(X) <= most else X[np.sort(np.random.default_rng(seed).choice(len(X), most, replace=False))]


def _with_members(data: Data) -> tuple[Data, Array]:
    """Return the rows of an epoch in which a row trains some members, and the columns of X for the members' numbers."""
    twice = data.part(np.tile(np.arange(len(data.X)), tabm.PASSES))
    X = np.pad(twice.X, ((0, 0), (0, tabm.MEMBERS_OF_ROW)))
    return twice._replace(X=X), X[:, -tabm.MEMBERS_OF_ROW :]


class _Member:
    """A network in training.

    Where a row trains some members, another network of the same weights is trained. They are copied after each epoch.

    Without a deadline a step takes the next entry of the schedules. With one, steps take as large strides through them
    as they need to reach the end in time, whatever the part of an epoch that this is.
    """

    def __init__(self, task: Task, encoder: TableEncoder, data: Data, plan: Plan, seed: int, limited: bool) -> None:
        self._n_members = task.members
        most = _ROWS_OF_FIRST_VALUES_IN_TIME if limited else _ROWS_OF_FIRST_VALUES
        first = _some_rows(data.X, most, seed)
        self.model = self._trained = build(task, encoder, first, seed)
        compile_model(self.model, task, plan)
        self._members_of_rows = None
        if task.trains_some(len(data.X)):
            self._trained = build(task, encoder, first, seed, some_members=True)
            task = task.of_row()
            compile_model(self._trained, task, plan)
            tabm.copy_to_some(self.model, self._trained)
            data, self._members_of_rows = _with_members(data)
        y = targets_of(task, np.ascontiguousarray(data.y, np.float32))
        weight: Any = None if data.weight is None else np.ascontiguousarray(data.weight, np.float32)
        rows = Rows(data.X, y, [weight] * len(y) if isinstance(y, list) else weight)
        self._fit: Any = make_fit(self._trained, rows, min(plan.batch_size, len(data.X)), None)
        self._callbacks = CallbackList([], self._trained, {})
        whole = len(data.X) // min(plan.batch_size, len(data.X))
        self.steps = whole if plan.drops_last else self._fit.n_steps
        updates = self.steps * (plan.epochs - 1) + self._fit.n_steps
        self._rates = plan.optimizer.learning_rates(0, updates)
        self._factors = StepFactors(**plan.factors).factors_of(0, updates)
        self._last_entry = self.steps * plan.epochs - 1
        self._entry = -1.0

    @property
    def done(self) -> int:
        """Number of steps."""
        return int(self._trained.network.iterations)

    @property
    def at_end(self) -> bool:
        """Whether a step has taken the last entry of the schedules."""
        return self._entry > self._last_entry - 0.5

    def run_epoch(self, number: int, steps_left: Callable[[int], int] | None = None) -> bool:
        """Train an epoch, or as much of it as the time allows; return False if a loss is not finite.

        Parameters
        ----------
        number : of the epoch, from 1.
        steps_left : function of the number of steps that are done; returns for how many more the time suffices.
        """
        if self._members_of_rows is None:
            return self._run_epoch(number, steps_left)
        tabm.choose_members(self._members_of_rows, self._n_members, np.random.default_rng([self.model.seed, number]))
        is_finite = self._run_epoch(number, steps_left)
        tabm.copy_to_all(self._trained, self.model)
        return is_finite

    def _run_epoch(self, number: int, steps_left: Callable[[int], int] | None) -> bool:
        fit = self._fit
        self._follow(1.0, begins=number)
        count, stride = self.steps, 1.0
        while fit.step < self.steps:
            if steps_left is not None and not self.done:
                count = -(-self.steps // _PARTS)
            elif steps_left is not None:
                left = steps_left(self.done)
                if left < 1 or self.at_end:
                    break
                count = min(max(left // _PARTS, 1), self.steps - fit.step)
                stride = max((self._last_entry - self._entry) / left, 1.0)
                self._follow(stride)
            if not run_steps(fit, self._callbacks, lambda: math.nan, last=fit.step + count):
                return False
            self._entry += stride * count
        return True

    def _follow(self, stride: float, begins: int | None = None) -> None:
        """Let the next steps take every ``stride``-th entry of the schedules; begin an epoch if its number is given."""
        fit = self._fit
        ahead = np.arange(fit.n_steps) - (0 if begins else fit.step)
        entries = np.clip(np.rint(self._entry + stride * (ahead + 1)), 0, len(self._rates) - 1).astype(np.intp)
        for name, values in self._factors.items():
            fit.set_factors(name, values[entries])
        if begins:
            fit.begin_epoch(self.model.seed, begins, True, self._rates[entries])
        else:
            fit.set_learning_rates(self._rates[entries])


def _steps_until(deadline: float, steps: int, of_outputs: float) -> Callable[[int], int]:
    """Return a function of the number of steps that are done, which returns how many more the time allows.

    Parameters
    ----------
    deadline : time of ``time.monotonic()``.
    steps : number of steps in an epoch.
    of_outputs : seconds that the outputs for the held-out rows take, once after each epoch.
    """
    start = time.monotonic()

    def steps_left(done: int) -> int:
        now = time.monotonic()
        of_step = (now - start) / done + (of_outputs / steps if done < steps else 0.0)
        return int((deadline - of_outputs - now) / of_step)

    return steps_left


@default_arithmetic()
def train_member(
    task: Task,
    encoder: TableEncoder,
    training: Data,
    held_out: Data | None,
    score: Score,
    epochs: int,
    seed: int,
    deadline: float | None = None,
) -> Trained:
    """Train a network; with held-out rows it keeps the weights of their best epoch, the later of equal ones.

    Parameters
    ----------
    task, encoder : what to build.
    training, held_out : rows.
    score : of the held-out rows; less is better.
    epochs : number of epochs.
    seed : seed of weights, order of rows and dropout.
    deadline : time of ``time.monotonic()`` at which training ends, or after the first fiftieth of an epoch.

    Raises
    ------
    DivergenceError
        The loss became NaN or infinite before the first epoch ended.
    """
    plan = plan_of(task, len(training.X), epochs)
    member = _Member(task, encoder, training, plan, seed, deadline is not None)
    weights = member.model.network_weights
    seen = None if held_out is None else HeldOut(held_out, score, seed)
    best_weights, best_epoch, ended = None, -1, False
    steps_left = None
    if deadline is not None:
        of_outputs = 0.0 if held_out is None else _seconds_of_outputs(member.model, task, held_out.X)
        steps_left = _steps_until(deadline, member.steps, of_outputs)
    for epoch in range(plan.epochs):
        if not (member.run_epoch(epoch + 1, steps_left) and weights.finite()):
            if best_weights is None:
                raise DivergenceError("the loss became NaN or infinite: scale the target", 1, member.steps)
            break
        if seen is None:
            best_epoch = epoch
        elif seen.see(epoch, outputs_of(member.model, task, seen.data.X)):
            best_epoch, best_weights = epoch, weights.copy(best_weights)
        if plan.patience is not None and epoch - best_epoch > plan.patience + plan.patience_factor * best_epoch:
            break
        ended = steps_left is not None and (member.at_end or steps_left(member.done) < 1)
        if ended:
            break
    if best_weights is not None:
        weights.go_back(best_weights)
    trained = member.done / member.steps if ended else float(plan.epochs)
    return Trained(member.model, None if seen is None else seen.outputs, best_epoch, trained)


def _seconds_of_outputs(model: Model, task: Task, X: Array) -> float:
    """Return how long the outputs of a network take, from those of a few rows."""
    start, rows = time.monotonic(), X[:_ROWS_TIMED]
    outputs_of(model, task, rows)
    return (time.monotonic() - start) * len(X) / len(rows)
