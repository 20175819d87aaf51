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
    assert f"(x - {X[:, 1].mean():.4g}) / {X[:, 1].std():.4g}".replace("- -", "+ ") in finding.advice
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


BINARY = (data()[0][:, 0] > 0).astype(float)
NORMAL = data()[0]
CLASSES = np.arange(400) % 3


@pytest.mark.parametrize(
    ("units", "activation", "loss", "y", "measure", "advice"),
    [
        (1, "softmax", "mse", BINARY, "a softmax of one unit is 1 for every input", "activation='sigmoid'"),
        (1, "softmax", "binary_crossentropy", BINARY, "a softmax of one unit is 1", "activation='sigmoid'"),
        (1, "sigmoid", "mse", 10 * BINARY, "of sigmoid are between 0 and 1; the targets lie between 0 and 10: 174",
         "Give the last layer no activation, or scale the targets to between 0 and 1"),
        (1, "hard_sigmoid", "mae", -BINARY, "the targets lie between -1 and 0", "no activation"),
        (1, "relu", "mse", NORMAL[:, 0], "the outputs of relu are at least 0", "no activation"),
        (1, "relu6", "huber", 7 * BINARY, "the outputs of relu6 are between 0 and 6", "no activation"),
        (1, "softplus", "mse", NORMAL[:, 0], "the outputs of softplus are at least 0", "no activation"),
        (1, "elu", "mse", NORMAL[:, 0], "the outputs of elu are at least -1", "no activation"),
        (1, "tanh", "mse", 3 * NORMAL[:, 0], "the outputs of tanh are between -1 and 1", "between -1 and 1"),
        (2, "softmax", "mse", NORMAL[:, :2], "between 0 and 1 and their sum is 1", "no activation"),
        (2, "softmax", "binary_crossentropy", np.stack([BINARY, BINARY], 1), "their sum is 1",
         "do not exclude each other use sigmoid"),
        (1, None, "binary_crossentropy", BINARY, "takes probabilities", "activation='sigmoid'"),
        (3, None, "sparse_categorical_crossentropy", CLASSES, "takes probabilities", "activation='softmax'"),
        (2, "relu", "kl_divergence", np.eye(2)[CLASSES % 2], "takes probabilities", "activation='softmax'"),
        (1, None, "dice", BINARY, "takes probabilities", "activation='sigmoid'"),
        (1, "sigmoid", "mse", CLASSES, "between 0 and 2", "If 0 to 2 are classes, use 3 units with softmax"),
        (1, "tanh", "mse", 1 + CLASSES, "between 1 and 3", "use 3 units with softmax, sparse_categorical_crossentropy "
         "and labels 0 to 2"),
        (1, "sigmoid", "hinge", BINARY, "the targets are -1 (or 0) and 1", "no activation"),
        (1, None, "hinge", NORMAL[:, 0], "hinge takes targets -1 and 1", "another loss"),
        (1, "exponential", "poisson", NORMAL[:, 0], "poisson takes targets of at least 0", "another loss"),
        (1, "tanh", "poisson", CLASSES / 2, "takes positive predictions", "softplus"),
        (1, "relu", "msle", NORMAL[:, 0], "takes targets of at least 0", "another loss"),
        (1, None, "mape", BINARY, "divides by the targets", "mean_absolute_error"),
        (2, "relu", fastnn.losses.GaussianNLL(), NORMAL[:, 0], "logarithms of variances", "no activation"),
        (2, "sigmoid", "cosine_similarity", NORMAL[:, :2], "between 0 and 1", "no activation"),
    ],
)  # fmt: skip
def test_a_last_layer_that_does_not_suit(units, activation, loss, y, measure, advice):
    model = model_of(layers.Dense(8, activation="tanh"), layers.Dense(units, activation=activation), loss=loss)
    first = fastnn.diagnose(model, NORMAL, y)[0]
    assert first.what in ("unsuitable targets", "unsuitable last layer") and first.severity == "serious"
    assert measure in first.measure and advice in first.advice
    assert first.where == f"layer {model.layers[-1].name!r}"


