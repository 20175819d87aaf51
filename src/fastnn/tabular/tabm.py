"""TabM-mini (Gorishniy et al., 2025): its network, and one of the same weights that trains few members on each row."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn.initializers import RandomNormal, RandomSigns, RandomUniform
from fastnn.models import Model

Array = NDArray[Any]

MEMBERS_OF_ROW = 2
"""Members that a row trains in a step."""
PASSES = 2
"""How often an epoch goes through the rows; the members of a row are drawn each time."""
_FEWEST_ROWS = 500
"""With fewer rows in a fit, all members train on each: errors on 20 and 40 rows were 6 and 3 % larger otherwise."""
_MOST_HEADS = 32
"""With more outputs of a member, a network of few members has too many ops: all members train on each row."""
_ADAPTER, _HEAD = "adapter", "head"


class Members(Protocol):
    """The layers in which members differ, of values (n, n_in) of a row or (n, m n_in) of its m members."""

    n: int
    """m, the number of members of a row."""

    def adapted(self, h: Any, initializer: Any) -> Any:
        """Return the product (n, m n_in) of values (n, n_in) and a factor for each member and feature."""

    def heads(self, h: Any, units: int, place: int) -> Any:
        """Return ``units`` outputs of each member (n, m units); place: of the layer among the heads."""


class AllMembers:
    """Every row goes through all members.

    Parameters
    ----------
    n : number of members.
    """

    def __init__(self, n: int) -> None:
        self.n = n

    def adapted(self, h: Any, initializer: Any) -> Any:
        """Return the product (n, m n_in) of values (n, n_in) and a factor for each member and feature."""
        return layers.FeatureScale(members=self.n, scale_initializer=initializer, name=_ADAPTER)(h)

    def heads(self, h: Any, units: int, place: int) -> Any:
        """Return ``units`` outputs of each member (n, m units)."""
        bias = _uniform_bias(h.shape[-1] // self.n)
        return layers.GroupedDense(self.n, units, True, layers.tabular.UNIFORM, bias, name=f"{_HEAD}{place}")(h)


class SomeMembers:
    """A row goes through the members whose numbers it has: factors and heads are looked up.

    Parameters
    ----------
    n_members : number of all members.
    numbers : tensor (n, m) of the numbers of members.
    """

    def __init__(self, n_members: int, numbers: Any) -> None:
        self._n_members, self._numbers = n_members, numbers
        self.n = numbers.shape[-1]

    def adapted(self, h: Any, initializer: Any) -> Any:
        """Return the product (n, m n_in) of values (n, n_in) and a factor for each member and feature."""
        factors = self._rows(h.shape[-1], _ADAPTER)(self._numbers)
        return layers.Multiply()([layers.Concatenate()([h] * self.n), layers.Flatten()(factors)])

    def heads(self, h: Any, units: int, place: int) -> Any:
        """Return ``units`` outputs of each member (n, m units)."""
        width = h.shape[-1] // self.n
        tables = [self._rows(width, f"{_HEAD}{place}_{unit}") for unit in range(units)]
        products = []
        for member in range(self.n):
            own, number = h[:, member * width : (member + 1) * width], self._numbers[:, member : member + 1]
            products += [layers.Dot(axes=1)([own, layers.Flatten()(table(number))]) for table in tables]
        biases = layers.Flatten()(self._rows(units, f"{_HEAD}{place}_bias")(self._numbers))
        return layers.Add()([layers.Concatenate()(products), biases])

    def _rows(self, width: int, name: str) -> Any:
        return layers.Embedding(self._n_members, width, name=name)


def hidden(h: Any, members: Members, has_numbers: bool, width: int) -> Any:
    """Return the values of the last hidden layer (n, m width) for those of the first one's inputs (n, n_in)."""
    h = members.adapted(h, RandomNormal(stddev=1.0) if has_numbers else RandomSigns())
    for place in range(2 if has_numbers else 3):
        bias = _uniform_bias(h.shape[-1] // members.n)
        h = layers.MemberDense(members.n, width, True, layers.tabular.UNIFORM, bias, name=f"hidden{place}")(h)
        h = layers.Activation("relu")(h)
        h = layers.Dropout(0.1)(h)
    return h


def _uniform_bias(n_in: int) -> RandomUniform:
    """Return the initializer of biases of a layer with n_in inputs."""
    return RandomUniform(-(n_in**-0.5), n_in**-0.5)


def embedded_numbers(numbers: Any, X: Array) -> Any:
    """Return vectors of the numbers (n, n_numeric), for their quantiles in X (n_rows, n_numeric)."""
    return layers.PiecewiseLinearEmbedding(X.shape[1], edges=_edges_of(X), name="numbers")(numbers)


def _edges_of(X: Array) -> list[Array]:
    """Return edges of at most 48 bins for each feature of X (n, n_in).

    A column that varies may be constant in the rows of a fold: the edges of such a feature are its value c and c + 1.
    """
    edges = [np.array([c, c + 1.0]) for c in X[0].astype(np.float64)]
    varied = np.flatnonzero(np.ptp(X, axis=0) > 0.0)
    if varied.size:
        encoding = layers.PiecewiseLinearEncoding(48)
        encoding.adapt(X[:, varied])
        for place, found in zip(varied.tolist(), encoding.edges or (), strict=True):
            edges[place] = found
    return edges


def trains_some(n: int, n_members: int, n_outputs: int) -> bool:
    """Whether each of n rows trains some of the members: rows are many, and so are members, but not their outputs."""
    return n >= _FEWEST_ROWS and n_members > MEMBERS_OF_ROW and n_outputs <= _MOST_HEADS


def choose_members(numbers: Array, n_members: int, random: np.random.Generator) -> None:
    """Write the numbers (n, m) of the members that n rows train: for each member as many rows, give or take two."""
    first = random.permutation(len(numbers)) + random.integers(n_members)
    steps = np.arange(MEMBERS_OF_ROW) * (n_members // MEMBERS_OF_ROW)
    numbers[:] = (first[:, None] + steps) % n_members


def copy_to_some(model: Model, some: Model) -> None:
    """Copy the weights of a network of all members to that of some members."""
    for layer in model.layers:
        weights = layer.get_weights()
        if layer.name == _ADAPTER:
            some.get_layer(_ADAPTER).set_weights([weights[0].reshape(layer.members, -1)])
        elif layer.name.startswith(_HEAD):
            kernel, bias = (each.reshape(*each.shape[:-1], layer.groups, layer.units) for each in weights)
            for unit in range(layer.units):
                some.get_layer(f"{layer.name}_{unit}").set_weights([kernel[:, :, unit].T])
            some.get_layer(f"{layer.name}_bias").set_weights([bias])
        elif weights:
            some.get_layer(layer.name).set_weights(weights)


def copy_to_all(some: Model, model: Model) -> None:
    """Copy the weights of a network of some members to that of all members."""
    for layer in model.layers:
        if layer.name == _ADAPTER:
            layer.set_weights([some.get_layer(_ADAPTER).get_weights()[0].ravel()])
        elif layer.name.startswith(_HEAD):
            tables = [some.get_layer(f"{layer.name}_{unit}").get_weights()[0] for unit in range(layer.units)]
            bias = some.get_layer(f"{layer.name}_bias").get_weights()[0]
            kernel = np.stack(tables, axis=2).transpose(1, 0, 2)
            layer.set_weights([kernel.reshape(len(kernel), -1), bias.ravel()])
        elif layer.weights:
            layer.set_weights(some.get_layer(layer.name).get_weights())
    model.network.iterations = some.network.iterations
