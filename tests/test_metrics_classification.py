"""Metrics of labels: hand values, errors, and scikit-learn on random cases where it is installed."""

import math
import re
import warnings

import numpy as np
import pytest

from fastnn import metrics

LABEL_METRICS = ("precision_score", "recall_score", "f1_score", "fbeta_score", "jaccard_score")


def outcome(function, *args, **kwargs):
    """The result and the sorted kinds of warnings, or the kind of error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*args, **kwargs)
        except (ValueError, TypeError, ZeroDivisionError) as error:
            builtin = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
            return "error", builtin.__name__
    kinds = {
        w.category.__name__
        for w in caught
        # scikit-learn warns about confusion matrices of shape (1, 1) even in functions that return none.
        if issubclass(w.category, UserWarning)
        and (function.__name__ == "confusion_matrix" or "A single label was found" not in str(w.message))
    }
    return result, sorted(kinds)


def assert_same(name, peer, *args, **kwargs):
    """fastnn and scikit-learn give the same result and warnings; both must succeed."""
    actual, warned = outcome(getattr(metrics, name), *args, **kwargs)
    expected, peer_warned = outcome(getattr(peer, name), *args, **kwargs)
    message = f"{name} {kwargs} {args}"
    assert not isinstance(expected, str) or name == "classification_report", message
    assert not isinstance(actual, str) or name == "classification_report", message
    assert warned == peer_warned, message
    if isinstance(expected, str):
        # Sums of fractional weights are printed with all their digits.
        assert re.sub(r"[\d.]{9,}", "#", actual) == re.sub(r"[\d.]{9,}", "#", expected)
        numbers = [[float(x) for x in re.findall(r"[\d.]{9,}", text)] for text in (actual, expected)]
        np.testing.assert_allclose(*numbers, rtol=1e-12)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key, row in expected.items():
            assert actual[key] == pytest.approx(row, rel=1e-12, nan_ok=True), message
    else:
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14, err_msg=message)
        assert np.shape(actual) == np.shape(expected)
    return actual


@pytest.mark.parametrize(
    ("true_type", "pred_type"),
    [
        ("bool", "int64"),
        ("uint8", "float32"),
        ("int16", "uint64"),
        ("float16", "float64"),
        ("int32", "int32"),
        ("longdouble", "int8"),
    ],
)
@pytest.mark.parametrize("values", [(0, 1), (0, 63, 5), (0, 64), (3,)])
def test_pairs_of_labels_of_every_type(true_type, pred_type, values, sklearn_metrics):
    generator = np.random.default_rng(4)
    true = generator.choice(values if true_type != "bool" else values[:1], 99).astype(true_type)
    pred = generator.choice(values, 99).astype(pred_type)
    assert_same("confusion_matrix", sklearn_metrics, true, pred)
    assert_same("f1_score", sklearn_metrics, true, pred, average="macro", zero_division=0)
    assert_same("f1_score", sklearn_metrics, true[::3], pred[::-3], average="weighted", zero_division=0)


def test_negative_labels_of_a_small_type():
    y = np.array([-1, 1, 1, -1], "int8")
    assert metrics.confusion_matrix(y, y).tolist() == [[2, 0], [0, 2]]
    true = np.tile(np.array([1, 2, 3], "int8"), 7000)
    pred = true.copy()
    pred[::3] = -1
    assert metrics.f1_score(true, pred, average=None, zero_division=0).tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("true_type", ["int8", "int16", "int32", "int64", "uint8", "bool", "float32"])
@pytest.mark.parametrize("pred_type", ["int8", "int16", "int64", "uint16"])
@pytest.mark.parametrize("n_rows", [300, 17000])
@pytest.mark.parametrize(("low", "high"), [(-1, 2), (-128, 128), (-3, 0), (100, 128)])
def test_labels_of_small_types_and_many_rows(true_type, pred_type, n_rows, low, high, sklearn_metrics):
    generator = np.random.default_rng(low % 97)
    true, pred = (
        (np.abs(labels) if kind[0] in "ub" else labels).astype(kind)
        for labels, kind in zip(generator.integers(low, high, (2, n_rows)), (true_type, pred_type), strict=True)
    )
    for weight in (None, generator.integers(0, 5, n_rows)):
        for name, options in (
            ("confusion_matrix", {}),
            ("accuracy_score", {}),
            ("balanced_accuracy_score", {}),
            ("matthews_corrcoef", {}),
            ("f1_score", {"average": None, "zero_division": 0}),
            ("jaccard_score", {"average": "weighted", "zero_division": 0}),
        ):
            assert_same(name, sklearn_metrics, true, pred, sample_weight=weight, **options)
    assert_same("cohen_kappa_score", sklearn_metrics, true, pred, weights="linear")


def test_labels_beyond_int64_stay_apart():
    big = 2**63
    true, pred = np.array([big + 5, big + 6, big + 5], "uint64"), np.array([big + 5, big + 6, big + 6], "uint64")
    assert metrics.confusion_matrix(true, pred).tolist() == [[1, 1], [0, 1]]
    signed = np.array([-1, 2**62, 2**62 + 1])
    assert metrics.confusion_matrix(true, signed).shape == (5, 5)
    assert metrics.confusion_matrix(true, signed, labels=true[:2]).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("n_labels", [1, 2, 30, 1024, 1025, 3000])
def test_any_number_of_string_labels(n_labels, sklearn_metrics):
    generator = np.random.default_rng(5)
    names = np.array([f"{'ß' * (number % 7)}{number}" for number in range(n_labels)])
    true, pred = generator.permutation(np.tile(names, 3))[: 3 * n_labels], generator.choice(names, 3 * n_labels)
    for t, p in ((true, pred), (true, pred.astype("U40")), (true.astype(">U20"), pred), (true.astype(object), pred)):
        assert_same("accuracy_score", sklearn_metrics, t, p)
        assert_same("f1_score", sklearn_metrics, t, p, average="macro", zero_division=0)
    matrix = metrics.confusion_matrix(true, pred, labels=np.sort(names))
    assert matrix.sum() == 3 * n_labels and (matrix.sum(axis=1) == 3).all()


def test_strings_that_differ_after_a_zero_character():
    true, pred = np.array(["a\0b", "a\0c", "a\0c"]), np.array(["a\0c", "a\0c", "a\0b"])
    assert metrics.confusion_matrix(true, pred).tolist() == [[0, 1], [1, 1]]


# Hand values.


def test_cats_and_dogs():
    """998 dogs and 2 cats; 999 animals are classified as dogs, and 1 as a cat, correctly."""
    y_true = np.array(["dog"] * 998 + ["cat"] * 2)
    y_pred = np.array(["dog"] * 998 + ["cat", "dog"])
    assert metrics.accuracy_score(y_true, y_pred) == 0.999
    assert metrics.precision_score(y_true, y_pred, pos_label="cat") == 1.0
    assert metrics.recall_score(y_true, y_pred, pos_label="cat") == 0.5
    assert metrics.f1_score(y_true, y_pred, pos_label="cat") == pytest.approx(2 / 3, rel=1e-15)
    assert metrics.jaccard_score(y_true, y_pred, pos_label="cat") == 0.5
    assert metrics.balanced_accuracy_score(y_true, y_pred) == 0.75
    np.testing.assert_array_equal(metrics.confusion_matrix(y_true, y_pred), [[1, 1], [0, 998]])


def test_hand_values_of_three_classes():
    y_true = [0, 0, 0, 1, 1, 2]
    y_pred = [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(metrics.confusion_matrix(y_true, y_pred), [[2, 1, 0], [0, 1, 1], [0, 0, 1]])
    assert metrics.accuracy_score(y_true, y_pred) == 4 / 6
    assert metrics.accuracy_score(y_true, y_pred, normalize=False) == 4.0
    np.testing.assert_array_equal(metrics.precision_score(y_true, y_pred, average=None), [1.0, 0.5, 0.5])
    np.testing.assert_array_equal(metrics.recall_score(y_true, y_pred, average=None), [2 / 3, 0.5, 1.0])
    assert metrics.recall_score(y_true, y_pred, average="weighted") == pytest.approx(4 / 6, rel=1e-15)
    assert metrics.f1_score(y_true, y_pred, average="micro") == 4 / 6
    assert metrics.f1_score(y_true, y_pred, average="macro") == pytest.approx((0.8 + 0.5 + 2 / 3) / 3, rel=1e-15)
    np.testing.assert_array_equal(metrics.iou_score(y_true, y_pred, average=None), [2 / 3, 1 / 3, 0.5])
    assert metrics.balanced_accuracy_score(y_true, y_pred) == pytest.approx((2 / 3 + 0.5 + 1) / 3, rel=1e-15)
    # t = (3, 2, 1), p = (2, 2, 2), 4 right of 6.
    assert metrics.matthews_corrcoef(y_true, y_pred) == pytest.approx((24 - 12) / math.sqrt(24 * 22), rel=1e-15)
    assert metrics.cohen_kappa_score(y_true, y_pred) == pytest.approx((4 / 6 - 1 / 3) / (1 - 1 / 3), rel=1e-15)


def test_hand_values_with_weights():
    y_true, y_pred, weight = [1, 1, 0, 0], [1, 0, 0, 1], [4.0, 1.0, 2.0, 1.0]
    assert metrics.accuracy_score(y_true, y_pred, sample_weight=weight) == 6 / 8
    assert metrics.precision_score(y_true, y_pred, sample_weight=weight) == 4 / 5
    assert metrics.recall_score(y_true, y_pred, sample_weight=weight) == 4 / 5
    matrix = metrics.confusion_matrix(y_true, y_pred, sample_weight=[4, 1, 2, 1])
    np.testing.assert_array_equal(matrix, [[2, 1], [1, 4]])
    assert matrix.dtype == np.int64


def test_masks():
    y_true = np.zeros((8, 8), dtype=bool)
    y_pred = np.zeros((8, 8), dtype=bool)
    y_true[2:6, 2:6] = True
    y_pred[4:8, 2:6] = True
    assert metrics.iou_score(y_true.ravel(), y_pred.ravel()) == 8 / 24


def test_multilabel_hand_values():
    y_true = np.array([[1, 0, 1], [0, 1, 0]])
    y_pred = np.array([[1, 0, 0], [0, 1, 0]])
    assert metrics.accuracy_score(y_true, y_pred) == 0.5
    assert metrics.f1_score(y_true, y_pred, average="samples") == pytest.approx((2 / 3 + 1) / 2, rel=1e-15)
    assert metrics.jaccard_score(y_true, y_pred, average="samples") == 0.75
    assert metrics.recall_score(y_true, y_pred, average="micro") == 2 / 3


def test_report_text():
    report = metrics.classification_report([0, 1, 1, 1], [0, 0, 1, 1], target_names=["cat", "dog"], digits=3)
    assert report == (
        "              precision    recall  f1-score   support\n\n"
        "         cat      0.500     1.000     0.667         1\n"
        "         dog      1.000     0.667     0.800         3\n\n"
        "    accuracy                          0.750         4\n"
        "   macro avg      0.750     0.833     0.733         4\n"
        "weighted avg      0.875     0.750     0.767         4\n"
    )


def test_nothing_predicted():
    with pytest.warns(metrics.UndefinedMetricWarning, match="Precision is ill-defined"):
        assert metrics.precision_score([1, 1, 0], [0, 0, 0]) == 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.precision_score([1, 1, 0], [0, 0, 0], zero_division=1) == 1.0
        assert math.isnan(metrics.precision_score([1, 1, 0], [0, 0, 0], zero_division=np.nan))
        # Labels without predictions are left out of the mean.
        assert metrics.precision_score([1, 1, 0], [0, 0, 0], average="macro", zero_division=np.nan) == 1 / 3


def test_warnings_point_at_the_caller():
    for call in (
        lambda: metrics.f1_score([0, 0], [0, 0]),
        lambda: metrics.confusion_matrix([0, 0], [0, 0]),
        lambda: metrics.classification_report([0, 0], [0, 1]),
    ):
        with pytest.warns(UserWarning) as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}


def test_large_counts_are_exact():
    y_true = np.tile(np.arange(4), 50_000)
    y_pred = np.roll(y_true, 1)
    y_pred[::2] = y_true[::2]
    matrix = metrics.confusion_matrix(y_true, y_pred)
    assert matrix.sum() == 200_000
    np.testing.assert_array_equal(np.diagonal(matrix), [50_000, 0, 50_000, 0])


# Bad input.


@pytest.mark.parametrize(
    ("message", "y_true", "y_pred", "options"),
    [
        ("inconsistent numbers of samples", [0, 1], [0, 1, 1], {}),
        ("empty", [], [], {}),
        ("continuous is not supported", [0.5, 1.2], [0.5, 1.2], {}),
        ("mix of binary and continuous", [0, 1], [0.5, 1.2], {}),
        ("mix of multilabel-indicator and binary", [[0, 1], [1, 1]], [0, 1], {}),
        ("multiclass-multioutput is not supported", [[0, 3], [1, 2]], [[0, 3], [1, 2]], {}),
        ("different numbers of labels", [[0, 1], [1, 1]], [[0, 1, 1], [1, 1, 0]], {"average": "micro"}),
        ("string and number", ["a", "b"], [0, 1], {}),
        ("string and number", ["a", 1], ["a", "b"], {}),
        ("NaN", [0.0, np.nan], [0.0, 1.0], {}),
        ("unknown is not supported", np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), {}),
        ("sample_weight", [0, 1], [0, 1], {"sample_weight": [1.0]}),
        ("non-zero", [0, 1], [0, 1], {"sample_weight": [0.0, 0.0]}),
        ("sample_weight contains NaN", [0, 1], [0, 1], {"sample_weight": [1.0, np.inf]}),
        ("average='binary'", [0, 1, 2], [0, 1, 2], {}),
        ("average must be 'binary', ", [0, 1], [0, 1], {"average": "mean"}),
        ("pos_label=2", [0, 1], [0, 1], {"pos_label": 2}),
        ("Samplewise", [0, 1], [0, 1], {"average": "samples"}),
        ("zero_division", [0, 1], [0, 1], {"zero_division": 2}),
    ],
)
def test_errors(message, y_true, y_pred, options):
    with pytest.raises(ValueError, match=message):
        metrics.f1_score(y_true, y_pred, **options)


def test_errors_of_single_functions():
    with pytest.raises(ValueError, match="normalize must be 'true', 'pred', 'all' or None"):
        metrics.confusion_matrix([0, 1], [0, 1], normalize="rows")
    with pytest.raises(ValueError, match="must be in y_true"):
        metrics.confusion_matrix([0, 1], [0, 1], labels=[5])
    with pytest.raises(ValueError, match="at least one label"):
        metrics.confusion_matrix([0, 1], [0, 1], labels=[])
    with pytest.raises(ValueError, match="multilabel-indicator is not supported"):
        metrics.confusion_matrix([[0, 1], [1, 0]], [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="beta"):
        metrics.fbeta_score([0, 1], [0, 1], beta=-1)
    with pytest.raises(ValueError, match="zero_division must be 'warn', 0 or 1"):
        metrics.jaccard_score([0, 1], [0, 1], zero_division=np.nan)
    with pytest.raises(ValueError, match="weights must be 'linear', 'quadratic' or None"):
        metrics.cohen_kappa_score([0, 1], [0, 1], weights="cubic")
    with pytest.raises(ValueError, match="target_names has 1 names for 2 labels"):
        metrics.classification_report([0, 1], [0, 1], target_names=["a"])
    with pytest.raises(TypeError, match="bytes"):
        metrics.accuracy_score(np.array([b"a", b"b"]), np.array([b"a", b"b"]))
    with pytest.raises(ValueError, match="must be an array"):
        metrics.accuracy_score(1, [1])


def test_arguments_are_not_modified():
    y_true, y_pred, weight = np.array([0, 1, 1]), np.array([1, 1, 0]), np.array([1.0, 2.0, 0.0])
    copies = y_true.copy(), y_pred.copy(), weight.copy()
    metrics.classification_report(y_true, y_pred, sample_weight=weight, zero_division=0)
    metrics.confusion_matrix(y_true, y_pred, sample_weight=weight)
    for before, after in zip(copies, (y_true, y_pred, weight), strict=True):
        np.testing.assert_array_equal(before, after)


# Against scikit-learn.


def label_cases(seed):
    """Random pairs of true and predicted labels of every kind, some of them degenerate."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 60))
    for n_classes in (1, 2, 5):
        t = generator.integers(0, n_classes, n)
        p = np.where(generator.random(n) < 0.6, t, generator.integers(0, n_classes, n))
        yield t, p
        yield t.tolist(), p.tolist()
        yield t.astype(np.uint8), p.astype(np.int16)
        yield t.astype(np.float32), p
        yield t[:, None], p
        yield 2 * t - 1, 2 * p - 1
        yield t * 1_000_003 - 17, p * 1_000_003 - 17
        yield t * 900, p * 900
        yield np.array(list("cabdxyz"))[t], np.array(list("cabdxyz"))[p]
        yield np.array(list("cabdxyz"), dtype=object)[t], np.array(list("cabdxyz"), dtype=object)[p]
        if n_classes <= 2:
            yield t.astype(bool), p.astype(bool)
            yield t.astype(bool), p
    # Classes that only one side has.
    yield np.zeros(n, dtype=int), generator.integers(0, 3, n)
    yield generator.integers(0, 3, n), np.full(n, 2)
    many = generator.integers(0, 5000, 40)
    yield many, np.roll(many, 1)


