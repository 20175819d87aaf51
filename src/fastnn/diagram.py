"""A picture of a network: columns of units, or boxes for a graph; as SVG, and as geometry for other drawings."""

from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from fastnn._arguments import takes_keywords
from fastnn._missing import public_names
from fastnn.network.graph import nodes_between
from fastnn.network.stack import LayerStack, require_stack
from fastnn.network.summary import layer_table

__all__ = ["Box", "Column", "boxes", "columns", "network_svg", "table_html"]

MAX_UNITS = 8
"""Number of units drawn in a column; of a larger layer the first and last units are drawn, with dots between."""
_COLUMN_WIDTH, _ROW_HEIGHT, _MARGIN, _HEAD, _RADIUS = 132, 26, 66, 22, 8
_BOX_HEIGHT, _BOX_STEP = 42, 66
# Okabe and Ito (2008).
_INPUT_COLOUR, _UNIT_COLOUR, _OUTPUT_COLOUR = "#E69F00", "#56B4E9", "#009E73"
_INK = "currentColor"  # that of the text around the picture: dark on a light page, light on a dark one


@dataclass(frozen=True)
class Column:
    """One column of a diagram.

    Parameters
    ----------
    title : layer class and activation.
    caption : name of the layer.
    size : number of units.
    n_weights : number of weights.
    connected : whether every unit is connected to all units of the previous column, instead of to one.
    colour : colour of the units.
    heights : (n,) vertical positions of the drawn units, centred on 0, at a distance of 1.
    dots : whether dots at height 0 stand for units that are not drawn.
    """

    title: str
    caption: str
    size: int
    n_weights: int
    connected: bool
    colour: str
    heights: tuple[float, ...]
    dots: bool


@takes_keywords
def columns(model: LayerStack) -> list[Column]:
    """Return the columns of a built model: the inputs, then every layer."""
    require_stack(model)
    program = model.program
    found = [_column("Input", "features", program.n_features, 0, False, _INPUT_COLOUR)]
    for place, layer in enumerate(model.layers):
        activation = getattr(getattr(layer, "activation", None), "name", "linear")
        title = type(layer).__name__ + ("" if activation == "linear" else f", {activation}")
        colour = _OUTPUT_COLOUR if place == len(model.layers) - 1 else _UNIT_COLOUR
        size = program.widths[place]
        connected = any(len(spec.shape) == 2 for spec in program.specs[place]) or size != found[-1].size
        found.append(_column(title, layer.name, size, layer.count_params(), connected, colour))
    return found


def _column(title: str, caption: str, size: int, n_weights: int, connected: bool, colour: str) -> Column:
    if size <= MAX_UNITS:
        heights = tuple(place - (size - 1) / 2 for place in range(size))
    else:
        half = MAX_UNITS // 2
        below = tuple(-(half - place) + 0.25 for place in range(half))
        heights = (*below, *(-height for height in reversed(below)))
    return Column(title, caption, size, n_weights, connected, colour, heights, size > MAX_UNITS)


@takes_keywords
def network_svg(model: LayerStack) -> str:
    """Return an SVG picture of a built model: units, connections, sizes and numbers of weights.

    A graph is drawn as boxes, one for each layer, with arrows from the layers whose outputs it takes.

    Raises
    ------
    ValueError
        The model is not built: its number of features is not known.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Sequential([fastnn.Input((5,)), fastnn.layers.Dense(3)], name="small")
    >>> fastnn.diagram.network_svg(model)[:4]
    '<svg'
    """
    if model.kind != "Sequential":
        return _graph_svg(model)
    drawn = columns(model)
    rows = max(max(column.heights) for column in drawn) * 2 + 1
    width = 2 * _MARGIN + (len(drawn) - 1) * _COLUMN_WIDTH
    height = int(rows * _ROW_HEIGHT + _HEAD + 56)
    middle = _HEAD + 6 + rows * _ROW_HEIGHT / 2
    lines, circles, texts = [], [], []
    for place, column in enumerate(drawn):
        x = _MARGIN + place * _COLUMN_WIDTH
        ys = [middle + h * _ROW_HEIGHT for h in column.heights]
        if place:
            before = drawn[place - 1]
            before_ys = [middle + h * _ROW_HEIGHT for h in before.heights]
            pairs = (
                [(a, b) for a in before_ys for b in ys] if column.connected else list(zip(before_ys, ys, strict=True))
            )
            lines += [f'<line x1="{x - _COLUMN_WIDTH}" y1="{a:.1f}" x2="{x}" y2="{b:.1f}"/>' for a, b in pairs]
        circles += [
            f'<circle cx="{x}" cy="{y:.1f}" r="{_RADIUS}" fill="{column.colour}" stroke="{_INK}" stroke-width="0.8"/>'
            for y in ys
        ]
        if column.dots:
            circles += [f'<circle cx="{x}" cy="{middle + 4.5 * d:.1f}" r="1.4" fill="{_INK}"/>' for d in (-1, 0, 1)]
        texts.append(_text(x, 14, column.title, "bold"))
        size = f"{column.size:,} unit{'s' if column.size != 1 else ''}" if place else f"{column.size:,} features"
        texts.append(_text(x, height - 26, size))
        if column.n_weights:
            texts.append(_text(x, height - 10, f"{column.n_weights:,} weights"))
    picture = f'<g stroke="{_INK}" stroke-opacity="0.4" stroke-width="0.5">{"".join(lines)}</g>'
    return _svg(model, width, height, f"{picture}{''.join(circles)}{''.join(texts)}")


