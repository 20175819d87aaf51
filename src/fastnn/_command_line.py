"""Types of the arguments of commands, for argparse: numbers in their ranges, and files that can be written."""

import argparse
import importlib
import math
import os
from pathlib import Path


def count(text: str, least: int = 0) -> int:
    """Return a whole number of at least ``least`` and less than 2^63."""
    if not text.isdecimal() or not least <= int(text) < 1 << 63:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least} and less than 2^63, got {text!r}")
    return int(text)


def positive_count(text: str) -> int:
    """Return a whole number of at least 1 and less than 2^63."""
    return count(text, least=1)


def positive_number(text: str) -> float:
    """Return a finite number greater than 0."""
    value = _number(text)
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a finite number greater than 0, got {text!r}")
    return value


def fraction(text: str) -> float:
    """Return a number between 0 and 1, without these two."""
    value = _number(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, got {text!r}")
    return value


def _number(text: str) -> float:
    """Return the number of a text, or NaN, which lies in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def output_file(text: str) -> Path:
    """Return the path of a file that can be written; checked before anything is computed."""
    path = Path(text)
    folder = path.parent
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: there is no folder {str(folder)!r}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: it is a folder")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: permission denied")
    return path


def picture_file(text: str) -> Path:
    """Return the path of a picture that can be written; its suffix must be one that matplotlib writes."""
    path = output_file(text)
    try:
        known = importlib.import_module("matplotlib.backend_bases").FigureCanvasBase.filetypes
    except ImportError:
        return path  # the command says what is missing
    if path.suffix[1:].lower() not in known:
        raise argparse.ArgumentTypeError(f"{text!r} must end with one of {', '.join(f'.{kind}' for kind in known)}")
    return path
