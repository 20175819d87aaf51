"""What the benchmark commands accept; light to import, for the command line's help."""

import argparse
from pathlib import Path

from fastnn.bench.contestants import CONTESTANTS
from fastnn.bench.networks import NETWORKS

__all__ = ["GRID_NAMES", "add_arguments"]

GRID_NAMES = ("training", "prediction", "products", "phases", "prices", "threads", "growth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark command accepts."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a few networks in under a minute (the default)")
    length.add_argument("--full", action="store_true", help="every network, longer and more rounds")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures, every round included")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the figures (needs the extra 'plot')")
    parser.add_argument("--markdown", action="store_true", help="print the comparisons as Markdown tables as well")
    parser.add_argument(
        "--contestants",
        nargs="+",
        metavar="NAME",
        choices=list(CONTESTANTS),
        help=f"only these of {', '.join(CONTESTANTS)} (default: all that are installed)",
    )
    parser.add_argument(
        "--networks", nargs="+", metavar="NAME", choices=list(NETWORKS), help=f"only these of {', '.join(NETWORKS)}"
    )
    parser.add_argument(
        "--neighbours", type=int, default=0, metavar="N", help="threads grid: beside N busy processes (default 0)"
    )
