"""Vectors for integers: the layer of categorical columns."""

from typing import Any, ClassVar

import fastnn._registry as registry
import fastnn.constraints as constraints
import fastnn.regularizers as regularizers
from fastnn._arguments import absent, errors_of, whole
from fastnn._variables import Variable
from fastnn.layers.layer import Layer
from fastnn.layers.tensor import KerasTensor, Node
from fastnn.layers.weights import ParameterSpec, initializer_of


@registry.register("layer", "Embedding")
class Embedding(Layer):
    """A learned vector for each integer from 0 to ``input_dim - 1``, such as the number of a category.

    Shapes: (n,) becomes (n, output_dim), and (n, k) becomes (n, k, output_dim), to be followed by ``Flatten``. The
    integers are columns of an input, of any real type. The gradient of vectors that a batch does not use is 0.

    Parameters
    ----------
    input_dim : number of integers: the largest one plus 1.
    output_dim : length of the vectors.
    embeddings_initializer, embeddings_regularizer, embeddings_constraint : names or descriptions for the vectors
        (input_dim, output_dim).
    mask_zero, weights, lora_rank, lora_alpha, quantization_config : not supported; must be left out.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import layers
    >>> station = fastnn.Input((), dtype="int32", name="station")
    >>> layers.Embedding(12, 4)(station).shape
    (None, 4)
    """

    _core_names: ClassVar[dict[str, str]] = {"embeddings": "kernel"}

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: None = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        **layer_options: Any,
    ) -> None:
        absent(mask_zero=mask_zero, weights=weights, lora_rank=lora_rank, lora_alpha=lora_alpha)
        absent(quantization_config=quantization_config)
        self.input_dim = whole("input_dim", input_dim, at_least=1)
        self.output_dim = whole("output_dim", output_dim, at_least=1)
        self.embeddings_initializer = initializer_of("embeddings_initializer", embeddings_initializer, "uniform")
        with errors_of("embeddings_regularizer"):
            self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        with errors_of("embeddings_constraint"):
            self.embeddings_constraint = constraints.get(embeddings_constraint)
        super().__init__(**layer_options)

    def _trace_one(self, given: KerasTensor) -> Node:
        if given.node.inputs and not given.node.layer.selects and not given.node.layer.encodes:
            raise ValueError(
                f"layer {self.name!r} takes integers from an input, but {given.name!r} of shape {given.shape} is "
                f"computed by layer {given.node.layer.name!r}"
            )
        return super()._trace_one(given)

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a row, with ``output_dim`` at its end."""
        return (*rows[0], self.output_dim)

    def n_outputs(self, n_in: int) -> int:
        """Return ``n_in * output_dim``."""
        return n_in * self.output_dim

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        options: dict[str, Any] = {"n_rows": self.input_dim, "n_columns": self.output_dim, "trainable": self._trainable}
        options.update(self._factor_options("embeddings"))
        if self.embeddings_regularizer is not None:
            options["kernel_regularizer"] = self.embeddings_regularizer.factors()
        if self.embeddings_constraint is not None:
            options["kernel_constraint"] = self.embeddings_constraint.rule("kernel")
        return "embedding", options

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the vectors (input_dim, output_dim)."""
        return [ParameterSpec("embeddings", (self.input_dim, self.output_dim), self.embeddings_initializer)]

    @property
    def embeddings(self) -> Variable:
        """The vectors (input_dim, output_dim)."""
        return self.weight("embeddings")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        parts = ("initializer", "regularizer", "constraint")
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            **{f"embeddings_{part}": registry.describe(part, getattr(self, f"embeddings_{part}")) for part in parts},
        }
