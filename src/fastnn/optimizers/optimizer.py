"""The base of all optimizers: learning rate, weight decay, clipping, moving average and accumulation."""

import inspect
import re
import warnings
import weakref
from collections.abc import Iterable
from typing import Any, ClassVar, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import flag, number, optional, text, whole
from fastnn._derivation import never_calls
from fastnn._missing import Advised
from fastnn.optimizers.schedules import LearningRateSchedule


class OptionsBesideDecay(TypedDict, total=False):
    """Arguments that every optimizer takes by name, except ``weight_decay``."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    gradient_accumulation_steps: int | None
    loss_scale_factor: float | None
    name: str | None


class CommonOptions(OptionsBesideDecay, total=False):
    """Arguments that every optimizer takes by name; ``Optimizer`` describes them."""

    weight_decay: float | None


_INSTEAD = (
    "the compiled core makes the updates. Choose one of fastnn's optimizers and set its options, or change the weights "
    "in a callback's on_train_batch_end, layer.kernel.assign(...)"
)
_RATE = "pass a LearningRateSchedule, or any function of the step, as learning_rate"


class LearningRate(float):
    """A learning rate, and the optimizer that has it: a number with the methods of Keras's variable.

    Parameters
    ----------
    rate : the number.
    optimizer : the optimizer.

    Examples
    --------
    >>> import fastnn
    >>> optimizer = fastnn.optimizers.SGD(0.5)
    >>> optimizer.learning_rate.assign(0.25)
    0.25
    >>> optimizer.learning_rate * 2
    0.5
    """

    def __new__(cls, rate: float, optimizer: "Optimizer") -> Self:
        """Return the number."""
        made = super().__new__(cls, rate)
        made._optimizer = optimizer
        return made

    _optimizer: "Optimizer"

    @property
    def value(self) -> float:
        """The number."""
        return float(self)

    def numpy(self) -> float:
        """Return the number."""
        return float(self)

    def assign(self, value: Any) -> "LearningRate":
        """Set the learning rate of the optimizer, and return it."""
        optimizer = self._optimizer
        optimizer.learning_rate = value
        return LearningRate(float(optimizer.learning_rate), optimizer)

    def __reduce__(self) -> tuple[Any, ...]:
        return float, (float(self),)


@never_calls(
    apply=_INSTEAD,
    apply_gradients=_INSTEAD,
    build="the network holds the moments; fit makes them",
    get_updates=_INSTEAD,
    learning_rate=_RATE,
    lr="its name is learning_rate",
    minimize=_INSTEAD,
    stateless_apply=_INSTEAD,
    update_step=_INSTEAD,
    _resource_apply_dense=_INSTEAD,
)
class Optimizer(Advised, registry.Description):
    """Base of all optimizers.

    Parameters
    ----------
    learning_rate : step size, a schedule, or any function of the number of earlier updates. A number may be assigned
        between epochs.
    weight_decay : decoupled decay: every update first multiplies the weights by ``1 - learning_rate * weight_decay``
        (Loshchilov and Hutter, 2019).
    clipnorm : largest norm of the gradient of each kernel and each bias.
    clipvalue : largest magnitude of each element of the gradient.
    global_clipnorm : largest norm of all gradients together (Pascanu et al., 2013). Set at most one of the three.
    use_ema : whether to keep a moving average of the weights, which replaces them at the end of ``fit`` (Polyak and
        Juditsky, 1992).
    ema_momentum : fraction of the average that an update keeps.
    ema_overwrite_frequency : number of updates after which the average replaces the weights; None for the end of
        ``fit`` only.
    gradient_accumulation_steps : number of steps whose mean gradient makes one update, at least 2; None for 1.
    loss_scale_factor : accepted as in Keras, without effect: Keras multiplies the loss and divides the gradients by it,
        which float32 and float64 do not need.
    name : name of the optimizer.
    """

    _place, _needs, _instead_of_own = "optimizer", "core_name", _INSTEAD
    core_name: ClassVar[str]
    """Name of the update rule in the compiled core."""
    full_batch: ClassVar[bool] = False
    """Whether each step takes all rows."""
    changing: ClassVar[tuple[str, ...]] = ()
    """Options that training changes; a resumed fit continues with their last values."""
    owner: "weakref.ref[Any] | None" = None
    """The model that was compiled with the optimizer last."""

    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:
        self._steps = 0
        self._schedule: Any = None
        self._excluded: list[str] = []
        if isinstance(learning_rate, dict):
            learning_rate = registry.resolve("schedule", learning_rate, LearningRateSchedule)
        if callable(learning_rate):
            self._schedule = learning_rate
            self._check_schedule()
        else:
            self._learning_rate = number("learning_rate", learning_rate, at_least=0.0)
        self.weight_decay = optional(number, "weight_decay", weight_decay, at_least=0.0)
        self.clipnorm = optional(number, "clipnorm", clipnorm, above=0.0)
        self.clipvalue = optional(number, "clipvalue", clipvalue, above=0.0)
        self.global_clipnorm = optional(number, "global_clipnorm", global_clipnorm, above=0.0)
        if sum(bound is not None for bound in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError(
                "only one of clipnorm, clipvalue and global_clipnorm can be set, got "
                f"clipnorm={clipnorm}, clipvalue={clipvalue}, global_clipnorm={global_clipnorm}"
            )
        self.use_ema = flag("use_ema", use_ema)
        self.ema_momentum = number("ema_momentum", ema_momentum, at_least=0.0, at_most=1.0)
        self.ema_overwrite_frequency = optional(whole, "ema_overwrite_frequency", ema_overwrite_frequency, at_least=1)
        self.gradient_accumulation_steps = optional(
            whole, "gradient_accumulation_steps", gradient_accumulation_steps, at_least=2
        )
        self.loss_scale_factor = optional(number, "loss_scale_factor", loss_scale_factor, above=0.0)
        self.name = self.core_name if name is None else text("name", name)

    @property
    def learning_rate(self) -> "LearningRate":
        """The step size; with a schedule, that of the next epoch.

        An assigned value is used from the next epoch on; if a batch hook assigns it, from the next step on.
        """
        rate = self._learning_rate if self._schedule is None else float(self._scheduled(self._steps, 1)[0])
        return LearningRate(rate, self)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if callable(value):
            self._schedule = value
            self._check_schedule()
        elif self._schedule is not None:
            raise TypeError(
                f"the learning rate follows {self._schedule!r} and cannot be assigned: give the optimizer a number as "
                "learning_rate instead of a schedule"
            )
        else:
            self._learning_rate = number("learning_rate", value, at_least=0.0)

    def begin_with(self, model: "weakref.ref[Any]") -> None:
        """Belong to a model that has just been compiled with the optimizer."""
        self.owner = model

    @property
    def iterations(self) -> int:
        """Number of updates since the model was compiled with this optimizer; 0 before the first."""
        model = None if self.owner is None else self.owner()
        return model.network.iterations if model is not None and model.built and model.optimizer is self else 0

    @property
    def schedule(self) -> Any:
        """The schedule or function that the learning rate follows; None if it is a number."""
        return self._schedule

    @property
    def settable_rate(self) -> float | None:
        """The learning rate where it may be assigned; None where it follows a schedule or there is none."""
        return self._learning_rate if self._schedule is None else None

    def require_settable_rate(self, setter: str) -> None:
        """Raise TypeError if the learning rate follows a schedule, so that ``setter`` cannot set it."""
        if self._schedule is not None:
            raise TypeError(
                f"{setter} sets the learning rate, but that of {type(self).__name__} follows {self._schedule!r}: give "
                f"{type(self).__name__} a number as learning_rate, or leave {setter} out"
            )

    def _check_schedule(self) -> None:
        if not isinstance(self._schedule, LearningRateSchedule):
            # Keras calls a plain function without arguments.
            self._takes_step = len(inspect.signature(self._schedule).parameters) > 0
        self._scheduled(self._steps, 1)

    def _scheduled(self, first_step: int, n_steps: int) -> NDArray[np.float64]:
        steps = np.arange(first_step, first_step + n_steps)
        own = isinstance(self._schedule, LearningRateSchedule)
        if own and type(self._schedule).__call__ is LearningRateSchedule.__call__:
            rates = np.asarray(self._schedule(steps), np.float64)
        elif own or self._takes_step:
            rates = np.array([float(self._schedule(int(step))) for step in steps])
        else:
            rates = np.full(n_steps, float(self._schedule()))
        bad = ~(np.isfinite(rates) & (rates >= 0.0))
        if bad.any():
            place = int(np.argmax(bad))
            raise ValueError(
                f"the learning rate must be a finite number of at least 0, but {self._schedule!r} gives {rates[place]} "
                f"at step {first_step + place}"
            )
        return rates

    def learning_rates(self, first_step: int, n_steps: int) -> NDArray[np.float64]:
        """Return the learning rates of ``n_steps`` updates from number ``first_step`` on."""
        if self._schedule is None:
            # np.full takes three times as long, which a small network's epoch of 5 us feels.
            rates = np.empty(n_steps)
            rates.fill(self._learning_rate)
            return rates
        self._steps = first_step + n_steps
        return self._scheduled(first_step, n_steps)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Exclude some weights from weight decay; call this before the model is compiled.

        Parameters
        ----------
        var_list : weights, such as ``layer.bias``.
        var_names : regular expressions that are searched for in the paths of the weights, such as "dense/bias".

        Raises
        ------
        AttributeError
            The model has read the options already.
        TypeError, ValueError
            ``var_list`` is not a list of weights, or ``var_names`` not one of regular expressions.

        Examples
        --------
        >>> import fastnn
        >>> optimizer = fastnn.optimizers.AdamW()
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
        >>> optimizer.decays("dense/bias"), optimizer.decays("dense/kernel")
        (False, True)
        """
        given = [] if var_names is None else var_names
        names = [] if isinstance(given, str) else list(given)
        if isinstance(given, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"var_names must be a list of strings, got {var_names!r}")
        if self._read_by:
            raise AttributeError(f"weights cannot be excluded from the weight decay of {self.name!r}: {self._read_by}")
        weights = list(var_list or ())
        foreign = [each for each in weights if not isinstance(getattr(each, "path", None), str)]
        if foreign:
            raise TypeError(f"var_list must be a list of weights, such as layer.bias, got {foreign[0]!r}")
        paths = [f"^{re.escape(weight.path)}$" for weight in weights]
        patterns = list(dict.fromkeys([*paths, *names]))
        try:
            _union(patterns)
        except re.error as error:
            raise ValueError(f"var_names must be regular expressions, got {names!r}: {error}") from None
        self._excluded = patterns

    def decays(self, path: str) -> bool:
        """Return whether weight decay acts on a weight, by its path."""
        return not self._excluded or _union(self._excluded).search(path) is None

    def options(self) -> dict[str, Any]:
        """Return the options that the compiled core takes."""
        clipping = ("clipnorm", "clipvalue", "global_clipnorm")
        named = (*self._options, *clipping, "gradient_accumulation_steps")
        options = {option: getattr(self, option) for option in named}
        options["weight_decay"] = self.weight_decay or 0.0
        if self.use_ema:
            options["use_ema"], options["ema_momentum"] = True, self.ema_momentum
            options["ema_overwrite_frequency"] = self.ema_overwrite_frequency
        return options

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments and, if weights are excluded from weight decay, their patterns."""
        rate: Any = self._schedule if self._schedule is not None else self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            rate = registry.serialize(rate)
        config = super().get_config()
        common = [option for option in CommonOptions.__annotations__ if option != "name"]
        config.update({option: getattr(self, option) for option in common})
        if self._excluded:
            config["excluded_from_weight_decay"] = list(self._excluded)
        return {"learning_rate": rate, **config, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an optimizer from ``get_config()``."""
        config = dict(config)
        excluded = config.pop("excluded_from_weight_decay", None)
        optimizer = cls(**config)
        if excluded:
            optimizer.exclude_from_weight_decay(var_names=excluded)
        return optimizer

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "owner"}


def _union(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern that finds what any of some regular expressions finds, as in Keras."""
    with warnings.catch_warnings():
        # A later Python may read "[[" and the like in another way. What they mean now is what a model file records.
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile("|".join(patterns))
