"""The array functions of ``keras.ops`` that NumPy has too: NumPy's results, with Keras's names of arguments."""

from collections.abc import Callable
from typing import Any

import numpy as np

Function = Callable[..., Any]

_OF_ONE_ARRAY = (
    "abs absolute angle arccos arccosh arcsin arcsinh arctan arctanh array bartlett blackman cbrt ceil conj "
    "conjugate copy corrcoef cos cosh deg2rad exp exp2 expm1 floor hamming hanning imag isfinite isinf isnan "
    "isneginf isposinf isreal log log10 log1p log2 logical_not ndim negative nonzero ravel real reciprocal shape "
    "sign signbit sin sinc sinh size sqrt square tan tanh trunc"
).split()
_OF_TWO_ARRAYS = (
    "add arctan2 divide dot equal floor_divide gcd greater greater_equal heaviside hypot inner kron lcm ldexp "
    "less less_equal logaddexp logaddexp2 logical_and logical_or logical_xor matmul maximum minimum mod multiply "
    "nextafter not_equal outer power subtract true_divide vdot"
).split()
_OF_AN_AXIS = (
    "all amax amin any argmax argmin mean median nanargmax nanargmin nanmax nanmean nanmedian nanmin nanprod "
    "nanstd nansum nanvar ptp std sum var"
).split()
_OF_STACKS = "dstack hstack vstack".split()
_BITWISE = {
    "bitwise_and": np.bitwise_and,
    "bitwise_left_shift": np.left_shift,
    "bitwise_or": np.bitwise_or,
    "bitwise_right_shift": np.right_shift,
    "bitwise_xor": np.bitwise_xor,
    "left_shift": np.left_shift,
    "right_shift": np.right_shift,
}
_LINEAR_ALGEBRA = "det eig eigh inv slogdet".split()


def _of_one(function: Function) -> Function:
    return lambda x: function(x)


def _of_two(function: Function) -> Function:
    return lambda x1, x2: function(x1, x2)


def _bitwise(function: Function) -> Function:
    return lambda x, y: function(x, y)


def _of_axis(function: Function) -> Function:
    return lambda x, axis=None, keepdims=False: function(x, axis=axis, keepdims=keepdims)


def _of_stack(function: Function) -> Function:
    return lambda xs: function(xs)


def _cumulative(function: Function) -> Function:
    return lambda x, axis=None, dtype=None: function(x, axis=axis, dtype=dtype)


def _extreme(function: Function) -> Function:
    return lambda x, axis=None, keepdims=False, initial=None: function(x, axis=axis, keepdims=keepdims, initial=initial)


def _quantile(function: Function) -> Function:
    return lambda x, q, axis=None, method="linear", keepdims=False: function(
        x, q, axis=axis, method=method, keepdims=keepdims
    )


def _split(function: Function) -> Function:
    return lambda x, indices_or_sections, axis=0: function(x, indices_or_sections, axis=axis)


def _arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    low: Any = 0 if stop is None else start
    high: Any = start if stop is None else stop
    arange: Function = np.arange
    return arange(low, high, step, dtype)


def _divide_no_nan(x1: Any, x2: Any) -> Any:
    x1, x2 = np.broadcast_arrays(x1, x2)
    return np.divide(x1, x2, out=np.zeros(x1.shape, np.result_type(x1, x2, np.float32)), where=np.not_equal(x2, 0))


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    largest = np.max(x, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, 0)
    with np.errstate(divide="ignore"):
        result = np.log(np.sum(np.exp(np.subtract(x, shift)), axis=axis, keepdims=True)) + shift
    return result if keepdims else np.squeeze(result, axis=axis)


def _one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    if sparse:
        raise ValueError("sparse must be False: arrays are dense")
    # A label out of range gives a row of zeros, as in Keras.
    hot = np.equal(np.expand_dims(x, -1), np.arange(num_classes)).astype("float32" if dtype is None else dtype)
    return np.moveaxis(hot, -1, axis)


def _pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    return np.pad(x, pad_width, mode, **({} if constant_values is None else {"constant_values": constant_values}))  # type: ignore[call-overload]


def _slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    return np.asarray(inputs)[tuple(slice(a, a + n) for a, n in zip(start_indices, shape, strict=True))]


def _trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    function = getattr(np, "trapezoid" if hasattr(np, "trapezoid") else "trapz")  # its name before NumPy 2
    return function(y, x, dx, axis)


