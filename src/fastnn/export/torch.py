"""Models as PyTorch's: modules with the weights, and safetensors files with PyTorch's names and layout.

Both are made from one description of the modules in plain data, so that a file fits the module.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import installed
from fastnn.activations import ActivationFunction
from fastnn.layers import (
    Activation,
    AlphaDropout,
    BatchNormalization,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    Identity,
    Layer,
    LayerNormalization,
    Normalization,
    PReLU,
    Residual,
)
from fastnn.network.stack import LayerStack
from fastnn.saving.atomic import write_atomically
from fastnn.saving.foreign import warn_of_suffix
from fastnn.saving.safetensors import encode

Array = NDArray[Any]


@dataclass
class _Module:
    """A module of PyTorch.

    Parameters
    ----------
    name : name of the class in ``torch.nn``, or in ``fastnn.export.torch_modules``.
    arguments : arguments of the constructor.
    tensors : parameters and buffers by name.
    fixed : parameters that are not trained.
    block : the modules in a residual block.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Array] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    block: list["_Module"] = field(default_factory=list)


_FUNCTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("ReLU", {}),
    "relu6": ("ReLU6", {}),
    "leaky_relu": ("LeakyReLU", {}),
    "general_relu": ("GeneralReLU", {}),
    "elu": ("ELU", {}),
    "selu": ("SELU", {}),
    "gelu": ("GELU", {}),
    "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}),
    "mish": ("Mish", {}),
    "softplus": ("ExactSoftplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "hard_sigmoid": ("Hardsigmoid", {}),
    "hard_silu": ("Hardswish", {}),
    "exponential": ("Exponential", {}),
    "softmax": ("Softmax", {"dim": -1}),
    "log_softmax": ("LogSoftmax", {"dim": -1}),
}
"""Module and fixed arguments of each activation; its options have PyTorch's names."""


def to_torch(model: LayerStack) -> Any:
    """Return the ``torch.nn.Sequential`` that ``Sequential.to_torch`` describes."""
    torch = installed("torch", "to_torch")
    with model.reading("to_torch"):
        modules = _modules(model.layers, model.program.n_features, model.dtype)
    network = _sequential(modules).to(getattr(torch, model.dtype.name))
    tensors = {name: torch.from_numpy(value) for name, value in _state(modules).items()}
    network.load_state_dict(tensors)
    return network.eval()


def export_safetensors(model: LayerStack, path: str | os.PathLike[str]) -> None:
    """Write the file that ``Sequential.export_safetensors`` describes."""
    with model.reading("export_safetensors"):
        modules = _modules(model.layers, model.program.n_features, model.dtype)
    warn_of_suffix(path, "a safetensors file")
    write_atomically(path, encode(_state(modules), {"format": "pt"}, signed=False))


def _modules(layers: Sequence[Layer], n_in: int, dtype: np.dtype[Any]) -> list[_Module]:
    """Describe the modules of layers."""
    modules: list[_Module] = []
    for layer in layers:
        for module in _describe(layer, n_in, dtype):
            if not layer.trainable and not module.block:
                module.fixed = frozenset(module.tensors)
            modules.append(module)
        n_in = layer.n_outputs(n_in)
    return modules


