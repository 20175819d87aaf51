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
