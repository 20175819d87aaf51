"""scikit-learn's multi-layer perceptrons on the compiled core: the same names, arguments, arithmetic and results."""

from typing import TYPE_CHECKING

try:
    import scipy
    import sklearn
except ImportError as error:
    raise ImportError(
        "fastnn.MLPClassifier and fastnn.MLPRegressor need scikit-learn: pip install scikit-learn"
    ) from error

from fastnn._missing import public_names
from fastnn.estimators.bagging import BaggedMLPClassifier, BaggedMLPRegressor
from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.regressor import MLPRegressor
from fastnn.estimators.search import sweep

__all__ = [
    "BaggedMLPClassifier",
    "BaggedMLPRegressor",
    "MLPClassifier",
    "MLPRegressor",
    "sweep",
]

del scipy, sklearn

if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
