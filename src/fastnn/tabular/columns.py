"""Tables as numbers for networks: numeric columns, one-hot columns and numbers of categories."""

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import nearest
from fastnn._warnings import warn
from fastnn.estimators.frames import (
    _kind,
    _numbers,
    _opened,
    _plain_numbers,
    _values,
    check_alike,
    check_collected,
    check_hashable,
    is_frame,
    sorted_categories,
    without_na,
)
from fastnn.estimators.preprocessing import center_and_deviation
from fastnn.layers import QuantileTransform, RobustScaling

Array = NDArray[Any]

MOST_ONE_HOT = 8
"""Categories of a column that become zeros and ones; a column with more gets an embedding."""
_ADVICE = ". Leave the column out if it is not known before the target is"
LARGEST = 1e150
"""Largest size of a number in a table: squares of it, and sums of these, are finite."""
_MOST_VALUES_OF_CLASS = 2
"""Different values for each class, up to which a column whose values belong to one class each gives the target away."""
_LEAST_ROWS_OF_VALUE = 4
"""Rows that have the same value, on average, from which on it is not by chance that they are of one class."""
FARTHEST = 1e18
"""Largest size of a standardized number: sums of some thousand such numbers times weights are finite in float32."""
_FEWEST_IDS = 20
"""Rows from which on a column of different categories is taken for identifiers."""


@dataclass
class Column:
    """One column of a table: float64 numbers with NaN, or categories with None, where values are missing."""

    name: str
    numbers: Array | None
    categories: list[Any] | None = None


def read_columns(X: Any, categorical: set[Any], names: list[str] | None = None) -> list[Column]:
    """Return the columns of a frame or of an array (n, n_columns).

    Parameters
    ----------
    X : pandas or polars frame, pyarrow table, or array that scikit-learn's checks have accepted.
    categorical : names or numbers of columns whose values are categories although they are numbers.
    names : what the columns are called instead of the names that X has.
    """
    own = names_of(X)
    names = own if names is None else names
    chosen = _places_of(categorical, names)
    if is_frame(X) and not (_plain_numbers(X) and all(dtype.kind != "b" for dtype in X.dtypes)):
        frame = _opened(X)
        found = [_frame_column(frame[name], place in chosen) for place, name in enumerate(own)]
        return [replace(column, name=name) for column, name in zip(found, names, strict=True)]
    array = without_na(np.asarray(X))
    return [_array_column(name, array[:, place], place in chosen) for place, name in enumerate(names)]


def names_of(X: Any) -> list[str]:
    """Return the names of the columns; raise ValueError if two are equal."""
    if not is_frame(X):
        return [f"x{i}" for i in range(np.shape(X)[1])]
    check_collected(X)
    names = [str(name) for name in getattr(X, "column_names", X.columns)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"X has {names.count(twice)} columns named {twice!r}: each column needs a name of its own")
    return names


def chosen_of(categorical_features: Any, n_columns: int) -> set[Any]:
    """Return the columns that ``categorical_features`` names, or those whose truth value is True, if each has one."""
    given = [] if categorical_features is None else list(categorical_features)
    if len(given) == n_columns and all(isinstance(each, bool | np.bool_) for each in given):
        return set(np.flatnonzero(given).tolist())
    bad = next((each for each in given if not isinstance(each, Hashable)), None)
    if bad is not None:
        raise ValueError(f"categorical_features must be a list of names or numbers of columns, got {bad!r} in it")
    return set(given)


def _places_of(categorical: set[Any], names: list[str]) -> set[int]:
    """Return the numbers of the columns that ``categorical_features`` names."""
    places = set()
    for given in categorical:
        numbered = isinstance(given, Integral) and not isinstance(given, bool)
        if numbered and 0 <= given < len(names):
            places.add(int(given))
        elif str(given) in names and not isinstance(given, bool):
            places.add(names.index(str(given)))
        else:
            near = nearest(given, names)
            hint = f". Did you mean {near!r}?" if near else ""
            accepted = f"names of columns or numbers from 0 to {len(names) - 1}"
            raise ValueError(f"categorical_features must be {accepted}, got {given!r}{hint}")
    return places


def _frame_column(series: Any, chosen: bool) -> Column:
    is_number = not chosen and str(series.dtype) != "Boolean" and _kind(series) == "number"
    if is_number and not (str(series.dtype) == "Object" and _are_truth_values(_values(series))):
        return Column(series.name, _checked(series.name, _numbers(series)))
    values = _values(series)
    check_hashable(series.name, values)
    return Column(series.name, None, values)


def _checked(name: str, values: Array) -> Array:
    """Return numbers; raise ValueError if one is infinite or so large that its square is."""
    size = float(np.fmax.reduce(np.abs(values), initial=0.0))
    if np.isinf(size):
        raise ValueError(f"column {name!r} of X has infinity: replace it by NaN, which stands for a missing value")
    if size > LARGEST:
        raise ValueError(f"column {name!r} of X has a number of size {size:.3g}, above {LARGEST:g}: rescale the column")
    return values


