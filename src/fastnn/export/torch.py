"""Models as PyTorch's: modules with the weights, and safetensors files with PyTorch's names and layout.

Both are made from one description of the modules in plain data, so that a file fits the module.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
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
    Concatenate,
    CosineFeatures,
    Dense,
    Dot,
    Dropout,
    Embedding,
    FeatureScale,
    Flatten,
    GaussianNoise,
    GroupedDense,
    Identity,
    Layer,
    LayerNormalization,
    MemberDense,
    Normalization,
    ParametricActivation,
    PiecewiseLinearEncoding,
    PReLU,
    Reshape,
    Residual,
)
from fastnn.layers.arithmetic import Arithmetic, GetItem
from fastnn.layers.merging import Merge
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
    """Return the module that ``Model.to_torch`` describes."""
    torch = installed("torch", "to_torch")
    with model.reading("to_torch"):
        chain = _is_chain(model)
        modules = _modules(model.layers, model.program.n_features, model.dtype) if chain else []
        parts, calls = ({}, []) if chain else graph_modules(model)
    network = _sequential(modules) if chain else _graph(model, parts, calls)
    network = network.to(getattr(torch, model.dtype.name))
    state = _state(modules) if chain else _graph_state(parts)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return network.eval()


def export_safetensors(model: LayerStack, path: str | os.PathLike[str]) -> None:
    """Write the file that ``Model.export_safetensors`` describes."""
    with model.reading("export_safetensors"):
        if _is_chain(model):
            state = _state(_modules(model.layers, model.program.n_features, model.dtype))
        else:
            state = _graph_state(graph_modules(model)[0])
    warn_of_suffix(path, "a safetensors file")
    write_atomically(path, encode(state, {"format": "pt"}, signed=False))


def _is_chain(model: LayerStack) -> bool:
    """Whether the layers follow each other and none is made of others, so that ``torch.nn.Sequential`` holds them."""
    simple = all(isinstance(layer, Residual) or not layer.inner_layers() for layer in model.layers)
    return model.kind == "Sequential" and simple and not model.program.graph.encoding


Call = tuple[str, tuple[int, ...], int]


def graph_modules(model: LayerStack) -> tuple[dict[str, _Module], list[Call]]:
    """Describe the modules of a graph by name, and the calls: (module, values that it takes, value that it gives)."""
    graph = model.program.graph
    names = layer_names(model)
    parts: dict[str, _Module] = {}
    calls: list[Call] = []
    for step in [*graph.encoding, *graph.steps]:
        name = names[id(step.layer)]
        rows = [graph.rows[value] for value in step.inputs]
        described = _combined(step.layer, rows) or _describe(step.layer, graph.width(step.inputs[0]), model.dtype)
        inputs = step.inputs
        for place, module in enumerate(described or [_Module("Identity")]):
            key = name if place == 0 else f"{name}_activation"
            if not step.layer.trainable:
                module.fixed = frozenset(module.tensors)
            parts.setdefault(key, module)
            calls.append((key, inputs, step.output))
            inputs = (step.output,)
    return parts, calls


def _combined(layer: Any, rows: Sequence[tuple[int, ...]]) -> list[_Module]:
    """Describe the module of a layer that only graphs have; none for others."""
    if isinstance(layer, Residual):
        return [_Module("Combine", {"kind": "add"})]
    if isinstance(layer, Arithmetic):
        return [_Module("Combine", {"kind": layer.operator, "number": layer.constant, "first": layer.reflected})]
    if isinstance(layer, Concatenate):
        return [_Module("Concatenate", {"axis": layer.axis})]
    if isinstance(layer, Dot):
        return [_Module("Dot", {"normalize": layer.normalize})]
    if isinstance(layer, Merge):
        return [_Module("Combine", {"kind": type(layer).__name__.lower()})]
    if isinstance(layer, GetItem):
        columns = layer.compute(np.arange(math.prod(rows[0])).reshape(1, *rows[0]))
        return [_Module("Columns", {"columns": columns.ravel().tolist(), "row": layer.row_of(*rows)})]
    if isinstance(layer, Reshape):
        return [_Module("Reshape", {"row": layer.row_of(*rows)})]
    if isinstance(layer, Embedding):
        arguments = {"num_embeddings": layer.input_dim, "embedding_dim": layer.output_dim}
        return [_Module("Embedding", arguments, {"weight": layer.read_weight("embeddings")})]
    return []


_TAKEN = frozenset(
    """
    add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double dump_patches eval
    extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu items keys
    load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters pop
    register_buffer register_module register_parameter requires_grad_ set_extra_state set_submodule share_memory
    state_dict to to_empty train training type update values xpu zero_grad
    """.split()
)
"""Attributes of ``torch.nn.ModuleDict``, which no module in it may be called."""


def layer_names(model: LayerStack) -> dict[int, str]:
    """Return a name for each layer that is called, by its identity: without dots, each one another."""
    leaves = {id(leaf.layer): "_".join(leaf.path) for leaf in model.program.leaves}
    names: dict[int, str] = {}
    for step in [*model.program.graph.encoding, *model.program.graph.steps]:
        if id(step.layer) not in names:
            name = re.sub(r"[./]", "_", leaves.get(id(step.layer), step.layer.name))
            while name in names.values() or name in _TAKEN:
                name += "_"
            names[id(step.layer)] = name
    return names


def _graph_state(parts: Mapping[str, _Module]) -> dict[str, Array]:
    """Return the tensors of a graph under the names of a state dict."""
    return {f"parts.{key}.{name}": value for key, module in parts.items() for name, value in module.tensors.items()}


def _graph(model: LayerStack, parts: Mapping[str, _Module], calls: Sequence[Call]) -> Any:
    """Return the module of a graph, without its weights."""
    import fastnn.export.torch_modules as own

    graph = model.program.graph
    made = {name: _module(described) for name, described in parts.items()}
    return own.Graph(made, calls, graph.n_inputs, graph.outputs)


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
    if isinstance(layer, FeatureScale | ParametricActivation | CosineFeatures | GroupedDense | MemberDense):
        return [_tabular(layer, n_in)]
    if isinstance(layer, PiecewiseLinearEncoding):
        (slope, low, high), offset = layer.read_weight("kernel"), layer.read_weight("bias")
        lines = {"slope": slope, "offset": offset, "low": low, "high": high}
        return [_Module("BoundedLines", {"n_features": n_in, "n_lines": layer.width}, lines)]
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


def _tabular(layer: Any, n_in: int) -> _Module:
    """Describe a module of networks for tables."""
    names = {"scale": "weight", "mix": "weight", "frequencies": "weight", "kernel": "weight", "bias": "bias"}
    tensors = {names[spec.name]: layer.read_weight(spec.name) for spec in layer.parameter_specs(n_in)}
    if isinstance(layer, ParametricActivation):
        name, fixed = _FUNCTIONS.get(layer.activation.name, ("Identity", {}))
        function = {"function": name, "options": {**fixed, **layer.activation.parameters}}
        return _Module("ParametricActivation", {"n_features": n_in, **function}, tensors)
    if isinstance(layer, CosineFeatures):
        return _Module("CosineFeatures", {"n_features": n_in, "count": layer.count}, tensors)
    bias = "bias" in tensors
    if isinstance(layer, FeatureScale):
        return _Module("FeatureScale", {"n_features": n_in, "members": layer.members, "bias": bias}, tensors)
    groups, kernel = layer.groups, tensors["weight"]
    if isinstance(layer, MemberDense):
        tensors["weight"] = np.ascontiguousarray(kernel.T)
    else:
        tensors["weight"] = np.ascontiguousarray(kernel.reshape(len(kernel), groups, -1).swapaxes(0, 1))
    arguments = {"groups": groups, "in_features": len(kernel), "out_features": layer.units, "bias": bias}
    return _Module(type(layer).__name__, arguments, tensors)


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

    return nn.Sequential(*(own.Residual(_sequential(each.block)) if each.block else _module(each) for each in modules))


def _module(described: _Module) -> Any:
    """Return one module, without its weights."""
    from torch import nn

    import fastnn.export.torch_modules as own

    made = getattr(own if hasattr(own, described.name) else nn, described.name)(**described.arguments)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(name not in described.fixed)
    return made
