"""Layers that act only in training: dropout and noise, from the model's counter-based generator."""

from typing import Any

import fastnn._registry as registry
from fastnn._arguments import number, optional, whole
from fastnn.layers.layer import Layer


class RandomLayer(Layer):
    """Base of layers that draw random numbers in training: those of an epoch, a step and a place in the batch.

    Parameters
    ----------
    seed : whole number that fixes them, whatever the seed of the model and the place of the layer in it; layers of one
        seed draw the same. None: they come from the model's seed.
    """

    def __init__(self, *, seed: int | None = None, **layer_options: Any) -> None:
        self.seed = optional(whole, "seed", seed, at_least=0)
        super().__init__(**layer_options)

    def random_op(self, kind: str, rate: float, **options: Any) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op, or None where it would change nothing."""
        seeded = {} if self.seed is None else {"seed": self.seed}
        return (kind, {"rate": rate, **options, **seeded}) if rate > 0.0 else None

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
    seed : whole number that fixes the masks of each epoch and step; None: they come from the model's seed. Layers of
        one seed have the same masks.
    """

    _options = ("rate", "seed")

    def __init__(self, rate: float, noise_shape: None = None, seed: int | None = None, **layer_options: Any) -> None:
        if noise_shape is not None:
            raise ValueError(f"noise_shape must be None, elements are dropped independently; got {noise_shape!r}")
        self.rate = number("rate", rate, at_least=0.0, below=1.0)
        super().__init__(seed=seed, **layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's dropout op."""
        return self.random_op("dropout", self.rate, alpha=False)


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
        return self.random_op("dropout", self.rate, alpha=True)


@registry.register("layer", "GaussianNoise")
class GaussianNoise(RandomLayer):
    """Add normal noise of mean 0 in training; prediction and evaluation leave the inputs unchanged.

    Parameters
    ----------
    stddev : standard deviation of the noise, at least 0.
    seed : whole number that fixes the noise of each epoch and step; None: it comes from the model's seed. Layers of one
        seed draw the same noise.
    """

    _options = ("stddev", "seed")

    def __init__(self, stddev: float, seed: int | None = None, **layer_options: Any) -> None:
        self.stddev = number("stddev", stddev, at_least=0.0)
        super().__init__(seed=seed, **layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op."""
        return self.random_op("gaussian_noise", self.stddev)
