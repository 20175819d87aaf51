"""Recipes for tables: RealMLP (Holzmüller et al., 2024), TabM-mini (Gorishniy et al., 2025), a plain network."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
import fastnn.losses as losses
import fastnn.optimizers as optimizers
from fastnn.initializers import RandomNormal
from fastnn.layers import Input
from fastnn.models import Model
from fastnn.models.from_data import initialize_from_data
from fastnn.optimizers.schedules import CosLog4, FlatCosine
from fastnn.tabular import tabm
from fastnn.tabular.columns import TableEncoder

Array = NDArray[Any]

RECIPES = ("realmlp", "tabm", "plain")
SCALINGS = {"realmlp": "robust", "tabm": "quantile", "plain": "standard"}
LINEAR = "linear"
"""The recipe of linear models, which are averaged with the networks of few rows."""
EMBEDDING = 8
"""Numbers for a category of a column with more than ``MOST_ONE_HOT`` of them."""
_SIGMA = 0.3
"""Deviation of the first frequencies of RealMLP's regressions; the published recipe, and classifiers, have 0.1."""
_HOT_DROPOUT = 0.2
"""Share of the ones that a classifier without numbers sees as missing in training; -1 and 1 for two categories stay."""


@dataclass(frozen=True)
class Task:
    """What a network is to predict, and the recipe.

    Parameters
    ----------
    recipe : one of ``RECIPES``, or ``LINEAR``.
    n_outputs : columns of a regression; 1 for two classes, else the number of classes.
    classifies : whether the targets are classes.
    label_smoothing : by how much labels are smoothed.
    width : units of each hidden layer.
    levels : levels of the quantiles that a regression predicts, those of a level after the other; () for the mean.
    n_members : members of TabM.
    quantiles : whether the network takes the quantiles of numbers too, where the encoder gives them.
    """

    recipe: str
    n_outputs: int
    classifies: bool
    label_smoothing: float
    width: int
    levels: tuple[float, ...] = ()
    n_members: int = 32
    quantiles: bool = False

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for a regression."""
        return 0 if not self.classifies else max(self.n_outputs, 2)

    @property
    def members(self) -> int:
        """Predictions that the network gives for each row."""
        return self.n_members if self.recipe == "tabm" else 1

    def trains_some(self, n: int) -> bool:
        """Whether each of n rows trains some of the members."""
        return tabm.trains_some(n, self.members, self.n_outputs)

    def of_row(self) -> "Task":
        """Return the task of the network in which a row goes through some of the members."""
        return replace(self, n_members=tabm.MEMBERS_OF_ROW)


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    Parameters
    ----------
    batch_size, epochs : as in ``fit``.
    patience, patience_factor : training ends when ``patience + patience_factor * best_epoch`` epochs after the best one
        were no better; None for all epochs.
    drops_last : whether an epoch leaves out the rows of an incomplete batch.
    optimizer : the optimizer.
    factors : schedules of ``StepFactors`` by name.
    """

    batch_size: int
    epochs: int
    patience: int | None
    drops_last: bool
    optimizer: Any
    factors: dict[str, Any]
    patience_factor: float = 0.0


@dataclass(frozen=True)
class _Inputs:
    """The parts of a row, each a tensor or None, and what the layers that take them learn from.

    Parameters
    ----------
    numbers, others : columns of numbers; flags, and -1 and 1 for two categories.
    hot : zeros and ones for categories.
    embedded : vectors of categories.
    X : columns of numbers (n, n_numbers) of rows of the fit.
    members : the members of TabM.
    """

    numbers: Any
    others: Any
    hot: Any
    embedded: Any
    X: Array
    members: tabm.Members

    def joined(self, numbers: Any) -> Any:
        """Return all parts in one tensor (n, n_in), with what has been made of the numbers."""
        given = [part for part in (numbers, self.others, self.hot, self.embedded) if part is not None]
        return given[0] if len(given) == 1 else layers.Concatenate()(given)


