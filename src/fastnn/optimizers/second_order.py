"""Optimizers that take all rows in each step and build on second derivatives: for small networks and few rows."""

import weakref
from typing import Any, ClassVar

import fastnn._registry as registry
from fastnn._arguments import number, whole
from fastnn.optimizers.optimizer import LearningRate, Optimizer


class FullBatch(Optimizer):
    """Base of optimizers without a learning rate, whose steps take all rows. An epoch is one step."""

    core_name = "sgd"
    full_batch: ClassVar[bool] = True
    title: ClassVar[str]
    """Name of the method in messages."""

    def __init__(self, name: str) -> None:
        super().__init__(1.0, name=name)
        self._first: dict[str, float] = {}
        self._trained: dict[str, float] | None = None

    @property
    def learning_rate(self) -> LearningRate:
        """Always 1: the method finds the length of each step."""
        return LearningRate(1.0, self)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        raise TypeError(f"{self.title} has no learning rate: it finds the length of each step itself")

    @property
    def settable_rate(self) -> None:
        """None: there is no learning rate."""

    def require_settable_rate(self, setter: str) -> None:
        """Raise TypeError: there is no learning rate that ``setter`` could set."""
        raise TypeError(f"{setter} sets the learning rate, but {self.title} has none: leave {setter} out")

    def begin_with(self, model: "weakref.ref[Any]") -> None:
        """Belong to a model; options that training has changed return to what they were before."""
        super().begin_with(model)
        if self._trained == self._changed():
            for option, value in self._first.items():
                setattr(self, option, value)
        self._first, self._trained = self._changed(), None

    def note_training(self) -> None:
        """Remember that the options were changed by training, not by the user."""
        self._trained = self._changed()

    def _changed(self) -> dict[str, float]:
        return {option: getattr(self, option) for option in self.changing}

    def options(self) -> dict[str, Any]:
        """Return the options of the rule that stands in the compiled network, which does not run."""
        return {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**{option: getattr(self, option) for option in self._options}, "name": self.name}


@registry.register("optimizer", "lm", "LevenbergMarquardt", "levenberg_marquardt")
class LevenbergMarquardt(FullBatch):
    """Levenberg-Marquardt for sums of squares: usually the fastest for up to some thousand weights and smooth targets.

    Each epoch is one step over all rows. With the residuals r and their Jacobian J, the step d solves
    ``(J.T J + damping I) d = -J.T r`` (Levenberg, 1944; Hagan and Menhaj, 1994). The damping shrinks or grows with the
    ratio of the actual gain to the predicted one (Nielsen, 1999). If there are fewer residuals than weights, the
    equivalent system in the residuals is solved. The arithmetic is float64, also where the model is float32. The
    history holds the loss after each step. Scale inputs and targets to about unit size.

    The loss must be the mean squared error. Layers may be ``Dense``, ``NTPDense``, ``Activation``, ``Concatenate``,
    ``Add``, ``Subtract``, ``Average``, ``Normalization`` and ``Rescaling``, blocks of them, slices of tensors and their
    products with numbers, and any layer without weights or with frozen ones that comes before all trained ones.
    ``Dense`` layers in a row, all of them trained, are the fastest.
    Regularizers and constraints are refused; use ``BayesianLevenbergMarquardt`` or early stopping against overfitting.
    Training stops when no step lowers the loss or when the gradient vanishes.

    Parameters
    ----------
    damping : damping of the first step, above 0. It changes during training; ``compile`` takes the first one again.
    max_damping : training stops when the damping exceeds it.
    min_gradient : training stops when no element of the gradient of the loss is larger.
    name : name of the optimizer.

    Examples
    --------
    >>> import fastnn, numpy as np
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> model = fastnn.Sequential([fastnn.layers.Dense(5, "tanh"), fastnn.layers.Dense(1)], dtype="float64", seed=0)
    >>> model.compile(optimizer="lm", loss="mse")
    >>> history = model.fit(x, np.sin(3 * x), epochs=100, verbose=0)
    >>> history.history["loss"][-1] < 1e-6
    True
    """

    title = "Levenberg-Marquardt"
    _options: ClassVar[tuple[str, ...]] = ("damping", "max_damping", "min_gradient")
    changing: ClassVar[tuple[str, ...]] = ("damping",)

    def __init__(
        self,
        damping: float = 1e-3,
        max_damping: float = 1e10,
        min_gradient: float = 1e-12,
        name: str = "lm",
    ) -> None:
        super().__init__(name)
        self.damping = number("damping", damping, above=0.0)
        self.max_damping = number("max_damping", max_damping, above=0.0)
        self.min_gradient = number("min_gradient", min_gradient, at_least=0.0)


