"""Metrics of predictions, with scikit-learn's names, arguments and results, and NumPy alone.

Beside them: calibration of probabilities and intervals, and classification with a reject option.
"""

from ._validation import UndefinedMetricWarning
from .calibration import calibration_curve, expected_calibration_error, interval_coverage
from .classification import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    matthews_corrcoef,
)
from .precision_recall import f1_score, fbeta_score, iou_score, jaccard_score, precision_score, recall_score
from .probabilistic import brier_score_loss, log_loss
from .ranking import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve, top_k_accuracy_score
from .regression import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_pinball_loss,
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)
from .report import classification_report
from .selective import accuracy_at_coverage, rejection_threshold, risk_coverage_curve, selective_accuracy

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