def build(task: Task, encoder: TableEncoder, X: Array, seed: int, some_members: bool = False) -> Model:
    """Return the network of a recipe with its first weights.

    Parameters
    ----------
    task, encoder : what to build.
    X : encoded rows of the fit.
    seed : of the weights.
    some_members : whether rows go through some members of TabM: their numbers are further columns of a row.
    """
    n_columns = X.shape[1]
    x = Input((n_columns + (tabm.MEMBERS_OF_ROW if some_members else 0),))
    numeric, others = encoder.n_numeric, encoder.n_numeric + encoder.n_other
    embedded = None
    if encoder.n_codes:
        table = layers.Embedding(encoder.n_rows_of_table, EMBEDDING, RandomNormal(stddev=1.0), name="categories")
        embedded = layers.Flatten()(table(x[:, others:n_columns]))
    taken, hot = numeric if task.quantiles else encoder.n_scaled, others - encoder.n_hot
    inputs = _Inputs(
        x[:, :taken] if taken else None,
        x[:, numeric:hot] if hot > numeric else None,
        x[:, hot:others] if encoder.n_hot else None,
        embedded,
        X[:, :taken],
        tabm.SomeMembers(task.members, x[:, n_columns:]) if some_members else tabm.AllMembers(task.members),
    )
    model = Model(x, _BODIES[task.recipe](task, inputs), seed=seed)
    if task.recipe == "realmlp":
        initialize_from_data(model, X)
    return model


def _output_activation(task: Task) -> str | None:
    if not task.classifies:
        return None
    return "sigmoid" if task.n_outputs == 1 else "softmax"


def _realmlp(task: Task, inputs: _Inputs) -> Any:
    slow: dict[str, Any] = {"learning_rate_factors": 0.1, "weight_decay_factors": 0.1}
    numbers = inputs.numbers
    if numbers is not None:
        numbers = layers.PeriodicEmbedding(inputs.X.shape[1], sigma=0.1 if task.classifies else _SIGMA, **slow)(numbers)
    elif inputs.hot is not None and task.classifies:
        inputs = replace(inputs, hot=layers.Dropout(_HOT_DROPOUT)(inputs.hot))
    h = inputs.joined(numbers)
    h = layers.FeatureScale(learning_rate_factors=6.0, weight_decay_factors=6.0)(h)
    dense: dict[str, Any] = {"learning_rate_factors": {"bias": 0.1}, "weight_decay_factors": {"bias": 0.0}}
    for _ in range(3):
        h = layers.NTPDense(task.width, **dense)(h)
        h = layers.ParametricActivation("selu" if task.classifies else "mish", **slow)(h)
        h = layers.Dropout(0.15)(h)
    return _ordered(task, layers.NTPDense(task.n_outputs, _output_activation(task), **dense)(h))


def _ordered(task: Task, h: Any) -> Any:
    """Return the outputs of a regression; quantiles in order."""
    return layers.NonCrossingQuantiles(len(task.levels))(h) if task.levels else h


def _tabm(task: Task, inputs: _Inputs) -> Any:
    numbers, members = inputs.numbers, inputs.members
    if numbers is not None:
        numbers = tabm.embedded_numbers(numbers, inputs.X)
    h = tabm.hidden(inputs.joined(numbers), members, numbers is not None, task.width)
    if task.levels:
        each = task.n_outputs // len(task.levels)
        heads = [members.heads(h, each, level) for level in range(len(task.levels))]
        return _ordered(task, layers.Concatenate()(heads))
    n = task.n_outputs
    h = members.heads(h, n, 0)
    activation = _output_activation(task)
    if activation == "softmax":
        return [layers.Activation("softmax")(h[:, i * n : (i + 1) * n]) for i in range(members.n)]
    return h if activation is None else layers.Activation(activation)(h)


