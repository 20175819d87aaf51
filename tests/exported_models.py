"""Random models over all layers, activations and dtypes, and programs that run what was exported from them."""

import shutil
import subprocess

import numpy as np

import fastnn
from fastnn import activations, layers

ACTIVATIONS = (
    "linear", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "elu", "selu", "gelu", "gelu_tanh", "silu",
    "exponential", "relu6", "mish", "softsign", "hard_sigmoid", "hard_silu", "softmax", "log_softmax",
)  # fmt: skip
WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Werror", "-ffp-contract=off")
C_FLAGS = ("-std=c99", "-O1", *WARNINGS)


def random_activation(rng):
    """An activation, some of them with options."""
    choices = [*ACTIVATIONS, "general_relu", "elu 0.7", "leaky_relu 0.2"]
    name = choices[rng.integers(len(choices))]
    if name == "general_relu":
        options = {"max_value": [None, 2.5][rng.integers(2)], "negative_slope": 0.1, "threshold": 0.3}
        return activations.relu.with_parameters(**options)
    if " " in name:
        name, value = name.split()
        option = {"elu": "alpha", "leaky_relu": "negative_slope"}[name]
        return getattr(activations, name).with_parameters(**{option: float(value)})
    return name


def random_layer(rng, width, depth=0):
    """A layer that keeps or changes the width; returns it and the new width."""
    kind = rng.integers(9 if depth == 0 else 8)
    if kind < 3:
        units = int(rng.integers(1, 50))
        return layers.Dense(units, activation=random_activation(rng), use_bias=bool(rng.integers(2))), units
    if kind == 3:
        return layers.Activation(random_activation(rng)), width
    if kind == 4:
        return layers.BatchNormalization(scale=bool(rng.integers(2)), center=bool(rng.integers(2))), width
    if kind == 5:
        if rng.integers(2):
            return layers.LayerNormalization(rms_scaling=True, center=False), width
        return layers.LayerNormalization(scale=bool(rng.integers(2)), center=bool(rng.integers(2))), width
    if kind == 6:
        return (layers.PReLU() if rng.integers(2) else layers.Dropout(0.3)), width
    if kind == 7:
        return layers.Normalization(invert=bool(rng.integers(2))), width
    inner, n = [], width
    for _ in range(rng.integers(1, 3)):
        layer, n = random_layer(rng, n, depth + 1)
        inner.append(layer)
    return layers.Residual([*inner, layers.Dense(width)]), width


def random_model(seed):
    """A built model whose weights and statistics are random, and inputs for it."""
    rng = np.random.default_rng(seed)
    width = n_features = int(rng.integers(1, 20))
    missing = (None, None, "mean", "indicator")[rng.integers(4)]
    stack = [fastnn.Input((n_features,))]
    if missing is not None or rng.integers(3) == 0:
        stack.append(layers.Normalization(missing=missing))
        width *= 1 + (missing == "indicator")
    for _ in range(rng.integers(1, 6)):
        layer, width = random_layer(rng, width)
        stack.append(layer)
    stack.append(layers.Dense(int(rng.integers(1, 40)), activation=random_activation(rng)))
    dtype = ("float32", "float64")[seed % 2]
    model = fastnn.Sequential(stack, seed=seed, dtype=dtype, name=f"model {seed}")
    values = []
    for weight in model.weights:
        value = rng.normal(size=weight.shape) * 0.4
        values.append(value**2 + 0.3 if "variance" in weight.path else value)
    model.set_weights(values)
    X = (rng.normal(size=(40, n_features)) * rng.choice([0.1, 1.0, 5.0], size=(40, 1))).astype(dtype)
    if missing is not None:
        X[rng.random(X.shape) < 0.2] = np.nan
    return model, X


def finite_models(seeds):
    """Models and inputs of these seeds, without the rows whose outputs are not finite."""
    found = []
    for seed in seeds:
        model, X = random_model(seed)
        finite = np.isfinite(model.predict(X)).all(axis=1)
        if finite.sum() > 10:
            found.append((model, X[finite]))
    return found


def compiler(name):
    """The command of a compiler, or None."""
    return [name] if shutil.which(name) else None


def run_all(folder, cases, command, flags=C_FLAGS, runner=()):
    """Outputs of exported C for every (exporter, X): one by row and one by batch, from one call of the compiler.

    Each case is (object with export_c, X in its dtype, number of outputs).
    """
    entries = []
    for i, (exporter, X, n_outputs) in enumerate(cases):
        exporter.export_c(folder / f"m{i}.c", function=f"m{i}")
        real = "float" if X.dtype == np.float32 else "double"
        entries.append(f"    RUN(m{i}, {real}, {len(X)}, {X.shape[1]}, {n_outputs})")
    with open(folder / "in.bin", "wb") as file:
        for _, X, _ in cases:
            file.write(np.ascontiguousarray(X).tobytes())
    includes = "\n".join(f'#include "m{i}.h"' for i in range(len(cases)))
    (folder / "driver.c").write_text(_DRIVER % (includes, "\n".join(entries)))
    sources = ["driver.c", *(f"m{i}.c" for i in range(len(cases)))]
    subprocess.run([*command, *flags, *sources, "-o", "driver", "-lm"], cwd=folder, check=True)
    subprocess.run([*runner, "./driver"], cwd=folder, check=True)
    data = (folder / "out.bin").read_bytes()
    results, at = [], 0
    for _, X, n_outputs in cases:
        size = len(X) * n_outputs * X.dtype.itemsize
        pair = [np.frombuffer(data[at + k * size :][:size], X.dtype).reshape(len(X), n_outputs) for k in range(2)]
        results.append(pair)
        at += 2 * size
    assert at == len(data)
    return results


_DRIVER = r"""#include <stdio.h>
#include <stdlib.h>
#include <string.h>
%s

#define RUN(NAME, REAL, ROWS, N_IN, N_OUT)                                           \
    {                                                                                \
        static REAL x[ROWS * N_IN], y[ROWS * N_OUT];                                 \
        size_t r;                                                                    \
        if (fread(x, sizeof(REAL), ROWS * N_IN, in) != ROWS * N_IN) return 1;        \
        for (r = 0; r < ROWS; r++) NAME(x + r * N_IN, y + r * N_OUT);                \
        fwrite(y, sizeof(REAL), ROWS * N_OUT, out);                                  \
        memset(y, 0xff, sizeof y);                                                   \
        NAME##_batch(x, y, ROWS);                                                    \
        fwrite(y, sizeof(REAL), ROWS * N_OUT, out);                                  \
    }

int main(void) {
    FILE *in = fopen("in.bin", "rb"), *out = fopen("out.bin", "wb");
    if (!in || !out) return 2;
%s
    return fclose(out) != 0 || fclose(in) != 0;
}
"""
