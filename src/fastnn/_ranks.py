"""The processes that train together: which one this is, and what they tell each other.

The current ranks belong to the thread that has entered ``fastnn.distributed.mpi``; other threads work alone.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

__all__ = ["Ranks", "current", "is_first", "on_first", "set_current"]


class Ranks(Protocol):
    """The processes of a job.

    Attributes
    ----------
    rank, size : the number of this process, from 0, and of all.
    least_operations : floating-point operations of a step that is divided; every rank makes a smaller one as a whole.

    Ranks that can share memory also have ``share(n_bytes)``, which returns memory that all have in common, or None on
    all; ``n_begun``, such memory with the number of exchanges that each rank has begun (int64), or None; and
    ``n_waits``, how often a rank looks for the others before it lets another process run.
    """

    rank: int
    size: int
    least_operations: float

    def gather(self, memory: memoryview, first: list[int]) -> None:
        """Fill a buffer that every rank has: rank r gives the bytes from ``first[r]`` to ``first[r + 1]``."""

    def start_gather(self, memory: memoryview, first: list[int]) -> None:
        """Begin ``gather``; the buffer is filled when ``finish`` returns."""

    def start_scatter(
        self, parts: memoryview, first: list[int], received: memoryview, received_first: list[int]
    ) -> None:
        """Begin an exchange in which rank r gets the bytes of ``parts`` from ``first[r]`` to ``first[r + 1]``.

        What rank r gives comes to ``received``, from ``received_first[r]`` on, until ``finish`` returns.
        """

    def finish(self) -> None:
        """Wait for all exchanges that have begun."""

    def tell(self, what: str, value: bytes = b"") -> list[bytes]:
        """Return what each rank gives; raise RuntimeError where the ranks do not do the same, which ``what`` names."""


_current: ContextVar[Ranks | None] = ContextVar("ranks", default=None)

current = _current.get
"""Return the ranks of this thread, or None."""


def set_current(ranks: Ranks | None) -> Callable[[], None]:
    """Make these the ranks of this thread; return what undoes that."""
    token = _current.set(ranks)
    return lambda: _current.reset(token)


def is_first() -> bool:
    """Return whether this process writes files and prints: rank 0 does, or a process on its own."""
    ranks = current()
    return ranks is None or ranks.rank == 0


def on_first(what: str, action: Callable[[], Any]) -> None:
    """Do something on rank 0, as a process on its own, while the others wait; all ranks raise its error.

    Parameters
    ----------
    what : names it, the same on all ranks.
    action : what to do.

    Raises
    ------
    OSError
        On the other ranks where rank 0 has failed, whatever its error is.
    """
    ranks = current()
    if ranks is None:
        action()
        return
    alone = set_current(None)
    try:
        if ranks.rank == 0:
            action()
    except Exception:
        ranks.tell(what, b"failed")
        raise
    finally:
        alone()
    if ranks.tell(what)[0]:
        raise OSError(f"rank 0 has failed: {what}")
