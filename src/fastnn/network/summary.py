"""The table of a model's layers: as rows, and as the text that ``model.summary()`` prints."""

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise, zip_longest
from typing import Any

from fastnn._arguments import flag, number, whole
from fastnn.network.graph import nodes_between
from fastnn.network.stack import LayerStack

_HEAD = ("Layer (type)", "Output Shape", "Param #", "Connected to", "Trainable")
_NARROWEST = 4
"""Characters of the narrowest column."""


def layer_table(model: LayerStack) -> list[tuple[str, str, str]]:
    """Return "name (Type)", output shape and number of weights of every layer; "?" where the model is not built."""
    return [row[:3] for row in _rows(model)]


def _rows(
    model: LayerStack, nested: bool = False, names: Sequence[str] | None = None
) -> list[tuple[str, str, str, str, str]]:
    """Return the rows of the table, with what each layer is connected to, "name[call][output]", ..., and "Y" or "N".

    Parameters
    ----------
    model : the model.
    nested : whether the layers of models and blocks follow in rows of their own.
    names : names of the first and the last layer, or expressions that match them; None for all layers.
    """
    calls = _calls(model)
    layers = list(model.all_layers if calls is not None else model.layers)
    rows = []
    for place in _between(layers, names):
        layer = layers[place]
        shape, connected = "?", "-"
        if calls is not None:
            nodes = calls[id(layer)]
            shape = (
                str(nodes[0].outputs[0].shape)
                if len(nodes[0].outputs) == 1
                else str([t.shape for t in nodes[0].outputs])
            )
            connected = ", ".join(_origin(tensor, calls) for node in nodes for tensor in node.inputs) or "-"
        elif model.built:
            shape = f"(None, {model.program.widths[place]})"
        rows.append((f"{layer.name} ({_kind(layer)})", shape, _n_weights(model, layer), connected, _trained(layer)))
        for inner in layer.inner_layers() if nested else ():
            if getattr(inner, "input_dtype", 0) == 0:
                name = f"  └ {inner.name} ({_kind(inner)})"
                rows.append((name, "-", _n_weights(model, inner), "-", _trained(inner)))
    return [(*row[:4], row[4] if row[2] not in ("0", "?") else "-") for row in rows]


def _trained(layer: Any) -> str:
    """Return "Y" for a layer that is trained, and "N" for one that is not."""
    return "Y" if layer.trainable else "N"


def _between(layers: Sequence[Any], names: Sequence[str] | None) -> range:
    """Return the places of the layers from the first one to the last one whose names match, as in Keras.

    Raises
    ------
    ValueError
        ``names`` are not two strings, or one of them matches no layer.
    """
    if names is None:
        return range(len(layers))
    if not isinstance(names, list | tuple) or len(names) != 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(f"layer_range must be a list of two names of layers, got {names!r}")
    found = [[place for place, layer in enumerate(layers) if re.match(name, layer.name)] for name in names]
    for name, places in zip(names, found, strict=True):
        if not places:
            known = ", ".join(layer.name for layer in layers)
            raise ValueError(f"layer_range: no layer has a name that matches {name!r}. The layers: {known}")
    first, last = found if min(found[0]) <= max(found[1]) else reversed(found)
    return range(min(first), max(last) + 1)


def _calls(model: Any) -> dict[int, list[Any]] | None:
    """Return the calls of each layer of a graph; None for a chain."""
    if model.port_names() is None or model.kind == "Sequential":
        return None
    found: dict[int, list[Any]] = {id(tensor.node.layer): [tensor.node] for tensor in model.inputs}
    for node in nodes_between(model.inputs, model.outputs):
        found.setdefault(id(node.layer), []).append(node)
    return found


def _origin(tensor: Any, calls: dict[int, list[Any]]) -> str:
    """Return where a tensor comes from, as Keras writes it."""
    node = tensor.node
    number = next(place for place, each in enumerate(calls[id(node.layer)]) if each is node)
    output = next(place for place, each in enumerate(node.outputs) if each is tensor)
    return f"{node.layer.name}[{number}][{output}]"


def _kind(layer: Any) -> str:
    """Return the name of a layer's class, or what stands for it."""
    return str(getattr(layer, "kind", type(layer).__name__))


