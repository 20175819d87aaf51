"""Calibration by a temperature: its derivative, known temperatures, and the classifier of tables."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn
from fastnn.metrics import expected_calibration_error
from fastnn.tabular.calibration import Calibration, calibration_of, least_loss, logits_of, slope, temperature_of

RNG = np.random.default_rng(0)


def softmax(logits):
    """Return probabilities of logits (n, n_classes)."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def drawn(probabilities):
    """Return a class for each row, drawn by its probabilities."""
    return (probabilities.cumsum(axis=1) < RNG.random((len(probabilities), 1))).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_known_temperature_is_found(temperature, n_classes):
    logits = 3.0 * RNG.normal(size=(500, n_classes))
    assert temperature_of(softmax(logits / temperature), logits) == pytest.approx(temperature, rel=1e-7)


def test_a_known_temperature_is_found_from_labels():
    true = 2.0 * RNG.normal(size=(20_000, 3))
    found = calibration_of(drawn(softmax(true)), softmax(3.0 * true))
    assert found.temperature == pytest.approx(3.0, rel=0.05)


def test_slope_is_the_derivative_of_the_log_loss():
    logits, targets = RNG.normal(size=(50, 4)), softmax(RNG.normal(size=(50, 4)))

    def loss(factor):
        return -(targets * np.log(softmax(factor * logits))).sum(axis=1).mean()

    for factor in (0.1, 1.0, 3.0):
        assert slope(targets, logits, factor) == pytest.approx(
            (loss(factor + 1e-6) - loss(factor - 1e-6)) / 2e-6, abs=1e-8
        )
    sure = np.eye(4)[logits.argmax(axis=1)]
    assert slope(sure, logits, 1.0) < 0.0 < slope(1.0 - sure, logits, 1.0)


def test_classes_without_an_error_keep_a_finite_temperature_and_their_order():
    codes = np.repeat([0, 1], 50)
    p = np.where(codes == 1, 0.9, 0.1) + RNG.uniform(-0.05, 0.05, 100)
    found = calibration_of(codes, np.column_stack([1.0 - p, p]))
    assert 0.1 < found.temperature < 1.0
    calibrated = found.apply(np.column_stack([1.0 - p, p]))[:, 1]
    np.testing.assert_array_equal(np.argsort(calibrated), np.argsort(p))
    assert len(np.unique(calibrated)) == 100


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_calibration_error_never_rises(n_classes):
    for seed in range(40):
        random = np.random.default_rng(seed)
        p = softmax(random.uniform(0.2, 4.0) * random.normal(size=(80, n_classes)))
        codes = random.integers(n_classes, size=80) if seed % 3 == 0 else drawn(p)
        after = calibration_of(codes, p).apply(p)
        labels = np.arange(n_classes)
        assert expected_calibration_error(codes, after, labels=labels) <= expected_calibration_error(
            codes, p, labels=labels
        )
        np.testing.assert_allclose(after.sum(axis=1), 1.0, rtol=1e-14)


def test_no_rows_and_certain_probabilities():
    assert calibration_of(np.zeros(0, int), np.zeros((0, 2))) == Calibration()
    assert logits_of(np.array([[0.0, 1.0]])).tolist() == [[np.log(1e-7), 0.0]]


def test_the_mean_of_networks_has_a_lower_temperature():
    """Eight networks whose logits have independent errors; one of them tells the temperature."""
    logits = RNG.normal(size=(20_000, 3)) * 1.5
    codes = drawn(softmax(logits))
    networks = np.stack([softmax(logits + 0.7 * RNG.normal(size=logits.shape)) for _ in range(8)])
    one, mean = least_loss(codes, networks[0]), networks.mean(axis=0)
    all_saw = np.ones((8, 20_000), bool)
    found, best = one.of_mean(networks, all_saw), least_loss(codes, mean)
    assert best.temperature < found.temperature < 0.9 * one.temperature

    def loss(calibration):
        return -np.log(calibration.apply(mean)[np.arange(len(codes)), codes]).mean()

    assert loss(one) > loss(best) + 0.002
    assert loss(one) - loss(found) > 0.8 * (loss(one) - loss(best))
    # Rows that a network did not see, and rows of weight 0, do not count.
    other = networks.copy()
    other[0, :10_000] = 1.0 / 3.0
    other[:, 15_000:] = other[::-1, 15_000:, ::-1] ** 2
    other[:, 15_000:] /= other[:, 15_000:].sum(axis=-1, keepdims=True)
    saw, weight = all_saw.copy(), np.ones(20_000)
    saw[0, :10_000], weight[15_000:] = False, 0.0
    assert one.of_mean(other, saw, weight).temperature == pytest.approx(found.temperature, rel=0.03)


def test_the_temperature_of_equal_networks_is_that_of_one():
    p = softmax(2.0 * RNG.normal(size=(200, 2)))
    same, saw = np.stack([p] * 4), np.ones((4, 200), bool)
    assert Calibration(0.5).of_mean(same, saw) == Calibration(pytest.approx(0.5, rel=1e-8))
    assert Calibration().of_mean(same, saw) == Calibration()
    apart = np.stack([p, p[:, ::-1]])
    assert Calibration(0.5).of_mean(apart, saw[:2]).temperature == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("metric", [None, "accuracy"])
def test_classifier(n_classes, metric, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 20)
    X = RNG.normal(size=(150, 3))
    y = np.digitize(X[:, 0] + 0.5 * RNG.normal(size=150), [0.0, 0.7][: n_classes - 1])
    options = {"n_bags": 3, "random_state": 0, "metric": metric}
    raw = fastnn.TabularClassifier("plain", calibrate=False, **options).fit(X, y)
    model = fastnn.TabularClassifier("plain", **options).fit(X, y)
    assert raw.temperature_ == 1.0
    labels = np.arange(n_classes)
    assert expected_calibration_error(y, model.oof_predictions_, labels=labels) <= expected_calibration_error(
        y, raw.oof_predictions_, labels=labels
    )
    np.testing.assert_array_equal(model.predict(X), raw.predict(X))
    learned = calibration_of(y, raw.oof_predictions_)
    assert 0.5 * learned.temperature <= model.temperature_ <= learned.temperature
    assert learned == Calibration() or model.temperature_ < 0.999 * learned.temperature
    np.testing.assert_allclose(
        model.predict_proba(X), model._calibration.apply(raw.predict_proba(X)), rtol=1e-12, atol=1e-12
    )
    for each in (raw, model):
        logits, p = each.decision_function(X), each.predict_proba(X)
        if n_classes == 2:
            assert logits.shape == (150,)
            np.testing.assert_allclose(1.0 / (1.0 + np.exp(-logits)), p[:, 1], rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_allclose(softmax(logits), p, rtol=1e-5, atol=1e-6)


def test_calibrate_is_checked():
    with pytest.raises(ValueError, match="calibrate"):
        fastnn.TabularClassifier(calibrate="temperature").fit(np.zeros((10, 1)), np.arange(10) % 2)
