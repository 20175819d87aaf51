"""Optimizers and learning rate schedules with Keras's names, arguments and arithmetic."""

from typing import TYPE_CHECKING, Any

import fastnn._registry as registry
from fastnn._missing import public_names
from fastnn.optimizers import schedules
from fastnn.optimizers.optimizer import Optimizer
from fastnn.optimizers.update_rules import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, Nadam, RMSprop

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BayesianLevenbergMarquardt",
    "LevenbergMarquardt",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "get",
    "schedules",
]


def get(identifier: Any) -> Optimizer:
    """Return the optimizer for a name in any case, a class or an optimizer.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest.
    """
    if isinstance(identifier, str) and registry.knows("optimizer", identifier.lower()):
        identifier = identifier.lower()
    return registry.resolve("optimizer", identifier, Optimizer)


_LATE = {"fastnn.optimizers.second_order": ("BayesianLevenbergMarquardt", "LBFGS", "LevenbergMarquardt")}
for _module, _names in _LATE.items():
    registry.register_late("optimizer", _module, "lm", "lm_bayes", "lbfgs", aliases=_names)

if TYPE_CHECKING:
    from fastnn.optimizers.second_order import LBFGS, BayesianLevenbergMarquardt, LevenbergMarquardt
else:
    __getattr__, __dir__ = public_names(__name__, __all__, late=_LATE)