def _floats(values: list[Any]) -> Array:
    """Return numbers, or texts of numbers, as float64; NaN for None, infinity for a whole number beyond float64."""
    numbers = [np.nan if value is None else value for value in values]
    try:
        return np.array(numbers, np.float64)
    except OverflowError:
        return np.array([np.inf if isinstance(each, int) and abs(each) > LARGEST else each for each in numbers])


def _are_truth_values(values: list[Any]) -> bool:
    """Return whether values, None where missing, are truth values, which are categories in every kind of table."""
    kinds = {type(value) for value in values} - {type(None)}
    return bool(kinds) and kinds <= {bool, np.bool_}


def _array_column(name: str, values: Array, chosen: bool) -> Column:
    if values.dtype.kind in "iuf" and not chosen:
        return Column(name, _checked(name, values.astype(np.float64)))
    listed = [None if value is None or value != value else value for value in values.tolist()]
    if not chosen and values.dtype == object:
        bad = next((value for value in listed if not isinstance(value, str | Real | Decimal | np.bool_ | None)), None)
        if bad is not None:
            raise TypeError(f"column {name!r}: an argument must be a string or a number, got {type(bad).__name__}")
        if not any(isinstance(value, str) for value in listed) and not _are_truth_values(listed):
            return Column(name, _checked(name, _floats(listed)))
    return Column(name, None, listed)


