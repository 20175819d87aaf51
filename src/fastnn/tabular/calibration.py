"""Calibration of probabilities by a temperature (Guo et al., 2017), learned by bisection."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.metrics import expected_calibration_error

Array = NDArray[Any]

_LEAST = 1e-7
"""Probabilities below it count as this number: float32 cannot tell 1 - p from 1 much below it."""
_MOST_LOG = 16.0
_HALVINGS = 30
_LEAST_OF_MEAN = 0.5
"""The least temperature of the mean of networks, as a share of that of one of them."""


class Calibration(NamedTuple):
    """Probabilities become ``softmax(logits / temperature)``."""

    temperature: float = 1.0

    def apply(self, probabilities: Array) -> Array:
        """Return calibrated probabilities (n, n_classes)."""
        if self == Calibration():
            return probabilities
        return _softmax(logits_of(probabilities) / self.temperature)

    def of_mean(self, probabilities: Array, saw: Array, weight: Array | None = None) -> "Calibration":
        """Return the calibration of the mean of networks, from that of single ones; none if it is none.

        The mean is right more often than one network, but less sure. Its log loss is less than theirs by about their
        mutual information: the entropy of their mean less the mean of their entropies. The log loss of calibrated
        probabilities is their entropy. So the temperature of the mean is lowered until its entropy is as much less.

        Networks differ less on rows of their training than on new ones, so that the temperature stays high enough.

        Parameters
        ----------
        probabilities : (n_networks, n, n_classes), as the networks give them.
        saw : (n_networks, n), whether the network was trained on the row; at least one was.
        weight : weights of the rows (n,), or None.
        """
        if self == Calibration():
            return self
        share = saw / saw.sum(axis=0)
        each = _softmax(logits_of(probabilities) / self.temperature)
        mean = (share[:, :, None] * each).sum(axis=0)
        entropy_of_one = np.average((share * _entropies(each)).sum(axis=0), weights=weight)
        entropy_of_mean = np.average(_entropies(mean), weights=weight)
        wanted, logits = 2.0 * entropy_of_one - entropy_of_mean, logits_of(mean)
        low, high = float(np.log(_LEAST_OF_MEAN)), 0.0
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if np.average(_entropies(_softmax(logits / np.exp(middle))), weights=weight) > wanted:
                high = middle
            else:
                low = middle
        return Calibration(self.temperature * float(np.exp(high)))


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

    Equal probabilities are mixed into the targets with the weight of half a row, so that the temperature of classes
    that rows separate without an error is above 0 (Platt, 1999; Krichevsky and Trofimov, 1981).
    """
    n = len(codes) if weight is None else float(weight.sum())
    if not n:
        return Calibration()
    mixed = 0.5 / (n + 0.5)
    targets = np.full(probabilities.shape, mixed / probabilities.shape[1])
    targets[np.arange(len(codes)), codes] += 1.0 - mixed
    return Calibration(temperature_of(targets, logits_of(probabilities), weight))


def lowers_loss(codes: Array, probabilities: Array, others: Array, weight: Array | None = None) -> bool:
    """Return whether other probabilities, at their best temperature, have a log loss that is clearly lower.

    It must be lower by more than the standard error of the mean difference of a row.

    Parameters
    ----------
    codes : (n,) the classes 0, 1, ...
    probabilities, others : (n, n_classes).
    weight : weights of the rows (n,), or None.
    """
    weight = np.ones(len(codes)) if weight is None else weight
    if not weight.any():
        return False
    rows = np.arange(len(codes))
    before, after = (
        -logits_of(least_loss(codes, each, weight).apply(each))[rows, codes] for each in (probabilities, others)
    )
    share, gains = weight / weight.sum(), before - after
    gain = (share * gains).sum()
    return bool(gain > np.sqrt((share**2 * (gains - gain) ** 2).sum()))


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
    shares: Array = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return shares


def _entropies(probabilities: Array) -> Array:
    """Return the entropies (..., n) of probabilities (..., n, n_classes)."""
    entropies: Array = -(probabilities * logits_of(probabilities)).sum(axis=-1)
    return entropies
