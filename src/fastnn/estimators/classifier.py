"""scikit-learn's ``MLPClassifier`` on the compiled core."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

import fastnn.losses as losses
from fastnn._arguments import number
from fastnn._arrays import check_labels, is_source
from fastnn._dask import is_lazy, lazily, lazy_accuracy
from fastnn.estimators.fitting import BaseMLP, stochastic_only
from fastnn.estimators.labels import plain_labels

Array = NDArray[Any]


def _fitted_binarizer(y: Array) -> LabelBinarizer:
    """Return ``LabelBinarizer().fit(y)``; for whole numbers, without its checks, which take longer than many steps."""
    binarizer = LabelBinarizer()
    if y.ndim > 1 or y.dtype.kind not in "iub":
        return binarizer.fit(y)
    binarizer.classes_ = np.unique(y)
    binarizer.y_type_ = "multiclass" if len(binarizer.classes_) > 2 else "binary"
    binarizer.sparse_input_ = False
    return binarizer


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """Multi-layer perceptron classifier: scikit-learn's ``MLPClassifier`` on the compiled core.

    Minimizes the mean log loss plus ``alpha / 2 sum(w^2)`` over the kernels, divided by the rows of a batch. Outputs
    are softmax for more than two classes, logistic for two classes and for several labels per row.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, \
beta_1, beta_2, epsilon, n_iter_no_change, max_fun :
        As in scikit-learn 1.9, with the same defaults. ``activation`` may also be any of fastnn's activations, or a
        list with one for every hidden layer. ``solver="lbfgs"`` does not support dropout, optimizer, callbacks,
        progress, validation_data or float32.
    loss : "log_loss", or one of fastnn's losses for one-hot targets, by name or as an object.
    class_weight : weights of the classes, a dict or "balanced" (n / (n_classes count)); classes not in it have 1.
    dropout : fraction of hidden outputs set to zero in training, one number for all hidden layers or one for each.
    optimizer : one of fastnn's optimizers, by name or as an object, used instead of ``solver``; its learning rate may
        be a schedule. None uses ``solver``.
    callbacks : one of fastnn's callbacks or a list of them. A fit runs copies, stored in ``callbacks_``.
    kernel_initializer, bias_initializer : fastnn's initializers; None draws weights as scikit-learn does.
    standardize : whether to scale columns to zero mean and unit variance first. Networks train badly on columns of
        different scales, so turn it on unless the inputs are scaled already.
    missing : treatment of NaN in X: "error" refuses it; "mean" and "median" fill it with that of the column;
        "indicator" fills it with the mean and adds a column of 0 and 1 for every column that had NaN in ``fit``. With
        all but "error", a missing entry of a column of categories is encoded as none of them.
    n_threads : number of threads; None uses fastnn's setting, and 1 in worker processes and threads. Results do not
        depend on it.
    dtype : "float32" or "float64", the type of the computation; None uses that of X.
    progress : whether a progress line is shown.

    Attributes
    ----------
    classes_, loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, t_, coefs_, intercepts_, \