@dataclass
class TableEncoder:
    """Encodes tables as float32 numbers (n, n_numeric + n_other + n_codes), as learned from the rows of a fit.

    The first ``n_scaled`` of the ``n_numeric`` columns of numbers are scaled numbers, the others their quantiles. The
    last ``n_hot`` of the ``n_other`` columns are the zeros and ones of columns with one, three or more categories.

    A missing number becomes the median of its column, and a column of zeros and ones says where numbers were missing
    in the fit. Categories are numbered in the order of their names; 0 stands for missing and unknown ones. Those of
    columns with up to ``MOST_ONE_HOT`` categories become zeros and ones, one column of -1 and 1 for two; zeros where
    missing or unknown. Others are numbers for one embedding of all columns. If the names of three or more categories
    differ in numbers alone, such as "A11", "A12" and "A13", their places in the order of these numbers are a column of
    numbers, too; the middle place stands for missing and unknown ones.

    Parameters
    ----------
    scaling : "robust", "quantile" or "standard", for numbers; "robust" and "standard" scale zeros and ones as well.
    seed : seed of the noise of quantiles.
    categorical : names or numbers of columns of numbers that stand for categories.
    quantiles : whether the normal quantiles of all numbers are further columns of numbers, after the scaled ones.
    """

    scaling: str
    seed: int
    categorical: set[Any] = field(default_factory=set)
    quantiles: bool = False
    names: list[str] = field(default_factory=list)
    named: bool = False

    def learn(self, X: Any, y: Array | None) -> Array:
        """Learn the columns of X; return their encoding. Warns of columns that are useless or give the target away."""
        columns = read_columns(X, self.categorical)
        self.names, self.named = [column.name for column in columns], is_frame(X)
        self.numeric: dict[str, float] = {}
        self.flagged: list[str] = []
        self.exponents: dict[str, int] = {}
        self.levels: dict[str, list[Any]] = {}
        self.dropped: dict[str, str] = {}
        for column in columns:
            self._learn_column(column, y)
        if self.dropped:
            listed = "; ".join(f"{name!r} {why}" for name, why in list(self.dropped.items())[:10])
            warn(f"{len(self.dropped)} of {len(columns)} columns are left out: {listed}")
        if not self.numeric and not self.levels:
            raise ValueError(f"no column of X can be used: {self.dropped}")
        self.hot = [name for name, levels in self.levels.items() if len(levels) <= MOST_ONE_HOT]
        self.coded = [name for name in self.levels if name not in self.hot]
        self.offsets = np.cumsum([0] + [len(self.levels[name]) + 1 for name in self.coded])
        self.places = {name: found for name, levels in self.levels.items() if (found := places_by_number(levels))}
        numbers, others, codes = self._parts(columns)
        kinds = [self.scaling, "quantile"] if self.quantiles else [self.scaling]
        self.scalers: list[Any] = [_scaler(kind, self.seed) for kind in kinds]
        self.other_scaler: Any = None if self.scaling == "quantile" else _scaler(self.scaling, self.seed)
        if numbers.shape[1]:
            for scaler in self.scalers:
                scaler.adapt(numbers)
        if others.shape[1] and self.other_scaler is not None:
            self.other_scaler.adapt(others)
        self.n_scaled, self.n_other, self.n_codes = numbers.shape[1], others.shape[1], codes.shape[1]
        self.n_numeric = self.n_scaled * len(self.scalers)
        self.n_hot = sum(len(self.levels[name]) for name in self.hot if len(self.levels[name]) != 2)
        return self._joined(numbers, others, codes)

    def _learn_column(self, column: Column, y: Array | None) -> None:
        name = column.name
        if column.numbers is not None:
            known = column.numbers[~np.isnan(column.numbers)]
            if not known.size:
                self.dropped[name] = "has no values"
                return
            n_missing = len(column.numbers) - len(known)
            if known.min() == known.max() and not n_missing:
                self.dropped[name] = "is constant"
                return
            self.numeric[name] = float(np.median(known))
            largest = float(np.abs(known).max())
            if 0.0 < largest < 1.0 / LARGEST:
                self.exponents[name] = -math.frexp(largest)[1]
            if n_missing:
                self.flagged.append(name)
            _warn_of_numbers(name, column.numbers, y)
            return
        assert column.categories is not None
        values = [value for value in column.categories if value is not None]
        levels = sorted_categories(name, values)
        if not levels:
            self.dropped[name] = "has no values"
        elif len(levels) == 1 and len(values) == len(column.categories):
            self.dropped[name] = "is constant"
        elif len(values) >= _FEWEST_IDS and len(levels) > 0.95 * len(values):
            why = f"holds identifiers: {len(levels)} different values in {len(values)} rows"
            self.dropped[name] = (
                "holds identifiers, or numbers as text: convert numbers" if _is_text_of_numbers(levels) else why
            )
        else:
            self.levels[name] = levels
            _warn_of_categories(name, column.categories, y)

    def encode(self, X: Any) -> Array:
        """Return the encoding of a table with the columns of the fit; an array has no names: its columns have an order.

        Raises
        ------
        ValueError
            Other columns than in the fit, or a column of another kind.
        """
        return self._joined(*self.parts(X))

    def parts(self, X: Any) -> tuple[Array, Array, Array]:
        """Return columns of numbers, of zeros and ones, and of numbers of categories, before scaling."""
        found = names_of(X)
        if len(found) != len(self.names) or (self.named and is_frame(X) and found != self.names):
            raise ValueError(f"the columns of X must be those of fit: {self.names}; got {found}")
        return self._parts(read_columns(X, self.categorical, self.names))

    def _parts(self, columns: list[Column]) -> tuple[Array, Array, Array]:
        """Return the columns of numbers, of zeros and ones, and of numbers of categories."""
        by_name = {column.name: column for column in columns}
        n = len(columns[0].numbers if columns[0].numbers is not None else columns[0].categories or ())
        numbers, others, hot, codes = [], [], [], []
        for name, fill in self.numeric.items():
            values = _numbers_of(by_name[name])
            missing = np.isnan(values)
            filled = np.where(missing, fill, values)
            numbers.append(self._enlarged(filled, name) if name in self.exponents else filled)
            if name in self.flagged:
                others.append(missing.astype(np.float64))
        for name, levels in self.levels.items():
            place = {value: i for i, value in enumerate(levels)}
            found = np.array([place.get(value, -1) for value in _categories_of(by_name[name], levels)], np.intp)
            if name in self.places:
                places = self.places[name]
                numbers.append(np.append(places, 0.5 * (len(levels) - 1.0))[found])
            if name in self.coded:
                codes.append(found + 1 + self.offsets[self.coded.index(name)])
            elif len(levels) == 2:
                others.append(np.where(found < 0, 0.0, 2.0 * found - 1.0))
            else:
                hot += [(found == i).astype(np.float64) for i in range(len(levels))]
        parts = [np.column_stack(part) if part else np.empty((n, 0)) for part in (numbers, others + hot, codes)]
        return parts[0], parts[1], parts[2]

    def _enlarged(self, values: Array, name: str) -> Array:
        """Return numbers whose squares, or reciprocals, would not be normal, times a power of two."""
        with np.errstate(over="ignore"):
            return np.clip(np.ldexp(values, self.exponents[name]), -LARGEST, LARGEST)

    def _joined(self, numbers: Array, others: Array, codes: Array) -> Array:
        if numbers.shape[1]:
            numbers = np.hstack([scaler.compute(numbers) for scaler in self.scalers])
        if others.shape[1] and self.other_scaler is not None:
            others = self.other_scaler.compute(others)
        return np.ascontiguousarray(np.hstack([numbers, others, codes]), np.float32)

    @property
    def n_rows_of_table(self) -> int:
        """Rows of the embedding of all columns of categories."""
        return int(self.offsets[-1])


def _is_text_of_numbers(levels: list[Any]) -> bool:
    """Return whether categories are texts that all stand for numbers."""
    try:
        return all(isinstance(level, str) and math.isfinite(float(level)) for level in levels)
    except ValueError:
        return False


