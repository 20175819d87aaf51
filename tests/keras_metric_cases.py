"""Cases of metric classes and their data, which make_keras_metrics.py records and test_keras_metrics.py compares."""

from collections.abc import Iterator
from typing import Any

import numpy as np

RNG = np.random.default_rng(7)
N = 60
BINARY = (RNG.random((N, 1)) > 0.6).astype(np.float32)
SCORES = np.round(np.clip(0.3 * BINARY + 0.8 * RNG.random((N, 1)), 0.0, 1.0), 2).astype(np.float32)
LABELS = RNG.integers(0, 4, N)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
PROBABILITIES = (0.6 * RNG.dirichlet(np.ones(4), N) + 0.4 * np.eye(4)[np.where(RNG.random(N) < 0.6, LABELS, 0)]).astype(
    np.float32
)
MANY = (RNG.random((N, 3)) > 0.5).astype(np.float32)
MANY_SCORES = np.round(RNG.random((N, 3)), 3).astype(np.float32)
NUMBERS = RNG.normal(size=(N, 2)).astype(np.float32)
GUESSES = (NUMBERS + 0.5 * RNG.normal(size=(N, 2))).astype(np.float32)
POSITIVE, POSITIVE_GUESSES = np.abs(NUMBERS), np.abs(GUESSES)
LOGITS = RNG.normal(size=(N, 4)).astype(np.float32)
CALLED = np.where(RNG.random(N) < 0.7, LABELS, 1)
# Whole numbers, because Keras's IoU truncates weights.
WEIGHT = RNG.integers(0, 4, N).astype(np.float32)

DATA: dict[str, tuple[Any, Any]] = {
    "binary": (BINARY, SCORES),
    "one_hot": (ONE_HOT, PROBABILITIES),
    "sparse": (LABELS, PROBABILITIES),
    "sparse_logits": (LABELS, LOGITS),
    "many": (MANY, MANY_SCORES),
    "numbers": (NUMBERS, GUESSES),
    "positive": (POSITIVE, POSITIVE_GUESSES),
    "one_hot_logits": (ONE_HOT, LOGITS),
    "binary_logits": (BINARY, LOGITS[:, :1]),
    "labels": (LABELS, CALLED),
    "values": (NUMBERS[:, 0], None),
}


def batches(data: str) -> Iterator[tuple[Any, Any, Any]]:
    """Yield targets, outputs and weights of two batches of different sizes."""
    y_true, y_pred = DATA[data]
    for part in (slice(0, 25), slice(25, N)):
        yield y_true[part], None if y_pred is None else y_pred[part], WEIGHT[part]


