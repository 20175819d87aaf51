"""50 steps of RealMLP and TabM-mini equal those of pytabkit and tabm: make_tabular_recordings.py has recorded them."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn
from fastnn import _core, layers
from fastnn.tabular import recipes, tabm

DATA = Path(__file__).parent / "data"
BATCH, STEPS, EPOCHS = 32, 50, 12


def of_realmlp(recorded, state):
    """The recorded weights in the order and the shapes of fastnn's layers."""
    weights = [recorded[f"{state}_{i}"] for i in range(16)]
    w1, w2, b1, b2, *rest = weights
    units = w2.shape[2]
    embedding = [w1.ravel(), b1.ravel(), w2.transpose(1, 0, 2).reshape(-1, len(w2) * units), b2.ravel()]
    return embedding + [each if each.shape[0] > 1 else each.ravel() for each in rest]


def of_tabm(recorded, state):
    def group(name):
        stacked = recorded[f"{state} {name}"]
        return stacked.transpose(1, 0, 2).reshape(stacked.shape[1], -1)

    line = recorded[f"{state} num_module.linear0.weight"], recorded[f"{state} num_module.linear0.bias"]
    blocks = [recorded[f"{state} backbone.blocks.{i}.0.{part}"].T for i in (0, 1) for part in ("weight", "bias")]
    first = [group("num_module.linear.weight"), line[0].reshape(1, -1), line[1].ravel()]
    scale = recorded[f"{state} backbone.affine.weight"].ravel()
    return first, [scale, *blocks, group("output.weight"), recorded[f"{state} output.bias"].ravel()]


def train(model, X, y, factors):
    """Train on the rows in order."""
    fit = _core.Fit(model.network, X, y, None, BATCH, 0, None)
    per_epoch = len(X) // BATCH
    for epoch in range(STEPS // per_epoch):
        first = epoch * per_epoch
        rates = model.optimizer.learning_rates(first, per_epoch)
        for name, values in fastnn.callbacks.StepFactors(**factors).factors_of(first, per_epoch).items():
            fit.set_factors(name, values)
        fit.begin_epoch(0, epoch + 1, False, rates)
        while fit.step < per_epoch:
            assert fit.run() != "nonfinite"


@pytest.mark.parametrize("name", ["regression", "classification"])
def test_realmlp(name):
    recorded = np.load(DATA / f"realmlp_{name}.npz")
    scaling, y = layers.RobustScaling(), recorded["y"]
    scaling.adapt(recorded["X"])
    X = scaling(recorded["X"])
    classifies = name == "classification"
    task = recipes.Task("realmlp", 3 if classifies else 1, classifies, 0.1 if classifies else 0.0, 24)
    x = fastnn.Input((X.shape[1],))
    inputs = recipes._Inputs(numbers=x, others=None, hot=None, embedded=None, X=X, members=tabm.AllMembers(1))
    model = fastnn.Model(x, recipes._realmlp(task, inputs), seed=0, dtype="float64")
    plan = recipes.plan_of(task, len(X), EPOCHS)
    plan.optimizer.learning_rate = fastnn.optimizers.schedules.CosLog4(
        0.04 if classifies else 0.2, EPOCHS * (len(X) // BATCH)
    )
    steps = EPOCHS * (len(X) // BATCH)
    decay = fastnn.optimizers.schedules.FlatCosine(1.0, steps)
    recipes.compile_model(model, task, plan)
    model.set_weights(of_realmlp(recorded, "first"))
    targets = (y[:, None] == np.arange(3)).astype(float) if classifies else y[:, None]
    train(model, X, targets, {"weight_decay": decay, "dropout": np.zeros_like})
    for found, wanted, before in zip(
        model.get_weights(), of_realmlp(recorded, "last"), of_realmlp(recorded, "first"), strict=True
    ):
        assert np.abs(wanted - before).max() > 1e-4
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * max(1.0, np.abs(wanted).max()))


def test_tabm():
    recorded = np.load(DATA / "tabm_mini.npz")
    X, y, k = recorded["X"], recorded["y"], 4
    edges = [recorded[f"edges_{i}"] for i in range(X.shape[1])]
    x = fastnn.Input((X.shape[1],))
    embedding = layers.PiecewiseLinearEmbedding(X.shape[1], 6, 8, edges=edges)
    h = layers.FeatureScale(members=k)(embedding(x))
    for _ in range(2):
        h = layers.Activation("relu")(layers.MemberDense(k, 24)(h))
    model = fastnn.Model(x, layers.GroupedDense(k, 1)(h), seed=0, dtype="float64")
    model.compile(recipes._adamw(), "mse")
    pieces = model.get_weights()[:2]
    (first, body), (last, after) = of_tabm(recorded, "first"), of_tabm(recorded, "last")
    model.set_weights([*pieces, *first, *body])
    train(model, X, np.repeat(y[:, None], k, axis=1), {})
    for found, wanted, before in zip(model.get_weights()[2:], [*last, *after], [*first, *body], strict=True):
        assert np.abs(wanted - before).max() > 1e-4
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
