"""Classifier and regressor of tables that need no tuning."""

try:
    import sklearn
except ImportError as error:
    raise ImportError(
        "fastnn.TabularClassifier and fastnn.TabularRegressor need scikit-learn: pip install scikit-learn"
    ) from error

from fastnn.tabular.classifier import TabularClassifier
from fastnn.tabular.regressor import TabularRegressor

__all__ = ["TabularClassifier", "TabularRegressor"]

del sklearn
