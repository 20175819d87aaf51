"""Update rules with Keras's names, arguments and arithmetic.

An optimizer holds options; the model's compiled network holds moments and the number of updates.
"""

from typing import Any, ClassVar, Unpack

import fastnn._registry as registry
from fastnn._arguments import flag, number
from fastnn.optimizers.optimizer import CommonOptions, Optimizer, OptionsBesideDecay


@registry.register("optimizer", "sgd", "SGD")
class SGD(Optimizer):
    """Gradient descent with momentum: ``v = momentum v - rate g; w += v`` (Nesterov: ``w += momentum v - rate g``).

    Parameters
    ----------
    learning_rate : as in ``Optimizer``.
    momentum : fraction of the last step that is added to the next, between 0 and 1.
    nesterov : whether to use Nesterov's form (Sutskever et al., 2013).
    common : as in ``Optimizer``.
    """

    core_name = "sgd"
    _options = ("momentum", "nesterov")

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        **common: Unpack[OptionsBesideDecay],
    ) -> None:
        common.setdefault("name", "SGD")
        super().__init__(learning_rate, weight_decay=weight_decay, **common)
        self.momentum = number("momentum", momentum, at_least=0.0, at_most=1.0)
        self.nesterov = flag("nesterov", nesterov)


class _Moments(Optimizer):
    """Base of rules with a first and a second moment of the gradient."""

    _options: ClassVar[tuple[str, ...]] = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1 = number("beta_1", beta_1, at_least=0.0, below=1.0)
        self.beta_2 = number("beta_2", beta_2, at_least=0.0, below=1.0)
        self.epsilon = number("epsilon", epsilon, at_least=0.0)


@registry.register("optimizer", "adam", "Adam")
class Adam(_Moments):
    """Adam (Kingma and Ba, 2015), in Keras's form: ``epsilon`` is added to the root of the uncorrected second moment.

    ``m += (1 - beta_1) (g - m); v += (1 - beta_2) (g^2 - v);
    w -= rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    learning_rate : as in ``Optimizer``.
    beta_1, beta_2 : decay of the first and second moment, at least 0 and less than 1.
    epsilon : small number that bounds the steps where gradients vanish.
    amsgrad : whether to divide by the largest second moment so far (Reddi et al., 2018).
    corrects_epsilon : whether to add ``epsilon`` to the root of the corrected second moment,
        ``sqrt(v / (1 - beta_2^t)) + epsilon``, as in the paper and in PyTorch.
    common : as in ``Optimizer``.
    """

    core_name = "adam"
    _options = ("beta_1", "beta_2", "epsilon", "amsgrad", "corrects_epsilon")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *,
        corrects_epsilon: bool = False,
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **common)
        self.amsgrad = flag("amsgrad", amsgrad)
        self.corrects_epsilon = flag("corrects_epsilon", corrects_epsilon)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments; those of Keras alone where ``corrects_epsilon`` is off."""
        config = super().get_config()
        if not self.corrects_epsilon:
            del config["corrects_epsilon"]
        return config


@registry.register("optimizer", "adamw", "AdamW")
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    core_name = "adamw"

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *,
        corrects_epsilon: bool = False,
        **common: Unpack[OptionsBesideDecay],
    ) -> None:
        options: CommonOptions = {**common, "weight_decay": weight_decay}
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, corrects_epsilon=corrects_epsilon, **options)


@registry.register("optimizer", "nadam", "Nadam")
class Nadam(_Moments):
    """Adam with Nesterov's momentum (Dozat, 2016).

    With ``u_t = beta_1 (1 - 0.96^t / 2)`` and ``P_t = u_1 ... u_t``, m and v as in ``Adam``:
    ``w -= rate (u_(t+1) m / (1 - P_(t+1)) + (1 - u_t) g / (1 - P_t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)``.
    Parameters as in ``Adam``.
    """

    core_name = "nadam"


@registry.register("optimizer", "adamax", "Adamax")
class Adamax(_Moments):
    """Adam with the infinity norm: ``u = max(beta_2 u, |g|); w -= rate / (1 - beta_1^t) m / (u + epsilon)``.

    Kingma and Ba (2015), section 7.1; parameters as in ``Adam``.
    """

    core_name = "adamax"


@registry.register("optimizer", "adagrad", "Adagrad")
class Adagrad(Optimizer):
    """Divides by the root of the sum of all squared gradients: ``a += g^2; w -= rate g / sqrt(a + epsilon)``.

    Duchi, Hazan and Singer (2011).

    Parameters
    ----------
    learning_rate : as in ``Optimizer``.
    initial_accumulator_value : initial value of a, at least 0.
    epsilon : as in the formula.
    common : as in ``Optimizer``.
    """

    core_name = "adagrad"
    _options = ("initial_accumulator_value", "epsilon")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.initial_accumulator_value = number("initial_accumulator_value", initial_accumulator_value, at_least=0.0)
        self.epsilon = number("epsilon", epsilon, at_least=0.0)


@registry.register("optimizer", "adadelta", "Adadelta")
class Adadelta(Optimizer):
    """Steps in units of the weights: ``d = g sqrt(D + epsilon) / sqrt(G + epsilon); w -= rate d`` (Zeiler, 2012).

    G and D are running means of ``g^2`` and ``d^2``.

    Parameters
    ----------
    learning_rate : as in ``Optimizer``; 1 is the paper's rule.
    rho : decay of the running means, at least 0 and less than 1.
    epsilon : as in the formula.
    common : as in ``Optimizer``.
    """

    core_name = "adadelta"
    _options = ("rho", "epsilon")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho = number("rho", rho, at_least=0.0, below=1.0)
        self.epsilon = number("epsilon", epsilon, at_least=0.0)


@registry.register("optimizer", "lion", "Lion")
class Lion(Optimizer):
    """``w -= rate sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g`` (Chen et al., 2023).

    Parameters
    ----------
    learning_rate : as in ``Optimizer``.
    beta_1 : fraction of the momentum in the step, greater than 0 and at most 1.
    beta_2 : decay of the momentum.
    common : as in ``Optimizer``.
    """

    core_name = "lion"
    _options = ("beta_1", "beta_2")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(learning_rate, **common)
        self.beta_1 = number("beta_1", beta_1, above=0.0, at_most=1.0)
        self.beta_2 = number("beta_2", beta_2, at_least=0.0, below=1.0)


@registry.register("optimizer", "rmsprop", "RMSprop")
class RMSprop(Optimizer):
    """Divides the gradient by a running root mean square of itself (Tieleman and Hinton, 2012).

    Parameters
    ----------
    learning_rate : as in ``Optimizer``.
    rho : decay of the mean square, at least 0 and less than 1.
    momentum : fraction of the last step that is added to the next.
    epsilon : added to the mean square.
    centered : whether to subtract the squared mean of the gradient from the mean square.
    common : as in ``Optimizer``.
    """

    core_name = "rmsprop"
    _options = ("rho", "momentum", "epsilon", "centered")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        **common: Unpack[OptionsBesideDecay],
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **common)
        self.rho = number("rho", rho, at_least=0.0, below=1.0)
        self.momentum = number("momentum", momentum, at_least=0.0)
        self.epsilon = number("epsilon", epsilon, at_least=0.0)
        self.centered = flag("centered", centered)
