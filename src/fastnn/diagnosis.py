"""The training doctor: finds problems of data, model and training, says how serious they are, and advises."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.callbacks import Callback, Logs
from fastnn.network.stack import LayerStack, require_stack
from fastnn.training.rows import Rows, rows_of, validation_rows

if TYPE_CHECKING:
    from fastnn.models.sequential import Sequential

__all__ = ["Diagnosis", "Finding", "TrainingDoctor", "diagnose"]

Array = NDArray[Any]

SEVERITIES = ("serious", "warning", "note")
MAX_ROWS = 10_000
"""Units and gradients are measured on at most this number of rows, the first ones."""
_LARGE, _SMALL = 10.0, 0.01
"""Outside these sizes of inputs and targets, gradient descent with default rates is slow or diverges."""
_BOUNDED = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hard_sigmoid": (0.0, 1.0), "softsign": (-1.0, 1.0)}
_DYING = ("relu", "relu6", "general_relu")


@dataclass(frozen=True)
class Finding:
    """One finding.

    Parameters
    ----------
    what : name of the problem, such as "dead units".
    where : the input, layer or data that has it.
    severity : "serious", "warning" or "note".
    measure : description with figures.
    advice : recommended action.
    """

    what: str
    where: str
    severity: str
    measure: str
    advice: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.what} in {self.where}: {self.measure}. {self.advice}"


class Diagnosis(list[Finding]):
    """Findings, most serious first; its repr is a report."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))

    def __repr__(self) -> str:
        if not self:
            return "The doctor found nothing."
        return "\n".join(f"{number}. {finding}" for number, finding in enumerate(self, 1))


def diagnose(
    model: "Sequential", x: Any, y: Any, validation_data: Any = None, *, learning_rate: float | None = None
) -> Diagnosis:
    r"""Examine data and a compiled model, without changing them.

    The doctor looks for

    - inputs and targets that are not scaled, constant columns, and rare classes;
    - a validation set that is too small or shares rows with the training set;
    - units that are dead (output 0 for every row) or saturated;
    - gradients that vanish or explode from layer to layer;
    - steps that are too large or too small relative to the weights
      (:math:`\eta \lVert g \rVert / \lVert w \rVert`, about 0.001 where training goes well);
    - a linear model or a mean that predicts the validation data as well as the network.

    Parameters
    ----------
    model : compiled model, trained or not.
    x, y : training data, as in ``fit``.
    validation_data : (x, y) for the comparison with simple models and the search for shared rows; None omits both.
    learning_rate : learning rate for the size of a step; by default the optimizer's current one. For optimizers that
        scale the gradient themselves, such as Adam, the size depends on the rate alone.

    Returns
    -------
    Diagnosis
        List of ``Finding``, most serious first.

    References
    ----------
    A. Karpathy (2019), A recipe for training neural networks (ratio of update to weight);
    X. Glorot and Y. Bengio (2010), Understanding the difficulty of training deep feedforward neural networks.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> model = fastnn.Sequential([fastnn.layers.Dense(1)], seed=0)
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> X = np.random.default_rng(0).normal(size=(200, 2)) * [1.0, 5000.0]
    >>> [finding.where for finding in fastnn.diagnose(model, X, X[:, 0]) if finding.what == "unscaled inputs"]
    ['column 1']
    """
    require_stack(model)
    model.require_compiled("diagnose")
    rows, program = rows_of(model, x, y)
    model.build_from(program)
    rows = _counted(model, rows)
    part = Rows(rows.X[:MAX_ROWS], rows.y[:MAX_ROWS], None)
    findings = [*_examine_inputs(rows), *_examine_targets(model, rows)]
    findings += [*_examine_units(model, part.X), *_examine_gradients(model, part, learning_rate)]
    if validation_data is not None:
        validation = _counted(model, validation_rows(model, validation_data, program.n_features))
        findings += _examine_validation(model, rows, validation)
    return Diagnosis(findings)


