"""The arguments of the commands and their checks; quick to import, for the command line's help."""

import argparse
import importlib
import os
from pathlib import Path

from fastnn.bench.contestants import CONTESTANTS
from fastnn.bench.networks import NETWORKS

__all__ = ["GRID_NAMES", "add_arguments", "count", "output_file", "picture_file"]

GRID_NAMES = ("training", "prediction", "products", "phases", "prices", "threads", "growth")


def count(text: str) -> int:
    """Return a whole number of at least 0 and less than 2^63, for argparse."""
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0 and less than 2^63, got {text!r}")
    return int(text)


def output_file(text: str) -> Path:
    """Return the path of a file that can be written, for argparse; checked before anything is computed."""
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
    """Return the path of a picture that can be written, for argparse; its suffix must be one that matplotlib writes."""
    path = output_file(text)
    try:
        known = importlib.import_module("matplotlib.backend_bases").FigureCanvasBase.filetypes
    except ImportError:
        return path  # the command says what is missing
    if path.suffix[1:].lower() not in known:
        raise argparse.ArgumentTypeError(f"{text!r} must end with one of {', '.join(f'.{kind}' for kind in known)}")
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every benchmark command accepts."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a few networks in at most two minutes (the default)")
    length.add_argument("--full", action="store_true", help="every network, longer and more rounds")
    parser.add_argument("--json", metavar="FILE", type=output_file, help="write all figures, including every round")
    parser.add_argument("--plot", metavar="FILE", type=picture_file, help="draw the figures (needs matplotlib)")
    parser.add_argument("--markdown", action="store_true", help="print the comparisons as Markdown tables as well")
    parser.add_argument(
        "--contestants",
        nargs="+",
        metavar="NAME",
        choices=list(CONTESTANTS),
        help=f"only these contestants, of {', '.join(CONTESTANTS)} (default: all that are installed)",
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        metavar="NAME",
        choices=list(NETWORKS),
        help=f"only these networks, of {', '.join(NETWORKS)}",
    )
    parser.add_argument(
        "--neighbours",
        type=count,
        default=0,
        metavar="N",
        help="threads grid: run next to N busy processes (default 0)",
    )
