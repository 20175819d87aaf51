"""The table of a model's layers: as rows, and as the text that ``model.summary()`` prints."""

import math
from collections.abc import Sequence
from typing import Any

from fastnn.network.graph import nodes_between
from fastnn.network.stack import LayerStack

_HEAD = ("Layer (type)", "Output Shape", "Param #", "Connected to")


def layer_table(model: LayerStack) -> list[tuple[str, str, str]]:
    """Return "name (Type)", output shape and number of weights of every layer; "?" where the model is not built."""
    return [row[:3] for row in _rows(model)]


def _rows(model: LayerStack, nested: bool = False, prefix: str = "") -> list[tuple[str, str, str, str]]:
    """Return the rows of the table, with what each layer is connected to: "name[call][output]", ...

    Parameters
    ----------
    model : the model.
    nested : whether the layers of models and blocks follow in rows of their own.
    prefix : what comes before the names.
    """
    calls = _calls(model)
    rows = []
    for place, layer in enumerate(model.all_layers if calls is not None else model.layers):
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
        rows.append((f"{prefix}{layer.name} ({_kind(layer)})", shape, _n_weights(model, layer), connected))
        for inner in layer.inner_layers() if nested else ():
            if getattr(inner, "input_dtype", 0) == 0:
                rows.append((f"{prefix}  └ {inner.name} ({_kind(inner)})", "-", _n_weights(model, inner), "-"))
    return rows


def _calls(model: Any) -> dict[int, list[Any]] | None:
    """Return the calls of each layer of a graph; None for a chain."""
    if model.ports() is None or model.kind == "Sequential":
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


def summary_text(model: LayerStack, expand_nested: bool = False) -> str:
    """Return the table with the model's name above it and the total numbers of weights below it."""
    n_columns = 3 if _calls(model) is None else 4
    table: list[Sequence[str]] = [row[:n_columns] for row in (_HEAD, *_rows(model, expand_nested))]
    widths = [max(len(row[column]) for row in table) + 2 for column in range(n_columns)]
    width = max(sum(widths), 50)
    widths[0] += width - sum(widths)
    gap = "  " if n_columns == 4 else ""
    head, *body = (
        "".join(
            f"{cell:{'>' if place == 2 else '<'}{widths[place]}}{gap * (place == 2)}" for place, cell in enumerate(row)
        )
        for row in table
    )
    width += len(gap)
    lines = [f'Model: "{model.name}"', "_" * width, head, "=" * width, *body, "=" * width]
    return "\n".join([*lines, *_totals(model), "_" * width])


def _totals(model: LayerStack) -> list[str]:
    """Return the lines below the table."""
    if not model.built:
        return ["Total params: not built", "Trainable params: not built"]
    total = model.count_params()
    trained = sum(array.size for array in model.trainable_weights)
    counts = {"Total": total, "Trainable": trained, "Non-trainable": total - trained}
    return [f"{kind} params: {count:,}" for kind, count in counts.items()]
