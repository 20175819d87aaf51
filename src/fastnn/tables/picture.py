"""A picture of a training on a table: the history, and predictions against the target."""

from typing import Any

from fastnn.tables.model import TableModel
from fastnn.tables.table import Table


def draw(path: str, model: TableModel, table: Table, *, history: bool) -> None:
    """Write the picture; its suffix chooses the format. Needs Matplotlib."""
    from fastnn import plotting
    from fastnn.plotting.canvas import pyplot

    pyplot()  # says how to install Matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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
    figure.savefig(path, metadata={"Software": None} if path.endswith(".png") else None)