@pytest.mark.parametrize(
    ("units", "activation", "loss", "y"),
    [
        (1, "sigmoid", "mse", BINARY),
        (1, "sigmoid", "binary_crossentropy", BINARY),
        (1, "tanh", "mse", np.tanh(NORMAL[:, 0])),
        (1, "relu", "mse", np.maximum(NORMAL[:, 0], 0)),
        (1, "leaky_relu", "mse", NORMAL[:, 0]),
        (1, "tanh", "hinge", BINARY),
        (1, None, "hinge", 2 * BINARY - 1),
        (1, "exponential", "poisson", CLASSES),
        (3, "softmax", "sparse_categorical_crossentropy", CLASSES),
        (3, "softmax", "categorical_crossentropy", np.eye(3)[CLASSES]),
        (2, "tanh", "cosine_similarity", 5 * NORMAL[:, :2]),
        (2, None, fastnn.losses.GaussianNLL(), NORMAL[:, 0]),
        (1, None, fastnn.losses.BinaryCrossentropy(from_logits=True), BINARY),
        (1, None, lambda y_true, y_pred: (0.0, np.zeros_like(y_pred)), NORMAL[:, 0]),
    ],
)
def test_a_last_layer_that_suits(units, activation, loss, y):
    model = model_of(layers.Dense(8, activation="tanh"), layers.Dense(units, activation=activation), loss=loss)
    assert list(fastnn.diagnose(model, NORMAL, y)) == []


def test_activations_with_options_have_their_own_limits():
    model = model_of(layers.Dense(1), layers.ReLU(max_value=3.0))
    (finding,) = found(fastnn.diagnose(model, NORMAL, 2.0 * NORMAL[:, 0]), "unsuitable targets")
    assert "the outputs of relu are between 0 and 3" in finding.measure
    for last in (layers.ReLU(negative_slope=0.1), layers.PReLU(), layers.Rescaling(5.0)):
        assert not found(fastnn.diagnose(model_of(layers.Dense(1), last), NORMAL, NORMAL[:, 0]), "unsuitable targets")


def test_few_targets_out_of_range_are_a_warning():
    y = np.abs(NORMAL[:, 0])
    y[3] = -0.01
    (finding,) = fastnn.diagnose(model_of(layers.Dense(1, activation="relu")), NORMAL, y)
    assert finding.severity == "warning" and "1 of 400 rows cannot be fitted" in finding.measure


def test_dropout_is_no_last_layer():
    findings = fastnn.diagnose(model_of(layers.Dense(1), layers.Dropout(0.5)), NORMAL, NORMAL[:, 0])
    assert "at random" in found(findings, "unsuitable last layer")[0].measure


def test_whole_numbers_may_be_classes():
    (finding,) = fastnn.diagnose(small(), NORMAL, CLASSES)
    assert (finding.what, finding.severity) == ("targets that may be classes", "note")
    assert "use 3 units with softmax" in finding.advice


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("mse", np.full(400, 5.0)),
        ("mse", np.zeros(400)),
        ("mae", np.full(400, -1 / 7)),
        ("binary_crossentropy", np.ones(400)),
    ],
)
def test_a_constant_target(loss, y):
    activation = "sigmoid" if loss[0] == "b" else None
    (finding,) = fastnn.diagnose(model_of(layers.Dense(1, activation=activation), loss=loss), NORMAL, y)
    assert finding.what == "constant target" and finding.severity == "serious" and "divide" not in finding.advice


def test_classes_without_rows():
    model = model_of(layers.Dense(4, activation="softmax"), loss="sparse_categorical_crossentropy")
    (finding,) = fastnn.diagnose(model, NORMAL, 1 + CLASSES)
    assert (finding.what, finding.where) == ("class without rows", "class 0") and "3 units" in finding.advice


def test_labels_out_of_range_tell_how_many_units_they_need():
    one = model_of(layers.Dense(1, activation="softmax"), loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"with 1 output; for class labels give .* one unit per class, here 3"):
        fastnn.diagnose(one, NORMAL, CLASSES)
    three = model_of(layers.Dense(3, activation="softmax"), loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="here 4, or number the classes from 0"):
        three.fit(NORMAL, CLASSES + 1, verbose=0)
    sigmoid = model_of(layers.Dense(1, activation="sigmoid"), loss="binary_crossentropy")
    with pytest.raises(ValueError, match="here 3, and use softmax and sparse_categorical_crossentropy"):
        sigmoid.fit(NORMAL, CLASSES, verbose=0)


