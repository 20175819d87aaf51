"""Types of the compiled core. Everything here is arrays, numbers and names; it knows no layer objects."""

from abc import ABCMeta
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

ACTIVATIONS: tuple[str, ...]
"""Activation names an op or a kernel accepts."""
LOSSES: tuple[str, ...]
"""Loss names ``Network.compile`` and ``loss_and_gradient`` accept."""
OPS: tuple[str, ...]
"""Kinds of ops a ``Network`` is made of."""
OPTIMIZERS: tuple[str, ...]
"""Update rule names ``Network.compile`` accepts."""

class Network:
    """A compiled network: its weights, in the layout the kernels want, and its update-rule state.

    Parameters
    ----------
    n_features : number of input columns; a list for a network with several inputs, or one that takes lists.
    ops : list of ``(kind, options)``, each after those it reads. Buffers are numbered: first the inputs, then the
        output of each op. Every op takes "inputs", the buffers that it reads; left out, the one before its own:
        ``("dense", {"n_out": int, "use_bias": bool, "activation": str, "parameters": (float, ...)})``,
        ``("activation", {"activation": str, "parameters": (float, ...)})``,
        ``("dropout", {"rate": float, "alpha": bool})`` (alpha: alpha dropout),
        ``("gaussian_noise", {"rate": float})`` (rate: the standard deviation), both with {"seed": int, "draw": int} for
        random numbers that do not come from the seed of ``begin_epoch``; calls with one seed differ in draw,
        ``("batch_normalization", {"momentum", "epsilon", "scale", "center"})``: gamma, beta, moving_mean,
        moving_variance,
        ``("layer_normalization", {"epsilon", "scale", "center", "rms_scaling"})``: gamma, beta,
        ``("prelu", {})``: alpha, one per feature,
        ``("normalization", {"invert": bool, "missing": None | "mean" | "indicator"})``: mean, variance, count; as the
        first op with "missing" it lets X hold NaN; with "indicator" it has twice as many outputs,
        ``("add", {})``, "subtract", "multiply", "divide", "average", "maximum", "minimum": inputs element by element,
        in order; one of width 1 counts for every column. All but "average" also take one input and "number", which is
        the second operand, or the first with "number_first". The gradient of an extreme goes to the first that has it,
        ``("concatenate", {})``: the columns of all inputs side by side,
        ``("slice", {"start", "stop", "step"})``: columns, as ``range`` counts them,
        ``("dot", {"normalize": bool})``: of the rows of two inputs, with "normalize" divided by their norms,
        ``("embedding", {"n_rows", "n_columns"})``: kernel, a table (n_rows, n_columns) of which each column of the
        input names a row; it reads columns of an input, through "slice" and "concatenate" at most,
        ``("cosine_features", {"count": int})``: ``count`` outputs per input, ``cos(2 pi frequencies x + bias)``,
        ``("bounded_lines", {"n_rows": 3, "n_columns": int})``: n_columns / n_in outputs per input, w x + bias between
        two bounds; w and the bounds are the rows of the kernel, and nothing is trained,
        ``("feature_scale", {"members": int, "use_bias": bool})``: the inputs times scale, plus bias, ``members`` times
        side by side, each time with other parameters,
        ``("parametric_activation", {"function": str, "parameters"})``: x + (f(x) - x) mix,
        ``("grouped_product", {"n_rows", "n_columns", "groups", "use_bias"})``: each group of n_rows inputs times its
        part (n_rows, n_columns / groups) of the kernel (n_rows, n_columns),
        ``("member_product", {"n_rows", "n_columns", "groups", "use_bias"})``: each group of n_rows inputs times the
        same kernel (n_rows, n_columns).
        "parameters" are the activation's options in order (leaky_relu: negative_slope; elu: alpha; general_relu:
        negative_slope, max_value, threshold). Options that can be off may be left out. Every op takes
        "activity_regularizer": (l1, l2); one with parameters takes "weights_of", an earlier op of its kind whose
        parameters it uses. Where they are trained it takes "trainable" (bool) and for each "<parameter>_regularizer":
        (l1, l2); "<parameter>_constraint": ("max_norm", "unit_norm" or "non_neg", bound, axis), axis 0 for a norm over
        the inputs of each output, 1 for the outputs of each input, None for all; "<parameter>_factors": of the learning
        rate and of weight decay.
    dtype : "float32" or "float64".
    outputs : buffers that the network computes; the last one if left out.
    sources : for each input what messages call it, and which of its columns each column is; None for "X".

    All parameters start at zero, except gammas, variances, scales and mixes, which start at one.
    """

    def __init__(
        self,
        n_features: int | Sequence[int],
        ops: Sequence[tuple[str, dict[str, Any]]],
        dtype: str = "float32",
        outputs: Sequence[int] | None = None,
        sources: Sequence[tuple[str, Sequence[int]]] | None = None,
    ) -> None: ...
    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of every buffer."""
    @property
    def output_widths(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def forget_other_threads(self) -> None:
        """Forget the calls of other threads, in a forked child: only the thread that forked lives on."""
    @property
    def iterations(self) -> int:
        """Update steps taken; the ``t`` of Adam's bias correction."""
    @iterations.setter
    def iterations(self, value: int) -> None: ...
    def weights_are_finite(self) -> bool:
        """Return whether all weights are finite numbers."""
    def weights_checksum(self) -> int:
        """Return a number of 64 bits that differs where a weight or a state does, on one instruction set."""
    def copy_slots(self, count: int, out: Array | None = None) -> Array:
        """Return a copy of the weights and ``count - 1`` of their moments, as the kernels keep them (count, elements).

        It is written to ``out`` if that is given.
        """
    def restore_slots(self, copy: Array) -> None:
        """Go back to weights and moments that ``copy_slots`` returned."""
    def get_parameter(self, op: int, name: str, slot: int = 0) -> Array:
        """Return a copy of parameter "kernel" (n_in, n_out), "bias" or "gamma" (n_out,), ... of op number ``op``.

        ``slot`` 0 is the value; 1, 2, ... are the update rule's moments in the same shape.
        """
    def set_parameter(self, op: int, name: str, value: Array, slot: int = 0) -> None: ...
    def set_parameters(self, places: Iterable[tuple[int, str, int]], values: Iterable[Array]) -> None:
        """Replace parameters at (op, name, slot): all of them, or none where one is refused."""
    def compile(
        self,
        loss: str | Sequence[tuple[str, dict[str, Any], float] | None],
        loss_options: dict[str, Any] | None,
        optimizer: str,
        optimizer_options: dict[str, Any],
    ) -> None:
        """Choose the loss and the update rule; resets the moments and ``iterations``.

        A list has one entry per output: (loss, its options, its weight), or None. The loss of a batch is the sum of all
        losses times their weights, and the penalties. Ops that no loss depends on are not trained.
        loss options: "from_logits" (bool), "label_smoothing", "delta" (Huber), "sum" (bool: reduction "sum" instead
        of the mean over the batch). With "from_logits" and a final op whose activation is softmax or sigmoid, that
        activation is skipped in training: the loss takes the pre-activations (predictions stay activated).
        So is a final exponential with poisson. "factor" multiplies the loss; with "weighted_mean" (bool) the mean
        over a batch is divided by its sum of sample weights, with "scaled_penalty" (bool) so are the penalties on
        weights. "ignore_class" (sparse_categorical_crossentropy) is a label, of any value, whose rows do not count: the
        mean is over the other rows. A batch without rows or weights that count has the loss and the gradient 0.
        The focal losses take "gamma" and "alpha" (the categorical one also (n_outputs,), one per class), the binary
        one "apply_class_balancing"; quantile "q"; gaussian_nll "full"; dice "per_row"; multi_quantile
        "levels". "custom" is a loss that the caller computes: ``Fit.forward`` and ``Fit.backward``.
        optimizer options: sgd: momentum, nesterov; adam, adamw: beta_1, beta_2, epsilon, amsgrad, corrects_epsilon;
        nadam, adamax: beta_1, beta_2, epsilon; adagrad: initial_accumulator_value, epsilon; adadelta: rho, epsilon;
        lion: beta_1, beta_2; rmsprop: rho, momentum, epsilon, centered; all: weight_decay, no_weight_decay (list of
        (op, parameter) left out of it), clipvalue, clipnorm, global_clipnorm, use_ema, ema_momentum,
        ema_overwrite_frequency, gradient_accumulation_steps. Learning rates are given to ``Fit.begin_epoch``.
        """
    @property
    def compilations(self) -> int:
        """How many times ``compile`` has changed the network."""
    @property
    def n_slots(self) -> int:
        """Arrays kept per parameter: the rule's moments, then the moving average and the sum of gradients, if any."""
    @property
    def penalty(self) -> float:
        """Sum of the penalties on all trainable parameters."""
    def set_trainable(self, op: int, trainable: bool) -> None:
        """Freeze or free the parameters of an op, for the fits made from now on."""
    def use_average(self) -> None:
        """Replace the trainable parameters by their moving average; nothing before the first update."""
    @overload
    def predict(self, X: Array, out: Array | None = None, n_threads: int = 0, logits: bool = False) -> Array: ...
    @overload
    def predict(
        self,
        X: Array | Sequence[Array],
        out: Array | Sequence[Array] | None = None,
        n_threads: int = 0,
        logits: bool | Sequence[bool] = False,
        activity: Array | None = None,
        buffers: Sequence[int] | None = None,
    ) -> Any:
        """(n, n_features) -> (n, n_outputs). ``logits`` skips a final softmax or sigmoid.

        With several inputs X is a list; with several outputs so are ``out`` and the result, and ``logits`` may be.

        activity : (n,) float64 or None: receives each row's penalties on the outputs of its ops.
        buffers : other buffers than the outputs; the result is a list then. Ops that they do not depend on do not run.

        Raises ValueError naming the first row and column of X that is not finite or too large for the dtype, or that
        names no row of an embedding's table; ``out`` is not written then.
        """

