"""Learning rate schedules with Keras's names, arguments and values, computed for many steps at once.

A schedule is a function of the number of earlier updates; ``schedule(step)`` takes a number or an array of numbers.
"""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import as_given, flag, number, text
from fastnn._missing import public_names

Steps = NDArray[np.float64]


class LearningRateSchedule(registry.Description):
    """Base of all schedules; a custom class defines ``__call__(step)`` and, to be saved, ``get_config()``."""

    name: str

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step)")

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, or of each step of an array."""
        rates = self.rates(np.atleast_1d(np.asarray(step, dtype=np.float64)))
        return float(rates[0]) if np.ndim(step) == 0 else rates.reshape(np.shape(step))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        if not hasattr(self, "name"):
            raise ValueError(
                f"{type(self).__name__} cannot be saved: define its get_config(), which returns the constructor's "
                "arguments"
            )
        return {**super().get_config(), "name": self.name}

    def __repr__(self) -> str:
        # A custom class may have no get_config().
        return super().__repr__() if hasattr(self, "name") else f"{type(self).__name__}()"


class _Decay(LearningRateSchedule):
    """Base of exponential and inverse time decay."""

    _options = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate = as_given(number, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = number("decay_steps", decay_steps, above=0.0)
        self.decay_rate = as_given(number, "decay_rate", decay_rate)
        self.staircase = flag("staircase", staircase)
        self.name = type(self).__name__ if name is None else text("name", name)

    def _progress(self, steps: Steps) -> Steps:
        progress = steps / self.decay_steps
        return np.floor(progress) if self.staircase else progress


@registry.register("schedule", "ExponentialDecay")
class ExponentialDecay(_Decay):
    """``initial_learning_rate * decay_rate^(step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate, decay_rate : as in the formula.
    decay_steps : number of steps in which the rate is multiplied by ``decay_rate``.
    staircase : whether the exponent is rounded down.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)(20)
    0.025
    """

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        return np.asarray(self.initial_learning_rate * np.power(self.decay_rate, self._progress(steps)))


@registry.register("schedule", "InverseTimeDecay")
class InverseTimeDecay(_Decay):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``; parameters as in ``ExponentialDecay``."""

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        return np.asarray(self.initial_learning_rate / (1.0 + self.decay_rate * self._progress(steps)))


