"""Many models trained at once: folds, seeds and sweeps of networks that are too small to use several threads each.

Every model trains on one thread, in the calls that train it alone, so its weights have the same bits.
"""

import inspect
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import as_verbosity, flag, takes_keywords, whole
from fastnn._arrays import check_in_memory
from fastnn._missing import public_names
from fastnn._progress import ProgressLine
from fastnn._structures import filled, leaves
from fastnn._warnings import warn
from fastnn.callbacks import Callback, History
from fastnn.network.stack import LayerStack, require_stack
from fastnn.training.folds import as_folds, count_rows, out_of_fold, rows_in
from fastnn.training.workers import as_threads, run_many

__all__ = ["ManyFits", "fit_many", "predict_many"]

Array = NDArray[Any]
T = TypeVar("T")

_MOST_SEEDS = 1_000_000


class ManyFits:
    """What ``fit_many`` returns.

    Attributes
    ----------
    models : the trained models, in the order seeds, splits, grid points; None where ``build`` failed, or an interrupt
        came before it.
    histories : the ``History`` of each model; None where training did not end.
    oof : out-of-fold predictions: for each row the mean of the models whose fold holds it out, NaN where none does;
        (n, n_outputs), and (n_configurations, n, n_outputs) for several seeds or grid points, in the order seeds, grid
        points. None without splits. A list or dict of arrays for models that predict one.
    errors : dict from a model's number to what ended its training, such as a ``DivergenceError``.
    options : for each model the dict of its "seed", "split" and grid point.
    """

    def __init__(self, models: list[Any], histories: list[Any], errors: dict[int, BaseException], options: list[Any]):
        self.models, self.histories, self.errors, self.options = models, histories, errors, options
        self.oof: Any = None

    @property
    def trained(self) -> list[Any]:
        """The models whose training ended without an error."""
        return [model for model, history in zip(self.models, self.histories, strict=True) if history is not None]

    def predict(self, X: Any, average: bool = True) -> Any:
        """Return the mean of the predictions of the trained models, or all; see ``predict_many``."""
        return predict_many(self, X, average=average)

    def __repr__(self) -> str:
        return f"<ManyFits models={len(self.models)}, errors={len(self.errors)}>"


@takes_keywords
def fit_many(
    models: Any,
    X: Any,
    y: Any,
    *,
    splits: Any = None,
    seeds: Any = None,
    grid: Any = None,
    epochs: int = 1,
    batch_size: int | None = None,
    callbacks: Any = None,
    sample_weight: Any = None,
    verbose: Any = "auto",
    n_threads: int | None = None,
    **fit_arguments: Any,
) -> ManyFits:
    """Train many models on the same rows, one model on each thread at a time.

    Every model gets the bits that training it alone gives. A model that diverges is reported in ``errors``, and the
    others are trained. Ctrl-C ends the call within a second and keeps the models that are finished.

    Parameters
    ----------
    models : list of compiled models, or a function ``build(seed=..., **grid_point)`` that returns one.
    X : inputs as in ``Sequential.fit``. All models read their rows from the same array.
    y : targets as in ``Sequential.fit``.
    splits : pairs (training rows, held-out rows) of row numbers, an object whose ``split(X, y)`` gives them, or a
        number of folds of consecutive rows. The held-out rows of a fold are its ``validation_data``. A list of models
        takes one pair for each model.
    seeds : whole numbers, each passed to ``build`` as ``seed``; a single number n means 0, ..., n - 1.
    grid : dict from an argument of ``build`` to its values, of which all combinations are taken, or a list of dicts.
    epochs, batch_size : as in ``Sequential.fit``.
    callbacks : a list of callbacks for each model, or a function without arguments that returns new ones for a model.
    sample_weight : factor (n,) of each row's loss.
    verbose : 0 is silent; 1, 2 and "auto" show a progress line over the models.
    n_threads : models that are trained at the same time; by default ``fastnn.get_num_threads()``, or the
        limit of threadpoolctl if it is lower.
    fit_arguments : other arguments of ``Sequential.fit``, such as ``shuffle``.

    Raises
    ------
    ValueError
        The numbers of models, splits and callbacks do not fit, or row numbers of a split do not exist. If all
        models fail, the error of the first is raised.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> def build(seed, units):
    ...     hidden = fastnn.layers.Dense(units, activation="relu")
    ...     model = fastnn.Sequential([fastnn.Input((2,)), hidden, fastnn.layers.Dense(1)], seed=seed)
    ...     model.compile("adam", "mse")
    ...     return model
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> rows = np.arange(60)
    >>> folds = [(rows[rows % 3 != k], rows[rows % 3 == k]) for k in range(3)]
    >>> fits = fastnn.fit_many(build, X, X[:, :1], splits=folds, grid={"units": [4, 8]}, epochs=2, verbose=0)
    >>> len(fits.models), fits.oof.shape
    (6, (2, 60, 1))
    """
    threads = as_threads(n_threads)
    n_epochs = whole("epochs", epochs, at_least=0)
    verbosity = as_verbosity(verbose)
    for name in ("validation_data", "validation_split"):
        if splits is not None and fit_arguments.get(name):
            raise ValueError(f"{name} cannot be given with splits: the held-out rows of a fold are its validation data")
    check_in_memory(X, "X", "fit_many")
    if y is None:
        raise ValueError("y must be given: fit_many takes arrays, not a source of batches")
    n = count_rows(X, y)
    folds = None if splits is None else as_folds(splits, X, y)
    makers, options, numbers = _as_makers(models, seeds, grid, 0 if folds is None else len(folds))
    callbacks_of = _as_callbacks(callbacks, len(makers))
    made: list[Any] = [None] * len(makers)
    of_one, some_callbacks = _OfOneModel(), any(callbacks_of)

    def train(number: int) -> tuple[History, Any]:
        model = of_one.take(makers[number](), number)
        if some_callbacks or model.optimizer.full_batch:
            of_one.take(model.optimizer, number)  # callbacks may set its learning rate; others keep their state there
        made[number] = model
        own, callbacks_of[number] = callbacks_of[number], []  # best weights are not kept until all models are trained
        fold = None if folds is None else folds[numbers[number]]
        history = model.fit(
            X if fold is None else fold,
            y,
            batch_size=batch_size,
            epochs=n_epochs,
            verbose=0,
            callbacks=own,
            sample_weight=sample_weight,
            **fit_arguments,
        )
        return history, None if fold is None else model.predict(rows_in(X, fold.held_out, n), verbose=0)

    line = ProgressLine() if verbosity else None

    def progress(n_done: int) -> None:
        if line is not None and line.due():
            line.show(f"{n_done}/{len(makers)} models")

    try:
        results, errors = run_many([partial(train, number) for number in range(len(makers))], threads, progress)
        if line is not None:
            line.show(f"{sum(result is not None for result in results)}/{len(makers)} models")
    finally:
        if line is not None:
            line.end()
    _report(errors, len(makers), options)
    fits = ManyFits(made, [None if result is None else result[0] for result in results], errors, options)
    if folds is not None:
        fits.oof = out_of_fold([None if result is None else result[1] for result in results], folds, numbers, n)
    return fits


