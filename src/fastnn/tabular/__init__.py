"""Classifier and regressor of tables that need no tuning."""

from typing import TYPE_CHECKING

try:
    import sklearn
except ImportError as error:
    raise ImportError(
        "fastnn.TabularClassifier and fastnn.TabularRegressor need scikit-learn: pip install scikit-learn"
    ) from error

from fastnn._missing import public_names
from fastnn.tabular.classifier import TabularClassifier
from fastnn.tabular.regressor import TabularRegressor

__all__ = ["TabularClassifier", "TabularRegressor"]

del sklearn

if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
