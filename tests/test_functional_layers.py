"""Layers of users, layers that encode categories, and the errors of graphs."""

import numpy as np
import pytest
from graph_models import CODES, same, two_by_two
from keras_graph_cases import Y1, Y2, A, B

import fastnn
import fastnn.diagram
from fastnn import layers, metrics

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
    with pytest.raises(ValueError, match=r"input 'code' has 5 in row 1, column 1"):
        lookup(np.array([[0, 1], [4, 5]]))
    columns = fastnn.Model(code, layers.Dense(1)(layers.Embedding(5, 3)(code[:, 1])))
    columns.compile("sgd", "mse")
    for call in (columns.predict, lambda x: columns.fit(x, [0.0, 1.0], verbose=0)):
        with pytest.raises(ValueError, match=r"input 'code' has 5 in row 1, column 1, .* from 0 to 4"):
            call(np.array([[9, 1], [4, 5]]))


def test_a_model_may_do_nothing_but_encode():
    words = np.array([["a", "b"], ["c", "a"]])
    x = fastnn.Input((2,), dtype="string")
    model = fastnn.Model(x, layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")(x))
    np.testing.assert_array_equal(model.predict(words, verbose=0), [[0, 1, 1], [1, 1, 0]])
    depth = fastnn.Input((), name="depth")
    bins = fastnn.Model(depth, layers.Discretization(bin_boundaries=[0.0, 1.0])(depth))
    np.testing.assert_array_equal(bins.predict([-1.0, 0.5, 2.0], verbose=0), [0, 1, 2])


def test_an_encoder_alone_takes_a_vector_as_one_row():
    encode = layers.CategoryEncoding(num_tokens=4, output_mode="count")
    np.testing.assert_array_equal(encode(np.array([1, 3, 1])), [0, 2, 0, 1])
    np.testing.assert_array_equal(encode(np.array([[1, 3, 1]])), [[0, 2, 0, 1]])
    code = fastnn.Input((), dtype="int32")
    model = fastnn.Model(code, encode(code))
    np.testing.assert_array_equal(model.predict(np.array([1, 3]), verbose=0), [[0, 1, 0, 0], [0, 0, 0, 1]])
