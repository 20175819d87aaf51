"""Means over weights instead of rows, and labels that the loss ignores."""

import math

import numpy as np
import pytest
from derivatives import finite_difference, partial_difference
from same_bits import same_arrays

import fastnn
from fastnn import _core, layers, losses, ops, reference, regularizers

RNG = np.random.default_rng(3)
X = RNG.normal(size=(70, 4))
Y = np.stack([X[:, 0] * X[:, 1], X[:, 2]], axis=1)
LABELS = RNG.integers(0, 3, 70)
WEIGHT = RNG.uniform(0.1, 2.0, 70)
MEAN = "mean_with_sample_weight"


def make_model(loss, n_outputs=2, activation="linear", optimizer="sgd", metrics=(), **dense):
    model = fastnn.Sequential(
        [fastnn.Input((4,)), layers.Dense(5, "tanh", **dense), layers.Dense(n_outputs, activation, **dense)],
        seed=1,
        dtype="float64",
    )
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


def classifier(activation="softmax", metrics=(), optimizer="sgd", **options):
    loss = losses.SparseCategoricalCrossentropy(from_logits=activation == "linear", **options)
    return make_model(loss, 3, activation, optimizer, metrics)


def assert_close(a, b, rtol=1e-12):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-14)


# Means by weights


def test_mean_by_weights_by_hand():
    y, p = [[0.0], [1.0], [0.0]], [[1.0], [3.0], [3.0]]
    loss = losses.MeanSquaredError(reduction=MEAN)
    assert loss(y, p) == pytest.approx(14.0 / 3.0, rel=1e-15)
    assert loss(y, p, sample_weight=[1.0, 0.5, 0.0]) == 2.0
    assert loss(y, p, sample_weight=[0.0, 0.0, 0.0]) == 0.0
    value, gradient = ops.loss_and_gradient("mean_squared_error", y, p, [1.0, 0.5, 0.0], weighted_mean=True)
    assert (value, gradient.tolist()) == (2.0, [[2.0 / 1.5], [2.0 / 1.5], [0.0]])
    # The loss is one number for the whole batch, so the weights' mean counts as 1.
    dice = losses.Dice(reduction=MEAN)(y, np.array(p) / 4.0, sample_weight=[1.0, 0.5, 3.0])
    assert dice == pytest.approx(losses.Dice()(y, np.array(p) / 4.0), rel=1e-15)
    assert losses.MeanSquaredError.from_config(loss.get_config()).reduction == MEAN


@pytest.mark.parametrize("name", [name for name in _core.LOSSES if name != "custom"])
@pytest.mark.parametrize("weight", [None, WEIGHT[:9], np.zeros(9)])
def test_every_loss_equals_its_twin(name, weight):
    p = RNG.uniform(0.1, 0.9, (9, 4 if name == "gaussian_nll" else 3))
    columns = RNG.uniform(0.1, 0.9, (9, {"gaussian_nll": 2, "multi_quantile": 1}.get(name, 3)))
    y = LABELS[:9] if name == "sparse_categorical_crossentropy" else columns
    value, gradient = ops.loss_and_gradient(name, y, p, weight, weighted_mean=True)
    expected, twin = reference.loss_and_gradient(name, y, p, weight, weighted_mean=True)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-15)
    np.testing.assert_allclose(gradient, twin, rtol=1e-11, atol=1e-14)
    if weight is None:
        assert value == ops.loss(name, y, p)
    elif not weight.any():
        assert value == 0.0 and not gradient.any()
    else:
        scaled = ops.loss(name, y, p, weight / weight.mean())
        assert value == pytest.approx(scaled, rel=1e-12, abs=1e-15)


def test_gradient_of_the_mean_by_weights_is_its_derivative():
    p = RNG.normal(size=(7, 2))
    _, gradient = ops.loss_and_gradient("mean_squared_error", Y[:7], p, WEIGHT[:7], weighted_mean=True)
    numeric = finite_difference(lambda q: ops.loss("mean_squared_error", Y[:7], q, WEIGHT[:7], weighted_mean=True), p)
    assert gradient == pytest.approx(numeric, rel=1e-6, abs=1e-9)


