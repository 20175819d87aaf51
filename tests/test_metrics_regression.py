"""Metrics of numbers: hand values, errors, and scikit-learn on random cases where it is installed."""

import math
import warnings

import numpy as np
import pytest

from fastnn import metrics

NAMES = (
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_pinball_loss",
    "r2_score",
)


def test_hand_values():
    y, p = [3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]
    assert metrics.mean_squared_error(y, p) == 0.375
    assert metrics.root_mean_squared_error(y, p) == math.sqrt(0.375)
    assert metrics.mean_absolute_error(y, p) == 0.5
    assert metrics.mean_absolute_percentage_error(y, p) == pytest.approx((1 / 6 + 1 + 0 + 1 / 7) / 4, rel=1e-15)
    assert metrics.r2_score(y, p) == pytest.approx(1 - 1.5 / 29.1875, rel=1e-15)
    assert metrics.mean_pinball_loss([1.0, 2.0], [0.0, 4.0], alpha=0.9) == pytest.approx((0.9 + 0.2) / 2, rel=1e-15)
    assert metrics.mean_squared_error([0.0, 0.0], [1.0, 2.0], sample_weight=[3.0, 1.0]) == 7 / 4


def test_two_outputs_hand_values():
    y, p = np.array([[0.0, 1.0], [0.0, 3.0]]), np.array([[1.0, 1.0], [1.0, 5.0]])
    np.testing.assert_array_equal(metrics.mean_squared_error(y, p, multioutput="raw_values"), [1.0, 2.0])
    assert metrics.mean_squared_error(y, p) == 1.5
    assert metrics.mean_squared_error(y, p, multioutput=[3.0, 1.0]) == 1.25
    assert metrics.root_mean_squared_error(y, p) == pytest.approx((1 + math.sqrt(2)) / 2, rel=1e-15)


def test_constant_targets():
    assert metrics.r2_score([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert metrics.r2_score([2.0, 2.0], [2.0, 3.0]) == 0.0
    assert metrics.r2_score([2.0, 2.0], [2.0, 3.0], force_finite=False) == -math.inf
    assert math.isnan(metrics.r2_score([2.0, 2.0], [2.0, 2.0], force_finite=False))
    weights = np.random.default_rng(0).random(50)
    assert metrics.r2_score(np.full(50, 0.1), np.arange(50.0), sample_weight=weights) == 0.0
    with pytest.warns(metrics.UndefinedMetricWarning, match="less than two samples"):
        assert math.isnan(metrics.r2_score([1.0], [1.0]))


def test_single_precision_is_summed_in_double():
    y = np.full(3_000_000, 0.1, np.float32)
    assert metrics.mean_absolute_error(y, np.zeros_like(y)) == pytest.approx(float(np.float32(0.1)), rel=1e-12)
    assert metrics.mean_squared_error(y, np.zeros_like(y)) == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_errors(name):
    function = getattr(metrics, name)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        function([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"y_pred contains NaN or infinity.*row 1"):
        function([1.0, 2.0], [1.0, np.inf])
    with pytest.raises(ValueError, match="different number of output"):
        function([[1.0, 2.0], [1.0, 2.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match="multioutput must be"):
        function([1.0, 2.0], [1.0, 2.0], multioutput="mean")
    with pytest.raises(ValueError, match="multi-output"):
        function([1.0, 2.0], [1.0, 2.0], multioutput=[1.0])
    with pytest.raises(ValueError, match="custom weights"):
        function(np.ones((2, 2)), np.ones((2, 2)), multioutput=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="empty"):
        function([], [])
    with pytest.raises(ValueError, match="must hold numbers"):
        function(["a", "b"], [1.0, 2.0])
    with pytest.raises(ValueError, match="sample_weight"):
        function([1.0, 2.0], [1.0, 2.0], sample_weight=[1.0])


def test_alpha_error():
    with pytest.raises(ValueError, match="alpha"):
        metrics.mean_pinball_loss([1.0], [1.0], alpha=1.5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_against_scikit_learn(name, seed):
    peer = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    generator = np.random.default_rng(seed)
    n = int(generator.integers(2, 200))
    weight = generator.random(n)
    extra = [{"alpha": 0.1}, {"alpha": 1.0}] if name == "mean_pinball_loss" else [{}]
    extra += [{"force_finite": False}] if name == "r2_score" else []
    averages = ["uniform_average", "raw_values"] + (["variance_weighted", None] if name == "r2_score" else [])
    one = generator.normal(size=n) * 10, generator.normal(size=n)
    cases = [one, (one[0].tolist(), one[1]), ((one[0]).astype(int), one[1]), (one[0][:, None], one[1])]
    several = generator.normal(size=(n, 3)), generator.normal(size=(n, 3))
    several[0][:, 1] = 2.0
    cases += [several, (np.asfortranarray(several[0]), several[1]), (several[0].round(), several[1].round())]
    for y, p in cases:
        constant = np.ndim(y) == 2 and not np.ptp(y, axis=0).all()
        for w in (None,) if constant and name == "r2_score" else (None, weight, 1 + generator.integers(0, 3, n)):
            for multioutput in averages + ([[0.2, 0.3, 0.5]] if np.ndim(y) == 2 and np.shape(y)[1] == 3 else []):
                for options in extra:
                    options = {"sample_weight": w, "multioutput": multioutput, **options}
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", RuntimeWarning)
                        expected = getattr(peer, name)(y, p, **options)
                        actual = getattr(metrics, name)(y, p, **options)
                    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)
    narrow = one[0].astype(np.float32), one[1].astype(np.float32)
    assert getattr(metrics, name)(*narrow) == pytest.approx(getattr(peer, name)(*narrow), rel=1e-5)
