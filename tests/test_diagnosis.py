"""The training doctor: each finding is provoked, and a good model has none."""

import numpy as np
import pytest
from same_bits import same_arrays

import fastnn
from fastnn import layers


def data(n=400, seed=0):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 3))
    return X, np.sin(2.0 * X[:, 0]) * X[:, 1]


def model_of(*stack, optimizer="adam", loss="mse", seed=0):
    model = fastnn.Sequential([fastnn.Input((3,)), *stack], seed=seed)
    model.compile(optimizer=optimizer, loss=loss)
    return model


def small(**options):
    return model_of(layers.Dense(16, activation="tanh"), layers.Dense(1), **options)


def found(diagnosis, what):
    return [finding for finding in diagnosis if finding.what == what]


def test_a_good_model_has_no_findings():
    X, y = data()
    model = small()
    model.fit(X, y, epochs=100, verbose=0)
    weights = model.get_weights()
    diagnosis = fastnn.diagnose(model, X, y, data(200, 1))
    assert list(diagnosis) == [] and repr(diagnosis) == "The doctor found nothing."
    assert same_arrays(weights, model.get_weights())


def test_inputs_that_are_not_scaled_and_constant_columns():
    X, y = data()
    X = X * [1.0, 5000.0, 0.0] + [0.0, 0.0, 7.0]
    diagnosis = fastnn.diagnose(small(), X, y)
    (finding,) = found(diagnosis, "unscaled inputs")
    assert (finding.where, finding.severity) == ("column 1", "serious") and "standard deviation" in finding.measure
    assert [finding.where for finding in found(diagnosis, "constant column")] == ["column 2"]
    assert diagnosis[0].severity == "serious"


def test_many_columns_make_one_finding():
    X = np.random.default_rng(0).normal(size=(100, 20)) * 300.0
    X[:, [0, 1, 2, 3, 7, 9]] = 5.0
    X[:, 11] *= 1000.0
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    model.compile(loss="mse")
    findings = fastnn.diagnose(model, X, X[:, 5] / 300.0)
    (constant,), (unscaled,) = found(findings, "constant column"), found(findings, "unscaled inputs")
    assert constant.where.endswith("and 5 others (0-3, 7, 9)")
    assert unscaled.where == "column 11 and 13 others (4-6, 8, 10-19)" and unscaled.severity == "serious"


def test_targets_that_are_not_scaled():
    X, y = data()
    assert found(fastnn.diagnose(small(), X, 1e4 * y), "unscaled targets")[0].where == "target 0"


def test_dead_units():
    X, y = data()
    model = model_of(layers.Dense(8, activation="relu", name="hidden"), layers.Dense(1))
    kernel, bias = model.layers[0].get_weights()
    bias[:6] = -100.0
    model.layers[0].set_weights([kernel, bias])
    (finding,) = found(fastnn.diagnose(model, X, y), "dead units")
    assert finding.where == "layer 'hidden'" and "6 of 8 units" in finding.measure and finding.severity == "serious"


def test_saturated_units():
    X, y = data()
    model = model_of(layers.Dense(8, activation="tanh", name="hidden"), layers.Dense(1))
    kernel, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([1000.0 * kernel, bias])
    (finding,) = found(fastnn.diagnose(model, X, y), "saturated units")
    assert finding.where == "layer 'hidden'" and finding.severity == "serious"


def test_vanishing_and_exploding_gradients():
    X, y = data()
    deep = model_of(*[layers.Dense(8, activation="sigmoid") for _ in range(8)], layers.Dense(1))
    assert found(fastnn.diagnose(deep, X, y), "vanishing gradients")
    for layer in (linear := model_of(*[layers.Dense(8) for _ in range(6)], layers.Dense(1))).layers[1:]:
        layer.set_weights([8.0 * weight for weight in layer.get_weights()])
    # The last gradient contains the products of the layers below it, the first those of the layers above.
    linear.layers[0].set_weights([1e-4 * weight for weight in linear.layers[0].get_weights()])
    assert found(fastnn.diagnose(linear, X, y), "exploding gradients")


def test_step_sizes():
    X, y = data()
    assert found(fastnn.diagnose(small(optimizer=fastnn.optimizers.Adam(learning_rate=5.0)), X, y), "large steps")
    assert found(fastnn.diagnose(small(optimizer=fastnn.optimizers.SGD(learning_rate=1e-8)), X, y), "small steps")


