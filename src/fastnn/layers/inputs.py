"""The input of a network: as a layer, and as the symbolic tensor that it gives."""

from collections.abc import Sequence
from typing import Any

import fastnn._registry as registry
from fastnn._arguments import input_type, optional, takes_keywords, whole
from fastnn.layers.layer import Layer, row_shape
from fastnn.layers.tensor import KerasTensor, Node


@registry.register("layer", "InputLayer")
class InputLayer(Layer):
    """The shape of one input row, as a layer; arguments as in ``Input``."""

    def __init__(
        self,
        shape: Sequence[int] | int | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        if sparse or ragged:
            raise ValueError(f"inputs are dense arrays: sparse and ragged must be None, got {sparse!r}, {ragged!r}")
        if (shape is None) == (batch_shape is None):
            raise ValueError(
                f"give shape or batch_shape, one of them, got shape={shape!r}, batch_shape={batch_shape!r}"
            )
        if batch_shape is not None:
            batch_size, shape = batch_shape[0], batch_shape[1:]  # type: ignore[assignment]
        optional(whole, "batch_size", batch_size, at_least=1)
        self.input_dtype = input_type("dtype", dtype)
        super().__init__(name=name)
        is_single = isinstance(shape, list | tuple) and not shape
        self.declared_input = () if is_single else row_shape("shape", shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        assert self.declared_input is not None
        return self.declared_input

    def op(self, n_in: int) -> None:
        """Return None: an input does nothing."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        kind = {} if self.input_dtype is None else {"dtype": self.input_dtype}
        return {"name": self.name, "shape": self.shape, **kind}

    def tensor(self) -> KerasTensor:
        """Return the symbolic tensor of the input; there is one for each object."""
        if not self.nodes:
            node = Node(self, ([], {}), [self.shape], [self.input_dtype], [self.name])
            node.outputs = [InputTensor(self.shape, self.input_dtype, node, self.name)]
            self.nodes.append(node)
        return self.nodes[0].outputs[0]


class InputTensor(KerasTensor):
    """The symbolic tensor of an input; it has the methods of its layer, too."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.node.layer, name)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> KerasTensor:
        """Return the tensor of a new input for the result of ``get_config()``."""
        return InputLayer.from_config(config).tensor()


@takes_keywords
def Input(
    shape: Sequence[int] | int | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    *,
    name: str | None = None,
) -> KerasTensor:
    """Return the symbolic tensor of an input: what layers are called on, and the first entry of a ``Sequential``.

    Parameters
    ----------
    shape : sizes of one row, such as (5,) or (28, 28); () for one integer or string per row.
    batch_size : accepted as in Keras, without effect: batches may have any size.
    dtype : type of the columns. "float64" makes that of a ``Model``; integers and "string" are for ``Embedding`` and
        the layers that encode categories. The arrays may have any real type.
    sparse, ragged : must be None or False.
    batch_shape : ``(batch_size, *shape)`` instead of ``shape``.
    name : name of the input.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Sequential([fastnn.Input((5,)), fastnn.layers.Dense(1)])
    >>> model.count_params()
    6
    >>> x = fastnn.Input((5,), name="station")
    >>> fastnn.Model(x, fastnn.layers.Dense(1)(x)).input_names
    ['station']
    """
    return InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, name=name).tensor()
