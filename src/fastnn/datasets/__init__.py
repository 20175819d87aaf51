"""Small data sets: real earthquake records, and the examples of an introductory lecture on networks.

The CSV files and a statement of their source and licence are in the folder ``fastnn/datasets/data``.
"""

from typing import TYPE_CHECKING

from fastnn._missing import public_names
from fastnn.datasets.dataset import Dataset
from fastnn.datasets.lecture import cats_and_dogs, load_submarine
from fastnn.datasets.seismology import load_earthquakes, load_ground_motion

__all__ = ["Dataset", "cats_and_dogs", "load_earthquakes", "load_ground_motion", "load_submarine"]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
