"""The methods of a model that save it, describe it and make it from a description."""

import copy
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, cast

from fastnn._registry import CustomObjects
from fastnn.network.stack import LayerStack
from fastnn.saving import model_file
from fastnn.saving.description import (
    compile_arguments,
    compile_config,
    custom_objects_of,
    model_config,
    to_json,
)
from fastnn.saving.safetensors import parse_json

if TYPE_CHECKING:
    from fastnn.models.sequential import Sequential


def model_from_bytes(data: bytes, custom_objects: CustomObjects) -> "Sequential":
    """Return the model of ``pickle`` and ``copy.deepcopy``."""
    return model_file.decode_model(data, custom_objects)


def model_from_json(json_string: str, custom_objects: CustomObjects | None = None) -> "Sequential":
    """Return a model with new weights for the result of ``model.to_json()``."""
    document = parse_json(json_string, "description")
    if "config" not in document:
        raise ValueError("the description must be the result of model.to_json()")
    return model_file.build_model(document["config"], None, custom_objects)


class SavedStack(LayerStack):
    """A stack of layers that can be saved, pickled and described."""

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True, zipped: bool | None = None) -> None:
        """Write weights, architecture, optimizer and training state into one safetensors file.

        A crash leaves the old file or the new. ``fastnn.load_model`` reads it.

        Parameters
        ----------
        filepath : where to write; the usual ending is ".safetensors".
        overwrite : whether an existing file may be replaced.
        zipped : accepted as in Keras; the file is never zipped.

        Raises
        ------
        FileExistsError
            The file exists and ``overwrite`` is False.
        ValueError
            Something of the model cannot be written as data.
        OSError
            The file cannot be written; an old one is unchanged.
        """
        model_file.save_model(self._model(), filepath, overwrite, zipped)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights alone; arguments and errors as in ``save``."""
        model_file.save_weights(self._model(), filepath, overwrite)

    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Replace the weights by those of a file that ``save`` or ``save_weights`` wrote.

        Raises
        ------
        ModelFormatError
            The file is damaged, truncated or from elsewhere.
        ValueError
            The model is not built, or its weights have other shapes; nothing is changed then.
        """
        model_file.load_weights(self._model(), filepath)

    def get_config(self) -> dict[str, Any]:
        """Return the architecture: name, dtype, seed and layers."""
        return model_config(self._model())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: CustomObjects | None = None) -> Self:
        """Return a model with new weights for the result of ``get_config()``."""
        return cast(Self, model_file.build_model(copy.deepcopy(config), None, custom_objects))

    def to_json(self) -> str:
        """Return the architecture as JSON; ``fastnn.models.model_from_json`` reads it."""
        return to_json({"class_name": "Sequential", "config": self.get_config()}, "architecture")

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return the arguments of ``compile`` as data; None before ``compile``."""
        return compile_config(self._model())

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile with the result of ``get_compile_config()``."""
        self._model().compile(**compile_arguments(config))

    def _model(self) -> "Sequential":
        return cast("Sequential", self)

    def __reduce__(self) -> tuple[Any, ...]:
        parts = model_file.encode_model(self._model())
        return model_from_bytes, (b"".join(parts), custom_objects_of(self._model()))
