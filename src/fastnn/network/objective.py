"""The losses of a model's outputs, their weights and their names in the history."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import fastnn.losses as losses
from fastnn._arguments import number
from fastnn._structures import is_nested
from fastnn.losses import Loss
from fastnn.network.stack import LayerStack
from fastnn.network.structures import by_place


def compile_losses(
    loss: Any, loss_weights: Any, keys: Sequence[str], by_output: bool
) -> tuple[Loss | list[Loss | None] | None, list[float]]:
    """Return the loss, or a list with that of each output, and the weights of the losses.

    Parameters
    ----------
    loss, loss_weights : as in ``compile``.
    keys : names of the outputs.
    by_output : whether the model was made of symbolic tensors, so that its outputs have names.

    Raises
    ------
    ValueError
        An unknown name, a loss for an output that is not there, or another number of losses or weights.
    """
    if not by_output:
        only = loss[0] if isinstance(loss, list | tuple) and len(loss) == 1 else loss
        return (None if only is None else losses.get(only)), [_only_weight(loss_weights)]
    given = [loss] * len(keys)
    if isinstance(loss, Mapping) and "class_name" not in loss:
        given = by_place(loss, list(keys), keys, "loss", "output", partial=True)
    elif isinstance(loss, list | tuple):
        if len(loss) != len(keys):
            raise ValueError(
                f"loss must be one loss, or have one for each output of the model, {', '.join(keys)}; got {loss!r}"
            )
        given = list(loss)
    found = [None if each is None else losses.get(each) for each in given]
    weights = _weights(loss_weights, keys)
    return (found[0] if len(found) == 1 else found), weights


def _only_weight(loss_weights: Any) -> float:
    """Return the weight of the only loss; 1 if none is given."""
    given = loss_weights[0] if isinstance(loss_weights, list | tuple) and len(loss_weights) == 1 else loss_weights
    if given is None:
        return 1.0
    if isinstance(given, bool) or not isinstance(given, Real):
        raise ValueError(
            f"loss_weights must be None or one number, a network has one loss; got {loss_weights!r} (metrics come "
            "after it)"
        )
    return number("loss_weights", given)


def _weights(loss_weights: Any, keys: Sequence[str]) -> list[float]:
    """Return the weight of each output's loss; 1 where there is none."""
    if loss_weights is None:
        return [1.0] * len(keys)
    if not is_nested(loss_weights):
        loss_weights = [loss_weights]
    if isinstance(loss_weights, Mapping):
        given = by_place(loss_weights, list(keys), keys, "loss_weights", "output", partial=True)
    elif len(loss_weights) == len(keys):
        given = list(loss_weights)
    else:
        raise ValueError(
            f"loss_weights must have one number for each output of the model, {', '.join(keys)}; got {loss_weights!r}"
        )
    return [
        1.0 if weight is None else number(f"the loss weight of {key!r}", weight)
        for key, weight in zip(keys, given, strict=True)
    ]


def loss_names(model: LayerStack) -> list[str]:
    """Return the names of the losses of several outputs in the history: "depth_loss", ...; none if there is one."""
    keys: list[str] = getattr(model, "output_keys", [])
    found = [f"{key}_loss" for key, loss in zip(keys, model.losses_of_outputs, strict=False) if loss is not None]
    return found if len(found) > 1 else []
