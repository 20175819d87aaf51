"""Vectors for numbers: cosines, and pieces of lines between quantiles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
import fastnn.initializers as initializers
from fastnn._arguments import choice, flag, number, whole
from fastnn._arrays import as_features, as_numbers
from fastnn._variables import Variable
from fastnn.layers.layer import Layer
from fastnn.layers.merging import Add, Concatenate
from fastnn.layers.tabular import GroupedDense, _Own
from fastnn.layers.weights import ParameterSpec, initializer_of

Array = NDArray[Any]

_LEAST_DIFFERENCE = 1e-12
"""Quantiles whose relative difference is smaller differ by rounding."""
_LEAST_WIDTH = float(np.finfo(np.float32).tiny)
"""Bins are wider, so that their slopes are finite in float32."""


@registry.register("layer", "CosineFeatures")
class CosineFeatures(_Own):
    """Cosines of each feature: ``Y[:, f k + j] = cos(2 pi w[f k + j] X[:, f] + b[f k + j])``.

    Shapes: X (n, n_in), frequencies w and bias b (n_in k,), Y (n, n_in k) with k = ``count``. Arguments beyond 1e9
    count as 1e9.

    Parameters
    ----------
    count : cosines for each feature.
    sigma : standard deviation of the frequencies at the start.
    frequencies_initializer, bias_initializer : names or initializers; by default normal numbers with deviation
        ``sigma``, and uniform numbers between -pi and pi.
    frequencies_regularizer, bias_regularizer, frequencies_constraint, bias_constraint : names or descriptions.
    layer_options : as in ``Layer``.
    """

    _weights = ("frequencies", "bias")
    _options = ("count", "sigma")

    def __init__(
        self,
        count: int = 16,
        sigma: float = 0.1,
        frequencies_initializer: Any = None,
        bias_initializer: Any = None,
        frequencies_regularizer: Any = None,
        bias_regularizer: Any = None,
        frequencies_constraint: Any = None,
        bias_constraint: Any = None,
        **layer_options: Any,
    ) -> None:
        self.count = whole("count", count, at_least=1)
        self.sigma = number("sigma", sigma, at_least=0.0)
        normal = initializers.RandomNormal(stddev=self.sigma)
        phases = initializers.RandomUniform(-np.pi, np.pi)
        self._set_weights(
            frequencies=(
                initializer_of("frequencies_initializer", frequencies_initializer, normal),
                frequencies_regularizer,
                frequencies_constraint,
            ),
            bias=(
                initializer_of("bias_initializer", bias_initializer, phases),
                bias_regularizer,
                bias_constraint,
            ),
        )
        super().__init__(**layer_options)

    def n_outputs(self, n_in: int) -> int:
        """Return ``count * n_in``."""
        return self.count * n_in

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        return "cosine_features", {"count": self.count, **self._training_options("frequencies", "bias")}

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the frequencies and the bias, each (n_in count,)."""
        shape = (self.count * n_in,)
        return [ParameterSpec(name, shape, getattr(self, f"{name}_initializer")) for name in self._weights]

    @property
    def frequencies(self) -> Variable:
        """The frequencies (n_in count,)."""
        return self.weight("frequencies")

    @property
    def bias(self) -> Variable:
        """The phases (n_in count,)."""
        return self.weight("bias")


@registry.register("layer", "PeriodicEmbedding")
class PeriodicEmbedding(Layer):
    """Vectors for numbers from learned cosines: PBLD, "periodic, bias, linear, DenseNet" (Holzmüller et al., 2024).

    For each feature ``e = cos(2 pi w1 x + b1) @ W2 + b2`` with ``frequencies`` cosines and ``units`` numbers e; the
    outputs are the vectors e of all features, one after the other, and then, unless ``densenet=False``, the features
    themselves. Gorishniy et al. (2022) introduced such embeddings.

    Parameters
    ----------
    n_features : number of features.
    units : numbers for each feature.
    frequencies : cosines for each feature.
    sigma : standard deviation of w1 at the start.
    densenet : whether the features themselves follow.
    learning_rate_factors, weight_decay_factors : as in ``Layer``, for all weights.
    layer_options : as in ``Layer``.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.layers.PeriodicEmbedding(5)(fastnn.Input((5,))).shape
    (None, 20)
    """

    composes = True

    def __init__(
        self,
        n_features: int,
        units: int = 3,
        frequencies: int = 16,
        sigma: float = 0.1,
        densenet: bool = True,
        learning_rate_factors: Any = None,
        weight_decay_factors: Any = None,
        **layer_options: Any,
    ) -> None:
        whole("frequencies", frequencies, at_least=1)
        super().__init__(**layer_options)
        self.n_features = whole("n_features", n_features, at_least=1)
        factors = {"learning_rate_factors": learning_rate_factors, "weight_decay_factors": weight_decay_factors}
        self.cosines = CosineFeatures(frequencies, sigma, name=f"{self.name}_cosines", **factors)
        uniform = initializers.RandomUniform(-(frequencies**-0.5), frequencies**-0.5)
        self.linear = GroupedDense(n_features, units, bias_initializer=uniform, name=f"{self.name}_linear", **factors)
        self.join = Concatenate() if flag("densenet", densenet) else None

    def call(self, x: Any) -> Any:
        """Return the outputs for a symbolic tensor."""
        _check_features(self, x)
        embedded = self.linear(self.cosines(x))
        return embedded if self.join is None else self.join([embedded, x])


