"""The commands ``train``, ``predict``, ``evaluate``, ``export`` and ``summary``."""

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from fastnn._command_line import count, fraction, positive_count, positive_number
from fastnn.saving.atomic import write_atomically

NAMES = ("train", "predict", "evaluate", "export", "summary")
_SUFFIXES = {"c": ".c", "fortran": ".f90", "onnx": ".onnx", "numpy": ".py"}


def add_commands(commands: Any) -> None:
    """Add the commands to the parser's."""
    _add_train(commands.add_parser("train", help="train a network on a CSV or Parquet file"))
    predict = commands.add_parser("predict", help="predict the rows of a file with a trained model")
    predict.add_argument("model", help="file that 'fastnn train' wrote")
    predict.add_argument("data", help="CSV or Parquet file with the columns of the training")
    predict.add_argument("-o", "--output", metavar="FILE", help="CSV file to write (default: print the table)")
    evaluate = commands.add_parser("evaluate", help="print the errors of a trained model on a file with the target")
    evaluate.add_argument("model", help="file that 'fastnn train' wrote")
    evaluate.add_argument("data", help="CSV or Parquet file with the columns of the training and the target")
    evaluate.add_argument("--plot", metavar="FILE", help="picture of the predictions against the target")
    export = commands.add_parser("export", help="write a trained model as source code or as ONNX")
    export.add_argument("model", help="model file")
    export.add_argument("--to", required=True, choices=tuple(_SUFFIXES), help="language or format")
    export.add_argument("-o", "--output", metavar="FILE", help="file to write (default: the function's name)")
    export.add_argument("--function", default="net", metavar="NAME", help="name in C and Fortran (default: net)")
    summary = commands.add_parser("summary", help="print layers and columns of a model file")
    summary.add_argument("model", help="model file")


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("data", help="CSV or Parquet file; the first line of a CSV file names the columns")
    train.add_argument("--target", required=True, metavar="COLUMN", help="column to predict")
    kind = train.add_mutually_exclusive_group()
    kind.add_argument("--classify", action="store_true", help="the target is a class (default for texts)")
    kind.add_argument("--regress", action="store_true", help="the target is a number (default for numbers)")
    train.add_argument(
        "--hidden",
        nargs="*",
        type=positive_count,
        default=[64, 64],
        metavar="N",
        help="hidden layers' sizes (default: 64 64)",
    )
    train.add_argument("--activation", default="relu", help="activation of the hidden layers (default: relu)")
    train.add_argument("--epochs", type=positive_count, default=200, help="most epochs (default: 200)")
    train.add_argument("--batch-size", type=positive_count, default=32, help="rows in a step (default: 32)")
    train.add_argument("--learning-rate", type=positive_number, default=0.001, help="of Adam (default: 0.001)")
    train.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)")
    train.add_argument("--seed", type=count, default=0, help="of weights, order and test rows (default: 0)")
    train.add_argument("--test", type=fraction, metavar="FRACTION", help="part of the rows to keep for a test")
    train.add_argument(
        "--groups", metavar="COLUMN", help="keep whole groups of rows, such as earthquakes, for the test (default: 0.2)"
    )
    train.add_argument("--ignore", nargs="+", default=[], metavar="COLUMN", help="columns that are not inputs")
    train.add_argument("--units", nargs="+", default=[], type=_unit, metavar="COLUMN=UNIT", help="units to remember")
    train.add_argument(
        "--missing",
        choices=("error", "mean", "median", "indicator"),
        default="mean",
        help="missing numbers: refuse, fill with mean or median, or fill and tell the network (default: mean)",
    )
    train.add_argument("-o", "--output", required=True, metavar="FILE", help="model file, such as model.safetensors")
    train.add_argument("--plot", metavar="FILE", help="picture of the history and of the fit")


def _unit(text: str) -> tuple[str, str]:
    name, separator, unit = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"must be COLUMN=UNIT, got {text}")
    return name, unit


def run(arguments: argparse.Namespace) -> int:
    """Run a command; return its exit status."""
    commands: dict[str, Callable[[argparse.Namespace], None]] = {
        "train": _train,
        "predict": _predict,
        "evaluate": _evaluate,
        "export": _export,
        "summary": _summary,
    }
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            _check_files(arguments)
            commands[arguments.command](arguments)
        except BrokenPipeError:  # of a reader such as head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (ValueError, ArithmeticError) as error:
            print(f"fastnn: {error}", file=sys.stderr)
            return 1
    return 0


def _warn(message: Warning | str, *others: Any, **options: Any) -> None:
    """Print a warning without the place in the code."""
    print(f"fastnn: {message}", file=sys.stderr)


def _check_files(arguments: argparse.Namespace) -> None:
    """Refuse files that cannot be written, or that the command reads, before the work."""
    given = vars(arguments)
    read = [given[name] for name in ("data", "model") if given.get(name)]
    written = {f"--{name}": given[name] for name in ("output", "plot") if given.get(name)}
    for option, path in written.items():
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"the folder {folder!r} does not exist; create it first")
        for other in [*read, *(each for name, each in written.items() if name != option)]:
            if os.path.realpath(path) == os.path.realpath(other):
                raise ValueError(f"{option} {path!r} would overwrite the file {other!r} of the same command")
    if given.get("plot"):
        from fastnn.tables.picture import check_format

        check_format(given["plot"])


