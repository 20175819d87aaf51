"""The progress line: refreshed at most four times a second; plain text if the output is not a terminal."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

REFRESH_SECONDS = 0.25


def format_logs(logs: Mapping[str, Any]) -> str:
    """Return ``"loss: 0.1234 - mae: 0.2345"``."""
    return " - ".join(f"{name}: {_format_number(value)}" for name, value in logs.items())


def _format_number(value: Any) -> str:
    """Return a number with four digits, or for an array the list of its numbers."""
    return f"[{' '.join(map(_format_number, value))}]" if hasattr(value, "__len__") else f"{value:.4g}"


def format_seconds(seconds: float) -> str:
    """Return a duration with two or three digits and its unit: "3 ms", "1.2 s", "4 min 5 s"."""
    if seconds < 1.0:
        return f"{1000.0 * seconds:.0f} ms"
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _columns(stream: TextIO) -> int:
    """Return the width of a terminal, or 80 if it is not known."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def fitted(text: str, width: int) -> str:
    """Return as many of the entries, "loss: 0.1234 - mae: 0.2345", as fit into a width; " ..." stands for the rest."""
    if len(text) <= width:
        return text
    end = text.rfind(" - ", 0, width - len(" ...") + len(" - "))
    return text[:end] + " ..." if end > 0 else text[:width]


class ProgressLine:
    """A line of text that is rewritten in place on a terminal; elsewhere each text is a new line.

    Parameters
    ----------
    stream : where to write; None is the ``sys.stdout`` of this moment. If that is None too, nothing is written.
    clock : function that returns the time in seconds.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        self._last_shown = clock()
        self._length = 0
        self.on_terminal = self._stream is not None and self._stream.isatty()

    def due(self) -> bool:
        """Return whether the next refresh is due."""
        return self._clock() - self._last_shown >= REFRESH_SECONDS

    def show(self, text: str) -> None:
        """Replace the line with ``text``; without a terminal, add a line."""
        self._last_shown = self._clock()
        if self._stream is None:
            return
        if not self.on_terminal:
            self._stream.write(text + "\n")
            return
        text = fitted(text, _columns(self._stream) - 1)
        self._stream.write("\r" + text.ljust(self._length))
        self._stream.flush()
        self._length = len(text)

    def print(self, text: str) -> None:
        """Show ``text`` and go to the next line."""
        self.show(text)
        self.end()

    def end(self) -> None:
        """Keep the line as it is and go to the next one."""
        if self._length and self._stream is not None:
            self._stream.write("\n")
            self._stream.flush()
        self._length = 0
