"""Calibration of probabilities by a temperature (Guo et al., 2017), learned by bisection."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.metrics import expected_calibration_error

Array = NDArray[Any]

_LEAST = 1e-7
"""Probabilities below it count as this number: float32 cannot tell 1 - p from 1 much below it."""
_MOST_LOG = 16.0
_LOWER_FOR_MEANS = 0.114
"""How much lower the temperature of a mean is where all variance cancels: that of eight networks is 0.9 of one's.

The best temperature for test rows was 0.71 to 0.96 times that of single networks on ten tables, on average 0.90 times.
"""
_HALVINGS = 30


class Calibration(NamedTuple):
    """Probabilities become ``(1 - mixed) softmax(logits / temperature) + mixed / n_classes``."""

    temperature: float = 1.0
    mixed: float = 0.0

    def apply(self, probabilities: Array) -> Array:
        """Return calibrated probabilities (n, n_classes)."""
        if self == Calibration():
            return probabilities
        scaled = _softmax(logits_of(probabilities) / self.temperature)
        mixed: Array = (1.0 - self.mixed) * scaled + self.mixed / probabilities.shape[1]
        return mixed

    def of_mean(self, learned: float, averaged: int) -> "Calibration":
        """Return the calibration of means of more networks than it was learned from; none if it is none.

        Errors of networks that are averaged cancel in part: their mean is right more often than one of them is, but
        less sure. So its temperature is lower, by a share that rises with the part of the variance that cancels.

        Parameters
        ----------
        learned, averaged : number of networks in each of the means it was learned from, and in those that it is for.
        """
        if self == Calibration():
            return self
        cancelled = max(1.0 / learned - 1.0 / averaged, 0.0)
        return self._replace(temperature=self.temperature * (1.0 - _LOWER_FOR_MEANS * cancelled))


def calibration_of(codes: Array, probabilities: Array, weight: Array | None = None) -> Calibration:
    """Return the calibration of rows that the networks did not see; none if their calibration error would rise.

    Parameters
    ----------
    codes : (n,) the classes 0, 1, ...
    probabilities : (n, n_classes).
    weight : weights of the rows (n,), or None.
    """
    found = least_loss(codes, probabilities, weight)
    if found == Calibration():
        return found
    after = found.apply(probabilities)
    errors = zip(_errors(codes, after, weight), _errors(codes, probabilities, weight), strict=True)
    return found if all(new <= old for new, old in errors) else Calibration()


def least_loss(codes: Array, probabilities: Array, weight: Array | None = None) -> Calibration:
    """Return the calibration of the least log loss of rows; none where there are no rows, or all have the weight 0.

    With weight ``c = 1 / (n + 1)``, where n is the sum of the rows' weights, equal probabilities are mixed in, and into
    the targets too (Platt, 1999): so the temperature of classes that rows separate without an error is above 0.
    """
    n = len(codes) if weight is None else float(weight.sum())
    if not n:
        return Calibration()
    mixed = 1.0 / (n + 1)
    targets = np.full(probabilities.shape, mixed / probabilities.shape[1])
    targets[np.arange(len(codes)), codes] += 1.0 - mixed
    return Calibration(temperature_of(targets, logits_of(probabilities), weight), mixed)


def _errors(codes: Array, probabilities: Array, weight: Array | None) -> list[float]:
    """Return the calibration error of the predicted class and, of two classes, also that of the second one."""
    n_classes = probabilities.shape[1]
    options: dict[str, Any] = {"sample_weight": weight}
    errors = [expected_calibration_error(codes, probabilities, labels=np.arange(n_classes), **options)]
    if n_classes == 2:
        errors.append(expected_calibration_error(codes, probabilities[:, 1], pos_label=1, **options))
    return errors


def logits_of(probabilities: Array) -> Array:
    """Return the logarithms of probabilities (n, n_classes) in float64; those below 1e-7 count as 1e-7."""
    logits: Array = np.log(np.maximum(np.asarray(probabilities, np.float64), _LEAST))
    return logits


def temperature_of(targets: Array, logits: Array, weight: Array | None = None) -> float:
    """Return the temperature T of the least log loss of ``softmax(logits / T)``, between exp(-16) and exp(16).

    The loss is convex in 1/T: its derivative changes its sign once, which 30 halvings of log(1/T) find.

    Parameters
    ----------
    targets : probabilities (n, n_classes).
    logits : (n, n_classes).
    weight : weights of the rows (n,), or None.
    """
    low, high = -_MOST_LOG, _MOST_LOG
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if slope(targets, logits, float(np.exp(middle)), weight) > 0.0:
            high = middle
        else:
            low = middle
    return float(np.exp(-0.5 * (low + high)))


def slope(targets: Array, logits: Array, factor: float, weight: Array | None = None) -> float:
    """Return the derivative of the mean log loss of ``softmax(factor * logits)`` with respect to ``factor``."""
    of_rows = ((_softmax(factor * logits) - targets) * logits).sum(axis=1)
    return float(np.average(of_rows, weights=weight))


def _softmax(logits: Array) -> Array:
    shares: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares
