"""What a model says about its inside: the outputs of hidden layers, and penalties on weights."""

import numpy as np
import pytest
from same_bits import same_arrays

import fastnn
from fastnn import layers, regularizers

X = np.random.default_rng(0).normal(size=(40, 3))


def deep_model():
    stack = [
        layers.Normalization(),
        layers.Dense(4),
        layers.Activation("tanh"),
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.Residual([layers.Dense(4, activation="gelu")]),
        layers.Identity(),
        layers.Dense(2, activation="softmax"),
    ]
    model = fastnn.Sequential(stack, seed=0)
    model.compile("adam", "mse")
    model.fit(X, X[:, :2], epochs=2, verbose=0)
    return model


def test_hidden_activations_are_those_of_the_shorter_models():
    model = deep_model()
    hidden = model.hidden_activations(X)
    assert [each.shape for each in hidden] == [(40, 3)] + 6 * [(40, 4)]
    assert all(each.dtype == np.float32 for each in hidden)
    rest = fastnn.models.clone_model(model)
    rest.set_weights(model.get_weights())
    for outputs in reversed(hidden):
        rest.pop()
        assert np.array_equal(rest.predict(X), outputs)
    assert np.array_equal(hidden[3], hidden[4]) and np.array_equal(hidden[5], hidden[6])


def test_hidden_activations_of_images_and_of_missing_values():
    images = np.arange(24.0).reshape(2, 3, 4)
    model = fastnn.Sequential([fastnn.Input((3, 4)), layers.Flatten(), layers.Dense(1)])
    assert np.array_equal(model.hidden_activations(images)[0], images.reshape(2, 12))
    holes = np.array([[1.0, np.nan, 3.0], [2.0, 5.0, 4.0]])
    filling = layers.Normalization(missing="mean")
    filling.adapt(holes)
    model = fastnn.Sequential([filling, layers.Dense(2)])
    assert model.hidden_activations(holes)[0][0, 1] == 0.0
    with pytest.raises(ValueError, match="x has 2 features"):
        model.hidden_activations(holes[:, :2])


def test_symbolic_tensors_of_a_chain_are_those_of_its_layers():
    model = deep_model()
    assert model.inputs == [model.layers[0].input] and model.outputs == [model.layers[-1].output]
    assert model.layers[1].input is model.layers[0].output
    part = fastnn.Model(model.inputs, model.layers[1].output)
    X = np.linspace(-1.0, 1.0, 4 * model.n_features).reshape(4, -1)
    np.testing.assert_array_equal(part.predict(X), model.hidden_activations(X)[1])
    with pytest.raises(AttributeError, match="has not been called on a tensor, so that output is not one tensor"):
        _ = layers.Dense(2).output


def test_losses_are_the_penalties_on_trained_weights_in_the_order_of_the_layers():
    frozen = layers.Dense(2, kernel_regularizer="l2", trainable=False)
    stack = [
        layers.Dense(2, kernel_regularizer=regularizers.L1(0.5), bias_regularizer=regularizers.L2(2.0)),
        layers.Dropout(0.5),
        layers.Residual([layers.Dense(2, kernel_regularizer=regularizers.L1L2(0.25, 0.5))]),
        frozen,
        layers.BatchNormalization(gamma_regularizer=regularizers.L1(3.0)),
        layers.Dense(1, activity_regularizer="l2"),
    ]
    model = fastnn.Sequential(stack)
    assert model.losses == []
    model.build((None, 2))
    model.set_weights([np.full(weight.shape, -2.0) for weight in model.weights])
    # 0.5 * 4 * 2, 2 * 2 * 4, (0.25 * 2 + 0.5 * 4) * 4, 3 * 2 * 2
    assert model.losses == [4.0, 16.0, 10.0, 12.0]
    model.compile("sgd", "mse")
    assert model.network.penalty == pytest.approx(sum(model.losses))
    assert model.layers[0].losses == [4.0, 16.0] and frozen.losses == []
    frozen.trainable = True
    assert model.losses[3] == pytest.approx(0.01 * 4 * 4)
    assert same_arrays(model.layers[1].get_weights(), []) and model.layers[1].losses == []


