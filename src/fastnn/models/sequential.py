"""``Sequential``: a stack of layers with Keras's methods, trained by the compiled core."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike, NDArray

import fastnn.losses as losses
import fastnn.optimizers as optimizers
from fastnn._arguments import as_verbosity, whole
from fastnn._arrays import as_features
from fastnn._progress import ProgressLine, format_logs
from fastnn.callbacks import CallbackList, History, ProgbarLogger
from fastnn.layers import Flatten, Layer, Normalization
from fastnn.models.gradients import input_gradients, weight_gradients
from fastnn.network.program import Program, flattens
from fastnn.saving.methods import SavedStack
from fastnn.training.batches import BatchSource, gives_batches, read_once
from fastnn.training.evaluation import Evaluation, predict_rows
from fastnn.training.fit import Training, fit_options, train_one_batch
from fastnn.training.metrics import CompiledMetric, compile_metrics
from fastnn.training.rows import Rows, as_sample_weight, as_targets, split_point, weigh_classes

Array = NDArray[Any]
_NO_CALLBACKS = CallbackList(None, None, {})
_MISSING_HINT = ", or let the first layer do it: layers.Normalization(missing='mean' or 'indicator')"


class Sequential(SavedStack):
    """A stack of layers, each fed by the one before.

    Parameters
    ----------
    layers : list of layers; the first may be ``Input((n_features,))``. Without a stated size the data give it.
    seed : whole number that fixes starting weights, shuffling and dropout; None draws one (see the attribute).
    dtype : "float32" or "float64", of weights and outputs.
    name : name in ``summary()``.

    Attributes
    ----------
    seed : the seed in use.
    optimizer, loss, metrics : what ``compile`` was given.
    history : ``History`` of the last ``fit``.
    stop_training : a callback sets it to end ``fit`` after the epoch.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> model = fastnn.Sequential([fastnn.layers.Dense(8, activation="relu"), fastnn.layers.Dense(1)], seed=0)
    >>> model.compile(optimizer="adam", loss="mse")
    >>> X = np.linspace(-1.0, 1.0, 64).reshape(-1, 1)
    >>> history = model.fit(X, X**2, epochs=3, verbose=0)
    >>> len(history.history["loss"]), model.predict(X).shape
    (3, (64, 1))
    """

    def __init__(
        self,
        layers: Sequence[Layer] | None = None,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(layers, seed, dtype, name)
        self.metrics: list[CompiledMetric] = []
        self.history: History | None = None
        self.stop_training = False
        self.epochs_begun = 0

    # Training

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: None = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : name or optimizer.
        loss : name, loss or function of your own; a list of one; None for a model that only predicts.
        loss_weights : must be None: there is one loss.
        metrics : list of names, functions of (y_true, y_pred) or metric objects, computed on all rows of an epoch.
        weighted_metrics : the same, with sample weights.
        run_eagerly, steps_per_execution, jit_compile, auto_scale_loss : Keras's; they change nothing here.

        Raises
        ------
        ValueError
            Unknown name; lists the known ones and the nearest.
        """
        if loss_weights is not None:
            raise ValueError(
                f"loss_weights must be None, a network has one loss; got {loss_weights!r} (metrics come after it)"
            )
        if isinstance(loss, list | tuple) and len(loss) == 1:
            loss = loss[0]
        new_optimizer = optimizers.get(optimizer)
        new_loss = None if loss is None else losses.get(loss)
        if self._program is not None and new_loss is not None:
            new_loss.target_columns(self._program.n_outputs)  # raises where the loss does not suit them
        new_metrics = compile_metrics(metrics, weighted_metrics)
        with self._changing("compile"):
            self.optimizer, self.loss, self.metrics = new_optimizer, new_loss, new_metrics
            if self._network is not None and self._program is not None and new_loss is not None:
                self._compile_network(self._network, self._program)

    @property
    def compiled(self) -> bool:
        """Whether ``compile`` was called."""
        return self.optimizer is not None

    @property
    def metrics_names(self) -> list[str]:
        """Names of what ``evaluate`` returns: "loss", then the metrics."""
        return ["loss", *(metric.name for metric in self.metrics)]

    def _require_compiled(self, method: str) -> None:
        if self.optimizer is None:
            raise RuntimeError(f"call model.compile(optimizer=..., loss=...) before {method}")
        if self.loss is None:
            raise RuntimeError(f"{method} needs a loss: call model.compile(optimizer=..., loss=...)")

    def _row_shape(self) -> tuple[int, ...] | None:
        """Shape of a row before a first ``Flatten``: () for any; None if the model takes vectors only."""
        if not flattens(self.layers):
            return None
        return self._all_layers[0].declared_input or ()

    def _takes_missing(self) -> bool:
        """Whether NaN in the inputs stands for a missing value: the first layer replaces it."""
        first = next((layer for layer in self.layers if not isinstance(layer, Flatten)), None)
        return isinstance(first, Normalization) and first.missing is not None

    def _check_features(
        self, x: Any, name: str = "x", n_features: int | None = None, allow_empty: bool = False
    ) -> tuple[Array, Program]:
        """Return checked inputs, and the program that fits them."""
        expected = n_features if n_features is not None else self._n_features()
        missing = self._takes_missing()
        X = as_features(x, expected, self.dtype, name, self._row_shape(), missing, _MISSING_HINT, allow_empty)
        return X, self._program_for(X.shape[1])

    def _check_rows(self, x: Any, y: Any, sample_weight: Any) -> tuple[Rows, Program]:
        """Return checked inputs, targets and weights, and the program that fits them."""
        X, program = self._check_features(x)
        return self._rows_of(X, y, sample_weight, program, ("x", "y", "sample_weight")), program

    def _rows_of(self, X: Array, y: Any, sample_weight: Any, program: Program, names: tuple[str, str, str]) -> Rows:
        """Return checked inputs with their targets and weights, which messages call by ``names``."""
        loss, n = self.loss, X.shape[0]
        columns = loss.target_columns(program.n_outputs)
        targets = as_targets(y, loss.targets, loss.name, columns, n, self.dtype, names[1], names[0], loss.ignore_class)
        return Rows(X, targets, as_sample_weight(sample_weight, n, self.dtype, names[2]))

    def _check_validation(self, data: Any, program: Program) -> Rows:
        """Return ``validation_data`` checked."""
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise ValueError("validation_data must be (x, y) or (x, y, sample_weight)")
        names = ("validation_data[0]", "validation_data[1]", "validation_data[2]")
        X, _ = self._check_features(data[0], names[0], program.n_features)
        return self._rows_of(X, data[1], data[2] if len(data) == 3 else None, program, names)

    def _build_for(self, program: Program) -> None:
        if self._program is not program:
            self._build(program)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> History:
        """Train.

        Parameters
        ----------
        x : inputs (n, n_features), finite numbers; without y, an iterable of batches (x, y) or (x, y, sample_weight)
            of one size: a generator, a ``utils.PyDataset``, a loader of another library. The rows of an epoch are
            collected before it, and keep their order.
        y : targets (n, n_outputs), or class labels (n,); (n,) and (n, 1) mean the same.
        batch_size : rows in a step, 32 by default; the last step of an epoch takes what is left.
        epochs, initial_epoch : epochs ``initial_epoch`` to ``epochs - 1`` are trained.
        verbose : 0 silent, 1 or "auto" a progress line, 2 a line for every epoch.
        callbacks : list of callbacks.
        validation_split : fraction of the rows, the last ones, to evaluate after every epoch instead of training.
        validation_data : (x, y) or (x, y, sample_weight) to evaluate after every epoch, or batches of them, read once.
        shuffle : whether every epoch has a new order of rows.
        class_weight : dict from class to the factor of its rows' loss; classes left out have 1.
        sample_weight : factor (n,) of each row's loss; the sum is still divided by the number of rows, save with the
            loss reduction "mean_with_sample_weight".
        steps_per_epoch : None or the number of batches of all rows: an epoch goes through all rows. Of a generator the
            batches to take for every epoch; one that ends ends ``fit``.
        validation_steps : batches of the validation rows to evaluate, the first ones; None for all.
        validation_batch_size : rows in a batch of evaluation.
        validation_freq : epochs between evaluations, or the numbers, from 1, of the epochs to evaluate after.

        Returns
        -------
        History
            ``.history`` holds a list per name: "loss", the metrics, and both with the prefix "val_".

        Raises
        ------
        ValueError
            Inputs that do not fit; nothing is changed then.
        RuntimeError
            Not compiled, or another thread trains or reads the model. While ``fit`` runs, calls of other threads raise
            it instead, and ``fit`` goes on.
        DivergenceError
            The loss became NaN or infinite; the model keeps its last finite weights.
        """
        self._require_compiled("fit")
        source = None
        if y is None and gives_batches(x):
            source = BatchSource(x, steps_per_epoch, "x", "steps_per_epoch")
            if sample_weight is not None or validation_split:
                raise ValueError(
                    "x gives batches: give sample_weight with them, and validation_data instead of validation_split"
                )
            x, y, sample_weight = source.read()
            batch_size, shuffle, steps_per_epoch = source.batch_size, False, None
        if gives_batches(validation_data):
            *validation_data, _ = read_once(validation_data, validation_steps, "validation_data", "validation_steps")
            validation_steps = None
        options = fit_options(batch_size, epochs, initial_epoch, shuffle, validation_batch_size, validation_freq)
        verbosity = as_verbosity(verbose)
        with self._changing("fit"):
            rows, program = self._check_rows(x, y, sample_weight)
            validation = None
            if validation_data is not None:
                validation = self._check_validation(validation_data, program)
            elif validation_split:
                rows, validation = rows.split(split_point(rows.n, validation_split))
            if validation is not None:
                validation = validation.first(validation_steps, options.validation_batch_size, "validation_steps")

            def weighed(rows: Rows) -> Rows:
                if class_weight is None:
                    return rows
                return weigh_classes(rows, class_weight, self.loss.targets, program.n_outputs, self.dtype)

            def next_rows() -> Rows | None:
                assert source is not None
                found = source.read_next()
                return None if found is None else weighed(self._check_rows(*found)[0])

            rows = weighed(rows)
            history = History()
            always = (history, ProgbarLogger(verbosity)) if verbosity else (history,)
            steps = -(-rows.n // options.batch_size)
            if steps_per_epoch is not None and whole("steps_per_epoch", steps_per_epoch, at_least=1) != steps:
                raise ValueError(
                    f"steps_per_epoch={steps_per_epoch}, but an epoch is all {rows.n} rows, {steps} batches of "
                    f"{options.batch_size}: leave steps_per_epoch out, and give fewer rows for shorter epochs"
                )
            callback_list = CallbackList(
                callbacks, self, {"epochs": options.epochs, "steps": steps, "verbose": verbosity}, always
            )
            self._build_for(program)
            callback_list.attach()
            self.history = history
            try:
                with self._training("fit"):
                    Training(self, rows, validation, options, callback_list, next_rows if source else None).run()
            finally:
                callback_list.close()
        return history

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Do one update with all rows given, in order.

        Returns
        -------
        float, list or dict
            Loss of these rows before the update, or [loss, metrics...], or a dict by name.
        """
        self._require_compiled("train_on_batch")
        with self._changing("train_on_batch"):
            rows, program = self._check_rows(x, y, sample_weight)
            if class_weight is not None:
                rows = weigh_classes(rows, class_weight, self.loss.targets, program.n_outputs, self.dtype)
            self._build_for(program)
            with self._training("train_on_batch"):
                return _as_keras_returns(train_one_batch(self, rows), return_dict)

    def reset_metrics(self) -> None:
        """Do nothing: metrics are of whole epochs, or of the rows of one ``train_on_batch``."""

    # Evaluation and prediction

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and the metrics of data, without training.

        Parameters
        ----------
        x, y, sample_weight : as in ``fit``.
        batch_size : rows in a batch; matters to callbacks, and to losses whose batches do not weigh like their rows.
        verbose : 0 silent, else one line of results.
        steps : batches to evaluate, the first ones; None for all rows.
        callbacks : list of callbacks.
        return_dict : whether to return a dict by name.

        Returns
        -------
        float, list or dict
            Loss; [loss, metrics...] where there are metrics; or a dict by name.
        """
        self._require_compiled("evaluate")
        verbosity = as_verbosity(verbose)
        if y is None and gives_batches(x):
            x, y, sample_weight, batch_size = read_once(x, steps, "x", "steps")
            steps = None
        batch = 32 if batch_size is None else whole("batch_size", batch_size, at_least=1)
        rows, program = self._check_rows(x, y, sample_weight)
        rows = rows.first(steps, batch, "steps")
        callback_list = CallbackList(callbacks, self, {"steps": -(-rows.n // batch), "verbose": verbosity})
        self._build_for(program)
        callback_list.attach()
        with self._reading("evaluate"):
            results = Evaluation(self, rows, batch, callback_list).run()
        if verbosity:
            ProgressLine().print(format_logs(results))
        return _as_keras_returns(results, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return the loss and the metrics of one batch, as ``evaluate`` does."""
        self._require_compiled("test_on_batch")
        rows, program = self._check_rows(x, y, sample_weight)
        self._build_for(program)
        with self._reading("test_on_batch"):
            return _as_keras_returns(Evaluation(self, rows, rows.n, _NO_CALLBACKS).run(), return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Array:
        """Return the outputs (n, n_outputs) of inputs (n, n_features); n may be 0.

        Parameters
        ----------
        x : inputs, finite numbers, or an iterable of batches of them.
        batch_size : rows in a batch; matters to callbacks only. No output depends on the rows around it.
        verbose : accepted as in Keras; prediction prints nothing.
        steps : batches to predict, the first ones; None for all rows.
        callbacks : list of callbacks.
        """
        as_verbosity(verbose)
        if gives_batches(x):
            x, _, _, batch_size = read_once(x, steps, "x", "steps")
            steps = None
        batch = 32 if batch_size is None else whole("batch_size", batch_size, at_least=1)
        X, program = self._check_features(x, allow_empty=True)
        if steps is not None:
            X = X[: whole("steps", steps, at_least=1) * batch]
        self._build_for(program)
        callback_list = _NO_CALLBACKS
        if callbacks is not None:
            callback_list = CallbackList(callbacks, self, {"steps": -(-X.shape[0] // batch)})
            callback_list.attach()
        with self._reading("predict"):
            return predict_rows(self, X, batch, callback_list)

    def gradients(self, x: Any, y: Any, sample_weight: Any = None) -> list[Array]:
        """Return the gradients of the loss with respect to the weights, in the order of ``get_weights()``.

        All rows are one batch and dropout is off; what training does not change has zeros.
        """
        self._require_compiled("gradients")
        rows, program = self._check_rows(x, y, sample_weight)
        self._build_for(program)
        with self._reading("gradients"):
            return weight_gradients(self, rows)

    def input_gradients(self, x: Any) -> Array:
        """Return the derivatives of every output with respect to every input, (n, n_outputs, n_features).

        Parameters
        ----------
        x : inputs (n, n_features), finite numbers.
        """
        X, program = self._check_features(x, allow_empty=True)
        self._build_for(program)
        with self._reading("input_gradients"):
            return input_gradients(self, X)

    def predict_on_batch(self, x: Any) -> Array:
        """Return the outputs of one batch; the same as ``predict``."""
        return self.predict(x)

    def folded(self) -> "Sequential":
        """Return a new model that predicts the same to rounding with fewer layers; this one is not changed.

        Normalizations with known statistics become part of a dense product before or behind them, linear dense layers
        that follow each other become one where that costs no more, and dropout and noise are left out. The weights are
        combined in float64. The copy does not follow later changes of this model's weights.

        Examples
        --------
        >>> import fastnn
        >>> from fastnn import layers
        >>> dense, normalization = layers.Dense(8, input_dim=4), layers.BatchNormalization()
        >>> model = fastnn.Sequential([dense, normalization, layers.Dense(2)])
        >>> [layer.kernel.shape for layer in model.folded().layers]
        [(4, 2)]
        """
        self._require_built()
        from fastnn.models.folding import folded

        with self._reading("folded"):
            return folded(self)

    def __call__(self, x: Any, out: Array | None = None, training: bool = False) -> Array:
        """Return the outputs (n, n_outputs) of inputs (n, n_features): the quickest way for few rows.

        Parameters
        ----------
        x : inputs; an array of the model's dtype is not copied.
        out : (n, n_outputs) in the model's dtype to write into.
        training : must be False; ``fit`` and ``train_on_batch`` train.
        """
        if training:
            raise ValueError("model(x) predicts: training=True is not supported; use fit or train_on_batch")
        try:
            return self._predict(x, out)
        except (TypeError, ValueError):
            pass
        # The core refused: convert what can be converted, or say clearly what is wrong.
        X, program = self._check_features(x, allow_empty=True)
        self._build_for(program)
        return self._predict(X, out)


def _as_keras_returns(logs: dict[str, Any], return_dict: bool) -> Any:
    """Return the loss, a list of loss and metrics, or the dict."""
    if return_dict:
        return logs
    return list(logs.values()) if len(logs) > 1 else logs["loss"]