def _n_weights(model: LayerStack, layer: Any) -> str:
    """Return the number of weights of a layer or a model in the model."""
    if not model.built:
        return "?"
    leaves = {id(leaf) for leaf in layer.leaf_layers()}
    specs = [spec for leaf in model.program.leaves if id(leaf.layer) in leaves for spec in leaf.specs]
    return f"{sum(math.prod(spec.shape) for spec in specs):,}"


def summary_text(
    model: LayerStack,
    line_length: int | None,
    positions: Sequence[float] | None,
    expand_nested: bool,
    show_trainable: bool,
    layer_range: Sequence[str] | None,
) -> str:
    """Return the table with the model's name above it and the total numbers of weights below it.

    The arguments are those of ``model.summary``.
    """
    columns = [0, 1, 2] if _calls(model) is None else [0, 1, 2, 3]
    columns += [4] * flag("show_trainable", show_trainable)
    rows = _rows(model, flag("expand_nested", expand_nested), layer_range)
    table = [[row[column] for column in columns] for row in (_HEAD, *rows)]
    gaps = [2] * len(columns)
    gaps[2] = 2 if len(columns) > 3 else 0
    widths = [max(len(row[column]) for row in table) for column in range(len(columns))]
    widths = [width + 2 if place == 2 else width + gaps[place] for place, width in enumerate(widths)]
    widths[0] += max(0, 50 - sum(widths))
    widths[2] += gaps[2]
    if line_length is not None or positions is not None:
        widths = _fitted(widths, line_length, positions, show_trainable)
    head, *body = (_lines(row, widths, gaps) for row in table)
    width = sum(widths)
    lines = [f'Model: "{model.name}"', "_" * width, *head, "=" * width, *chain.from_iterable(body), "=" * width]
    return "\n".join([*lines, *_totals(model), "_" * width])


def _fitted(widths: Sequence[int], line_length: int | None, positions: Any, show_trainable: bool) -> list[int]:
    """Return the widths of the columns in lines of a given length.

    Without positions the first column takes what is too much, and the widest ones give what is missing.

    Raises
    ------
    ValueError
        ``positions`` are not one growing number for each column, or a column gets fewer than 4 characters.
    """
    found, least = list(widths), _NARROWEST * len(widths)
    length = sum(widths) if line_length is None else whole("line_length", line_length, at_least=least)
    if positions is None:
        found[0] += max(0, length - sum(found))
        while sum(found) > length:
            found[found.index(max(found))] -= 1
        return found
    if isinstance(positions, str) or not isinstance(positions, Iterable):
        raise ValueError(f"positions must be a list of numbers, got {positions!r}")
    ends = [number(f"positions[{place}]", each, above=0) for place, each in enumerate(positions)]
    if len(ends) != len(widths) - show_trainable:
        raise ValueError(f"positions must be {len(widths) - show_trainable} numbers, one for each column, got {ends}")
    whole_line = 1 if ends[-1] <= 1 else length  # fractions of the line, or characters
    ends = [end / whole_line * (0.9 if show_trainable else 1) for end in ends] + [1.0] * show_trainable
    found = [after - before for before, after in pairwise([0, *(round(end * length) for end in ends)])]
    if min(found) < _NARROWEST:
        raise ValueError(
            f"columns of {', '.join(map(str, found))} characters are too narrow, each needs at least {_NARROWEST}: "
            "give a larger line_length or other positions"
        )
    return found


def _lines(row: Sequence[str], widths: Sequence[int], gaps: Sequence[int]) -> list[str]:
    """Return the lines of a row: cells that are longer than their column go on in the next line."""
    cells = [textwrap.wrap(cell, width - gap) for cell, width, gap in zip(row, widths, gaps, strict=True)]
    lines = []
    for parts in zip_longest(*cells, fillvalue=""):
        padded = [
            f"{part:>{width - gap}}{'':{gap}}" if place == 2 else f"{part:<{width}}"
            for place, (part, width, gap) in enumerate(zip(parts, widths, gaps, strict=True))
        ]
        lines.append("".join(padded).rstrip())
    return lines


def _totals(model: LayerStack) -> list[str]:
    """Return the lines below the table."""
    if not model.built:
        return ["Total params: not built", "Trainable params: not built"]
    total = model.count_params()
    trained = sum(array.size for array in model.trainable_weights)
    counts = {"Total": total, "Trainable": trained, "Non-trainable": total - trained}
    return [f"{kind} params: {count:,}" for kind, count in counts.items()]
