"""Layers that act only in training: dropout and noise, from the model's counter-based generator."""

from typing import Any, Self

import fastnn._registry as registry
from fastnn._arguments import number, optional, whole
from fastnn._warnings import warn
from fastnn.layers.layer import Layer


class RandomLayer(Layer):
    """Base of layers that draw random numbers in training. They come from the model's seed.

    Parameters
    ----------
    seed : kept for Keras; has no effect, with a warning unless it comes from a description.
    """

    def __init__(self, *, seed: int | None = None, **layer_options: Any) -> None:
        self.seed = optional(whole, "seed", seed, at_least=0)
        super().__init__(**layer_options)
        if seed is not None:
            warn(
                f"seed={seed} of {type(self).__name__} has no effect: its random numbers come from the model's seed, "
                f"Sequential([...], seed={seed})"
            )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a layer from ``get_config()``."""
        layer = cls(**{name: value for name, value in config.items() if name != "seed"})
        layer.seed = optional(whole, "seed", config.get("seed"), at_least=0)
        return layer

    def keeps_elements(self) -> bool:
        """Return True."""
        return True


@registry.register("layer", "Dropout")
class Dropout(RandomLayer):
    """Set a random fraction of the inputs to 0 in training and scale the others by ``1 / (1 - rate)``.

    Prediction and evaluation leave the inputs unchanged (Srivastava et al., 2014).

    Parameters
    ----------
    rate : fraction to drop, 0 <= rate < 1.
    noise_shape : must be None; elements are dropped independently.
    seed : kept for Keras; has no effect, with a warning: the masks come from the model's seed.
    """

    _options = ("rate", "seed")

    def __init__(self, rate: float, noise_shape: None = None, seed: int | None = None, **layer_options: Any) -> None:
        if noise_shape is not None:
            raise ValueError(f"noise_shape must be None, elements are dropped independently; got {noise_shape!r}")
        self.rate = number("rate", rate, at_least=0.0, below=1.0)
        super().__init__(seed=seed, **layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's dropout op."""
        return ("dropout", {"rate": self.rate, "alpha": False}) if self.rate > 0.0 else None


@registry.register("layer", "AlphaDropout")
class AlphaDropout(Dropout):
    """Dropout that preserves the mean and the variance of SELU's outputs.

    Dropped inputs become SELU's lower limit -1.758; then all are scaled and shifted. Acts only in training (Klambauer
    et al., 2017).

    Parameters
    ----------
    rate, noise_shape, seed : as in ``Dropout``.
    """

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's dropout op."""
        return ("dropout", {"rate": self.rate, "alpha": True}) if self.rate > 0.0 else None


@registry.register("layer", "GaussianNoise")
class GaussianNoise(RandomLayer):
    """Add normal noise of mean 0 in training; prediction and evaluation leave the inputs unchanged.

    Parameters
    ----------
    stddev : standard deviation of the noise, at least 0.
    seed : kept for Keras; has no effect, with a warning: the noise comes from the model's seed.
    """

    _options = ("stddev", "seed")

    def __init__(self, stddev: float, seed: int | None = None, **layer_options: Any) -> None:
        self.stddev = number("stddev", stddev, at_least=0.0)
        super().__init__(seed=seed, **layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op."""
        return ("gaussian_noise", {"rate": self.stddev}) if self.stddev > 0.0 else None