def test_a_scaled_weight_changes_the_mean_by_rows_only():
    ends = []
    for factor in (1.0, 8.0):
        model = make_model(losses.MeanSquaredError(reduction=MEAN), kernel_regularizer=regularizers.L2(0.05))
        history = model.fit(X, Y, 16, 3, verbose=0, sample_weight=factor * WEIGHT).history["loss"]
        ends.append((history, model.get_weights()))
    assert ends[0][0] == ends[1][0]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(ends[0][1], ends[1][1], strict=True))


def test_penalties_are_not_divided_by_weights():
    model = make_model(losses.MeanSquaredError(reduction=MEAN), kernel_regularizer=regularizers.L2(0.05))
    start = model.get_weights()
    penalty = 0.05 * sum(np.sum(w**2) for w in start[::2])
    rows = np.mean((model.predict(X[:6]) - Y[:6]) ** 2, axis=1)
    weight = 10.0 * WEIGHT[:6]
    expected = np.average(rows, weights=weight) + penalty
    assert model.evaluate(X[:6], Y[:6], verbose=0, sample_weight=weight) == pytest.approx(expected, rel=1e-12)
    gradients = model.gradients(X[:6], Y[:6], sample_weight=weight)
    assert model.train_on_batch(X[:6], Y[:6], sample_weight=weight) == pytest.approx(expected, rel=1e-12)
    assert_close(model.get_weights(), [w - 0.01 * g for w, g in zip(start, gradients, strict=True)])
    alone = make_model("mse").gradients(X[:6], Y[:6], sample_weight=weight * 6.0 / weight.sum())
    assert_close(gradients[::2], [g + 0.1 * w for g, w in zip(alone[::2], start[::2], strict=True)])


def test_a_batch_without_weight_adds_its_penalty_only():
    model = make_model(losses.MeanSquaredError(reduction=MEAN))
    before = model.get_weights()
    assert model.train_on_batch(X[:5], Y[:5], sample_weight=np.zeros(5)) == 0.0
    assert same_arrays(before, model.get_weights())
    weight = np.r_[np.zeros(16), np.ones(54)]
    history = model.fit(X, Y, 16, 2, shuffle=False, verbose=0, sample_weight=weight).history["loss"]
    assert np.isfinite(history).all()
    decayed = make_model(losses.MeanSquaredError(reduction=MEAN), kernel_regularizer=regularizers.L2(0.5))
    before = decayed.get_weights()
    loss = decayed.train_on_batch(X[:5], Y[:5], sample_weight=np.zeros(5))
    assert loss == pytest.approx(0.5 * sum(np.sum(w**2) for w in before[::2]), rel=1e-12)
    assert_close(decayed.get_weights()[::2], [0.99 * w for w in before[::2]])


def test_epochs_are_means_by_rows_of_batches():
    model = make_model(losses.MeanSquaredError(reduction=MEAN), optimizer=fastnn.optimizers.SGD(0.0))
    rows = np.mean((model.predict(X) - Y) ** 2, axis=1)
    parts = [slice(start, start + 16) for start in range(0, 70, 16)]
    expected = sum(np.average(rows[p], weights=WEIGHT[p]) * len(rows[p]) for p in parts) / 70
    history = model.fit(X, Y, 16, 1, shuffle=False, verbose=0, sample_weight=WEIGHT).history["loss"]
    assert history == [pytest.approx(expected, rel=1e-12)]
    assert model.evaluate(X, Y, 16, 0, WEIGHT) == pytest.approx(expected, rel=1e-12)


def test_class_weights_are_sample_weights():
    ends = []
    for fit in ({"class_weight": {0: 3.0, 2: 0.5}}, {"sample_weight": np.array([3.0, 1.0, 0.5])[LABELS]}):
        model = classifier(reduction=MEAN)
        model.fit(X, LABELS, 16, 3, verbose=0, **fit)
        ends.append(model.get_weights())
    assert same_arrays(*ends)


