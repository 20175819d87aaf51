"""Tasks on Python threads that each use one native thread: the fits and predictions of many small networks."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import fastnn._core as _core
from fastnn._arguments import whole
from fastnn._processors import MOST_THREADS
from fastnn.training.epochs import Stopped, stop_on

T = TypeVar("T")

_POLL_SECONDS = 0.05
"""How often the calling thread looks for an interrupt and shows the progress."""
_SECONDS_TO_STOP = 1.0
"""After an interrupt fits end within this time, unless a callback takes longer."""


def as_threads(n_threads: Any) -> int:
    """Return a checked number of threads; for None the number that is set, or threadpoolctl's limit if it is lower."""
    if n_threads is None:
        return _core.most_own_threads()
    return whole("n_threads", n_threads, at_least=1, at_most=MOST_THREADS)


def run_many(
    tasks: Sequence[Callable[[], T]], n_threads: int, progress: Callable[[int], None] = lambda n_done: None
) -> tuple[list[T | None], dict[int, BaseException]]:
    """Run tasks on threads that each use one native thread.

    Parameters
    ----------
    tasks : functions; an interrupt of the calling thread ends those that train.
    n_threads : number of Python threads.
    progress : called in the calling thread with the number of tasks that have ended.

    Returns
    -------
    results : the result of each task, None where it failed.
    errors : number of each task that failed, and what it raised; KeyboardInterrupt where an interrupt ended it.
    """
    results: list[T | None] = [None] * len(tasks)
    errors: dict[int, BaseException] = {}
    ended: list[int] = []
    numbers = iter(range(len(tasks)))
    taking, stop = threading.Lock(), threading.Event()

    def take_tasks() -> None:
        _core.limit_own_threads(1)
        stop_on(stop)
        while not stop.is_set():
            with taking:
                number = next(numbers, None)
            if number is None:
                return
            try:
                results[number] = tasks[number]()
            except Stopped:
                return
            except BaseException as error:  # SystemExit of a callback too: a thread that ends would hide it
                errors[number] = error
            ended.append(number)

    workers = [_Worker(take_tasks) for _ in range(min(n_threads, len(tasks)))]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while not worker.done.wait(_POLL_SECONDS):
                progress(len(ended))
        progress(len(ended))
    except KeyboardInterrupt:
        stop.set()
        _wait_for([worker for worker in workers if worker.ident is not None])
        errors.update(dict.fromkeys(set(range(len(tasks))) - set(ended), KeyboardInterrupt()))
    finally:
        stop.set()
    return results, dict(sorted(errors.items()))


class _Worker(threading.Thread):
    """A thread and an event that says that it is done: CPython 3.11's ``join`` ends early after an interrupted one."""

    def __init__(self, take_tasks: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._take_tasks, self.done = take_tasks, threading.Event()

    def run(self) -> None:
        """Take tasks until there are no more."""
        try:
            self._take_tasks()
        finally:
            self.done.set()


def _wait_for(workers: Sequence[_Worker]) -> None:
    """Wait for threads after an interrupt. Others in the next second, of a key that is held down, lose no results."""
    end = time.monotonic() + _SECONDS_TO_STOP
    while time.monotonic() < end and not all(worker.done.is_set() for worker in workers):
        with contextlib.suppress(KeyboardInterrupt):
            for worker in workers:
                worker.done.wait(max(0.0, end - time.monotonic()))
    for worker in workers:
        worker.done.wait()