@takes_keywords
def predict_many(
    models: Any, X: Any, *, average: bool = True, batch_size: int | None = None, n_threads: int | None = None
) -> Any:
    """Return the predictions of many models for the same rows.

    Models with several outputs give the arrays in the form of their predictions, a list or a dict.

    Parameters
    ----------
    models : list of built models with equal numbers of outputs, or the result of ``fit_many``.
    X : inputs as in ``Sequential.predict``.
    average : whether to return the mean of the models, (n, n_outputs), or all, (n_models, n, n_outputs).
    batch_size, n_threads : as in ``fit_many``.

    Raises
    ------
    ValueError
        No model, models with different numbers of outputs, or inputs that do not fit.
    """
    threads = as_threads(n_threads)
    average = flag("average", average)
    if isinstance(models, LayerStack) or not isinstance(models, ManyFits | Iterable):
        raise TypeError(
            f"models must be a list of models, or the result of fit_many, got {type(models).__name__}; one model "
            "predicts with model.predict(X)"
        )
    listed = models.trained if isinstance(models, ManyFits) else list(models)
    for model in listed:
        require_stack(model)
    if not listed:
        raise ValueError("models must hold at least one trained model, got none")
    tasks = [partial(_predict, model, X, batch_size) for model in listed]
    predictions, errors = run_many(tasks, threads)
    for error in errors.values():
        raise error
    found = [leaves(prediction) for prediction in predictions]
    widths = {tuple(part.shape[1:] for part in parts) for parts in found}
    if len(widths) > 1:
        numbers = sorted([width for (width,) in shapes] for shapes in widths)
        raise ValueError(f"models must have equal numbers of outputs, got {', '.join(map(str, numbers))}")
    stacked = [np.stack(parts) for parts in zip(*found, strict=True)]
    return filled(predictions[0], (each.mean(axis=0) if average else each for each in stacked))


def _predict(model: Any, X: Any, batch_size: int | None) -> Any:
    return model.predict(X, batch_size=batch_size, verbose=0)