def multilabel_cases(seed):
    generator = np.random.default_rng(seed)
    n, k = int(generator.integers(2, 30)), int(generator.integers(2, 6))
    t, p = generator.integers(0, 2, (n, k)), generator.integers(0, 2, (n, k))
    t[0, 0], p[0, 0] = 1, 1
    yield t, p
    yield t.astype(float), p.astype(bool)
    t, p = t.copy(), p.copy()
    t[1:], p[:, 1] = 0, 0
    yield t, p


def with_weights(generator, n):
    return (None, generator.random(n) + 0.01, generator.integers(1, 4, n))


@pytest.mark.parametrize("seed", range(2))
def test_matrices_and_accuracy(seed, sklearn_metrics):
    generator = np.random.default_rng(seed + 100)
    for t, p in label_cases(seed):
        for weight in with_weights(generator, len(t)):
            for name in ("accuracy_score", "confusion_matrix", "balanced_accuracy_score", "matthews_corrcoef"):
                assert_same(name, sklearn_metrics, t, p, sample_weight=weight)
            assert_same("accuracy_score", sklearn_metrics, t, p, sample_weight=weight, normalize=False)
            normalize = generator.choice(["true", "pred", "all"]).item()
            assert_same("confusion_matrix", sklearn_metrics, t, p, sample_weight=weight, normalize=normalize)
            kind = [None, "linear", "quadratic"][generator.integers(3)]
            assert_same("cohen_kappa_score", sklearn_metrics, t, p, weights=kind, sample_weight=weight)


