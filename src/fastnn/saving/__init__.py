"""Model files: one safetensors file holds weights, architecture, training state and a checksum; data only.

``safetensors`` is the layout and its strict reader, ``atomic`` writes files that a crash cannot tear, ``description``
turns models into JSON and back, and ``model_file`` puts them together.
"""

from fastnn.saving.model_file import load_model, load_weights, save_model, save_weights

__all__ = ["load_model", "load_weights", "save_model", "save_weights"]
