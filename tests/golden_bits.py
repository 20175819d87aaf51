"""Print as JSON the SHA-256 of the weights of twelve recipes after 1,000 steps. test_golden_hashes.py compares them.

The data is made of whole numbers, so that no generator, no library and no processor takes part in it. The hashes are
pinned in data/golden_hashes.json: "fused" for every instruction set with fused multiply-adds, "baseline" for the other
one. They change only where the definition of a number changes; CHANGELOG.md then says so. Pin them again with

    python tests/golden_bits.py --write
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from same_bits import digest

import fastnn
from fastnn import _core, layers, losses, optimizers

PINNED = Path(__file__).parent / "data" / "golden_hashes.json"
ROWS, FEATURES, BATCH, STEPS = 500, 6, 20, 1000


def whole_numbers(*shape, stream=0):
    """Numbers in [-1, 1) that are multiples of 1 / 2048, the same everywhere."""
    i = np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(stream << 32)
    scrambled = (i * np.uint64(0x9E3779B97F4A7C15)) ^ (i * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(29)
    return ((scrambled >> np.uint64(40)) % np.uint64(4096)).astype(np.float64).reshape(shape) / 2048 - 1


def relu_adam():
    """Three outputs from two ReLU layers."""
    return [layers.Dense(32, "relu"), layers.Dense(32, "relu"), layers.Dense(3)], "adam", "mse", {}


def tanh_nesterov():
    """Two classes from logits."""
    stack = [layers.Dense(13, "tanh"), layers.Dense(1)]
    return stack, optimizers.SGD(0.02, momentum=0.9, nesterov=True), losses.BinaryCrossentropy(from_logits=True), {}


def classes_dropout():
    """Labels of classes, exact GELU, dropout."""
    stack = [layers.Dense(40, "gelu"), layers.Dropout(0.2), layers.Dense(5, "softmax")]
    return stack, optimizers.RMSprop(1e-3, centered=True), "sparse_categorical_crossentropy", {}


def batch_normalization():
    """Batch normalization between SiLU layers, decoupled weight decay, label smoothing."""
    stack = [
        layers.Dense(24, "silu"),
        layers.BatchNormalization(),
        layers.Dense(24, "silu"),
        layers.Dense(4, "softmax"),
    ]
    return stack, optimizers.AdamW(1e-3, weight_decay=0.01), losses.CategoricalCrossentropy(label_smoothing=0.1), {}


def residual_layer_normalization():
    """Residual blocks with layer normalization."""
    block = [layers.LayerNormalization(), layers.Dense(17, "elu"), layers.Dense(17)]
    return [layers.Dense(17, "selu"), layers.Residual(block), layers.Dense(2)], "nadam", losses.Huber(0.3), {}


def float64_softplus():
    """float64, softplus and a Poisson rate."""
    return [layers.Dense(20, "softplus"), layers.Dense(2, "softplus")], "adamax", "poisson", {"dtype": "float64"}


def float64_sigmoid():
    """float64, the tanh form of GELU, sigmoid outputs with the focal loss."""
    stack = [layers.Dense(19, "gelu_tanh"), layers.Dense(11, "mish"), layers.Dense(3, "sigmoid")]
    return stack, "adadelta", "binary_focal_crossentropy", {"dtype": "float64"}


def sample_weights():
    """Weighted rows and the mean absolute error."""
    return [layers.Dense(16, "leaky_relu"), layers.PReLU(), layers.Dense(2)], "adagrad", "mae", {"weighted": True}


def clipping():
    """Gradients clipped to a global norm, penalties on weights, a constraint."""
    options = {"kernel_regularizer": fastnn.regularizers.L1L2(1e-3, 1e-2), "kernel_constraint": "max_norm"}
    stack = [layers.Dense(21, "tanh", **options), layers.Dense(2)]
    return stack, optimizers.Adam(5e-3, global_clipnorm=0.05), "log_cosh", {}


def noise_accumulation():
    """Noise on the inputs, two batches per step, an average of the weights."""
    stack = [layers.GaussianNoise(0.1), layers.Dense(23, "selu"), layers.AlphaDropout(0.1), layers.Dense(2)]
    rule = optimizers.Adam(amsgrad=True, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.9)
    return stack, rule, "mse", {}


def gaussian_lion():
    """A mean and a variance for each target."""
    return [layers.Dense(33, "softsign"), layers.Dense(4)], optimizers.Lion(1e-4), losses.GaussianNLL(), {"targets": 2}


def wide_few_rows():
    """A layer wider than the batch is long; hard sigmoids; a kernel that is not trained."""
    stack = [layers.Dense(150, "hard_silu", trainable=False), layers.Dense(150, "hard_sigmoid"), layers.Dense(2)]
    return stack, "sgd", "mean_squared_logarithmic_error", {}


RECIPES = (
    relu_adam, tanh_nesterov, classes_dropout, batch_normalization, residual_layer_normalization, float64_softplus,
    float64_sigmoid, sample_weights, clipping, noise_accumulation, gaussian_lion, wide_few_rows,
)  # fmt: skip


def targets(loss, n):
    """Targets of the kind that a loss expects."""
    name = losses.get(loss).name
    if name.startswith("sparse"):
        return np.arange(ROWS) * 7 % n
    if name.startswith("categorical"):
        return np.eye(n)[np.arange(ROWS) * 7 % n]
    y = whole_numbers(ROWS, n, stream=1)
    if name.startswith("binary"):
        return (y > 0).astype(np.float64)
    return abs(y) if name in ("poisson", "mean_squared_logarithmic_error") else y


def train(recipe):
    """SHA-256 of the weights after 1,000 steps of one recipe and of the predictions of 100 rows."""
    stack, rule, loss, options = recipe()
    model = fastnn.Sequential([fastnn.Input((FEATURES,)), *stack], seed=7, dtype=options.get("dtype", "float32"))
    model.compile(rule, loss)
    X = whole_numbers(ROWS, FEATURES)
    y = targets(loss, options.get("targets", model.output_shape[1]))
    weight = 1 + whole_numbers(ROWS, stream=2) / 2 if options.get("weighted") else None
    model.fit(X, y, batch_size=BATCH, epochs=STEPS * BATCH // ROWS, sample_weight=weight, verbose=0)
    weights = model.get_weights()
    assert all(np.isfinite(w).all() for w in weights), recipe.__name__
    return digest(*weights, model.predict(X[:100]))


def pin():
    """Write the hashes of the scalar and of the baseline kernels."""
    pinned = {}
    for kind, isa in (("fused", "scalar"), ("baseline", "baseline")):
        run = [sys.executable, __file__]
        output = subprocess.run(run, env={**os.environ, "FASTNN_ISA": isa}, stdout=subprocess.PIPE, check=True).stdout
        pinned[kind] = json.loads(output)["hashes"]
    PINNED.write_text(json.dumps(pinned, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        pin()
    else:
        json.dump({"isa": _core.config()["isa"], "hashes": {r.__name__: train(r) for r in RECIPES}}, sys.stdout)
