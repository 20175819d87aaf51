"""What a model remembers of the table that it was trained on: columns, units, categories, and the target."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import ModelFormatError
from fastnn.tables.table import Table, TableError, as_number, shown

Array = NDArray[Any]

_FEWEST_FOR_CLASSES = 10
"""Rows from which on a target of texts must have repeated values, unless the user says that they are classes."""


@dataclass(frozen=True)
class Column:
    """A column: its name, its unit ("" if unknown), and its categories in order, None for numbers."""

    name: str
    unit: str = ""
    categories: list[str] | None = None

    @classmethod
    def of(cls, table: Table, name: str, units: Mapping[str, str]) -> "Column":
        """Describe a column; its unit is given, or stands in brackets at the end of its name."""
        if not any(value is not None for value in table.columns[name]):
            raise TableError(f"{table.source}: column {name!r} has no values; leave it out with --ignore")
        found = re.search(r"[\[(]([^\[\]()]+)[\])]$", name)
        unit = units.get(name, found.group(1) if found else "")
        categories = None if table.is_number(name) else sorted({v for v in table.texts(name) if v is not None})
        return cls(name, unit, categories)

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit and self.unit not in self.name else self.name


@dataclass(frozen=True)
class Columns:
    """All columns of a model.

    Parameters
    ----------
    features : columns of inputs, in order.
    target : column of the target; its categories are the classes.
    others : further columns of the training table, which the model does not use.
    missing : "error", "mean", "median" or "indicator".
    """

    features: list[Column]
    target: Column
    others: list[str]
    missing: str

    def inputs_of(self, table: Table) -> Array:
        """Return inputs (n, n_inputs) in float64: numbers as they are, a column of 0 and 1 for each category.

        Missing numbers are NaN; a missing or unknown category is 0 in all of its columns.

        Raises
        ------
        TableError
            A column is missing or holds values of another kind, or a value is missing and ``missing`` is "error".
        """
        self.check_names(table)
        parts = []
        for column in self.features:
            texts = table.columns[column.name]
            if self.missing == "error" and None in list(texts):
                raise TableError(
                    f"{table.source}: column {column.name!r} has no value in {table.place(list(texts).index(None))}; "
                    "train with --missing mean, median or indicator to accept that"
                )
            if column.categories is None:
                parts.append(table.numbers(column.name)[:, None])
            else:
                values = np.array([[value] for value in table.texts(column.name)], dtype=object)
                parts.append((values == np.array(column.categories, dtype=object)).astype(np.float64))
        return np.hstack(parts)

    def check_names(self, table: Table) -> None:
        """Raise TableError if the table lacks columns; the message names those that may have replaced them."""
        gone = [column.name for column in self.features if column.name not in table.columns]
        if not gone:
            return
        new = self.new_names(table)
        parts = []
        for name in gone:
            close = get_close_matches(name.lower(), [each.lower() for each in new], 1, 0.5)
            near = next((each for each in new if close and each.lower() == close[0]), None)
            near = new[0] if near is None and len(gone) == len(new) == 1 else near
            parts.append(f"{name!r}" + (f" (is it {near!r} now?)" if near else ""))
        listed = f"; columns that were not there in training: {', '.join(map(repr, new))}" if new else ""
        raise TableError(f"{table.source}: the model needs the columns {', '.join(parts)}, which are missing{listed}")

    def new_names(self, table: Table) -> list[str]:
        """Return the names of columns that the training table did not have."""
        known = {column.name for column in self.features} | {self.target.name, *self.others}
        return [name for name in table.columns if name not in known]

    def targets_of(self, table: Table) -> Array:
        """Return targets (n,) in float64, or the numbers of the classes in int64.

        Raises
        ------
        TableError
            The column or a value is missing, or a class is unknown.
        """
        name = self.target.name
        if name not in table.columns:
            raise TableError(f"{table.source}: there is no column {name!r}; there are {', '.join(table.columns)}")
        values = list(table.columns[name])
        if None in values:
            raise TableError(f"{table.source}: the target {name!r} has no value in {table.place(values.index(None))}")
        if self.target.categories is None:
            return table.numbers(name)
        codes: dict[Any, int] = {label: code for code, label in enumerate(self.target.categories)}
        # 1.0 in one file is the class 1 of another.
        codes |= {number: code for label, code in codes.items() if (number := as_number(label)) is not None}
        found = []
        for row, label in enumerate(values):
            code = codes.get(str(label), codes.get(as_number(label)))
            if code is None:
                raise TableError(f"{table.source}: {name!r} is {shown(label)} in {table.place(row)}, an unknown class")
            found.append(code)
        return np.array(found, dtype=np.int64)

    def input_names(self) -> list[str]:
        """Return a name for each column of inputs, with its unit."""
        return [
            text
            for column in self.features
            for text in (
                [column.label]
                if column.categories is None
                else [f"{column.name}={category} (1 or 0)" for category in column.categories]
            )
        ]

    def output_names(self) -> list[str]:
        """Return a name for each output."""
        if self.target.categories is None:
            return [self.target.label]
        return [f"probability of {self.target.name}={label}" for label in self.target.categories]

    def to_json(self) -> str:
        """Return the description as a JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, data: Mapping[str, Any], n_inputs: int, n_outputs: int) -> "Columns":
        """Return the description of a model file.

        Raises
        ------
        ModelFormatError
            It is not one, or does not fit the model.
        """
        try:
            columns = cls(
                [_column(each) for each in data["features"]],
                _column(data["target"]),
                [_text(name) for name in data["others"]],
                _text(data["missing"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFormatError(f"the description of its columns is damaged: {error!r}") from None
        if (len(columns.input_names()), len(columns.output_names())) != (n_inputs, n_outputs):
            raise ModelFormatError("the description of its columns does not fit its network")
        return columns


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _column(data: Any) -> Column:
    categories = data["categories"]
    texts = None if categories is None else [_text(each) for each in categories]
    return Column(_text(data["name"]), _text(data["unit"]), texts)


def describe_columns(
    table: Table, target: str, ignored: Sequence[str], units: Mapping[str, str], missing: str, classify: bool | None
) -> Columns:
    """Describe the columns of a training table.

    Parameters
    ----------
    table, target : the table, and the name of its target.
    ignored : columns that are not features.
    units : units by name.
    missing : "error", "mean", "median" or "indicator".
    classify : whether the target is a class; None if its values decide: texts are classes, numbers are not.

    Raises
    ------
    TableError
        A name is unknown, no feature is left, or the target does not suit.
    """
    for name in (target, *ignored, *units):
        if name not in table.columns:
            close = get_close_matches(name, table.columns, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TableError(f"{table.source}: there is no column {name!r}; there are {', '.join(table.columns)}{hint}")
    if target in ignored:
        raise TableError(f"{table.source}: {target!r} is the target, so it cannot be left out or divide the rows")
    described = Column.of(table, target, units)
    if classify is None and described.categories is not None:
        _check_classes(table, target, described.categories)
    if classify is None:
        classify = described.categories is not None
    if classify and described.categories is None:
        labels = {float(value): str(value) for value in reversed(table.columns[target]) if value is not None}
        described = Column(target, described.unit, [labels[number] for number in sorted(labels)])
    if not classify and described.categories is not None:
        row, value = next(iter(table.words(target)))
        raise TableError(
            f"{table.source}: the target {target!r} has {shown(value)} in {table.place(row)}, not a number: texts are "
            "classes, use --classify"
        )
    if described.categories is not None and len(described.categories) < 2:
        raise TableError(f"{table.source}: the target {target!r} has one class only, {described.categories[0]!r}")
    features = [Column.of(table, name, units) for name in table.columns if name not in (target, *ignored)]
    if not features:
        raise TableError(f"{table.source}: there is no column but the target {target!r} and those that are left out")
    return Columns(features, described, list(ignored), missing)


def _check_classes(table: Table, target: str, categories: Sequence[str]) -> None:
    """Raise if texts in the target look like numbers with faults, or like names of rows, rather than like classes."""
    words = table.words(target)
    n_known = sum(value is not None for value in table.columns[target])
    if 2 * len(words) >= n_known and (2 * len(categories) <= n_known or n_known < _FEWEST_FOR_CLASSES):
        return
    row, value = words[0]
    raise TableError(
        f"{table.source}: the target {target!r} has {shown(value)} in {table.place(row)}, not a number, and "
        f"{len(categories)} different values in {n_known} rows; mend the numbers, or use --classify for classes"
    )
