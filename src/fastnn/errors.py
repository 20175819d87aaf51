"""Errors that fastnn adds to Python's own."""


class DivergenceError(ArithmeticError):
    """Training met a loss that is NaN or infinite.

    The model keeps its last finite weights.

    Parameters
    ----------
    message : what happened and the likely cures.
    epoch : epoch in which it happened, counted from 1.
    step : step of that epoch whose loss was not finite, counted from 1.
    last_loss : mean loss of the steps of the epoch before it; NaN if there was none.
    """

    def __init__(self, message: str, epoch: int = 0, step: int = 0, last_loss: float = float("nan")) -> None:
        super().__init__(message, epoch, step, last_loss)
        self.message = message
        self.epoch = epoch
        self.step = step
        self.last_loss = last_loss

    def __str__(self) -> str:
        return self.message


class ModelFormatError(ValueError):
    """A file is no model file, or is damaged, truncated or made to deceive; nothing was changed."""
