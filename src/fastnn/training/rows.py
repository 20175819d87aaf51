"""The rows of a fit or an evaluation: inputs, targets and weights, checked and converted once."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import number
from fastnn._arithmetic import default_arithmetic
from fastnn._arrays import (
    as_features,
    as_numbers,
    check_columns,
    check_finite,
    column_names,
    is_source,
)
from fastnn._structures import is_nested
from fastnn.network.chain import flattened_shape, takes_missing
from fastnn.network.graph import Graph, Port
from fastnn.network.program import Program
from fastnn.network.stack import LayerStack
from fastnn.network.structures import by_place, holds_one
from fastnn.training.targets import as_targets

Array = NDArray[Any]

_NAMES = ("x", "y", "sample_weight")
_VALIDATION_NAMES = ("validation_data[0]", "validation_data[1]", "validation_data[2]")
_MISSING_HINT = ", or let the first layer do it: layers.Normalization(missing='mean' or 'indicator')"


class Rows(NamedTuple):
    """Rows to train on or to evaluate.

    A model with several inputs or outputs has a list of arrays for each argument: one for each input, and one for each
    output, None where it has neither a loss nor metrics.

    Parameters
    ----------
    X : (n, n_features).
    y : (n, n_outputs) in the network's dtype, or int64 labels (n,).
    sample_weight : (n,) in the network's dtype, or None.
    numbers : which rows of these arrays are meant, (n,); None for all.
    """

    X: Any
    y: Any
    sample_weight: Any
    numbers: Array | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return n_rows(self.X) if self.numbers is None else len(self.numbers)

    def first(self, n: int | None) -> "Rows":
        """Return the first ``n`` rows; all for None."""
        return self if n is None else self.split(n)[0]

    def split(self, point: int) -> tuple["Rows", "Rows"]:
        """Return the rows before and from ``point`` on."""
        if self.numbers is not None:
            return self._replace(numbers=self.numbers[:point]), self._replace(numbers=self.numbers[point:])
        return self.part(slice(point)), self.part(slice(point, None))

    def part(self, rows: Any) -> "Rows":
        """Return some of the rows: those of a slice or of numbers."""
        taken = rows if self.numbers is None else self.numbers[rows]
        return Rows(take(self.X, taken), take(self.y, taken), take(self.sample_weight, taken))

    def arrays(self) -> list[Any]:
        """Return the arrays of inputs, targets and weights one by one, None among them."""
        return [each for given in (self.X, self.y, self.sample_weight) for each in listed(given)]

    def targets(self) -> tuple[Any, Any]:
        """Return y and the sample weights."""
        if self.numbers is None:
            return self.y, self.sample_weight
        return take(self.y, self.numbers), take(self.sample_weight, self.numbers)


class Fold(NamedTuple):
    """Inputs of which ``fit`` trains on some rows and validates with others.

    Parameters
    ----------
    x : inputs as in ``fit``; the targets and sample weights are those of all its rows, too.
    training, held_out : numbers of the rows.
    repeats : whether a number is among the training rows more than once.
    """

    x: Any
    training: Array
    held_out: Array
    repeats: bool

    def rows_of(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return the rows to train on and those to validate with."""
        training, held_out = rows._replace(numbers=self.training), rows._replace(numbers=self.held_out)
        # The prediction of a row in training is kept by its number: rows that repeat need one each.
        return training.part(slice(None)) if self.repeats else training, held_out


def listed(arrays: Any) -> list[Any]:
    """Return an array, or None, as a list of one; a list of them as it is."""
    return arrays if isinstance(arrays, list) else [arrays]


def n_rows(arrays: Any) -> int:
    """Return the number of rows of an array or of the first of some arrays."""
    return int(listed(arrays)[0].shape[0])


def take(arrays: Any, rows: Any) -> Any:
    """Return some rows of an array or of each array in a list; None stays None."""
    if isinstance(arrays, list):
        return [take(each, rows) for each in arrays]
    return None if arrays is None else arrays[rows]


