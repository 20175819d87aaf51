"""Models of PyTorch: the tensors of a state dict become layers, without PyTorch and without running code."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn._arguments import float_type, number, takes_keywords
from fastnn._warnings import warn
from fastnn.errors import ModelFormatError
from fastnn.interchange.building import model_of
from fastnn.interchange.tensors import tensors_of_file, tensors_of_mapping
from fastnn.layers.activation import find_activation
from fastnn.models import Sequential
from fastnn.saving.model_file import opened_file

Array = NDArray[Any]

_LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_MOMENTUM = 0.9
"""Weight of the moving statistics; PyTorch's default momentum 0.1 is that of the batch."""


@dataclass
class _Part:
    """The tensors of one module of PyTorch.

    Parameters
    ----------
    name : name of the module.
    tensors : by the last part of their names.
    kind : "dense", "batch", "layer" or "prelu"; "scale" for a vector that may be slopes or a scale.
    """

    name: str
    tensors: dict[str, Array]
    kind: str

    @property
    def n_in(self) -> int:
        """Number of inputs; of modules that are not dense it is their number of features."""
        name = "weight" if "weight" in self.tensors else "running_mean"
        return int(self.tensors[name].shape[-1])


@takes_keywords
def load_torch(
    path_or_state_dict: Any, activations: Any = None, epsilon: float = 1e-5, dtype: Any = None
) -> Sequential:
    """Return the model of a PyTorch state dict; PyTorch is not needed, and no code of the file runs.

    ``Linear`` becomes ``Dense``, ``BatchNorm1d`` ``BatchNormalization``, ``LayerNorm`` ``LayerNormalization``, and
    ``PReLU`` ``PReLU``. Tensors of other names are ignored with a warning that lists them. The model is not compiled.

    Parameters
    ----------
    path_or_state_dict : a file of ``torch.save(module.state_dict(), path)`` (a zip file, PyTorch 1.6 and later), a
        safetensors file, or a dict of tensors or arrays in the order of the layers.
    activations : names or activations, which a state dict does not hold: one for all hidden layers, or a list with one
        for each ``Linear``, with or without the last one; None in the list is linear. An activation is applied after
        the normalizations that follow its ``Linear``. A name has fastnn's options: PyTorch's default ``LeakyReLU`` is
        ``fastnn.layers.LeakyReLU(0.01)``.
    epsilon : the ``eps`` of the normalizations, which a state dict does not hold either.
    dtype : "float32" or "float64", the type of the model; None is that of the tensors, float32 for half precisions.

    Raises
    ------
    ModelFormatError
        The file is damaged, malicious, holds something other than a state dict, or has layers that fastnn lacks.
    ValueError
        ``activations`` is missing or does not fit the layers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> state = {"0.weight": np.ones((4, 3)), "0.bias": np.zeros(4), "2.weight": np.ones((1, 4)), "2.bias": np.zeros(1)}
    >>> model = fastnn.load_torch(state, activations="relu")
    >>> model.predict(np.ones((1, 3)))
    array([[12.]])
    """
    epsilon = number("epsilon", epsilon, at_least=0.0)
    wanted = None if dtype is None else float_type("dtype", dtype, others=", or None")
    if isinstance(path_or_state_dict, Mapping):
        source, tensors = "the state dict", tensors_of_mapping(path_or_state_dict)
    elif isinstance(path_or_state_dict, str | os.PathLike):
        source = repr(os.fspath(path_or_state_dict))
        with opened_file(path_or_state_dict, "a PyTorch file", "that torch.save wrote") as file:
            tensors = tensors_of_file(file)
    else:
        hint = ": pass module.state_dict()" if hasattr(path_or_state_dict, "state_dict") else ""
        raise TypeError(
            f"path_or_state_dict must be a path or a dict of tensors, got {type(path_or_state_dict).__name__}{hint}"
        )
    return _model(source, tensors, activations, epsilon, wanted)


