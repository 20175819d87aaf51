"""Weights and groups of rows of the tabular estimators: what they decide, and what they leave alone."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import fastnn
from fastnn.tabular.calibration import calibration_of
from fastnn.tabular.folds import folds_of_groups
from fastnn.tabular.scores import METRICS
from fastnn.tabular.training import Data, HeldOut

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 3))
Y = X[:, 0] + 0.3 * RNG.normal(size=N)
LABELS = np.array(["p", "q", "r"], dtype=object)[np.digitize(Y, [-0.4, 0.4])]
WEIGHT = RNG.integers(0, 4, N)
GROUPS = np.array([f"g{i}" for i in range(12)], dtype=object)[np.arange(N) % 12]


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    """Train 20 epochs."""
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 20)


def classifier(**options):
    return fastnn.TabularClassifier("plain", **{"n_bags": 3, "random_state": 0, **options})


def regressor(**options):
    return fastnn.TabularRegressor("plain", **{"n_bags": 3, "random_state": 0, **options})


def with_value(array, row, value):
    changed = np.array(array, dtype=object if value is None else None)
    changed[row] = value
    return changed


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sample_weight": np.ones(N - 1)}, "sample_weight.shape == .59,., expected .60,."),
        ({"sample_weight": np.ones((N, 2))}, "[Ss]ample.weight.* 1D"),
        ({"sample_weight": with_value(np.ones(N), 4, np.nan)}, "Input sample_weight contains NaN"),
        ({"sample_weight": with_value(np.ones(N), 4, np.inf)}, "Input sample_weight contains infinity"),
        (
            {"sample_weight": with_value(np.ones(N), 4, -0.5)},
            "sample_weight must hold numbers of at least 0, got -0.5 at row 4",
        ),
        ({"sample_weight": 2.0}, "sample_weight must hold a weight for each of the 60 rows, got one number, 2.0"),
        ({"sample_weight": np.zeros(N)}, "at least one non-zero number"),
        ({"sample_weight": "balanced"}, "sample_weight must be real numbers, got 'balanced'"),
        ({"sample_weight": np.ma.masked_array(np.ones(N), mask=Y > 0)}, "sample_weight has masked entries"),
        ({"groups": GROUPS[:-1]}, "groups must hold a label for each of the 60 rows, got 59"),
        ({"groups": with_value(GROUPS, 7, None)}, "groups has no label at row 7"),
        ({"groups": with_value(np.arange(N) / 3.0, 7, np.nan)}, "groups contains NaN: no label at row 7"),
        (
            {"groups": np.arange(N) % 2},
            "groups must hold at least as many groups as there are folds, 3, got 2: lower n_bags",
        ),
        ({"groups": np.ma.masked_array(np.ones(N), mask=Y > 0)}, "groups has masked entries"),
        ({"weights": np.ones(N)}, "fit takes X, y, groups and sample_weight, got weights"),
        ({"sample_wieght": np.ones(N)}, "got sample_wieght. Did you mean 'sample_weight'"),
    ],
)
def test_wrong_weights_and_groups(options, message):
    for model, y in ((classifier(), LABELS), (regressor(), Y)):
        with pytest.raises((ValueError, TypeError), match=message):
            model.fit(X, y, **options)
        assert not hasattr(model, "models_")


@pytest.mark.parametrize("value", [1, 0.3])
def test_equal_weights_have_no_effect(value):
    for make, y, method in ((classifier, LABELS, "predict_proba"), (regressor, Y, "predict")):
        plain, weighted = make().fit(X, y), make().fit(X, y, sample_weight=[value] * N)
        np.testing.assert_array_equal(getattr(weighted, method)(X), getattr(plain, method)(X))
        assert weighted.oof_score_ == plain.oof_score_


@pytest.mark.parametrize("options", [{}, {"intervals": "quantiles"}, {"n_bags": 1}])
def test_targets_of_rows_without_weight_have_no_effect_and_all_weights_one_scale(options):
    without = WEIGHT == 0
    changed = np.where(without, 50.0 * RNG.normal(size=N), Y)
    first = regressor(**options).fit(X, Y, sample_weight=WEIGHT)
    for y, weight in ((changed, WEIGHT), (np.where(without, 1e140, Y), WEIGHT), (Y, 8.0 * WEIGHT)):
        second = regressor(**options).fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(second.predict(X), first.predict(X))
        np.testing.assert_array_equal(second.oof_predictions_, first.oof_predictions_)
        assert second.oof_score_ == first.oof_score_
        np.testing.assert_array_equal(second.predict_interval(X, 0.6), first.predict_interval(X, 0.6))
    assert (regressor(**options).fit(X, Y).predict(X) != first.predict(X)).mean() > 0.9


def test_intervals_and_p_values_count_rows_with_a_weight():
    weight = np.arange(N) % 3
    model = regressor().fit(X, Y, sample_weight=weight)
    with pytest.raises(ValueError, match=r"coverage=0.98 needs at least 49 rows .*, got 40"):
        model.predict_interval(X, 0.98)
    far = np.where(weight[:, None] > 0, X, X + 100.0)
    p_values = classifier().fit(far, LABELS, sample_weight=weight).known_p_values(far)
    np.testing.assert_allclose(p_values[weight == 0], 1.0 / 41.0)
    assert p_values[weight > 0].mean() > 0.4
    one_fold = classifier().fit(X, LABELS, groups=np.arange(N) // 20, sample_weight=np.arange(N) < 20)
    np.testing.assert_array_equal(one_fold.known_p_values(X), 1.0)  # no row of another fold to be compared with


def test_targets_of_little_weight_do_not_overflow():
    weight = np.where(np.arange(N) < 30, 1.0, 1e-100)
    model = regressor().fit(X, np.where(weight == 1.0, 0.1, Y), sample_weight=weight)
    assert np.abs(model.predict(X) - 0.1).max() < 1e-12


def test_scale_and_scores_are_those_of_repeated_rows():
    again = np.repeat(np.arange(N), WEIGHT)
    model = regressor().fit(X, Y, sample_weight=WEIGHT)
    np.testing.assert_allclose(model._center, Y[again].mean(), rtol=1e-12)
    np.testing.assert_allclose(model._scale, Y[again].std(), rtol=1e-12)
    assert (model._low, model._high) == (Y[again].min(), Y[again].max())
    errors = (model.oof_predictions_ - Y)[again]
    assert model.oof_score_ == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-6)
    model = classifier(metric="accuracy").fit(X, LABELS, sample_weight=WEIGHT)
    right = model.classes_[model.oof_predictions_.argmax(axis=1)] == LABELS
    assert model.oof_score_ == pytest.approx(right[again].mean(), rel=1e-12)


def test_a_calibration_of_weights_is_that_of_repeated_rows():
    n = 400
    weight = RNG.integers(0, 4, n)
    again = np.repeat(np.arange(n), weight)
    for n_classes in (2, 4):
        logits = RNG.normal(size=(n, n_classes))
        codes = (logits + RNG.gumbel(size=logits.shape)).argmax(axis=1)
        p = np.exp(3.0 * logits) / np.exp(3.0 * logits).sum(axis=1, keepdims=True)
        weighted = calibration_of(codes, p, weight.astype(float))
        repeated = calibration_of(codes[again], p[again])
        assert repeated.temperature > 2.0
        np.testing.assert_allclose(weighted, repeated, rtol=1e-7)
        assert weighted != calibration_of(codes, p)


def test_weights_decide_what_is_learned():
    """Of two labels for the same rows, that with nine times the weight has nine tenths of the probability."""
    noise = RNG.normal(size=(400, 2))
    labels = np.arange(400) % 2
    weight = np.where(labels, 9.0, 1.0)
    model = classifier().fit(noise, labels, sample_weight=weight)
    assert model.predict_proba(noise)[:, 1].mean() == pytest.approx(0.9, abs=0.05)
    values = regressor().fit(noise, labels, sample_weight=weight).predict(noise)
    assert values.mean() == pytest.approx(0.9, abs=0.05)
    tabm = fastnn.TabularClassifier("tabm", n_bags=2, random_state=0)
    three = np.arange(60) % 3
    p = tabm.fit(noise[:60], three, sample_weight=np.where(three == 2, 8.0, 1.0)).predict_proba(noise[:60])
    assert p[:, 2].mean() == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("n_groups", [3, 12, 40])
def test_no_group_is_divided_and_folds_are_alike(n_groups):
    groups = RNG.permutation(np.minimum(RNG.geometric(0.1, N) - 1, n_groups - 1))
    groups[:n_groups] = np.arange(n_groups)
    for make, y in ((classifier, LABELS), (regressor, Y)):
        model = make().fit(X, y, groups=groups)
        assert len(model._bag.held_out) == 6  # fewer than 500 rows: every fold twice
        for first in (0, 3):
            parts = model._bag.held_out[first : first + 3]
            assert sorted(np.concatenate(parts)) == list(range(N))
            of_parts = [set(groups[part]) for part in parts]
            assert sum(map(len, of_parts)) == n_groups
            assert all(of_parts)
        assert np.isfinite(model.oof_predictions_).all()


def test_folds_of_groups_are_balanced():
    groups = np.repeat(np.arange(50), RNG.integers(1, 9, 50))
    for classes in (np.zeros(len(groups), np.intp), RNG.integers(0, 3, len(groups))):
        folds = folds_of_groups(groups, classes, 5, 0)
        assert set(folds) == set(range(5))
        for held_out in (np.flatnonzero(folds == number) for number in range(5)):
            assert abs(len(held_out) - len(groups) / 5) <= 8
            shares = np.bincount(classes[held_out], minlength=3) / np.maximum(np.bincount(classes, minlength=3), 1)
            assert (np.abs(shares - 0.2)[: classes.max() + 1] < 0.1).all()
    assert np.array_equal(folds_of_groups(groups, classes, 5, 0), folds)
    assert not np.array_equal(folds_of_groups(groups, classes, 5, 1), folds)
    each = folds_of_groups(np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 0, 1, 0, 0]), 3, 0)
    assert sorted(np.bincount(each)) == [1, 2, 3]


def test_no_group_chooses_the_epoch_of_its_outputs():
    group = np.array([7, 7, 7, 2, 2, 9, 4, 4, 4, 4])
    outputs, y = RNG.normal(size=(40, 10, 1)), RNG.normal(size=(10, 1))

    def seen(targets, groups):
        held_out = HeldOut(Data(np.empty((10, 0)), targets, None, groups), METRICS["regressor"]["rmse"], 3)
        for epoch in range(40):
            held_out.see(epoch, outputs[epoch])
        return held_out.outputs

    first, others_change = seen(y, group), False
    for number in set(group):
        changed = np.where((group == number)[:, None], 9.0, y)
        second = seen(changed, group)
        np.testing.assert_array_equal(second[group == number], first[group == number])
        others_change |= not np.array_equal(second, first)
    assert others_change
    np.testing.assert_array_equal(seen(y, np.zeros(10, int)), outputs[-1])


def test_one_network_leaves_out_whole_groups_and_few_rows_need_none():
    model = regressor(n_bags=1).fit(X, Y, groups=np.arange(N) % 2)
    (held_out,) = model._bag.held_out
    assert sorted(held_out) in (list(range(0, N, 2)), list(range(1, N, 2)))
    assert regressor().fit(X[:3], Y[:3], groups=["a", "a", "a"])._bag.held_out == [None]
    with pytest.raises(ValueError, match="groups must hold a label for each of the 3 rows, got 2"):
        regressor().fit(X[:3], Y[:3], groups=["a", "a"])


def test_errors_with_groups_are_those_of_new_groups(monkeypatch):
    """Columns that name the group tell its level for known groups, and nothing for new ones."""
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 200)
    group = np.arange(N) % 6
    levels = np.array([-1.5, 0.3, -0.9, 1.5, 0.9, -0.3])
    table = np.column_stack([group[:, None] == np.arange(6), X[:, 0]]).astype(float)
    y = levels[group] + 0.1 * X[:, 0]
    known, new = regressor().fit(table, y), regressor().fit(table, y, groups=group)
    assert known.oof_score_ < 0.85 * levels.std() < levels.std() < new.oof_score_


def test_weights_pass_through_pipelines_and_routing():
    direct = regressor().fit(X, Y, sample_weight=WEIGHT, groups=GROUPS).predict(X)
    options = {"tabularregressor__sample_weight": WEIGHT, "tabularregressor__groups": GROUPS}
    np.testing.assert_array_equal(make_pipeline(regressor()).fit(X, Y, **options).predict(X), direct)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(regressor().set_fit_request(sample_weight=True, groups=True))
        np.testing.assert_array_equal(routed.fit(X, Y, sample_weight=WEIGHT, groups=GROUPS).predict(X), direct)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("base", [fastnn.TabularClassifier, fastnn.TabularRegressor])
def test_scikit_learns_checks_of_weights(base):
    """All but one: a weight of 2 cannot have the bits of two rows, which random folds may part."""

    class Weighted(base):
        def fit(self, X, y, sample_weight=None, **options):
            return super().fit(X, y, sample_weight=sample_weight, **options)

    Weighted.__name__ = base.__name__
    name = "check_sample_weight_equivalence_on_dense_data"
    results = check_estimator(
        Weighted("plain", n_bags=2), on_fail=None, on_skip=None, expected_failed_checks={name: "random folds"}
    )
    of_weights = {each["check_name"]: each["status"] for each in results if "sample_weight" in each["check_name"]}
    assert of_weights.pop(name) == "xfail"
    assert len(of_weights) >= 5
    assert set(of_weights.values()) == {"passed"}
