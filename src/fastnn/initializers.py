"""Initial values of weights, with Keras's names, arguments and distributions.

The numbers come from fastnn's counter-based generator, so equal seeds give equal weights on every machine.
"""

import math
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

import fastnn._registry as registry
from fastnn._arguments import as_given, choice, number, optional, whole
from fastnn._arrays import as_numbers, check_finite
from fastnn._missing import public_names

# Standard deviation of the standard normal distribution truncated at 2: variances are those after truncation.
_TRUNCATED_STANDARD_DEVIATION = 0.87962566103423978


class Source(Protocol):
    """Source of random numbers of an initializer."""

    def uniform(self, n: int) -> NDArray[np.float64]:
        """Return n numbers, uniform in [0, 1)."""

    def normal(self, n: int) -> NDArray[np.float64]:
        """Return n standard normal numbers."""


_source_of_model: ContextVar[Source | None] = ContextVar("source_of_model", default=None)
"""Random numbers for initializers that a custom initializer calls while a model is built."""


class Initializer(registry.Description):
    """Base of all initializers; a custom class defines ``__call__(shape, dtype=None)``, and ``get_config`` to be saved.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.initializers.HeNormal(seed=1)(shape=(3, 2)).shape
    (3, 2)
    >>> class Halved(fastnn.initializers.HeNormal):
    ...     def __call__(self, shape, dtype=None, **kwargs):
    ...         return 0.5 * super().__call__(shape, dtype)
    >>> dense = fastnn.layers.Dense(2, kernel_initializer=Halved(), bias_initializer=lambda shape, dtype=None: [1, 2])
    >>> fastnn.Sequential([fastnn.Input((3,)), dense]).layers[0].bias.numpy()
    array([1., 2.], dtype=float32)
    """

    seed: int | None = None

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return float64 values of the given shape."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype=None)")

    def __call__(
        self, shape: int | Sequence[int], dtype: DTypeLike | None = None, source: Source | None = None
    ) -> NDArray[Any]:
        """Return an array of initial values.

        Parameters
        ----------
        shape : shape of the array; a kernel is (n_in, n_out).
        dtype : its dtype; None is float32.
        source : random numbers of the model; an initializer with a seed does not use it.
        """
        source = source or _source_of_model.get()
        if self.seed is not None or source is None:
            from fastnn._randomness import Stream

            source = Stream(self.seed)
        sizes = (int(shape),) if np.isscalar(shape) else tuple(int(size) for size in shape)  # type: ignore[arg-type, union-attr]
        return self.draw(sizes, source).astype("float32" if dtype is None else dtype)


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Return fan-in and fan-out of a kernel (n_in, n_out); both are the length of a vector."""
    if len(shape) == 0:
        return 1.0, 1.0
    if len(shape) == 1:
        return float(shape[0]), float(shape[0])
    return float(shape[-2]), float(shape[-1])


def _truncated_normal(n: int, source: Source) -> NDArray[np.float64]:
    """Return n normal numbers within two standard deviations; those outside are drawn again, in order."""
    values = source.normal(n)
    outside = np.flatnonzero(np.abs(values) > 2.0)
    while outside.size:
        values[outside] = source.normal(outside.size)
        outside = outside[np.abs(values[outside]) > 2.0]
    return values


@registry.register("initializer", "zeros", "Zeros")
class Zeros(Initializer):
    """All zeros."""

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return zeros."""
        return np.zeros(shape)


@registry.register("initializer", "ones", "Ones")
class Ones(Initializer):
    """All ones."""

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return ones."""
        return np.ones(shape)


@registry.register("initializer", "constant", "Constant")
class Constant(Initializer):
    """The same value everywhere, or the values of an array of the weight's shape."""

    _options = ("value",)

    def __init__(self, value: Any = 0.0) -> None:
        as_numbers(value, "value")
        self.value = value

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return the value in the given shape."""
        values = np.asarray(self.value, dtype=np.float64)
        if values.ndim and values.shape != shape:
            raise ValueError(f"Constant initializer holds shape {values.shape}, the weight has shape {shape}")
        return np.full(shape, values)


@registry.register("initializer", "random_uniform", "RandomUniform", "uniform")
class RandomUniform(Initializer):
    """Uniform between ``minval`` and ``maxval``."""

    _options = ("minval", "maxval", "seed")

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval = as_given(number, "minval", minval)
        self.maxval = as_given(number, "maxval", maxval)
        self.seed = optional(whole, "seed", seed, at_least=0)

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return uniform numbers."""
        return (self.minval + (self.maxval - self.minval) * source.uniform(math.prod(shape))).reshape(shape)