def _model(
    source: str, tensors: Mapping[str, Array], activations: Any, epsilon: float, dtype: np.dtype[Any] | None
) -> Sequential:
    """Return the model of named tensors."""
    parts, ignored = _parts(source, tensors)
    places = [place for place, part in enumerate(parts) if part.kind == "dense"]
    functions = _functions(source, [parts[place].name for place in places], activations)
    _settle_scales(source, parts, places, functions)
    n_features = parts[0].n_in
    stack: list[layers.Layer] = [layers.InputLayer((n_features,))]
    weights: list[Array] = []
    width = n_features
    for part in parts[: places[0]]:
        width = _add(source, stack, weights, part, width, epsilon)
    for place, end, function in zip(places, [*places[1:], len(parts)], functions, strict=True):
        width = _add(source, stack, weights, parts[place], width, epsilon)
        for part in parts[place + 1 : end]:
            width = _add(source, stack, weights, part, width, epsilon)
        if any(part.kind == "prelu" for part in parts[place + 1 : end]) or function.name == "linear":
            continue
        if place + 1 == end:
            stack[-1] = layers.Dense(width, function, use_bias="bias" in parts[place].tensors)
        else:
            stack.append(layers.Activation(function))
    kind = dtype or np.result_type(np.float32, *(array.dtype for array in weights))
    model = model_of(stack, weights, kind, sum(array.nbytes for array in tensors.values()))
    if ignored:
        warn(f"{source} has tensors of no layer, which are ignored: {', '.join(ignored)}")
    return model


def _parts(source: str, tensors: Mapping[str, Array]) -> tuple[list[_Part], list[str]]:
    """Return the modules that the names of the tensors tell, and the names of tensors of no layer."""
    modules: dict[str, dict[str, Array]] = {}
    ignored = []
    for name, array in tensors.items():
        module, _, leaf = name.rpartition(".")
        if leaf in _LEAVES:
            modules.setdefault(module, {})[leaf] = array
        elif "weight" in name or "bias" in name:
            raise ModelFormatError(f"{source} has the tensor {name!r}, which belongs to a layer that fastnn lacks")
        else:
            ignored.append(name)
    parts = [_part(source, module, named) for module, named in modules.items()]
    if not any(part.kind == "dense" for part in parts):
        names = ", ".join(list(tensors)[:8]) or "none"
        raise ModelFormatError(f"{source} has no weight of a Linear layer; its tensors: {names}")
    return parts, ignored


def _part(source: str, module: str, tensors: dict[str, Array]) -> _Part:
    """Return one module, its kind told by the shapes of its tensors."""
    prefix = f"{module}." if module else ""
    tensors.pop("num_batches_tracked", None)
    weight, bias = tensors.get("weight"), tensors.get("bias")
    shapes = {leaf: array.shape for leaf, array in tensors.items()}
    if any(array.dtype.kind != "f" for array in tensors.values()):
        raise ModelFormatError(f"{source} has weights of layer {module!r} that are not floating-point numbers")
    if weight is not None and weight.ndim == 2 and set(shapes) <= {"weight", "bias"}:
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ModelFormatError(f"{source}: {prefix}bias has shape {bias.shape} and {prefix}weight {weight.shape}")
        return _Part(module, tensors, "dense")
    vectors = {shape for shape in shapes.values() if len(shape) == 1}
    if len(vectors) == 1 and all(len(shape) == 1 for shape in shapes.values()):
        if {"running_mean", "running_var"} <= set(shapes):
            return _Part(module, tensors, "batch")
        if set(shapes) == {"weight", "bias"}:
            return _Part(module, tensors, "layer")
        if set(shapes) == {"weight"}:
            return _Part(module, tensors, "scale")
    listed = ", ".join(f"{prefix}{leaf} {shape}" for leaf, shape in shapes.items())
    raise ModelFormatError(f"{source} has a layer that fastnn lacks, {module!r}, with the tensors {listed}")


def _functions(source: str, names: Sequence[str], activations: Any) -> list[Any]:
    """Return the activation of each Linear layer; "prelu" stands for one whose slopes are tensors."""
    n_hidden = len(names) - 1
    if activations is None:
        if n_hidden:
            raise ValueError(
                f"{source} does not say which activations the layers have: pass activations, one name for the "
                f"{n_hidden} hidden layers such as activations='relu', or a list with one for each of "
                f"{', '.join(names)}; None in the list is linear"
            )
        given: list[Any] = []
    elif isinstance(activations, list | tuple):
        given = list(activations)
    else:
        given = [activations] * n_hidden
    if len(given) not in (n_hidden, n_hidden + 1):
        raise ValueError(
            f"activations must be one for all hidden layers, or a list of {n_hidden} or {n_hidden + 1} (with the last "
            f"layer's) for {', '.join(names)}; got {len(given)}"
        )
    functions = [find_activation("linear" if _is_prelu(each) else each) for each in given]
    found = ["prelu" if _is_prelu(each) else function for each, function in zip(given, functions, strict=True)]
    return [*found, *[find_activation(None)] * (len(names) - len(given))]


def _is_prelu(activation: Any) -> bool:
    return isinstance(activation, str) and activation.lower() == "prelu"


def _settle_scales(source: str, parts: Sequence[_Part], places: Sequence[int], functions: list[Any]) -> None:
    """Decide whether lone vectors are the slopes of PReLU; change ``parts`` and ``functions``."""
    for number_of, (place, end) in enumerate(zip(places, [*places[1:], len(parts)], strict=True)):
        for part in parts[place + 1 : end]:
            if part.kind == "scale" and (functions[number_of] == "prelu" or part.n_in == 1):
                part.kind = "prelu"
        has_slopes = any(part.kind == "prelu" for part in parts[place + 1 : end])
        if functions[number_of] == "prelu":
            if not has_slopes:
                raise ValueError(
                    f"activations has 'prelu' for {parts[place].name!r}, but {source} has no slopes for it"
                )
            functions[number_of] = find_activation(None)
    doubtful = [part.name for part in parts if part.kind == "scale"]
    if doubtful:
        raise ModelFormatError(
            f"{source} has the tensor {f'{doubtful[0]}.weight'.lstrip('.')!r} without a bias: for the slopes of a "
            "PReLU, put 'prelu' into activations for the Linear before it; no other layer of fastnn has such a tensor"
        )


def _add(source: str, stack: list[layers.Layer], weights: list[Array], part: _Part, width: int, epsilon: float) -> int:
    """Put the layer of a module on the stack and its weights, in fastnn's order, to the others; return its width."""
    tensors = part.tensors
    if part.kind == "prelu" and part.n_in == 1:
        tensors = {"weight": np.broadcast_to(tensors["weight"], (width,))}
    elif part.n_in != width:
        raise ModelFormatError(
            f"{source} does not hold a chain of layers in order: {part.name!r} takes {part.n_in} inputs, but the layer "
            f"before it has {width} outputs. If the order is another one, pass a dict of the tensors in the right order"
        )
    given = [tensors[leaf] for leaf in _LEAVES[:4] if leaf in tensors]
    if part.kind == "dense":
        stack.append(layers.Dense(given[0].shape[0], use_bias="bias" in tensors))
        weights += [given[0].T, *given[1:]]
        return int(given[0].shape[0])
    scale, center = "weight" in tensors, "bias" in tensors
    if part.kind == "prelu":
        stack.append(layers.PReLU())
    elif part.kind == "batch":
        stack.append(layers.BatchNormalization(momentum=_MOMENTUM, epsilon=epsilon, scale=scale, center=center))
    else:
        stack.append(layers.LayerNormalization(epsilon=epsilon))
    weights += given
    return width
