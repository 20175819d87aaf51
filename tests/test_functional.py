"""Models as graphs: symbolic tensors, structures of data, shared weights, files."""

import copy
import pickle
from xml.etree import ElementTree

import numpy as np
import pytest
from graph_models import built, same, two_by_two
from keras_graph_cases import CASES, Y1, Y2, A, B

import fastnn
import fastnn.diagram
from fastnn import layers

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


def layer_in_a_model_and_beside_it():
    layer = layers.Dense(4, activation="tanh", name="shared")
    inner = fastnn.Sequential([fastnn.Input((4,)), layer, layers.Dense(4, name="on_top")], name="inner")
    x = fastnn.Input((4,), name="x")
    return fastnn.Model(x, layers.Dense(1, name="end")(layers.add([inner(x), layer(x)])), seed=0)


def layer_in_two_models():
    u = fastnn.Input((4,), name="u")
    h = layers.Dense(4, name="shared")(u)
    first, second = fastnn.Model(u, layers.Dense(4, name="on_top")(h), name="i"), fastnn.Model(u, h, name="j")
    x = fastnn.Input((4,), name="x")
    return fastnn.Model(x, layers.Dense(1, name="end")(layers.add([first(x), second(x)])), seed=0)


def model_in_a_model_and_beside_it():
    lower = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(4, name="shared")], name="lower")
    inner = fastnn.Sequential([lower, layers.Dense(4, name="on_top")], name="inner")
    x = fastnn.Input((4,), name="x")
    return fastnn.Model(x, layers.Dense(1, name="end")(layers.add([inner(x), lower(x)])), seed=0)


def layer_in_a_block_and_before_it():
    layer = layers.Dense(4, name="shared")
    x = fastnn.Input((4,), name="x")
    return fastnn.Model(x, layers.Dense(1, name="end")(layers.Residual([layer])(layer(x))), seed=0)


@pytest.mark.parametrize(
    "build",
    [
        layer_in_a_model_and_beside_it,
        layer_in_two_models,
        model_in_a_model_and_beside_it,
        layer_in_a_block_and_before_it,
    ],
)
def test_what_nested_models_share_is_shared_in_every_copy(build, tmp_path):
    model = build()
    model.compile("adam", "mse")
    model.fit(A, Y1, epochs=2, batch_size=16, verbose=0)
    n_weights = len(model.weights)
    model.save(tmp_path / "model.safetensors")
    for loaded in (
        fastnn.load_model(tmp_path / "model.safetensors"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert len(loaded.weights) == n_weights and same(loaded.get_weights(), model.get_weights())
        loaded.fit(A, Y1, epochs=1, batch_size=16, verbose=0)
        again = copy.deepcopy(model)
        again.fit(A, Y1, epochs=1, batch_size=16, verbose=0)
        assert same(loaded.get_weights(), again.get_weights())
    for made in (
        fastnn.Model.from_config(model.get_config()),
        fastnn.models.model_from_json(model.to_json()),
        fastnn.models.clone_model(model),
    ):
        assert [weight.shape for weight in made.weights] == [weight.shape for weight in model.weights]
        made.set_weights(model.get_weights())
        assert same([made.predict(A, verbose=0)], [model.predict(A, verbose=0)])


def test_layers_that_are_not_shared_have_no_number_in_their_descriptions():
    assert "shared_object_id" not in two_by_two().to_json()


def test_operators_that_the_core_does_not_have_are_refused():
    x = fastnn.Input((3,), name="x")
    for call in (lambda: x**2, lambda: 2**x, lambda: x @ x, lambda: abs(x), lambda: x % 2, lambda: x // 2):
        with pytest.raises(TypeError, match=r"operators \+ - \* / alone; a square is x \* x: the tensor 'x'"):
            call()
    model = fastnn.Model(x, -layers.Dense(2, name="d")(x), seed=0)
    assert model.output_names[0].startswith("negative")
    with pytest.raises(ValueError, match="index must be below 2, the number of layers, got 2"):
        model.get_layer(index=2)
    assert model.get_layer(index=-1) is model.get_layer("d")