def _plain(task: Task, inputs: _Inputs) -> Any:
    h = inputs.joined(inputs.numbers)
    for _ in range(2):
        h = layers.Dense(task.width, "relu", kernel_initializer="he_normal")(h)
        h = layers.Dropout(0.1)(h)
    return _ordered(task, layers.Dense(task.n_outputs, _output_activation(task))(h))


def _linear(task: Task, inputs: _Inputs) -> Any:
    h = inputs.joined(inputs.numbers)
    return layers.Dense(task.n_outputs, _output_activation(task), kernel_initializer="zeros")(h)


_BODIES = {"realmlp": _realmlp, "tabm": _tabm, "plain": _plain, LINEAR: _linear}


def plan_of(task: Task, n: int, epochs: int) -> Plan:
    """Return how a network is trained on n rows."""
    batch = batch_size_of(n)
    if task.recipe == "realmlp":
        drops_last = n >= batch
        steps = epochs * (n // batch if drops_last else 1)
        optimizer = optimizers.Adam(
            CosLog4(0.04 if task.classifies else 0.2, steps),
            beta_2=0.95,
            epsilon=1e-8,
            corrects_epsilon=True,
            weight_decay=0.02,
        )
        factors = {"weight_decay": FlatCosine(1.0, steps), "dropout": FlatCosine(1.0, steps)}
        return Plan(batch, epochs, 40, drops_last, optimizer, factors, 2.0)
    if task.recipe == LINEAR:
        steps = epochs * -(-n // batch)
        return Plan(batch, epochs, None, False, optimizers.Adam(FlatCosine(0.02, steps)), {})
    if task.recipe == "tabm":
        return Plan(batch, epochs, 16, False, _adamw(), {})
    return Plan(batch, epochs, 20, False, optimizers.AdamW(1e-3, weight_decay=1e-4), {})


def _adamw() -> Any:
    """Return the optimizer of TabM, with PyTorch's arithmetic."""
    return optimizers.AdamW(2e-3, weight_decay=3e-4, epsilon=1e-8, corrects_epsilon=True)


def batch_size_of(n: int) -> int:
    """Return the rows of a batch for n rows, which TabArena uses for RealMLP."""
    for most, size in ((1024, 64), (8192, 128), (30_000, 256), (100_000, 512)):
        if n <= most:
            return size
    return 1024


def compile_model(model: Model, task: Task, plan: Plan) -> None:
    """Compile a network of a recipe: the loss is the mean of the members' losses."""
    if not task.classifies:
        model.compile(plan.optimizer, losses.MultiQuantile(task.levels) if task.levels else "mse")
        return
    if task.n_outputs == 1:
        model.compile(plan.optimizer, losses.BinaryCrossentropy(label_smoothing=task.label_smoothing))
        return
    if task.members == 1:
        model.compile(plan.optimizer, losses.CategoricalCrossentropy(label_smoothing=task.label_smoothing))
        return
    each = [losses.CategoricalCrossentropy(label_smoothing=task.label_smoothing) for _ in range(task.members)]
    model.compile(plan.optimizer, each, loss_weights=[1.0 / task.members] * task.members)


def targets_of(task: Task, y: Array) -> Any:
    """Return the targets of the network: y (n, n_targets) once for each member."""
    if task.members == 1:
        return y
    return [y] * task.members if task.n_outputs > 1 and task.classifies else np.tile(y, task.members)


def mean_of_members(task: Task, outputs: Any) -> Array:
    """Return the mean prediction (n, n_outputs) of the members."""
    if isinstance(outputs, list):
        mean: Array = np.mean(outputs, axis=0)
        return mean
    if task.members == 1:
        single: Array = outputs
        return single
    n_levels = max(len(task.levels), 1)
    several: Array = outputs.reshape(len(outputs), n_levels, task.members, task.n_outputs // n_levels)
    means: Array = several.mean(axis=2).reshape(len(outputs), task.n_outputs)
    return means
