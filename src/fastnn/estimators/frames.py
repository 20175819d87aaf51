"""pandas, polars and pyarrow frames as inputs: columns of strings, categories and booleans become numbers."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _get_feature_names

Array = NDArray[Any]

_FRAME_PACKAGES = ("pandas", "polars", "pyarrow")


def is_frame(X: Any) -> bool:
    """Return whether X is a pandas or polars frame or a pyarrow table."""
    return _package(X) in _FRAME_PACKAGES and hasattr(type(X), "columns")


def _package(X: Any) -> str:
    return type(X).__module__.split(".")[0]


def check_collected(X: Any) -> None:
    """Raise TypeError for a lazy frame of polars, whose rows are not in memory."""
    if _package(X) == "polars" and hasattr(X, "collect"):
        raise TypeError(f"X is a polars {type(X).__name__}, whose rows are not in memory: pass X.collect()")


def _opened(X: Any) -> Any:
    """Return a frame through narwhals, its columns named by strings."""
    check_collected(X)
    if _package(X) == "pandas":
        X = X.set_axis([str(name) for name in X.columns], axis="columns")
        sparse = {name: dtype.subtype for name, dtype in X.dtypes.items() if type(dtype).__name__ == "SparseDtype"}
        X = X.astype(sparse) if sparse else X
    elif type(X).__name__ == "RecordBatch":
        X = sys.modules["pyarrow"].Table.from_batches([X])
    return _narwhals().from_native(X, eager_only=True)


def without_na(X: Any) -> Any:
    """Return X; if it is an array of objects, as from a pandas frame of nullable numbers, with NaN for pandas.NA."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(X, np.ndarray) or X.dtype != object:
        return X
    return np.where([[value is pandas.NA for value in row] for row in X], np.nan, X) if X.ndim == 2 else X


def _narwhals() -> Any:
    try:
        import narwhals.stable.v1 as narwhals
    except ImportError as error:
        raise ImportError(
            "frames with columns that are not numbers, and polars and pyarrow frames, need narwhals: "
            "pip install narwhals"
        ) from error
    return narwhals


def _plain_numbers(X: Any) -> bool:
    """Return whether X is a pandas frame that holds only numbers and booleans."""
    return _package(X) == "pandas" and all(getattr(dtype, "kind", "O") in "biuf" for dtype in X.dtypes)


def _kind(series: Any) -> str:
    """Return "number", "category", or "missing" for a narwhals column without values whose type tells nothing.

    Raises
    ------
    ValueError
        A column of dates or nested values.
    """
    dtype = series.dtype
    if str(dtype) in ("Unknown", "Object") and series.null_count() == len(series):
        return "missing"
    if dtype.is_numeric() or str(dtype) == "Boolean" or (str(dtype) == "Object" and _numbers_as_objects(series)):
        return "number"
    if str(dtype).split("(")[0] in ("String", "Categorical", "Enum", "Object"):
        return "category"
    native = series.to_native()
    held = getattr(native, "dtype", getattr(native, "type", dtype)) if str(dtype) == "Unknown" else dtype
    raise ValueError(
        f"column {series.name!r} holds {held}; columns must hold numbers, booleans, strings or categories: "
        "turn dates into numbers first"
    )


def _numbers_as_objects(series: Any) -> bool:
    """Return whether a column of objects holds numbers, as from numbers and None, or from decimals of a database."""
    known = [value for value in _values(series) if value is not None]
    return bool(known) and all(isinstance(value, Real | Decimal) for value in known)


def _numbers(series: Any) -> Array:
    """Return a column of numbers as float64, missing entries as NaN."""
    narwhals = _narwhals()
    if _kind(series) == "missing":
        return np.full(len(series), np.nan)
    if series.dtype == narwhals.Object:
        return np.array(_values(series), dtype=np.float64)
    return np.asarray(series.cast(narwhals.Float64).to_numpy(), dtype=np.float64)


def _values(series: Any) -> list[Any]:
    """Return the entries of a column of categories; None where missing."""
    gaps = series.is_null().to_list()
    return [None if gap or value != value else value for gap, value in zip(gaps, series.to_list(), strict=True)]


def check_alike(name: str, values: list[Any], known: list[Any]) -> None:
    """Raise ValueError for categories of which none can be a known one: these are texts and those are not, or not so.

    Parameters
    ----------
    name : of the column.
    values : categories, None where missing.
    known : the categories of the fit.
    """
    of_fit, now = (
        {issubclass(kind, str) for kind in set(map(type, given)) - {type(None)}} for given in (known, values)
    )
    if of_fit and now and not of_fit & now:
        given = next(value for value in values if value is not None)
        raise ValueError(
            f"column {name!r} held categories such as {known[0]!r} in fit and holds {given!r} now: convert the column "
            "to the type that it had in fit"
        )