def _counted(model: "Sequential", rows: Rows) -> Rows:
    """Return the rows whose labels the loss does not ignore."""
    ignored = model.loss.ignore_class
    if ignored is None:
        return rows
    counted = rows.y != ignored
    if not counted.any():
        raise ValueError(f"all labels in y are {ignored}, which the loss ignores")
    return Rows(rows.X[counted], rows.y[counted], None)


def _examine_inputs(rows: Rows) -> list[Finding]:
    findings = []
    X = rows.X
    mean, scale = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    # Because of rounding, a constant column has a deviation of about its size times the precision of its type.
    constant = scale <= 1e-6 * np.abs(mean)
    for where, column in _places("column", np.flatnonzero(constant), np.abs(mean)):
        findings.append(
            Finding("constant column", where, "warning", f"every row has {mean[column]:.4g}",
                    "Leave it out: it carries no information and blows up when it is standardized")
        )  # fmt: skip
    size = np.hypot(mean, scale)
    unscaled = np.flatnonzero(~constant & ((size > _LARGE) | (scale < _SMALL)))
    for where, column in _places("column", unscaled, np.abs(np.log(np.maximum(size, 1e-300)))):
        severity = "serious" if size[column] > 100 * _LARGE else "warning"
        measure = f"mean {mean[column]:.4g}, standard deviation {scale[column]:.4g}"
        findings.append(
            Finding("unscaled inputs", where, severity, measure,
                    "Standardize: subtract the training mean and divide by the training standard deviation")
        )  # fmt: skip
    return findings


def _places(kind: str, columns: NDArray[np.intp], badness: NDArray[np.float64]) -> list[tuple[str, int]]:
    """Return a name for each column; for more than four, only the worst and the number of others."""
    if len(columns) <= 4:
        return [(f"{kind} {column}", int(column)) for column in columns]
    worst = int(columns[badness[columns].argmax()])
    return [(f"{kind} {worst} and {len(columns) - 1:,} others ({_ranges(columns)})", worst)]


def _ranges(columns: NDArray[np.intp]) -> str:
    """Return the columns' numbers as at most eight ranges: "0-3, 7, ..."."""
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(texts if len(texts) <= 8 else [*texts[:8], "..."])


def _examine_targets(model: "Sequential", rows: Rows) -> list[Finding]:
    counts = _class_counts(model, rows.y)
    if counts is None:
        y = rows.y.astype(np.float64)
        scale = y.std(axis=0)
        size = np.hypot(y.mean(axis=0), scale)
        unscaled = np.flatnonzero((size > _LARGE) | (scale < _SMALL))
        return [
            Finding("unscaled targets", where, "warning",
                    f"mean {y[:, column].mean():.4g}, standard deviation {scale[column]:.4g}",
                    "Standardize the targets in training and undo it in prediction")
            for where, column in _places("target", unscaled, size)
        ]  # fmt: skip
    fractions = counts / counts.sum()
    rarest = int(fractions.argmin())
    if fractions[rarest] * len(counts) >= 0.2:
        return []
    return [
        Finding("class imbalance", f"class {rarest}", "serious" if fractions[rarest] < 0.02 else "warning",
                f"{counts[rarest]:,.0f} of {counts.sum():,.0f} rows ({fractions[rarest]:.2%}): always predicting class "
                f"{int(fractions.argmax())} has an accuracy of {fractions.max():.2%}",
                "Judge by precision and recall, not accuracy; pass class_weight to fit or gather more of that class")
    ]  # fmt: skip


def _class_counts(model: "Sequential", y: Array) -> NDArray[np.float64] | None:
    """Return the number of rows of each class; None if the targets are not classes."""
    if model.loss.targets == "labels":
        return np.bincount(y.ravel(), minlength=model.program.n_outputs).astype(np.float64)
    if model.loss.targets == "one_hot":
        return np.asarray(y.sum(axis=0, dtype=np.float64))
    if model.loss.targets == "probabilities" and y.shape[1] == 1 and np.isin(y, (0, 1)).all():
        ones = float(y.sum())
        return np.array([len(y) - ones, ones])
    return None


