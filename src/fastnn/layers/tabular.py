"""Layers of networks for tables: learned scales, the neural tangent parametrization, members that share a kernel."""

import math
from typing import Any

import fastnn._registry as registry
from fastnn._arguments import flag, whole
from fastnn._variables import Variable
from fastnn.layers.activation import Activation, find_activation
from fastnn.layers.dense import Dense
from fastnn.layers.layer import Layer
from fastnn.layers.merging import Add, Concatenate
from fastnn.layers.weights import ParameterSpec, initializer_of

UNIFORM = {"class_name": "VarianceScaling", "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}}
"""Uniform between -1 / sqrt(n_in) and 1 / sqrt(n_in)."""


class _Own(Layer):
    """Base of layers whose weights have initializers, regularizers and constraints of their own names."""

    _weights: tuple[str, ...] = ()

    mix_initializer: Any
    kernel_initializer: Any
    bias_initializer: Any

    def _set_weights(self, **parts: tuple[Any, Any, Any]) -> None:
        """Set initializer, regularizer and constraint of each weight."""
        for name, (initializer, regularizer, constraint) in parts.items():
            setattr(self, f"{name}_initializer", initializer)
            self._regularize(name, regularizer, constraint)

    def _used(self) -> list[str]:
        """Return the weights that the layer has."""
        return [name for name in self._weights if name != "bias" or getattr(self, "use_bias", True)]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        described = {
            f"{name}_initializer": registry.describe("initializer", getattr(self, f"{name}_initializer"))
            for name in self._weights
        }
        return {**super().get_config(), **described, **self._regularization_config(*self._weights)}


@registry.register("layer", "FeatureScale")
class FeatureScale(_Own):
    """A learned factor for each feature: ``Y = X * scale + bias``.

    The first layer of RealMLP (Holzmüller et al., 2024) has no bias. With ``members=k`` the features come k times, each
    time with other factors: shapes are X (n, n_in), scale and bias (k n_in,), Y (n, k n_in). That is the adapter with
    which the members of TabM differ (Gorishniy et al., 2025).

    Parameters
    ----------
    members : how many times the features come.
    use_bias : whether to add a bias.
    scale_initializer, bias_initializer : names or initializers.
    scale_regularizer, bias_regularizer, scale_constraint, bias_constraint : names or descriptions.
    layer_options : as in ``Layer``.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.layers.FeatureScale(members=4)(fastnn.Input((3,))).shape
    (None, 12)
    """

    _weights = ("scale", "bias")
    _options = ("members", "use_bias")

    def __init__(
        self,
        members: int = 1,
        use_bias: bool = False,
        scale_initializer: Any = "ones",
        bias_initializer: Any = "zeros",
        scale_regularizer: Any = None,
        bias_regularizer: Any = None,
        scale_constraint: Any = None,
        bias_constraint: Any = None,
        **layer_options: Any,
    ) -> None:
        self.members = whole("members", members, at_least=1)
        self.use_bias = flag("use_bias", use_bias)
        self._set_weights(
            scale=(initializer_of("scale_initializer", scale_initializer, "ones"), scale_regularizer, scale_constraint),
            bias=(initializer_of("bias_initializer", bias_initializer, "zeros"), bias_regularizer, bias_constraint),
        )
        super().__init__(**layer_options)

    def n_outputs(self, n_in: int) -> int:
        """Return ``members * n_in``."""
        return self.members * n_in

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        options = {"members": self.members, "use_bias": self.use_bias}
        return "feature_scale", {**options, **self._training_options(*self._used())}

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the scale and the bias, each (members n_in,)."""
        shape = (self.members * n_in,)
        return [ParameterSpec(name, shape, getattr(self, f"{name}_initializer")) for name in self._used()]

    @property
    def scale(self) -> Variable:
        """The factors (members n_in,)."""
        return self.weight("scale")

    @property
    def bias(self) -> Variable | None:
        """The offsets (members n_in,); None if there are none."""
        return self.weight("bias") if self.use_bias else None


@registry.register("layer", "ParametricActivation")
class ParametricActivation(_Own):
    """An activation that is mixed with the identity: ``Y = X + (f(X) - X) * mix``, one mix (n_in,) for each feature.

    Parameters
    ----------
    activation : name or elementwise activation f.
    mix_initializer, mix_regularizer, mix_constraint : names or descriptions; the mix starts at 1, where ``Y = f(X)``.
    layer_options : as in ``Layer``.

    Raises
    ------
    ValueError
        The activation is that of a whole row, such as softmax.
    """

    _weights = ("mix",)

    def __init__(
        self,
        activation: Any,
        mix_initializer: Any = "ones",
        mix_regularizer: Any = None,
        mix_constraint: Any = None,
        **layer_options: Any,
    ) -> None:
        self.activation = find_activation(activation)
        if self.activation.name in ("softmax", "log_softmax"):
            raise ValueError(f"activation must act on each element by itself, got {self.activation.name!r}")
        self._set_weights(
            mix=(initializer_of("mix_initializer", mix_initializer, "ones"), mix_regularizer, mix_constraint)
        )
        super().__init__(**layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        options = self.activation.options()
        options["function"] = options.pop("activation")
        return "parametric_activation", {**options, **self._training_options("mix")}

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the mix (n_in,)."""
        return [ParameterSpec("mix", (n_in,), self.mix_initializer)]

    @property
    def mix(self) -> Variable:
        """The share of the activation (n_in,)."""
        return self.weight("mix")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "activation": self.activation.get_config()}


