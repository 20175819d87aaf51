"""The steps of one epoch: native calls of at most 50 ms, with batch callbacks and the progress line between them."""

from collections.abc import Callable
from typing import Any

from fastnn.callbacks import CallbackList

SLICE_SECONDS = 0.05
"""Longest native call of training: Ctrl-C and the progress line wait no longer than this."""


def run_epoch(
    fit: Any,
    callbacks: CallbackList,
    mean_loss: Callable[[], float],
    follow_rate: Callable[[int], None] | None = None,
) -> bool:
    """Run all steps of an epoch whose ``begin_epoch`` was called; return False if a loss is NaN or infinite.

    Parameters
    ----------
    fit : the native fit, or a ``CustomLossFit``.
    callbacks : if any of them has a batch hook, every native call is one step long.
    mean_loss : returns the loss to show in batch logs and on the progress line.
    follow_rate : applies a learning rate that a callback has set; called before each step with the step's number. If
        None, a new learning rate and ``stop_training`` take effect after the epoch.
    """
    if not callbacks.each_step:
        status: str
        while (status := fit.run(-1, SLICE_SECONDS)) == "more":
            callbacks.progress(fit.step, mean_loss())
        return status == "finished"
    for step in range(fit.n_steps):
        callbacks.call("on_train_batch_begin", step, {})
        if follow_rate is not None:
            follow_rate(step)
        if fit.run(1) == "nonfinite":
            return False
        loss = mean_loss()
        callbacks.call("on_train_batch_end", step, {"loss": loss})
        callbacks.progress(step + 1, loss)
        if follow_rate is not None and callbacks.stop_training:
            break
    return True