@registry.register("schedule", "PiecewiseConstantDecay")
class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[i]`` up to and including step ``boundaries[i]``, the last value after all boundaries.

    Parameters
    ----------
    boundaries : increasing numbers of steps.
    values : learning rates, one more than boundaries.
    """

    _options = ("boundaries", "values")

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        if len(boundaries) != len(values) - 1 or len(boundaries) == 0:
            raise ValueError(
                f"values must be one more than boundaries, got {len(values)} values and {len(boundaries)} boundaries"
            )
        if any(later <= earlier for earlier, later in itertools.pairwise(boundaries)):
            raise ValueError(f"boundaries must increase, got {list(boundaries)!r}")
        self.boundaries = [as_given(number, "each of boundaries", each) for each in boundaries]
        self.values = [as_given(number, "each of values", each) for each in values]
        self.name = text("name", name)

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        return np.asarray(self.values, np.float64)[np.searchsorted(self.boundaries, steps, side="left")]


@registry.register("schedule", "PolynomialDecay")
class PolynomialDecay(LearningRateSchedule):
    """``(initial - end) * (1 - step / decay_steps)^power + end``, ``end`` after ``decay_steps``.

    Parameters
    ----------
    initial_learning_rate, decay_steps, end_learning_rate, power : as in the formula.
    cycle : whether ``decay_steps`` grows to its next multiple; otherwise the rate stays at its end.
    """

    _options = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = as_given(number, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = number("decay_steps", decay_steps, above=0.0)
        self.end_learning_rate = as_given(number, "end_learning_rate", end_learning_rate)
        self.power = as_given(number, "power", power)
        self.cycle = flag("cycle", cycle)
        self.name = text("name", name)

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        length: Any = self.decay_steps
        if self.cycle:
            length = length * np.maximum(np.ceil(steps / self.decay_steps), 1.0)
        share = 1.0 - np.minimum(steps, length) / length
        span = self.initial_learning_rate - self.end_learning_rate
        return np.asarray(span * np.power(share, self.power) + self.end_learning_rate)


@registry.register("schedule", "CosineDecay")
class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate to ``alpha`` times it (Loshchilov and Hutter, 2017), after a linear warm-up.

    Parameters
    ----------
    initial_learning_rate : first rate.
    decay_steps : steps of the decay.
    alpha : last rate as a fraction of the first rate of the decay.
    warmup_target : rate at the end of the warm-up, where the decay starts; None for no warm-up.
    warmup_steps : steps of the warm-up.
    """

    _options = ("initial_learning_rate", "decay_steps", "alpha", "warmup_target", "warmup_steps")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = as_given(number, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = number("decay_steps", decay_steps, above=0.0)
        self.alpha = as_given(number, "alpha", alpha)
        self.name = text("name", name)
        self.warmup_target = None if warmup_target is None else as_given(number, "warmup_target", warmup_target)
        self.warmup_steps = as_given(number, "warmup_steps", warmup_steps, at_least=0.0)

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        start: Any = self.initial_learning_rate
        begun = steps
        if self.warmup_target is not None:
            start, begun = self.warmup_target, np.maximum(steps - self.warmup_steps, 0.0)
        cosine = 0.5 * (1.0 + np.cos(math.pi * np.minimum(begun, self.decay_steps) / self.decay_steps))
        rates = start * ((1.0 - self.alpha) * cosine + self.alpha)
        if self.warmup_target is not None and self.warmup_steps > 0:
            rise = (start - self.initial_learning_rate) * (steps / self.warmup_steps) + self.initial_learning_rate
            rates = np.where(steps < self.warmup_steps, rise, rates)
        return np.asarray(rates)


@registry.register("schedule", "CosineDecayRestarts")
class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decays one after another, each ``t_mul`` times as long (Loshchilov and Hutter, 2017).

    Parameters
    ----------
    initial_learning_rate : first rate of the first decay.
    first_decay_steps : steps of the first decay.
    t_mul : factor of the length from one decay to the next.
    m_mul : factor of the first rate from one decay to the next.
    alpha : last rate as a fraction of the initial one.
    """

    _options = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = as_given(number, "initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = number("first_decay_steps", first_decay_steps, above=0.0)
        self.t_mul = number("t_mul", t_mul, above=0.0)
        self.m_mul = as_given(number, "m_mul", m_mul)
        self.alpha = as_given(number, "alpha", alpha)
        self.name = text("name", name)

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        progress = steps / self.first_decay_steps
        if self.t_mul == 1.0:
            restarts = np.floor(progress)
            progress = progress - restarts
        else:
            restarts = np.floor(np.log(1.0 - progress * (1.0 - self.t_mul)) / math.log(self.t_mul))
            length = np.power(self.t_mul, restarts)
            progress = (progress - (1.0 - length) / (1.0 - self.t_mul)) / length
        cosine = 0.5 * np.power(self.m_mul, restarts) * (1.0 + np.cos(math.pi * progress))
        return np.asarray(self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha))


@registry.register("schedule", "OneCycle")
class OneCycle(LearningRateSchedule):
    """A rise to ``max_learning_rate`` and a longer fall far below the start, along cosines (Smith and Topin, 2018).

    Parameters
    ----------
    max_learning_rate : largest rate.
    total_steps : number of steps of the cycle; later steps have the last rate.
    rise : fraction of the steps in which the rate rises.
    start_factor : largest rate divided by the first.
    end_factor : first rate divided by the last.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.optimizers.schedules.OneCycle(1.0, 10, rise=0.5, start_factor=4.0)(np.array([0, 5])).tolist()
    [0.25, 1.0]
    """

    _options = ("max_learning_rate", "total_steps", "rise", "start_factor", "end_factor")

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: float,
        rise: float = 0.3,
        start_factor: float = 25.0,
        end_factor: float = 1e4,
        name: str = "OneCycle",
    ) -> None:
        self.max_learning_rate = number("max_learning_rate", max_learning_rate, above=0.0)
        self.total_steps = number("total_steps", total_steps, above=0.0)
        self.rise = number("rise", rise, above=0.0, below=1.0)
        self.start_factor = number("start_factor", start_factor, above=0.0)
        self.end_factor = number("end_factor", end_factor, above=0.0)
        self.name = text("name", name)

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        first = self.max_learning_rate / self.start_factor
        last = first / self.end_factor
        top = self.rise * self.total_steps
        up = 0.5 * (1.0 - np.cos(math.pi * np.minimum(steps / top, 1.0)))
        down = 0.5 * (1.0 + np.cos(math.pi * np.clip((steps - top) / (self.total_steps - top), 0.0, 1.0)))
        rising = first + (self.max_learning_rate - first) * up
        return np.asarray(np.where(steps < top, rising, last + (self.max_learning_rate - last) * down))


@registry.register("schedule", "CosLog4", "coslog4")
class CosLog4(LearningRateSchedule):
    """Four cosine cycles, each about twice as long as the one before (RealMLP; Holzmüller et al., 2024).

    ``rate (1 - cos(2 pi log2(1 + 15 t))) / 2`` at the fraction t of the steps, at most 1. It starts and ends at 0.

    Parameters
    ----------
    max_learning_rate : largest rate.
    total_steps : number of steps.
    """

    _options = ("max_learning_rate", "total_steps")

    def __init__(self, max_learning_rate: float, total_steps: float, name: str = "CosLog4") -> None:
        self.max_learning_rate = number("max_learning_rate", max_learning_rate, at_least=0.0)
        self.total_steps = number("total_steps", total_steps, above=0.0)
        self.name = text("name", name)

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        share = np.minimum(steps / self.total_steps, 1.0)
        cosine = np.cos(2.0 * math.pi * np.log2(1.0 + 15.0 * share))
        return np.asarray(self.max_learning_rate * 0.5 * (1.0 - cosine))


@registry.register("schedule", "FlatCosine", "flat_cos")
class FlatCosine(LearningRateSchedule):
    """A constant, then half a cosine from it to 0: "flat_cos".

    Parameters
    ----------
    max_learning_rate : the constant.
    total_steps : number of steps; later steps have the rate 0.
    flat : fraction of the steps before the rate falls.
    """

    _options = ("max_learning_rate", "total_steps", "flat")

    def __init__(
        self, max_learning_rate: float, total_steps: float, flat: float = 0.5, name: str = "FlatCosine"
    ) -> None:
        self.max_learning_rate = number("max_learning_rate", max_learning_rate, at_least=0.0)
        self.total_steps = number("total_steps", total_steps, above=0.0)
        self.flat = number("flat", flat, at_least=0.0, below=1.0)
        self.name = text("name", name)

    def rates(self, steps: Steps) -> Steps:
        """Return the learning rates of an array of steps."""
        fall = np.clip((steps / self.total_steps - self.flat) / (1.0 - self.flat), 0.0, 1.0)
        return np.asarray(self.max_learning_rate * 0.5 * (1.0 + np.cos(math.pi * fall)))


coslog4 = CosLog4
flat_cos = FlatCosine


def get(identifier: Any) -> LearningRateSchedule:
    """Return the schedule for a dict ``{"class_name", "config"}``, or a schedule itself."""
    return registry.resolve("schedule", identifier, LearningRateSchedule)


__all__ = [
    "CosLog4",
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "FlatCosine",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "coslog4",
    "flat_cos",
    "get",
]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
