"""Callbacks with Keras's names and hooks, which run at the start and end of training, epochs and batches."""

from typing import TYPE_CHECKING

from fastnn._missing import public_names
from fastnn.callbacks.callback import Callback, CallbackList, History, Logs
from fastnn.callbacks.loggers import CSVLogger, ProgbarLogger

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "StepFactors",
    "TerminateOnNaN",
]

if TYPE_CHECKING:
    from fastnn.callbacks.backup import BackupAndRestore
    from fastnn.callbacks.checkpoints import ModelCheckpoint
    from fastnn.callbacks.functions import LambdaCallback, LearningRateScheduler, StepFactors, TerminateOnNaN
    from fastnn.callbacks.monitors import EarlyStopping, ReduceLROnPlateau
else:
    _LATE = {
        "fastnn.callbacks.backup": ("BackupAndRestore",),
        "fastnn.callbacks.checkpoints": ("ModelCheckpoint",),
        "fastnn.callbacks.functions": ("LambdaCallback", "LearningRateScheduler", "StepFactors", "TerminateOnNaN"),
        "fastnn.callbacks.monitors": ("EarlyStopping", "ReduceLROnPlateau"),
    }
    __getattr__, __dir__ = public_names(__name__, __all__, late=_LATE)
