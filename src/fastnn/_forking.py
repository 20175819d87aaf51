"""Forked child processes, in which only the thread that called fork still runs."""

import os
import weakref
from typing import Protocol

__all__ = ["forget_in_child"]


class _Busy(Protocol):
    def forget_other_threads(self) -> None: ...


_ALL: "weakref.WeakSet[_Busy]" = weakref.WeakSet()


def forget_in_child(busy: _Busy) -> None:
    """Call ``busy.forget_other_threads()`` in every forked child while ``busy`` exists."""
    _ALL.add(busy)


def _forget_other_threads() -> None:
    for busy in list(_ALL):
        busy.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)