def joined(parts: Any) -> Any:
    """Return the rows of several arrays, or of several lists of arrays, in one; None stays None."""
    if isinstance(parts[0], list):
        return [joined(each) for each in zip(*parts, strict=True)]
    return parts[0] if len(parts) == 1 or parts[0] is None else np.concatenate(parts)


Columns = list[str] | dict[str, list[str]] | None
"""Names of the columns of a data frame; those of several inputs by the name of the input."""


def columns_of(model: LayerStack, x: Any, name: str = "x") -> Columns:
    """Return the names of the columns of a data frame, or those of each input that is one; None for other data."""
    ports = model.port_names()
    if ports is None:
        return column_names(_only_input(model, x))
    given = by_place(_by_name(x), model.structures[0], ports, name, "input")
    if len(ports) == 1:
        return column_names(given[0])
    found = {port: column_names(each) for port, each in zip(ports, given, strict=True)}
    return {port: names for port, names in found.items() if names is not None} or None


def check_columns_of(model: LayerStack, known: Columns, x: Any, name: str = "x") -> None:
    """Raise ValueError unless data frames have the columns that are known, in their order; other data pass."""
    ports = None if known is None else model.port_names()
    if ports is None:
        check_columns(known if isinstance(known, list) else None, _only_input(model, x), name)
        return
    given = by_place(_by_name(x), model.structures[0], ports, name, "input")
    for port, each in zip(ports, given, strict=True):
        names = known.get(port) if isinstance(known, dict) else known
        check_columns(names, each, name if len(ports) == 1 else f"{name}[{port!r}]")


def _by_name(x: Any) -> Any:
    """Return the sources of the inputs of a source that has several; other inputs as they are."""
    inputs = x.inputs if is_source(x) else None
    return x if inputs is None else inputs


def _only_input(model: LayerStack, x: Any) -> Any:
    """Return the array of a list of one array for a chain of layers; a list of one row as it is."""
    if not holds_one(x):
        return x
    row = flattened_shape(model.all_layers)
    # Rows of any shape are flattened where the shape is ().
    return x[0] if row != () and len(x[0].shape) > len(row or (1,)) else x


def _only_output(given: Any, n: int) -> Any:
    """Return the array of a list of one array with n rows; a list of one row as it is."""
    return given[0] if holds_one(given) and (len(given[0].shape) > 1 or len(given[0]) == n > 1) else given


