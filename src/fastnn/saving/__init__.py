"""Model files: one safetensors file holds weights, architecture, training state and a checksum; data only.

``safetensors`` is the layout and its strict reader, ``atomic`` writes files that a crash cannot tear, ``description``
turns models into JSON and back, and ``model_file`` puts them together.
"""

from typing import TYPE_CHECKING

from fastnn._missing import public_names
from fastnn.saving.model_file import load_model, load_weights, save_model, save_weights

__all__ = ["load_model", "load_weights", "save_model", "save_weights"]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
