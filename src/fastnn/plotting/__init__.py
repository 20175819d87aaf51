"""Pictures of training, predictions and networks, in colours that colour-blind readers can tell apart.

Every function draws into the axes ``ax`` and returns the axes. They need ``pip install matplotlib``.
"""

from typing import TYPE_CHECKING

from fastnn._missing import public_names
from fastnn.plotting.classification import (
    calibration_curve,
    confusion_matrix,
    decision_regions,
    precision_recall_curve,
    roc_curve,
)
from fastnn.plotting.networks import network, speed_table
from fastnn.plotting.regression import predicted_against_true, residuals
from fastnn.plotting.training import history, loss_landscape

__all__ = [
    "calibration_curve",
    "confusion_matrix",
    "decision_regions",
    "history",
    "loss_landscape",
    "network",
    "precision_recall_curve",
    "predicted_against_true",
    "residuals",
    "roc_curve",
    "speed_table",
]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
