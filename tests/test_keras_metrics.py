"""Keras's metric classes: the values that Keras computes, use in compile, and what users may pass."""

import json
from pathlib import Path

import numpy as np
import pytest
from keras_metric_cases import CASES, batches

import fastnn
from fastnn import layers, metrics
from fastnn.training.metrics import compile_metrics

KERAS = json.loads((Path(__file__).parent / "data" / "keras_metrics.json").read_text())["values"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_equal_to_keras(name, weighted):
    class_name, options, data = CASES[name]
    metric = getattr(metrics, class_name)(**options)
    expected = np.asarray(KERAS[f"{name} weighted" if weighted else name])
    for _ in range(2):
        for y_true, y_pred, weight in batches(data):
            arguments = (y_true,) if y_pred is None else (y_true, y_pred)
            metric.update_state(*arguments, sample_weight=weight if weighted else None)
        result = np.asarray(metric.result())
        assert np.size(result) == expected.size
        # Keras sums in float32.
        np.testing.assert_allclose(result.reshape(-1), expected.reshape(-1), rtol=2e-5, atol=1e-6)
        metric.reset_state()
    again = type(metric).from_config(json.loads(json.dumps(metric.get_config())))
    assert again.get_config() == metric.get_config()


def test_every_name_of_keras():
    names = (
        "accuracy acc crossentropy ce mean_squared_error mse MSE MeanSquaredError root_mean_squared_error "
        "mean_absolute_error mae MAE mean_absolute_percentage_error mape MAPE mean_squared_logarithmic_error msle MSLE "
        "cosine_similarity log_cosh_error r2_score auc AUC false_negatives false_positives precision Precision recall "
        "true_negatives true_positives hinge squared_hinge categorical_hinge kl_divergence poisson "
        "binary_crossentropy bce BCE categorical_crossentropy sparse_categorical_crossentropy binary_accuracy "
        "categorical_accuracy sparse_categorical_accuracy top_k_categorical_accuracy "
        "sparse_top_k_categorical_accuracy f1_score fbeta_score binary_io_u"
    ).split()
    assert [metric.name for metric in compile_metrics(names)] == names
    with pytest.raises(ValueError, match=r"needs arguments: pass fastnn.metrics.MeanIoU"):
        compile_metrics("mean_io_u")
    with pytest.raises(ValueError, match="Did you mean 'precision'"):
        compile_metrics("precison")


def test_metrics_in_compile_with_and_without_weights():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = (X[:, 0] + 0.3 * rng.normal(size=200) > 0).astype(int)
    weight = rng.integers(0, 3, 200)
    model = fastnn.Sequential([layers.Dense(1, activation="sigmoid")], seed=0)
    model.compile(
        "adam",
        "binary_crossentropy",
        metrics=[metrics.AUC(name="area"), metrics.Precision(thresholds=[0.3, 0.7], name="shares"), "recall"],
        weighted_metrics=[metrics.TruePositives(name="hits")],
    )
    history = model.fit(X, y, sample_weight=weight, epochs=2, validation_data=(X, y, weight), verbose=0).history
    p = model.predict(X)[:, 0]
    assert history["val_hits"][-1] == weight[(p > 0.5) & (y == 1)].sum()
    assert history["val_area"][-1] == pytest.approx(metrics.roc_auc_score(y, p), abs=5e-3)
    assert history["val_recall"][-1] == pytest.approx(metrics.recall_score(y, p > 0.5))
    expected = [metrics.precision_score(y, p > threshold) for threshold in (0.3, 0.7)]
    np.testing.assert_allclose(history["val_shares"][-1], expected)
    with pytest.raises(ValueError, match="an array"):
        stop = fastnn.callbacks.EarlyStopping("val_shares", mode="max")
        model.fit(X, y, validation_data=(X, y), epochs=1, verbose=0, callbacks=[stop])


def test_early_stopping_knows_the_direction():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    y = (X[:, 0] > 0).astype(int)
    model = fastnn.Sequential([layers.Dense(1, activation="sigmoid")], seed=0)
    model.compile("adam", "bce", metrics=["auc", metrics.FalsePositives(name="alarms")])
    for monitor in ("val_auc", "val_alarms"):
        stop = fastnn.callbacks.EarlyStopping(monitor, patience=100)
        model.fit(X, y, validation_data=(X, y), epochs=2, verbose=0, callbacks=[stop])
        assert stop._sign == (1.0 if monitor == "val_auc" else -1.0)


def test_a_custom_metric_class():
    class Share(metrics.Metric):
        def __init__(self, name="share", **options):
            super().__init__(name=name, **options)
            self.hits = self.add_weight(name="hits", initializer="zeros")
            self.rows = self.add_variable(shape=(), initializer="zeros", name="rows")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.hits.assign_add(np.sum(np.abs(y_true - y_pred) < 0.5))
            self.rows.assign(self.rows + len(y_true))

        def result(self):
            return self.hits / self.rows

    X = np.linspace(-1, 1, 40).reshape(-1, 1)
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=[Share()])
    results = model.evaluate(X, X, verbose=0, return_dict=True)
    assert results["share"] == np.mean(np.abs(X - model.predict(X)) < 0.5)