def _check_features(layer: Any, x: Any) -> None:
    """Raise ValueError unless a symbolic tensor has the number of features that a layer was made for."""
    if x.shape[-1] != layer.n_features:
        raise ValueError(f"layer {layer.name!r} has n_features={layer.n_features}, but its input has {x.shape[-1]}")


class _Numbers(initializers.Initializer):
    """Initial values that are known."""

    def __init__(self, values: Array) -> None:
        self.values = values

    def draw(self, shape: tuple[int, ...], source: Any) -> Array:
        """Return the values."""
        return np.asarray(self.values, np.float64).reshape(shape)


def _distinct(quantiles: Array) -> Array:
    """Return increasing quantiles without those that hardly differ from the one before."""
    kept = np.unique(quantiles)
    least = np.maximum(_LEAST_DIFFERENCE * np.abs(kept[1:]), _LEAST_WIDTH)
    return kept[np.r_[True, np.diff(kept) > least]]


def _checked_edges(edges: Any) -> list[Array]:
    """Return the edges of each feature as float64."""
    if not isinstance(edges, Sequence | np.ndarray) or isinstance(edges, str):
        raise ValueError(f"edges must be a list of the edges of each feature, got {edges!r}")
    checked = [np.asarray(as_numbers(each, "edges"), np.float64) for each in edges]
    for each in checked:
        with np.errstate(over="ignore", invalid="ignore"):
            widths = np.diff(each) if each.ndim == 1 else np.zeros(0)
        if not widths.size or not np.isfinite(widths).all() or not (widths > _LEAST_WIDTH).all():
            raise ValueError(
                f"edges must hold lists of at least two increasing numbers, more than {_LEAST_WIDTH:.1e} and not "
                f"infinitely far apart, got {each.tolist()}"
            )
    return checked


@registry.register("layer", "PiecewiseLinearEncoding")
class PiecewiseLinearEncoding(Layer):
    """Position of each number among quantiles: one output for each bin (Gorishniy et al., 2022).

    With the edges ``e[0] < e[1] < ...`` of a feature, output i is ``(x - e[i]) / (e[i + 1] - e[i])``, between 0 and 1;
    the first one has no lower bound and the last one no upper bound. Features with fewer bins have zeros between their
    last bins. Shapes: X (n, n_in), Y (n, n_in b) with the largest number of bins b. ``adapt(X)`` learns the edges.

    Parameters
    ----------
    n_bins : largest number of bins of a feature.
    edges : edges of each feature, n_in lists; None to learn them.
    layer_options : as in ``Layer``.
    """

    _options = ("n_bins",)

    def __init__(self, n_bins: int = 48, edges: Any = None, **layer_options: Any) -> None:
        self.n_bins = whole("n_bins", n_bins, at_least=1)
        self.edges: list[Array] | None = None if edges is None else _checked_edges(edges)
        super().__init__(**layer_options)

    def adapt(self, data: Any) -> None:
        """Learn the edges: ``n_bins + 1`` quantiles of each feature of ``data`` (n, n_in), without repetitions.

        Quantiles whose relative difference is below 1e-12 count as one.

        Raises
        ------
        ValueError
            A feature that is constant, or a layer that has been built with edges.
        """
        if self.built:
            raise ValueError(f"layer {self.name!r} belongs to a built model: call adapt before the model is built")
        X = as_features(data, None, np.dtype(np.float64), "data").astype(np.float64)
        quantiles = np.quantile(X, np.linspace(0.0, 1.0, self.n_bins + 1), axis=0)
        edges = [_distinct(column) for column in quantiles.T]
        constant = [place for place, each in enumerate(edges) if len(each) < 2]
        if constant:
            raise ValueError(f"feature {constant[0]} of data is constant: leave it out")
        self.edges = _checked_edges(edges)

    def _known_edges(self) -> list[Array]:
        if self.edges is None:
            raise ValueError(f"layer {self.name!r} has no edges: call adapt(data) first, or pass edges=[...]")
        return self.edges

    @property
    def width(self) -> int:
        """Outputs of each feature."""
        return max(len(each) - 1 for each in self._known_edges())

    def n_outputs(self, n_in: int) -> int:
        """Return ``n_in`` times the largest number of bins."""
        if len(self._known_edges()) != n_in:
            raise ValueError(f"layer {self.name!r} has the edges of {len(self._known_edges())} features, got {n_in}")
        return n_in * self.width

    def computes(self) -> bool:
        """Return True; one input has no edges."""
        return True

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        return "bounded_lines", {"n_rows": 3, "n_columns": self.n_outputs(n_in), "trainable": False}

    def _lines(self) -> tuple[Array, Array]:
        """Return slope, lower and upper bound (3, n_in b) and offset (n_in b,) of each output."""
        unbounded = float(np.finfo(np.float32).max)
        kernel, bias = (
            np.zeros((len(self._known_edges()), self.width, 3)),
            np.zeros((len(self._known_edges()), self.width)),
        )
        for feature, edges in enumerate(self._known_edges()):
            bins = len(edges) - 1
            places = np.r_[0 : bins - 1, self.width - 1]
            slopes = 1.0 / np.diff(edges)
            kernel[feature, places, 0], bias[feature, places] = slopes, -edges[:-1] * slopes
            kernel[feature, places, 2] = 1.0
            kernel[feature, places[0], 1] = -unbounded
            kernel[feature, places[-1], 2] = unbounded
        return np.moveaxis(kernel, 2, 0).reshape(3, -1), bias.ravel()

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the lines: a kernel (3, n_in b) and a bias (n_in b,), which are not trained."""
        self.n_outputs(n_in)
        kernel, bias = self._lines()
        specs = {"kernel": kernel, "bias": bias}
        return [ParameterSpec(name, value.shape, _Numbers(value), trainable=False) for name, value in specs.items()]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the edges that were learned."""
        edges = None if self.edges is None else [each.tolist() for each in self.edges]
        return {**super().get_config(), "edges": edges}


