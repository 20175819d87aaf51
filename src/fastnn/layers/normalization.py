"""Layers that normalize or scale features or rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
import fastnn.initializers as initializers
from fastnn._arguments import absent, choice, flag, last_axis, number, optional, whole
from fastnn._arrays import as_features, as_numbers, is_source
from fastnn._variables import Variable
from fastnn._warnings import warn
from fastnn.layers.layer import Layer
from fastnn.layers.weights import ParameterSpec, WeightAccess, initializer_of

Array = NDArray[Any]
_SMALLEST_DEVIATION = 1e-7
"""The core's smallest divisor of ``Normalization``."""
_MISSING_HINT = ", or make the layer with missing='mean' or 'indicator'"


def deviation_of(variance: Any) -> Array:
    """Return the divisors of ``Normalization`` in float64: the square roots, at least 1e-7."""
    deviation: Array = np.maximum(np.sqrt(np.asarray(variance, np.float64)), _SMALLEST_DEVIATION)
    return deviation


class _ScaledAndCentred(Layer):
    """Base of layers with a learned scale gamma and a learned offset beta for each feature."""

    def _set_parameters(
        self,
        center: bool,
        scale: bool,
        beta: tuple[Any, Any, Any],
        gamma: tuple[Any, Any, Any],
    ) -> None:
        """Set initializer, regularizer and constraint of beta and gamma."""
        self.center, self.scale = flag("center", center), flag("scale", scale)
        self.beta_initializer = initializer_of("beta_initializer", beta[0], "zeros")
        self.gamma_initializer = initializer_of("gamma_initializer", gamma[0], "ones")
        self._regularize("beta", *beta[1:])
        self._regularize("gamma", *gamma[1:])

    def _trained(self) -> list[str]:
        return ["gamma"] * self.scale + ["beta"] * self.center

    def _op_options(self) -> dict[str, Any]:
        return {"scale": self.scale, "center": self.center, **self._training_options(*self._trained())}

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return gamma (n_in,) and beta (n_in,)."""
        return [ParameterSpec(name, (n_in,), getattr(self, f"{name}_initializer")) for name in self._trained()]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": registry.describe("initializer", self.beta_initializer),
            "gamma_initializer": registry.describe("initializer", self.gamma_initializer),
            **self._regularization_config("beta", "gamma"),
        }

    @property
    def gamma(self) -> Variable | None:
        """The scale (n_in,); None if there is none."""
        return self.weight("gamma") if self.scale else None

    @property
    def beta(self) -> Variable | None:
        """The offset (n_in,); None if there is none."""
        return self.weight("beta") if self.center else None


@registry.register("layer", "BatchNormalization")
class BatchNormalization(_ScaledAndCentred):
    """Normalize each feature to mean beta and standard deviation gamma over the batch (Ioffe and Szegedy, 2015).

    ``Y = (X - mean) / sqrt(variance + epsilon) * gamma + beta``. Training uses the mean and the variance (divided by n)
    of the batch, and updates the moving ones to ``moving * momentum + batch * (1 - momentum)``; this momentum, Keras's,
    is one minus that of the literature. Prediction, evaluation and a frozen layer (``trainable = False``) use the
    moving ones.

    Parameters
    ----------
    axis : -1, the features.
    momentum : weight of the moving statistics in their update.
    epsilon : added to the variance.
    center, scale : whether to learn beta and gamma.
    beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer : names or initializers.
    beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint : names or descriptions.
    renorm, renorm_clipping, renorm_momentum : renormalization is not supported; ``renorm`` must be False.
    synchronized : True or False: the statistics are always those of the whole batch, also with several processes.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **layer_options: Any,
    ) -> None:
        last_axis(axis)
        absent(renorm=renorm, renorm_clipping=renorm_clipping)
        flag("synchronized", synchronized)
        number("renorm_momentum", renorm_momentum)
        self.momentum = number("momentum", momentum, at_least=0.0, at_most=1.0)
        self.epsilon = number("epsilon", epsilon, at_least=0.0)
        beta = (beta_initializer, beta_regularizer, beta_constraint)
        self._set_parameters(center, scale, beta, (gamma_initializer, gamma_regularizer, gamma_constraint))
        self.moving_mean_initializer = initializer_of("moving_mean_initializer", moving_mean_initializer, "zeros")
        self.moving_variance_initializer = initializer_of(
            "moving_variance_initializer", moving_variance_initializer, "ones"
        )
        super().__init__(**layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        return "batch_normalization", {"momentum": self.momentum, "epsilon": self.epsilon, **self._op_options()}

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return gamma, beta, the moving mean and the moving variance, each (n_in,)."""
        return [
            *super().parameter_specs(n_in),
            ParameterSpec("moving_mean", (n_in,), self.moving_mean_initializer, trainable=False),
            ParameterSpec("moving_variance", (n_in,), self.moving_variance_initializer, trainable=False),
        ]

    @property
    def moving_mean(self) -> Variable:
        """The moving mean (n_in,)."""
        return self.weight("moving_mean")

    @property
    def moving_variance(self) -> Variable:
        """The moving variance (n_in,)."""
        return self.weight("moving_variance")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "moving_mean_initializer": registry.describe("initializer", self.moving_mean_initializer),
            "moving_variance_initializer": registry.describe("initializer", self.moving_variance_initializer),
        }


@registry.register("layer", "LayerNormalization")
class LayerNormalization(_ScaledAndCentred):
    """Normalize each row to mean 0 and variance 1, then scale and shift its features (Ba, Kiros and Hinton, 2016).

    ``Y = (X - mean) / sqrt(variance + epsilon) * gamma + beta`` with the mean and the variance (divided by the number
    of features) of each row.

    Parameters
    ----------
    axis : -1, the features.
    epsilon : added to the variance.
    center, scale : whether to learn beta and gamma.
    beta_initializer, gamma_initializer : names or initializers.
    beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint : names or descriptions.
    rms_scaling : whether to compute ``Y = X / sqrt(variance + epsilon) * gamma``, without beta. As in Keras this has
        the variance where Zhang and Sennrich (2019) have the mean square.
    """

    _options = ("epsilon", "rms_scaling")

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        rms_scaling: bool = False,
        **layer_options: Any,
    ) -> None:
        last_axis(axis)
        self.epsilon = number("epsilon", epsilon, at_least=0.0)
        self.rms_scaling = flag("rms_scaling", rms_scaling)
        beta = (beta_initializer, beta_regularizer, beta_constraint)
        self._set_parameters(center, scale, beta, (gamma_initializer, gamma_regularizer, gamma_constraint))
        super().__init__(**layer_options)

    def _trained(self) -> list[str]:
        return ["gamma"] if self.rms_scaling else super()._trained()

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        options = {"epsilon": self.epsilon, "rms_scaling": self.rms_scaling, **self._op_options()}
        if self.rms_scaling:
            options.update(scale=True, center=False)
        return "layer_normalization", options


@registry.register("layer", "Normalization")
class Normalization(Layer):
    """Normalize the inputs to mean 0 and variance 1 with fixed statistics of each feature, or of all together.

    ``Y = (X - mean) / max(sqrt(variance), 1e-7)``. Learn mean and variance with ``adapt(X)``, or pass them.

    Parameters
    ----------
    axis : -1, the features; None or () for one mean and one variance of all elements.
    mean, variance : known statistics, numbers or (n_in,); both or neither.
    invert : whether to compute the inverse, ``Y = mean + X * max(sqrt(variance), 1e-7)``.
    missing : None: all values must be finite. "mean": NaN is a missing value and is replaced by the feature's mean,
        which is 0 in Y. "indicator": in addition, Y has n_in more columns, which are 1 where a value is missing and
        else 0 (Little and Rubin, 2002). Only the first layer of a model can get NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.layers.Normalization(missing="indicator")
    >>> layer.adapt([[1.0, 5.0], [3.0, np.nan]])
    >>> model = fastnn.Sequential([fastnn.Input((2,)), layer])
    >>> model.predict(np.array([[3.0, np.nan]]))
    array([[1., 0., 0., 1.]], dtype=float32)
    """

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        missing: str | None = None,
        **layer_options: Any,
    ) -> None:
        self.axis = None if axis is None or np.size(axis) == 0 else last_axis(axis)
        if (mean is None) != (variance is None):
            raise ValueError("give both mean and variance, or neither and call adapt(X)")
        self.known = None if mean is None else (_statistics("mean", mean), _statistics("variance", variance))
        if self.known is not None and (self.known[1] < 0.0).any():
            raise ValueError(f"variance must not be negative, got {variance!r}")
        if self.axis is None and self.known is not None and max(value.size for value in self.known) > 1:
            raise ValueError(f"axis=None takes one mean and one variance, got {mean!r} and {variance!r}")
        self.invert = flag("invert", invert)
        self.missing = choice("missing", missing, (None, "mean", "indicator"))
        self._learned: tuple[Array, Array, int] | None = None
        super().__init__(**layer_options)

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Learn mean and variance (divided by n) of each feature of ``data`` (n, n_in), in float64.

        With ``missing``, NaN is left out; a feature without values gets mean 0 and variance 1. Warns of features that
        lose digits in the network's type, such as seconds since 1970 in float32.

        Parameters
        ----------
        data : array-like (n, n_in); (n,) is one feature. With ``axis=None`` any shape, or one number. Or a
            ``fastnn.data`` source, which is read block by block.
        batch_size : rows that Keras reads at a time; the statistics do not depend on it.
        steps : must be None: all data is read.
        """
        absent(steps=steps)
        optional(whole, "batch_size", batch_size, at_least=1)
        if self.known is not None:
            raise ValueError(f"layer {self.name!r} was given its mean and variance: there is nothing to adapt")
        n_in = self._specs[0].shape[0] if self._specs and self.axis is not None else None
        if is_source(data):
            self._learn(*self._statistics_of_source(data, n_in))
            return
        column = self.axis is None or np.ndim(data) == 1
        X = as_features(
            as_numbers(data, "data").reshape(-1, 1) if column else data,
            n_in,
            np.dtype(np.float64),
            "data",
            allow_missing=self.missing is not None,
            missing_hint=_MISSING_HINT,
        ).astype(np.float64)
        present = ~np.isnan(X)
        count = np.maximum(present.sum(axis=0), 1)
        mean = np.where(present, X, 0.0).sum(axis=0) / count
        variance = (np.where(present, X - mean, 0.0) ** 2).sum(axis=0) / count
        variance[~present.any(axis=0)] = 1.0
        self._learn(mean, variance, len(X))

    def _statistics_of_source(self, source: Any, n_in: int | None) -> tuple[Array, Array, int]:
        """Return mean and variance of each column of a ``fastnn.data`` source, and its number of rows."""
        from fastnn.data.moments import moments

        if self.axis is None:
            raise ValueError("axis=None normalizes all elements together: adapt to an array, not to a source")
        found = moments(source, "data", self.missing is not None, _MISSING_HINT)
        if n_in is not None and len(found.mean) != n_in:
            raise ValueError(f"data has {len(found.mean)} features (columns), but the model takes {n_in}")
        return found.mean, np.where(found.n == 0, 1.0, found.variance), len(source)

    def _learn(self, mean: Array, variance: Array, n: int) -> None:
        """Keep mean and variance of ``n`` rows, also in a built model."""
        self._learned = (mean, variance, n)
        if self._access is not None and self._specs:
            shape = self._specs[0].shape
            self.set_weights([np.broadcast_to(mean, shape), np.broadcast_to(variance, shape), np.array(n)])
            self._warn_of_lost_digits()

    def lend(self, specs: list[ParameterSpec], access: WeightAccess | None) -> None:
        """Give the layer access to its weights in a built model, or take it away."""
        super().lend(specs, access)
        if self._learned is not None and access is not None:
            self._warn_of_lost_digits()

    def _warn_of_lost_digits(self) -> None:
        """Warn of features that the network's type rounds by more than a hundredth of their deviation."""
        assert self._learned is not None
        mean, deviation = self._learned[0], np.sqrt(self._learned[1])
        dtype = self.read_weight("mean").dtype
        spacing = np.spacing(np.abs(mean).astype(dtype)).astype(np.float64)
        lossy = np.flatnonzero((deviation > 0.0) & (spacing > 0.01 * deviation))
        if len(lossy):
            at = lossy[0]
            more = f" (and {len(lossy) - 1} more)" if len(lossy) > 1 else ""
            warn(
                f"layer {self.name!r}: feature {at}{more} has mean {mean[at]:g} and standard deviation "
                f"{deviation[at]:g}, but {dtype} has steps of {spacing[at]:g} there. Subtract an offset in float64 "
                "before, or give the model dtype='float64'"
            )

    def keeps_elements(self) -> bool:
        """Return whether all elements have the same statistics."""
        return self.axis is None and self.missing != "indicator"

    def n_outputs(self, n_in: int) -> int:
        """Return ``n_in``, or ``2 n_in`` with indicators."""
        for name, value in zip(("mean", "variance"), self.known or (), strict=False):
            if value.size not in (1, n_in):
                raise ValueError(f"{name} of layer {self.name!r} has {value.size} values for {n_in} features")
        return 2 * n_in if self.missing == "indicator" else n_in

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        options: dict[str, Any] = {"invert": self.invert, "missing": self.missing}
        if self.known is not None:
            for name, value in zip(("mean", "variance"), self.known, strict=True):
                # A tuple of one number for all features holds that number once.
                options[name] = tuple(value.tolist()) * (n_in if value.size == 1 else 1)
        return "normalization", options

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return mean (n_in,), variance (n_in,) and number of adapted rows (); none if these are known."""
        if self.known is not None:
            return []
        values: tuple[Any, Any, Any] = ("zeros", "ones", "zeros")
        if self._learned is not None:
            if self.axis is not None and self._learned[0].shape != (n_in,):
                raise ValueError(
                    f"layer {self.name!r} was adapted to {self._learned[0].size} features, but its input has {n_in}"
                )
            mean, variance, count = self._learned
            values = (np.broadcast_to(mean, n_in), np.broadcast_to(variance, n_in), np.array(count, np.float64))
        shapes: tuple[tuple[int, ...], ...] = ((n_in,), (n_in,), ())
        return [
            ParameterSpec(name, shape, initializers.get(value), trainable=False)
            for name, shape, value in zip(("mean", "variance", "count"), shapes, values, strict=True)
        ]

    @property
    def mean(self) -> Array:
        """Copy of the means (n_in,)."""
        return self._statistic(0, "mean")

    @property
    def variance(self) -> Array:
        """Copy of the variances (n_in,)."""
        return self._statistic(1, "variance")

    def _statistic(self, place: int, name: str) -> Array:
        if self.known is not None:
            return self.known[place].copy()
        if self._access is None and self._learned is not None:
            return np.array(self._learned[place])
        return self.read_weight(name)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        mean, variance = (None, None) if self.known is None else (self.known[0].tolist(), self.known[1].tolist())
        return {
            **super().get_config(),
            **({"axis": None} if self.axis is None else {}),
            "mean": mean,
            "variance": variance,
            "invert": self.invert,
            "missing": self.missing,
        }


@registry.register("layer", "Rescaling")
class Rescaling(Normalization):
    """Scale and shift the inputs: ``Y = X * scale + offset``, such as bytes of images with ``scale=1/255``.

    Parameters
    ----------
    scale : factor, a number or (n_in,), at least 1e-7.
    offset : summand, a number or (n_in,).
    """

    def __init__(self, scale: Any, offset: Any = 0.0, **layer_options: Any) -> None:
        self.factor, self.offset = _statistics("scale", scale), _statistics("offset", offset)
        if (self.factor < _SMALLEST_DEVIATION).any():
            raise ValueError(f"scale must be at least {_SMALLEST_DEVIATION}, got {scale!r}")
        super().__init__(mean=self.offset, variance=self.factor**2, invert=True, **layer_options)

    def keeps_elements(self) -> bool:
        """Return whether scale and offset are one number each."""
        return self.factor.size == self.offset.size == 1

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        numbers = (value.tolist() if value.size > 1 else value.item() for value in (self.factor, self.offset))
        return {**Layer.get_config(self), **dict(zip(("scale", "offset"), numbers, strict=True))}


def _statistics(name: str, value: Any) -> Array:
    """Return given statistics as a vector."""
    values = as_numbers(value, name).astype(np.float64).ravel()
    return values if np.isfinite(values).all() else np.array([number(f"each value of {name}", each) for each in values])
