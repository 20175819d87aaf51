"""Categories as ONNX operators: vectors of integers, numbers of entries and bins, and columns of 0 and 1.

Values that fastnn refuses raise no error there: an entry that is unknown, where that is refused, has a number that no
vector and no column has.
"""

from typing import Any

import numpy as np

from fastnn.export.network import Step
from fastnn.export.onnx_graph import Graph


def write_embedding(graph: Graph, step: Step, value: str) -> str:
    """Append the nodes of a table's rows, side by side."""
    rows = graph.add("Gather", graph.weight(step.arrays["kernel"], "kernel"), graph.cast(value, np.int64), axis=0)
    return graph.add("Flatten", rows, axis=1)


def write_hot(graph: Graph, step: Step, value: str) -> str:
    """Append the nodes of columns of 0 and 1, or of counts."""
    size, depth = step.options["size"], step.options["depth"]
    groups = step.n_in // size
    split = graph.add("Reshape", value, graph.constant([-1, groups, size, 1], np.int64))
    hot = graph.cast(graph.add("Equal", split, graph.constant(np.arange(depth), name="numbers")), graph.dtype)
    if size > 1:
        hot = graph.add("ReduceSum", hot, graph.constant([2], np.int64), keepdims=0)
        hot = hot if step.options["count"] else graph.add("Min", hot, graph.constant(1.0))
    return graph.add("Reshape", hot, graph.constant([-1, groups * depth], np.int64))


def write_discretize(graph: Graph, step: Step, value: str) -> str:
    """Append the nodes of the numbers of bins."""
    chosen = graph.cast(graph.columns(value, step.options["columns"], step.n_in), np.float64)
    boundaries = graph.constant(step.arrays["boundaries"], np.float64, "boundaries")
    above = graph.add("GreaterOrEqual", _unsqueezed(graph, chosen), boundaries)
    return graph.add("ReduceSum", graph.cast(above, graph.dtype), graph.constant([2], np.int64), keepdims=0)


def write_look_up(graph: Graph, step: Step, value: str) -> str:
    """Append the nodes of the numbers of entries in a vocabulary."""
    keys, numbers = step.arrays["keys"], step.arrays["numbers"]
    n_unknown, columns = step.options["n_unknown"], step.options["columns"]
    unknown = step.options["unknown"] if n_unknown else int(numbers.max()) + 1
    if keys.dtype.kind == "U":
        raised = graph.constant((numbers - unknown)[:, None], name="numbers")
        parts = []
        for column in columns:
            hot = word_columns(graph, graph.columns(value, [column], step.n_in), keys.tolist())
            parts.append(graph.add("Add", graph.add("MatMul", hot, raised), graph.constant(unknown)))
        return graph.add("Concat", *parts, axis=-1) if len(parts) > 1 else parts[0]
    chosen = graph.cast(graph.columns(value, columns, step.n_in), np.int64)
    known = graph.add("Equal", _unsqueezed(graph, chosen), graph.constant(keys, np.int64, "keys"))
    hot = graph.cast(known, graph.dtype)
    axis = graph.constant([2], np.int64)
    if n_unknown < 2:
        raised = graph.add("Mul", hot, graph.constant(numbers - unknown, name="numbers"))
        return graph.add("Add", graph.add("ReduceSum", raised, axis, keepdims=0), graph.constant(unknown))
    number = graph.add("ReduceSum", graph.add("Mul", hot, graph.constant(numbers, name="numbers")), axis, keepdims=0)
    found = graph.add("ReduceSum", hot, axis, keepdims=0)
    bucket = graph.cast(graph.add("Mod", chosen, graph.constant(n_unknown, np.int64)), graph.dtype)
    other = graph.add("Add", bucket, graph.constant(unknown))
    return graph.add("Where", graph.add("Greater", found, graph.constant(0.0)), number, other)


def _unsqueezed(graph: Graph, value: str) -> str:
    """Return a value (N, n) as (N, n, 1)."""
    return graph.add("Unsqueeze", value, graph.constant([2], np.int64))


def word_columns(graph: Graph, value: str, known: list[Any]) -> str:
    """Return (N, k) columns of 0 and 1 for a column (N, 1) of strings: whether it is each of the known ones.

    They are counts of single words, which is the only operator for strings before opset 19.
    """
    counts = graph.add(
        "TfIdfVectorizer",
        value,
        mode="TF",
        min_gram_length=1,
        max_gram_length=1,
        max_skip_count=0,
        ngram_counts=[0],
        ngram_indexes=list(range(len(known))),
        pool_strings=known,
    )
    return counts if graph.dtype == np.float32 else graph.cast(counts, graph.dtype)