# Ignored labels

P = np.array([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]])


@pytest.mark.parametrize("ignored", [-1, 255, 1, -(2**63), 2**63 - 1])
def test_ignored_label_by_hand(ignored):
    y, weight = np.array([0, ignored, 2]), [1.0, 5.0, 3.0]
    first, last = math.log(2.0), math.log(1.25)

    def value(reduction, **given):
        return losses.SparseCategoricalCrossentropy(ignore_class=ignored, reduction=reduction)(y, P, **given)

    assert value("mean") == pytest.approx((first + last) / 2, rel=1e-14)
    assert value(MEAN) == pytest.approx((first + last) / 2, rel=1e-14)
    assert value("sum") == pytest.approx(first + last, rel=1e-14)
    np.testing.assert_allclose(value(None), [first, 0.0, last], rtol=1e-14)
    assert value("mean", sample_weight=weight) == pytest.approx((first + 3 * last) / 2, rel=1e-14)
    assert value(MEAN, sample_weight=weight) == pytest.approx((first + 3 * last) / 4, rel=1e-14)
    assert value("sum", sample_weight=weight) == pytest.approx(first + 3 * last, rel=1e-14)
    rows = losses.sparse_categorical_crossentropy(y, P, False, ignored)
    np.testing.assert_allclose(rows, [first, 0.0, last], rtol=1e-14)
    assert losses.SparseCategoricalCrossentropy(ignore_class=ignored)([ignored] * 3, P) == 0.0