def test_columns_far_from_zero_or_small():
    X = NORMAL * [1.0, 0.042, 0.05] + [0.0, 8.03, 0.0]
    shifted, little = found(fastnn.diagnose(small(), X, NORMAL[:, 0]), "unscaled inputs")
    assert (shifted.where, little.where) == ("column 1", "column 2")
    mean, scale = X[:, 1].mean(), X[:, 1].std()
    assert f"mean {mean:.4g}, standard deviation {scale:.4g}" in shifted.measure
    assert f"(x - {mean:.4g}) / {scale:.4g}" in shifted.advice


def test_indicators_and_scaled_inputs_are_no_fault():
    X, y = NORMAL.copy(), NORMAL[:, 0]
    X[:, 1] = np.arange(400) % 100 == 0  # seldom 1
    X[:, 2] = np.arange(400) % 100 != 0
    assert not found(fastnn.diagnose(small(), X, y), "unscaled inputs")
    X = 500.0 + 3000.0 * NORMAL
    scaling = layers.Normalization()
    scaling.adapt(X)
    assert not found(fastnn.diagnose(model_of(scaling, layers.Dense(1)), X, y), "unscaled inputs")
    assert not found(fastnn.diagnose(model_of(layers.BatchNormalization(), layers.Dense(1)), X, y), "unscaled inputs")
    assert found(fastnn.diagnose(model_of(layers.Rescaling(1 / 255), layers.Dense(1)), X, y), "unscaled inputs")


@pytest.mark.parametrize("missing", ["mean", "indicator"])
def test_columns_that_are_missing(missing):
    X, y = NORMAL.copy(), NORMAL[:, 0]
    X[:, 1] = np.nan
    X[:10, 0] = np.nan
    X[:300, 2] = np.nan
    scaling = layers.Normalization(missing=missing)
    scaling.adapt(X)
    findings = fastnn.diagnose(model_of(scaling, layers.Dense(1)), X, y, (X, y))
    absent, mostly = found(findings, "missing values")
    assert (absent.where, absent.severity, mostly.where) == ("column 1", "serious", "column 2")
    assert mostly.measure == "75.0% of the rows have no value"
    assert not found(findings, "constant column")


def test_duplicated_columns():
    X = np.column_stack([NORMAL[:, 0], NORMAL[:, 0], 3.0 - 2.0 * NORMAL[:, 0]])
    equal, linear = found(fastnn.diagnose(small(), X, NORMAL[:, 1]), "duplicated column")
    assert (equal.where, equal.measure) == ("column 1", "it equals column 0")
    assert (linear.where, linear.measure) == ("column 2", "it is a linear function of column 0")


def test_targets_of_different_scales():
    model = model_of(layers.Dense(2))
    (finding,) = fastnn.diagnose(model, NORMAL, NORMAL[:, :2] * [0.2, 6.0])
    assert (finding.what, finding.where) == ("targets of different scales", "targets 0 and 1")
    assert "nearly that of target 1" in finding.measure
    y = NORMAL[:, :1] * 0.05 + 3.0
    advice = found(fastnn.diagnose(small(), NORMAL, y), "unscaled targets")[0].advice
    assert f"(y - {y.mean():.4g}) / {y.std():.4g}" in advice


def test_causes_come_before_their_symptoms():
    X = 1e3 * NORMAL
    X[:, 0] = NORMAL[:, 0] * 20.0
    model = model_of(layers.Dense(8, activation="relu"), layers.Dense(1, activation="sigmoid"))
    kernel, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel, bias - 1e6])
    findings = fastnn.diagnose(model, X[:, [0, 0, 0]], 3.0 * BINARY)
    order = [finding.what for finding in findings]
    assert order[0] == "unsuitable targets" and findings[1].severity == "warning"
    assert order.index("unscaled inputs") < order.index("dead units")
    assert all(finding.severity == "note" for finding in findings[order.index("duplicated column") :])


