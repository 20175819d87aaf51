"""Layers that act in training only: dropout and noise, from the model's counter-based generator."""

from typing import Any

import fastnn._registry as registry
from fastnn._arguments import number
from fastnn.layers.layer import Layer


@registry.register("layer", "Dropout")
class Dropout(Layer):
    """Sets a random fraction of its inputs to 0 in training and scales the rest by ``1 / (1 - rate)``.

    Does nothing in prediction and evaluation (Srivastava et al., 2014).

    Parameters
    ----------
    rate : fraction to drop, 0 <= rate < 1.
    noise_shape : must be None; each element is dropped on its own.
    seed : accepted as in Keras; the masks come from the model's seed.
    """

    _options = ("rate", "seed")

    def __init__(self, rate: float, noise_shape: None = None, seed: int | None = None, **layer_options: Any) -> None:
        if noise_shape is not None:
            raise ValueError(f"noise_shape must be None, each element is dropped on its own; got {noise_shape!r}")
        self.rate = number("rate", rate, at_least=0.0, below=1.0)
        self.seed = seed
        super().__init__(**layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's dropout op."""
        return ("dropout", {"rate": self.rate, "alpha": False}) if self.rate > 0.0 else None


@registry.register("layer", "AlphaDropout")
class AlphaDropout(Dropout):
    """Dropout that keeps the mean and the variance of SELU's outputs.

    Dropped inputs become SELU's lower limit -1.758; then all are scaled and moved. Acts in training only (Klambauer et
    al., 2017).

    Parameters
    ----------
    rate, noise_shape, seed : as in ``Dropout``.
    """

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's dropout op."""
        return ("dropout", {"rate": self.rate, "alpha": True}) if self.rate > 0.0 else None


@registry.register("layer", "GaussianNoise")
class GaussianNoise(Layer):
    """Adds normal noise of mean 0 in training; does nothing in prediction and evaluation.

    Parameters
    ----------
    stddev : standard deviation of the noise, at least 0.
    seed : accepted as in Keras; the noise comes from the model's seed.
    """

    _options = ("stddev", "seed")

    def __init__(self, stddev: float, seed: int | None = None, **layer_options: Any) -> None:
        self.stddev = number("stddev", stddev, at_least=0.0)
        self.seed = seed
        super().__init__(**layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op."""
        return ("gaussian_noise", {"rate": self.stddev}) if self.stddev > 0.0 else None