def test_bad_arguments():
    for build, words in (
        (lambda: metrics.AUC(curve="RCO"), "Did you mean 'ROC'"),
        (lambda: metrics.AUC(num_thresholds=1), "num_thresholds"),
        (lambda: metrics.Precision(thresholds=1.5), "between 0 and 1"),
        (lambda: metrics.F1Score(average="makro"), "Did you mean 'macro'"),
        (lambda: metrics.FBetaScore(beta=0.0), "beta"),
        (lambda: metrics.IoU(3, [3]), "target_class_ids"),
        (lambda: metrics.RecallAtPrecision(1.2), "precision must be a number between"),
        (lambda: metrics.R2Score("mean"), "class_aggregation"),
    ):
        with pytest.raises(ValueError, match=words):
            build()


TRUE, PREDICTED, WEIGHT = [0.0, 1.0, 1.0], [0.2, 0.6, 0.4], [1.0, 2.0, 3.0]
OPTIONS = {
    "IoU": {"num_classes": 2, "target_class_ids": [0, 1]},
    "MeanIoU": {"num_classes": 2},
    "PrecisionAtRecall": {"recall": 0.9},
    "RecallAtPrecision": {"precision": 0.9},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.9},
    "MeanMetricWrapper": {"fn": lambda y_true, y_pred: np.abs(np.subtract(y_true, y_pred))},
    "Precision": {"thresholds": 0.3},
    "FalsePositives": {"thresholds": 0.1},
    "TrueNegatives": {"thresholds": 0.3},
}
# Values of TRUE, PREDICTED and WEIGHT: the weights sum to 6, the errors are 0.2, 0.4 and 0.6.
WEIGHTED = {
    "RootMeanSquaredError": np.sqrt((0.04 + 2 * 0.16 + 3 * 0.36) / 6),
    "MeanSquaredError": (0.04 + 2 * 0.16 + 3 * 0.36) / 6,
    "MeanAbsoluteError": (0.2 + 2 * 0.4 + 3 * 0.6) / 6,
    "MeanMetricWrapper": (0.2 + 2 * 0.4 + 3 * 0.6) / 6,
    "MeanAbsolutePercentageError": 100 * (0.2e7 + 2 * 0.4 + 3 * 0.6) / 6,
    "MeanSquaredLogarithmicError": (np.log1p(0.2) ** 2 + 2 * np.log(2 / 1.6) ** 2 + 3 * np.log(2 / 1.4) ** 2) / 6,
    "LogCoshError": (np.log(np.cosh(0.2)) + 2 * np.log(np.cosh(0.4)) + 3 * np.log(np.cosh(0.6))) / 6,
    "Hinge": (1.2 + 2 * 0.4 + 3 * 0.6) / 6,
    "SquaredHinge": (1.44 + 2 * 0.16 + 3 * 0.36) / 6,
    "Poisson": (0.2 + 2 * (0.6 - np.log(0.6)) + 3 * (0.4 - np.log(0.4))) / 6,
    "BinaryCrossentropy": -(np.log(0.8) + 2 * np.log(0.6) + 3 * np.log(0.4)) / 6,
    "BinaryAccuracy": 3 / 6,
    "Accuracy": 0.0,
    "AUC": 1.0,
    "TruePositives": 2.0,
    "FalsePositives": 1.0,
    "TrueNegatives": 1.0,
    "FalseNegatives": 3.0,
    "Precision": 1.0,
    "Recall": 2 / 5,
    "SensitivityAtSpecificity": 1.0,
    "SpecificityAtSensitivity": 1.0,
    "PrecisionAtRecall": 1.0,
    "RecallAtPrecision": 1.0,
    "BinaryIoU": (1 / 4 + 2 / 5) / 2,
}
ROWS = (
    "CategoricalAccuracy TopKCategoricalAccuracy CategoricalCrossentropy CategoricalHinge CosineSimilarity "
    "KLDivergence ConcordanceCorrelation PearsonCorrelation"
).split()
LABELS = "SparseCategoricalAccuracy SparseTopKCategoricalAccuracy SparseCategoricalCrossentropy".split()
COLUMNS = ["F1Score", "FBetaScore", "R2Score"]


