"""Small data sets: real earthquake records, and the examples of an introductory lecture on networks.

The CSV files and a statement of their source and licence are in the folder ``fastnn/datasets/data``.
"""

from fastnn.datasets.dataset import Dataset
from fastnn.datasets.lecture import cats_and_dogs, load_submarine
from fastnn.datasets.seismology import load_earthquakes, load_ground_motion

__all__ = ["Dataset", "cats_and_dogs", "load_earthquakes", "load_ground_motion", "load_submarine"]
