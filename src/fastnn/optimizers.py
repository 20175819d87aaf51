"""Update rules with Keras's names, arguments and arithmetic.

An optimizer holds options; moments and the number of updates belong to the model's compiled network.
"""

import math
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastnn import registry


def _checked(name: str, value: Any, low: float, below: float = math.inf) -> float:
    """``value`` as a float, low <= value < below."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not low <= value < below:
        bound = f"at least {low:g}" + (f" and less than {below:g}" if below < math.inf else " and finite")
        raise ValueError(f"{name} must be a number {bound}, got {value!r}")
    return float(value)


class Optimizer:
    """Base of all optimizers.

    Parameters
    ----------
    learning_rate : step size; may be assigned between epochs.
    weight_decay : decoupled decay: every update first multiplies the weights by ``1 - learning_rate * weight_decay``.
    name : name of the optimizer.
    """

    core_name: ClassVar[str]
    """Name of the update rule in the compiled core."""
    _options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, learning_rate: float, weight_decay: float | None, name: str | None) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = None if weight_decay is None else _checked("weight_decay", weight_decay, 0.0)
        self.name = name if name is not None else self.core_name

    @property
    def learning_rate(self) -> float:
        """The step size; an assigned value is used from the next epoch on."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = _checked("learning_rate", value, 0.0)
        self._constant_rates = np.empty(0)

    def learning_rates(self, first_step: int, n_steps: int) -> NDArray[np.float64]:
        """Return the learning rates of ``n_steps`` updates, the first of which is number ``first_step``."""
        rates = self._constant_rates
        if len(rates) != n_steps:
            rates = self._constant_rates = np.full(n_steps, self._learning_rate)
            rates.flags.writeable = False
        return rates

    def options(self) -> dict[str, float]:
        """Return the options the compiled core takes."""
        options: dict[str, float] = {option: getattr(self, option) for option in self._options}
        options["weight_decay"] = self.weight_decay or 0.0
        return options

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config: dict[str, Any] = {option: getattr(self, option) for option in self._options}
        return {
            "learning_rate": self.learning_rate,
            **config,
            "weight_decay": self.weight_decay,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an optimizer from ``get_config()``."""
        return cls(**config)

    def __repr__(self) -> str:
        options = ", ".join(f"{option}={value!r}" for option, value in self.get_config().items())
        return f"{type(self).__name__}({options})"


@registry.register("optimizer", "sgd", "SGD")
class SGD(Optimizer):
    """Gradient descent with momentum: ``v = momentum v - rate g; w += v`` (Nesterov: ``w += momentum v - rate g``).

    Parameters
    ----------
    learning_rate : step size.
    momentum : fraction of the last step that is kept, 0 <= momentum <= 1.
    nesterov : whether to use Nesterov's form (Sutskever et al., 2013).
    weight_decay : as in ``Optimizer``.
    """

    core_name = "sgd"
    _options = ("momentum", "nesterov")

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        *,
        name: str | None = "SGD",
    ) -> None:
        super().__init__(learning_rate, weight_decay, name)
        self.momentum = _checked("momentum", momentum, 0.0)
        if self.momentum > 1.0:
            raise ValueError(f"momentum must lie between 0 and 1, got {momentum!r}")
        self.nesterov = bool(nesterov)


@registry.register("optimizer", "adam", "Adam")
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), in Keras's form: ``epsilon`` is added to the root of the uncorrected second moment.

    ``m += (1 - beta_1) (g - m); v += (1 - beta_2) (g^2 - v);
    w -= rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    learning_rate : step size.
    beta_1, beta_2 : decay of the first and second moment, at least 0 and less than 1.
    epsilon : small number that bounds the step where gradients vanish.
    weight_decay : as in ``Optimizer``.
    """

    core_name = "adam"
    _options = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        weight_decay: float | None = None,
        name: str | None = "adam",
    ) -> None:
        super().__init__(learning_rate, weight_decay, name)
        self.beta_1 = _checked("beta_1", beta_1, 0.0, 1.0)
        self.beta_2 = _checked("beta_2", beta_2, 0.0, 1.0)
        self.epsilon = _checked("epsilon", epsilon, 0.0)


@registry.register("optimizer", "adamw", "AdamW")
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    core_name = "adamw"

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        name: str | None = "adamw",
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay, name=name)


@registry.register("optimizer", "rmsprop", "RMSprop")
class RMSprop(Optimizer):
    """Divides the gradient by a running root mean square of itself (Tieleman and Hinton, 2012).

    Parameters
    ----------
    learning_rate : step size.
    rho : decay of the mean square, at least 0 and less than 1.
    momentum : fraction of the last step that is kept.
    epsilon : added to the mean square.
    centered : whether to subtract the squared mean of the gradient from the mean square.
    weight_decay : as in ``Optimizer``.
    """

    core_name = "rmsprop"
    _options = ("rho", "momentum", "epsilon", "centered")

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        *,
        name: str | None = "rmsprop",
    ) -> None:
        super().__init__(learning_rate, weight_decay, name)
        self.rho = _checked("rho", rho, 0.0, 1.0)
        self.momentum = _checked("momentum", momentum, 0.0)
        self.epsilon = _checked("epsilon", epsilon, 0.0)
        self.centered = bool(centered)


def get(identifier: Any) -> Optimizer:
    """Return the optimizer for a name, class or optimizer.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest.
    """
    resolved: Optimizer = registry.resolve("optimizer", identifier, Optimizer)
    return resolved