def _examine_units(model: "Sequential", X: Array) -> list[Finding]:
    """Examine the outputs of every layer except the last."""
    findings = []
    for place, layer in enumerate(model.layers[:-1]):
        activation = getattr(getattr(layer, "activation", None), "name", "linear")
        if activation not in _DYING and activation not in _BOUNDED:
            continue
        outputs = _lower_part(model, place + 1).predict(X)
        if activation in _DYING:
            dead = int(np.sum(~outputs.any(axis=0)))
            if dead:
                fraction = dead / outputs.shape[1]
                findings.append(
                    Finding("dead units", f"layer {layer.name!r}", "serious" if fraction > 0.5 else "warning",
                            f"{dead} of {outputs.shape[1]} units output 0 for all {len(X):,} rows and no longer learn",
                            "Lower the learning rate, scale the inputs, or use leaky_relu or elu")
                )  # fmt: skip
            continue
        low, high = _BOUNDED[activation]
        margin = 0.01 * (high - low)
        saturated = float(np.mean((outputs < low + margin) | (outputs > high - margin)))
        if saturated > 0.5:
            findings.append(
                Finding("saturated units", f"layer {layer.name!r}", "serious" if saturated > 0.9 else "warning",
                        f"{saturated:.0%} of its outputs are within 1 % of the limits of {activation}, where the "
                        "gradient is nearly 0",
                        "Scale the inputs, start with smaller weights, or use relu")
            )  # fmt: skip
    return findings


def _lower_part(model: "Sequential", n_layers: int) -> "Sequential":
    """Return a copy of the first layers of a model, with their weights."""
    layers = model.layers[:n_layers]
    copies = [type(layer).from_config(layer.get_config()) for layer in layers]
    part = type(model)(copies, seed=0, dtype=model.dtype)
    part.build((None, model.program.n_features))
    part.set_weights([weight for layer in layers for weight in layer.get_weights()])
    return part


def _examine_gradients(model: "Sequential", rows: Rows, learning_rate: float | None) -> list[Finding]:
    """Compare the gradient of every kernel with the kernel, on the rows as one batch."""
    if model.loss.core_name == "custom":
        return []
    fit = _core.Fit(model.network, rows.X, rows.y, None, min(rows.n, 1024))
    gradients = [gradient for _, name, gradient in fit.gradients() if name == "kernel"]
    kernels = [(layer.name, weight) for layer in model.layers for weight in layer.get_weights() if weight.ndim == 2]
    rate = float(model.optimizer.learning_rate) if learning_rate is None else learning_rate
    plain = model.optimizer.core_name == "sgd"
    names, sizes, findings = [], [], []
    for (layer_name, kernel), gradient in zip(kernels, gradients, strict=True):
        weight_size = float(np.sqrt(np.mean(np.square(kernel, dtype=np.float64))))
        gradient_size = float(np.sqrt(np.mean(np.square(gradient, dtype=np.float64))))
        names.append(layer_name)
        sizes.append(gradient_size)
        if weight_size == 0.0:
            continue
        ratio = rate * (gradient_size if plain else 1.0) / weight_size
        if ratio > 0.1:
            findings.append(
                Finding("large steps", f"layer {layer_name!r}", "serious" if ratio > 1.0 else "warning",
                        f"a step changes the weights by a factor of {ratio:.2g} of their size (good: about 0.001)",
                        f"Lower the learning rate (now {rate:.3g}) or scale the inputs and targets")
            )  # fmt: skip
        elif ratio < 1e-6:
            findings.append(
                Finding("small steps", f"layer {layer_name!r}", "note",
                        f"a step changes the weights by a factor of {ratio:.2g} of their size (good: about 0.001)",
                        f"Raise the learning rate (now {rate:.3g}), unless training has converged")
            )  # fmt: skip
    if len(sizes) > 1 and max(sizes) > 0.0:
        ratio = sizes[0] / sizes[-1] if sizes[-1] > 0.0 else np.inf
        where = f"layer {names[0]!r}"
        against = f"its gradient is {ratio:.2g} times that of {names[-1]!r}"
        if ratio < 1e-3:
            findings.append(
                Finding("vanishing gradients", where, "serious" if ratio < 1e-5 else "warning", against,
                        "Use relu instead of sigmoid or tanh, He or Glorot initialization, fewer layers, or Residual")
            )  # fmt: skip
        elif ratio > 1e3:
            findings.append(
                Finding("exploding gradients", where, "serious" if ratio > 1e5 else "warning", against,
                        "Start with smaller weights (Glorot, He), clip gradients (clipnorm=1.0), or lower the rate")
            )  # fmt: skip
    return findings