ARRAY_FUNCTIONS: dict[str, Function] = {
    **{name: _of_one(getattr(np, name)) for name in _OF_ONE_ARRAY},
    **{name: _of_two(getattr(np, name)) for name in _OF_TWO_ARRAYS},
    **{name: _of_axis(getattr(np, name)) for name in _OF_AN_AXIS},
    **{name: _of_stack(getattr(np, name)) for name in _OF_STACKS},
    **{name: _bitwise(function) for name, function in _BITWISE.items()},
    **{name: _of_one(getattr(np.linalg, name)) for name in _LINEAR_ALGEBRA},
    **{name: _cumulative(getattr(np, name)) for name in ("cumprod", "cumsum", "nancumprod", "nancumsum")},
    **{name: _extreme(getattr(np, name)) for name in ("max", "min")},
    **{name: _quantile(getattr(np, name)) for name in ("nanpercentile", "nanquantile", "percentile", "quantile")},
    **{name: _split(getattr(np, name)) for name in ("array_split", "split")},
    "append": lambda x1, x2, axis=None: np.append(x1, x2, axis),
    "arange": _arange,
    "argpartition": lambda x, kth, axis=-1: np.argpartition(x, kth, axis),
    "argsort": lambda x, axis=-1: np.argsort(x, axis, kind="stable"),
    "array": lambda x, dtype=None: np.array(x, dtype),
    "average": lambda x, axis=None, weights=None: np.average(x, axis, weights),
    "bincount": lambda x, weights=None, minlength=0, sparse=False: np.bincount(x, weights, minlength),
    "bitwise_invert": lambda x: np.invert(x),
    "bitwise_not": lambda x: np.invert(x),
    "broadcast_to": lambda x, shape: np.broadcast_to(x, shape),
    "cast": lambda x, dtype: np.asarray(x).astype(dtype),
    "cholesky": lambda x, upper=False: np.swapaxes(np.linalg.cholesky(x), -2, -1) if upper else np.linalg.cholesky(x),
    "clip": lambda x, x_min, x_max: np.clip(x, x_min, x_max),
    "concatenate": lambda xs, axis=0: np.concatenate(xs, axis),
    "cond": lambda pred, true_fn, false_fn: true_fn() if pred else false_fn(),
    "convert_to_numpy": lambda x: np.asarray(x),
    "convert_to_tensor": lambda x, dtype=None, sparse=None, ragged=None: np.asarray(x, dtype),
    "correlate": lambda x1, x2, mode="valid": np.correlate(x1, x2, mode),
    "count_nonzero": lambda x, axis=None: np.count_nonzero(x, axis),
    "cross": lambda x1, x2, axisa=-1, axisb=-1, axisc=-1, axis=None: np.cross(x1, x2, axisa, axisb, axisc, axis),
    "diag": lambda x, k=0: np.diag(x, k),
    "diagflat": lambda x, k=0: np.diagflat(x, k),
    "diagonal": lambda x, offset=0, axis1=0, axis2=1: np.diagonal(x, offset, axis1, axis2),
    "diff": lambda a, n=1, axis=-1: np.diff(a, n, axis),
    "digitize": lambda x, bins: np.digitize(x, bins),
    "divide_no_nan": _divide_no_nan,
    "einsum": lambda subscripts, *operands, **kwargs: np.einsum(subscripts, *operands, **kwargs),
    "empty": lambda shape, dtype=None: np.empty(shape, dtype),
    "empty_like": lambda x, dtype=None: np.empty_like(x, dtype),
    "expand_dims": lambda x, axis: np.expand_dims(x, axis),
    "eye": lambda N, M=None, k=0, dtype=None: np.eye(N, M, k, dtype),
    "flip": lambda x, axis=None: np.flip(x, axis),
    "full": lambda shape, fill_value, dtype=None: np.full(shape, fill_value, dtype),
    "full_like": lambda x, fill_value, dtype=None: np.full_like(x, fill_value, dtype),
    "geomspace": lambda start, stop, num=50, endpoint=True, dtype=None, axis=0: np.geomspace(
        start, stop, num, endpoint, dtype, axis
    ),
    "get_item": lambda x, key: np.asarray(x)[key],
    "histogram": lambda x, bins=10, range=None: np.histogram(x, bins, range),
    "hsplit": lambda x, indices_or_sections: np.hsplit(x, indices_or_sections),
    "identity": lambda n, dtype=None: np.identity(n, dtype),
    "isclose": lambda x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False: np.isclose(x1, x2, rtol, atol, equal_nan),
    "isin": lambda x1, x2, assume_unique=False, invert=False: np.isin(x1, x2, assume_unique, invert),
    "is_tensor": lambda x: isinstance(x, np.ndarray),
    "kaiser": lambda x, beta: np.kaiser(x, beta),
    "linspace": lambda start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0: np.linspace(
        start, stop, num, endpoint, retstep, dtype, axis
    ),
    "logdet": lambda x: np.linalg.slogdet(x)[1],
    "logspace": lambda start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0: np.logspace(
        start, stop, num, endpoint, base, dtype, axis
    ),
    "logsumexp": _logsumexp,
    "lstsq": lambda a, b, rcond=None: np.linalg.lstsq(a, b, rcond)[0],
    "meshgrid": lambda *x, indexing="xy": np.meshgrid(*x, indexing=indexing),
    "moveaxis": lambda x, source, destination: np.moveaxis(x, source, destination),
    "nan_to_num": lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(x, True, nan, posinf, neginf),
    "norm": lambda x, ord=None, axis=None, keepdims=False: np.linalg.norm(x, ord, axis, keepdims),
    "one_hot": _one_hot,
    "ones": lambda shape, dtype=None: np.ones(shape, dtype),
    "ones_like": lambda x, dtype=None: np.ones_like(x, dtype),
    "pad": _pad,
    "prod": lambda x, axis=None, keepdims=False, dtype=None: np.prod(x, axis=axis, keepdims=keepdims, dtype=dtype),
    "qr": lambda x, mode="reduced": np.linalg.qr(x, mode),
    "rad2deg": lambda x: np.rad2deg(x),
    "repeat": lambda x, repeats, axis=None: np.repeat(x, repeats, axis),
    "reshape": lambda x, newshape: np.reshape(x, newshape),
    "roll": lambda x, shift, axis=None: np.roll(x, shift, axis),
    "rot90": lambda array, k=1, axes=(0, 1): np.rot90(array, k, axes),
    "round": lambda x, decimals=0: np.round(x, decimals),
    "rsqrt": lambda x: np.reciprocal(np.sqrt(x)),
    "searchsorted": lambda sorted_sequence, values, side="left": np.searchsorted(sorted_sequence, values, side),
    "select": lambda condlist, choicelist, default=0: np.select(condlist, choicelist, default),
    "slice": _slice,
    "solve": lambda a, b: np.linalg.solve(a, b),
    "sort": lambda x, axis=-1: np.sort(x, axis),
    "squeeze": lambda x, axis=None: np.squeeze(x, axis),
    "stack": lambda x, axis=0: np.stack(x, axis),
    "stop_gradient": lambda variable: np.asarray(variable),
    "svd": lambda x, full_matrices=True, compute_uv=True: np.linalg.svd(x, full_matrices, compute_uv),
    "swapaxes": lambda x, axis1, axis2: np.swapaxes(x, axis1, axis2),
    "take": lambda x, indices, axis=None: np.take(x, indices, axis),
    "take_along_axis": lambda x, indices, axis=None: np.take_along_axis(x, indices, axis),
    "tensordot": lambda x1, x2, axes=2: np.tensordot(x1, x2, axes),
    "tile": lambda x, repeats: np.tile(x, repeats),
    "trace": lambda x, offset=0, axis1=0, axis2=1: np.trace(x, offset, axis1, axis2),
    "transpose": lambda x, axes=None: np.transpose(x, axes),
    "trapezoid": _trapezoid,
    "tri": lambda N, M=None, k=0, dtype=None: np.tri(N, M, k, dtype),
    "tril": lambda x, k=0: np.tril(x, k),
    "triu": lambda x, k=0: np.triu(x, k),
    "unravel_index": lambda indices, shape: np.unravel_index(indices, shape),
    "unstack": lambda x, num=None, axis=0: list(np.moveaxis(np.asarray(x), axis, 0)),
    "vander": lambda x, N=None, increasing=False: np.vander(x, N, increasing),
    "vectorize": lambda pyfunc, *, excluded=None, signature=None: np.vectorize(
        pyfunc, excluded=excluded, signature=signature
    ),
    "view": lambda x, dtype=None: np.asarray(x).view() if dtype is None else np.asarray(x).view(dtype),
    "vsplit": lambda x, indices_or_sections: np.vsplit(x, indices_or_sections),
    "where": lambda condition, x1=None, x2=None: (
        np.where(condition) if x1 is None and x2 is None else np.where(condition, x1, x2)
    ),
    "zeros": lambda shape, dtype=None: np.zeros(shape, dtype),
    "zeros_like": lambda x, dtype=None: np.zeros_like(x, dtype),
}
for _name, _function in ARRAY_FUNCTIONS.items():
    _function.__name__ = _function.__qualname__ = _name
