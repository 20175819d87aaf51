"""Model files: one safetensors file holds weights, architecture, training state and a checksum; data only.

``safetensors`` is the layout and its strict reader, ``atomic`` the writing that a crash cannot tear, ``description``
turns models into JSON and back, ``model_file`` puts them together, ``pickling`` is for pickle and deepcopy.
"""

from fastnn.saving.model_file import load_model, load_weights, save_model, save_weights

__all__ = ["load_model", "load_weights", "save_model", "save_weights"]
