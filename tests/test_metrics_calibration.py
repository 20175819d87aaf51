"""Calibration of probabilities and intervals, and classification with a reject option."""

import math

import numpy as np
import pytest

from fastnn import metrics

Y = [0, 1, 1, 0, 1]
P = [0.1, 0.9, 0.8, 0.7, 0.4]


def test_calibration_curve_hand_values():
    prob_true, prob_pred = metrics.calibration_curve(Y, P, n_bins=2)
    np.testing.assert_allclose(prob_true, [1 / 2, 2 / 3], rtol=1e-15)
    np.testing.assert_allclose(prob_pred, [0.25, 0.8], rtol=1e-15)
    # Empty bins are left out.
    assert len(metrics.calibration_curve(Y, P, n_bins=100)[0]) == 5


def test_expected_calibration_error_hand_values():
    assert metrics.expected_calibration_error(Y, P, n_bins=2) == pytest.approx(
        0.4 * 0.25 + 0.6 * (0.8 - 2 / 3), rel=1e-14
    )
    assert metrics.expected_calibration_error(Y, P, n_bins=2, norm="max") == pytest.approx(0.25, rel=1e-14)
    weight = [1.0, 0.0, 0.0, 3.0, 1.0]
    expected = (2 * 0.25 + 3 * 0.7) / 5
    assert metrics.expected_calibration_error(Y, P, n_bins=2, sample_weight=weight) == pytest.approx(
        expected, rel=1e-14
    )
    # Top class of three: right with 0.6, wrong with 0.5, right with 0.8.
    proba = [[0.6, 0.2, 0.2], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]
    expected = (0.5 + abs(2 - 1.4)) / 3
    assert metrics.expected_calibration_error([0, 1, 2], proba, n_bins=2) == pytest.approx(expected, rel=1e-14)


def test_calibrated_predictions_have_a_small_error():
    generator = np.random.default_rng(0)
    p = generator.random(200_000)
    y = generator.random(200_000) < p
    assert metrics.expected_calibration_error(y, p) < 0.01
    assert metrics.expected_calibration_error(y, np.sqrt(p)) > 0.1


def test_interval_coverage_hand_values():
    y = [1.0, 2.0, 3.0, 9.0]
    lower, upper = [0.0, 2.0, 2.0, 3.0], [2.0, 3.0, 3.0, 5.0]
    assert metrics.interval_coverage(y, lower, upper) == 0.75
    assert metrics.interval_coverage(y, lower, upper, sample_weight=[1.0, 1.0, 1.0, 5.0]) == 3 / 8
    y2 = np.column_stack([y, y])
    bounds = np.column_stack([lower, np.zeros(4)]), np.column_stack([upper, np.full(4, 9.0)])
    np.testing.assert_array_equal(metrics.interval_coverage(y2, *bounds, multioutput="raw_values"), [0.75, 1.0])
    assert metrics.interval_coverage(y2, *bounds) == 0.875


def test_normal_intervals_cover_their_share():
    generator = np.random.default_rng(1)
    y = generator.normal(size=100_000)
    assert metrics.interval_coverage(y, np.full_like(y, -1.645), np.full_like(y, 1.645)) == pytest.approx(
        0.9, abs=0.005
    )


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@pytest.mark.parametrize("seed", range(3))
def test_calibration_curve_against_scikit_learn(seed, strategy):
    calibration = pytest.importorskip("sklearn.calibration", reason="scikit-learn is not installed")
    generator = np.random.default_rng(seed)
    p = np.round(generator.random(500), 3)
    y = (generator.random(500) < p).astype(int)
    for labels, pos_label in ((y, None), (2 * y - 1, None), (np.array(["a", "b"])[y], "a"), (y.astype(bool), None)):
        for n_bins in (1, 5, 20):
            options = {"n_bins": n_bins, "strategy": strategy, "pos_label": pos_label}
            actual = metrics.calibration_curve(labels, p, **options)
            expected = calibration.calibration_curve(labels, p, **options)
            for a, b in zip(actual, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12)


# The reject option.