@pytest.mark.parametrize("seed", range(2))
def test_selected_labels(seed, sklearn_metrics):
    generator = np.random.default_rng(seed + 200)
    for t, p in label_cases(seed):
        present = np.unique(np.asarray(t))
        labels = generator.permutation(present)[: max(1, len(present) - 1)]
        if not np.isin(labels, np.asarray(t)).any():
            continue
        weight = generator.random(len(t)) + 0.01
        assert_same("confusion_matrix", sklearn_metrics, t, p, labels=labels, sample_weight=weight)
        for name in LABEL_METRICS:
            options = {"beta": 0.5} if name == "fbeta_score" else {}
            average = ["micro", "macro", "weighted", None][generator.integers(4)]
            assert_same(name, sklearn_metrics, t, p, labels=labels, average=average, **options)
        if np.asarray(t).dtype.kind in "iu":
            extended = [*labels.tolist(), 77]
            assert_same("confusion_matrix", sklearn_metrics, t, p, labels=extended)
            assert_same("recall_score", sklearn_metrics, t, p, labels=extended, average=None)


@pytest.mark.parametrize("seed", range(2))
def test_precision_recall_and_related_scores(seed, sklearn_metrics):
    generator = np.random.default_rng(seed + 300)
    for t, p in label_cases(seed):
        labels = np.unique(np.concatenate([np.ravel(t), np.ravel(p)]))
        for weight in with_weights(generator, len(t)):
            for name in LABEL_METRICS:
                options = {"beta": float(generator.choice([0.0, 0.5, 2.0, np.inf]))} if name == "fbeta_score" else {}
                values = ("warn", 0, 1) if name == "jaccard_score" else ("warn", 1, np.nan)
                options |= {"sample_weight": weight, "zero_division": values[generator.integers(3)]}
                for average in ("macro", ["micro", "weighted", None][generator.integers(3)]):
                    assert_same(name, sklearn_metrics, t, p, average=average, **options)
                if len(labels) == 2:
                    assert_same(name, sklearn_metrics, t, p, pos_label=labels.tolist()[0], **options)


