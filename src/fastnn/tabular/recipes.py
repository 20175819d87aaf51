"""Recipes for tables: RealMLP (Holzmüller et al., 2024), TabM-mini (Gorishniy et al., 2025), a plain network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
import fastnn.losses as losses
import fastnn.optimizers as optimizers
from fastnn.layers import Input
from fastnn.models import Model
from fastnn.models.from_data import initialize_from_data
from fastnn.optimizers.schedules import CosLog4, FlatCosine
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
    """

    recipe: str
    n_outputs: int
    classifies: bool
    label_smoothing: float
    width: int
    levels: tuple[float, ...] = ()
    n_members: int = 32

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for a regression."""
        return 0 if not self.classifies else max(self.n_outputs, 2)

    @property
    def members(self) -> int:
        """Predictions that the network gives for each row."""
        return self.n_members if self.recipe == "tabm" else 1


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


def build(task: Task, encoder: TableEncoder, X: Array, seed: int) -> Model:
    """Return the network of a recipe with its first weights; X: encoded rows of the fit."""
    x = Input((X.shape[1],))
    numbers, others = encoder.n_numeric, encoder.n_numeric + encoder.n_other
    parts = {
        "numbers": x[:, :numbers] if numbers else None,
        "others": x[:, numbers:others] if encoder.n_other else None,
    }
    embedded = None
    if encoder.n_codes:
        table = layers.Embedding(encoder.n_rows_of_table, EMBEDDING, layers_normal(), name="categories")
        embedded = layers.Flatten()(table(x[:, others:]))
    body = {"realmlp": _realmlp, "tabm": _tabm, "plain": _plain, LINEAR: _linear}[task.recipe]
    outputs = body(task, encoder, parts["numbers"], parts["others"], embedded, X)
    model = Model(x, outputs, seed=seed)
    if task.recipe == "realmlp":
        initialize_from_data(model, X)
    return model


def layers_normal() -> dict[str, Any]:
    """Return the description of standard normal numbers."""
    return {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1.0}}


def _joined(parts: list[Any]) -> Any:
    given = [part for part in parts if part is not None]
    return given[0] if len(given) == 1 else layers.Concatenate()(given)


def _output_activation(task: Task) -> str | None:
    if not task.classifies:
        return None
    return "sigmoid" if task.n_outputs == 1 else "softmax"


def _realmlp(task: Task, encoder: TableEncoder, numbers: Any, others: Any, embedded: Any, X: Array) -> Any:
    slow: dict[str, Any] = {"learning_rate_factors": 0.1, "weight_decay_factors": 0.1}
    if numbers is not None:
        numbers = layers.PeriodicEmbedding(encoder.n_numeric, sigma=0.1 if task.classifies else _SIGMA, **slow)(numbers)
    h = _joined([numbers, others, embedded])
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


def _tabm(task: Task, encoder: TableEncoder, numbers: Any, others: Any, embedded: Any, X: Array) -> Any:
    k = task.members
    if numbers is not None:
        edges = edges_of(X[:, : encoder.n_numeric])
        numbers = layers.PiecewiseLinearEmbedding(encoder.n_numeric, edges=edges)(numbers)
    h = _joined([numbers, others, embedded])
    first = layers_normal() if numbers is not None else _RandomSigns()
    h = layers.FeatureScale(members=k, scale_initializer=first)(h)
    uniform = layers.tabular.UNIFORM
    for _ in range(2 if numbers is not None else 3):
        fan_in = h.shape[-1] // k
        bias = {"class_name": "RandomUniform", "config": {"minval": -(fan_in**-0.5), "maxval": fan_in**-0.5}}
        h = layers.MemberDense(k, task.width, True, uniform, bias)(h)
        h = layers.Activation("relu")(h)
        h = layers.Dropout(0.1)(h)
    bound = task.width**-0.5
    bias = {"class_name": "RandomUniform", "config": {"minval": -bound, "maxval": bound}}
    if task.levels:
        each = task.n_outputs // len(task.levels)
        heads = [layers.GroupedDense(k, each, True, uniform, bias)(h) for _ in task.levels]
        return _ordered(task, layers.Concatenate()(heads))
    h = layers.GroupedDense(k, task.n_outputs, True, uniform, bias)(h)
    activation = _output_activation(task)
    if activation == "softmax":
        n = task.n_outputs
        return [layers.Activation("softmax")(h[:, i * n : (i + 1) * n]) for i in range(k)]
    return h if activation is None else layers.Activation(activation)(h)


def edges_of(X: Array) -> list[Array]:
    """Return edges of at most 48 bins for each feature of X (n, n_in).

    A column that varies may be constant in the rows of a fold: the edges of such a feature are its value c and c + 1.
    """
    edges = [np.array([c, c + 1.0]) for c in X[0].astype(np.float64)]
    varied = np.flatnonzero(np.ptp(X, axis=0) > 0.0)
    if varied.size:
        encoding = layers.PiecewiseLinearEncoding(48)
        encoding.adapt(X[:, varied])
        for place, found in zip(varied.tolist(), encoding.edges or (), strict=True):
            edges[place] = found
    return edges


def _plain(task: Task, encoder: TableEncoder, numbers: Any, others: Any, embedded: Any, X: Array) -> Any:
    h = _joined([numbers, others, embedded])
    for _ in range(2):
        h = layers.Dense(task.width, "relu", kernel_initializer="he_normal")(h)
        h = layers.Dropout(0.1)(h)
    return _ordered(task, layers.Dense(task.n_outputs, _output_activation(task))(h))


def _linear(task: Task, encoder: TableEncoder, numbers: Any, others: Any, embedded: Any, X: Array) -> Any:
    h = _joined([numbers, others, embedded])
    return layers.Dense(task.n_outputs, _output_activation(task), kernel_initializer="zeros")(h)


class _RandomSigns:
    """-1 or 1 with equal probability."""

    def __call__(self, shape: Any, dtype: Any = None, **options: Any) -> Array:
        source = options.get("source")
        uniform = source.uniform(int(np.prod(shape))) if source is not None else np.random.default_rng(0).random(shape)
        return np.where(np.reshape(uniform, shape) < 0.5, -1.0, 1.0)


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
