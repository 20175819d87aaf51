"""Labels that metrics are given: objects, nullable types, missing labels and masked arrays."""

import re
import warnings

import numpy as np
import pytest

from fastnn import metrics


def test_labels_in_arrays_of_objects_are_read_as_what_they_are(sklearn_metrics):
    true, pred = np.array([-1, 3, 3, -1, 3]), np.array([3, 3, -1, -1, 3])
    expected = sklearn_metrics.confusion_matrix(true, pred).tolist()
    assert metrics.confusion_matrix(true.astype(object), pred).tolist() == expected
    assert metrics.confusion_matrix(true.astype(object), pred.astype(object)).tolist() == expected
    assert metrics.accuracy_score((true > 0).astype(object), pred > 0) == 0.6
    assert metrics.f1_score(np.array([1, 0, 1], object), [1, 1, 1], sample_weight=[1, 1, 2]) == 6 / 7


MISSING = {
    "None": ["a", None, "b", "a"],
    "None among numbers": [1, None, 0, 1],
    "None among booleans": [True, None, False, True],
    "NaN among strings": ["a", float("nan"), "b", "a"],
    "NaN among objects": np.array(["a", np.nan, "b", "a"], object),
    "NaN": [1.0, np.nan, 0.0, 1.0],
    "float16": np.array([1.0, np.nan, np.inf, 1.0], "float16"),
    "multilabel": [[1, 0], [np.nan, 1], [0, 1], [1, 1]],
    "multilabel None": [[1, 0], [0, None], [0, 1], [1, 1]],
    "column": [["a"], [None], ["b"], ["a"]],
    "NaT": np.array(["2020-01-01", "NaT", "2020-01-01", "2020-01-02"], "datetime64[D]"),
}
LABEL_FUNCTIONS = (
    "accuracy_score balanced_accuracy_score classification_report cohen_kappa_score confusion_matrix f1_score "
    "jaccard_score matthews_corrcoef precision_score recall_score"
).split()
SCORE_FUNCTIONS = (
    "average_precision_score brier_score_loss calibration_curve expected_calibration_error log_loss "
    "precision_recall_curve risk_coverage_curve roc_auc_score roc_curve top_k_accuracy_score"
).split()


def nullable_labels():
    pandas = pytest.importorskip("pandas")
    for dtype, values in (
        ("Int64", [1, None, 0, 1]),
        ("Float64", [1.0, None, 0.0, 1.0]),
        ("boolean", [True, None, False, True]),
        ("string", MISSING["None"]),
        ("category", MISSING["None"]),
        ("object", MISSING["None"]),
    ):
        yield pandas.Series(values, dtype=dtype)
    yield np.array(["a", pandas.NA, "b", "a"], object)


def check_missing_label(values):
    full = [1, 0, 0, 1]
    for name in LABEL_FUNCTIONS:
        first, second = ("y1", "y2") if name == "cohen_kappa_score" else ("y_true", "y_pred")
        with pytest.raises(ValueError, match=rf"^{first} has a missing label \(.*\) in row 1 \(counted from 0\)"):
            getattr(metrics, name)(values, full)
        with pytest.raises(ValueError, match=rf"^{second} has a missing label \(.*\) in row 1"):
            getattr(metrics, name)(full, values)
    for name in SCORE_FUNCTIONS:
        with pytest.raises(ValueError, match=r"^y_true has a missing label \(.*\) in row 1"):
            getattr(metrics, name)(values, [0.1, 0.9, 0.2, 0.7])
    if np.ndim(values) == 1:
        for name in ("confusion_matrix", "f1_score", "classification_report", "cohen_kappa_score"):
            with pytest.raises(ValueError, match=r"^labels has a missing label"):
                getattr(metrics, name)(full, full, labels=values)


@pytest.mark.parametrize("case", [case for case in MISSING if not case.startswith(("multilabel", "column"))])
def test_missing_labels(case):
    check_missing_label(MISSING[case])


@pytest.mark.parametrize("case", ["multilabel", "multilabel None", "column"])
def test_missing_labels_in_columns(case):
    with pytest.raises(ValueError, match=r"^y_true has a missing label \((NaN|None)\) in row 1"):
        metrics.accuracy_score(MISSING[case], MISSING[case])


def test_missing_labels_of_pandas():
    for values in nullable_labels():
        check_missing_label(values)


def test_complete_nullable_labels():
    pandas = pytest.importorskip("pandas")
    for dtype, values in (("Int64", [1, 0, 0, 1]), ("boolean", [True, False, False, True]), ("string", list("abba"))):
        column = pandas.Series(values, dtype=dtype)
        assert metrics.confusion_matrix(column, column[::-1]).tolist() == [[2, 0], [0, 2]]
        assert metrics.roc_auc_score(column, [0.9, 0.1, 0.2, 0.15]) == (0.75 if dtype != "string" else 0.25)