class Occupancy:
    """Keeps a thread that changes a model and the threads that read it apart.

    The thread that comes second gets a RuntimeError that says what runs; the first is not disturbed. The thread that
    changes the model, such as a ``fit`` in its callbacks, may read it too.
    """

    def forget_other_threads(self) -> None:
        """In a forked child, in which only the thread that forked lives on."""
    def changing(self, task: str, model: str, within: bool = False) -> Occupation:
        """Return a context in which this thread changes the model, alone.

        Parameters
        ----------
        task : name of the method, for messages.
        model : name of the model.
        within : whether it may be part of a change that this thread has begun.
        """
    def reading(self, task: str, model: str) -> Occupation:
        """Return a context in which this thread reads the model; other threads may read it at the same time."""

class Occupation(AbstractContextManager["Occupation"], metaclass=ABCMeta):
    """A context of ``Occupancy``. An interrupt at any moment leaves the model free."""

    def reserve(self, network: Network) -> None:
        """Keep other threads from the weights until the context ends: they get RuntimeError.

        Calls of other threads that are running end first.
        """

class HeldOut:
    """Rows that a fit evaluates between its epochs; holds the arrays.

    Parameters
    ----------
    X, y, sample_weight : as for ``Fit``.
    logits : as for ``Network.predict``.
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        logits: bool | Sequence[bool] = False,
    ) -> None: ...

class Fit:
    """One fit of a network on one set of arrays. Holds the arrays and all scratch memory; nothing is allocated later.

    Parameters
    ----------
    X : (n, n_features), any real dtype, any strides: converted batch by batch, never copied whole. A list of them, one
        per input, where the network was described with a list.
    y : (n, n_outputs) C-contiguous in the network's dtype, or int64 labels (n,) for "sparse_categorical_crossentropy".
    sample_weight : (n,) in the network's dtype, or None.
    predictions : (n, n_outputs) C-contiguous in the network's dtype, or None: receives the outputs of the training
        forward pass, by original row, so that training metrics can be computed after the epoch.
    rows : numbers of the rows to train on, any number of times each, in the place of all; they are not copied.
    ranks : the processes that make this fit together (``_ranks.Ranks``), or None. All of them need the same arrays,
        ``batch_size`` and ``n_threads``.

    With several outputs y is a list with an entry for each output that has a loss, sample_weight may be one, and
    predictions has an entry for every output.
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        batch_size: int = 32,
        n_threads: int = 0,
        predictions: Any = None,
        rows: NDArray[np.int64] | None = None,
        ranks: Any = None,
    ) -> None: ...
    def settle(self) -> None:
        """Exchange the moments between ranks, after ``forward`` and ``backward``; ``run`` does so itself."""
    @property
    def n_steps(self) -> int:
        """Steps in one epoch: ceil(n / batch_size)."""
    def begin_epoch(
        self,
        seed: int,
        epoch: int,
        shuffle: bool,
        learning_rates: NDArray[np.float64],
        order: NDArray[np.int64] | None = None,
        first_step: int = 0,
    ) -> None:
        """Set the order of rows and dropout's stream from (seed, epoch). learning_rates: (n_steps,).

        ``order`` (n,) is an order of rows that replaces the one drawn from the seed. Without it, ``first_step`` is the
        step to continue from: the steps before it have been taken.
        """
    def set_factors(self, name: str, factors: NDArray[np.float64] | None = None) -> None:
        """Multiply an option by factors (n_steps,) of each step, until they are set again; None for 1.

        name: "weight_decay", "dropout" (the rates of all dropout ops), "label_smoothing".
        """
    def set_learning_rates(self, learning_rates: NDArray[np.float64]) -> None:
        """Replace the learning rates of the remaining steps of the epoch; (n_steps,) as for ``begin_epoch``."""
    def run(self, max_steps: int = -1, max_seconds: float = 0.05) -> str:
        """Run steps until the epoch ends ("finished"), a limit is reached ("more"), or the loss is "nonfinite".

        A step with a non-finite loss does not update the weights. Releases the GIL. Where the epoch is cut changes no
        number.
        """
    def begin_epochs(
        self,
        seed: int,
        first: int,
        count: int,
        shuffle: bool,
        learning_rates: NDArray[np.float64],
        orders: NDArray[np.int64] | None = None,
        between: int = 1,
    ) -> None:
        """Prepare ``run_epochs``: epochs number first, first + between, ..., each as after ``begin_epoch``.

        ``learning_rates`` (n_steps,) are those of every epoch; ``orders`` (count, n) have an order of rows for each.
        """
    def evaluate_between(self, held_out: HeldOut, due: NDArray[np.uint8] | None = None) -> None:
        """Evaluate rows after each epoch of ``run_epochs`` that another follows, where ``due`` (count,) is not 0."""
    def stop_early(
        self,
        *,
        held_out: bool,
        min_delta: float,
        patience: int,
        baseline: float | None = None,
        best: float | None = None,
        wait: int = 0,
        epoch: int = 0,
        start: int = 0,
        keep_weights: bool = False,
    ) -> None:
        """Let ``run_epochs`` end early, as the callback ``EarlyStopping`` does.

        Parameters
        ----------
        held_out : whether to watch the total loss of the rows of ``evaluate_between`` instead of that of training.
        min_delta, patience, baseline, best, wait : attributes of the callback.
        epoch, start : numbers of the first of these epochs, and of the first one to watch.
        keep_weights : whether ``best_parameter`` is wanted.
        """
    @property
    def stopping(self) -> tuple[int, float | None, int]:
        """``wait``, ``best`` and the best epoch before the one that ``run_epochs`` is at; -1 if none was the best."""
    def best_parameter(self, op: int, name: str) -> Array:
        """Return a copy of a parameter after the best epoch."""
    @property
    def held_out_losses(self) -> NDArray[np.float64]:
        """Loss of the rows of ``evaluate_between`` and its parts without weights, by epoch; NaN: not due."""
    def run_epochs(self, max_seconds: float = 0.05) -> str:
        """Run epochs until all have ended ("finished"), time is over ("more"), or the loss is "nonfinite".

        Releases the GIL. The numbers are those of ``begin_epoch`` and ``run`` for each epoch.
        """
    def end_after_epoch(self) -> None:
        """Let ``run_epochs`` end after the epoch that has begun, or at once."""
    @property
    def epochs_begun(self) -> int:
        """Epochs that ``run_epochs`` has begun, those that have ended among them."""
    @property
    def epoch_sums(self) -> NDArray[np.float64]:
        """``loss_sum``, ``penalty_sum`` and ``loss_sums`` of each epoch that has ended, (n_ended, 2 + n_losses)."""
    @property
    def step(self) -> int:
        """Steps done in this epoch."""
    @property
    def loss_sum(self) -> float:
        """Sum over the steps done in this epoch of (batch loss x rows in the batch); float64."""
    @property
    def loss_sums(self) -> list[float]:
        """The part of each loss in ``loss_sum``, without its weight."""
    @property
    def penalty_sum(self) -> float:
        """The penalties on weights in ``loss_sum``."""
    def loss_and_gradient(self, parameters: Array, gradient: Array) -> tuple[float, float]:
        """Set all weights; return the loss of the first batch in order, and the penalties in it.

        ``parameters`` and ``gradient`` (overwritten) are flat, in the network's dtype: the kernels of all ops,
        row-major, then their biases.
        """
    def time_phases(self) -> None:
        """Time the phases of ``run`` from now on, from zero."""
    @property
    def phases(self) -> dict[str, float]:
        """Seconds that all threads together spent in each phase since ``time_phases``.

        "gather", "forward", "loss", "backward", "update" (gradients of weights and their update), "wait" (for other
        threads), and with divided steps "exchange" (for other ranks).
        """
    def batch_rows(self) -> NDArray[np.int64]:
        """Rows of the current batch, in its order."""
    def forward(self) -> Any:
        """Return the outputs (rows of the batch, n_outputs) of the training forward pass, for a custom loss.

        With several losses it is a list, of the outputs with a custom one.
        """
    def backward(self, gradient: Any, loss: float | Sequence[float]) -> bool:
        """Finish the step that ``forward`` began, with the gradient of the loss with respect to its outputs.

        With several losses both are lists, without the weights of the losses. False: another loss is not finite, and no
        weight was changed.
        """
    @property
    def loss_of_gradients(self) -> tuple[float, float] | None:
        """Mean loss with penalties, and the penalties, of the last call of ``gradients``."""
    def gradients(self, training: bool = False) -> list[tuple[int, str, Array]]:
        """Gradients ``(op, name, array)`` of the loss of all rows as one batch in order; changes no weight.

        With ``training``, dropout and noise act, and batch normalization uses the statistics of the batch.
        """

