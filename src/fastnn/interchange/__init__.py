"""Models from other tools: ONNX, Keras and PyTorch files as models that train on.

Every reader takes files that nobody vouches for: data only, bounded in memory and time.
"""

from typing import TYPE_CHECKING

from fastnn._missing import public_names
from fastnn.interchange.keras import load_keras
from fastnn.interchange.onnx import load_onnx
from fastnn.interchange.torch import load_torch

__all__ = ["load_keras", "load_onnx", "load_torch"]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