def _train(arguments: argparse.Namespace) -> None:
    from fastnn.tables.columns import describe_columns
    from fastnn.tables.model import TableModel, TrainingOptions, split_rows
    from fastnn.tables.table import read_table, shown

    table = read_table(arguments.data)
    ignored = list(dict.fromkeys([*arguments.ignore, *([arguments.groups] if arguments.groups else [])]))
    classify = True if arguments.classify else False if arguments.regress else None
    columns = describe_columns(table, arguments.target, ignored, dict(arguments.units), arguments.missing, classify)
    options = TrainingOptions(
        arguments.hidden,
        arguments.activation,
        arguments.epochs,
        arguments.batch_size,
        arguments.learning_rate,
        arguments.dtype,
        arguments.seed,
    )
    columns.inputs_of(table), columns.targets_of(table)  # errors name lines of the file
    for column in columns.features:
        if column.categories is not None and len(column.categories) > table.n_rows / 2:
            row, value = table.words(column.name)[0]
            print(
                f"fastnn: {table.source}: column {column.name!r} has {len(column.categories)} different texts in "
                f"{table.n_rows} rows, such as {shown(value)} in {table.place(row)}; mend numbers, and leave out "
                "names of rows with --ignore",
                file=sys.stderr,
            )
    train, test = table, None
    if arguments.test is not None or arguments.groups is not None:
        kept, held = split_rows(table, arguments.test or 0.2, arguments.groups, arguments.seed)
        train, test = table.take(kept), table.take(held)
    model = TableModel.train(train, columns, options)
    drawn = None
    if arguments.plot:
        from fastnn.tables.picture import picture

        drawn = picture(arguments.plot, model, test or train, history=True)
    model.save(arguments.output)
    if drawn is not None:
        write_atomically(arguments.plot, [drawn])
    kind = "classes" if columns.target.categories is not None else "numbers"
    counts = f"{_counted(train.n_rows, 'row')}, {_counted(len(columns.features), 'input')}"
    print(f"{table.source}: {counts}; {columns.target.label}: {kind}")
    _print_scores("training", model.scores(train))
    if test is not None:
        _print_scores(f"test, {test.n_rows} rows", model.scores(test))
    print(f"model: {arguments.output}")


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _print_scores(name: str, scores: dict[str, float]) -> None:
    print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in scores.items()))


def _predict(arguments: argparse.Namespace) -> None:
    from fastnn.tables.table import table_text, write_table

    model, table = _model_and_table(arguments)
    predictions = model.predictions(table)
    if arguments.output:
        write_table(arguments.output, predictions)
    else:
        sys.stdout.write(table_text(predictions))


def _evaluate(arguments: argparse.Namespace) -> None:
    model, table = _model_and_table(arguments)
    _print_scores(f"{table.source}, {table.n_rows} rows", model.scores(table))
    if arguments.plot:
        from fastnn.tables.picture import picture

        write_atomically(arguments.plot, [picture(arguments.plot, model, table, history=False)])


def _model_and_table(arguments: argparse.Namespace) -> tuple[Any, Any]:
    from fastnn.tables.model import TableModel
    from fastnn.tables.table import read_table

    model, table = TableModel.load(arguments.model), read_table(arguments.data)
    model.columns.check_names(table)
    new = model.columns.new_names(table)
    if new:
        print(f"fastnn: {table.source}: columns that were not there in training are not used: {new}", file=sys.stderr)
    return model, table


def _export(arguments: argparse.Namespace) -> None:
    import fastnn
    from fastnn.export.steps import model_network
    from fastnn.tables.model import TableModel, has_columns

    path = arguments.output or arguments.function + _SUFFIXES[arguments.to]
    network: Any = fastnn.load_model(arguments.model)
    if arguments.to == "onnx":
        network.export_onnx(path)
    else:
        described = model_network(network)
        if has_columns(arguments.model):
            columns = TableModel.load(arguments.model).columns
            described = described.with_columns(columns.input_names(), columns.output_names())
        if arguments.to == "numpy":
            from fastnn.export.numpy_source import export_numpy

            export_numpy(described, path)
        elif arguments.to == "c":
            from fastnn.export.c_source import export_c

            export_c(described, path, arguments.function)
        else:
            from fastnn.export.fortran_source import export_fortran

            export_fortran(described, path, arguments.function)
    print(f"written: {path}" + (f", {path[:-2]}.h" if arguments.to == "c" else ""))


def _summary(arguments: argparse.Namespace) -> None:
    import fastnn
    from fastnn.tables.model import TableModel, has_columns

    if not has_columns(arguments.model):
        fastnn.load_model(arguments.model).summary()
        return
    model = TableModel.load(arguments.model)
    model.network.summary()
    for column in model.columns.features:
        kind = "number" if column.categories is None else f"one of {', '.join(column.categories)}"
        print(f"input {column.label}: {kind}")
    target = model.columns.target
    print(
        f"target {target.label}: "
        + ("number" if target.categories is None else f"one of {', '.join(target.categories)}")
    )
    print(f"missing values: {model.columns.missing}")
