"""The training doctor: finds problems of data, model and training, says how serious they are, and advises."""

from typing import TYPE_CHECKING

from fastnn._missing import public_names
from fastnn.diagnosis.doctor import TrainingDoctor, diagnose
from fastnn.diagnosis.finding import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "TrainingDoctor", "diagnose"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