def value_of(name, *arguments, **options):
    metric = getattr(metrics, name)(**OPTIONS.get(name, {}))
    metric.update_state(*arguments, **options)
    return metric.result()


@pytest.mark.parametrize("name", WEIGHTED)
def test_one_dimension_and_weights(name):
    for weight in (WEIGHT, np.array(WEIGHT)[:, np.newaxis]):
        assert value_of(name, TRUE, PREDICTED, sample_weight=weight) == pytest.approx(WEIGHTED[name], rel=2e-6)
    columns = np.array(TRUE)[:, np.newaxis], np.array(PREDICTED)[:, np.newaxis]
    assert value_of(name, *columns, sample_weight=WEIGHT) == pytest.approx(WEIGHTED[name], rel=2e-6)
    if name != "MeanMetricWrapper":  # its function broadcasts
        assert value_of(name, TRUE, columns[1], sample_weight=WEIGHT) == pytest.approx(WEIGHTED[name], rel=2e-6)
    equal = value_of(name, TRUE, PREDICTED, sample_weight=[1.0, 1.0, 1.0])
    assert equal == pytest.approx(value_of(name, TRUE, PREDICTED), rel=1e-12)
    with pytest.raises(ValueError, match=r"sample_weight .* got shape \(2,"):
        value_of(name, TRUE, PREDICTED, sample_weight=[1.0, 2.0])


def test_root_mean_squared_error_of_weighted_numbers():
    assert value_of("RootMeanSquaredError", [0.0, 1.0], [0.5, 0.5], sample_weight=[1.0, 2.0]) == 0.5


def test_every_class_has_a_case_in_one_dimension():
    cases = {
        *WEIGHTED,
        *ROWS,
        *LABELS,
        *COLUMNS,
        "IoU",
        "MeanIoU",
        "OneHotIoU",
        "OneHotMeanIoU",
        "Mean",
        "Sum",
        "Metric",
    }
    assert cases == set(metrics.keras.__all__)


def test_one_dimension_and_weights_of_labels_and_values():
    assert value_of("Mean", PREDICTED, sample_weight=WEIGHT) == pytest.approx(2.6 / 6)
    assert value_of("Sum", PREDICTED, sample_weight=WEIGHT) == pytest.approx(2.6)
    for name in ("IoU", "MeanIoU"):
        # Of class 0 weight 1 of 4 is right, of class 1 weight 2 of 5.
        assert value_of(name, [0, 1, 1], [0, 1, 0], sample_weight=WEIGHT) == pytest.approx(0.325, rel=1e-6)
    outputs = [[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]]
    assert value_of("SparseCategoricalAccuracy", [0, 1, 1], outputs, sample_weight=WEIGHT) == 0.5
    expected = -(np.log(0.7) + 2 * np.log(0.6) + 3 * np.log(0.1)) / 6
    assert value_of("SparseCategoricalCrossentropy", [0, 1, 1], outputs, sample_weight=WEIGHT) == pytest.approx(
        expected
    )
    assert value_of("SparseCategoricalAccuracy", [1], [0.2, 0.5, 0.3]) == 1.0