def loss_and_gradient(
    name: str,
    y_true: Array,
    y_pred: Array,
    sample_weight: Array | None = None,
    gradient: bool = True,
    **options: float,
) -> tuple[float, Array | None]:
    """Loss (mean over rows, or sum with sum=True) and its gradient with respect to y_pred (n, n_outputs)."""

def activation(name: str, x: Array, out: Array | None = None, parameters: Sequence[float] = ()) -> Array: ...
def activation_gradient(name: str, x: Array, grad_out: Array, parameters: Sequence[float] = ()) -> Array:
    """grad_out * f'(x), elementwise; for softmax and log_softmax the row-wise product with the Jacobian."""

def dense_forward(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None,
    activation: str,
    out: Array | None,
    parameters: Sequence[float] = (),
) -> Array: ...
def dense_backward(
    grad_out: ArrayLike,
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None,
    out: ArrayLike,
    activation: str,
    parameters: Sequence[float] = (),
) -> tuple[Array, Array, Array]: ...
def all_finite(x: Array) -> bool | None:
    """Whether all numbers are finite; None for an array that is not C-contiguous float32 or float64."""

def cholesky(A: NDArray[np.float64]) -> bool:
    """Replace the upper triangle of A by its factor U, ``A = U.T @ U``; False: A is not positive definite."""