def test_risk_coverage_hand_values():
    # Confidences 0.9 right, 0.9 right, 0.8 right, 0.7 wrong, 0.6 wrong.
    coverage, risk, thresholds = metrics.risk_coverage_curve(Y, P)
    np.testing.assert_allclose(coverage, [0.4, 0.6, 0.8, 1.0], rtol=1e-15)
    np.testing.assert_allclose(risk, [0.0, 0.0, 0.25, 0.4], rtol=1e-15)
    np.testing.assert_allclose(thresholds, [0.9, 0.8, 0.7, 0.6], rtol=1e-15)
    assert metrics.selective_accuracy(Y, P, 0.75) == (1.0, 0.6)
    assert metrics.selective_accuracy(Y, P, 0.0) == (0.6, 1.0)
    accuracy, coverage = metrics.selective_accuracy(Y, P, 0.95)
    assert math.isnan(accuracy) and coverage == 0.0
    assert metrics.accuracy_at_coverage(Y, P, 0.6) == 1.0
    assert metrics.accuracy_at_coverage(Y, P, 0.61) == 0.75
    assert metrics.accuracy_at_coverage(Y, P, 1.0) == 0.6
    assert metrics.rejection_threshold(Y, P, 1.0) == 0.8
    assert metrics.rejection_threshold(Y, P, 0.75) == 0.7
    assert metrics.rejection_threshold([1, 0], [0.1, 0.9], 0.5) == math.inf


def test_rows_of_unknown_classes_count_as_wrong():
    proba = np.array([[0.9, 0.1], [0.2, 0.8], [0.55, 0.45]])
    coverage, risk, _ = metrics.risk_coverage_curve(["cat", "dog", "fox"], proba, labels=["cat", "dog"])
    np.testing.assert_allclose(coverage, [1 / 3, 2 / 3, 1.0])
    np.testing.assert_allclose(risk, [0.0, 0.0, 1 / 3])


def test_risk_coverage_agrees_with_selective_accuracy():
    generator = np.random.default_rng(2)
    proba = np.round(generator.dirichlet(np.ones(3), 200), 2)
    y = np.array([generator.choice(3, p=row / row.sum()) for row in proba])
    weight = generator.random(200)
    for w in (None, weight):
        curve = zip(*metrics.risk_coverage_curve(y, proba, sample_weight=w), strict=True)
        for coverage, risk, threshold in curve:
            expected = metrics.selective_accuracy(y, proba, threshold, sample_weight=w)
            np.testing.assert_allclose([1 - risk, coverage], expected, rtol=1e-12)
    coverage, risk, _ = metrics.risk_coverage_curve(y, proba)
    assert coverage[-1] == 1.0
    assert risk[-1] == pytest.approx(1 - metrics.accuracy_score(y, proba.argmax(axis=1)), rel=1e-14)


@pytest.mark.parametrize(
    ("message", "name", "args", "options"),
    [
        ("n_bins", "calibration_curve", (Y, P), {"n_bins": 0}),
        ("strategy", "calibration_curve", (Y, P), {"strategy": "width"}),
        ("should be binary", "calibration_curve", ([0, 1, 2], [0.1, 0.2, 0.3]), {}),
        ("greater than 1", "expected_calibration_error", ([0, 1], [0.1, 1.1]), {}),
        ("norm", "expected_calibration_error", (Y, P), {"norm": "l3"}),
        ("y_lower is above y_upper in 1 rows, first in row 1", "interval_coverage", ([1, 2], [0, 3], [2, 2]), {}),
        ("same shape", "interval_coverage", ([1, 2], [[0, 0], [0, 0]], [2, 2]), {}),
        ("multioutput", "interval_coverage", ([1, 2], [0, 1], [2, 2]), {"multioutput": "all"}),
        ("columns for 3 classes", "risk_coverage_curve", ([0, 1], np.full((2, 3), 1 / 3)), {}),
        ("coverage", "accuracy_at_coverage", (Y, P, 0.0), {}),
        ("accuracy", "rejection_threshold", (Y, P, 1.5), {}),
        ("threshold", "selective_accuracy", (Y, P, -0.1), {}),
    ],
)
def test_errors(message, name, args, options):
    with pytest.raises(ValueError, match=message):
        getattr(metrics, name)(*args, **options)
