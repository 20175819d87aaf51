"""Models as graphs: symbolic tensors, structures of data, shared weights, layers of users, files, and errors."""

import copy
import pickle
from xml.etree import ElementTree

import numpy as np
import pytest
from keras_graph_cases import CASES, Y1, Y2, A, B, Layers, starting_weights

import fastnn
import fastnn.diagram
from fastnn import layers, metrics

CODES = np.array(["P", "S", "P", "Lg"] * 10)


def two_by_two(seed=0, **options):
    """Two inputs, two outputs."""
    a, b = fastnn.Input((4,), name="a"), fastnn.Input((3,), name="b")
    h = layers.Dense(6, activation="tanh", name="h")(layers.concatenate([a, b]))
    heads = [layers.Dense(1, name="p")(h), layers.Dense(2, name="q")(h)]
    model = fastnn.Model([a, b], heads, seed=seed, **options)
    model.compile("adam", loss=["mse", "mae"], metrics={"q": ["mse"]})
    return model


def built(name, dtype="float64"):
    model = CASES[name].build(fastnn, Layers(fastnn, dtype))
    model.set_weights(starting_weights(model))
    return model


def same(left, right):
    """Whether two predictions have the same form and bits."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return np.array_equal(left, right)


# Tensors


def test_a_tensor_has_shape_type_and_name_and_no_numbers():
    x = fastnn.Input((3,), name="x")
    y = layers.Dense(2)(x)
    assert (x.shape, x.dtype, x.name, y.shape) == ((None, 3), "float32", "x", (None, 2))
    assert isinstance(y, fastnn.KerasTensor) and fastnn.Input((), dtype="int32").shape == (None,)
    for compute in (bool, len, float, list, np.tanh, lambda t: np.concatenate([t, t]), lambda t: t > 1, np.asarray):
        with pytest.raises(TypeError, match=rf"the tensor '{y.name}' of shape \(None, 2\) has no numbers"):
            compute(y)


@pytest.mark.parametrize(
    ("combine", "numbers"),
    [
        (lambda x, y: x + y, lambda x, y: x + y),
        (lambda x, y: x - y, lambda x, y: x - y),
        (lambda x, y: x * y, lambda x, y: x * y),
        (lambda x, y: x / (y * y + 1.0), lambda x, y: x / (y * y + 1.0)),
        (lambda x, y: 1.0 - x, lambda x, y: 1.0 - x),
        (lambda x, y: 2.0 / (x * x + 1.0) - -y, lambda x, y: 2.0 / (x * x + 1.0) + y),
        (lambda x, y: x[:, 1:3], lambda x, y: x[:, 1:3]),
        (lambda x, y: x[:, -1] + 0.0, lambda x, y: x[:, -1:]),
        (lambda x, y: x[:, ::-2], lambda x, y: x[:, ::-2]),
        (lambda x, y: x[:, :1] * y, lambda x, y: x[:, :1] * y),
        (lambda x, y: layers.Maximum()([x, y]), lambda x, y: np.maximum(x, y)),
        (lambda x, y: layers.average([x, y, x]), lambda x, y: (x + y + x) / 3.0),
        (lambda x, y: layers.Dot(axes=1)([x, y]), lambda x, y: (x * y).sum(axis=1, keepdims=True)),
        (lambda x, y: layers.Reshape((3, 1))(x[:, None]), lambda x, y: x),
        (lambda x, y: np.float64(2.0) * x, lambda x, y: 2.0 * x),
    ],
)
def test_what_tensors_compute(combine, numbers):
    a, b = fastnn.Input((3,), dtype="float64"), fastnn.Input((3,), dtype="float64")
    model = fastnn.Model([a, b], [combine(a, b), a, b])
    assert model.dtype == np.float64
    expected = numbers(A[:, :3], B)
    found, left, right = model.predict([A[:, :3], B])
    assert found.shape == (len(A), *model.outputs[0].row)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-14)
    assert np.array_equal(left, A[:, :3]) and np.array_equal(right, B)


def test_layers_are_listed_in_keras_order_and_operators_are_not():
    x = fastnn.Input((4,), name="x")
    short = layers.Dense(3, name="short")(x)
    long = layers.Dense(3, name="second")(layers.Dense(3, name="first")(x))
    model = fastnn.Model(x, layers.Dense(1, name="end")(long * short + x[:, :3]))
    assert [layer.name for layer in model.layers] == ["x", "first", "second", "short", "end"]
    assert model.get_layer("second").output is long and model.get_layer(index=1).input is x
    assert [weight.path for weight in model.weights[:2]] == ["first/kernel", "first/bias"]
    assert (model.input_shape, model.output_shape) == ((None, 4), (None, 1))


def test_the_summary_says_what_is_connected_to_what():
    model = built("nested_shared")
    lines = []
    model.summary(print_fn=lines.append)
    table = lines[0].splitlines()
    assert table[2].split() == ["Layer", "(type)", "Output", "Shape", "Param", "#", "Connected", "to"]
    row = next(line for line in table if line.startswith("tower (Sequential)"))
    assert row.split()[-3:] == ["44", "a[0][0],", "b[0][0]"]
    model.summary(print_fn=lines.append, expand_nested=True)
    assert "└" in lines[1] and "Total params: 53" in lines[1]


def test_a_graph_is_drawn_with_a_box_for_each_layer(tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    model = built("nested_shared")
    boxes = {box.caption.split()[0]: box for box in fastnn.diagram.boxes(model)}
    assert {name: box.place for name, box in boxes.items() if name in "ab"} == {"a": (0, 0), "b": (0, 1)}
    assert boxes["tower"].place == (1, 0) and boxes["tower"].before == (0, 1)
    picture = model._repr_svg_()
    assert picture.startswith("<svg") and picture.count("<rect") == 5 and "tower (None, 4)" in picture
    ElementTree.fromstring(picture)
    assert "Connected" not in model._repr_html_() and "<table>" in model._repr_html_()
    assert len(fastnn.plotting.network(model).texts) >= 5


# Structures


@pytest.mark.parametrize("form", [list, tuple, lambda arrays: dict(zip("ab", arrays, strict=True))])
def test_inputs_are_lists_tuples_and_dicts(form):
    model = two_by_two()
    expected = two_by_two().fit([A, B], [Y1, Y2], epochs=2, verbose=0).history
    x = form([A, B])
    assert model.fit(x, {"q": Y2, "p": Y1}, epochs=2, verbose=0).history == expected
    assert same(model.predict(x), model.predict([A, B]))
    assert same(model(x), model.predict([A, B])) and same(model.predict(x, steps=1, batch_size=7)[1], model(x)[1][:7])
    assert model.evaluate(x, [Y1, Y2], verbose=0) == model.test_on_batch([A, B], (Y1, Y2))
    assert set(model.train_on_batch(x, [Y1, Y2], return_dict=True)) == {"loss", "p_loss", "q_loss", "q_mse"}


def batches(x, y, size=7, weight=None):
    for start in range(0, len(y[0] if isinstance(y, list) else y["p"]), size):
        part = slice(start, start + size)

        def cut(arrays, part=part):
            return {k: v[part] for k, v in arrays.items()} if isinstance(arrays, dict) else [v[part] for v in arrays]

        yield (cut(x), cut(y)) if weight is None else (cut(x), cut(y), cut(weight))


def test_generators_and_datasets_have_the_same_structures():
    whole, by_batches, by_items = two_by_two(), two_by_two(), two_by_two()
    expected = whole.fit([A, B], [Y1, Y2], 7, 1, verbose=0, shuffle=False).history
    found = by_batches.fit(batches({"a": A, "b": B}, {"p": Y1, "q": Y2}), epochs=1, verbose=0).history
    assert found == expected

    class Items(fastnn.utils.PyDataset):
        def __len__(self):
            return 6

        def __getitem__(self, number):
            return list(batches([A, B], [Y1, Y2]))[number]

    assert (
        by_items.fit(Items(), epochs=1, verbose=0, validation_data=([A, B], [Y1, Y2])).history["loss"]
        == expected["loss"]
    )
    assert by_items.evaluate(Items(), verbose=0) == by_items.evaluate([A, B], [Y1, Y2], verbose=0)
    assert same(by_items.predict(Items()), whole.predict([A, B]))


def test_batch_hooks_and_sample_weights_by_output():
    model, seen = two_by_two(), []

    class Keep(fastnn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(dict(logs))

        def on_test_batch_end(self, batch, logs=None):
            seen.append(dict(logs))

    weights = {"p": np.linspace(0.0, 1.0, len(A)), "q": np.ones(len(A))}
    data = ([A, B], [Y1, Y2], weights)
    history = model.fit(
        *data[:2], 8, verbose=0, sample_weight=weights, validation_data=data, callbacks=[Keep()]
    ).history
    assert set(seen[-1]) == {"loss", "p_loss", "q_loss", "q_mse"} and len(seen) == 10
    assert seen[4]["p_loss"] == history["p_loss"][0] and seen[-1]["q_loss"] == pytest.approx(history["val_q_loss"][0])
    total = history["p_loss"][0] + history["q_loss"][0]
    assert history["loss"][0] == pytest.approx(total)


def test_a_loss_in_python_for_one_output():
    def squared(y_true, y_pred):
        error = y_pred - y_true
        return float(np.mean(error**2)), 2.0 * error / error.size

    def trained(loss):
        model = two_by_two(dtype="float64")
        model.compile("adam", loss={"p": loss, "q": "mae"}, loss_weights={"p": 0.5, "q": 2.0})
        history = model.fit([A, B], [Y1, Y2], epochs=2, verbose=0, shuffle=False).history
        return history, model.get_weights()

    own, native = trained(squared), trained("mse")
    for key, values in native[0].items():
        np.testing.assert_allclose(own[0][key], values, rtol=1e-12)
    for left, right in zip(own[1], native[1], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)


# Weights


def test_models_with_common_layers_share_weights_both_ways():
    model = two_by_two()
    part = fastnn.Model(model.inputs, model.get_layer("h").output)
    before = part([A, B])
    model.fit([A, B], [Y1, Y2], epochs=1, verbose=0)
    kernel = model.get_layer("h").kernel.numpy()
    assert np.array_equal(part.get_weights()[0], kernel) and not same(part([A, B]), before)
    assert same(part.predict([A, B]), model.hidden_activations([A, B])[-1])
    part.compile("sgd", "mse")
    part.train_on_batch([A, B], np.ones((len(A), 6)))
    assert np.array_equal(model.get_weights()[0], part.get_weights()[0])
    assert not np.array_equal(model.get_weights()[0], kernel)
    model.get_layer("h").kernel.assign(np.zeros((7, 6)))
    assert (
        np.array_equal(part([A, B]), np.tanh(np.tile(part.get_weights()[1], (len(A), 1))))
        or not part.get_weights()[0].any()
    )
    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    assert (part.get_weights()[0] == 1.0).all()


def test_a_model_that_shares_weights_may_be_used_while_the_other_one_is_trained():
    model, plain = two_by_two(), two_by_two()
    part = fastnn.Model(model.inputs, model.get_layer("h").output)
    seen = []
    look = fastnn.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(part.predict([A, B])))
    found = model.fit([A, B], [Y1, Y2], epochs=3, verbose=0, callbacks=[look]).history
    assert found == plain.fit([A, B], [Y1, Y2], epochs=3, verbose=0).history
    assert same(model.get_weights(), plain.get_weights()) and same(seen[-1], part.predict([A, B]))
    assert not same(seen[0], seen[1])


def test_nested_models_can_be_used_alone():
    model = built("nested_shared")
    tower = model.get_layer("tower")
    model.compile("sgd", "mse")
    model.fit([A[:, :3], B], Y1, verbose=0)
    assert same(tower.get_weights(), model.get_weights()[:4])
    assert np.array_equal(tower.predict(B), fastnn.Model(model.inputs[1], tower(model.inputs[1])).predict(B))


def test_frozen_layers_stay_and_their_penalties_leave_the_loss():
    model = built("frozen_part")
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(A, Y1, verbose=0)
    after = model.get_weights()
    assert same(before[:2], after[:2]) and not same(before[2:], after[2:])
    predicted = model.predict(A)
    assert model.evaluate(A, Y1, verbose=0) == pytest.approx(float(np.mean((predicted - Y1) ** 2)))
    model.get_layer("base").trainable = True
    penalty = 0.01 * float(np.square(after[0]).sum())
    assert model.evaluate(A, Y1, verbose=0) == pytest.approx(float(np.mean((predicted - Y1) ** 2)) + penalty)
    assert model.losses == [pytest.approx(penalty)]


@pytest.mark.parametrize("name", [name for name in CASES if name != "own_layer"])
def test_copies_files_clones_and_folds(name, tmp_path):
    case, model = CASES[name], built(name)
    model.compile(**case.compile(fastnn))
    expected = model.predict(case.x)
    model.save(tmp_path / "model.safetensors")
    again = fastnn.load_model(tmp_path / "model.safetensors")
    assert type(again) is type(model) and again.get_config().keys() == model.get_config().keys()
    for other in (again, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same(other.predict(case.x), expected)
        assert other.evaluate(case.x, case.y, verbose=0) == model.evaluate(case.x, case.y, verbose=0)
    options = {"sample_weight": case.fit["sample_weight"]} if "sample_weight" in case.fit else {}
    assert again.train_on_batch(case.x, case.y, **options) == model.train_on_batch(case.x, case.y, **options)
    assert same(again.get_weights(), model.get_weights())
    clone = fastnn.models.clone_model(model)
    clone.set_weights(model.get_weights())
    described = fastnn.models.model_from_json(model.to_json())
    described.set_weights(model.get_weights())
    trained = model.predict(case.x)
    assert same(clone.predict(case.x), trained) and same(described.predict(case.x), trained)
    folded = model.folded().predict(case.x)
    for left, right in zip(parts_of(folded), parts_of(trained), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12)


def parts_of(predicted):
    """Return the arrays of a prediction."""
    return (
        list(predicted.values())
        if isinstance(predicted, dict)
        else predicted
        if isinstance(predicted, list)
        else [predicted]
    )


def test_folding_goes_into_branches():
    x = fastnn.Input((4,), dtype="float64")
    left = layers.BatchNormalization()(layers.Dense(3)(layers.Dropout(0.5)(x)))
    right = layers.Dense(3)(layers.Dense(4)(x))
    model = fastnn.Model(x, layers.Activation("tanh")(layers.add([left, right])), seed=0)
    model.layers[2].set_weights([np.ones((4, 3)), np.zeros(3)]) if model.layers[2].count_params() == 15 else None
    folded = model.folded()
    assert sorted(type(layer).__name__ for layer in folded.layers) == [
        "Activation",
        "Add",
        "Dense",
        "Dense",
        "InputLayer",
    ]
    np.testing.assert_allclose(folded.predict(A), model.predict(A), rtol=1e-12, atol=1e-15)


def test_gradients_are_differences():
    model = two_by_two(dtype="float64")
    gradients = model.gradients([A, B], [Y1, Y2])
    weights = model.get_weights()
    for place, index in ((0, (2, 3)), (1, (4,)), (2, (5, 0)), (4, (1, 1))):
        losses = []
        for sign in (1.0, -1.0):
            moved = [weight.copy() for weight in weights]
            moved[place][index] += sign * 1e-6
            model.set_weights(moved)
            losses.append(model.evaluate([A, B], [Y1, Y2], verbose=0)[0])
        assert gradients[place][index] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-9)
    model.set_weights(weights)
    jacobians = model.input_gradients([A, B])
    step = np.zeros_like(B)
    step[:, 1] = 1e-6
    difference = (model.predict([A, B + step])[1] - model.predict([A, B - step])[1]) / 2e-6
    np.testing.assert_allclose(jacobians[1][1][:, :, 1], difference, atol=1e-8)
    assert [[each.shape for each in output] for output in jacobians] == [
        [(40, 1, 4), (40, 1, 3)],
        [(40, 2, 4), (40, 2, 3)],
    ]


def test_the_doctor_examines_inputs_and_outputs_one_by_one():
    a, b = fastnn.Input((4,), name="a"), fastnn.Input((3,), name="b")
    h = layers.Dense(6, activation="relu", name="h", bias_initializer=fastnn.initializers.Constant(-1e4))(
        layers.concatenate([a, b])
    )
    model = fastnn.Model([a, b], [layers.Dense(1, name="p")(h), layers.Dense(2, "softmax", name="q")(h)], seed=0)
    model.compile("adam", loss=["mse", "mse"])
    data = ([A, 1e4 * B], [Y1, Y2])
    model.set_weights([np.zeros_like(w) if w.ndim == 2 else w for w in model.get_weights()])
    found = {(each.what, each.where) for each in fastnn.diagnose(model, *data, validation_data=data)}
    assert ("dead units", "layer 'h'") in found
    assert any(what == "unscaled inputs" and where.startswith("input 'b': column") for what, where in found)
    assert any(where == "output 'q': layer 'q'" for _, where in found)
    assert any(what == "shared rows" and where.startswith("output 'p'") for what, where in found)
    doctor = fastnn.TrainingDoctor(*data, print_report=False)
    model.fit(*data, verbose=0, callbacks=[doctor])
    assert len(doctor.findings) > 3


def test_landscapes_checkpoints_and_backups(tmp_path):
    model = two_by_two()
    landscape = fastnn.loss_landscape(model, [A, B], [Y1, Y2], n=3, verbose=0)
    assert landscape.centre_loss == pytest.approx(model.evaluate([A, B], [Y1, Y2], verbose=0)[0], rel=1e-6)
    best = fastnn.callbacks.ModelCheckpoint(tmp_path / "best.safetensors", monitor="val_q_loss", save_best_only=True)
    backup = fastnn.callbacks.BackupAndRestore(tmp_path / "backup")
    stop = fastnn.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0 if epoch == 1 else None)
    data = {"validation_data": ([A, B], [Y1, Y2]), "verbose": 0}
    with pytest.raises(ZeroDivisionError):
        model.fit([A, B], [Y1, Y2], epochs=4, callbacks=[best, backup, stop], **data)
    again, whole = two_by_two(seed=1), two_by_two()
    again.fit([A, B], [Y1, Y2], epochs=4, callbacks=[best, backup, fastnn.callbacks.LambdaCallback()], **data)
    whole.fit([A, B], [Y1, Y2], epochs=4, **data)
    assert same(again.get_weights(), whole.get_weights())
    assert same(fastnn.load_model(tmp_path / "best.safetensors").predict([A, B]), whole.predict([A, B]))


# Layers of users


class Gate(layers.Layer):
    """A layer that composes others."""

    traced = 0

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.parts = [layers.Dense(units, "tanh"), layers.Dense(units, "sigmoid")]

    def call(self, x):
        type(self).traced += 1
        value, gate = (part(x) for part in self.parts)
        return gate * value + (1.0 - gate) * x


def test_a_layer_of_a_user_is_traced_once_and_saved(tmp_path):
    Gate.traced = 0
    x = fastnn.Input((4,))
    gate = Gate(4, name="gate")
    model = fastnn.Model(x, layers.Dense(1)(gate(gate(x))), seed=0)
    assert Gate.traced == 1 and model.count_params() == 45
    assert [weight.path.split("/")[0] for weight in gate.weights] == ["gate"] * 4
    assert same(gate.get_weights(), model.get_weights()[:4])
    chain = fastnn.Sequential([fastnn.Input((4,)), Gate(4), layers.Dense(1)], seed=0)
    chain.compile("adam", "mse")
    chain.fit(A, Y1, verbose=0)
    for each in (model, chain):
        each.save(tmp_path / "own.safetensors")
        with pytest.raises(fastnn.ModelFormatError, match="unknown layer 'Gate'"):
            fastnn.load_model(tmp_path / "own.safetensors")
        again = fastnn.load_model(tmp_path / "own.safetensors", custom_objects={"Gate": Gate})
        assert same(again.predict(A), each.predict(A))
    gate.trainable = False
    assert len(model.trainable_weights) == 2


class Nested(layers.Layer):
    """A layer that holds such a layer, a chain, and a layer that build makes."""

    def __init__(self, units=4, **options):
        super().__init__(**options)
        self.gate = Gate(units)
        self.chain = fastnn.Sequential([layers.Dense(units, "relu"), layers.BatchNormalization()])

    def build(self, input_shape):
        self.last = layers.Dense(input_shape[-1])

    def call(self, x, training=None):
        return self.last(self.chain(self.gate(x)))


def test_layers_and_models_in_a_layer_of_a_user(tmp_path):
    x = fastnn.Input((4,))
    nested = Nested(name="nested")
    model = fastnn.Model(x, layers.Dense(1)(nested(x) + x), seed=0)
    assert [weight.path.split("/")[1] for weight in nested.weights] == [nested.gate.name] * 4 + [
        nested.chain.name
    ] * 6 + [nested.last.name] * 2
    model.compile("adam", "mse")
    model.fit(A, Y1, verbose=0)
    model.save(tmp_path / "nested.safetensors")
    custom = {"Nested": Nested, "Gate": Gate}
    again = fastnn.load_model(tmp_path / "nested.safetensors", custom_objects=custom)
    assert same(again.predict(A), model.predict(A))
    gated = fastnn.Model(x, nested.gate(x))
    assert same(nested.chain.predict(gated.predict(A)), fastnn.Model(x, nested.chain(nested.gate(x))).predict(A))
    assert fastnn.models.clone_model(model).count_params() == model.count_params() == nested.count_params() + 5


def test_two_models_train_a_part_in_turn():
    judge = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(4, "relu"), layers.Dense(1, "sigmoid")], seed=0)
    judge.compile("adam", "binary_crossentropy")
    make = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(3)], seed=1)
    judge.trainable = False
    x = fastnn.Input((2,))
    both = fastnn.Model(x, judge(make(x)))
    both.compile("adam", "binary_crossentropy")
    before, ones = judge.get_weights(), np.ones(4)
    both.train_on_batch(A[:4, :2], ones)
    assert same(judge.get_weights(), before)
    judge.trainable = True
    judge.train_on_batch(B[:4], ones)
    trained = judge.get_weights()
    assert not same(trained, before)
    judge.trainable = False
    both.train_on_batch(A[:4, :2], ones)
    assert same(judge.get_weights(), trained) and same(both.get_weights()[2:], trained)
    assert np.array_equal(both.predict(A[:, :2]), judge.predict(make.predict(A[:, :2])))


def test_what_a_layer_of_a_user_cannot_do():
    x = fastnn.Input((4,), name="x")

    def call_of(function):
        return type("Own", (layers.Layer,), {"call": lambda self, x: function(x)})()

    for function, error, message in (
        (np.tanh, TypeError, r"^call of layer 'own\w*': numpy.tanh cannot compute with a symbolic tensor"),
        (
            lambda t: t if t else None,
            TypeError,
            r"^call of layer 'own\w*': a symbolic tensor is neither true nor false",
        ),
        (lambda t: [each for each in t], TypeError, r"a symbolic tensor cannot be iterated over"),
        (lambda t: 3.0, TypeError, r"must return tensors that it computes from its inputs with other layers, got 3.0"),
        (lambda t: layers.Dense(2)(t), ValueError, r"uses 'dense\w*', which is not one of its attributes"),
    ):
        with pytest.raises(error, match=message):
            call_of(function)(x)
    with pytest.raises(TypeError, match=r"compose layers in call\(self, x\)"):
        type("Own", (layers.Layer,), {})


def test_metrics_of_users_are_objects_with_three_methods():
    class Largest(metrics.Metric):
        def __init__(self, name="largest"):
            super().__init__(name=name)
            self.reset_state()

        def reset_state(self):
            self.value = 0.0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.value = max(self.value, float(np.abs(y_true - y_pred).max()))

        def result(self):
            return self.value

    model = two_by_two()
    model.compile("sgd", loss="mse", metrics=[[Largest()], [Largest(), "mae"]])
    logs = model.evaluate([A, B], [Y1, Y2], verbose=0, return_dict=True)
    assert logs["q_largest"] == pytest.approx(np.abs(model.predict([A, B])[1] - Y2).max(), rel=1e-6)
    assert list(logs) == ["loss", "p_loss", "q_loss", "p_largest", "q_largest", "q_mae"]


# Categories


def test_strings_go_through_a_lookup_into_an_embedding(tmp_path):
    code = fastnn.Input((), dtype="string", name="code")
    x = fastnn.Input((4,), name="x")
    lookup = layers.StringLookup(name="lookup")
    lookup.adapt(CODES)
    assert lookup.get_vocabulary() == ["[UNK]", "P", "S", "Lg"]
    vector = layers.Embedding(lookup.vocabulary_size(), 2, name="vectors")(lookup(code))
    hot = layers.StringLookup(vocabulary=["P", "S"], output_mode="one_hot")(code)
    model = fastnn.Model([code, x], layers.Dense(1)(layers.concatenate([vector, hot, x])), seed=0)
    model.compile("adam", "mse")
    data = {"code": CODES, "x": A}
    before = model.get_layer("vectors").embeddings.numpy()
    model.fit(data, Y1, epochs=2, verbose=0)
    after = model.get_layer("vectors").embeddings.numpy()
    assert np.array_equal(before[0], after[0]) and not np.array_equal(before[1:], after[1:])
    assert same(model.predict(data), model({"code": CODES.tolist(), "x": A}))
    assert np.isfinite(model.predict({"code": ["?"], "x": A[:1]})).all()
    model.save(tmp_path / "codes.safetensors")
    assert same(fastnn.load_model(tmp_path / "codes.safetensors").predict(data), model.predict(data))
    assert same(model.folded().predict(data), model.predict(data))
    assert len(model.hidden_activations(data)) == 3
    chain = fastnn.Sequential(
        [
            fastnn.Input((1,), dtype="string"),
            layers.StringLookup(vocabulary=["P", "S"], output_mode="one_hot"),
            layers.Dense(1),
        ]
    )
    chain.compile("sgd", "mse")
    chain.fit(CODES, Y1, verbose=0)
    assert chain.predict(CODES[:3]).shape == (3, 1)


def test_values_of_encoders():
    np.testing.assert_array_equal(layers.IntegerLookup(vocabulary=[12, 36])([[36, 12, 7]]), [[2, 1, 0]])
    np.testing.assert_array_equal(layers.IntegerLookup(vocabulary=[1], num_oov_indices=3)([7, 8, 1]), [1, 2, 3])
    masked = layers.StringLookup(vocabulary=["a"], mask_token="", output_mode="int")
    np.testing.assert_array_equal(masked(["", "a", "z"]), [0, 2, 1])
    inverse = layers.StringLookup(vocabulary=["a", "b"], invert=True)
    assert inverse([2, 1, 0]).tolist() == ["b", "a", "[UNK]"]
    # From the documentation of Keras.
    letters = [["A"], ["B"], ["C"], ["D"], ["E"]]
    assert layers.Hashing(3)(letters).ravel().tolist() == [1, 0, 1, 1, 2]
    assert layers.Hashing(3, salt=[133, 137])(letters).ravel().tolist() == [1, 2, 1, 0, 2]
    assert layers.Hashing(3, salt=133)(letters).ravel().tolist() == [0, 0, 2, 1, 0]
    assert layers.Hashing(3, mask_value="")([["A"], ["B"], [""], ["C"], ["D"]]).ravel().tolist() == [1, 1, 0, 2, 2]
    numbers = np.array([[-1.5, 1.0, 3.4, 0.5], [0.0, 3.0, 1.3, 0.0]])
    np.testing.assert_array_equal(layers.Discretization([0.0, 1.0, 2.0])(numbers), [[0, 2, 3, 1], [1, 3, 2, 1]])
    bins = layers.Discretization(num_bins=4)
    bins.adapt(numbers)
    np.testing.assert_allclose(bins.bin_boundaries, [0.0, 0.5, 1.3], rtol=1e-6)
    np.testing.assert_array_equal(
        layers.CategoryEncoding(4, "count")([[0, 1], [0, 0], [1, 2], [3, 1]]),
        [[1, 1, 0, 0], [2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]],
    )
    np.testing.assert_array_equal(layers.CategoryEncoding(3, "one_hot")([[2], [0]]), [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("text", "value"),
    # Of Google's implementation.
    [
        (2, 1427922519317286072),
        (5, 5384833349943375799),
        (12, 9194531229826259284),
        (20, 15065261471293997870),
        (40, 2168401864796137711),
        (64, 5893282057753879417),
        (65, 7778058094944459892),
        (130, 7135893960687184995),
    ],
)
def test_farm_hash(text, value):
    from fastnn.layers.hashing import farm_hash

    assert farm_hash(b"a" * text) == value


# Errors


def test_graphs_that_do_not_hold_together():
    a, b = fastnn.Input((4,), name="a"), fastnn.Input((3,), name="b")
    x = layers.Dense(2, name="x")(a)
    for make, message in (
        (lambda: fastnn.Model(a, layers.concatenate([a, b])), r"disconnected: the tensor 'b' of shape \(None, 3\)"),
        (lambda: fastnn.Model([a, b], x), r"input 'b' of shape \(None, 3\) is disconnected: no output depends on it"),
        (
            lambda: fastnn.Model(a, b),
            r"the tensor 'b' of shape \(None, 3\) is an output, but it is not among the inputs",
        ),
        (lambda: fastnn.Model(a, 3), "outputs must be symbolic tensors"),
        (lambda: layers.Add(name="sum")([x, b]), r"'sum' combines tensors .* do not fit: \(None, 2\), \(None, 3\)"),
        (lambda: layers.Dense(2, input_shape=(5,))(a), r"declares input shape \(5,\), but it is called on 'a'"),
        (lambda: layers.Dense(2)(fastnn.Input((3, 2))), "takes rows that are vectors"),
        (lambda: fastnn.Model(a, layers.Dense(1, name="x")(x)), "two layers are called 'x'"),
        (lambda: layers.Residual([layers.Dense(3)])(a), "it has 4 inputs and 3 outputs"),
        (lambda: layers.Embedding(3, 2)(x), "takes integers from an input, but"),
        (lambda: layers.Reshape((3,))(a), "which has 4 elements in a row"),
        (lambda: layers.Dense(1)(fastnn.Input((1,), dtype="string")), "use StringLookup"),
        (
            lambda: layers.Add()([fastnn.Input((2,), dtype="float64"), fastnn.Input((2,), dtype="float32")]),
            "cannot take tensors of these types",
        ),
        (lambda: fastnn.Model(a, fastnn.Sequential([layers.Dense(1)], dtype="float64")(x), dtype="float32"), "float64"),
        (lambda: fastnn.Sequential([fastnn.Input((2,)), layers.Dense(1)])(a), "takes one tensor of 2 columns"),
        (lambda: layers.Dense(2)([a, b]), "takes one tensor, got 2"),
        (lambda: a[:, 7], "out of bounds"),
        (lambda: a[1:], "selects rows"),
        (lambda: layers.Dense(1)(a, training=False), "training=False"),
    ):
        with pytest.raises((ValueError, TypeError, IndexError), match=message):
            make()
    shared = layers.Dense(2, name="shared")
    with pytest.raises(ValueError, match="'shared' is called on inputs of different sizes"):
        fastnn.Model([a, b], layers.add([shared(a), shared(b)]))


def test_a_cycle_in_a_description():
    config = two_by_two().get_config()
    first = next(layer for layer in config["layers"] if layer["config"]["name"] == "h")
    first["calls"] = [[[{"tensor": [4, 0, 0]}], {}]]
    with pytest.raises(ValueError, match="wait for each other in a cycle"):
        fastnn.Model.from_config(config)


def test_arrays_and_options_that_do_not_fit():
    model = two_by_two()
    fit = model.fit
    for call, message in (
        (lambda: fit([A], [Y1, Y2]), r"x must be a list of 2 arrays or a dict by name, .*: a, b; got 1 things"),
        (lambda: fit(A, [Y1, Y2]), r"got one ndarray of shape \(40, 4\)"),
        (lambda: fit({"a": A, "c": B}, [Y1, Y2]), "x has 'c', but no input has this name; the inputs: a, b"),
        (lambda: fit({"a": A}, [Y1, Y2]), "x lacks 'b'"),
        (lambda: fit([A, B[:3]], [Y1, Y2]), "must have the same number of rows, got 'a' 40, 'b' 3"),
        (lambda: fit([A, A], [Y1, Y2]), r"x\['b'\] has 4 features"),
        (lambda: fit([A, B], [Y1]), r"y must be a list of 2 arrays .* each output of the model: p, q; got 1"),
        (lambda: fit([A, B], {"p": Y1, "Q": Y2}), "y has 'Q', but no output has this name; the outputs: p, q. Did you"),
        (lambda: fit([A, B], [Y1, Y1]), r"y\['q'\] must have shape \(40, 2\)"),
        (lambda: fit([A, B], [Y1, Y2], class_weight={0: 1.0}), "class_weight is for a model with one output"),
        (lambda: fit([A, B], [Y1, Y2], sample_weight={"r": Y1}), "sample_weight has 'r'"),
        (lambda: model.compile("sgd", loss={"p": "mse", "r": "mse"}), "loss has 'r', but no output has this name"),
        (lambda: model.compile("sgd", loss=["mse"]), "for each output of the model, p, q"),
        (lambda: model.compile("sgd", "mse", loss_weights=[1.0]), "loss_weights must have one number for each output"),
        (lambda: model.compile("sgd", "mse", metrics=["mae"]), "a list with the metrics of each output"),
        (lambda: model.compile("sgd", "mse", metrics={"r": ["mae"]}), "metrics has 'r'"),
        (lambda: model.predict({"a": A, "bb": B}), "Did you mean 'b'"),
    ):
        before = model.get_weights()
        with pytest.raises(ValueError, match=message):
            call()
        assert same(model.get_weights(), before)
    code = fastnn.Input((2,), dtype="int32", name="code")
    lookup = fastnn.Model(code, layers.Flatten()(layers.Embedding(5, 3, name="table")(code)))
    with pytest.raises(ValueError, match=r"has 5 in row 1, column 1, where an embedding takes integers from 0 to 4"):
        lookup.predict([[0, 1], [4, 5]])
