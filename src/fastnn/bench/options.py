"""The arguments of the benchmark commands; quick to import, for the command line's help."""

import argparse

from fastnn._command_line import count, output_file, picture_file
from fastnn.bench.contestants import CONTESTANTS
from fastnn.bench.networks import NETWORKS

__all__ = ["GRID_NAMES", "add_arguments"]

GRID_NAMES = ("training", "prediction", "products", "phases", "prices", "threads", "growth")


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