def _svg(model: LayerStack, width: int, height: int, picture: str) -> str:
    """Return a picture as SVG, with a label for readers who do not see it."""
    label = f"{model.name}: {model.count_params():,} weights"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto" role="img" aria-label="{escape(label)}" '
        f'font-family="sans-serif" font-size="11">{picture}</svg>'
    )


@dataclass(frozen=True)
class Box:
    """One layer in the picture of a graph.

    Parameters
    ----------
    title : layer class and activation.
    caption : name of the layer and the shape of its outputs.
    place : column, counted from the inputs, and row.
    colour : colour of the box.
    before : numbers of the boxes whose outputs the layer takes.
    """

    title: str
    caption: str
    place: tuple[int, int]
    colour: str
    before: tuple[int, ...]


@takes_keywords
def boxes(model: Any) -> list[Box]:
    """Return the layers of a graph as boxes: a layer stands to the right of those whose outputs it takes."""
    require_stack(model)
    layers = model.all_layers
    nodes = nodes_between(model.inputs, model.outputs)
    ends = {id(tensor.node.layer) for tensor in model.outputs}
    numbers = {id(layer): number for number, layer in enumerate(layers)}
    column = dict.fromkeys(numbers, 0)
    for node in nodes:
        column[id(node.layer)] = max(column[id(node.layer)], *(column[id(t.node.layer)] + 1 for t in node.inputs))
    heights: Counter[int] = Counter()
    found = []
    for layer, (name, shape, _) in zip(layers, layer_table(model), strict=True):
        calls = [node for node in nodes if node.layer is layer]
        activation = getattr(getattr(layer, "activation", None), "name", "linear")
        kind = name.removeprefix(f"{layer.name} (").removesuffix(")")
        title = kind + ("" if activation == "linear" else f", {activation}")
        colour = _UNIT_COLOUR if calls else _INPUT_COLOUR
        place = (column[id(layer)], heights[column[id(layer)]])
        heights[place[0]] += 1
        before = dict.fromkeys(numbers[id(tensor.node.layer)] for node in calls for tensor in node.inputs)
        colour = _OUTPUT_COLOUR if id(layer) in ends and calls else colour
        found.append(Box(title, f"{layer.name} {shape}", place, colour, tuple(before)))
    return found


def _graph_svg(model: Any) -> str:
    """Return the boxes and arrows of a graph."""
    drawn = boxes(model)
    wide = max(len(text) for box in drawn for text in (box.title, box.caption)) * 6 + 20
    step, rows = wide + 48, 1 + max(box.place[1] for box in drawn)
    width, height = step * (1 + max(box.place[0] for box in drawn)), rows * _BOX_STEP + 16
    in_column = Counter(box.place[0] for box in drawn)

    def corner(box: Box) -> tuple[int, float]:
        free = (rows - in_column[box.place[0]]) * _BOX_STEP / 2
        return 24 + box.place[0] * step, 16 + free + box.place[1] * _BOX_STEP

    arrows, shapes = [], []
    for box in drawn:
        x, y = corner(box)
        for number in box.before:
            left, top = corner(drawn[number])
            start, a, b = left + wide, top + _BOX_HEIGHT / 2, y + _BOX_HEIGHT / 2
            curve = f"M{start},{a:.1f} C{start + 30},{a:.1f} {x - 30},{b:.1f} {x - 5},{b:.1f}"
            arrows.append(f'<path d="{curve}"/><path d="M{x - 6},{b - 4:.1f} L{x},{b:.1f} L{x - 6},{b + 4:.1f}"/>')
        shapes.append(
            f'<rect x="{x}" y="{y:.1f}" width="{wide}" height="{_BOX_HEIGHT}" rx="6" fill="{box.colour}" '
            f'fill-opacity="0.35" stroke="{_INK}" stroke-width="0.8"/>'
            f"{_text(x + wide / 2, y + 17, box.title, 'bold')}{_text(x + wide / 2, y + 33, box.caption)}"
        )
    lines = f'<g stroke="{_INK}" fill="none" stroke-opacity="0.6">{"".join(arrows)}</g>'
    return _svg(model, width, height, f"{lines}{''.join(shapes)}")


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle" font-weight="{weight}" fill="{_INK}">{escape(text)}</text>'


@takes_keywords
def table_html(model: LayerStack) -> str:
    """Return an HTML table of layers, output shapes and numbers of weights; "?" if the model is not built."""
    rows = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in layer_table(model)]
    total = f"{model.count_params():,} weights" if model.built else "not built: the number of features is not known yet"
    return (
        f"<table><caption>{escape(model.name)}: {total}</caption><thead><tr><th>layer</th><th>output shape</th>"
        f"<th>weights</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
