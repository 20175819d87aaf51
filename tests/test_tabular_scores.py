"""Scores that choose epochs: their values, weights of rows, and the scores of the rows without a part."""

import numpy as np
import pytest
from sklearn import metrics

import fastnn
import fastnn.losses as losses
from fastnn.tabular.calibration import lowers_loss
from fastnn.tabular.scores import METRICS, Division, RowMean
from fastnn.tabular.training import Data, HeldOut

RNG = np.random.default_rng(0)
QUANTILES = RowMean(losses.MultiQuantile((0.25, 0.75)).of_rows)
SCORES = {**METRICS["classifier"], **METRICS["regressor"], "quantiles": QUANTILES}
EXACT = {"accuracy", "roc_auc"}
"""Their sums are of whole numbers and halves."""


def rows(name, n, width):
    """Return targets and outputs of a score; some outputs are equal."""
    if name in METRICS["classifier"]:
        codes = np.arange(n) % max(width, 2)
        y = codes[:, None] if width == 1 else codes[:, None] == np.arange(width)
        outputs = RNG.integers(1, 9, (n, width)) / 10.0
        return y.astype(np.float32), (outputs if width == 1 else outputs / outputs.sum(1, keepdims=True)).astype(
            np.float32
        )
    y = RNG.normal(size=(n, width)).astype(np.float32)
    outputs = y + RNG.normal(size=(n, width)).astype(np.float32)
    return y, np.hstack([outputs - 0.5, outputs + 0.5]) if name == "quantiles" else outputs


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("name", SCORES)
def test_scores_of_all_parts_are_those_of_the_rows_without_each(name, width):
    y, outputs = rows(name, 61, width)
    part = RNG.permutation(np.arange(61) % 8)
    score = SCORES[name]
    expected = [score(y[part != number], outputs[part != number]) for number in range(8)] + [score(y, outputs)]
    found = Division(part).scores(score, y, outputs)
    assert len(set(expected)) > 5
    if name in EXACT and width == 1:
        assert found.tolist() == expected
    # 61 float32 terms for brier and r2, which subtract in float32.
    np.testing.assert_allclose(found, expected, rtol=61 * 2.0**-24 if name in ("brier", "r2") else 61 * 2.0**-53)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("name", SCORES)
def test_a_weight_of_a_row_is_its_number(name, width):
    y, outputs = rows(name, 40, width)
    part = RNG.permutation(np.arange(40) % 4)
    weight = RNG.integers(0, 4, 40)
    score = SCORES[name]
    again = np.repeat(np.arange(40), weight)
    tolerance = 120 * (2.0**-24 if name in ("brier", "r2", "quantiles") else 2.0**-53)
    assert score(y, outputs, weight.astype(float)) == pytest.approx(score(y[again], outputs[again]), rel=tolerance)
    found = Division(part, weight.astype(float)).scores(score, y, outputs)
    np.testing.assert_allclose(found, Division(part[again]).scores(score, y[again], outputs[again]), rtol=tolerance)


def test_scores_equal_scikit_learns():
    y, p = rows("log_loss", 200, 1)
    truth, second = y[:, 0], p[:, 0].astype(float)
    weight = RNG.random(200)
    both = np.column_stack([1.0 - second, second])
    expected = {
        "log_loss": metrics.log_loss(truth, both, sample_weight=weight),
        "accuracy": -metrics.accuracy_score(truth, second > 0.5, sample_weight=weight),
        "brier": 2.0 * metrics.brier_score_loss(truth, second, sample_weight=weight),
        "roc_auc": -metrics.roc_auc_score(truth, second, sample_weight=weight),
    }
    for name, value in expected.items():
        assert SCORES[name](y, p, weight) == pytest.approx(value, rel=1e-6), name
    y, outputs = rows("rmse", 200, 2)
    assert SCORES["rmse"](y, outputs, weight) == pytest.approx(
        np.sqrt(metrics.mean_squared_error(y, outputs, sample_weight=weight)), rel=1e-6
    )
    assert SCORES["mae"](y, outputs, weight) == pytest.approx(
        metrics.mean_absolute_error(y, outputs, sample_weight=weight), rel=1e-6
    )
    assert SCORES["r2"](y, outputs, weight) == pytest.approx(
        -metrics.r2_score(y, outputs, sample_weight=weight, multioutput="variance_weighted"), rel=1e-6
    )