def _examine_validation(model: "Sequential", rows: Rows, validation: Rows) -> list[Finding]:
    findings = []
    counts = _class_counts(model, validation.y)
    smallest = validation.n if counts is None else int(counts.min())
    if validation.n < 50 or smallest < 10:
        measure = f"{validation.n} rows" + ("" if counts is None else f", {smallest} of the rarest class")
        findings.append(
            Finding("validation set too small", "validation data", "warning",
                    f"{measure}: differences between models of less than about {1.0 / np.sqrt(max(smallest, 1)):.0%} "
                    "are chance",
                    "Hold out more rows, or use cross-validation")
        )  # fmt: skip
    known = {row.tobytes() for row in np.ascontiguousarray(rows.X, dtype=np.float64) + 0.0}
    shared = sum(row.tobytes() in known for row in np.ascontiguousarray(validation.X, dtype=np.float64) + 0.0)
    if shared:
        findings.append(
            Finding("shared rows", "validation data", "serious",
                    f"the inputs of {shared:,} of {validation.n:,} rows are also in the training data",
                    "Remove duplicates before the split, and split by group, time or place")
        )  # fmt: skip
    return findings + _compare_with_simple_models(model, rows, validation)


def _compare_with_simple_models(model: "Sequential", rows: Rows, validation: Rows) -> list[Finding]:
    """Compare the network with the mean and a least-squares fit of the training data, on the validation data."""
    target, truth = _as_matrix(model, rows.y), _as_matrix(model, validation.y)
    predicted = np.asarray(model.network.predict(validation.X), dtype=np.float64)
    if predicted.shape != truth.shape:
        return []
    with_ones = np.column_stack([rows.X, np.ones(rows.n)]).astype(np.float64)
    coefficients = np.linalg.lstsq(with_ones, target, rcond=None)[0]
    simple = {
        "the mean": np.broadcast_to(target.mean(axis=0), truth.shape),
        "a linear model": np.column_stack([validation.X, np.ones(validation.n)]).astype(np.float64) @ coefficients,
    }
    if model.loss.targets == "numbers":
        kind = "mean squared error"
        if not np.any(truth.std(axis=0)):
            return []
        # Targets in different units have equal weight.
        scale = np.where(truth.std(axis=0) > 0.0, truth.std(axis=0), 1.0)

        def error(values: Array) -> float:
            return float(np.mean(np.square((values - truth) / scale)))
    else:
        kind = "fraction of wrong classes"

        def error(values: Array) -> float:
            return float(np.mean(_classes(values) != _classes(truth)))

        if model.program.final_activation not in ("softmax", "sigmoid") and predicted.shape[1] == 1:
            predicted = predicted + 0.5  # logits: class 1 above 0
    network_error = error(predicted)
    for name, values in simple.items():
        if error(values) <= network_error:
            return [
                Finding("no better than a simple model", "validation data", "serious",
                        f"{name} has a {kind} of {error(values):.4g}, the network {network_error:.4g}",
                        "Train longer, tune it, find better inputs, or use the simple model")
            ]  # fmt: skip
    return []