@registry.register("layer", "NTPDense")
class NTPDense(Layer):
    """Dense layer in the neural tangent parametrization: ``Y = activation(X @ W / sqrt(n_in) + b)``.

    W starts with standard normal numbers, so that one learning rate suits layers of all widths (Jacot et al., 2018).
    The layer is composed of a multiplication and a ``Dense``.

    Parameters
    ----------
    units : number of outputs.
    activation, use_bias : as in ``Dense``.
    kernel_initializer, bias_initializer : names or initializers; standard normal numbers by default.
    kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint : as in ``Dense``.
    learning_rate_factors, weight_decay_factors, layer_options : as in ``Layer``.
    """

    composes = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        learning_rate_factors: Any = None,
        weight_decay_factors: Any = None,
        **layer_options: Any,
    ) -> None:
        normal = {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1.0}}
        super().__init__(**layer_options)
        self.units = whole("units", units, at_least=1)
        self.dense = Dense(
            units,
            activation,
            use_bias,
            normal if kernel_initializer is None else kernel_initializer,
            normal if bias_initializer is None else bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            learning_rate_factors=learning_rate_factors,
            weight_decay_factors=weight_decay_factors,
            name=f"{self.name}_dense",
        )

    def call(self, x: Any) -> Any:
        """Return the outputs for a symbolic tensor."""
        return self.dense(x * (1.0 / math.sqrt(x.shape[-1])))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        described = {"activation": self.dense.get_config()["activation"]} if "activation" in config else {}
        return {**config, **described}

    @property
    def kernel(self) -> Variable:
        """The kernel W (n_in, units)."""
        return self.dense.kernel

    @property
    def bias(self) -> Variable | None:
        """The bias (units,); None if there is none."""
        return self.dense.bias


@registry.register("layer", "NonCrossingQuantiles")
class NonCrossingQuantiles(Layer):
    """Quantiles in order, from any outputs: the lowest one, and the steps to each next one.

    With the K inputs x of a target, the quantiles are ``q_0 = x_0`` and ``q_k = q_{k-1} + softplus(x_k)``: none is
    below the one before it. The layer has no weights; put a ``Dense`` before it, and train with the loss
    ``MultiQuantile``. Shapes: X and Y (n, K n_targets), the lowest quantiles of all targets first.

    Parameters
    ----------
    n_levels : K.
    layer_options : as in ``Layer``.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import layers
    >>> levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    >>> model = fastnn.Sequential([layers.Dense(16, "relu"), layers.Dense(5), layers.NonCrossingQuantiles(5)])
    >>> model.compile(optimizer="adam", loss=fastnn.losses.MultiQuantile(levels))
    """

    composes = True
    _options = ("n_levels",)

    def __init__(self, n_levels: int, **layer_options: Any) -> None:
        self.n_levels = whole("n_levels", n_levels, at_least=1)
        super().__init__(**layer_options)
        self.softplus = Activation("softplus", name=f"{self.name}_softplus")

    def call(self, x: Any) -> Any:
        """Return the quantiles for a symbolic tensor."""
        n_columns = x.shape[-1]
        if n_columns % self.n_levels:
            raise ValueError(
                f"layer {self.name!r} needs {self.n_levels} inputs for each target, one for each level, got {n_columns}"
            )
        if self.n_levels == 1:
            return x
        width = n_columns // self.n_levels
        quantiles, steps = [x[:, :width]], self.softplus(x[:, width:])
        for level in range(self.n_levels - 1):
            quantiles.append(Add()([quantiles[-1], steps[:, level * width : (level + 1) * width]]))
        return Concatenate()(quantiles)