def cholesky_inverse_trace(U: NDArray[np.float64]) -> float:
    """Return the trace of the inverse of ``U.T @ U``; only the upper triangle of U is read."""

class LeastSquares:
    """Residuals ``(outputs - targets) * factors`` of a chain of dense layers, by blocks of rows, in float64.

    Parameters
    ----------
    layers : for each its outputs, whether it has a bias, its elementwise activation and the activation's parameters.
    X : (rows, inputs).
    targets, factors : (columns, rows).
    block : rows whose Jacobian is kept at a time, a multiple of 16.
    """

    def __init__(
        self,
        layers: Sequence[tuple[int, bool, str, Sequence[float]]],
        X: NDArray[np.float64],
        targets: NDArray[np.float64],
        factors: NDArray[np.float64],
        block: int,
    ) -> None: ...
    def error(self, weights: NDArray[np.float64]) -> float:
        """Return the sum of squares; the weights are those of each layer in order, its kernel and its bias."""

    def normal_equations(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``J.T J``, whose lower triangle is undefined, and ``J.T r``."""

    def jacobian(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the transposed Jacobian (weights, residuals) and the residuals, column by column in each block."""

def damped_step(
    A: NDArray[np.float64], gradient: NDArray[np.float64], damping: float
) -> tuple[NDArray[np.float64], float] | None:
    """Return ``d = -(A + damping I)^-1 gradient`` and ``d.T (damping d - gradient)``; None: not positive definite.

    Only the upper triangle of A is read.
    """

def random_uniform(seed: int, stream: int, n: int) -> NDArray[np.float64]:
    """N numbers in [0, 1) of the counter-based generator (Philox4x32-10) keyed by (seed, stream)."""

def random_normal(seed: int, stream: int, n: int) -> NDArray[np.float64]: ...
def random_order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """Return the order in which a fit of n rows takes them in a shuffled epoch."""

def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def limit_own_threads(most: int) -> None:
    """Set the most threads of the calls that this thread makes from now on."""

def most_own_threads() -> int:
    """Return the most threads of the calls that this thread makes."""

def config() -> dict[str, Any]:
    """Return the entries "isa", "isas" (available), "compiler", "openmp", "threads" and "machine"."""

def fma_peak(seconds: float = 0.2) -> float:
    """Measure the multiply-add peak of the float32 kernels on one thread over ``seconds``, in GFLOP/s."""

def enter_environment() -> int:
    """Set this thread's default floating-point environment; return what ``leave_environment`` restores."""

def leave_environment(environment: int) -> None: ...
