"""The command ``fastnn``: models of tables, ``bench``, ``demo`` and ``info``."""

import argparse
import sys
from collections.abc import Sequence

import fastnn
from fastnn._command_line import count, picture_file

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status: 0 done, 1 failed, 2 wrong arguments, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="fastnn", description="Fast dense neural networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"fastnn {fastnn.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    from fastnn.tables import command as tables

    tables.add_commands(commands)
    bench = commands.add_parser("bench", help="compare the speed with NumPy, pure Python and other installed libraries")
    from fastnn.bench import options

    options.add_arguments(bench)
    bench.add_argument(
        "--grid",
        nargs="+",
        metavar="GRID",
        choices=options.GRID_NAMES,
        help=f"any of {', '.join(options.GRID_NAMES)} (default: training; with --full also prediction and products)",
    )

    demo = commands.add_parser("demo", help="train on earthquake records, print the errors and save a picture")
    demo.add_argument(
        "--picture",
        type=picture_file,
        default="fastnn-demo.png",
        metavar="FILE",
        help="file for the picture (default: %(default)s); its suffix chooses the format",
    )
    demo.add_argument("--seed", type=count, default=0, help="seed of the weights and the order of rows (default: 0)")

    commands.add_parser("info", help="version, instruction set, threads and compiler")

    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except (ImportError, OSError) as error:
        print(f"fastnn: {error}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "bench":
        from fastnn.bench import command

        default = ["training", "prediction", "products"] if arguments.full else ["training"]
        return command.run(arguments.grid or default, arguments)
    if arguments.command == "demo":
        from fastnn import demo

        return demo.run(arguments.picture, arguments.seed)
    if arguments.command == "info":
        fastnn.show_config()
        return 0
    from fastnn.tables import command as tables

    return tables.run(arguments)
