"""The fully connected layer."""

from typing import Any

from numpy.typing import NDArray

import fastnn._registry as registry
import fastnn.regularizers as regularizers
from fastnn._arguments import absent, errors_of, flag, whole
from fastnn._variables import Variable
from fastnn.layers.activation import find_activation
from fastnn.layers.layer import Layer
from fastnn.layers.weights import ParameterSpec, initializer_of

Array = NDArray[Any]


@registry.register("layer", "Dense")
class Dense(Layer):
    """Fully connected layer: ``Y = activation(X @ W + b)``.

    Shapes: X (n, n_in), W (n_in, units), b (units,), Y (n, units).

    Parameters
    ----------
    units : number of outputs.
    activation : name, activation or activation layer; None is linear.
    use_bias : whether to add b.
    kernel_initializer, bias_initializer : names or initializers; None is the default.
    kernel_regularizer, bias_regularizer : names or regularizers of W and b.
    activity_regularizer : name or regularizer of Y; the penalty is divided by the rows of the batch.
    kernel_constraint, bias_constraint : names or constraints of W and b, applied after every update.
    lora_rank, lora_alpha, quantization_config : not supported; must be None.
    layer_options : ``name``, ``trainable``, ``dtype``, ``input_shape``, ``input_dim`` as in ``Layer``.

    Raises
    ------
    ValueError
        ``units`` is not a whole number of at least 1, or a name is unknown.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        **layer_options: Any,
    ) -> None:
        absent(lora_rank=lora_rank, lora_alpha=lora_alpha, quantization_config=quantization_config)
        self.units = whole("units", units, at_least=1)
        self.activation = find_activation(activation)
        self.use_bias = flag("use_bias", use_bias)
        self.kernel_initializer = initializer_of("kernel_initializer", kernel_initializer, "glorot_uniform")
        self.bias_initializer = initializer_of("bias_initializer", bias_initializer, "zeros")
        with errors_of("activity_regularizer"):
            self.activity_regularizer = regularizers.get(activity_regularizer)
        self._regularize("kernel", kernel_regularizer, kernel_constraint)
        self._regularize("bias", bias_regularizer, bias_constraint)
        super().__init__(**layer_options)

    def n_outputs(self, n_in: int) -> int:
        """Return ``units``."""
        return self.units

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's dense op."""
        options = {"n_out": self.units, "use_bias": self.use_bias, **self.activation.options()}
        if self.activity_regularizer is not None:
            options["activity_regularizer"] = self.activity_regularizer.factors()
        return "dense", {**options, **self._training_options("kernel", "bias")}

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the kernel (n_in, units) and the bias (units,)."""
        specs = [ParameterSpec("kernel", (n_in, self.units), self.kernel_initializer)]
        if self.use_bias:
            specs.append(ParameterSpec("bias", (self.units,), self.bias_initializer))
        return specs

    @property
    def kernel(self) -> Variable:
        """The kernel, (n_in, units)."""
        return self.weight("kernel")

    @property
    def bias(self) -> Variable | None:
        """The bias, (units,); None if there is none."""
        return self.weight("bias") if self.use_bias else None

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation.get_config(),
            "use_bias": self.use_bias,
            "kernel_initializer": registry.describe("initializer", self.kernel_initializer),
            "bias_initializer": registry.describe("initializer", self.bias_initializer),
            "activity_regularizer": registry.describe("regularizer", self.activity_regularizer),
            **self._regularization_config("kernel", "bias"),
        }