@pytest.mark.parametrize("seed", range(2))
def test_multilabel(seed, sklearn_metrics):
    generator = np.random.default_rng(seed + 400)
    for t, p in multilabel_cases(seed):
        for weight in (None, generator.random(len(t)) + 0.01):
            assert_same("accuracy_score", sklearn_metrics, t, p, sample_weight=weight)
            assert_same("accuracy_score", sklearn_metrics, t, p, sample_weight=weight, normalize=False)
            for name in LABEL_METRICS:
                options = {"beta": 2.0} if name == "fbeta_score" else {}
                for average in ("micro", "macro", "weighted", "samples", None):
                    assert_same(name, sklearn_metrics, t, p, average=average, sample_weight=weight, **options)
                    assert_same(name, sklearn_metrics, t, p, average=average, labels=[1, 0], **options)
            assert_same("classification_report", sklearn_metrics, t, p, sample_weight=weight)


@pytest.mark.parametrize("seed", range(1))
def test_report(seed, sklearn_metrics):
    generator = np.random.default_rng(seed + 500)
    for t, p in label_cases(seed):
        labels = np.unique(np.concatenate([np.ravel(t), np.ravel(p)]))
        if not np.equal(np.ravel(t), np.ravel(p)).any():
            continue  # scikit-learn then prints whole supports as fractions
        names = [f"class {i}" for i in range(len(labels))]
        for weight in with_weights(generator, len(t)):
            assert_same("classification_report", sklearn_metrics, t, p, sample_weight=weight)
            assert_same("classification_report", sklearn_metrics, t, p, sample_weight=weight, output_dict=True)
        assert_same("classification_report", sklearn_metrics, t, p, target_names=names, digits=4)
        assert_same("classification_report", sklearn_metrics, t, p, labels=labels[:1], zero_division=np.nan)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "options"),
    [
        ([0, 1], [0, 1, 1], {}),
        ([0.5, 1.2], [0.5, 1.2], {}),
        ([0, 1, 2], [0, 1, 2], {}),
        ([[0, 1], [1, 1]], [0, 1], {}),
        (["a", "b"], [0, 1], {"average": "macro"}),
        (["a", "b"], ["a", "b"], {}),
        ([0, 1], [0, 1], {"sample_weight": [1.0, 2.0, 3.0]}),
        ([0, 1], [0, 1], {"average": "samples"}),
        ([[0, 1], [1, 1]], [[0, 1], [1, 1]], {"average": "macro", "labels": [5]}),
    ],
)
def test_both_refuse(y_true, y_pred, options, sklearn_metrics):
    assert outcome(metrics.f1_score, y_true, y_pred, **options) == ("error", "ValueError")
    assert outcome(sklearn_metrics.f1_score, y_true, y_pred, **options) == ("error", "ValueError")


def test_sparse_indicators(sklearn_metrics):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    t, p = next(multilabel_cases(0))
    assert_same("f1_score", sklearn_metrics, sparse.csr_matrix(t), sparse.csr_matrix(p), average="macro")
    with pytest.raises(TypeError, match="Sparse input"):
        metrics.f1_score(sparse.csr_matrix([[1], [0]]), [1, 0])