def test_step_advice_has_the_rate_of_a_good_step():
    model = small(optimizer=fastnn.optimizers.Adam(learning_rate=5.0))
    for finding in found(fastnn.diagnose(model, *data()), "large steps"):
        assert "learning rate from 5 to about 0.0" in finding.advice
    # A gradient of 0 has no step of a good size.
    model = model_of(layers.Dense(4, activation="relu"), layers.Dense(1), optimizer=fastnn.optimizers.SGD(0.1))
    kernel, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel, bias - 1e6])
    (finding, *_) = found(fastnn.diagnose(model, *data()), "small steps")
    assert finding.advice.startswith("Raise the learning rate from 0.1,")


def test_needs_a_compiled_model():
    with pytest.raises(RuntimeError, match="before diagnose"):
        fastnn.diagnose(fastnn.Sequential([layers.Dense(1)]), np.ones((3, 2)), np.ones(3))


def test_units_within_models_layers_and_blocks_are_examined():
    def dead(name):
        return layers.Dense(8, "relu", bias_initializer=fastnn.initializers.Constant(-100.0), name=name)

    class Own(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.part = dead("in_own")

        def call(self, x):
            return self.part(x)

    X = np.random.default_rng(0).normal(size=(200, 4))
    x = fastnn.Input((4,), name="x")
    inner = fastnn.Sequential([fastnn.Input((4,)), dead("in_model"), layers.Dense(4)])
    graph = fastnn.Model(x, layers.Dense(1)(layers.concatenate([inner(x), Own()(x), layers.Dense(4)(x)])), seed=0)
    inner = fastnn.Sequential([fastnn.Input((4,)), dead("in_model"), layers.Dense(4)])
    chain = fastnn.Sequential([fastnn.Input((4,)), inner, layers.Residual([dead("in_block"), layers.Dense(4)])], seed=0)
    chain.add(layers.Dense(1))
    for model, names in ((graph, {"in_model", "in_own"}), (chain, {"in_model", "in_block"})):
        model.compile("adam", "mse")
        found = [finding.where for finding in fastnn.diagnose(model, X, X[:, 0]) if finding.what == "dead units"]
        assert {where.split("'")[1] for where in found} == names and len(found) == 2


def test_more_hidden_layers_than_a_network_has_outputs_are_examined():
    x = h = fastnn.Input((3,), name="x")
    for _ in range(70):
        h = layers.Dense(3, "relu", kernel_initializer="he_normal")(h)
    model = fastnn.Model(x, layers.Dense(1)(h), seed=0)
    model.compile("adam", "mse")
    assert isinstance(fastnn.diagnose(model, np.eye(3), np.ones(3)), list)


@pytest.mark.parametrize("optimizer", ["lm", "lm_bayes", "lbfgs"])
def test_optimizers_without_a_learning_rate_get_no_advice_on_it(optimizer):
    x = np.random.default_rng(0).normal(size=(60, 3))
    model = fastnn.Sequential([fastnn.layers.Dense(4, "tanh"), fastnn.layers.Dense(1)], seed=0)
    model.compile(optimizer, "mse")
    doctor = fastnn.TrainingDoctor(x, x[:, 0], print_report=False)
    model.fit(x, x[:, 0], epochs=2, verbose=0, callbacks=[doctor])
    assert not [finding for finding in doctor.findings if "learning rate" in str(finding)]
    with pytest.raises(ValueError, match=r"learning_rate=0.1 has no effect: \w+ has none"):
        fastnn.diagnose(model, x, x[:, 0], learning_rate=0.1)
    for losses, what in (([1.0] * 6, "loss stands still"), ([1.0, 2.0, 2.0, 2.0, 2.0], "loss rises")):
        doctor.on_train_begin()
        for epoch, loss in enumerate(losses):
            doctor.on_epoch_end(epoch, {"loss": loss})
        (found,) = doctor._examine_course()
        assert found.what == what and found.advice.startswith("Scale the inputs")


def test_sources_are_refused_before_anything_is_trained():
    x = np.zeros((8, 3))
    source = fastnn.data.source(x, x[:, 0])
    model = fastnn.Sequential([fastnn.layers.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    message = r"x is a source: \w+( \w+)? takes rows that are in memory, such as x\.read\(0, n\)"
    for call in (lambda: fastnn.TrainingDoctor(source, None), lambda: fastnn.diagnose(model, source, None)):
        with pytest.raises(ValueError, match=message):
            call()
    for call in (model, model.input_gradients, model.hidden_activations, model.train_on_batch):
        with pytest.raises(ValueError, match=message):
            call(source)