class _Grouped(_Own):
    """Base of layers that divide the features into groups of equal size."""

    _weights = ("kernel", "bias")
    _options = ("groups", "units", "use_bias")

    def __init__(
        self,
        groups: int,
        units: int,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **layer_options: Any,
    ) -> None:
        self.groups = whole("groups", groups, at_least=1)
        self.units = whole("units", units, at_least=1)
        self.use_bias = flag("use_bias", use_bias)
        self._set_weights(
            kernel=(
                initializer_of("kernel_initializer", kernel_initializer, UNIFORM),
                kernel_regularizer,
                kernel_constraint,
            ),
            bias=(initializer_of("bias_initializer", bias_initializer, "zeros"), bias_regularizer, bias_constraint),
        )
        super().__init__(**layer_options)

    def n_outputs(self, n_in: int) -> int:
        """Return ``groups * units``."""
        self._group_size(n_in)
        return self.groups * self.units

    def computes(self) -> bool:
        """Return True; one input is not a group for each member."""
        return True

    def _group_size(self, n_in: int) -> int:
        if n_in % self.groups:
            raise ValueError(f"layer {self.name!r} divides its inputs into {self.groups} groups, but there are {n_in}")
        return n_in // self.groups

    def _columns(self) -> int:
        raise NotImplementedError

    def _grouped_options(self, n_in: int) -> dict[str, Any]:
        sizes = {"n_rows": self._group_size(n_in), "n_columns": self._columns(), "groups": self.groups}
        return {**sizes, "use_bias": self.use_bias, **self._training_options(*self._used())}

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the kernel and the bias."""
        specs = [ParameterSpec("kernel", (self._group_size(n_in), self._columns()), self.kernel_initializer)]
        if self.use_bias:
            specs.append(ParameterSpec("bias", (self._columns(),), self.bias_initializer))
        return specs

    @property
    def kernel(self) -> Variable:
        """The kernel."""
        return self.weight("kernel")

    @property
    def bias(self) -> Variable | None:
        """The bias; None if there is none."""
        return self.weight("bias") if self.use_bias else None


@registry.register("layer", "GroupedDense")
class GroupedDense(_Grouped):
    """A dense layer for each group of features.

    Group g of the p = n_in / groups features ``X[:, g p : (g + 1) p]`` gives the outputs ``g units, ...,
    (g + 1) units - 1``. Shapes: X (n, groups p), kernel (p, groups units), bias (groups units,), Y (n, groups units).

    Parameters
    ----------
    groups : number of groups.
    units : outputs of each group.
    use_bias : whether to add a bias.
    kernel_initializer, bias_initializer : names or initializers; by default the kernel is uniform between
        -1 / sqrt(p) and 1 / sqrt(p), and the bias 0.
    kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint : names or descriptions.
    layer_options : as in ``Layer``.
    """

    def _columns(self) -> int:
        return self.groups * self.units

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        return "grouped_product", self._grouped_options(n_in)


@registry.register("layer", "MemberDense")
class MemberDense(_Grouped):
    """One dense layer that all members of an ensemble share (TabM; Gorishniy et al., 2025).

    Each of the ``groups`` members has p = n_in / groups features, which are multiplied by the same kernel: shapes are
    X (n, groups p), kernel (p, units), bias (units,), Y (n, groups units). Each member costs a product: 32 members
    are 32 times the arithmetic of one network of their shape.

    Parameters
    ----------
    groups : number of members.
    units : outputs of each member.
    use_bias, kernel_initializer, bias_initializer : as in ``GroupedDense``.
    kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint : as in ``GroupedDense``.
    layer_options : as in ``Layer``.
    """

    def _columns(self) -> int:
        return self.units

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        return "member_product", self._grouped_options(n_in)
