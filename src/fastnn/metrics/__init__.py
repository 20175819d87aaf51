"""Metrics of predictions, with scikit-learn's names, arguments and results.

Also: calibration of probabilities and intervals, classification with a reject option, and Keras's metric classes,
which are updated with rows and can be passed to ``compile``.
"""

from typing import TYPE_CHECKING

import fastnn.metrics.keras as keras
from fastnn._missing import public_names
from fastnn.metrics.calibration import calibration_curve, expected_calibration_error, interval_coverage
from fastnn.metrics.classification import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    matthews_corrcoef,
)
from fastnn.metrics.keras import *  # noqa: F403  (the classes of keras.__all__)
from fastnn.metrics.precision_recall import (
    f1_score,
    fbeta_score,
    iou_score,
    jaccard_score,
    precision_score,
    recall_score,
)
from fastnn.metrics.probabilistic import brier_score_loss, log_loss
from fastnn.metrics.ranking import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
    top_k_accuracy_score,
)
from fastnn.metrics.regression import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_pinball_loss,
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)
from fastnn.metrics.report import classification_report
from fastnn.metrics.selective import accuracy_at_coverage, rejection_threshold, risk_coverage_curve, selective_accuracy
from fastnn.metrics.validation import UndefinedMetricWarning

__all__ = [
    "UndefinedMetricWarning",
    "accuracy_at_coverage",
    "accuracy_score",
    "average_precision_score",
    "balanced_accuracy_score",
    "brier_score_loss",
    "calibration_curve",
    "classification_report",
    "cohen_kappa_score",
    "confusion_matrix",
    "expected_calibration_error",
    "f1_score",
    "fbeta_score",
    "interval_coverage",
    "iou_score",
    "jaccard_score",
    "log_loss",
    "matthews_corrcoef",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_pinball_loss",
    "mean_squared_error",
    "precision_recall_curve",
    "precision_score",
    "r2_score",
    "recall_score",
    "rejection_threshold",
    "risk_coverage_curve",
    "roc_auc_score",
    "roc_curve",
    "root_mean_squared_error",
    "selective_accuracy",
    "top_k_accuracy_score",
]
__all__ += keras.__all__


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