def places_by_number(levels: list[Any]) -> list[float]:
    """Return the place of each category in the order of the numbers in their names; [] if other things differ, too."""
    if len(levels) < 3 or not all(isinstance(level, str) for level in levels):
        return []
    digits = [re.findall(r"\d+", level) for level in levels]
    if not digits[0] or len({re.sub(r"\d+", "0", level) for level in levels}) > 1:
        return []
    order = sorted(range(len(levels)), key=lambda i: [_size_of(each) for each in digits[i]])
    places = [0.0] * len(levels)
    for place, i in enumerate(order):
        places[i] = float(place)
    return places


def _size_of(digits: str) -> tuple[int, str]:
    """Return what has the order of whole numbers, however many digits they have: int() refuses thousands."""
    significant = digits.lstrip("0")
    return len(significant), significant


class _Standard:
    """Columns less their mean, divided by their standard deviation; numbers beyond ``FARTHEST`` become that number."""

    def adapt(self, X: Array) -> None:
        self.center, deviation = center_and_deviation(X)
        self.scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0.0)

    def compute(self, X: Array) -> Array:
        with np.errstate(over="ignore"):
            scaled: Array = np.clip((X - self.center) * self.scale, -FARTHEST, FARTHEST)
        return scaled


def _scaler(kind: str, seed: int) -> Any:
    if kind == "quantile":
        return QuantileTransform(seed=seed)
    return RobustScaling() if kind == "robust" else _Standard()


def _numbers_of(column: Column) -> Array:
    if column.numbers is None:
        try:
            numbers = _floats(column.categories or [])
        except (TypeError, ValueError):
            raise ValueError(f"column {column.name!r} held numbers in fit and holds categories now") from None
        return _checked(column.name, numbers)
    return column.numbers


def _categories_of(column: Column, levels: list[Any]) -> list[Any]:
    if column.categories is not None:
        check_alike(column.name, column.categories, levels)
        return column.categories
    assert column.numbers is not None
    if all(isinstance(level, str) for level in levels) and not np.isnan(column.numbers).all():
        raise ValueError(f"column {column.name!r} held categories in fit and holds numbers now")
    return [None if value != value else value for value in column.numbers.tolist()]


def _warn_of_numbers(name: str, values: Array, y: Array | None) -> None:
    """Warn of a column of numbers that equals a target up to scale, stands for one class each, or counts the rows."""
    if len(values) < _FEWEST_IDS:
        return
    if (np.diff(values) == 1.0).all():
        warn(f"column {name!r} counts the rows: if it is an identifier, leave it out")
    known = ~np.isnan(values)
    if y is None or y.dtype.kind not in "fiu" or known.sum() < _FEWEST_IDS or np.ptp(values[known]) == 0.0:
        return
    x, targets = _spread(values[known]), y[known].reshape(int(known.sum()), -1).astype(np.float64)
    for i in range(targets.shape[1]):
        if np.ptp(targets[:, i]) == 0.0:
            continue
        t = _spread(targets[:, i])
        slope = float(x @ t) / float(x @ x)
        if np.abs(t - slope * x).max() <= 1e-9 * np.abs(t).max():
            target = "y" if y.ndim == 1 else f"column {i} of y"
            warn(f"column {name!r} gives the target away: it equals {target} up to scale and offset{_ADVICE}")
            return
    most = 0 if y.dtype.kind == "f" else _most_values(y)
    if len(np.unique(x[:1000])) <= most and len(np.unique(x)) <= most:  # the first rows tell most columns
        _warn_of_categories(name, [None if value != value else value for value in values.tolist()], y)


def _most_values(y: Array) -> int:
    """Return how many values a column that gives the classes y (n,) away may have: each must occur often."""
    return min(_MOST_VALUES_OF_CLASS * len(np.unique(y)), len(y) // _LEAST_ROWS_OF_VALUE)


def _spread(values: Array) -> Array:
    """Return differences from the mean, of which the largest becomes 1, so that squares neither overflow nor vanish."""
    differences = values - values.mean()
    spread: Array = differences / np.abs(differences).max()
    return spread


def _warn_of_categories(name: str, values: list[Any], y: Array | None) -> None:
    """Warn of a column of categories that stand for one class each."""
    if y is None or y.dtype.kind == "f" or len(values) < _FEWEST_IDS or y.ndim != 1:
        return
    classes: dict[Any, set[Any]] = {}
    for value, label in zip(values, y.tolist(), strict=True):
        classes.setdefault(value, set()).add(label)
    if len(classes) <= _most_values(y) and all(len(found) == 1 for found in classes.values()):
        warn(f"column {name!r} gives the target away: each of its values belongs to one class{_ADVICE}")
