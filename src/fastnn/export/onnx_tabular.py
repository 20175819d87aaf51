"""Layers of networks for tables as ONNX operators.

Arguments of cosines and bounded lines are computed in float64, as fastnn does or as exactly as its fused multiply-add:
a narrow bin has a steep line, of which float32 would keep few digits.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.export.network import Step
from fastnn.export.onnx_graph import Graph

_MOST_ANGLE = 1e9
"""Larger arguments of a cosine count as this."""
_MOST_ROOT = 1e150
"""Larger multiples of the bound of a robust scaling count as this."""


def write_feature_scale(graph: Graph, step: Step, value: str) -> str:
    """Append the nodes of factors and offsets of columns that come once or several times."""
    members = step.n_out // step.n_in
    several = value if members == 1 else graph.add("Tile", value, graph.constant([1, members], np.int64))
    scaled = graph.add("Mul", several, graph.weight(step.arrays["scale"], "scale"))
    return graph.add("Add", scaled, graph.weight(step.arrays["bias"], "bias")) if "bias" in step.arrays else scaled


def write_mix(graph: Graph, step: Step, value: str, activated: str) -> str:
    """Append the nodes of ``x + (f(x) - x) mix``."""
    added = graph.add("Mul", graph.add("Sub", activated, value), graph.weight(step.arrays["mix"], "mix"))
    return graph.add("Add", value, added)


def _of_each_feature(graph: Graph, step: Step, value: str, array: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Return columns as (N, n_in, 1) in float64, and numbers (n_out,) as (n_in, n_out / n_in)."""
    columns = graph.add("Unsqueeze", graph.in_type(value, np.float64), graph.constant([2], np.int64))
    return columns, array.astype(np.float64).reshape(step.n_in, -1)


def _as_columns(graph: Graph, step: Step, value: str) -> str:
    """Return (N, n_in, n_out / n_in) in float64 as (N, n_out) in the network's type."""
    return graph.add("Reshape", graph.in_type(value, graph.dtype), graph.constant([-1, step.n_out], np.int64))


def write_cosine_features(graph: Graph, step: Step, value: str) -> str:
    """Append the nodes of ``cos(2 pi w x + b)``, as a sine: ONNX Runtime had long no cosine of float64."""
    columns, frequencies = _of_each_feature(graph, step, value, step.arrays["frequencies"])
    turned = graph.add("Mul", columns, graph.constant(2.0 * math.pi * frequencies, np.float64, "frequencies"))
    phases = step.arrays["bias"].astype(np.float64).reshape(frequencies.shape)
    angles = graph.add("Add", turned, graph.constant(phases, np.float64, "phases"))
    bounded = graph.add("Clip", angles, *(graph.constant(each, np.float64) for each in (-_MOST_ANGLE, _MOST_ANGLE)))
    cosines = graph.add("Sin", graph.add("Add", bounded, graph.constant(0.5 * math.pi, np.float64)))
    return _as_columns(graph, step, cosines)


def write_bounded_lines(graph: Graph, step: Step, value: str) -> str:
    """Append the nodes of ``min(high, max(low, slope x + offset))``."""
    slope, low, high = step.arrays["kernel"]
    columns, slopes = _of_each_feature(graph, step, value, slope)

    def constant(array: NDArray[Any], name: str) -> str:
        return graph.constant(array.astype(np.float64).reshape(slopes.shape), np.float64, name)

    lines = graph.add("Mul", columns, constant(slope, "slope"))
    lines = graph.add("Add", lines, constant(step.arrays["bias"], "offset"))
    bounded = graph.add("Min", graph.add("Max", lines, constant(low, "low")), constant(high, "high"))
    return _as_columns(graph, step, bounded)


def write_groups(graph: Graph, step: Step, value: str) -> str:
    """Append the nodes of a product of each group of columns, with a kernel for each or the same one."""
    kernel, groups = step.arrays["kernel"], step.groups
    parts = graph.add("Reshape", value, graph.constant([-1, groups, step.n_in // groups], np.int64))
    if step.kind == "member_product":
        product = graph.add("MatMul", parts, graph.weight(kernel, "kernel"))
        if "bias" in step.arrays:
            product = graph.add("Add", product, graph.weight(step.arrays["bias"], "bias"))
        return graph.add("Reshape", product, graph.constant([-1, step.n_out], np.int64))
    kernels = np.ascontiguousarray(kernel.reshape(len(kernel), groups, -1).swapaxes(0, 1))
    by_group = graph.add("Transpose", parts, perm=[1, 0, 2])
    product = graph.add("MatMul", by_group, graph.constant(kernels, name="kernel"))
    rows = graph.add("Transpose", product, perm=[1, 0, 2])
    product = graph.add("Reshape", rows, graph.constant([-1, step.n_out], np.int64))
    return graph.add("Add", product, graph.weight(step.arrays["bias"], "bias")) if "bias" in step.arrays else product


def write_robust_scaling(graph: Graph, step: Step, value: str) -> str:
    """Append the nodes of centred, scaled and smoothly bounded columns, in float64."""
    columns = graph.cast(graph.columns(value, step.options["columns"], step.n_in), np.float64)
    centre, scale = (graph.constant(step.arrays[name], np.float64, name) for name in ("centre", "scale"))
    scaled, bound = graph.add("Mul", graph.add("Sub", columns, centre), scale), step.options["bound"]
    if bound is not None:
        one, most, size = (graph.constant(each, np.float64) for each in (1.0, _MOST_ROOT * bound, bound))
        kept = graph.add("Clip", scaled, graph.constant(-_MOST_ROOT * bound, np.float64), most)
        part = graph.add("Div", kept, size)
        root = graph.add("Sqrt", graph.add("Add", graph.add("Mul", part, part), one))
        scaled = graph.add("Div", kept, root)
    return graph.in_type(scaled, graph.dtype)
