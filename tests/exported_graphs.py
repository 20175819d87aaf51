"""Random graphs of layers that combine, select and look up, with inputs, for tests of what is exported."""

import numpy as np
from exported_models import random_activation

import fastnn
from fastnn import layers
from fastnn._structures import leaves


def random_graph_model(seed):
    """A graph with random weights, and a list of its inputs: 30 rows, in the types that it declares."""
    return _Drawing(seed).model()


def finite_graphs(seeds):
    """Models, lists of inputs and lists of outputs, without the rows whose outputs are large or not finite."""
    found = []
    for seed in seeds:
        model, X = random_graph_model(seed)
        outputs = outputs_of(model, X)
        finite = np.all([(np.abs(each) < 1e4).all(axis=1) for each in outputs], axis=0)
        if finite.sum() > 10:
            found.append((model, [array[finite] for array in X], [each[finite] for each in outputs]))
    return found


def outputs_of(model, X):
    """The outputs of a model for a list of inputs, as a list of (n, columns)."""
    return [each.reshape(len(each), -1) for each in leaves(model.predict(X if len(X) > 1 else X[0]))]


class _Drawing:
    """The tensors so far."""

    def __init__(self, seed):
        self.rng, self.seed = np.random.default_rng(seed), seed
        self.dtype = ("float32", "float64")[seed % 2]
        self.inputs, self.X, self.tensors = [], [], []
        self.bounded = []  # tensors whose values lie between 0 and 1
        self.shared = {}  # layers that may be called again, by the width of their inputs

    def pick(self, choices):
        return choices[self.rng.integers(len(choices))]

    def model(self):
        self.numbers()
        if self.rng.random() < 0.6:
            self.codes()
        for _ in range(self.rng.integers(2, 12)):
            self.tensors.append(self.pick([self.chain, self.chain, self.combined, self.arithmetic, self.other])())
        outputs = [layers.Dense(int(self.rng.integers(1, 6)), activation=random_activation(self.rng))(self.tensors[-1])]
        outputs += [self.pick(self.tensors) for _ in range(self.rng.integers(3))]
        used = fastnn.layers.concatenate([layers.Dense(2, activation="tanh")(x) for x in self.tensors[: len(self.X)]])
        outputs[0] = outputs[0] + layers.Dense(1)(used)  # every input is used
        if not any(each.dtype == self.dtype for each in self.inputs):
            raise AssertionError("no floating-point input")
        model = fastnn.Model(self.inputs, outputs, name=f"graph {self.seed}", seed=self.seed, dtype=self.dtype)
        values = []
        for weight in model.weights:
            value = self.rng.normal(size=weight.shape) * 0.4
            values.append(value**2 + 0.3 if "variance" in weight.path else value)
        model.set_weights(values)
        return model, self.X

    def numbers(self):
        for place in range(self.rng.integers(1, 4)):
            n = int(self.rng.integers(1, 9))
            x = fastnn.Input((n,), name=f"x{place}", dtype=self.dtype)
            self.inputs.append(x)
            scale = self.rng.choice([0.1, 1.0, 5.0], size=(30, 1))
            self.X.append((self.rng.normal(size=(30, n)) * scale).astype(self.dtype))
            if self.rng.random() < 0.3:
                x = layers.Normalization(mean=0.5, variance=2.0, invert=bool(self.rng.integers(2)))(x)
            elif self.rng.random() < 0.2:
                boundaries = np.sort(self.rng.normal(size=3)).tolist()
                mode = self.pick(["one_hot", "multi_hot", "count"])
                x = layers.Discretization(boundaries, output_mode=mode)(x)
                x = layers.Flatten()(x) if len(x.row) > 1 else x
            self.tensors.append(x)

    def codes(self):
        """An input of categories, and what a layer makes of it."""
        kind, n, rng = self.pick(["int32", "int64"]), int(self.rng.integers(1, 4)), self.rng
        x = fastnn.Input((n,), name="codes", dtype=kind)
        vocabulary = [7, 3, 250_000_001 if kind == "int64" else 9, 12, -5]
        chosen = x[:, : int(rng.integers(1, n + 1))] if rng.random() < 0.3 else x
        values = rng.integers(0, 5, (30, n))
        way = self.pick(["embedding", "embedding", "encoding", "lookup", "lookup and embedding"])
        if way == "encoding":
            vector = layers.CategoryEncoding(5, output_mode=self.pick(["one_hot", "multi_hot", "count"]))(chosen)
        elif way == "embedding":
            table = layers.Embedding(5, int(rng.integers(1, 5)))
            vector = table(chosen)
        else:
            values = rng.choice([*vocabulary, 1, 2, -8], size=(30, n))
            options = {"vocabulary": vocabulary, "num_oov_indices": int(rng.integers(1, 4))}
            if rng.random() < 0.5:
                options["mask_token"] = 2
            if way == "lookup":
                mode = self.pick(["one_hot", "multi_hot", "count"])
                vector = layers.IntegerLookup(output_mode=mode, **options)(chosen)
            else:
                lookup = layers.IntegerLookup(**options)
                vector = layers.Embedding(lookup.vocabulary_size(), 3)(lookup(chosen))
        self.inputs.append(x)
        self.X.append(values.astype(kind))
        self.tensors.append(layers.Flatten()(vector) if len(vector.row) > 1 else vector)

    def any(self, width=None):
        usable = [x for x in self.tensors if width is None or x.row[0] in (1, width)]
        return self.pick(usable[-5:]) if usable else None

    def chain(self):
        """A layer, which is called again now and then."""
        x = self.any()
        n = x.row[0]
        if n in self.shared and self.rng.random() < 0.4:
            return self.pick(self.shared[n])(x)
        layer = self.pick([self.dense, self.dense, self.tower, self.normalization])(n)
        self.shared.setdefault(n, []).append(layer)
        return layer(x)

    def dense(self, n):
        units = int(self.pick([1, 3, 5, 17, 33]))
        return layers.Dense(units, activation=random_activation(self.rng), use_bias=bool(self.rng.integers(2)))

    def tower(self, n):
        """A model that is a part, with one or two outputs."""
        x = fastnn.Input((n,), dtype=self.dtype)
        h = layers.Dense(4, activation="tanh")(x)
        return fastnn.Model(x, layers.add([layers.Dense(3)(h), layers.Dense(1)(x)]), dtype=self.dtype)

    def normalization(self, n):
        if self.rng.integers(2):
            return layers.BatchNormalization()
        return layers.LayerNormalization(rms_scaling=bool(self.rng.integers(2)), center=False)

    def combined(self):
        x = self.any()
        n = x.row[0]
        kind = self.pick(["add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate", "dot"])
        if kind == "concatenate":
            return layers.concatenate([x, *(self.any() for _ in range(self.rng.integers(1, 3)))])
        if kind == "dot":
            other = layers.Dense(n)(self.any())
            return layers.dot([x, other], axes=1, normalize=bool(self.rng.integers(2)) and n > 1)
        count = 1 if kind == "subtract" else self.rng.integers(1, 4)
        return getattr(layers, kind)([x, *(self.any(n) for _ in range(count))])

    def arithmetic(self):
        x, value = self.any(), float(self.pick([0.5, -1.25, 3.0, 0.1]))
        other = self.any(x.row[0])
        gate = layers.Dense(1, activation="sigmoid")(x)
        return self.pick(
            [
                lambda: x + other,
                lambda: x - other,
                lambda: gate * x + (1.0 - gate) * other,
                lambda: x / (gate + 1.0),
                lambda: value - x,
                lambda: value / (1.0 + gate) * x,
                lambda: x * value - value,
            ]
        )()

    def other(self):
        x = self.any()
        n = x.row[0]
        kind = self.pick(["slice", "slice", "activation", "prelu", "dropout", "residual"])
        if kind == "slice":
            first = int(self.rng.integers(n))
            return self.pick([lambda: x[:, first:], lambda: x[:, ::-1], lambda: x[:, :: first + 1]])()
        if kind == "residual":
            return layers.Residual([layers.Dense(n, activation=random_activation(self.rng)), layers.Dense(n)])(x)
        layer = {"prelu": layers.PReLU(), "dropout": layers.Dropout(0.3)}.get(kind)
        return (layers.Activation(random_activation(self.rng)) if layer is None else layer)(x)