@pytest.mark.parametrize("options", [{}, {"from_logits": True}, {"weighted_mean": True}, {"sum": True}])
@pytest.mark.parametrize("weight", [None, WEIGHT[:20]])
def test_gradient_with_ignored_labels_equals_twin_and_differences(options, weight):
    y = np.where(np.arange(20) % 3 == 1, -7, LABELS[:20])
    p = RNG.uniform(0.1, 0.9, (20, 3))
    given = {"ignore_class": -7, **options}
    value, gradient = ops.loss_and_gradient("sparse_categorical_crossentropy", y, p, weight, **given)
    expected, twin = reference.loss_and_gradient("sparse_categorical_crossentropy", y, p, weight, **given)
    assert value == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(gradient, twin, rtol=1e-12, atol=1e-15)
    assert not gradient[1::3].any() and gradient[::3].all()
    for at in np.ndindex(6, 3):
        slope = partial_difference(lambda q: ops.loss("sparse_categorical_crossentropy", y, q, weight, **given), p, at)
        assert gradient[at] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("activation", ["softmax", "softplus", "linear"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", MEAN])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_one_batch_is_the_batch_without_the_ignored_rows(activation, reduction, weight):
    y = np.where(np.arange(70) % 5 == 2, 99, LABELS)
    kept = y != 99
    few = {} if weight is None else {"sample_weight": weight[kept]}
    pair = [classifier(activation, ignore_class=ignored, reduction=reduction) for ignored in (99, None)]
    expected = pair[1].gradients(X[kept], y[kept], **few)
    assert_close(pair[0].gradients(X, y, sample_weight=weight), expected)
    for _ in range(4):
        loss = pair[1].train_on_batch(X[kept], y[kept], **few)
        assert pair[0].train_on_batch(X, y, sample_weight=weight) == pytest.approx(loss, rel=1e-12)
    assert_close(pair[0].get_weights(), pair[1].get_weights(), 1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_bits(dtype):
    y, weight = np.where(np.arange(70) % 5 == 2, -1, LABELS), WEIGHT.astype(dtype)
    options = {"from_logits": True, "ignore_class": -1, "weighted_mean": True}
    found = []
    for threads in (1, 2, 3):
        network = _core.Network(4, [("dense", {"n_out": 9, "activation": "tanh"}), ("dense", {"n_out": 3})], dtype)
        kernel = np.sin(np.arange(36.0)).reshape(4, 9).astype(dtype)
        network.set_parameter(0, "kernel", kernel)
        network.set_parameter(1, "kernel", np.cos(np.arange(27.0)).reshape(9, 3).astype(dtype))
        network.compile("sparse_categorical_crossentropy", options, "adam", fastnn.optimizers.Adam().options())
        fit = _core.Fit(network, X.astype(dtype), y, weight, 40, threads)
        for epoch in range(3):
            fit.begin_epoch(5, epoch, True, np.full(fit.n_steps, 0.01))
            assert fit.run(-1, 60.0) == "finished"
        assert not np.array_equal(network.get_parameter(0, "kernel"), kernel)
        found.append((fit.loss_sum, *(network.get_parameter(op, "kernel").tobytes() for op in (0, 1))))
    assert found[0] == found[1] == found[2]


def test_epochs_and_evaluation_weigh_batches_by_their_rows():
    y = np.where((np.arange(70) < 20) | (np.arange(70) % 4 == 1), -1, LABELS)
    model = classifier(ignore_class=-1, optimizer=fastnn.optimizers.SGD(0.0), metrics=["accuracy"])
    p = model.predict(X)
    rows, kept = -np.log(p[np.arange(70), LABELS]), y != -1
    expected = 0.0
    for start in range(0, 70, 16):
        part = slice(start, start + 16)
        mean = rows[part][kept[part]].mean() if kept[part].any() else 0.0
        expected += mean * len(rows[part]) / 70
    logs = model.fit(X, y, 16, 1, shuffle=False, verbose=0, validation_data=(X, y)).history
    assert logs["loss"] == [pytest.approx(expected, rel=1e-10)]
    assert logs["loss"] == pytest.approx(logs["val_loss"], rel=1e-12)
    # Metrics use all rows.
    assert logs["accuracy"] == [np.mean(p.argmax(axis=1) == y)] == logs["val_accuracy"]


def test_a_batch_of_ignored_rows_changes_nothing():
    model = classifier(ignore_class=-1)
    before = model.get_weights()
    assert model.train_on_batch(X[:9], np.full(9, -1)) == 0.0
    assert same_arrays(before, model.get_weights())
    assert model.evaluate(X[:9], np.full(9, -1), verbose=0) == 0.0


def test_labels_that_are_neither_class_nor_ignored_are_refused():
    model = classifier(ignore_class=-1)
    model.build((None, 4))
    for wrong in (-2, 3, 255):
        y = np.r_[-1, wrong, LABELS[2:]]
        with pytest.raises(ValueError, match=rf"y has label {wrong} at row 1 .* whole numbers from 0 to 2"):
            model.fit(X, y, verbose=0)
        with pytest.raises(ValueError, match=r"y has label"):
            model.evaluate(X, y, verbose=0)
        with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
            model.loss(y[:3], P)
        with pytest.raises(ValueError, match="labels must be from 0 to 2"):
            _core.Fit(model.network, X, y.astype(np.int64))
    with pytest.raises(TypeError, match="no option 'ignore_class'"):
        ops.loss("mean_squared_error", P, P, ignore_class=1)
    # Floats, bytes or a column hold the same labels.
    y = np.where(np.arange(70) % 5 == 2, 255, LABELS)
    model = classifier(ignore_class=255)
    expected = model.evaluate(X, y, verbose=0)
    for same in (y.astype(np.uint8), y.astype(float), y[:, None]):
        assert model.evaluate(X, same, verbose=0) == expected


def test_class_weights_leave_ignored_labels_alone():
    ends = []
    y = np.where(np.arange(70) % 5 == 2, 255, LABELS)
    kept = y != 255
    for rows, labels in ((X, y), (X[kept], y[kept])):
        model = classifier(ignore_class=255, reduction=MEAN)
        model.train_on_batch(rows, labels, class_weight={0: 3.0, 2: 0.5})
        ends.append(model.get_weights())
    assert_close(*ends)


def test_ignored_labels_survive_configuration_and_files(tmp_path):
    y = np.where(np.arange(70) % 5 == 2, -1, LABELS)
    model = classifier(ignore_class=np.int64(-1), reduction=MEAN)
    assert model.loss.get_config()["ignore_class"] == -1
    model.fit(X, y, epochs=1, verbose=0)
    model.save(tmp_path / "model.safetensors")
    loaded = fastnn.load_model(tmp_path / "model.safetensors")
    assert loaded.loss.get_config() == model.loss.get_config()
    assert loaded.evaluate(X, y, verbose=0) == model.evaluate(X, y, verbose=0)


def test_diagnoses_landscapes_and_metrics_with_ignored_labels():
    y = np.where(np.arange(70) % 5 == 2, -1, LABELS)
    kept = y != -1
    model = classifier(ignore_class=-1, metrics=["sparse_top_k_categorical_accuracy"])
    assert list(fastnn.diagnose(model, X, y, (X, y))) == list(
        fastnn.diagnose(model, X[kept], y[kept], (X[kept], y[kept]))
    )
    with pytest.raises(ValueError, match="all labels in y are -1"):
        fastnn.diagnose(model, X, np.full(70, -1))
    plane = fastnn.loss_landscape(model, X, y, n=3, verbose=0)
    assert plane.centre_loss == pytest.approx(model.evaluate(X[kept], y[kept], verbose=0)[0], rel=1e-10)
    # Every class is among the five largest of three.
    assert model.evaluate(X, y, verbose=0)[1] == pytest.approx(np.mean(kept))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_loss_of_the_whole_batch_and_one_of_rows_train_as_each_alone(n_threads):
    targets = {"dice": (X[:, :1] > 0).astype(float), "mse": Y[:, :1]}
    weights = [RNG.normal(size=shape) for shape in ((4, 5), (5,), (5, 1), (1,))]

    def tower(loss):
        last = layers.Dense(1, "sigmoid" if loss == "dice" else None, name=loss)
        model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(5, "tanh"), last], name=f"to_{loss}")
        model.set_weights(weights)
        return model

    def fitted(model, loss, y):
        model.compile("sgd", loss)
        with fastnn.threads(n_threads):
            model.fit(X, y, batch_size=32, epochs=3, verbose=0, shuffle=False)
        return model.history.history["loss"], model.get_weights()

    x = fastnn.Input((4,))
    both = fastnn.Model(x, [tower(loss)(x) for loss in targets])
    total, trained = fitted(both, list(targets), list(targets.values()))
    alone = [fitted(tower(loss), loss, y) for loss, y in targets.items()]
    assert same_arrays(trained, alone[0][1] + alone[1][1])
    np.testing.assert_allclose(total, np.sum([loss for loss, _ in alone], axis=0), rtol=1e-6)


def test_losses_of_rows_check_their_targets_and_weights():
    loss = losses.MeanSquaredError(reduction="none")
    truth, guess = np.zeros((2, 3)), np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    assert loss(truth, guess, sample_weight=[[2.0], [1.0]]).tolist() == [2.0, 4.0]
    assert loss(truth, guess, sample_weight=2).tolist() == [2.0, 8.0]
    for weight in ([1.0, 2.0, 3.0], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match=r"sample_weight must have shape \(2,\), one weight per row"):
            loss(truth, guess, sample_weight=weight)
    with pytest.raises(ValueError, match=r"y_true must have the rows of y_pred, .* got shape \(3, 2\)"):
        loss(truth.T, guess)
    with pytest.raises(ValueError, match="y_true has masked entries"):
        loss(np.ma.masked_less(truth, 1.0), guess)
    labels = losses.SparseCategoricalCrossentropy(reduction="none", from_logits=True)
    assert labels([[0], [1]], truth[:, :2]) == pytest.approx([math.log(2.0)] * 2)