n_features_in_, feature_names_in_, n_iter_, n_layers_, n_outputs_, out_activation_ :
        As in scikit-learn.
    validation_loss_curve_ : loss of the validation rows after every epoch, without the penalty on weights.
    callbacks_ : the copies of ``callbacks`` that ran in the last fit, with their records.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from fastnn import MLPClassifier
    >>> X, y = make_classification(n_samples=100, random_state=1)
    >>> MLPClassifier(random_state=1, max_iter=300).fit(X, y).predict(X[:5])
    array([1, 1, 1, 0, 0])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"log_loss"}), str, losses.Loss],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Any = "log_loss",
        class_weight: Any = None,
        dropout: float | Sequence[float] = 0.0,
        optimizer: Any = None,
        callbacks: Any = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        standardize: bool = False,
        missing: str = "error",
        n_threads: int | None = None,
        dtype: Any = None,
        progress: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.class_weight = class_weight
        self.dropout = dropout
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.standardize = standardize
        self.missing = missing
        self.n_threads = n_threads
        self.dtype = dtype
        self.progress = progress

    # Targets

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        y = plain_labels(y)
        labels = np.asarray(y)
        if labels.dtype == object and labels.ndim == 1:
            check_labels("y", labels)
        X, y = self._check_rows(X, y, reset)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = _fitted_binarizer(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start:
                if set(classes) != set(self.classes_):
                    raise ValueError(
                        "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                        f"Previously got {self.classes_}, `y` has {classes}"
                    )
            elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        return X, self._one_hot(y)

    def _one_hot(self, y: Array) -> Array:
        """Return a column for each class, or one for the second of two, as the binarizer does for known classes."""
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return np.asarray(self._label_binarizer.transform(y)).astype(bool)
        codes = np.searchsorted(self.classes_, y)
        return np.equal.outer(codes, np.arange(len(self.classes_)) if len(self.classes_) > 2 else np.ones(1))

    def _validation_targets(self, y: Any) -> Array:
        if self._label_binarizer.y_type_.startswith("multilabel"):
            if np.shape(y)[1:] != (self.n_outputs_,):
                raise ValueError(f"y must have {self.n_outputs_} columns, one per label, got shape {np.shape(y)}")
            return self._one_hot(y)
        labels = column_or_1d(y)
        unknown = set(labels.tolist()) - set(self.classes_.tolist())
        if unknown:
            raise ValueError(
                f"y has the labels {sorted(unknown, key=str)}, which are not among the classes {self.classes_.tolist()}"
            )
        return self._one_hot(labels)

    def _out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        if self.out_activation_ == "softmax" and self.loss == "log_loss":
            return np.asarray(y.argmax(axis=1), dtype=np.int64)
        return np.ascontiguousarray(y, dtype)

    def _loss(self) -> tuple[str, dict[str, Any], float]:
        if self.loss == "log_loss":
            if self.out_activation_ == "softmax":
                return "sparse_categorical_crossentropy", {"from_logits": True}, 1.0
            # The core's loss is a mean over the outputs, scikit-learn's a sum.
            return "binary_crossentropy", {"from_logits": True, "factor": float(self.n_outputs_)}, 1.0
        loss = losses.get(self.loss)
        if loss.core_name in ("sparse_categorical_crossentropy", "gaussian_nll"):
            raise ValueError(f"loss {loss.name!r} does not take one-hot targets; use 'log_loss'")
        options = loss.options()
        if options.pop("from_logits", False):
            raise ValueError("the loss of an estimator takes probabilities: create it without from_logits=True")
        # The loss is computed from the values before its own activation, softmax or logistic.
        if loss.skipped_activation == {"softmax": "softmax", "logistic": "sigmoid"}[self.out_activation_]:
            options["from_logits"] = True
        return loss.core_name, options, 1.0

    def _weights(self, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' cannot be used in partial_fit, which does not see all rows: compute the "
                "weights with sklearn.utils.class_weight.compute_class_weight and pass them as a dict"
            )
        if self._label_binarizer.y_type_.startswith("multilabel"):
            raise ValueError("class_weight is for one class per row; y has several labels per row")
        codes = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(int)
        if isinstance(self.class_weight, dict):
            weights: Array = self._factors_of_classes(self.class_weight)[codes]
        else:
            weights = compute_sample_weight(self.class_weight, self.classes_[codes])
        return weights if sample_weight is None else weights * sample_weight

    def _factors_of_classes(self, class_weight: dict[Any, Any]) -> Array:
        """Return the weight of every class; 1 for classes not in the dict.

        Raises
        ------
        ValueError
            A weight is not a finite number, or a class is not in y while a class of y has no weight: it is probably
            misspelled. If every class of y has a weight, other classes may have one too, as in scikit-learn.
        """
        classes = self.classes_.tolist()
        unknown = [label for label in class_weight if label not in classes]
        if unknown and len(class_weight) - len(unknown) < len(classes):
            raise ValueError(
                f"class_weight has the classes {unknown}, which are not in y, while classes of y have no weight; the "
                f"classes of y are {classes}"
            )
        factors = {label: number(f"class_weight of class {label!r}", weight) for label, weight in class_weight.items()}
        return np.array([factors.get(label, 1.0) for label in classes], dtype=np.float64)

    def _stratify(self, y: Array) -> Array | None:
        return y if self.n_outputs_ == 1 else None

    def _score_outputs(self, outputs: Array, y: Array, sample_weight: Array | None) -> float:
        if self.out_activation_ == "softmax":
            right = outputs.argmax(axis=1) == y.argmax(axis=1)
        else:
            right = ((outputs > 0.5) == y).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    # What users call

    @stochastic_only
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None, *, validation_data: Any = None
    ) -> Self:
        """Train one epoch on the given rows; the update rule continues from its last state.

        Parameters
        ----------
        X, y, sample_weight, validation_data : as in ``fit``. With ``early_stopping=True`` validation data must be
            given; the network keeps the weights of the best validation score.
        classes : all classes; needed in the first call.

        Returns
        -------
        self
        """
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            labels = X.read_targets()[0] if is_source(X) and y is None else y
            self._label_binarizer.fit(labels if type_of_target(labels).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, validation_data, incremental=True)

    @lazily
    def predict(self, X: Any) -> Array:
        """Return the classes (n,), or labels (n, n_labels), of X (n, n_features)."""
        outputs = self._outputs(X)
        if self.out_activation_ == "softmax":
            return np.asarray(self.classes_.take(outputs.argmax(axis=1)))
        if outputs.shape[1] == 1 and len(self.classes_) == 2:
            return np.asarray(self.classes_.take((outputs[:, 0] > 0.5).astype(np.intp)))
        return np.asarray(self._label_binarizer.inverse_transform(outputs.ravel() if self.n_outputs_ == 1 else outputs))

    @lazily
    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities (n, n_classes) of X (n, n_features)."""
        outputs = self._outputs(X)
        return np.column_stack([1 - outputs[:, 0], outputs[:, 0]]) if outputs.shape[1] == 1 else outputs

    @lazily
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of ``predict_proba(X)``."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Return the accuracy on X (n, n_features) and labels y, or on a source; of Dask collections a lazy number."""
        if y is None:
            from fastnn.estimators.streaming import scored_targets

            y, sample_weight = scored_targets(X, sample_weight)
        if is_lazy(X):
            return lazy_accuracy(self.predict(X), y, sample_weight)
        return super().score(X, plain_labels(y), sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
