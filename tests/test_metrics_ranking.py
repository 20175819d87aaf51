"""Metrics of scores and probabilities: hand values, errors, and scikit-learn on random cases where it is installed."""

import itertools
import math
import warnings

import numpy as np
import pytest

from fastnn import metrics


def call(function, *args, **kwargs):
    """The result and the sorted kinds of warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args, **kwargs)
    return result, sorted({w.category.__name__ for w in caught if issubclass(w.category, UserWarning)})


def assert_same(name, peer, *args, rtol=1e-12, **kwargs):
    """fastnn and scikit-learn give the same result and the same warnings."""
    actual, warned = call(getattr(metrics, name), *args, **kwargs)
    expected, peer_warned = call(getattr(peer, name), *args, **kwargs)
    message = f"{name} {kwargs} {args}"
    assert warned == peer_warned, message
    pairs = zip(actual, expected, strict=True) if isinstance(expected, tuple) else [(actual, expected)]
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13, err_msg=message)


# Hand values.


def test_auc_hand_values():
    y, score = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
    assert metrics.roc_auc_score(y, score) == 0.75
    # A tie counts as half.
    assert metrics.roc_auc_score([0, 1], [0.5, 0.5]) == 0.5
    assert metrics.roc_auc_score([0, 0, 1], [0.2, 0.7, 0.7]) == 0.75
    assert metrics.roc_auc_score(["b", "a", "b"], [0.9, 0.1, 0.2]) == 1.0
    assert metrics.roc_auc_score(y, score, sample_weight=[1, 3, 1, 1]) == (1 + 1 + 3) / 8


def test_auc_is_the_fraction_of_ordered_pairs():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 200)
    score = generator.integers(0, 20, 200) / 7
    pairs = [(p > n) + 0.5 * (p == n) for p, n in itertools.product(score[y == 1], score[y == 0])]
    assert metrics.roc_auc_score(y, score) == pytest.approx(np.mean(pairs), rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int64", "uint64"])
def test_curves_of_every_type_of_score(dtype, sklearn_metrics):
    generator = np.random.default_rng(3)
    y = generator.integers(0, 2, 500)
    score = generator.standard_normal(500) * 20 + 3 * y
    score = (score if dtype[0] == "f" else np.abs(score) if dtype[0] == "u" else score).astype(dtype)
    weight = generator.uniform(0, 3, 500) * generator.integers(0, 2, 500)
    for options in ({}, {"sample_weight": weight}):
        for name in ("roc_auc_score", "average_precision_score", "roc_curve", "precision_recall_curve"):
            assert_same(name, sklearn_metrics, y, score, **options)


def test_scores_that_float64_cannot_tell_apart():
    score = 2**60 + np.array([0, 1, 2, 3])
    assert metrics.roc_auc_score([0, 1, 0, 1], score) == 0.75
    precision, _, thresholds = metrics.precision_recall_curve([0, 1, 0, 1], score)
    assert thresholds.tolist() == score.tolist() and thresholds.dtype == score.dtype
    assert precision.tolist() == [0.5, 2 / 3, 0.5, 1.0, 1.0]


def test_negative_and_positive_zero_are_one_score():
    assert metrics.roc_auc_score([0, 1], [0.0, -0.0]) == metrics.roc_auc_score([0, 1], [-0.0, 0.0]) == 0.5
    assert metrics.roc_auc_score([0, 1, 0, 1], [-np.pi, -1e-300, 1e-300, 1e300]) == 0.75


def test_curves_hand_values():
    y, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    fpr, tpr, thresholds = metrics.roc_curve(y, score)
    np.testing.assert_array_equal(fpr, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_array_equal(tpr, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(thresholds, [np.inf, 0.8, 0.4, 0.35, 0.1])
    precision, recall, thresholds = metrics.precision_recall_curve(y, score)
    np.testing.assert_array_equal(precision, [0.5, 2 / 3, 0.5, 1, 1])
    np.testing.assert_array_equal(recall, [1, 1, 0.5, 0.5, 0])
    np.testing.assert_array_equal(thresholds, [0.1, 0.35, 0.4, 0.8])
    assert metrics.average_precision_score(y, score) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3, rel=1e-15)


def test_probabilities_hand_values():
    assert metrics.log_loss([1, 0], [0.8, 0.4]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2, rel=1e-15)
    three = [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]
    expected = -(math.log(0.5) + math.log(0.6) + math.log(0.8))
    assert metrics.log_loss([2, 0, 1], three) == pytest.approx(expected / 3, rel=1e-15)
    assert metrics.log_loss([2, 0, 1], three, normalize=False) == pytest.approx(expected, rel=1e-15)
    assert metrics.log_loss([0, 1], [0.0, 0.0]) == pytest.approx(-math.log(np.finfo(float).eps) / 2, rel=1e-12)
    assert metrics.brier_score_loss([0, 1], [0.25, 0.5]) == (0.0625 + 0.25) / 2
    assert metrics.brier_score_loss([2, 0, 1], three) == pytest.approx((0.38 + 0.26 + 0.06) / 3, rel=1e-14)


def test_top_k_hand_values():
    score = [[0.5, 0.2, 0.3], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6], [0.7, 0.2, 0.1]]
    assert metrics.top_k_accuracy_score([0, 1, 2, 2], score, k=1) == 0.75
    assert metrics.top_k_accuracy_score([0, 1, 2, 2], score, k=2) == 0.75
    assert metrics.top_k_accuracy_score([2, 2, 2, 1], score, k=2, normalize=False, labels=[0, 1, 2]) == 4.0


def test_one_class():
    with pytest.warns(metrics.UndefinedMetricWarning, match="Only one class"):
        assert math.isnan(metrics.roc_auc_score([1, 1], [0.1, 0.2]))
    with pytest.warns(UserWarning, match="No positive class"):
        assert metrics.average_precision_score([0, 0], [0.1, 0.2]) == 0.0
    with pytest.warns(metrics.UndefinedMetricWarning, match="No negative samples"):
        assert np.isnan(metrics.roc_curve([1, 1], [0.1, 0.2])[0]).all()


# Bad input.


@pytest.mark.parametrize(
    ("message", "name", "args", "options"),
    [
        ("inconsistent numbers of samples", "roc_auc_score", ([0, 1], [0.1, 0.2, 0.3]), {}),
        ("multi_class must be in", "roc_auc_score", ([0, 1, 2], np.full((3, 3), 1 / 3)), {}),
        ("multi_class must be", "roc_auc_score", ([0, 1], [0.1, 0.2]), {"multi_class": "all"}),
        ("max_fpr", "roc_auc_score", ([0, 1], [0.1, 0.2]), {"max_fpr": 0.0}),
        ("sum up to 1.0", "roc_auc_score", ([0, 1, 2], np.ones((3, 3))), {"multi_class": "ovr"}),
        ("y_score contains NaN", "roc_auc_score", ([0, 1], [0.1, np.nan]), {}),
        ("must hold numbers", "roc_auc_score", ([0, 1], ["a", "b"]), {}),
        ("continuous format", "roc_auc_score", ([0.1, 0.2], [0.1, 0.2]), {}),
        ("pos_label is not specified", "roc_curve", (["a", "b"], [0.1, 0.2]), {}),
        ("multiclass format", "roc_curve", ([0, 1, 2], [0.1, 0.2, 0.3]), {}),
        ("1d array", "roc_curve", ([0, 1], [[0.1, 0.2], [0.3, 0.4]]), {}),
        ("pos_label=2", "average_precision_score", ([0, 1], [0.1, 0.2]), {"pos_label": 2}),
        ("greater than 1", "log_loss", ([0, 1], [0.1, 1.2]), {}),
        ("less than 0", "log_loss", ([0, 1], [0.1, -0.2]), {}),
        ("only one label", "log_loss", ([1, 1], [0.1, 0.2]), {}),
        ("different number of classes", "log_loss", ([0, 1], np.full((2, 3), 1 / 3)), {}),
        ("should be binary", "brier_score_loss", ([0, 1, 2], [0.1, 0.2, 0.3]), {}),
        ("pos_label is not specified", "brier_score_loss", (["a", "b"], [0.1, 0.2]), {}),
        ("k must be", "top_k_accuracy_score", ([0, 1], [0.1, 0.2]), {"k": 0}),
        ("number of columns", "top_k_accuracy_score", ([0, 1, 2], np.ones((3, 4))), {}),
        ("must be ordered", "top_k_accuracy_score", ([0, 1, 2], np.ones((3, 3))), {"labels": [2, 1, 0]}),
        ("labels not in", "top_k_accuracy_score", ([0, 1, 5], np.ones((3, 3))), {"labels": [0, 1, 2]}),
    ],
)
def test_errors(message, name, args, options):
    with pytest.raises(ValueError, match=message):
        getattr(metrics, name)(*args, **options)


# Against scikit-learn.


def binary_cases(seed):
    """Labels and scores: many ties, few ties, single precision, whole numbers, several kinds of labels."""
    generator = np.random.default_rng(seed)
    for n in (2, 11, 300):
        y = generator.integers(0, 2, n)
        y[:2] = 0, 1
        score = generator.random(n) + 0.4 * y
        for s in (score, np.round(score, 1), score.astype(np.float32), (score * 5).astype(int), score.tolist()):
            yield y, s, 1
        yield 2 * y - 1, score, 1
        yield y.astype(bool), score, True
        yield np.array(["no", "yes"])[y], score, "yes"
        yield y, -score, 0


@pytest.mark.parametrize("seed", range(3))
def test_binary_scores(seed, sklearn_metrics):
    generator = np.random.default_rng(seed + 50)
    for y, score, pos_label in binary_cases(seed):
        zeros = generator.random(len(y)) * (generator.random(len(y)) < 0.7)
        zeros[:2] = 1.0
        for weight in (None, generator.random(len(y)) + 0.01, zeros):
            for max_fpr in (None, 0.3, 1.0):
                assert_same("roc_auc_score", sklearn_metrics, y, score, sample_weight=weight, max_fpr=max_fpr)
            options = {"pos_label": pos_label, "sample_weight": weight}
            assert_same("average_precision_score", sklearn_metrics, y, score, **options)
            for drop in (False, True):
                assert_same("precision_recall_curve", sklearn_metrics, y, score, drop_intermediate=drop, **options)
            assert_same("roc_curve", sklearn_metrics, y, score, drop_intermediate=False, **options)
        # With weights, rounding decides which points lie on a line, so this is compared for counts only.
        assert_same("roc_curve", sklearn_metrics, y, score, pos_label=pos_label)


@pytest.mark.parametrize("seed", range(3))
def test_multiclass_scores(seed, sklearn_metrics):
    generator = np.random.default_rng(seed)
    n, k = 60, int(generator.integers(3, 6))
    y = np.concatenate([np.arange(k), generator.integers(0, k, n - k)])
    proba = generator.dirichlet(np.ones(k), n)
    weight = generator.random(n) + 0.01
    names = np.array([f"class {i}" for i in range(k)])
    for labels in (y, names[y]):
        for average in ("macro", "weighted", "micro", None):
            for w in (None, weight):
                options = {"multi_class": "ovr", "average": average, "sample_weight": w}
                assert_same("roc_auc_score", sklearn_metrics, labels, proba, **options)
                assert_same("average_precision_score", sklearn_metrics, labels, proba, average=average, sample_weight=w)
        for average in ("macro", "weighted"):
            assert_same("roc_auc_score", sklearn_metrics, labels, proba, multi_class="ovo", average=average)
        for w in (None, weight):
            for normalize in (True, False):
                assert_same("log_loss", sklearn_metrics, labels, proba, sample_weight=w, normalize=normalize)
                for top in range(1, k + 1):
                    options = {"k": top, "sample_weight": w, "normalize": normalize}
                    assert_same("top_k_accuracy_score", sklearn_metrics, labels, proba, **options)
            for half in ("auto", True, False):
                assert_same("brier_score_loss", sklearn_metrics, labels, proba, sample_weight=w, scale_by_half=half)
    tied = np.round(proba, 1)
    for top in range(1, k):
        assert_same("top_k_accuracy_score", sklearn_metrics, y, tied, k=top)
    few = slice(0, k - 1)
    options = {"labels": np.arange(k)}
    assert_same("log_loss", sklearn_metrics, y[few], proba[few], **options)
    assert_same("brier_score_loss", sklearn_metrics, y[few], proba[few], **options)
    assert_same("top_k_accuracy_score", sklearn_metrics, y[few], proba[few], k=2, **options)
    assert_same("log_loss", sklearn_metrics, y, proba.astype(np.float32), rtol=1e-6)
    assert_same("log_loss", sklearn_metrics, y, 0.5 * proba)


@pytest.mark.parametrize("seed", range(3))
def test_multilabel_scores(seed, sklearn_metrics):
    generator = np.random.default_rng(seed)
    n, k = 40, 4
    y = generator.integers(0, 2, (n, k))
    y[:, 0], y[:, 1] = 0, 1
    y[0, :2], y[1, :2] = (1, 1), (0, 0)
    score = np.round(generator.random((n, k)), 2)
    for weight in (None, generator.random(n) + 0.01):
        for average in ("macro", "weighted", "micro", None):
            assert_same("roc_auc_score", sklearn_metrics, y, score, average=average, sample_weight=weight)
        for average in ("macro", "weighted", "micro", "samples", None):
            assert_same("average_precision_score", sklearn_metrics, y, score, average=average, sample_weight=weight)
    mixed = y[(y.sum(axis=1) > 0) & (y.sum(axis=1) < k)]
    assert_same("roc_auc_score", sklearn_metrics, mixed, score[: len(mixed)], average="samples")
    assert_same("log_loss", sklearn_metrics, np.eye(3, dtype=int), generator.dirichlet(np.ones(3), 3))


@pytest.mark.parametrize("seed", range(3))
def test_binary_probabilities(seed, sklearn_metrics):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, 50)
    y[:2] = 0, 1
    p = generator.random(50)
    p[:4] = 0.0, 1.0, 1.0, 0.0
    two = np.column_stack([1 - p, p])
    for labels in (y, 2 * y - 1, y.astype(bool), np.array(["a", "b"])[y], y + 5):
        for weight in (None, generator.random(50) + 0.01):
            for proba in (p, two):
                assert_same("log_loss", sklearn_metrics, labels, proba, sample_weight=weight)
            pos_label = "b" if labels.dtype.kind == "U" else None
            for half in ("auto", True, False):
                options = {"sample_weight": weight, "pos_label": pos_label, "scale_by_half": half}
                assert_same("brier_score_loss", sklearn_metrics, labels, p, **options)
    for k in (1, 2):
        assert_same("top_k_accuracy_score", sklearn_metrics, y, p, k=k)
        assert_same("top_k_accuracy_score", sklearn_metrics, y, p * 4 - 2, k=k)


def test_one_versus_one_without_rows_of_a_class():
    y, p = [1, 2, 1, 2], [[0.2, 0.5, 0.3], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]]
    # The pair of classes 1 and 2: 2.5 of 4 pairs of rows are in order in column 1, 3.5 of 4 in column 2.
    for average in ("macro", "weighted"):
        assert metrics.roc_auc_score(y, p, labels=[0, 1, 2], multi_class="ovo", average=average) == 0.75
        four = np.insert(p, 1, 0.0, axis=1)
        assert metrics.roc_auc_score([2, 3, 2, 3], four, labels=range(4), multi_class="ovo", average=average) == 0.75
        with pytest.warns(metrics.UndefinedMetricWarning, match="Only one class is present"):
            area = metrics.roc_auc_score([1] * 4, p, labels=[0, 1, 2], multi_class="ovo", average=average)
        assert math.isnan(area)


@pytest.mark.parametrize("present", [(0, 1), (1, 3), (2, 3), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3)])
def test_multiclass_areas_without_rows_of_a_class(present, sklearn_metrics):
    generator = np.random.default_rng(sum(present))
    y = generator.permutation(np.resize(present, 23))
    p = generator.multinomial(20, [0.25] * 4, 23) / 20
    weight = generator.random(23)
    for multi_class, average, sample_weight in (
        ("ovo", "macro", None),
        ("ovo", "weighted", None),
        *[("ovr", average, w) for average in ("macro", "weighted", "micro", None) for w in (None, weight)],
    ):
        for labels in (np.arange(4), np.array(["a", "b", "c", "d"])):
            options = {
                "labels": labels,
                "multi_class": multi_class,
                "average": average,
                "sample_weight": sample_weight,
            }
            with warnings.catch_warnings(record=True):
                warnings.simplefilter("always")
                expected = sklearn_metrics.roc_auc_score(labels[y], p, **options)
                actual = metrics.roc_auc_score(labels[y], p, **options)
            np.testing.assert_allclose(actual, expected, rtol=1e-12, err_msg=str(options))


def test_labels_of_indicators_are_refused():
    y, p = [[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]]
    for function in (metrics.log_loss, metrics.brier_score_loss):
        with pytest.raises(ValueError, match=r"labels name the columns .* indicators \(n, k\) take none"):
            function(y, p, labels=[1, 0])
