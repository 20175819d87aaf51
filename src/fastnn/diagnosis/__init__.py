"""The training doctor: finds problems of data, model and training, says how serious they are, and advises."""

from fastnn.diagnosis.doctor import TrainingDoctor, diagnose
from fastnn.diagnosis.finding import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "TrainingDoctor", "diagnose"]