@pytest.mark.parametrize("name", ROWS)
def test_one_dimension_is_one_row_of_metrics_of_rows(name):
    one = value_of(name, TRUE, PREDICTED)
    assert one == pytest.approx(value_of(name, [TRUE], [PREDICTED]), rel=1e-12)
    assert value_of(name, TRUE, PREDICTED, sample_weight=2.0) == pytest.approx(one, rel=1e-12)
    with pytest.raises(ValueError, match=r"takes arrays of shape \(n, n_outputs\) with n weights"):
        value_of(name, TRUE, PREDICTED, sample_weight=WEIGHT)


@pytest.mark.parametrize("name", [*LABELS, *COLUMNS])
def test_metrics_that_need_two_dimensions_say_so(name):
    for weight in (None, WEIGHT):
        with pytest.raises(ValueError, match="shape"):
            value_of(name, [0, 1, 1], PREDICTED, sample_weight=weight)


@pytest.mark.parametrize("name", [*WEIGHTED, *ROWS, *LABELS, *COLUMNS])
def test_arrays_that_do_not_fit(name):
    labels = name in LABELS
    true, predicted = ([0, 1, 1], np.full((3, 2), 0.5)) if labels else (np.eye(3)[:, :2], np.full((3, 2), 0.5))
    with pytest.raises(ValueError, match="y_true|same shape" if name != "MeanMetricWrapper" else "broadcast"):
        value_of(name, true[:2], predicted)
    with pytest.raises(ValueError, match="sample_weight"):
        value_of(name, true, predicted, sample_weight=[1.0, 2.0, 3.0, 4.0])
    masked = np.ma.masked_equal(predicted, 0.5)
    with pytest.raises(ValueError, match="y_pred has masked entries"):
        value_of(name, true, masked)
    if name != "MeanMetricWrapper":
        with pytest.raises(ValueError, match="y_true must be real numbers"):
            value_of(name, [None, 1, 1] if labels else [[None, 1.0]] * 3, predicted)


@pytest.mark.parametrize("name", [*WEIGHTED, *ROWS])
def test_an_output_that_is_nan_makes_the_value_nan(name):
    metric = getattr(metrics, name)(**OPTIONS.get(name, {}))
    metric.update_state([[0.0, 1.0], [1.0, 0.0]], [[0.2, np.nan], [0.6, 0.3]])
    assert np.isnan(metric.result())
    metric.reset_state()
    metric.update_state([[0.0, 1.0], [1.0, 0.0]], [[0.2, 0.1], [0.6, 0.3]])
    assert not np.isnan(metric.result())


def test_nan_in_other_metrics():
    outputs = [[0.2, np.nan], [0.6, 0.3]]
    for name in LABELS:
        assert np.isnan(value_of(name, [0, 1], outputs))
        with pytest.raises(ValueError, match=r"y_true has a missing label \(NaN\) in row 1"):
            value_of(name, [0.0, np.nan], [[0.2, 0.1], [0.6, 0.3]])
    assert np.isnan(value_of("F1Score", [[0, 1], [1, 0]], outputs)).all()
    assert np.isnan(value_of("R2Score", [[0, 1], [1, 0]], outputs))
    assert np.isnan(value_of("MeanIoU", [0, 1], [0, np.nan]))
    assert value_of("AUC", [0, 0, 1, 1], [-np.inf, 0.5, 0.7, np.inf]) == 1.0


def test_labels_beyond_the_outputs():
    with pytest.raises(ValueError, match=r"y_true has the label 2 in row 1 .*; labels of 2 outputs are from 0 to 1"):
        value_of("SparseCategoricalCrossentropy", [0, 2], [[0.2, 0.8], [0.6, 0.4]])


def test_unsigned_outputs_are_ranked_as_numbers():
    true, predicted = [[0, 1, 0], [1, 0, 0]], np.array([[0, 200, 3], [1, 0, 2]], "uint8")
    metric = metrics.Precision(top_k=1)
    metric.update_state(true, predicted)
    assert metric.result() == 0.5
    assert value_of("CategoricalHinge", np.array(true, "uint8"), predicted) == pytest.approx((0 + 2 - 1 + 1) / 2)