def test_an_area_without_two_classes_is_zero_and_rows_without_weight_are_none():
    y, outputs = np.array([[1.0], [1.0], [0.0], [1.0]]), np.array([[0.1], [0.2], [0.3], [0.4]])
    part = np.array([0, 0, 1, 1])
    area = SCORES["roc_auc"]
    assert Division(part).scores(area, y, outputs).tolist() == [-1.0, 0.0, -1.0 / 3.0]
    weight = np.array([0.0, 0.0, 1.0, 1.0])
    for score in (area, SCORES["log_loss"], SCORES["r2"]):
        found = Division(part, weight).scores(score, y, outputs)
        assert found[1] == -np.inf
        assert np.isfinite(found[[0, 2]]).all()


def test_rows_of_weight_zero_choose_no_epoch():
    y = RNG.normal(size=(20, 1))
    weight = (np.arange(20) < 10).astype(float)
    outputs = RNG.normal(size=(30, 20, 1))
    held_out = HeldOut(Data(np.empty((20, 0)), y, weight), SCORES["rmse"], 0)
    for epoch in range(30):
        held_out.see(epoch, outputs[epoch])
    errors = ((outputs - y) ** 2)[:, :10].mean(axis=(1, 2))
    assert held_out.best_epoch == errors.argmin() != ((outputs - y) ** 2).mean(axis=(1, 2)).argmin()
    assert held_out._best[-1] == pytest.approx(np.sqrt(errors.min()), rel=1e-12)


def test_weights_go_back_to_a_copy_in_one_piece():
    model = fastnn.Sequential([fastnn.layers.Dense(5, "tanh"), fastnn.layers.BatchNormalization()])
    model.build((None, 3))
    weights = model.network_weights
    first = model.get_weights()
    copy = weights.copy()
    model.set_weights([value + 1.0 for value in first])
    version, before = weights.version, copy.copy()
    assert weights.copy(copy) is copy
    assert not np.array_equal(copy, before)
    weights.go_back(before)
    assert weights.version == version + 1
    for value, expected in zip(model.get_weights(), first, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert weights.finite()
    for place in range(len(first)):
        spoiled = [value.copy() for value in first]
        spoiled[place].flat[-1] = np.nan
        model.set_weights(spoiled)
        assert not weights.finite()
    with pytest.raises(ValueError, match="copy"):
        weights.go_back(before[:-1])


@pytest.mark.parametrize(("n", "expected"), [(8, False), (40, True)])
def test_a_lower_log_loss_counts_from_one_standard_error(n, expected):
    # Three of four rows are right. At their best temperature the gains are log(1.5) and -log(2): their mean is 0.13,
    # and their deviation 0.48, which is a standard error of 0.17 for 8 rows, and 0.08 for 40.
    codes = np.arange(n) % 2
    wrong = np.arange(n) % 4 == 0
    sure = np.where((codes == 0) ^ wrong, 0.99, 0.01)
    others, equal = np.column_stack([sure, 1.0 - sure]), np.full((n, 2), 0.5)
    assert lowers_loss(codes, equal, others) is expected
    assert lowers_loss(codes, equal, others, np.full(n, 3.0)) is expected
    assert not lowers_loss(codes, others, equal)
    assert not lowers_loss(codes, others, others)
    assert lowers_loss(codes, equal, others, np.where(wrong, 0.0, 1.0))
    assert not lowers_loss(codes, equal, others, np.zeros(n))
