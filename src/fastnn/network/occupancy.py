"""Who works with a model: threads that read it, or one thread that changes it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastnn._forking import forget_in_child


class Occupancy:
    """Keeps a thread that changes a model and the threads that read it apart.

    Who comes second gets a RuntimeError that says what runs; who came first is not disturbed. The thread that changes
    the model, such as a ``fit`` in its callbacks, may read it too.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._changing: tuple[int, str] | None = None
        self._reading: list[tuple[int, str]] = []
        forget_in_child(self)

    def forget_other_threads(self) -> None:
        """In a forked child, in which only the thread that forked lives on."""
        me = threading.get_ident()
        self._mutex = threading.Lock()
        self._reading = [entry for entry in self._reading if entry[0] == me]
        if self._changing is not None and self._changing[0] != me:
            self._changing = None

    @contextmanager
    def changing(self, task: str, model: str, within: bool = False) -> Iterator[None]:
        """Change the model, alone.

        Parameters
        ----------
        task : name of the method, for messages.
        model : name of the model.
        within : whether it may be part of a change that this thread has begun.
        """
        me = threading.get_ident()
        with self._mutex:
            outer = self._changing
            if outer is not None and outer[0] == me and not within:
                raise RuntimeError(
                    f"{task} of model {model!r} cannot begin: this is a callback of {outer[1]}, which has not ended"
                )
            other = outer[1] if outer is not None and outer[0] != me else None
            other = other or next((task for thread, task in self._reading if thread != me), None)
            if other is not None:
                raise RuntimeError(refusal(task, model, other))
            self._changing = outer or (me, task)
        try:
            yield
        finally:
            with self._mutex:
                self._changing = outer

    @contextmanager
    def reading(self, task: str, model: str) -> Iterator[None]:
        """Read the model; other threads may read it at the same time."""
        entry = (threading.get_ident(), task)
        with self._mutex:
            if self._changing is not None and self._changing[0] != entry[0]:
                raise RuntimeError(refusal(task, model, self._changing[1]))
            self._reading.append(entry)
        try:
            yield
        finally:
            with self._mutex:
                self._reading.remove(entry)


def refusal(task: str, model: str, running: str) -> str:
    """Return the message for who comes second."""
    return (
        f"{task} of model {model!r} cannot begin: {running} runs in another thread. Wait until it has ended, or work "
        "with a copy made before, copy.deepcopy(model)"
    )
