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


def layer_for_tables(rng, width):
    """A layer of networks for tables; returns it and the new width."""
    count = int(rng.integers(1, 5))
    kind = rng.integers(8)
    if kind == 0:
        return layers.FeatureScale(count, use_bias=bool(rng.integers(2))), count * width
    if kind == 1:
        while (activation := random_activation(rng)) in ("softmax", "log_softmax"):
            pass
        return layers.ParametricActivation(activation), width
    if kind == 2:
        return layers.NTPDense(count, random_activation(rng)), count
    if kind == 3:
        densenet = bool(rng.integers(2))
        return layers.PeriodicEmbedding(width, count, 3 * count, densenet=densenet), (count + densenet) * width
    edges = [np.sort(rng.normal(size=rng.integers(2, 7))) for _ in range(width)]
    if kind == 4:
        return layers.PiecewiseLinearEncoding(edges=edges), max(len(each) - 1 for each in edges) * width
    if kind == 5:
        version = "AB"[rng.integers(2)]
        return layers.PiecewiseLinearEmbedding(width, count, version=version, edges=edges), count * width
    groups = int(rng.choice([each for each in range(1, width + 1) if width % each == 0]))
    options = {"units": int(rng.integers(1, 20)), "use_bias": bool(rng.integers(2))}
    return (layers.GroupedDense if kind == 6 else layers.MemberDense)(groups, **options), groups * options["units"]


def random_layer(rng, width, depth=0):
    """A layer that keeps or changes the width; returns it and the new width."""
    kind = rng.integers(11 if depth == 0 else 10)
    if kind in (8, 9):
        return layer_for_tables(rng, width)
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
    if missing is None and rng.integers(4) == 0:
        numbers = {"center": rng.normal(size=n_features), "scale": rng.uniform(0.5, 2.0, n_features)}
        stack.append(layers.RobustScaling([None, 3.0][rng.integers(2)], **numbers))
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
        fixed = "piecewise" in weight.path and "encoding" in weight.path
        values.append(value**2 + 0.3 if "variance" in weight.path else np.array(weight) if fixed else value)
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


def as_list(value):
    """A list of what may be one thing."""
    return list(value) if isinstance(value, list | tuple) else [value]


def type_of(exporter, X):
    """The type of the network's numbers."""
    floats = [array.dtype for array in as_list(X) if array.dtype.kind == "f"]
    return floats[0] if floats else np.dtype(exporter.dtype)


def run_all(folder, cases, command, flags=C_FLAGS, runner=()):
    """Outputs of exported C for every (exporter, X, widths), one by row and one by batch; one call of the compiler.

    X is an input in its dtype, or a list of them; ``widths`` the number of columns of the output, or a list of them.
    Each result is a pair of arrays, or a list of such pairs.
    """
    includes = "\n".join(f'#include "m{i}.h"' for i in range(len(cases)))
    calls = "\n".join(f"    if (run{i}(in, out)) return 1;" for i in range(len(cases)))
    functions = []
    with open(folder / "in.bin", "wb") as file:
        for i, (exporter, X, widths) in enumerate(cases):
            exporter.export_c(folder / f"m{i}.c", function=f"m{i}")
            functions.append(_function(i, as_list(X), as_list(widths), type_of(exporter, X)))
            for array in as_list(X):
                file.write(np.ascontiguousarray(array).tobytes())
    (folder / "driver.c").write_text(_DRIVER % (includes, "\n".join(functions), calls))
    sources = ["driver.c", *(f"m{i}.c" for i in range(len(cases)))]
    subprocess.run([*command, *flags, *sources, "-o", "driver", "-lm"], cwd=folder, check=True)
    subprocess.run([*runner, "./driver"], cwd=folder, check=True)
    data, at, results = (folder / "out.bin").read_bytes(), 0, []
    for exporter, X, widths in cases:
        n, dtype, pairs = len(as_list(X)[0]), type_of(exporter, X), []
        for width in as_list(widths):
            size = n * width * dtype.itemsize
            pairs.append([np.frombuffer(data[at + k * size :][:size], dtype).reshape(n, width) for k in range(2)])
            at += 2 * size
        results.append(pairs if isinstance(widths, list) else pairs[0])
    assert at == len(data)
    return results


def _function(i, inputs, widths, dtype):
    """The C function that runs one case."""
    types = {"float32": "float", "float64": "double", "int32": "int32_t", "int64": "int64_t"}
    real, n = types[dtype.name], len(inputs[0])
    columns = [array.size // n for array in inputs]
    lines = [f"static int run{i}(FILE *in, FILE *out) {{"]
    lines += [f"    static {types[array.dtype.name]} x{k}[{array.size}];" for k, array in enumerate(inputs)]
    lines += [f"    static {real} y{k}[{n * width}], z{k}[{n * width}];" for k, width in enumerate(widths)]
    lines += ["    size_t r;"]
    lines += [f"    if (fread(x{k}, sizeof x{k}, 1, in) != 1) return 1;" for k in range(len(inputs))]
    row = [f"x{k} + r * {n_in}" for k, n_in in enumerate(columns)] + [f"y{k} + r * {w}" for k, w in enumerate(widths)]
    whole = [*(f"x{k}" for k in range(len(inputs))), *(f"z{k}" for k in range(len(widths)))]
    lines += [f"    for (r = 0; r < {n}; r++) m{i}({', '.join(row)});"]
    lines += [f"    memset(z{k}, 0xff, sizeof z{k});" for k in range(len(widths))]
    lines += [f"    m{i}_batch({', '.join(whole)}, {n});"]
    for k in range(len(widths)):
        lines.append(
            f"    if (fwrite(y{k}, sizeof y{k}, 1, out) != 1 || fwrite(z{k}, sizeof z{k}, 1, out) != 1) return 1;"
        )
    return "\n".join([*lines, "    return 0;", "}"])


_DRIVER = r"""#include <stdint.h>
#include <stdio.h>
#include <string.h>
%s

%s

int main(void) {
    FILE *in = fopen("in.bin", "rb"), *out = fopen("out.bin", "wb");
    if (!in || !out) return 2;
%s
    return fclose(out) != 0 || fclose(in) != 0;
}
"""
