"""Random graphs for the compiled core: networks with several inputs, outputs and losses, their weights and data."""

from typing import Any, NamedTuple

import numpy as np
from core_options import complete_ops, complete_rule
from layer_bits import PARAMETERS

from fastnn import _core, reference

SMOOTH = ("linear", "tanh", "sigmoid", "softplus", "gelu", "silu")
ROUGH = (*SMOOTH, "relu", "elu", "mish", "relu6")
COMBINED = ("add", "subtract", "multiply", "average", "maximum", "minimum")
WITH_NUMBER = ("add", "subtract", "multiply", "maximum", "minimum")


def op(kind, *inputs, **options):
    """An op that reads buffers."""
    return kind, {"inputs": inputs, **options}


class Graph(NamedTuple):
    """A network and what it is trained on."""

    widths: list[int]
    ops: list[tuple[str, dict[str, Any]]]
    outputs: list[int]
    losses: list[tuple[str, dict[str, Any], float] | None]
    rows: list[int]
    """Of each input: the rows of the table that its integers name, or 0."""

    def inputs(self, n, seed=2):
        """Arrays of n rows."""
        rng = np.random.default_rng(seed)
        return [
            rng.integers(0, rows, (n, width)) if rows else rng.normal(size=(n, width))
            for rows, width in zip(self.rows, self.widths, strict=True)
        ]

    def targets(self, network, n, seed=3):
        """Targets of every output: those without a loss have some too."""
        rng = np.random.default_rng(seed)
        result = []
        for width, loss in zip(network.output_widths, self.losses, strict=True):
            if loss is not None and loss[0] == "sparse_categorical_crossentropy":
                result.append(rng.integers(0, width, n))
            else:
                result.append(rng.normal(size=(n, width)).astype(network.dtype))
        return result

    def network(self, dtype, rule="sgd", rule_options=None):
        """A compiled network with random weights."""
        result = _core.Network(self.widths, complete_ops(self.ops), dtype, outputs=self.outputs)
        rng = np.random.default_rng(1)
        for op, name in self.parameters():
            shape = result.get_parameter(op, name).shape
            value = rng.normal(size=shape) / np.sqrt(shape[0] if name == "kernel" else 1.0)
            result.set_parameter(op, name, value**2 + 0.3 if name == "moving_variance" else value)
        result.compile(self.losses, None, rule, complete_rule(rule, rule_options or {}))
        return result

    def parameters(self):
        """(op, name) of all parameters."""
        return [
            (op, name)
            for op, (kind, options) in enumerate(self.ops)
            if "weights_of" not in options
            for name in PARAMETERS.get(kind, ())
        ]

    def twin(self, network, before_softmax=False):
        """The same network in NumPy; without the softmax that the core leaves to a loss from logits."""
        weights = [[] for _ in self.ops]
        for op, name in self.parameters():
            weights[op].append(network.get_parameter(op, name).astype(np.float64))
        ops = complete_ops(self.ops)
        for _, options in ops:
            del options["parameters"]
        if before_softmax and self.losses[-1] is not None and "from_logits" in self.losses[-1][1]:
            ops[-1][1]["activation"] = "linear"
        return reference.GraphNetwork(len(self.widths), ops, weights, self.outputs)

    def fit(self, network, n, batch_size, n_threads):
        """A fit, its inputs and its targets; some rows weigh more than others."""
        X, targets = self.inputs(n), self.targets(network, n)
        y = [each for each, loss in zip(targets, self.losses, strict=True) if loss is not None]
        fit = _core.Fit(network, X, y if len(self.outputs) > 1 else y[0], None, batch_size, n_threads)
        return fit, X, targets


def random_graph(random, most_ops=15, smooth=True, wide=False):
    """A graph drawn with a ``random.Random``.

    A smooth one has no random numbers and no kinks but those of extremes. The layers of a wide one are large enough for
    several threads.
    """
    return _Drawing(random, most_ops, smooth, wide).draw()


