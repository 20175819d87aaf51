"""The native fit of a model on rows."""

from typing import Any

import fastnn._core as _core
import fastnn._ranks as _ranks
from fastnn.losses.custom import CustomLoss
from fastnn.network.stack import LayerStack
from fastnn.training.custom_loss import CustomLossFit
from fastnn.training.rows import Rows


def make_fit(
    model: LayerStack, rows: Rows, batch_size: int, predictions: Any, ranks: _ranks.Ranks | None = None
) -> Any:
    """Return the fit of a model on rows, of some ranks or of this process: native, or around losses in Python."""
    network, losses = model.network, model.losses_of_outputs
    custom = [isinstance(loss, CustomLoss) for loss in losses]
    y, weight = _targets(model, rows)
    if isinstance(predictions, list) and len(losses) == 1:
        predictions = predictions[0]
    if not any(custom):
        return _core.Fit(network, rows.X, y, weight, batch_size, 0, predictions, rows.numbers, ranks)
    for place, loss in enumerate(losses):
        own = rows.sample_weight[place] if isinstance(rows.sample_weight, list) else rows.sample_weight
        if custom[place] and loss is not None and own is not None:
            raise ValueError(f"loss function {loss.name!r} takes no sample_weight: weigh rows within it")
    fit = _core.Fit(network, rows.X, y, weight, batch_size, 0, predictions, rows.numbers, ranks)
    if not isinstance(rows.y, list):
        return CustomLossFit(fit, [losses[0]], [rows.y])
    pairs = [(loss, target) for loss, target, own in zip(losses, rows.y, custom, strict=True) if own]
    return CustomLossFit(fit, [loss for loss, _ in pairs], [target for _, target in pairs])


def make_held_out(model: LayerStack, rows: Rows, logits: list[bool]) -> _core.HeldOut:
    """Return rows that a fit evaluates between its epochs; ``logits`` as for ``Network.predict``."""
    y, weight = _targets(model, rows)
    return _core.HeldOut(model.network, rows.X, y, weight, logits)


def _targets(model: LayerStack, rows: Rows) -> tuple[Any, Any]:
    """Return targets and sample weights as the core takes them: those of losses, None where a loss is custom."""
    losses, y, weight = model.losses_of_outputs, rows.y, rows.sample_weight
    if isinstance(y, list):
        used = [place for place, loss in enumerate(losses) if loss is not None]
        y = [None if isinstance(losses[place], CustomLoss) else y[place] for place in used]
        weight = [weight[place] for place in used]
    if isinstance(y, list) and len(losses) == 1:
        return y[0], weight[0]
    return y, weight