def _as_makers(
    models: Any, seeds: Any, grid: Any, n_folds: int
) -> tuple[list[Callable[[], Any]], list[dict[str, Any]], list[int]]:
    """Return for each model what makes it, its options, and the number of its fold."""
    if isinstance(models, LayerStack) or not (callable(models) or isinstance(models, Iterable)):
        raise TypeError(
            f"models must be a list of compiled models, or a function that builds one, got {type(models).__name__}"
        )
    if not callable(models):
        listed = list(models)
        if not listed:
            raise ValueError("models must hold at least one model, got none")
        for model in listed:
            require_stack(model)
            model.require_compiled("fit_many")
        if len({id(model) for model in listed}) < len(listed):
            raise ValueError("models must be different objects: one of them is listed twice")
        if seeds is not None or grid is not None:
            raise ValueError("seeds and grid need a function that builds the models, got a list of models")
        if n_folds and n_folds != len(listed):
            raise ValueError(f"a list of models needs one split for each: {len(listed)} models, {n_folds} splits")
        folds = list(range(len(listed))) if n_folds else [0] * len(listed)
        options = [{"split": fold} if n_folds else {} for fold in folds]
        return [partial(_itself, model) for model in listed], options, folds
    seed_list: list[int | None] = [None]
    if seeds is not None:
        one = isinstance(seeds, int | np.integer) and not isinstance(seeds, bool)
        given = range(whole("seeds", seeds, at_least=0, at_most=_MOST_SEEDS)) if one else _values("seeds", seeds)
        seed_list = [whole("each entry of seeds", seed, at_least=0) for seed in given]
    elif _requires_seed(models):
        seed_list = [0]
    points = _grid_points(grid)
    if seeds is not None and any("seed" in point for point in points):
        raise ValueError("grid has values of 'seed', and seeds are given too: give one of the two")
    makers: list[Callable[[], Any]] = []
    options, folds = [], []
    for seed, fold, point in itertools.product(seed_list, range(max(1, n_folds)), points):
        arguments = point if seed is None else {"seed": seed, **point}
        makers.append(partial(_built, models, arguments))
        options.append({**arguments} if not n_folds else {**arguments, "split": fold})
        folds.append(fold)
    if not makers:
        raise ValueError("seeds and grid must not be empty")
    return makers, options, folds


class _OfOneModel:
    """Models, optimizers and callbacks: two trainings would change the same weights, learning rates and counters."""

    def __init__(self) -> None:
        self._taking, self._taken = threading.Lock(), dict[int, tuple[Any, int]]()

    def take(self, given: T, number: int) -> T:
        """Return what is given for a model; raise ValueError if an earlier model has it."""
        with self._taking:
            _, first = self._taken.setdefault(id(given), (given, number))
        if first != number:
            raise ValueError(
                f"models {first} and {number} have the same {type(given).__name__}: make a new one for each"
            )
        return given


def _values(name: str, given: Any) -> Iterable[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"{name} must be a list of values, got {given!r}")
    return given


def _itself(model: Any) -> Any:
    return model


def _requires_seed(build: Callable[..., Any]) -> bool:
    parameter = inspect.signature(build).parameters.get("seed")
    return parameter is not None and parameter.default is parameter.empty


def _built(build: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    model = build(**arguments)
    require_stack(model)
    model.require_compiled("fit_many")
    return model


def _grid_points(grid: Any) -> list[dict[str, Any]]:
    """Return the arguments of each point of a grid."""
    if grid is None:
        return [{}]
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            _values(f"grid[{name!r}]", values)
        return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    points = list(grid) if isinstance(grid, Iterable) else [grid]
    if not all(isinstance(point, Mapping) for point in points):
        raise ValueError(f"grid must be a dict of lists, or a list of dicts, got {grid!r}")
    return [dict(point) for point in points]


def _as_callbacks(callbacks: Any, n_models: int) -> list[list[Callback]]:
    """Return the callbacks of each model.

    Raises
    ------
    ValueError
        Another number of lists, or models that would share a callback, or a file that callbacks write.
    """
    if callbacks is None:
        return [[] for _ in range(n_models)]
    if callable(callbacks):
        given: list[Any] = [callbacks() for _ in range(n_models)]
    else:
        given = list(callbacks) if isinstance(callbacks, Iterable) else []
        if len(given) != n_models or any(isinstance(entry, Callback) for entry in given):
            raise ValueError(
                f"callbacks must be a list with a list of callbacks for each of the {n_models} models, or a function "
                f"that returns new ones, got {callbacks!r}"
            )
    found = [[entry] if isinstance(entry, Callback) else list(entry or ()) for entry in given]
    of_one = _OfOneModel()
    writers: dict[str, int] = {}
    for number, own in enumerate(found):
        for callback in own:
            of_one.take(callback, number)
            path = callback.written_path() if isinstance(callback, Callback) else None
            if path is not None and (first := writers.setdefault(os.path.abspath(path), number)) != number:
                raise ValueError(
                    f"models {first} and {number} would both write {path!r} ({type(callback).__name__}): give a list "
                    "with callbacks for each model, whose paths differ"
                )
    return found


def _report(errors: dict[int, BaseException], n_models: int, options: list[dict[str, Any]]) -> None:
    """Warn of the models that failed; raise the first error if all failed and none was interrupted."""
    if not errors:
        return
    interrupted = [number for number, error in errors.items() if isinstance(error, KeyboardInterrupt)]
    failed = [number for number in errors if number not in set(interrupted)]
    if interrupted:
        warn(f"training was interrupted: {n_models - len(errors)} of {n_models} models are trained, see .errors")
    if not failed:
        return
    first = errors[failed[0]]
    if len(failed) == n_models:
        raise first
    which = ", ".join(map(str, failed[:10])) + (", ..." if len(failed) > 10 else "")
    of = f" ({options[failed[0]]})" if options[failed[0]] else ""
    warn(
        f"{len(failed)} of {n_models} models failed: {which}; see .errors. Model {failed[0]}{of}: "
        f"{type(first).__name__}: {first}"
    )


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