@pytest.mark.parametrize("loss", ["binary_crossentropy", "sparse_categorical_crossentropy"])
def test_class_imbalance(loss):
    X, _ = data()
    y = np.zeros(400, dtype=int)
    y[:4] = 1
    outputs = layers.Dense(1, activation="sigmoid") if loss[0] == "b" else layers.Dense(2, activation="softmax")
    (finding,) = found(fastnn.diagnose(model_of(outputs, loss=loss), X, y), "class imbalance")
    assert finding.where == "class 1" and "accuracy of 99.00%" in finding.measure and finding.severity == "serious"
    assert not found(fastnn.diagnose(model_of(layers.Dense(2, "softmax"), loss="sparse_categorical_crossentropy"),
                                     X, np.arange(400) % 2), "class imbalance")  # fmt: skip


def test_validation_that_is_small_and_shares_rows():
    X, y = data()
    diagnosis = fastnn.diagnose(small(), X, y, (X[:20], y[:20]))
    assert "20 rows" in found(diagnosis, "validation set too small")[0].measure
    assert "20 of 20 rows" in found(diagnosis, "shared rows")[0].measure


def test_a_simple_model_does_as_well():
    X, _ = data()
    (finding,) = found(fastnn.diagnose(small(), X, X[:, 0], (data(200, 1)[0], data(200, 1)[0][:, 0])),
                       "no better than a simple model")  # fmt: skip
    assert "the network" in finding.measure
    labels = (X[:, 0] > 0).astype(int)
    untrained = model_of(layers.Dense(2, activation="softmax"), loss="sparse_categorical_crossentropy", seed=3)
    other = data(200, 1)[0]
    assert found(fastnn.diagnose(untrained, X, labels, (other, (other[:, 0] > 0).astype(int))),
                 "no better than a simple model")  # fmt: skip


def test_the_callback_finds_overfitting_and_a_loss_that_stands_still(capsys):
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(30, 3)), generator.normal(size=30)
    other = generator.normal(size=(60, 3)), generator.normal(size=60)
    doctor = fastnn.TrainingDoctor(X, y, other)
    model = model_of(layers.Dense(64, activation="relu"), layers.Dense(1), optimizer=fastnn.optimizers.Adam(0.01))
    model.fit(X, y, epochs=60, verbose=0, validation_data=other, callbacks=[doctor])
    assert found(doctor.findings, "overfitting") and "overfitting in training" in capsys.readouterr().out

    doctor = fastnn.TrainingDoctor(X, y, print_report=False)
    small(optimizer=fastnn.optimizers.SGD(learning_rate=1e-9)).fit(X, y, epochs=5, verbose=0, callbacks=[doctor])
    assert found(doctor.findings, "loss stands still") and not found(doctor.findings, "loss rises")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("losses", "what"),
    [
        ([1.0, 1.0, 1.0, 1.0, 1.0], ["loss stands still"]),
        ([1.0, 5.0, 5.0, 5.0, 1.005], ["loss stands still"]),
        ([1.0, 1.0, 1.0, 1.0, 1.02], ["loss rises"]),
        ([-0.5, -0.4, -0.3, -0.2, -0.1], ["loss rises"]),
        ([-0.5, -0.5, -0.5, -0.5, -0.5], ["loss stands still"]),
        ([-0.5, -0.6, -0.7, -0.8, -0.9], []),
        ([1.0, 0.9, 0.8, 0.7, 0.6], []),
        ([1.0, 2.0, 3.0, 4.0], []),
    ],
)
def test_a_loss_that_rises_does_not_stand_still(losses, what):
    doctor = fastnn.TrainingDoctor(None, None)
    for epoch, loss in enumerate(losses):
        doctor.on_epoch_end(epoch, {"loss": loss})
    findings = doctor._examine_course()
    assert [finding.what for finding in findings] == what
    if what == ["loss rises"]:
        expected = f"it rose from {losses[0]:.4g} after the first epoch to {losses[-1]:.4g} after the last"
        assert findings[0].measure == expected and "Lower the learning rate" in findings[0].advice


def test_needs_a_compiled_model():
    with pytest.raises(RuntimeError, match="before diagnose"):
        fastnn.diagnose(fastnn.Sequential([layers.Dense(1)]), np.ones((3, 2)), np.ones(3))
