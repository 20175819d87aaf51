"""Record small files of Keras and PyTorch for the tests of the readers, in tests/data/foreign.

Run with Keras 3 and with PyTorch, each of which writes its own files:
python tests/make_foreign_models.py keras|keras_graph|torch.
The arrays of inputs and outputs in the ``.npz`` files come from the libraries themselves.
"""

import os
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "data" / "foreign"
X = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)


def keras_files():
    """Write a chain with normalizations as .keras and .weights.h5, and a residual block as .keras and .h5."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    chain = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4, 0.5], variance=[1.0, 2.0, 3.0, 4.0, 5.0]),
            layers.Dense(6, activation="gelu", kernel_regularizer="l2"),
            layers.BatchNormalization(scale=False, epsilon=1e-4),
            layers.Dense(4, activation="leaky_relu", use_bias=False),
            layers.PReLU(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    inputs = keras.Input((5,), name="inputs")
    hidden = layers.Dense(5, activation="tanh", name="hidden")(inputs)
    added = layers.Add(name="added")([inputs, hidden])
    normalized = layers.LayerNormalization(name="normalized")(added)
    residual = keras.Model(inputs, layers.Dense(2, name="outputs")(normalized))
    for model in (chain, residual):
        values = np.random.default_rng(2)
        model.set_weights([np.abs(values.normal(0.5, 0.3, weight.shape)) for weight in model.get_weights()])
    chain.save(FOLDER / "chain.keras")
    residual.save(FOLDER / "residual.h5")
    chain.save_weights(FOLDER / "chain.weights.h5")
    residual.save(FOLDER / "residual.keras")
    np.savez(FOLDER / "keras.npz", x=X, chain=np.asarray(chain(X)), residual=np.asarray(residual(X)))


def keras_graph_files():
    """Write a graph with a shared layer, models in models, operators, vectors of categories and a dict of inputs."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    draw = np.random.default_rng(3)
    inner_input = keras.Input((4,))
    hidden = layers.BatchNormalization()(layers.Dense(4, activation="gelu")(inner_input))
    inner = keras.Model(inner_input, [hidden, layers.Dense(3)(hidden)], name="inner")
    inner.layers[1].trainable = False
    block = keras.Sequential([layers.Dense(4, activation="tanh"), layers.LayerNormalization()], name="block")
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    kind = keras.Input((), dtype="int32", name="kind")
    (h1, k1), (h2, k2) = inner(first), inner(second)
    gate = layers.Dense(4, activation="sigmoid", name="gate")(h1)
    mixed = gate * block(h1) + (1.0 - gate) * block(h2)
    joined = layers.Concatenate()([mixed, mixed[:, 1:3] / 2.0, k1 - k2, layers.Embedding(5, 2)(kind)])
    outputs = {"size": layers.Dense(2)(joined), "angle": layers.Dot(axes=-1, normalize=True)([h1, h2])}
    graph = keras.Model({"first": first, "second": second, "kind": kind}, outputs)
    graph.set_weights([np.abs(draw.normal(0.5, 0.3, weight.shape)) for weight in graph.get_weights()])
    given = {name: draw.normal(size=(9, 4)).astype(np.float32) for name in ("first", "second")}
    given["kind"] = draw.integers(0, 5, 9).astype(np.int32)
    for name in ("graph.keras", "graph.h5"):
        graph.save(FOLDER / name)
    graph.save_weights(FOLDER / "graph.weights.h5")
    expected = {name: np.asarray(values) for name, values in graph(given).items()}
    np.savez(FOLDER / "keras_graph.npz", **given, **expected)


def torch_files():
    """Write a chain as the zip file and as the old file of its state dict, and a checkpoint; and as ONNX."""
    import torch
    from torch import nn

    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4), nn.PReLU(4), nn.Linear(4, 3), nn.LayerNorm(3)
    )
    for parameter in [*model.parameters(), *model.buffers()]:
        if parameter.dtype == torch.float32:
            parameter.data = torch.rand(parameter.shape) + 0.1
    model.eval()
    torch.save(model.state_dict(), FOLDER / "chain.pt")
    torch.save(model.state_dict(), FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(model, FOLDER / "module.pt")
    torch.save({"epoch": 3, "model_state_dict": model.state_dict(), "lr": 0.1}, FOLDER / "checkpoint.pt")
    torch.onnx.export(model, (torch.from_numpy(X),), FOLDER / "chain.onnx", dynamo=False, input_names=["x"])
    gelu = nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 2), nn.SiLU(), nn.Softmax(-1)).eval()
    torch.onnx.export(gelu, (torch.from_numpy(X),), FOLDER / "formulas.onnx", dynamo=False, input_names=["x"])
    torch_graph(torch)
    with torch.no_grad():
        outputs = {"chain": model(torch.from_numpy(X)).numpy(), "formulas": gelu(torch.from_numpy(X)).numpy()}
    np.savez(FOLDER / "torch.npz", x=X, **outputs)


def torch_graph(torch):
    """Write a graph with two inputs, one of them whole numbers, two outputs and a layer that is called twice."""
    nn = torch.nn

    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.vectors, self.tower = nn.Embedding(4, 3), nn.Sequential(nn.Linear(4, 5), nn.GELU())
            self.gate, self.head = nn.Linear(5, 5), nn.Linear(13, 2)

        def forward(self, x, kinds):
            first, second = torch.chunk(x, 2, 1)
            a, b = self.tower(first), self.tower(second)
            mixed = a * torch.sigmoid(self.gate(b)) + b
            joined = torch.cat([mixed, a[:, 1:3], self.vectors(kinds).view(kinds.size(0), -1)], 1)
            return self.head(joined), (a * b).sum(1, keepdim=True) - mixed.mean(1, keepdim=True)

    torch.manual_seed(2)
    model, x = Graph().eval(), torch.randn(9, 8)
    kinds = torch.randint(0, 4, (9, 2))
    axes = {name: {0: "N"} for name in ("x", "kinds", "head", "angle")}
    options = {"dynamo": False, "input_names": ["x", "kinds"], "output_names": ["head", "angle"], "dynamic_axes": axes}
    torch.onnx.export(model, (x, kinds), FOLDER / "graph.onnx", **options)
    with torch.no_grad():
        head, angle = model(x, kinds)
    np.savez(FOLDER / "torch_graph.npz", x=x, kinds=kinds, head=head, angle=angle)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    {"keras": keras_files, "keras_graph": keras_graph_files, "torch": torch_files}[sys.argv[1]]()