def table_of(model, **options):
    lines = []
    model.summary(print_fn=lines.append, **options)
    (table,) = lines
    return table.splitlines()


def three_layers():
    first = layers.Dense(3, name="a_layer_with_a_long_name")
    return fastnn.Sequential(
        [fastnn.Input((4,)), first, layers.Dense(2, trainable=False, name="d"), layers.Dropout(0.2, name="drop")],
        name="net",
    )


def test_a_summary_has_the_length_of_its_lines():
    for length in (24, 36, 50, 100):
        lines = table_of(three_layers(), line_length=length)
        assert max(map(len, lines)) == len(lines[1]) == length
        assert lines[2].startswith("Layer") and "Total params: 23" in lines
    # Cells that do not fit go on in the next line.
    assert table_of(three_layers(), line_length=36)[5:8] == [
        "a_layer_wit  (None, 3)            15",
        "h_a_long_na",
        "me (Dense)",
    ]
    assert table_of(three_layers(), line_length=57) == table_of(three_layers())


def test_positions_of_a_summary_are_fractions_or_characters():
    by_fractions = table_of(three_layers(), line_length=60, positions=[0.3, 0.7, 1.0])
    assert by_fractions == table_of(three_layers(), line_length=60, positions=[18, 42, 60])
    assert by_fractions[2].index("Output Shape") == 18 and len(by_fractions[2]) == 60
    trained = table_of(three_layers(), line_length=120, positions=[0.3, 0.7, 1.0], show_trainable=True)
    assert (trained[2].index("Output Shape"), trained[2].index("Trainable")) == (32, 108)


def test_a_summary_shows_what_is_trained():
    rows = [line.split() for line in table_of(three_layers(), show_trainable=True)]
    assert [row[-1] for row in rows[2:3] + rows[4:7]] == ["Trainable", "Y", "N", "-"]
    x = fastnn.Input((3,), name="x")
    shared = layers.Dense(3, name="shared")
    rows = [line.split() for line in table_of(fastnn.Model(x, shared(shared(x))), show_trainable=True)]
    assert rows[2][-3:] == ["Connected", "to", "Trainable"] and [row[-1] for row in rows[4:6]] == ["-", "Y"]
    unbuilt = fastnn.Sequential([layers.Dense(3)])
    assert table_of(unbuilt, show_trainable=True)[4].endswith("-")


@pytest.mark.parametrize(
    "names, shown",
    [
        (["d", "drop"], ["d", "drop"]),
        (["drop", "d$"], ["d", "drop"]),
        (["a_", "d$"], ["a_layer_with_a_long_name", "d"]),
        (("d$", "d"), ["d", "drop"]),
    ],
)
def test_a_summary_shows_a_range_of_layers(names, shown):
    found = [line.split()[0] for line in table_of(three_layers(), layer_range=names)[4 : 4 + len(shown) + 1]]
    assert found[:-1] == shown and set(found[-1]) == {"="}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"line_length": 5}, "line_length must be a whole number of at least 12, got 5"),
        ({"positions": [0.1, 0.2]}, "positions must be 3 numbers, one for each column, got"),
        ({"positions": [0.5, 0.4, 1.0]}, "are too narrow, each needs at least 4"),
        ({"positions": 3}, "positions must be a list of numbers, got 3"),
        ({"layer_range": ["d", "e"]}, "layer_range: no layer has a name that matches 'e'. The layers: a_layer_with"),
        ({"layer_range": "d"}, "layer_range must be a list of two names of layers, got 'd'"),
        ({"show_trainable": 2}, "show_trainable must be True or False, got 2"),
        ({"expand_nested": "y"}, "expand_nested must be True or False, got 'y'"),
    ],
)
def test_wrong_options_of_a_summary(options, message):
    with pytest.raises(ValueError, match=message):
        three_layers().summary(**options)


def test_a_function_that_prints_can_be_called():
    with pytest.raises(TypeError, match="print_fn must be a function that takes the table, got 'x'"):
        three_layers().summary(print_fn="x")