def _describe(layer: Layer, n_in: int, dtype: np.dtype[Any]) -> list[_Module]:
    """Describe the modules of one layer."""
    arguments: dict[str, Any]
    if isinstance(layer, Dense):
        tensors = {"weight": np.ascontiguousarray(layer.read_weight("kernel").T)}
        if layer.use_bias:
            tensors["bias"] = layer.read_weight("bias")
        arguments = {"in_features": n_in, "out_features": layer.units, "bias": layer.use_bias}
        return [_Module("Linear", arguments, tensors), *_function(layer.activation)]
    if isinstance(layer, BatchNormalization | LayerNormalization):
        return [_normalization(layer, n_in, dtype)]
    if isinstance(layer, Normalization):
        mean, deviation = statistics_of(layer, n_in, dtype)
        arguments = {"n_features": n_in, "invert": layer.invert, "missing": layer.missing}
        return [_Module("Normalize", arguments, {"mean": mean, "deviation": deviation})]
    if isinstance(layer, PReLU):
        return [_Module("PReLU", {"num_parameters": n_in}, {"weight": layer.read_weight("alpha")})]
    if isinstance(layer, Residual):
        return [_Module("Residual", block=_modules(layer.layers, n_in, dtype))]
    if isinstance(layer, Activation):
        return _function(layer.activation)
    if isinstance(layer, Dropout):
        return [_Module("AlphaDropout" if isinstance(layer, AlphaDropout) else "Dropout", {"p": layer.rate})]
    if isinstance(layer, GaussianNoise):
        return [_Module("GaussianNoise", {"stddev": layer.stddev})]
    if isinstance(layer, Flatten | Identity):
        return [_Module(type(layer).__name__)]
    raise ValueError(f"PyTorch has no module for layer {layer.name!r}, a {type(layer).__name__}")


def _normalization(layer: BatchNormalization | LayerNormalization, n_in: int, dtype: np.dtype[Any]) -> _Module:
    """Describe a normalization with gamma and beta; one that is not there has its neutral value and is not trained."""
    if isinstance(layer, LayerNormalization) and layer.rms_scaling:
        arguments = {"n_features": n_in, "epsilon": layer.epsilon}
        return _Module("ScaledByDeviation", arguments, {"weight": layer.read_weight("gamma")})
    tensors: dict[str, Array] = {}
    affine = layer.scale or layer.center
    if affine:
        tensors["weight"] = layer.read_weight("gamma") if layer.scale else np.ones(n_in, dtype)
        tensors["bias"] = layer.read_weight("beta") if layer.center else np.zeros(n_in, dtype)
    fixed = frozenset(["weight"] * (not layer.scale) + ["bias"] * (not layer.center))
    if isinstance(layer, LayerNormalization):
        arguments = {"normalized_shape": n_in, "eps": layer.epsilon, "elementwise_affine": affine}
        return _Module("LayerNorm", arguments, tensors, fixed)
    for name, statistic in (("running_mean", "moving_mean"), ("running_var", "moving_variance")):
        tensors[name] = layer.read_weight(statistic)
    tensors["num_batches_tracked"] = np.zeros((), np.int64)
    arguments = {"num_features": n_in, "eps": layer.epsilon, "momentum": 1.0 - layer.momentum, "affine": affine}
    return _Module("BatchNorm1d", arguments, tensors, fixed)


def statistics_of(layer: Normalization, n_in: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return mean and deviation (n_in,) of a normalization, in the type of the model."""
    mean, variance = (np.broadcast_to(np.asarray(v, dtype), n_in) for v in (layer.mean, layer.variance))
    return mean.copy(), np.maximum(np.sqrt(variance), dtype.type(1e-7))


def _function(activation: ActivationFunction) -> list[_Module]:
    """Describe the module of an activation; none for linear."""
    if activation.name == "linear":
        return []
    name, fixed = _FUNCTIONS[activation.name]
    return [_Module(name, {**fixed, **activation.parameters})]


def _state(modules: Sequence[_Module], prefix: str = "") -> dict[str, Array]:
    """Return the tensors under the names of a state dict."""
    tensors: dict[str, Array] = {}
    for place, module in enumerate(modules):
        tensors |= {f"{prefix}{place}.{name}": value for name, value in module.tensors.items()}
        tensors |= _state(module.block, f"{prefix}{place}.block.")
    return tensors


def _sequential(modules: Sequence[_Module]) -> Any:
    """Return the ``torch.nn.Sequential`` of described modules, without their weights."""
    from torch import nn

    import fastnn.export.torch_modules as own

    made = []
    for module in modules:
        if module.block:
            made.append(own.Residual(_sequential(module.block)))
            continue
        made.append(getattr(own if hasattr(own, module.name) else nn, module.name)(**module.arguments))
        for name, parameter in made[-1].named_parameters():
            parameter.requires_grad_(name not in module.fixed)
    return nn.Sequential(*made)