# name -> (class, constructor arguments, data)
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "accuracy": ("Accuracy", {}, "labels"),
    "binary_accuracy": ("BinaryAccuracy", {}, "binary"),
    "binary_accuracy_many": ("BinaryAccuracy", {"threshold": 0.3}, "many"),
    "categorical_accuracy": ("CategoricalAccuracy", {}, "one_hot"),
    "sparse_categorical_accuracy": ("SparseCategoricalAccuracy", {}, "sparse"),
    "top_k": ("TopKCategoricalAccuracy", {"k": 2}, "one_hot"),
    "sparse_top_k": ("SparseTopKCategoricalAccuracy", {"k": 2}, "sparse"),
    "true_positives": ("TruePositives", {}, "binary"),
    "false_positives": ("FalsePositives", {"thresholds": [0.2, 0.9, 0.5]}, "binary"),
    "true_negatives": ("TrueNegatives", {"thresholds": [0.0, 0.5, 1.0]}, "many"),
    "false_negatives": ("FalseNegatives", {"thresholds": 0.7}, "many"),
    "precision": ("Precision", {}, "binary"),
    "precision_thresholds": ("Precision", {"thresholds": [0.25, 0.5, 0.75]}, "many"),
    "precision_top_k": ("Precision", {"top_k": 2}, "one_hot"),
    "precision_class": ("Precision", {"class_id": 1}, "many"),
    "recall": ("Recall", {}, "binary"),
    "recall_top_k_class": ("Recall", {"top_k": 2, "class_id": 0}, "one_hot"),
    "sensitivity_at_specificity": ("SensitivityAtSpecificity", {"specificity": 0.6}, "binary"),
    "specificity_at_sensitivity": ("SpecificityAtSensitivity", {"sensitivity": 0.6, "num_thresholds": 17}, "binary"),
    "precision_at_recall": ("PrecisionAtRecall", {"recall": 0.8}, "binary"),
    "recall_at_precision": ("RecallAtPrecision", {"precision": 0.7, "num_thresholds": 1}, "binary"),
    "recall_at_precision_class": ("RecallAtPrecision", {"precision": 0.5, "class_id": 2}, "many"),
    "auc": ("AUC", {}, "binary"),
    "auc_pr": ("AUC", {"curve": "PR"}, "binary"),
    "auc_pr_majoring": ("AUC", {"curve": "PR", "summation_method": "majoring"}, "binary"),
    "auc_minoring": ("AUC", {"summation_method": "minoring", "num_thresholds": 11}, "binary"),
    "auc_prgain": ("AUC", {"curve": "PRGAIN"}, "binary"),
    "auc_thresholds": ("AUC", {"thresholds": [0.1, 0.35, 0.8]}, "binary"),
    "auc_many": ("AUC", {}, "many"),
    "auc_labels": ("AUC", {"multi_label": True}, "many"),
    "auc_label_weights": ("AUC", {"multi_label": True, "label_weights": [1.0, 2.0, 0.5], "curve": "PR"}, "many"),
    "auc_weights": ("AUC", {"label_weights": [1.0, 2.0, 0.5]}, "many"),
    "auc_logits": ("AUC", {"from_logits": True}, "binary_logits"),
    "auc_one_hot": ("AUC", {}, "one_hot"),
    "f1": ("F1Score", {}, "one_hot"),
    "f1_macro": ("F1Score", {"average": "macro"}, "one_hot"),
    "f1_micro": ("F1Score", {"average": "micro", "threshold": 0.4}, "many"),
    "f1_weighted": ("F1Score", {"average": "weighted"}, "one_hot"),
    "f1_binary": ("F1Score", {"threshold": 0.5}, "binary"),
    "f1_binary_default": ("F1Score", {}, "binary"),
    "fbeta": ("FBetaScore", {"beta": 2.0, "average": "macro", "threshold": 0.5}, "many"),
    "iou": ("IoU", {"num_classes": 4, "target_class_ids": [0, 2]}, "labels"),
    "iou_ignore": ("IoU", {"num_classes": 4, "target_class_ids": [1, 2], "ignore_class": 1}, "labels"),
    "binary_iou": ("BinaryIoU", {}, "binary"),
    "binary_iou_one": ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.7}, "binary"),
    "mean_iou": ("MeanIoU", {"num_classes": 4}, "labels"),
    "one_hot_iou": ("OneHotIoU", {"num_classes": 4, "target_class_ids": [0, 3]}, "one_hot"),
    "one_hot_mean_iou": ("OneHotMeanIoU", {"num_classes": 4}, "one_hot"),
    "mean_squared_error": ("MeanSquaredError", {}, "numbers"),
    "root_mean_squared_error": ("RootMeanSquaredError", {}, "numbers"),
    "mean_absolute_error": ("MeanAbsoluteError", {}, "numbers"),
    "mape": ("MeanAbsolutePercentageError", {}, "numbers"),
    "msle": ("MeanSquaredLogarithmicError", {}, "positive"),
    "msle_negative": ("MeanSquaredLogarithmicError", {}, "numbers"),
    "logcosh": ("LogCoshError", {}, "numbers"),
    "cosine": ("CosineSimilarity", {}, "numbers"),
    "r2": ("R2Score", {}, "numbers"),
    "r2_variance": ("R2Score", {"class_aggregation": "variance_weighted_average"}, "numbers"),
    "r2_each": ("R2Score", {"class_aggregation": None, "num_regressors": 3}, "numbers"),
    "hinge": ("Hinge", {}, "binary"),
    "squared_hinge": ("SquaredHinge", {}, "numbers"),
    "categorical_hinge": ("CategoricalHinge", {}, "one_hot"),
    "kl_divergence": ("KLDivergence", {}, "one_hot"),
    "poisson": ("Poisson", {}, "positive"),
    "binary_crossentropy": ("BinaryCrossentropy", {}, "binary"),
    "binary_crossentropy_smooth": ("BinaryCrossentropy", {"label_smoothing": 0.2}, "many"),
    "binary_crossentropy_logits": ("BinaryCrossentropy", {"from_logits": True}, "binary_logits"),
    "categorical_crossentropy": ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "one_hot"),
    "categorical_crossentropy_logits": ("CategoricalCrossentropy", {"from_logits": True}, "one_hot_logits"),
    "sparse_categorical_crossentropy": ("SparseCategoricalCrossentropy", {}, "sparse"),
    "sparse_categorical_crossentropy_logits": ("SparseCategoricalCrossentropy", {"from_logits": True}, "sparse_logits"),
    "mean": ("Mean", {}, "values"),
    "sum": ("Sum", {}, "values"),
}
