"""A network for a table: training, its file, predictions and scores."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn
from fastnn import layers
from fastnn.callbacks import EarlyStopping
from fastnn.errors import ModelFormatError
from fastnn.saving.atomic import write_atomically
from fastnn.saving.model_file import check_readable, encode_model, opened
from fastnn.saving.safetensors import parse_json
from fastnn.tables.columns import Columns
from fastnn.tables.table import Table, TableError

Array = NDArray[Any]

VALIDATION_FRACTION = 0.1
PATIENCE = 20
FEWEST_ROWS = 20
"""Rows from which on a part is kept for early stopping."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train: sizes of hidden layers, activation, epochs, rows in a step, learning rate, type, seed."""

    hidden: Sequence[int] = (64, 64)
    activation: str = "relu"
    epochs: int = 200
    batch_size: int = 32
    learning_rate: float = 0.001
    dtype: str = "float32"
    seed: int = 0


@dataclass(frozen=True)
class TableModel:
    """A network and the columns that it was trained on."""

    network: fastnn.Sequential
    columns: Columns

    @classmethod
    def train(cls, table: Table, columns: Columns, options: TrainingOptions) -> "TableModel":
        """Train on all rows of a table; a tenth of them tells when to stop."""
        X, y = columns.inputs_of(table), columns.targets_of(table)
        classes = columns.target.categories
        stack: list[layers.Layer] = [_scaling(X, columns.missing)]
        stack += [
            layers.Dense(n, activation=options.activation, name=f"hidden_{i}") for i, n in enumerate(options.hidden, 1)
        ]
        if classes is not None:
            stack.append(layers.Dense(len(classes), activation="softmax", name="probabilities"))
        else:
            scale = layers.Normalization(invert=True, name="target")
            scale.adapt(y[:, None])
            stack += [layers.Dense(1, name="output"), scale]
        network = fastnn.Sequential(
            [fastnn.Input((X.shape[1],), name="columns"), *stack], seed=options.seed, dtype=options.dtype, name="table"
        )
        optimizer = fastnn.optimizers.Adam(learning_rate=options.learning_rate)
        network.compile(optimizer=optimizer, loss="mse" if classes is None else "sparse_categorical_crossentropy")
        n_validation = round(len(X) * VALIDATION_FRACTION) if len(X) >= FEWEST_ROWS else 0
        order = np.random.Generator(np.random.Philox(options.seed)).permutation(len(X))
        rest, kept = order[n_validation:], order[:n_validation]
        network.fit(
            X[rest],
            y[rest],
            batch_size=options.batch_size,
            epochs=options.epochs,
            verbose=0,
            validation_data=(X[kept], y[kept]) if n_validation else None,
            callbacks=[EarlyStopping(patience=PATIENCE, restore_best_weights=True)] if n_validation else None,
        )
        return cls(network, columns)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model file, which ``fastnn.load_model`` reads too."""
        parts = encode_model(self.network, table=self.columns.to_json())
        check_readable(self.network, parts)
        write_atomically(path, parts)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "TableModel":
        """Read a model file that ``save`` wrote.

        Raises
        ------
        ModelFormatError
            The file is damaged, or not written by the command ``train``.
        """
        network = fastnn.load_model(path)
        with opened(path) as reader:
            text = reader.header.metadata.get("table")
            if text is None:
                raise ModelFormatError("it does not name the columns of a table: 'fastnn train' has not written it")
            described = parse_json(text, "description of columns")
            columns = Columns.from_json(described, network.program.n_features, network.program.n_outputs)
        return cls(network, columns)

    def outputs(self, table: Table) -> Array:
        """Return the outputs (n, n_outputs) for a table."""
        outputs: Array = self.network.predict(self.columns.inputs_of(table))
        return outputs

    def predictions(self, table: Table) -> dict[str, list[Any]]:
        """Return columns of predictions: the target's name, and for classes their probabilities."""
        outputs, target = self.outputs(table), self.columns.target
        if target.categories is None:
            return {target.name: [str(value) for value in outputs[:, 0]]}
        labels = [target.categories[code] for code in outputs.argmax(axis=1)]
        probabilities = {
            f"{target.name}={label}": [str(value) for value in outputs[:, code]]
            for code, label in enumerate(target.categories)
        }
        return {target.name: labels, **probabilities}

    def scores(self, table: Table) -> dict[str, float]:
        """Return RMSE, MAE and R2, or accuracy and log loss, on a table that has the target."""
        y, outputs = self.columns.targets_of(table), self.outputs(table).astype(np.float64)
        if self.columns.target.categories is not None:
            chosen = np.maximum(outputs[np.arange(len(y)), y], np.finfo(np.float64).tiny)
            return {"accuracy": float((outputs.argmax(axis=1) == y).mean()), "log loss": float(-np.log(chosen).mean())}
        errors = outputs[:, 0] - y
        scores = {"RMSE": float(np.sqrt((errors**2).mean())), "MAE": float(np.abs(errors).mean())}
        spread = float(((y - y.mean()) ** 2).sum())
        return {**scores, "R2": 1.0 - float((errors**2).sum()) / spread} if spread > 0.0 else scores


def _scaling(X: Array, missing: str) -> layers.Normalization:
    """Return the layer that standardizes inputs (n, n_inputs) and fills missing ones.

    A missing input becomes 0 after standardization. So that this is the median, the columns are centred on it.
    """
    kind = None if missing == "error" else "mean" if missing == "median" else missing
    scaling = layers.Normalization(missing=kind, name="inputs")
    scaling.adapt(X)
    constant = scaling.variance == 0.0
    if missing != "median" and not constant.any():
        return scaling
    centre = np.nanmedian(X, axis=0) if missing == "median" else scaling.mean
    # Another value in a column that was constant in training must not count a millionfold.
    return layers.Normalization(
        mean=centre, variance=np.where(constant, 1.0, scaling.variance), missing=kind, name="inputs"
    )


def split_rows(table: Table, fraction: float, groups: str | None, seed: int) -> tuple[Array, Array]:
    """Return rows for training and for the test, in order; whole groups of rows with the same value in a column.

    Raises
    ------
    TableError
        One of both would be empty.
    """
    values = table.columns[groups] if groups is not None else [*range(table.n_rows)]
    if None in list(values):
        raise TableError(f"{table.source}: column {groups!r} has no value in {table.place(list(values).index(None))}")
    keys = [str(value) for value in values]
    names: list[Any] = list(dict.fromkeys(keys))
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(names))
    n_test = max(1, round(fraction * len(names)))
    if n_test >= len(names):
        what = "rows" if groups is None else f"different values of {groups!r}"
        raise TableError(f"{table.source}: {len(names)} {what} cannot be divided into training and test")
    held = {names[i] for i in order[:n_test]}
    is_test = np.array([key in held for key in keys])
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def has_columns(path: str | os.PathLike[str]) -> bool:
    """Whether a model file says which columns the model takes."""
    with opened(path) as reader:
        return "table" in reader.header.metadata
