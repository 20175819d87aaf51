"""NumPy's functions under the names of ``keras.ops``, which metrics written for Keras use."""

from collections.abc import Callable
from typing import Any

import numpy as np

_OF_NUMPY = (
    "abs absolute add all any arange argmax argmin argsort average ceil clip concatenate cos cumsum divide dot "
    "equal exp expand_dims expm1 eye floor full_like greater greater_equal isfinite isnan less less_equal "
    "linspace log log10 log1p log2 logical_and logical_not logical_or logical_xor matmul max maximum mean median "
    "min minimum mod multiply negative not_equal ones ones_like power prod quantile reciprocal repeat reshape "
    "round shape sign sin size sort sqrt square squeeze stack std subtract sum swapaxes take take_along_axis tanh "
    "tile transpose true_divide var where zeros zeros_like"
).split()


def _cast(x: Any, dtype: Any) -> Any:
    """Return an array of another type."""
    return np.asarray(x).astype(dtype)


def _array(x: Any, dtype: Any = None) -> Any:
    """Return an array."""
    return np.asarray(x, dtype)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in _OF_NUMPY},
    "cast": _cast,
    "convert_to_numpy": _array,
    "convert_to_tensor": _array,
    "norm": np.linalg.norm,
}
"""The functions by name."""
