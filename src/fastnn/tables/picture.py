"""A picture of a training on a table: the history, and predictions against the target."""

import io
import os
from typing import Any

from fastnn.tables.model import TableModel
from fastnn.tables.table import Table

_DATES: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "ps": {"CreationDate": None},
    "eps": {"CreationDate": None},
}
"""Entries that would differ between two runs, by format."""


def check_format(path: str) -> str:
    """Return the format of a picture by its suffix.

    Raises
    ------
    ValueError
        Matplotlib does not write the format.
    ImportError
        Matplotlib is not installed.
    """
    from fastnn.plotting.canvas import pyplot

    pyplot()  # says how to install Matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    kind = os.path.splitext(path)[1][1:].lower()
    known = FigureCanvasAgg.get_supported_filetypes()
    if kind not in known:
        raise ValueError(f"--plot must be a file that ends in one of {', '.join(sorted(known))}, got {path!r}")
    return kind


def picture(path: str, model: TableModel, table: Table, *, history: bool) -> bytes:
    """Return the bytes of a picture; the suffix of its file chooses the format. Needs Matplotlib."""
    kind = check_format(path)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from fastnn import plotting

    figure = Figure(figsize=(10.0, 4.2) if history else (5.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, 2 if history else 1, squeeze=False)[0]
    if history:
        plotting.history(model.network.history, ax=axes[0])
    target = model.columns.target
    outputs, y = model.outputs(table), model.columns.targets_of(table)
    if target.categories is None:
        plotting.predicted_against_true(y, outputs[:, 0], name=target.name, unit=target.unit, ax=axes[-1])
    else:
        plotting.confusion_matrix(y, outputs.argmax(axis=1), class_names=target.categories, ax=axes[-1])
    written = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "fastnn"}):
        figure.savefig(written, format=kind, metadata=_DATES.get(kind))
    return written.getvalue()