def _as_matrix(model: "Sequential", y: Array) -> NDArray[np.float64]:
    """Return targets as (n, n_outputs); labels become one-hot rows."""
    if model.loss.targets == "labels":
        return np.eye(model.program.n_outputs)[y.ravel()]
    return np.asarray(y, dtype=np.float64)


def _classes(values: Array) -> Array:
    """Return the class of each row of scores (n, n_outputs)."""
    return values.argmax(axis=1) if values.shape[1] > 1 else values[:, 0] > 0.5


class TrainingDoctor(Callback):
    """Examines data and model at the end of training, and whether the loss stood still, rose, or rose in validation.

    Parameters
    ----------
    x, y : training data, as given to ``fit``.
    validation_data : (x, y), as given to ``fit``.
    print_report : whether to print the findings at the end.

    Attributes
    ----------
    findings : ``Diagnosis`` of the last ``fit``.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> model = fastnn.Sequential([fastnn.layers.Dense(1)], seed=0)
    >>> model.compile(optimizer="adam", loss="mse")
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> doctor = fastnn.TrainingDoctor(X, X[:, 0], print_report=False)
    >>> history = model.fit(X, X[:, 0], epochs=2, verbose=0, callbacks=[doctor])
    >>> [finding.what for finding in doctor.findings]
    []
    """

    def __init__(self, x: Any, y: Any, validation_data: Any = None, *, print_report: bool = True) -> None:
        super().__init__()
        self.data = (x, y)
        self.validation_data = validation_data
        self.print_report = print_report
        self.findings = Diagnosis([])
        self._losses: list[float] = []
        self._validation_losses: list[float] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the losses of an earlier training."""
        if not isinstance(self.model, LayerStack):
            raise TypeError("TrainingDoctor examines a fastnn.Sequential: leave it out of an estimator's callbacks")
        self._losses, self._validation_losses = [], []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the losses."""
        logs = logs or {}
        self._losses.append(logs.get("loss", np.nan))
        if "val_loss" in logs:
            self._validation_losses.append(logs["val_loss"])

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Examine everything."""
        if not np.isfinite(self._losses[-1:]).all():
            warnings.warn("the loss is not finite: the doctor examines the last finite weights", stacklevel=2)
        found = diagnose(self.model, *self.data, validation_data=self.validation_data)
        self.findings = Diagnosis([*found, *self._examine_course()])
        if self.print_report:
            print(self.findings)

    def _examine_course(self) -> list[Finding]:
        findings = []
        losses, validation = self._losses, self._validation_losses
        margin = 0.01 * abs(losses[0]) if losses else 0.0
        if len(losses) >= 5 and losses[-1] > losses[0] + margin:
            findings.append(
                Finding("loss rises", "training", "serious",
                        f"it rose from {losses[0]:.4g} after the first epoch to {losses[-1]:.4g} after the last",
                        "Lower the learning rate, scale the inputs, and check that the loss suits the last layer")
            )  # fmt: skip
        elif len(losses) >= 5 and losses[-1] > losses[0] - margin:
            findings.append(
                Finding("loss stands still", "training", "serious",
                        f"{losses[0]:.4g} after the first epoch, {losses[-1]:.4g} after the last",
                        "Raise the learning rate, scale the inputs, and check that rows of inputs and targets match")
            )  # fmt: skip
        if len(validation) >= 5 and validation[-1] > 1.1 * min(validation):
            best = int(np.argmin(validation))
            findings.append(
                Finding("overfitting", "training", "warning",
                        f"the validation loss was {validation[best]:.4g} after epoch {best + 1}, "
                        f"{validation[-1]:.4g} at the end",
                        "Use EarlyStopping(restore_best_weights=True), Dropout, or a smaller network")
            )  # fmt: skip
        return findings
