"""The steps of epochs: native calls of at most 50 ms, with batch callbacks and the progress line between them."""

import threading
from collections.abc import Callable
from typing import Any

from fastnn.callbacks import CallbackList

SLICE_SECONDS = 0.05
"""Longest native call of training: Ctrl-C and the progress line wait no longer than this."""


class Stopped(BaseException):
    """Ends a fit whose thread was asked to stop."""


class _StopRequest(threading.local):
    event: threading.Event | None = None


_request = _StopRequest()


def stop_on(event: threading.Event) -> None:
    """End the fits of this thread with ``Stopped``, at the next epoch or within 50 ms, once ``event`` is set."""
    _request.event = event


def _check_request() -> None:
    if _request.event is not None and _request.event.is_set():
        raise Stopped


def run_steps(
    fit: Any,
    callbacks: CallbackList,
    mean_loss: Callable[[], float],
    *,
    last: int | None = None,
    offset: int = 0,
    batch_logs: Callable[[], dict[str, Any]] | None = None,
    follow_rate: Callable[[], None] | None = None,
    decide: Callable[[bool], bool] = bool,
) -> bool:
    """Run the steps of an epoch whose ``begin_epoch`` was called; return False if a loss is NaN or infinite.

    Parameters
    ----------
    fit : the native fit, or a ``CustomLossFit``.
    callbacks : if any of them has a batch hook, every native call is one step long.
    mean_loss : returns the loss to show on the progress line.
    last : number of the step to stop before; None for the end of the fit's rows.
    offset : what to add to the number of a step of the fit for that of the batch in the epoch.
    batch_logs : returns the logs of a batch that was trained on; by default the loss alone.
    follow_rate : applies a learning rate that a callback has set; called before each step. If None, a new learning
        rate and ``stop_training`` take effect after the epoch.
    decide : returns from what this process found what all ranks decide.
    """
    last = fit.n_steps if last is None else last
    _check_request()
    if not callbacks.each_step:
        while fit.step < last:
            if fit.run(last - fit.step, SLICE_SECONDS) == "nonfinite":
                return False
            if fit.step < last:
                callbacks.progress(fit.step + offset, mean_loss())
                _check_request()
        return True
    while fit.step < last:
        batch = fit.step + offset
        callbacks.call("on_train_batch_begin", batch, {})
        if follow_rate is not None:
            follow_rate()
        if fit.run(1) == "nonfinite":
            return False
        callbacks.call("on_train_batch_end", batch, {"loss": mean_loss()} if batch_logs is None else batch_logs())
        callbacks.progress(batch + 1, mean_loss())
        _check_request()
        if follow_rate is not None and decide(callbacks.stop_training):
            break
    return True


def run_epochs(fit: Any, ends: Callable[[], bool]) -> bool:
    """Run the epochs whose ``begin_epochs`` was called; return False if a loss is NaN or infinite.

    Parameters
    ----------
    fit : the native fit.
    ends : called every 50 ms; True ends the call after the current epoch.
    """
    while True:
        _check_request()
        status = fit.run_epochs(SLICE_SECONDS)
        if status != "more":
            return bool(status == "finished")
        if ends():
            fit.end_after_epoch()
