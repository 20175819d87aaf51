"""Keras's import path of ``to_categorical``, ``PyDataset``, ``set_random_seed`` and the like."""

from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import check_keywords, flag, takes_keywords, whole
from fastnn._arrays import as_numbers
from fastnn._missing import public_names
from fastnn._names import forget_automatic_names
from fastnn._randomness import set_global_seed
from fastnn._warnings import warn

__all__ = ["PyDataset", "Sequence", "clear_session", "normalize", "set_random_seed", "to_categorical"]


class PyDataset:
    """Base of custom data sets that return rows batch by batch: define ``__len__`` and ``__getitem__``.

    Parameters
    ----------
    workers : threads that call ``__getitem__``; 0 and 1 call it without threads. The order of the batches is the same.
    use_multiprocessing : has no effect, with a warning: the workers are threads.
    max_queue_size : batches that several workers read ahead.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> class Squares(fastnn.utils.PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...
    ...     def __getitem__(self, index):
    ...         x = np.linspace(index, index + 1, 8).reshape(-1, 1)
    ...         return x, x**2
    >>> model = fastnn.Sequential([fastnn.Input((1,)), fastnn.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> len(model.fit(Squares(), epochs=2, verbose=0).history["loss"])
    2
    """

    workers, max_queue_size = 1, 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers = whole("workers", workers, at_least=0)
        self.use_multiprocessing = flag("use_multiprocessing", use_multiprocessing)
        self.max_queue_size = whole("max_queue_size", max_queue_size, at_least=1)
        if self.use_multiprocessing:
            warn("use_multiprocessing=True has no effect: the workers are threads")

    def __len__(self) -> int:
        """Return the number of batches."""
        raise NotImplementedError(f"{type(self).__name__} must define __len__()")

    def __getitem__(self, index: int) -> Any:
        """Return batch number ``index``: (x, y), (x, y, sample_weight) or x."""
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index)")

    @property
    def num_batches(self) -> int | None:
        """The number of batches of an epoch; None, in a subclass, for batches without end."""
        return len(self)

    def on_epoch_begin(self) -> None:
        """Run before the batches of an epoch are read."""

    def on_epoch_end(self) -> None:
        """Do nothing; a subclass may shuffle its rows here, after all batches of an epoch were read."""

    def __iter__(self) -> Iterator[Any]:
        n = self.num_batches
        indices = count() if n is None else range(n)
        if self.workers <= 1:
            for index in indices:
                yield self[index]
            return
        from concurrent.futures import Future, ThreadPoolExecutor

        pool, waiting = ThreadPoolExecutor(self.workers), deque[Future[Any]]()
        try:
            for index in indices:
                waiting.append(pool.submit(self.__getitem__, index))
                if len(waiting) > self.max_queue_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


check_keywords(PyDataset)
Sequence = PyDataset


@takes_keywords
def to_categorical(x: Any, num_classes: int | None = None) -> NDArray[np.float64]:
    """Return class labels as one-hot rows.

    Parameters
    ----------
    x : whole numbers 0..num_classes-1, (n,) or (n, 1).
    num_classes : number of columns; by default one more than the largest label.

    Returns
    -------
    ndarray
        (n, num_classes).

    Raises
    ------
    ValueError
        A label is not a whole number or out of range; the message has the first.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.utils.to_categorical([0, 2, 1])
    array([[1., 0., 0.],
           [0., 0., 1.],
           [0., 1., 0.]])
    """
    labels = as_numbers(x, "x")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.size == 0:
        raise ValueError("x is empty: at least one label is needed")
    n_classes = None if num_classes is None else whole("num_classes", num_classes, at_least=1)
    wrong = (labels < 0) | (labels != np.floor(labels)) | (labels >= (np.inf if n_classes is None else n_classes))
    if wrong.any():
        limit = "" if n_classes is None else f" to {n_classes - 1}"
        raise ValueError(f"x has label {labels[wrong][0]}; labels must be whole numbers from 0{limit}")
    classes = labels.astype(np.int64)
    return np.eye(int(classes.max()) + 1 if n_classes is None else n_classes)[classes]


@takes_keywords
def normalize(x: Any, axis: int = -1, order: int = 2) -> NDArray[Any]:
    """Return ``x`` divided by its norm of order ``order`` along an axis; zero vectors stay zero."""
    array = np.atleast_1d(as_numbers(x, "x"))
    norm = np.atleast_1d(np.linalg.norm(array, order, axis))
    norm[norm == 0] = 1
    scaled: NDArray[Any] = array / np.expand_dims(norm, axis)
    return scaled


@takes_keywords
def set_random_seed(seed: int) -> None:
    """Seed the generators of Python and NumPy, and all later models and initializers that are given no seed."""
    import random

    seed = whole("seed", seed, at_least=0)
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    set_global_seed(seed)


@takes_keywords
def clear_session(free_memory: bool = True) -> None:
    """Restart the numbering of automatic names: the next dense layer is called "dense" again.

    Parameters
    ----------
    free_memory : accepted as in Keras, without effect: a model frees its memory when it is no longer used.
    """
    forget_automatic_names()


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
