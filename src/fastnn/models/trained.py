"""What users do with a model: compile, fit, evaluate, predict."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

import fastnn.optimizers as optimizers
from fastnn._arguments import as_verbosity, flag, whole
from fastnn._arrays import is_source
from fastnn._dask import lazily
from fastnn._derivation import check_hooks
from fastnn._progress import ProgressLine, format_logs
from fastnn._warnings import warn
from fastnn.callbacks import CallbackList, History, ProgbarLogger
from fastnn.callbacks.callback import EpochRecord
from fastnn.layers.tensor import tensors_in
from fastnn.models.inspection import InspectedStack
from fastnn.network.objective import compile_losses, loss_names
from fastnn.training.batches import batch_slices
from fastnn.training.evaluation import Evaluation, predict_rows
from fastnn.training.metrics import CompiledMetric, compile_metrics
from fastnn.training.rows import Fold, check_columns_of, columns_of, features_of, n_rows, rows_of, take, weigh_classes
from fastnn.training.source import RowSource, Validation, as_batch_size, one_pass, source_rows

Array = NDArray[Any]
_NO_CALLBACKS = CallbackList(None, None, {})


class TrainedStack(InspectedStack):
    """A stack of layers with the methods that train it and use it."""

    metrics: list[CompiledMetric]
    _record: EpochRecord | None = None
    _last_history: weakref.ref[History] | None = None
    loss_order: Sequence[str] = ()
    """Names of the losses of the outputs, in the order in which ``evaluate`` returns them."""
    # Training

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
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
        loss : name, loss or custom function; a list of one of these; None for a model that only predicts. With several
            outputs one for all of them, a list with one for each, or a dict by name; None for an output without one.
        loss_weights : factor of the loss; for a model with several outputs a list or dict of their factors.
        metrics : list of names, functions of (y_true, y_pred) or metric objects, computed on all rows of an epoch. With
            several outputs a list of such lists, one for each, or a dict by name.
        weighted_metrics : the same, with sample weights.
        run_eagerly, steps_per_execution : have no effect on native steps, with a warning if they are not left out.
        jit_compile : "auto", True or False: the core is compiled already.
        auto_scale_loss : True or False: float32 and float64 need no scaling.

        Raises
        ------
        ValueError
            Unknown name; the message lists the known names and the nearest one.
        TypeError
            A class has a hook that fastnn never calls, such as ``train_step``; the message says what to use instead.
        """
        _check_execution(run_eagerly, steps_per_execution, jit_compile, auto_scale_loss)
        new_optimizer = optimizers.get(optimizer)
        keys = self.output_keys
        new_loss, new_weights = compile_losses(loss, loss_weights, keys, self.takes_loss_by_output)
        new_metrics = compile_metrics(metrics, weighted_metrics, keys if self.takes_loss_by_output else None)
        new_losses = new_loss if isinstance(new_loss, list) else [new_loss]
        check_hooks(self, *(each for each in (new_optimizer, *new_losses) if each is not None))
        named = self.takes_loss_by_output and isinstance(loss, Mapping) and isinstance(self.output, Mapping)
        new_order = [f"{key}_loss" for key in (loss if named else keys)]
        me = weakref.ref(self)
        with self._structure, self._changing("compile") as change:
            network, program = self._network, self._program
            for each, head in zip(new_losses, () if program is None else program.heads, strict=program is not None):
                if each is not None:
                    each.target_columns(head.n_outputs)  # raises if the loss does not suit them
            before = -1
            try:
                if network is not None and program is not None and any(each is not None for each in new_losses):
                    before = network.compilations
                    self._reserve(change)
                    self._compile_network(network, program, new_optimizer, new_losses, new_weights)
            finally:
                # Once the network is changed, so is the model, even if an interrupt comes in between.
                if before < 0 or network is None or network.compilations != before:
                    vars(self).update(
                        optimizer=new_optimizer,
                        compiled_with=new_optimizer,
                        loss=new_loss,
                        metrics=new_metrics,
                        loss_weights=new_weights,
                        loss_order=new_order,
                    )
                    new_optimizer.begin_with(me)

    @property
    def compiled(self) -> bool:
        """Whether ``compile`` was called."""
        return self.optimizer is not None

    @property
    def metrics_names(self) -> list[str]:
        """Names of the results of ``evaluate``: "loss", those of several outputs, then the metrics."""
        return ["loss", *loss_names(self), *(metric.name for metric in self.metrics)]

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
        """Train the model for a number of epochs.

        Parameters
        ----------
        x : inputs (n, n_features), finite numbers; without y, an iterable of batches (x, y) or (x, y, sample_weight):
            a generator, a ``utils.PyDataset`` or a loader of another library. Batches keep their order, and some 64 MB
            of them are in memory at a time. Or, without y and sample_weight, a ``fastnn.data`` source, which has them.
        y : targets (n, n_outputs), or class labels (n,); (n,) and (n, 1) mean the same.
        batch_size : rows in a step, 32 by default; the last step of an epoch takes the remaining rows. Batches have
            sizes of their own: there it has no effect, with a warning.
        epochs, initial_epoch : epochs ``initial_epoch`` to ``epochs - 1`` are trained.
        verbose : 0 silent, 1 or "auto" a progress line, 2 a line for every epoch.
        callbacks : list of callbacks.
        validation_split : fraction of the rows, the last ones, to evaluate after every epoch instead of training.
        validation_data : (x, y) or (x, y, sample_weight) to evaluate after every epoch, batches of them, read once,
            or a source.
        shuffle : whether every epoch has a new order of rows.
        class_weight : dict from class to the factor of its rows' loss; classes that it leaves out have factor 1. The
            class is the label, the column of a one-hot row, or the whole number in a single column.
        sample_weight : factor (n,) of each row's loss; the sum is still divided by the number of rows, except with the
            loss reduction "mean_with_sample_weight".
        steps_per_epoch : batches of an epoch; None for all. The next epoch continues from there. At the end of arrays,
            or of an ``x`` that has a length, an epoch ends early with a warning, and the next one starts over. ``fit``
            ends when a generator does.
        validation_steps : batches of the validation rows to evaluate, the first ones; None for all.
        validation_batch_size : rows in a batch of evaluation.
        validation_freq : epochs between evaluations, or the numbers, from 1, of the epochs to evaluate after. Without
            rows to validate with, ``validation_steps``, ``validation_batch_size`` and ``validation_freq`` have no
            effect, with a warning.

        Returns
        -------
        History
            ``.history`` holds a list per name: "loss", the metrics, and both with the prefix ``val_``.

        Raises
        ------
        ValueError
            Inputs that do not fit; the model is not changed.
        RuntimeError
            The model is not compiled, or another thread trains or reads it. While ``fit`` runs, calls from other
            threads raise this error, and ``fit`` continues.
        DivergenceError
            The loss became NaN or infinite; the model keeps its last finite weights.
        """
        from fastnn.training.fit import Training, fit_options

        self.require_compiled("fit")
        options = fit_options(epochs, initial_epoch, shuffle, validation_freq)
        verbosity = as_verbosity(verbose)
        fold = x if isinstance(x, Fold) else None
        x = x if fold is None else fold.x
        with self._changing("fit") as change:
            validation = Validation(
                validation_data, validation_split, validation_steps, validation_batch_size, fold, validation_freq
            )
            source = RowSource(
                self, x, y, sample_weight, class_weight, batch_size, steps_per_epoch, validation, options.shuffle
            )
            history = History()
            always = (history, ProgbarLogger(verbosity)) if verbosity else (history,)
            parameters = {"epochs": options.epochs, "steps": source.n_steps, "verbose": verbosity}
            callback_list = CallbackList(callbacks, self, parameters, always)
            self.build_from(source.program)
            self.feature_names_in_ = source.columns
            callback_list.attach()
            self._record, self._last_history = history.record, weakref.ref(history)
            try:
                self._reserve(change)
                self.hold_weights()
                Training(self, source, options, callback_list).run()
            finally:
                source.close()
                callback_list.close()
        return history

    @property
    def history(self) -> History | None:
        """``History`` of the last ``fit``; None before the first."""
        history = None if self._last_history is None else self._last_history()
        if history is None and self._record is not None:
            # A history holds its model: the model holds the record alone, so that it is freed when it is dropped.
            history = History(self._record)
            history.set_model(self)
            self._last_history = weakref.ref(history)
        return history

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Make one update with all given rows, in order.

        Returns
        -------
        float, list or dict
            Loss of these rows before the update, or [loss, metrics...], or a dict by name.
        """
        from fastnn.training.fit import train_one_batch

        self.require_compiled("train_on_batch")
        with self._changing("train_on_batch") as change:
            rows, program = rows_of(self, x, y, sample_weight)
            rows = weigh_classes(rows, class_weight, self, program, partial=True)
            self.build_from(program)
            self.feature_names_in_ = columns_of(self, x) or self.feature_names_in_
            self._reserve(change)
            self.hold_weights()
            return self._returned(train_one_batch(self, rows), return_dict)

    def reset_metrics(self) -> None:
        """Do nothing: metrics describe a whole epoch, or the rows of one ``train_on_batch``."""

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
        batch_size : rows in a batch; matters to callbacks and to losses that depend on how rows are batched.
        verbose : 0 silent, otherwise one line of results.
        steps : batches to evaluate, the first ones; None for all rows.
        callbacks : list of callbacks.
        return_dict : whether to return a dict by name.

        Returns
        -------
        float, list or dict
            Loss; [loss, metrics...] if there are metrics; or a dict by name.
        """
        self.require_compiled("evaluate")
        verbosity = as_verbosity(verbose)
        if is_source(x):
            batch: Any = as_batch_size(batch_size)
            rows: Any = source_rows(self, x, y, sample_weight, batch, steps)
            n_steps, program = -(-len(rows.source) // batch), rows.program
        else:
            x, y, sample_weight, batch, n = one_pass(self, x, y, sample_weight, batch_size, steps)
            rows, program = rows_of(self, x, y, sample_weight)
            rows = rows.first(n)
            n_steps = len(batch_slices(rows.n, batch))
        callback_list = CallbackList(callbacks, self, {"steps": n_steps, "verbose": verbosity})
        self.build_from(program)
        callback_list.attach()
        with self.reading("evaluate"):
            results = Evaluation(self, rows, batch, callback_list).run()
        if verbosity:
            ProgressLine().print(format_logs(results))
        return self._returned(results, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return the loss and the metrics of one batch, as ``evaluate`` does."""
        self.require_compiled("test_on_batch")
        rows, program = rows_of(self, x, y, sample_weight)
        self.build_from(program)
        with self.reading("test_on_batch"):
            return self._returned(Evaluation(self, rows, rows.n, _NO_CALLBACKS).run(), return_dict)

    @lazily
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        out: Any = None,
        resume: bool = False,
    ) -> Any:
        """Return the outputs (n, n_outputs) of inputs (n, n_features); n may be 0.

        A model with several outputs returns them in the form that it was given: a list, or a dict by name.

        Parameters
        ----------
        x : inputs, finite numbers, a ``fastnn.data`` source, or an iterable of batches of them. A Dask array or data
            frame gives a Dask array, which is computed part by part when it is needed, on one thread for each task.
        batch_size : rows in a batch; matters to callbacks only. An output never depends on the other rows.
        verbose : accepted as in Keras; prediction prints nothing.
        steps : batches to predict, the first ones; None for all rows.
        callbacks : list of callbacks.
        out : path of a ``.npy`` file to write the outputs to, of a model with one output, as they are computed. It
            appears when it is complete; until then the outputs are in the same folder, in ``out + ".partial"``.
        resume : whether to continue the predictions of a call with the same model, inputs and ``out`` that was killed
            or failed; without one, predict all rows.

        Returns
        -------
        The outputs; with ``out`` the file, mapped into memory (``numpy.load`` with ``mmap_mode="r"``).

        Raises
        ------
        OSError
            ``out`` cannot be written, such as on a full disk. What is written stays, for ``resume=True``.
        ValueError
            ``resume=True``, and the partial file belongs to another model or to other inputs.
        """
        as_verbosity(verbose)
        resume = flag("resume", resume)
        if resume and out is None:
            raise ValueError("resume=True needs out=, the file of the predictions")
        if is_source(x):
            batch: Any = as_batch_size(batch_size)
            X: Any = source_rows(self, x, None, None, batch, steps, targets=False)
            check_columns_of(self, self.feature_names_in_, x)
            n, program = len(X.source), X.program
        else:
            x, _, _, batch, first = one_pass(self, x, None, None, batch_size, steps)
            X, program = features_of(self, x, allow_empty=True)
            X = take(X, slice(first))
            n = n_rows(X)
        self.build_from(program)
        callback_list = _NO_CALLBACKS
        if callbacks is not None:
            n_batches = len(batch_slices(n, batch))
            callback_list = CallbackList(callbacks, self, {"steps": n_batches})
            callback_list.attach()
        with self.reading("predict"):
            if out is not None:
                from fastnn.training.predictions import write_predictions

                outputs = write_predictions(self, X, batch, callback_list, out, resume)
            else:
                outputs = self.in_form(predict_rows(self, X, batch, callback_list))
        return outputs

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs of one batch; the same as ``predict``."""
        return self.predict(x)

    def __call__(self, x: Any, out: Any = None, training: bool | None = None) -> Any:
        """Return the outputs (n, n_outputs) of inputs (n, n_features): the fastest way to predict a few rows.

        For symbolic tensors, return those of the outputs: a model can be a part of another one.

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
        if tensors_in(x):
            return self.trace(x, training)
        # The core refused: convert the inputs, or raise an error that says what is wrong with them.
        X, program = features_of(self, x, allow_empty=True)
        self.build_from(program)
        return self.in_form(self.network.predict(X, out))

    def _predict_checked(self, x: Any, out: Any = None) -> Any:
        check_columns_of(self, self.feature_names_in_, x)
        return super()._predict_checked(x, out)

    def trace(self, x: Any, training: bool | None = None) -> Any:
        """Return the symbolic outputs for symbolic inputs."""
        raise NotImplementedError

    def _returned(self, logs: dict[str, Any], return_dict: bool) -> Any:
        """Return the loss, a list of the losses and metrics in Keras's order, or the dict."""
        if return_dict:
            return logs
        order = [name for name in ("loss", *self.loss_order) if name in logs]
        values = [logs[name] for name in (*order, *(name for name in logs if name not in order))]
        return values if len(values) > 1 else logs["loss"]


def _check_execution(run_eagerly: Any, steps_per_execution: Any, jit_compile: Any, auto_scale_loss: Any) -> None:
    """Check the arguments of ``compile`` that say how Keras runs steps, and warn of those that have no effect."""
    eagerly = flag("run_eagerly", run_eagerly)
    steps = 1 if steps_per_execution == "auto" else whole("steps_per_execution", steps_per_execution, at_least=1)
    if jit_compile != "auto":
        flag("jit_compile", jit_compile)
    flag("auto_scale_loss", auto_scale_loss)
    if eagerly:
        warn("run_eagerly=True has no effect: steps run in the compiled core; callbacks see what they leave")
    if steps > 1:
        warn(f"steps_per_execution={steps} has no effect: the core makes all steps between callbacks in one call")