@registry.register("layer", "PiecewiseLinearEmbedding")
class PiecewiseLinearEmbedding(Layer):
    """Vectors for numbers from their position among quantiles (Gorishniy et al., 2022).

    Version "B" of the package rtdl_num_embeddings: ``Y = x w + b + PLE(x) @ V``, where V starts at 0 and has no bias;
    version "A" has ``PLE(x) @ V + b`` alone. ``adapt(X)`` learns the quantiles. Shapes: X (n, n_in),
    Y (n, n_in units).

    Parameters
    ----------
    n_features : number of features.
    units : numbers for each feature.
    n_bins : largest number of bins of a feature.
    version : "A" or "B".
    edges : edges of each feature, if they are known.
    learning_rate_factors, weight_decay_factors : numbers as in ``Layer``, for all weights.
    layer_options : as in ``Layer``.
    """

    composes = True

    def __init__(
        self,
        n_features: int,
        units: int = 16,
        n_bins: int = 48,
        version: str = "B",
        edges: Sequence[Any] | None = None,
        learning_rate_factors: Any = None,
        weight_decay_factors: Any = None,
        **layer_options: Any,
    ) -> None:
        super().__init__(**layer_options)
        factors = {"learning_rate_factors": learning_rate_factors, "weight_decay_factors": weight_decay_factors}
        self.n_features = whole("n_features", n_features, at_least=1)
        self.version = choice("version", version, ("A", "B"))
        self.encoding = PiecewiseLinearEncoding(n_bins, edges, name=f"{self.name}_encoding")
        if self.encoding.edges is not None and len(self.encoding.edges) != self.n_features:
            raise ValueError(
                f"edges must be those of n_features={self.n_features} features, got {len(self.encoding.edges)}"
            )
        with_line = self.version == "B"
        self.pieces = GroupedDense(
            n_features,
            units,
            use_bias=not with_line,
            kernel_initializer="zeros" if with_line else None,
            name=f"{self.name}_pieces",
            **factors,
        )
        uniform = initializers.RandomUniform(-(units**-0.5), units**-0.5)
        self.line = (
            GroupedDense(n_features, units, True, uniform, uniform, name=f"{self.name}_line", **factors)
            if with_line
            else None
        )
        self.sum = Add()

    def adapt(self, data: Any) -> None:
        """Learn the edges; as in ``PiecewiseLinearEncoding``."""
        self.encoding.adapt(as_features(data, self.n_features, np.dtype(np.float64), "data"))

    def call(self, x: Any) -> Any:
        """Return the outputs for a symbolic tensor."""
        _check_features(self, x)
        pieces = self.pieces(self.encoding(x))
        return pieces if self.line is None else self.sum([self.line(x), pieces])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the edges that were learned."""
        return {**super().get_config(), "edges": self.encoding.get_config()["edges"]}