def batch_of_chain(model: LayerStack, batch: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a batch (x, y, sample_weight), of which y and weights may be left out, with arrays for lists of one."""
    x = _only_input(model, batch[0])
    return x, *(_only_output(part, len(x) if hasattr(x, "__len__") else 1) for part in batch[1:])


def features_of(
    model: LayerStack, x: Any, name: str = "x", n_features: int | None = None, allow_empty: bool = False
) -> tuple[Any, Program]:
    """Return checked inputs of a model, and its program or the one that it would get for them.

    Parameters
    ----------
    model : any model; it is not changed.
    x : array-like (n, n_features), or for a model with several inputs a list or dict of them.
    name : name in messages.
    n_features : columns that the inputs must have; by default those that the model takes.
    allow_empty : whether n may be 0.

    Returns
    -------
    An array, or a list of arrays for a model with several inputs or outputs; and the program.
    """
    names = model.port_names()
    check_columns_of(model, model.feature_names_in_, x, name)
    if names is None:
        x, layers = _only_input(model, x), model.all_layers
        expected = model.n_features if n_features is None else n_features
        shape, missing = flattened_shape(layers), takes_missing(layers)
        X = as_features(x, expected, model.dtype, name, shape, missing, _MISSING_HINT, allow_empty)
        return X, model.program_for(X.shape[1])
    arrays, program = _input_arrays(model, x, name, n_features, allow_empty)
    found = encoded(program.graph, arrays)
    return (found[0] if program.is_chain else found), program


def _input_arrays(
    model: LayerStack, x: Any, name: str, n_features: int | None, allow_empty: bool
) -> tuple[list[Array], Program]:
    """Return the checked arrays of inputs that have names, before anything is encoded, and the program for them."""
    names = model.port_names() or []
    given = by_place(x, model.structures[0], names, name, "input")
    known = model.n_features or n_features
    program = model.program_for(_width(given[0]) if known is None else known)
    ports = model.ports(program.n_features)
    arrays = [
        _input_array(each, port, model.dtype, name if len(ports) == 1 else f"{name}[{port.name!r}]", allow_empty)
        for each, port in zip(given, ports, strict=True)
    ]
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        each_length = ", ".join(f"{port.name!r} {length}" for port, length in zip(ports, lengths, strict=True))
        raise ValueError(f"all inputs in {name} must have the same number of rows, got {each_length}")
    return arrays, program


def slopes_of_scaling(model: LayerStack, x: Any, program: Program) -> dict[int, tuple[int, Array]]:
    """Return what scaling layers before the network do to checked inputs of a model.

    Returns
    -------
    For the value that each one gives: the value that it takes, and the derivatives (n, columns) of its outputs with
    respect to their inputs.
    """
    graph = program.graph
    if not graph.encoding:
        return {}
    from fastnn.layers.preprocessing import Scaler

    values = _encoded_values(graph, _input_arrays(model, x, "x", None, allow_empty=True)[0])
    return {
        step.output: (step.inputs[0], step.layer.slopes(values[step.inputs[0]]))
        for step in graph.encoding
        if isinstance(step.layer, Scaler)
    }


def _width(rows: Any) -> int:
    """Return the number of columns of rows that decide it: 1 for a vector, the product for rows of another shape."""
    return max(1, math.prod((rows if hasattr(rows, "shape") else np.asarray(rows)).shape[1:]))


def _is_text(value: Any) -> bool:
    """Whether an array holds strings, or objects of which the first is one; the layer that encodes it judges more."""
    array = np.asarray(value)
    return array.dtype.kind in "US" or (array.dtype.kind == "O" and array.size > 0 and isinstance(array.flat[0], str))


def _input_array(value: Any, port: Port, dtype: np.dtype[Any], name: str, allow_empty: bool) -> Array:
    """Return a checked array for one input: (n, columns), or in the shape of its rows where it is encoded first."""
    width = math.prod(port.row)
    if port.dtype == "string" or (port.encoded and _is_text(value)):
        array = np.asarray(value)
    else:
        shape = port.row if len(port.row) > 1 else None
        array = as_features(value, width, dtype, name, shape, port.missing, _MISSING_HINT, allow_empty)
    if port.encoded:
        if array.ndim == 0 or array.size != len(array) * width:
            raise ValueError(f"{name} must have shape {('n', *port.row)}, got {array.shape}")
        return array.reshape(len(array), *port.row)
    return array


def encoded(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    """Return the arrays (n, columns) that the network takes: the inputs, or what layers that encode make of them."""
    if not len(arrays[0]):
        return [np.empty((0, graph.width(port)), np.float32) for port in graph.ports]
    values = _encoded_values(graph, arrays)
    return [np.asarray(values[port]).reshape(len(arrays[0]), graph.width(port)) for port in graph.ports]


def _encoded_values(graph: Graph, arrays: Sequence[Array]) -> dict[int, Any]:
    """Return the values of a graph before the network, by number: the inputs, and what encoding layers give."""
    values: dict[int, Any] = dict(enumerate(arrays))
    for step in graph.encoding:
        given = [values[value] for value in step.inputs]
        # One element per row: for a layer alone a vector is one row.
        rows = [array[:, None] if array.ndim == 1 else array for array in given]
        values[step.output] = step.layer.compute(*rows).reshape(len(rows[0]), *graph.rows[step.output])
    return values


@default_arithmetic()
def rows_of(
    model: LayerStack,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    names: tuple[str, str, str] = _NAMES,
    n_features: int | None = None,
) -> tuple[Rows, Program]:
    """Return checked rows for the loss of a compiled model, and the program as in ``features_of``.

    Parameters
    ----------
    model : compiled model; it is not changed.
    x, y, sample_weight : as in ``fit``.
    names : names of x, y and sample_weight in messages.
    n_features : columns that the inputs must have; by default those that the model takes.
    """
    X, program = features_of(model, x, names[0], n_features)
    return rows_with(model, X, y, sample_weight, program, names), program


def rows_with(
    model: LayerStack, X: Any, y: Any, sample_weight: Any, program: Program, names: tuple[str, str, str]
) -> Rows:
    """Return rows of checked inputs X, with checked targets and weights; the arguments are those of ``rows_of``."""
    n = n_rows(X)
    if model.port_names() is None or program.is_chain:
        loss = model.loss
        if model.port_names() is not None:
            (y,) = by_place(y, model.structures[1], model.output_keys, names[1], "output")
            (sample_weight,) = by_place(sample_weight, model.structures[1], model.output_keys, names[2], "output")
        else:
            y, sample_weight = _only_output(y, n), _only_output(sample_weight, n)
        columns = loss.target_columns(program.n_outputs)
        targets = as_targets(y, loss.targets, loss.name, columns, n, model.dtype, names[1], names[0], loss.ignore_class)
        return Rows(X, targets, as_sample_weight(sample_weight, n, model.dtype, names[2]))
    return Rows(X, *_targets_by_output(model, y, sample_weight, n, program, names))


def _targets_by_output(
    model: Any, y: Any, sample_weight: Any, n: int, program: Program, names: tuple[str, str, str]
) -> tuple[list[Array | None], list[Array | None]]:
    """Return targets and sample weights for each output; None for an output without loss and metrics."""
    keys, losses = model.output_keys, model.losses_of_outputs
    needed = [loss is not None or any(m.output == place for m in model.metrics) for place, loss in enumerate(losses)]
    if isinstance(y, list | tuple) and len(y) == sum(needed) < len(keys):
        remaining = iter(y)
        given = [next(remaining) if each else None for each in needed]
    else:
        given = by_place(y, model.output, keys, names[1], "output", partial=not all(needed))
    if sample_weight is None or not is_nested(sample_weight):
        weights = [sample_weight] * len(keys)
    else:
        weights = by_place(sample_weight, model.output, keys, names[2], "output", partial=True)
    targets: list[Array | None] = []
    for place, (key, loss, head) in enumerate(zip(keys, losses, program.heads, strict=True)):
        name = names[1] if len(keys) == 1 else f"{names[1]}[{key!r}]"
        if not needed[place]:
            targets.append(None)
            continue
        kind, loss_name, ignored = (
            ("any", "no loss", None) if loss is None else (loss.targets, loss.name, loss.ignore_class)
        )
        columns = head.n_outputs if loss is None else loss.target_columns(head.n_outputs)
        targets.append(as_targets(given[place], kind, loss_name, columns, n, model.dtype, name, names[0], ignored))
    checked = [
        as_sample_weight(each, n, model.dtype, names[2] if len(keys) == 1 else f"{names[2]}[{key!r}]")
        for key, each in zip(keys, weights, strict=True)
    ]
    return targets, checked


def validation_rows(model: LayerStack, data: Any, n_features: int | None) -> Rows:
    """Return the checked rows of ``validation_data``, (x, y) or (x, y, sample_weight)."""
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError("validation_data must be (x, y) or (x, y, sample_weight)")
    weight = data[2] if len(data) == 3 else None
    return rows_of(model, data[0], data[1], weight, _VALIDATION_NAMES, n_features)[0]


def as_sample_weight(value: Any, n_rows: int, dtype: np.dtype[Any], name: str = "sample_weight") -> Array | None:
    """Return one weight per row (n,) in the network's dtype, or None for None.

    Raises
    ------
    ValueError
        Not numbers, not one for each row, or not finite.
    """
    if value is None:
        return None
    weights = as_numbers(value, name)
    if weights.shape not in ((n_rows,), (n_rows, 1)):
        raise ValueError(f"{name} must have shape ({n_rows},), one weight per row, got {weights.shape}")
    weights = weights.reshape(-1)
    check_finite(weights, name, dtype)
    return np.ascontiguousarray(weights, dtype=dtype)


def weigh_classes(rows: Rows, class_weight: Any, model: LayerStack, program: Program, partial: bool) -> Rows:
    """Return the rows with their weights multiplied by the weight of their class.

    Parameters
    ----------
    rows : checked rows.
    class_weight : dict from class to weight; classes that it leaves out have weight 1. None changes nothing.
    model : compiled model; its loss says where the classes are.
    program : program that the model has or will have.
    partial : whether the rows are some of all, so that a class may have none.

    Raises
    ------
    ValueError
        Not a dict, a class that does not exist, a weight that is not a number, or targets without classes.
    """
    if class_weight is None:
        return rows
    rows = rows if rows.numbers is None else rows.part(slice(None))
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be a dict from class to weight, got {type(class_weight).__name__}")
    if len(program.heads) > 1:
        raise ValueError(
            f"class_weight is for a model with one output, this one has {len(program.heads)}: use sample_weight"
        )
    together = isinstance(rows.y, list)
    y, sample_weight = (rows.y[0], rows.sample_weight[0]) if together else (rows.y, rows.sample_weight)
    loss: Any = model.losses_of_outputs[0]
    classes, known = _classes_of(y, loss.targets, program.n_outputs, partial)
    weights = {}
    for label, weight in class_weight.items():
        real = isinstance(label, int | float | np.integer | np.floating) and not isinstance(label, bool)
        if not real or label not in known:
            named = f"{known[0]} to {known[-1]}" if isinstance(known, range) else " and ".join(map(str, known))
            raise ValueError(f"class_weight has class {label!r}; the classes are {named}")
        weights[int(label)] = number(f"class_weight of class {label!r}", weight)
    labels = np.array(sorted(weights), dtype=np.int64)
    factors = np.ones(rows.n)
    if len(labels):
        places = np.minimum(np.searchsorted(labels, classes), len(labels) - 1)
        found = labels[places] == classes
        factors[found] = np.array([weights[label] for label in labels.tolist()])[places[found]]
    per_row = np.ascontiguousarray(factors if sample_weight is None else factors * sample_weight, dtype=model.dtype)
    return Rows(rows.X, rows.y, [per_row] if together else per_row)


_ANY_CLASS = range(-(1 << 53), 1 << 53)
"""Whole numbers that float64 holds exactly."""


def _classes_of(y: Array, kind: str, n_outputs: int, partial: bool) -> tuple[Array, Sequence[int]]:
    """Return the class of each row as int64 (n,), and the classes that there are.

    Parameters
    ----------
    y, kind : checked targets, and which targets the loss takes, as in ``as_targets``.
    n_outputs : outputs of the model.
    partial : as in ``weigh_classes``.
    """
    if kind == "labels":
        return y, range(n_outputs)
    if y.shape[1] > 1:
        largest: Array = np.argmax(y, axis=1)
        others = np.isin(y, (0.0, 1.0)).all() or np.isin(y, (-1.0, 1.0)).all()
        if kind != "one_hot" and not (others and np.all((y == 1.0).sum(axis=1) == 1)):
            raise ValueError(
                f"class_weight needs targets with one class per row, but y has {y.shape[1]} columns that are not "
                "one-hot; use sample_weight instead"
            )
        return largest, range(y.shape[1])
    column = y[:, 0]
    if kind == "probabilities":
        return np.rint(column).astype(np.int64), range(2)
    fractions = column != np.rint(column)
    if fractions.any():
        row = int(np.argmax(fractions))
        raise ValueError(
            f"class_weight needs targets with one class per row, but y has {column[row]:g} at row {row} (counted from "
            "0); use sample_weight instead"
        )
    classes = column.astype(np.int64)
    if partial:
        return classes, _ANY_CLASS
    low, high = int(classes.min()), int(classes.max())
    if low >= -1 and high <= 1 and not (low == -1 and (classes == 0).any()):
        return classes, (-1, 1) if low == -1 else range(2) if low == 0 else range(-1, 2)
    return classes, range(low, high + 1)


def split_point(n: int, validation_split: Any) -> int:
    """Return the number of rows for training, the first ones; the rest is for validation."""
    fraction = number("validation_split", validation_split, at_least=0.0, below=1.0)
    point = math.floor(n * (1.0 - fraction))
    if validation_split and not 0 < point < n:
        raise ValueError(
            f"validation_split={validation_split} of {n} rows leaves {point} for training and {n - point} for "
            "validation; both need at least one"
        )
    return point