@registry.register("initializer", "random_normal", "RandomNormal", "normal")
class RandomNormal(Initializer):
    """Normal with the given mean and standard deviation."""

    _options = ("mean", "stddev", "seed")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = as_given(number, "mean", mean)
        self.stddev = as_given(number, "stddev", stddev, at_least=0.0)
        self.seed = optional(whole, "seed", seed, at_least=0)

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return normal numbers."""
        return (self.mean + self.stddev * source.normal(math.prod(shape))).reshape(shape)


@registry.register("initializer", "random_signs", "RandomSigns")
class RandomSigns(Initializer):
    """-1 or 1 with equal probability: first adapters of TabM (Gorishniy et al., 2025) where inputs are not embedded."""

    _options = ("seed",)

    def __init__(self, seed: int | None = None) -> None:
        self.seed = optional(whole, "seed", seed, at_least=0)

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return signs."""
        return np.where(source.uniform(math.prod(shape)) < 0.5, -1.0, 1.0).reshape(shape)


@registry.register("initializer", "truncated_normal", "TruncatedNormal")
class TruncatedNormal(RandomNormal):
    """Normal; numbers more than two standard deviations from the mean are drawn again."""

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return truncated normal numbers."""
        return (self.mean + self.stddev * _truncated_normal(math.prod(shape), source)).reshape(shape)


@registry.register("initializer", "variance_scaling", "VarianceScaling")
class VarianceScaling(Initializer):
    """Numbers of variance ``scale / n``; n is the fan-in, the fan-out or their mean.

    Parameters
    ----------
    scale : positive factor.
    mode : "fan_in", "fan_out" or "fan_avg".
    distribution : "truncated_normal", "untruncated_normal" or "uniform".
    seed : whole number, or None for random numbers of the model.
    """

    _options: ClassVar[tuple[str, ...]] = ("scale", "mode", "distribution", "seed")

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: int | None = None
    ) -> None:
        distribution = "truncated_normal" if distribution == "normal" else distribution
        self.scale = number("scale", scale, above=0.0)
        self.mode = choice("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        self.distribution = choice("distribution", distribution, ("truncated_normal", "untruncated_normal", "uniform"))
        self.seed = optional(whole, "seed", seed, at_least=0)

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return numbers of the scaled variance."""
        fan_in, fan_out = _fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        variance = self.scale / max(1.0, n)
        size = math.prod(shape)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            values = limit * (2.0 * source.uniform(size) - 1.0)
        elif self.distribution == "truncated_normal":
            values = math.sqrt(variance) / _TRUNCATED_STANDARD_DEVIATION * _truncated_normal(size, source)
        else:
            values = math.sqrt(variance) * source.normal(size)
        return values.reshape(shape)


class _Scaled(VarianceScaling):
    """Variance scaling whose only argument is the seed."""

    _options = ("seed",)
    _scaling: ClassVar[tuple[float, str, str]]

    def __init__(self, seed: int | None = None) -> None:
        scale, mode, distribution = self._scaling
        super().__init__(scale, mode, distribution, seed)


@registry.register("initializer", "glorot_uniform", "GlorotUniform")
class GlorotUniform(_Scaled):
    """Uniform with variance 2 / (n_in + n_out) (Glorot and Bengio, 2010)."""

    _scaling = (1.0, "fan_avg", "uniform")


@registry.register("initializer", "glorot_normal", "GlorotNormal")
class GlorotNormal(_Scaled):
    """Truncated normal with variance 2 / (n_in + n_out) (Glorot and Bengio, 2010)."""

    _scaling = (1.0, "fan_avg", "truncated_normal")