@dataclass
class FrameEncoder:
    """Encodes the columns of a frame as numbers: numbers unchanged, categories one-hot.

    Parameters
    ----------
    names : columns in the order of the first frame, as strings.
    categories : the sorted values of each column of categories. Missing entries, and values that the first frame did
        not have, are encoded as zeros.
    named : whether the names were strings in the frame; scikit-learn stores them as ``feature_names_in_``.
    """

    names: list[str]
    categories: Mapping[str, list[Any]]
    named: bool = True

    @classmethod
    def for_frame(cls, X: Any) -> "FrameEncoder | None":
        """Learn the columns of X; return None if all of them are numbers.

        Raises
        ------
        TypeError
            Only some of the names are strings; scikit-learn's message.
        """
        if _plain_numbers(X):
            return None
        named = _package(X) != "pandas" or _get_feature_names(X) is not None
        frame = _opened(X)
        categories = {}
        for name in frame.columns:
            if _kind(frame[name]) != "number":
                categories[name] = sorted(
                    {v for v in _values(frame[name]) if v is not None}, key=lambda v: (str(type(v)), v)
                )
        return cls(list(frame.columns), categories, named) if categories else None

    @staticmethod
    def as_numbers(X: Any) -> Any:
        """Return a frame of numbers in a form that scikit-learn accepts."""
        if _package(X) == "pandas":
            return X
        frame = _opened(X)
        bad = [name for name in frame.columns if _kind(frame[name]) == "category"]
        if bad:
            raise ValueError(f"column {bad[0]!r} held numbers in fit and holds {frame[bad[0]].dtype} now")
        try:
            import pandas
        except ImportError:
            pass
        else:
            return pandas.DataFrame({name: _numbers(frame[name]) for name in frame.columns})
        return np.column_stack([_numbers(frame[name]) for name in frame.columns])

    def feature_names_out(self) -> list[str]:
        """Return a name for every column of numbers: "size", "colour=red", ..."""
        return [
            out
            for name in self.names
            for out in ([f"{name}={value}" for value in self.categories[name]] if name in self.categories else [name])
        ]

    def transform(self, X: Any, estimator: str, allow_missing: bool) -> Array:
        """Return the columns of a frame as float64 numbers (n, n_columns).

        Raises
        ------
        ValueError
            X is not a frame; a column is missing, added, in another position, or of another kind than in ``fit``; or a
            column of categories has a missing entry although ``allow_missing`` is False. Missing numbers become NaN,
            which scikit-learn's checks report.
        """
        if not is_frame(X):
            raise ValueError(
                f"{estimator} was fitted on a frame with the columns {self.names}; X must be a frame with the same "
                f"columns, got {type(X).__name__}"
            )
        frame = _opened(X)
        names = list(frame.columns)
        if names != self.names:
            gone = [name for name in self.names if name not in names]
            added = [name for name in names if name not in self.names]
            what = "; ".join(
                part
                for part in (
                    f"missing: {gone}" if gone else "",
                    f"not seen in fit: {added}" if added else "",
                    "the order differs" if not gone and not added else "",
                )
                if part
            )
            raise ValueError(f"the columns of X must be those of fit, in the same order; {what}")
        columns = []
        for name in self.names:
            series = frame[name]
            kind, known = _kind(series), self.categories.get(name)
            if known is not None and kind == "number":
                raise ValueError(f"column {name!r} held categories in fit and holds {series.dtype} now")
            if known is None and kind == "category":
                raise ValueError(f"column {name!r} held numbers in fit and holds {series.dtype} now")
            if known is None:
                columns.append(_numbers(series)[:, None])
                continue
            values = _values(series)
            if not allow_missing and None in values:
                raise ValueError(
                    f"column {name!r} of X has no value at row {values.index(None)} (counted from 0), but missing is "
                    "'error': fill it in, or set missing to 'mean', 'median' or 'indicator', which encode it as none "
                    "of the categories"
                )
            check_alike(name, values, known)
            place = {value: i for i, value in enumerate(known)}
            codes = np.array([place.get(value, -1) for value in values], dtype=np.intp)
            columns.append((codes[:, None] == np.arange(len(known))).astype(np.float64))
        return np.hstack(columns)
