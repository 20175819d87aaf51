"""Functional models that are trained with Keras and with fastnn: built from a module `k`, `keras` or `fastnn`.

`make_keras_graphs.py` records what Keras computes; `test_keras_graphs.py` compares.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

N_ROWS, EPOCHS, BATCH_SIZE = 40, 3, 12


def wave(*shape: int, frequency: float) -> np.ndarray:
    """Numbers between -1 and 1 that do not repeat, the same on every machine."""
    values = np.sin(frequency * (1.0 + np.arange(np.prod(shape))) ** 1.5)
    return np.round(values, 4).reshape(shape)


A, B = wave(N_ROWS, 4, frequency=0.7), wave(N_ROWS, 3, frequency=0.45)
CODES = ((np.arange(N_ROWS * 3) * 7) % 5).reshape(N_ROWS, 3)
Y1 = (A[:, :1] - B[:, 1:2]).round(4)
Y2 = np.stack([A[:, 0] * B[:, 0], B.sum(axis=1)], axis=1).round(4)
BINARY = (A[:, :1] > B[:, :1]).astype(np.float64)
LABELS = (np.arange(N_ROWS) * 7 % 3).astype(np.int64)
WEIGHT = 1.0 + wave(N_ROWS, frequency=0.3) / 2.0


@dataclass(frozen=True)
class Case:
    """A function that returns a model, its data, and how to train it."""

    build: Callable[[Any, Any], Any]
    x: Any
    y: Any
    compile: Callable[[Any], dict[str, Any]]
    fit: dict[str, Any] = field(default_factory=dict)
    own: bool = False


class Layers:
    """The layers of a module, with inputs and models of one type."""

    def __init__(self, k: Any, dtype: str) -> None:
        self._k, self._dtype = k, dtype
        self._options = {} if k.__name__ == "keras" else {"dtype": dtype}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._k.layers, name)

    def input(self, n: Any, name: str, dtype: str | None = None) -> Any:
        """An input of n columns."""
        return self._k.Input(n if isinstance(n, tuple) else (n,), name=name, dtype=dtype or self._dtype)

    def model(self, inputs: Any, outputs: Any, name: str | None = None) -> Any:
        """A model between tensors."""
        return self._k.Model(inputs, outputs, name=name)

    def sequential(self, layers: list[Any], name: str | None = None) -> Any:
        """A chain."""
        return self._k.Sequential(layers, name=name, **self._options)


def mse(k):
    return {"optimizer": k.optimizers.SGD(0.05), "loss": "mse"}


def adam(k):
    return {"optimizer": k.optimizers.Adam(0.01), "loss": "mse", "metrics": ["mae"]}


def chain(k, L):
    x = L.input(4, "x")
    return L.model(x, L.Dense(1)(L.Dense(6, activation="tanh")(x)))


def wide_and_deep(k, L):
    x = L.input(4, "x")
    deep = L.Dense(1)(L.Dense(5, activation="relu")(L.Dense(6, activation="relu")(x)))
    return L.model(x, L.Add()([deep, L.Dense(1)(x)]))


def wide_and_deep_two_inputs(k, L):
    a, b = L.input(4, "a"), L.input(3, "b")
    deep = L.Dense(5, activation="relu")(L.Dense(6, activation="tanh")(b))
    return L.model([a, b], L.Dense(1, name="out")(L.concatenate([a, deep])))


def skip(k, L):
    x = L.input(4, "x")
    h = L.Dense(4, activation="tanh")(x)
    h = L.add([h, x])
    h = L.add([L.Dense(4, activation="tanh")(h), h])
    return L.model(x, L.Dense(1)(h))


def shared_tower(k, L):
    a, b = L.input(3, "a"), L.input(3, "b")
    first, second = L.Dense(5, activation="tanh"), L.Dense(4)
    return L.model([a, b], L.Dense(1)(L.Subtract()([second(first(a)), second(first(b))])))


def shared_twice_in_row(k, L):
    x = L.input(4, "x")
    layer = L.Dense(4, activation="tanh", kernel_regularizer=k.regularizers.L2(0.01))
    return L.model(x, L.Dense(1)(layer(layer(x))))


def shared_batch_norm(k, L):
    x = L.input(4, "x")
    norm = L.BatchNormalization(momentum=0.8)
    return L.model(x, L.Dense(1)(norm(L.Dense(4)(norm(x)))))


def two_heads(k, L):
    x = L.input(4, "x")
    h = L.Dense(6, activation="tanh")(x)
    return L.model(x, [L.Dense(1, name="p")(h), L.Dense(2, name="q")(h)])


def two_heads_dict(k, L):
    a, b = L.input(4, "a"), L.input(3, "b")
    h = L.Dense(6, activation="relu")(L.Concatenate()([a, b]))
    return L.model({"a": a, "b": b}, {"size": L.Dense(1)(h), "place": L.Dense(2)(h)})


def three_heads(k, L):
    x = L.input(4, "x")
    h = L.Dense(6, activation="tanh")(x)
    number = L.Dense(1, name="number")(h)
    return L.model(
        x,
        [
            number,
            L.Dense(1, activation="sigmoid", name="yes")(L.concatenate([h, number])),
            L.Dense(3, activation="softmax", name="kind")(h),
        ],
    )


def head_used_again(k, L):
    x = L.input(4, "x")
    yes = L.Dense(1, activation="sigmoid", name="yes")(L.Dense(5, activation="tanh")(x))
    return L.model(x, [yes, L.Dense(1, name="number")(L.multiply([yes, L.Dense(1)(x)]))])


def hidden_output(k, L):
    x = L.input(4, "x")
    h = L.Dense(2, activation="tanh", name="h")(x)
    return L.model(x, [L.Dense(1, name="out")(h), h])


def arithmetic(k, L):
    a, b = L.input(3, "a"), L.input(3, "b")
    gate = L.Dense(4, activation="sigmoid")(a)
    mixed = gate * L.Dense(4)(b) + (1.0 - gate) * L.Dense(4)(a)
    return L.model([a, b], L.Dense(1)(mixed / 2.0 - 0.25))


def quotient(k, L):
    x = L.input(4, "x")
    up, down = L.Dense(3)(x), L.Dense(3, activation="softplus")(x)
    return L.model(x, L.Dense(1)(up / (down + 1.0) + 1.0 / (1.0 + down)))


def broadcast(k, L):
    x = L.input(4, "x")
    one, many = L.Dense(1, activation="sigmoid")(x), L.Dense(5, activation="tanh")(x)
    return L.model(x, L.Dense(1)(L.Multiply()([one, many]) + one))


def extremes(k, L):
    x = L.input(4, "x")
    parts = [L.Dense(5)(x), L.Dense(5)(x), L.Dense(5)(x)]
    return L.model(x, L.Dense(1)(L.concatenate([L.maximum(parts), L.minimum(parts), L.average(parts)])))


def dot(k, L):
    a, b = L.input(4, "a"), L.input(3, "b")
    return L.model([a, b], L.Dense(1)(L.Dot(axes=1)([L.Dense(5)(a), L.Dense(5)(b)])))


def cosine(k, L):
    a, b = L.input(4, "a"), L.input(3, "b")
    return L.model([a, b], L.Dot(axes=1, normalize=True)([L.Dense(5)(a), L.Dense(5)(b)]))


def slices(k, L):
    x = L.input(4, "x")
    left, right = L.Dense(4, activation="tanh")(x[:, :2]), L.Dense(4, activation="tanh")(x[:, 2:])
    return L.model(x, L.Dense(1)(left[:, 1:3] * right[:, ::2]))


def embedding(k, L):
    x, code = L.input(4, "x"), L.input((), "code", "int32")
    vector = L.Embedding(5, 3, embeddings_regularizer=k.regularizers.L2(0.01))(code)
    return L.model([x, code], L.Dense(1)(L.Dense(6, activation="tanh")(L.concatenate([x, vector]))))


def embeddings_of_columns(k, L):
    codes = L.input(3, "codes", "int32")
    one = L.Embedding(5, 2)(codes[:, 0])
    others = L.Flatten()(L.Embedding(5, 3)(codes[:, 1:]))
    return L.model(codes, L.Dense(1)(L.concatenate([one, others])))


def shared_embedding(k, L):
    codes = L.input(2, "codes", "int32")
    table = L.Embedding(5, 4)
    return L.model(codes, L.Dot(axes=1)([table(codes[:, 0]), table(codes[:, 1])]))


def embedding_reshaped(k, L):
    code = L.input(1, "code", "int32")
    return L.model(code, L.Dense(1)(L.Reshape((4,))(L.Embedding(5, 4)(code))))


def nested_sequential(k, L):
    a, b = L.input(4, "a"), L.input(3, "b")
    inner = L.sequential([L.input(4, "i"), L.Dense(5, activation="tanh"), L.Dense(3)], name="inner")
    return L.model([a, b], L.Dense(1)(L.add([inner(a), b])))


def nested_shared(k, L):
    a, b = L.input(3, "a"), L.input(3, "b")
    tower = L.sequential([L.input(3, "i"), L.Dense(5, activation="relu"), L.Dense(4)], name="tower")
    return L.model([a, b], L.Dense(1)(L.concatenate([tower(a), tower(b)])))


def nested_model(k, L):
    u, v = L.input(2, "u"), L.input(2, "v")
    h = L.Dense(3, activation="tanh")(L.concatenate([u, v]))
    inner = L.model([u, v], [L.Dense(2)(h), L.Dense(1)(h)], name="inner")
    x = L.input(4, "x")
    two, one = inner([x[:, :2], x[:, 2:]])
    return L.model(x, L.Dense(1)(L.concatenate([two, one, x])))


def nested_in_sequential(k, L):
    inner = L.sequential([L.input(4, "i"), L.Dense(5, activation="tanh"), L.Dense(3)], name="inner")
    return L.sequential([inner, L.Dense(1)])


def frozen_part(k, L):
    x = L.input(4, "x")
    base = L.sequential([L.input(4, "i"), L.Dense(5, activation="tanh", kernel_regularizer="l2")], name="base")
    base.trainable = False
    return L.model(x, L.Dense(1)(base(x)))


def frozen_batch_norm(k, L):
    x = L.input(4, "x")
    h = L.BatchNormalization(trainable=False)(L.Dense(4)(x))
    return L.model(x, L.Dense(1)(L.add([h, x])))


def norms(k, L):
    a, b = L.input(4, "a"), L.input(3, "b")
    left = L.BatchNormalization(momentum=0.7)(L.Dense(4, use_bias=False)(a))
    right = L.LayerNormalization()(L.Dense(4)(b))
    return L.model([a, b], L.Dense(1)(L.Activation("relu")(L.add([left, right]))))


def same_order_of_depth(k, L):
    x = L.input(4, "x")
    short = L.Dense(3, name="short")(x)
    long = L.Dense(3, name="long_2")(L.Dense(3, name="long_1", activation="tanh")(x))
    return L.model(x, L.Dense(1, name="end")(L.concatenate([long, short])))


def unused_head(k, L):
    x = L.input(4, "x")
    h = L.Dense(4, activation="tanh")(x)
    return L.model(x, [L.Dense(1, name="p")(h), L.Dense(2, name="q")(h)])


def own_layer(k, L):
    class Gate(k.layers.Layer):
        def __init__(self, units, **options):
            super().__init__(**options)
            self.value = k.layers.Dense(units, activation="tanh")
            self.gate = k.layers.Dense(units, activation="sigmoid")

        def call(self, x):
            gate = self.gate(x)
            return gate * self.value(x) + (1.0 - gate)

    x = L.input(4, "x")
    block = Gate(4)
    return L.model(x, L.Dense(1)(block(block(x))))


def activity(k, L):
    x = L.input(4, "x")
    h = L.Dense(4, activation="tanh", activity_regularizer=k.regularizers.L2(0.1), name="h")(x)
    return L.model(x, [L.Dense(1, name="out")(h), L.Dense(1, name="other")(h)])


def heads(**options):
    return lambda k: {"optimizer": k.optimizers.Adam(0.01), **options}


CASES = {
    "chain": Case(chain, A, Y1, adam),
    "wide_and_deep": Case(wide_and_deep, A, Y1, adam),
    "wide_and_deep_two_inputs": Case(wide_and_deep_two_inputs, [A, B], Y1, adam),
    "inputs_by_name": Case(wide_and_deep_two_inputs, {"b": B, "a": A}, Y1, mse, {"sample_weight": WEIGHT}),
    "skip": Case(skip, A, Y1, adam),
    "shared_tower": Case(shared_tower, [A[:, :3], B], Y1, mse),
    "shared_twice_in_row": Case(shared_twice_in_row, A, Y1, adam),
    "shared_batch_norm": Case(shared_batch_norm, A, Y1, mse),
    "two_heads": Case(two_heads, A, [Y1, Y2], heads(loss="mse", metrics=[["mae"], ["mse", "mae"]])),
    "two_losses": Case(two_heads, A, [Y1, Y2], heads(loss=["mse", "mae"], loss_weights=[0.5, 2.0])),
    "losses_by_name": Case(
        two_heads,
        A,
        {"q": Y2, "p": Y1},
        heads(loss={"q": "huber", "p": "mse"}, loss_weights={"p": 3.0, "q": 0.25}, metrics={"q": ["mae"]}),
        {"validation_split": 0.25},
    ),
    "sample_weight_for_both": Case(
        two_heads,
        A,
        [Y1, Y2],
        heads(loss="mse", weighted_metrics=[["mae"], ["mae"]]),
        {"sample_weight": [WEIGHT, WEIGHT[::-1].copy()]},
    ),
    "two_heads_dict": Case(
        two_heads_dict,
        {"a": A, "b": B},
        {"size": Y1, "place": Y2},
        heads(loss={"size": "mse", "place": "mae"}, metrics={"size": ["mae"], "place": ["mse"]}),
    ),
    "three_heads": Case(
        three_heads,
        A,
        [Y1, BINARY, LABELS],
        heads(
            loss=["mse", "binary_crossentropy", "sparse_categorical_crossentropy"],
            loss_weights=[1.0, 0.5, 0.25],
            metrics=[["mae"], ["accuracy"], ["accuracy"]],
        ),
        {"validation_split": 0.2},
    ),
    "head_used_again": Case(
        head_used_again, A, [BINARY, Y1], heads(loss={"yes": "binary_crossentropy", "number": "mse"})
    ),
    "hidden_output": Case(hidden_output, A, [Y1, Y2], heads(loss=["mse", "mse"], loss_weights=[1.0, 0.1])),
    "one_loss_of_two": Case(unused_head, A, [Y1, Y2], heads(loss=["mse", None])),
    "arithmetic": Case(arithmetic, [A[:, :3], B], Y1, adam),
    "quotient": Case(quotient, A, Y1, mse),
    "broadcast": Case(broadcast, A, Y1, adam),
    "extremes": Case(extremes, A, Y1, mse),
    "dot": Case(dot, [A, B], Y1, adam),
    "cosine": Case(cosine, [A, B], Y1, mse),
    "slices": Case(slices, A, Y1, adam),
    "embedding": Case(embedding, [A, CODES[:, 0]], Y1, mse),
    "embedding_adam": Case(embedding, [A, CODES[:, 0]], Y1, adam),
    "embeddings_of_columns": Case(embeddings_of_columns, CODES, Y1, adam),
    "shared_embedding": Case(shared_embedding, CODES[:, :2], Y1, mse),
    "embedding_reshaped": Case(embedding_reshaped, CODES[:, :1], Y1, mse),
    "nested_sequential": Case(nested_sequential, [A, B], Y1, adam),
    "nested_shared": Case(nested_shared, [A[:, :3], B], Y1, adam),
    "nested_model": Case(nested_model, A, Y1, adam),
    "nested_in_sequential": Case(nested_in_sequential, A, Y1, adam),
    "frozen_part": Case(frozen_part, A, Y1, mse),
    "frozen_batch_norm": Case(frozen_batch_norm, A, Y1, mse),
    "norms": Case(norms, [A, B], Y1, adam),
    "same_order_of_depth": Case(same_order_of_depth, A, Y1, adam),
    "own_layer": Case(own_layer, A, Y1, adam),
    "activity": Case(activity, A, [Y1, BINARY], heads(loss="mse")),
    "class_weight": Case(
        lambda k, L: L.model(x := L.input(4, "x"), L.Dense(1, activation="sigmoid")(L.add([x, L.Dense(4)(x)]))),
        A,
        BINARY,
        heads(loss="binary_crossentropy", metrics=["accuracy"]),
        {"class_weight": {0: 0.5, 1: 2.0}},
    ),
}


def starting_weights(model: Any) -> list[np.ndarray]:
    """Return weights for a model: matrices between -0.8 and 0.8, vectors near their initial values."""
    weights = []
    for place, weight in enumerate(model.get_weights()):
        values = 0.8 * wave(*weight.shape, frequency=0.9 + place / 10.0)
        weights.append(values if weight.ndim != 1 or not np.all(weight == 1.0) else 1.0 + 0.5 * values)
    return weights


def train(k: Any, name: str, dtype: str) -> dict[str, Any]:
    """Return names of the layers, history, final weights and the results of an evaluation."""
    case = CASES[name]
    model = case.build(k, Layers(k, dtype))
    model.set_weights(starting_weights(model))
    model.compile(**case.compile(k))
    history = model.fit(case.x, case.y, epochs=EPOCHS, batch_size=BATCH_SIZE, shuffle=False, verbose=0, **case.fit)
    results = model.evaluate(case.x, case.y, batch_size=BATCH_SIZE, verbose=0)
    return {
        "layers": [type(layer).__name__.replace("Functional", "Model") for layer in model.layers],
        "history": {key: [float(value) for value in values] for key, values in history.history.items()},
        "weights": model.get_weights(),
        "evaluate": [float(value) for value in np.atleast_1d(results)],
    }
