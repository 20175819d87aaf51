"""The doctor's visits: at any time by ``diagnose``, at the end of training by ``TrainingDoctor``."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._arguments import number, optional, takes_keywords
from fastnn._arrays import check_in_memory
from fastnn._warnings import warn
from fastnn.callbacks import Callback, Logs
from fastnn.diagnosis.data import MAX_ROWS, counted, examine_inputs, examine_last_layer, examine_targets
from fastnn.diagnosis.finding import Diagnosis, Finding
from fastnn.diagnosis.graph import examine_graph
from fastnn.diagnosis.network import examine_gradients, examine_units
from fastnn.diagnosis.validation import examine_validation
from fastnn.network.stack import LayerStack, require_stack
from fastnn.training.rows import Rows, rows_of, validation_rows

if TYPE_CHECKING:
    from fastnn.models.sequential import Sequential

__all__ = ["TrainingDoctor", "diagnose"]


@takes_keywords
def diagnose(
    model: "Sequential", x: Any, y: Any, validation_data: Any = None, *, learning_rate: float | None = None
) -> Diagnosis:
    r"""Examine data and a compiled model, without changing them.

    The doctor looks for

    - a last layer that does not suit the loss, or cannot output the targets;
    - inputs and targets that are not scaled, columns that are constant, duplicated or mostly missing, a constant
      target, and rare classes;
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
        scale the gradient themselves, such as Adam, the size depends on the rate alone. ``LBFGS`` and
        ``LevenbergMarquardt`` have no learning rate, and their steps are not examined.

    Returns
    -------
    Diagnosis
        List of ``Finding``: causes before their symptoms, of these the most serious first, notes last.

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
    learning_rate = optional(number, "learning_rate", learning_rate, at_least=0.0)
    rows, program = rows_of(model, x, y)
    model.build_from(program)
    if model.kind != "Sequential":
        held_out = None if validation_data is None else validation_rows(model, validation_data, None)
        return Diagnosis(examine_graph(model, rows, held_out, learning_rate))
    rows = counted(model, rows)
    part = Rows(rows.X[:MAX_ROWS], rows.y[:MAX_ROWS], None)
    findings = [*examine_inputs(model, rows), *examine_last_layer(model, rows), *examine_targets(model, rows)]
    findings += [*examine_units(model, part.X), *examine_gradients(model, part, learning_rate)]
    if validation_data is not None:
        validation = counted(model, validation_rows(model, validation_data, program.n_features))
        findings += examine_validation(model, rows, validation)
    return Diagnosis(findings)


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
        check_in_memory(x, "x", "TrainingDoctor")
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
            warn("the loss is not finite: the doctor examines the last finite weights")
        found = diagnose(self.model, *self.data, validation_data=self.validation_data)
        self.findings = Diagnosis([*found, *self._examine_course()])
        if self.print_report:
            print(self.findings)

    def _examine_course(self) -> list[Finding]:
        findings = []
        losses, validation = self._losses, self._validation_losses
        searches = self.model is not None and self.model.optimizer.full_batch  # it finds the size of each step itself
        margin = 0.01 * abs(losses[0]) if losses else 0.0
        if len(losses) >= 5 and losses[-1] > losses[0] + margin:
            findings.append(
                Finding("loss rises", "training", "serious",
                        f"it rose from {losses[0]:.4g} after the first epoch to {losses[-1]:.4g} after the last",
                        f"{'S' if searches else 'Lower the learning rate, s'}cale the inputs, and check that the loss "
                        "suits the last layer")
            )  # fmt: skip
        elif len(losses) >= 5 and losses[-1] > losses[0] - margin:
            findings.append(
                Finding("loss stands still", "training", "serious",
                        f"{losses[0]:.4g} after the first epoch, {losses[-1]:.4g} after the last",
                        f"{'S' if searches else 'Raise the learning rate, s'}cale the inputs, and check that rows of "
                        "inputs and targets match")
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