@registry.register("initializer", "he_uniform", "HeUniform")
class HeUniform(_Scaled):
    """Uniform with variance 2 / n_in (He et al., 2015)."""

    _scaling = (2.0, "fan_in", "uniform")


@registry.register("initializer", "he_normal", "HeNormal")
class HeNormal(_Scaled):
    """Truncated normal with variance 2 / n_in (He et al., 2015)."""

    _scaling = (2.0, "fan_in", "truncated_normal")


@registry.register("initializer", "lecun_uniform", "LecunUniform")
class LecunUniform(_Scaled):
    """Uniform with variance 1 / n_in (LeCun et al., 1998)."""

    _scaling = (1.0, "fan_in", "uniform")


@registry.register("initializer", "lecun_normal", "LecunNormal")
class LecunNormal(_Scaled):
    """Truncated normal with variance 1 / n_in (LeCun et al., 1998)."""

    _scaling = (1.0, "fan_in", "truncated_normal")


@registry.register("initializer", "identity", "Identity", "IdentityInitializer", "eye")
class Identity(Initializer):
    """``gain`` times the identity matrix, for kernels (n_in, n_out) only."""

    _options = ("gain",)

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = as_given(number, "gain", gain)

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return the identity."""
        if len(shape) != 2:
            raise ValueError(f"Identity initializer needs a matrix, the weight has shape {shape}")
        return self.gain * np.eye(*shape)


@registry.register("initializer", "orthogonal", "Orthogonal", "OrthogonalInitializer")
class Orthogonal(Initializer):
    """``gain`` times a matrix with orthonormal rows or columns (Saxe et al., 2014), from the QR of normal numbers.

    LAPACK factorizes, so the last bits may depend on the NumPy build.
    """

    _options = ("gain", "seed")

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = as_given(number, "gain", gain)
        self.seed = optional(whole, "seed", seed, at_least=0)

    def draw(self, shape: tuple[int, ...], source: Source) -> NDArray[np.float64]:
        """Return an orthogonal matrix."""
        if len(shape) < 2:
            raise ValueError(f"Orthogonal initializer needs a matrix, the weight has shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = source.normal(rows * columns).reshape(max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(normal)
        # A positive diagonal of R makes the factorization, and so the distribution, unique.
        q = q * np.sign(np.diagonal(r))
        values: NDArray[np.float64] = self.gain * (q if rows >= columns else q.T).reshape(shape)
        return values


constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
identity = IdentityInitializer = Identity
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = Ones
orthogonal = OrthogonalInitializer = Orthogonal
random_normal = RandomNormal
random_signs = RandomSigns
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = Zeros


def initial_values(initializer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], source: Source) -> NDArray[Any]:
    """Return the first values of a weight of a model.

    Parameters
    ----------
    initializer : result of ``get``.
    shape, dtype : those of the weight.
    source : random numbers of the model.

    Raises
    ------
    ValueError
        A custom initializer returns something else than finite numbers of this shape.
    """
    if isinstance(initializer, Initializer) and type(initializer).__call__ is Initializer.__call__:
        return initializer(shape, dtype, source)
    name = getattr(initializer, "__name__", type(initializer).__name__)
    token = _source_of_model.set(source)
    try:
        values = as_numbers(initializer(shape, dtype=dtype.name), f"initializer {name}")
    finally:
        _source_of_model.reset(token)
    if values.shape != shape:
        raise ValueError(f"initializer {name} must return the shape of the weight, {shape}, got {values.shape}")
    check_finite(values, f"initializer {name}", dtype)
    return values.astype(dtype)


def get(identifier: Any, default: str | None = None) -> Any:
    """Return the initializer for a name, an initializer, a class, a function or an array of initial values.

    Parameters
    ----------
    identifier : one of these.
    default : name that None stands for.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest.
    """
    identifier = default if identifier is None else identifier
    if isinstance(identifier, np.ndarray):
        return Constant(identifier)
    if callable(identifier) and not isinstance(identifier, type):
        return identifier
    return registry.resolve("initializer", identifier, Initializer)


__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomSigns",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_signs",
    "random_uniform",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
