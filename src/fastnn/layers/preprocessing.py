"""Layers that scale columns robustly or by their quantiles, with NumPy in float64, before the network."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import number, optional, whole
from fastnn._arrays import as_features, as_numbers
from fastnn._randomness import Stream
from fastnn.layers.encoding import Encoder

Array = NDArray[Any]

_inverse_normal = np.frompyfunc(NormalDist().inv_cdf, 1, 1)
_LARGEST_ROOT = 1e150
"""Squares of larger numbers may not be finite."""
_LEAST_PROBABILITY = 1e-7
"""Probabilities are kept this far from 0 and 1, as in scikit-learn."""


class Scaler(Encoder):
    """Base of layers that learn numbers of each column and compute with NumPy."""

    output_mode = "float"

    def adapt(self, data: Any) -> None:
        """Learn from ``data`` (n, n_in); NaN is left out."""
        X = _columns(data, "data")
        with np.errstate(over="ignore", invalid="ignore"):
            learned = self._learned(X)
        if not all(np.isfinite(each).all() for each in learned.values()):
            raise ValueError(f"data has numbers up to {np.nanmax(np.abs(X)):.1e}, which are too large: rescale them")
        for name, each in learned.items():
            setattr(self, name, each)

    def _learned(self, X: Array) -> dict[str, Array]:
        """Return what is learned, by the name of its attribute."""
        raise NotImplementedError

    def _transformed(self, X: Array) -> Array:
        raise NotImplementedError

    def _slopes(self, X: Array) -> Array:
        raise NotImplementedError

    def dtype_of(self, dtypes: Sequence[str | None]) -> str | None:
        """Return None: the type is that of the model."""
        return None

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a row, which stays."""
        return rows[0]

    def compute(self, *arguments: Any, **options: Any) -> Array:
        """Return the scaled columns of an array (n, n_in), as float64; NaN stays NaN."""
        (values,) = (*arguments, *options.values())
        return self._transformed(self._checked(values))

    def slopes(self, values: Any) -> Array:
        """Return the derivatives of the scaled columns with respect to the elements of an array (n, n_in)."""
        return self._slopes(self._checked(values))

    def _checked(self, values: Any) -> Array:
        """Return an array (n, n_in) of as many columns as were learned."""
        if self.learned_features is None:
            raise ValueError(f"layer {self.name!r} has learned nothing: call adapt(data) first")
        X = _columns(values, f"the input of layer {self.name!r}")
        if X.shape[1] != self.learned_features:
            raise ValueError(f"layer {self.name!r} has learned {self.learned_features} columns, got {X.shape[1]}")
        return X


def _columns(data: Any, name: str) -> Array:
    X = as_features(data, None, np.dtype(np.float64), name, allow_missing=True)
    return np.asarray(X, np.float64)


def _known(name: str, value: Any, n_dimensions: int) -> Array | None:
    """Return known numbers of the columns as float64; None stays None."""
    if value is None:
        return None
    array = np.asarray(as_numbers(value, name), np.float64)
    if array.ndim != n_dimensions or not array.size or not np.isfinite(array).all():
        shape = "(n_in,)" if n_dimensions == 1 else "(n_quantiles, n_in)"
        raise ValueError(f"{name} must be finite numbers of shape {shape}, got {value!r}")
    return array