@registry.register("optimizer", "lm_bayes", "BayesianLevenbergMarquardt")
class BayesianLevenbergMarquardt(LevenbergMarquardt):
    """Levenberg-Marquardt with Bayesian regularization: it decides itself how smooth the network is.

    It minimizes ``beta E_D + alpha E_W`` with the sum of squared residuals E_D and that of squared weights E_W. After
    each step alpha and beta are set from the evidence (MacKay, 1992; Foresee and Hagan, 1997):
    ``gamma = p - 2 alpha trace(H^-1)`` with ``H = 2 beta J.T J + 2 alpha I`` and p weights,
    ``alpha = gamma / (2 E_W)``, ``beta = (N - gamma) / (2 E_D)`` with N residuals. No validation rows are needed. The
    loss in the history is the mean squared error alone, which may rise. With ``alpha=0`` the first steps, at most 9,
    have no penalty: until the error is below half the variance of the targets, or a step gains less than 0.1 %. With a
    penalty from the first step on, networks of 30 units and more can end as a straight line.

    Parameters as in ``LevenbergMarquardt``, and:

    Parameters
    ----------
    alpha, beta : weights of the two sums at the first step. They change during training, as the damping does.

    Attributes
    ----------
    effective_parameters : gamma, the number of weights that the data determine; None before the first step, also in a
        model from a file.
    """

    title = "Bayesian Levenberg-Marquardt"
    _options = (*LevenbergMarquardt._options, "alpha", "beta")
    changing = ("damping", "alpha", "beta")

    def __init__(
        self,
        damping: float = 5e-3,
        max_damping: float = 1e10,
        min_gradient: float = 1e-12,
        alpha: float = 0.0,
        beta: float = 1.0,
        name: str = "lm_bayes",
    ) -> None:
        super().__init__(damping, max_damping, min_gradient, name)
        self.alpha = number("alpha", alpha, at_least=0.0)
        self.beta = number("beta", beta, above=0.0)
        self.effective_parameters: float | None = None

    def begin_with(self, model: "weakref.ref[Any]") -> None:
        """Belong to a model that has taken no step."""
        super().begin_with(model)
        self.effective_parameters = None


@registry.register("optimizer", "lbfgs", "LBFGS")
class LBFGS(FullBatch):
    """L-BFGS over all rows: for any loss, and for more weights than Levenberg-Marquardt can take.

    Each epoch is one iteration: a direction from the last changes of weights and gradient (Nocedal, 1980), and a step
    that meets the strong Wolfe conditions (Nocedal and Wright, 2006, algorithms 3.5 and 3.6). Dropout is off; a penalty
    of a regularizer is part of the loss that is minimized. Batch normalization that is trained, loss functions of your
    own and constraints are refused. Training stops when the gradient vanishes or no step lowers the loss. float64
    models converge further. A new call of ``fit``, or a resumed one, begins with an empty memory.

    Parameters
    ----------
    memory : number of changes to keep.
    min_gradient : training stops when no element of the gradient is larger.
    name : name of the optimizer.
    """

    title = "L-BFGS"
    _options = ("memory", "min_gradient")

    def __init__(self, memory: int = 10, min_gradient: float = 1e-9, name: str = "lbfgs") -> None:
        super().__init__(name)
        self.memory = whole("memory", memory, at_least=1)
        self.min_gradient = number("min_gradient", min_gradient, at_least=0.0)
