"""Exceptions that fastnn defines."""


class DivergenceError(ArithmeticError):
    """Training met a loss that is NaN or infinite.

    The model keeps its last finite weights.

    Parameters
    ----------
    message : what happened and what is likely to help.
    epoch : epoch in which it happened, counted from 1.
    step : step of that epoch whose loss was not finite, counted from 1.
    last_loss : mean loss of the earlier steps of that epoch; NaN if there were none.
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
    """A file is not a valid model file: wrong format, damaged, truncated or malicious. Nothing was changed."""