@registry.register("layer", "RobustScaling")
class RobustScaling(Scaler):
    """Columns less their median, divided by their spread, and smoothly bounded (Holzmüller et al., 2024).

    ``z = (x - median) / (q75 - q25)``; where the quartiles are equal, half of the range takes the place of their
    difference, and a constant column becomes 0. Then ``z / sqrt(1 + (z / bound)^2)``, which lies between -bound and
    bound. ``adapt(X)`` learns the numbers.

    Parameters
    ----------
    bound : largest magnitude of the outputs; None for no bound.
    center, scale : median and factor of each column, if they are known.
    layer_options : as in ``Layer``.

    Examples
    --------
    >>> import fastnn
    >>> layer = fastnn.layers.RobustScaling(bound=None)
    >>> layer.adapt([[0.0], [1.0], [2.0], [3.0], [1000.0]])
    >>> layer([[4.0]]).tolist()
    [[1.0]]
    """

    _options = ("bound",)

    def __init__(self, bound: float | None = 3.0, center: Any = None, scale: Any = None, **layer_options: Any) -> None:
        self.bound = optional(number, "bound", bound, above=0.0)
        if (center is None) != (scale is None):
            raise ValueError("give both center and scale, or neither and call adapt(data)")
        self.center, self.scale = _known("center", center, 1), _known("scale", scale, 1)
        if self.center is not None and self.scale is not None and len(self.center) != len(self.scale):
            raise ValueError(
                f"center and scale must have a number for each column, got {len(self.center)} and {len(self.scale)}"
            )
        super().__init__(**layer_options)

    @property
    def learned_features(self) -> int | None:
        """Number of columns that were learned; None before ``adapt``."""
        return None if self.center is None else len(self.center)

    def _learned(self, X: Array) -> dict[str, Array]:
        known = np.where(np.isnan(X).all(axis=0), 0.0, X)
        low, center, high = np.nanquantile(known, [0.25, 0.5, 0.75], axis=0)
        spread = high - low
        spread = np.where(spread == 0.0, 0.5 * (np.nanmax(known, axis=0) - np.nanmin(known, axis=0)), spread)
        # the reciprocal of a subnormal number is not finite
        scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread >= np.finfo(np.float64).tiny)
        return {"center": center, "scale": scale}

    def _transformed(self, X: Array) -> Array:
        assert self.center is not None and self.scale is not None
        Z = self._scaled(X)
        return Z if self.bound is None else Z / np.sqrt(1.0 + self._squares(Z))

    def _scaled(self, X: Array) -> Array:
        with np.errstate(over="ignore"):
            Z: Array = (X - self.center) * self.scale
        return Z

    def _squares(self, Z: Array) -> Array:
        """Return the squares of Z / bound; Z comes to lie where they are finite."""
        assert self.bound is not None
        most = _LARGEST_ROOT * self.bound
        return np.asarray((np.clip(Z, -most, most, out=Z) / self.bound) ** 2)

    def _slopes(self, X: Array) -> Array:
        assert self.center is not None and self.scale is not None
        Z = self._scaled(X)
        return np.asarray(self.scale * (np.ones_like(Z) if self.bound is None else (1.0 + self._squares(Z)) ** -1.5))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the numbers that were learned."""
        learned = {"center": self.center, "scale": self.scale}
        return {**super().get_config(), **{key: None if v is None else v.tolist() for key, v in learned.items()}}


def _spread(X: Array) -> Array:
    """Return the standard deviation of each column, at least 1e-6 where that is not more than rounding.

    Where squares vanish, the range stands for the deviation.
    """
    deviation = np.nanstd(X, axis=0)
    deviation = np.where(deviation > 0.0, deviation, np.nanmax(X, axis=0) - np.nanmin(X, axis=0))
    rounding = 10.0 * np.finfo(np.float64).eps * np.nanmax(np.abs(X), axis=0)
    spread: Array = np.where(deviation > rounding, deviation, np.maximum(deviation, 1e-6))
    return spread


@registry.register("layer", "QuantileTransform")
class QuantileTransform(Scaler):
    """Columns whose values become standard normal: each one by its place among the quantiles of its column.

    scikit-learn's ``QuantileTransformer(output_distribution="normal")`` on all rows, with ``n_quantiles`` of
    ``max(min(n // 30, 1000), 10)``, but at most n, and noise in ``adapt`` that parts equal values, as in TabM
    (Gorishniy et al., 2025).

    Parameters
    ----------
    n_quantiles : number of quantiles, of which ``adapt`` takes at most one for each row; None for the rule above.
    noise : standard deviation of the noise, as a fraction of the column's standard deviation.
    seed : seed of the noise; None draws one.
    quantiles : quantiles (n_quantiles, n_in), if they are known.
    layer_options : as in ``Layer``.
    """

    _options = ("n_quantiles", "noise", "seed")

    def __init__(
        self,
        n_quantiles: int | None = None,
        noise: float = 1e-3,
        seed: int | None = None,
        quantiles: Any = None,
        **layer_options: Any,
    ) -> None:
        self.n_quantiles = optional(whole, "n_quantiles", n_quantiles, at_least=2)
        self.noise = number("noise", noise, at_least=0.0)
        self.seed = optional(whole, "seed", seed, at_least=0)
        self.quantiles = _known("quantiles", quantiles, 2)
        if self.quantiles is not None and (len(self.quantiles) < 2 or (np.diff(self.quantiles, axis=0) < 0.0).any()):
            raise ValueError("quantiles must have at least two rows, and none of them may be below the one before it")
        super().__init__(**layer_options)

    @property
    def learned_features(self) -> int | None:
        """Number of columns that were learned; None before ``adapt``."""
        return None if self.quantiles is None else self.quantiles.shape[1]

    def _learned(self, X: Array) -> dict[str, Array]:
        known = np.where(np.isnan(X).all(axis=0), 0.0, X)
        if self.noise:
            draw = Stream(self.seed).normal(known.size).reshape(known.shape)
            known = known + draw * self.noise * _spread(known)
        count = max(min(self.n_quantiles or max(min(len(known) // 30, 1000), 10), len(known)), 2)
        return {"quantiles": np.maximum.accumulate(np.nanquantile(known, np.linspace(0.0, 1.0, count), axis=0))}

    def _transformed(self, X: Array) -> Array:
        assert self.quantiles is not None
        shares = np.linspace(0.0, 1.0, len(self.quantiles))
        result = np.empty_like(X)
        for column, quantiles in enumerate(self.quantiles.T):
            x = X[:, column]
            # the middle of the places from below and from above: they differ where quantiles are equal
            below = np.interp(x, quantiles, shares)
            above = -np.interp(-x, -quantiles[::-1], -shares[::-1])
            place = 0.5 * (below + above)
            place[x >= quantiles[-1]] = 1.0
            place[x <= quantiles[0]] = 0.0
            missing = np.isnan(x)
            bounded = np.clip(np.where(missing, 0.5, place), _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
            result[:, column] = np.where(missing, np.nan, _inverse_normal(bounded).astype(np.float64))
        return result

    def _slopes(self, X: Array) -> Array:
        assert self.quantiles is not None
        Z = self._transformed(X)
        density = np.exp(-0.5 * Z * Z) / math.sqrt(2.0 * math.pi)
        result = np.zeros_like(X)
        for column, quantiles in enumerate(self.quantiles.T):
            x = X[:, column]
            above = np.clip(np.searchsorted(quantiles, x, side="right"), 1, len(quantiles) - 1)
            width = quantiles[above] - quantiles[above - 1]
            inside = (x > quantiles[0]) & (x < quantiles[-1])
            step = 1.0 / (len(quantiles) - 1)
            np.divide(step, width * density[:, column], out=result[:, column], where=inside)
        return result

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the quantiles that were learned."""
        return {**super().get_config(), "quantiles": None if self.quantiles is None else self.quantiles.tolist()}
