"""What a model shows of its inside: gradients, the outputs of hidden layers, a table, a diagram."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from fastnn._derivation import is_fastnn_assigning, warn_of_near_name
from fastnn.network.stack import LayerStack
from fastnn.training.rows import features_of, rows_of, slopes_of_scaling

Array = NDArray[Any]


class InspectedStack(LayerStack):
    """A stack of layers with the methods that look into it; ``Sequential`` adds those that train and predict."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__ and not is_fastnn_assigning():
            warn_of_near_name(self, name)
        object.__setattr__(self, name, value)  # which takes half the time of a call through super()

    def gradients(self, x: Any, y: Any, sample_weight: Any = None) -> list[Array]:
        """Return the gradients of the loss with respect to the weights, in the order of ``get_weights()``.

        All rows are one batch and dropout is off. Weights that training does not change have gradient 0.
        """
        from fastnn.models.gradients import weight_gradients

        self.require_compiled("gradients")
        rows, program = rows_of(self, x, y, sample_weight)
        self.build_from(program)
        with self.reading("gradients"):
            return weight_gradients(self, rows)

    def input_gradients(self, x: Any) -> Any:
        """Return the derivatives of every output with respect to every input, (n, n_outputs, n_features).

        Parameters
        ----------
        x : inputs (n, n_features), finite numbers.
        """
        from fastnn.models.gradients import input_gradients

        X, program = features_of(self, x, allow_empty=True)
        self.build_from(program)
        with self.reading("input_gradients"):
            return input_gradients(self, X, slopes_of_scaling(self, x, program))

    def hidden_activations(self, x: Any) -> list[Array]:
        """Return the outputs (n, size) of every layer but the last for inputs (n, n_features).

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> from fastnn import layers
        >>> model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
        >>> [hidden.shape for hidden in model.hidden_activations(np.zeros((5, 3)))]
        [(5, 8)]
        """
        from fastnn.models.hidden import hidden_outputs

        X, program = features_of(self, x, allow_empty=True)
        self.build_from(program)
        with self.reading("hidden_activations"):
            return hidden_outputs(self, X)

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print a table of the layers, their output shapes and numbers of weights.

        Parameters
        ----------
        line_length : characters in a line; longer cells go on in the next line. By default as many as are needed.
        positions : where each column but "Trainable" ends: fractions of the line, or characters.
        print_fn : function to call with the table instead of ``print``.
        expand_nested : whether the layers of models and blocks in the model have rows of their own.
        show_trainable : whether a column says which layers are trained: "Y" or "N", "-" for layers without weights.
        layer_range : names of the first and the last layer to show, or regular expressions that match their beginning.

        Raises
        ------
        ValueError
            A column is narrower than 4 characters, ``positions`` are not one growing number for each column, or a name
            in ``layer_range`` matches no layer.
        TypeError
            ``print_fn`` cannot be called.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Sequential([fastnn.Input((4,)), fastnn.layers.Dense(3, name="first")], name="net")
        >>> model.summary(line_length=36)
        Model: "net"
        ____________________________________
        Layer        Output Shape    Param #
        (type)
        ====================================
        first        (None, 3)            15
        (Dense)
        ====================================
        Total params: 15
        Trainable params: 15
        Non-trainable params: 0
        ____________________________________
        """
        from fastnn.network.summary import summary_text

        if print_fn is not None and not callable(print_fn):
            raise TypeError(f"print_fn must be a function that takes the table, got {print_fn!r}")
        text = summary_text(self, line_length, positions, expand_nested, show_trainable, layer_range)
        (print if print_fn is None else print_fn)(text)

    def _repr_svg_(self) -> str | None:
        """Return the diagram; None before the model is built."""
        from fastnn.diagram import network_svg

        return network_svg(self) if self.built and self.layers else None

    def _repr_html_(self) -> str:
        """Return the diagram and a table of shapes and numbers of weights, for notebooks."""
        from fastnn.diagram import table_html

        return (self._repr_svg_() or "") + table_html(self)