class _Drawing:
    """The widths of the buffers so far, and what may be divided by."""

    def __init__(self, random, most_ops, smooth, wide):
        self.random, self.most_ops, self.smooth = random, most_ops, smooth
        self.units = (1, 150, 161, 180) if wide else (1, 3, 5, 8, 17, 33)
        self.most_joined = 200 if wide else 40
        self.widths, self.ops, self.rows = [], [], []
        self.bounded = set()  # buffers whose values lie between 0 and 1

    def draw(self):
        random = self.random
        for _ in range(random.randint(1, 3)):
            self.widths.append(random.randint(1, 7))
            self.rows.append(0)
        if random.random() < 0.4:
            self.widths.append(random.randint(1, 3))
            self.rows.append(random.randint(2, 9))
        n_inputs = len(self.widths)
        integers = [i for i, rows in enumerate(self.rows) if rows]
        if integers:
            rows = self.rows[integers[0]]
            self.add("embedding", integers[:1], {"n_rows": rows, "n_columns": random.randint(1, 19)})
        self.n_inputs = n_inputs
        count = random.randint(1, self.most_ops - 4)
        while len(self.ops) < count:
            self.draw_op()
        self.add("dense", [self.any_buffer()], {"n_out": random.randint(1, 5), "activation": "tanh"})
        self.add("dense", [self.any_buffer()], {"n_out": random.randint(1, 5), "activation": "linear"})
        outputs = [len(self.widths) - 1, len(self.widths) - 2]
        if random.random() < 0.5:
            outputs.append(self.any_buffer())
        losses = [("mean_squared_error", {}, random.choice([1.0, 0.5, 2.0])) for _ in outputs]
        if random.random() < 0.3:
            losses[-1] = None
        if random.random() < 0.5:  # its softmax is left to the loss where nothing else uses it
            self.add("activation", [outputs[0]], {"activation": "softmax"})
            outputs.append(len(self.widths) - 1)
            losses.append(("sparse_categorical_crossentropy", {"from_logits": True}, 0.7))
        return Graph(self.widths[:n_inputs], self.ops, outputs, losses, self.rows)

    def any_buffer(self):
        """A buffer of numbers, the last ones rather than the first."""
        usable = [b for b in range(len(self.widths)) if b >= len(self.rows) or not self.rows[b]]
        return self.random.choice(usable[-4:] if self.random.random() < 0.6 else usable)

    def add(self, kind, inputs, options=()):
        sizes = [self.widths[b] for b in inputs]
        options = {"inputs": tuple(inputs), **dict(options)}
        self.ops.append((kind, options))
        if kind == "dense":
            width = options["n_out"]
        elif kind == "embedding":
            width = sizes[0] * options["n_columns"]
        elif kind == "slice":
            width = len(range(options["start"], options["stop"], options["step"]))
        else:
            width = sum(sizes) if kind == "concatenate" else 1 if kind == "dot" else max(sizes)
        self.widths.append(width)
        if options.get("activation") == "sigmoid":
            self.bounded.add(len(self.widths) - 1)

    def draw_op(self):
        random, b = self.random, self.any_buffer()
        draws = [self.dense, self.dense, self.combined, self.combined, self.other, self.shared]
        random.choice(draws)(b)

    def dense(self, b):
        activation = self.random.choice(SMOOTH if self.smooth else ROUGH)
        self.add("dense", [b], {"n_out": self.random.choice(self.units), "activation": activation})

    def shared(self, b):
        """An op with the weights of an earlier one."""
        for number in self.random.sample(range(len(self.ops)), len(self.ops)):
            kind, options = self.ops[number]
            width = self.widths[options["inputs"][0]]
            if kind in PARAMETERS and kind != "embedding":
                fitting = [i for i in range(len(self.widths)) if self.widths[i] == width and i not in self.integers()]
                kept = {name: value for name, value in options.items() if name not in ("inputs", "weights_of")}
                self.add(kind, [self.random.choice(fitting)], {**kept, "weights_of": number})
                return
        self.dense(b)

    def integers(self):
        return [i for i, rows in enumerate(self.rows) if rows]

    def combined(self, b):
        random, width = self.random, self.widths[b]
        fitting = [i for i in range(len(self.widths)) if self.widths[i] in (1, width) and i not in self.integers()]
        kind = random.choice([*COMBINED, "divide", "dot", "concatenate", "number"])
        if kind == "number":
            options = {"number": random.choice([0.5, -1.25, 3.0]), "number_first": random.random() < 0.5}
            self.add(random.choice(WITH_NUMBER), [b], options)
        elif kind == "divide":
            divisors = [i for i in fitting if i in self.bounded]
            if divisors:
                self.add("add", [random.choice(divisors)], {"number": 1.0})
                self.add("divide", [b, len(self.widths) - 1])
            else:
                self.add("divide", [b], {"number": 1.5})
        elif kind == "dot":
            equal = [i for i in fitting if self.widths[i] == width]
            self.add("dot", [b, random.choice(equal)], {"normalize": random.random() < 0.5 and width > 1})
        elif kind == "concatenate":
            usable = [
                i for i in range(len(self.widths)) if i not in self.integers() and self.widths[i] < self.most_joined
            ]
            self.add("concatenate", [random.choice(usable) for _ in range(random.randint(1, 3)) if usable] or [b])
        else:
            count = 2 if kind == "subtract" else random.randint(1, 4)
            self.add(kind, [b, *(random.choice(fitting) for _ in range(count - 1))])

    def other(self, b):
        random, width = self.random, self.widths[b]
        kinds = ["activation", "slice", "prelu", "layer_normalization", "batch_normalization"]
        kind = random.choice(kinds if self.smooth else [*kinds, "dropout", "gaussian_noise"])
        options = {}
        if kind == "activation":
            options = {"activation": random.choice([*(SMOOTH if self.smooth else ROUGH), "softmax"])}
        elif kind in ("dropout", "gaussian_noise"):
            options = {"rate": 0.25}
        elif kind == "slice":
            first, last = sorted(random.sample(range(width + 1), 2))
            step = random.randint(1, 3)
            options = {"start": first, "stop": last, "step": step}
            if random.random() < 0.3:
                options = {"start": last - 1, "stop": first - 1, "step": -step}
        self.add(kind, [b], options)