def test_labels_without_effect_on_binary_targets(sklearn_metrics):
    true, pred, score = [0, 1, 1, 0], [0, 1, 0, 1], [0.2, 0.9, 0.4, 0.6]
    scored = {"f1_score": pred, "precision_score": pred, "jaccard_score": pred, "roc_auc_score": score}
    for name, given in scored.items():
        message = "one label pos_label=1" if given is pred else r"the targets are binary, with the labels \[0, 1\]"
        with pytest.warns(UserWarning, match=rf"labels=\[0, 7\] has no effect: .*{message}"):
            found = getattr(metrics, name)(true, given, labels=[0, 7])
        assert found == pytest.approx(getattr(sklearn_metrics, name)(true, given, labels=[0, 7]))
    for metric in (metrics.brier_score_loss, metrics.expected_calibration_error):
        with pytest.warns(UserWarning, match=r"labels=\['a'\] has no effect: the targets are binary"):
            assert metric(true, score, labels=["a"]) == metric(true, score)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics.f1_score(true, pred, labels=[0, 1])
        metrics.roc_auc_score(true, score, labels=[1, 0])


def test_chosen_labels_have_one_dimension():
    for name in ("confusion_matrix", "f1_score", "classification_report", "cohen_kappa_score"):
        with pytest.raises(ValueError, match=r"labels should be a 1d array, got an array of shape \(1, 2\)"):
            getattr(metrics, name)([0, 1], [0, 1], labels=[[0, 1]])


def test_masked_arrays_are_refused():
    labels = np.ma.masked_equal(np.array([1, -999, 0, 1]), -999)
    numbers = np.ma.masked_equal(np.array([0.5, -999.0, 0.1, 0.2]), -999.0)
    full = [1, 0, 0, 1]
    for name in LABEL_FUNCTIONS:
        with pytest.raises(ValueError, match=r"(y_true|y1) has masked entries; fill them first"):
            getattr(metrics, name)(labels, full)
    for name in SCORE_FUNCTIONS:
        with pytest.raises(ValueError, match=r"(y_score|y_prob|y_proba) has masked entries"):
            getattr(metrics, name)(full, numbers)
    for name in ("mean_squared_error", "r2_score", "mean_pinball_loss"):
        with pytest.raises(ValueError, match="y_pred has masked entries"):
            getattr(metrics, name)(full, numbers)
    with pytest.raises(ValueError, match="sample_weight has masked entries"):
        metrics.accuracy_score(full, full, sample_weight=numbers)
    unmasked = np.ma.MaskedArray(full)
    assert metrics.accuracy_score(unmasked, full) == 1.0


def test_numbers_that_are_missing_name_their_row():
    with pytest.raises(ValueError, match="y_score must hold numbers, got 'x' in row 2"):
        metrics.roc_auc_score([0, 1, 1], ["0.1", "0.2", "x"])
    for missing in ([0.1, None, 0.3], [0.1, np.nan, 0.3]):
        with pytest.raises(ValueError, match=r"y_score contains NaN or infinity .*row 1"):
            metrics.roc_auc_score([0, 1, 1], missing)


def test_kappa_of_multilabel_targets():
    true, pred = [[0, 1], [1, 1]], [[0, 1], [1, 0]]
    for labels in (None, [0, 1]):
        with pytest.raises(ValueError, match="multilabel-indicator is not supported"):
            metrics.cohen_kappa_score(true, pred, labels=labels)


@pytest.mark.parametrize(
    ("metric", "option"),
    [
        (metrics.accuracy_score, "normalize"),
        (metrics.balanced_accuracy_score, "adjusted"),
        (metrics.log_loss, "normalize"),
        (metrics.roc_curve, "drop_intermediate"),
        (metrics.precision_recall_curve, "drop_intermediate"),
        (metrics.top_k_accuracy_score, "normalize"),
        (metrics.r2_score, "force_finite"),
        (metrics.classification_report, "output_dict"),
    ],
)
def test_options_that_are_no_flags_are_refused(metric, option):
    with pytest.raises(ValueError, match=f"{option} must be True or False, got 'no'"):
        metric([0, 1, 1, 0], [0, 1, 0, 0], **{option: "no"})


@pytest.mark.parametrize(
    "metric",
    [
        metrics.roc_curve,
        metrics.precision_recall_curve,
        metrics.brier_score_loss,
        metrics.calibration_curve,
        metrics.expected_calibration_error,
        metrics.average_precision_score,
    ],
)
def test_the_positive_label_is_one_of_two_that_occur(metric):
    scores = [0.1, 0.8, 0.6, 0.3]
    with pytest.raises(ValueError, match=r"pos_label='?no'? is not a valid label. It should be one of \[0 1\]"):
        metric([0, 1, 1, 0], scores, pos_label="no")
    given = metric([0, 1, 1, 0], scores, pos_label=0), metric([1, 0, 0, 1], scores)
    mine, other = (np.hstack(each if isinstance(each, tuple) else [each]) for each in given)
    assert mine.tolist() == other.tolist()


@pytest.mark.parametrize(
    "labels", [np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"), np.array([1j, 2.0]), np.array([{}, {}])]
)
def test_labels_of_another_type_are_named(labels):
    with pytest.raises(
        ValueError, match=f"y_pred must hold numbers, booleans or strings, .* dtype {re.escape(str(labels.dtype))}"
    ):
        metrics.f1_score([0, 1], labels)


def test_names_of_classes_are_a_list_and_a_replacement_is_a_number():
    with pytest.raises(ValueError, match="target_names must be a list of names, got 'ab'"):
        metrics.classification_report([0, 1], [0, 1], target_names="ab")
    with pytest.raises(ValueError, match=r"replace_undefined_by must be in \[-1, 1\] or NaN, got 'no'"):
        metrics.cohen_kappa_score([0, 1], [0, 1], replace_undefined_by="no")
