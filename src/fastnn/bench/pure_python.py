"""A dense network and one training step in plain Python lists: no NumPy, nothing compiled.

The same arithmetic as `fastnn.reference.DenseNetwork` with Adam, in Python's floats (float64), as it would be written
on a blackboard: forward, loss, backward, update.
"""

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import mul
from typing import Any

Scalar = Callable[[float], float]
Vector = list[float]
Matrix = list[Vector]

BETA_1, BETA_2 = 0.9, 0.999


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Sum of products."""
    total: float = sum(map(mul, a, b))
    return total


def transpose(matrix: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Return the columns as rows."""
    return list(zip(*matrix, strict=True))


def relu(z: float) -> float:
    """Rectified linear unit."""
    return z if z > 0.0 else 0.0


def sigmoid(z: float) -> float:
    """Logistic function, without overflow."""
    if z >= 0.0:
        return 1.0 / (1.0 + math.exp(-z))
    e = math.exp(z)
    return e / (1.0 + e)


# Each activation with its derivative as a function of its output.
ACTIVATIONS: dict[str, tuple[Scalar, Scalar]] = {
    "linear": (lambda z: z, lambda a: 1.0),
    "relu": (relu, lambda a: 1.0 if a > 0.0 else 0.0),
    "tanh": (math.tanh, lambda a: 1.0 - a * a),
    "sigmoid": (sigmoid, lambda a: a * (1.0 - a)),
}


def mean_squared_error(target: Sequence[float], output: Vector) -> tuple[float, Vector]:
    """Loss and gradient of one row: the mean of the squared errors."""
    n = len(output)
    errors = [p - t for p, t in zip(output, target, strict=True)]
    return dot(errors, errors) / n, [2.0 * e / n for e in errors]


def binary_crossentropy(target: Sequence[float], logits: Vector) -> tuple[float, Vector]:
    """Loss and gradient of one row of logits, targets 0 or 1."""
    n = len(logits)
    losses = [max(z, 0.0) - z * t + math.log1p(math.exp(-abs(z))) for z, t in zip(logits, target, strict=True)]
    return sum(losses) / n, [(sigmoid(z) - t) / n for z, t in zip(logits, target, strict=True)]


def sparse_categorical_crossentropy(label: int, logits: Vector) -> tuple[float, Vector]:
    """Loss and gradient of one row of logits and a class label: softmax, then minus the logarithm."""
    largest = max(logits)
    exponentials = [math.exp(z - largest) for z in logits]
    total = sum(exponentials)
    gradient = [e / total for e in exponentials]
    gradient[label] -= 1.0
    return math.log(total) + largest - logits[label], gradient


LOSSES: dict[str, Callable[[Any, Vector], tuple[float, Vector]]] = {
    "mean_squared_error": mean_squared_error,
    "binary_crossentropy": binary_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
}


class PurePythonNetwork:
    """Fully connected network trained by Adam, in lists. Inputs and targets are lists too.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, units of each layer.
    activation : {"relu", "tanh", "sigmoid", "linear"}
        Of the hidden layers; the last layer is linear.
    loss : {"mean_squared_error", "binary_crossentropy", "sparse_categorical_crossentropy"}
        The cross-entropies take the last layer's values as logits.
    learning_rate, epsilon : float
        Adam's.
    weights : sequence, optional
        Starting values ``[W1, b1, W2, b2, ...]``, W (n_in, n_out); default Glorot's uniform distribution.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        loss: str = "mean_squared_error",
        learning_rate: float = 0.001,
        weights: Sequence[Any] | None = None,
        epsilon: float = 1e-7,
    ) -> None:
        shapes = list(pairwise(sizes))
        if weights is None:
            generator = random.Random(0)
            weights = []
            for n_in, n_out in shapes:
                limit = math.sqrt(6.0 / (n_in + n_out))
                weights.append([[generator.uniform(-limit, limit) for _ in range(n_out)] for _ in range(n_in)])
                weights.append([0.0] * n_out)
        # Each unit of a layer is one list: its n_in weights, then its bias.
        self.layers: list[Matrix] = []
        for kernel, bias in zip(weights[0::2], weights[1::2], strict=True):
            units = transpose(kernel)
            self.layers.append([[*map(float, unit), float(b)] for unit, b in zip(units, bias, strict=True)])
        self.m = [[[0.0] * len(unit) for unit in layer] for layer in self.layers]
        self.v = [[[0.0] * len(unit) for unit in layer] for layer in self.layers]
        self.activations = [ACTIVATIONS[activation]] * (len(shapes) - 1) + [ACTIVATIONS["linear"]]
        self.loss = LOSSES[loss]
        self.learning_rate = learning_rate
        self.epsilon = epsilon
        self.iterations = 0

    @property
    def weights(self) -> list[Any]:
        """The parameters ``[W1, b1, W2, b2, ...]`` as nested lists."""
        result: list[Any] = []
        for layer in self.layers:
            result.append([list(row) for row in transpose([unit[:-1] for unit in layer])])
            result.append([unit[-1] for unit in layer])
        return result

    def forward(self, X: Sequence[Sequence[float]]) -> list[Matrix]:
        """Return the values of every layer, the input first; each row ends with a 1 that multiplies the bias."""
        values = [[[*row, 1.0] for row in X]]
        for layer, (function, _) in zip(self.layers, self.activations, strict=True):
            values.append([[*[function(dot(unit, row)) for unit in layer], 1.0] for row in values[-1]])
        return values

    def predict(self, X: Sequence[Sequence[float]]) -> Matrix:
        """Return the outputs of the last layer, one row for each row of X."""
        return [row[:-1] for row in self.forward(X)[-1]]

    def step(self, X: Sequence[Sequence[float]], y: Sequence[Any]) -> float:
        """Train on one batch and return its loss before the update."""
        n = len(X)
        values = self.forward(X)
        results = [self.loss(target, row[:-1]) for target, row in zip(y, values[-1], strict=True)]
        loss = sum(value for value, _ in results) / n
        deltas = [[g / n for g in gradient] for _, gradient in results]

        gradients = []
        for index in reversed(range(len(self.layers))):
            derivative = self.activations[index][1]
            deltas = [
                [d * derivative(a) for d, a in zip(delta, row, strict=False)]  # each row ends with the bias's 1
                for delta, row in zip(deltas, values[index + 1], strict=True)
            ]
            inputs, outputs = transpose(values[index]), transpose(deltas)
            gradients.append([[dot(column, delta) for column in inputs] for delta in outputs])
            if index:
                kernel = transpose(self.layers[index])[:-1]
                deltas = [[dot(weights, delta) for weights in kernel] for delta in deltas]

        self.update(gradients[::-1])
        return loss

    def update(self, gradients: list[Matrix]) -> None:
        """Adam (Kingma and Ba, 2015), epsilon added to the square root of v."""
        self.iterations += 1
        t = self.iterations
        alpha = self.learning_rate * math.sqrt(1.0 - BETA_2**t) / (1.0 - BETA_1**t)
        sqrt, epsilon = math.sqrt, self.epsilon
        for layer, layer_g, layer_m, layer_v in zip(self.layers, gradients, self.m, self.v, strict=True):
            for w, g, m, v in zip(layer, layer_g, layer_m, layer_v, strict=True):
                m[:] = [a + (b - a) * (1.0 - BETA_1) for a, b in zip(m, g, strict=True)]
                v[:] = [a + (b * b - a) * (1.0 - BETA_2) for a, b in zip(v, g, strict=True)]
                w[:] = [a - alpha * b / (sqrt(c) + epsilon) for a, b, c in zip(w, m, v, strict=True)]
