"""The methods of a model that make it one of other tools; what they need is imported when they are called."""

import os
from typing import Any

from fastnn.export.methods import ExportedAsSource
from fastnn.network.stack import LayerStack


class ConvertedStack(ExportedAsSource, LayerStack):
    """A stack of layers with the methods that write it for other tools; the readers are ``fastnn.load_torch`` etc."""

    def to_torch(self) -> Any:
        """Return a ``torch.nn.Module`` with these layers and weights, in evaluation mode.

        A chain of layers is a ``torch.nn.Sequential``. A graph is a module that takes the inputs in order,
        ``net(x1, x2)``, and returns a tensor, or a tuple for several outputs; its modules have the names of the layers.
        The weights are copies with equal bits; outputs agree to rounding. A frozen layer's parameters do not require
        gradients. What ``torch.nn`` lacks, such as ``Residual`` and ``Normalization``, is a module of fastnn.
        Needs PyTorch.

        Raises
        ------
        ValueError
            The model is not built, or a layer has no module, such as one that encodes strings.
        ImportError
            PyTorch is not installed.
        """
        from fastnn.export.torch import to_torch

        return to_torch(self)

    def export_safetensors(self, path: str | os.PathLike[str]) -> None:
        """Write the weights into a safetensors file with PyTorch's names and layout.

        ``self.to_torch().load_state_dict(safetensors.torch.load_file(path))`` fits: "0.weight" (outputs, inputs),
        "0.bias", "1.running_mean" and so on, with the number of each module in ``to_torch()``; those of a graph are
        "parts.", the name of the layer, and ".weight". Needs neither PyTorch
        nor safetensors. ``fastnn.load_torch`` reads the file; for fastnn itself use ``save``, which keeps the layers.

        Raises
        ------
        ValueError
            The model is not built.
        OSError
            The file cannot be written; an old one is unchanged.
        """
        from fastnn.export.torch import export_safetensors

        export_safetensors(self, path)

    def to_keras(self) -> Any:
        """Return a Keras model with these layers and weights; not compiled.

        A chain of layers is a ``keras.Sequential``. A graph, or a chain with ``Residual`` blocks, is a functional model
        with the same inputs and outputs; layers within models and layers of the user are called directly, under the
        names of all of them, "tower_dense". The weights have equal
        bits; outputs agree to rounding, in float64 to that of float32 where Keras normalizes in float32. Needs Keras 3
        with any of its backends.

        Raises
        ------
        ValueError
            The model is not built, or Keras has no such layer.
        ImportError
            Keras is not installed.
        """
        from fastnn.export.keras import to_keras

        return to_keras(self)

    def export_onnx(self, path: str | os.PathLike[str], opset: int = 17) -> None:
        """Write the model as an ONNX file, for prediction in ONNX Runtime and others.

        The graph of a ``Sequential`` has the input "input" (N, n_features) and the output "output" (N, n_outputs), N
        being any number of rows. That of a ``Model`` has the names of its inputs and outputs. Numbers have the model's
        type, float32 or float64; inputs of integers are int32 or int64, those of strings strings. The file has standard
        operators only: ``Gemm`` for dense layers, normalizations and activations as single operators where the opset
        has them. Values that fastnn refuses, such as an unknown category, are not checked. Needs the extra ``onnx``.

        Parameters
        ----------
        path : where to write; the usual ending is ".onnx".
        opset : version of the operators, from 13 on; every ONNX Runtime since 2022 reads 17.

        Raises
        ------
        ValueError
            The model is not built, or the opset is too low for a layer, which is named, or unknown to the package onnx.
        ImportError
            The package onnx is not installed.
        """
        from fastnn.export.onnx import export_onnx

        export_onnx(self._exported_network(), path, opset, self.name)

    def _exported_network(self) -> Any:
        from fastnn.export.steps import model_network

        with self.reading("export"):
            return model_network(self)
