"""Options that a network or ``compile`` has read: a change that would have no effect is refused."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import constraints, layers, losses, optimizers, regularizers

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def a_model(optimizer="sgd", loss="mse", build=True):
    stack = [
        layers.Dense(4, "tanh", kernel_regularizer=regularizers.L2(0.1), kernel_constraint=constraints.MaxNorm(2.0)),
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.Residual([layers.Dense(4)]),
        layers.NTPDense(1),
    ]
    model = fastnn.Sequential([fastnn.Input((3,)), *stack] if build else stack, seed=0, name="net")
    model.compile(optimizer, loss)
    return model


OF_LAYERS = [
    (0, "units", 9),
    (0, "activation", "relu"),
    (0, "use_bias", False),
    (0, "kernel_regularizer", None),
    (0, "activity_regularizer", regularizers.L1(1.0)),
    (0, "kernel_constraint", None),
    (0, "kernel_initializer", "zeros"),
    (0, "learning_rate_factors", 2.0),
    (1, "momentum", 0.5),
    (1, "epsilon", 1.0),
    (2, "rate", 0.9),
    (4, "units", 2),
]


@pytest.mark.parametrize("place, name, value", OF_LAYERS)
def test_options_of_layers_are_fixed_by_the_network(place, name, value):
    model = a_model()
    layer = model.layers[place]
    before = getattr(layer, name)
    with pytest.raises(AttributeError, match=rf"^{name} of .* the network of model 'net' was made with it"):
        setattr(layer, name, value)
    assert getattr(layer, name) is before
    # Before there is a network, and after the layer has left the model, a change has its effect.
    setattr(a_model(build=False).layers[place], name, value)
    while layer in model.layers:
        model.pop()
    setattr(layer, name, value)


def test_a_change_before_the_network_is_made_is_followed():
    model = a_model(build=False)
    model.layers[0].units = 7
    model.layers[3].inner_layers()[0].units = 7
    model.optimizer.momentum = 0.5
    model.fit(X, Y, verbose=0)
    assert model.layers[0].kernel.shape == (3, 7)
    expected = a_model(optimizers.SGD(momentum=0.5), build=False)
    expected.layers[0].units = expected.layers[3].inner_layers()[0].units = 7
    expected.fit(X, Y, verbose=0)
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_descriptions_in_layers_are_fixed_with_them():
    layer = a_model().layers[0]
    for owner, name in ((layer.kernel_regularizer, "l2"), (layer.kernel_constraint, "max_value")):
        with pytest.raises(AttributeError, match=rf"^{name} of .* was made with it"):
            setattr(owner, name, 5.0)
    inner = a_model().layers[3].inner_layers()[0]
    with pytest.raises(AttributeError, match=r"^units of Dense"):
        inner.units = 3


@pytest.mark.parametrize(
    "name, value", [("momentum", 0.5), ("nesterov", True), ("weight_decay", 0.1), ("clipnorm", 1.0)]
)
def test_options_of_optimizers_are_fixed_by_compile(name, value):
    model = a_model(optimizers.SGD(0.1))
    with pytest.raises(
        AttributeError, match=rf"^{name} of SGD 'SGD' cannot be changed: compile has read it. Give comp"
    ):
        setattr(model.optimizer, name, value)
    model.optimizer.learning_rate = 0.2
    other = copy.deepcopy(model.optimizer)
    setattr(other, name, value)  # a copy has not been read
    model.compile(other, "mse")
    assert model.optimizer.get_config()[name] == value


def test_options_of_losses_are_fixed_by_compile():
    loss = losses.Huber(1.0)
    loss.delta = 2.0
    model = a_model(loss=loss)
    with pytest.raises(AttributeError, match=r"^delta of Huber 'huber_loss' cannot be changed: compile has read it"):
        model.loss.delta = 0.5
    assert model.loss.delta == 2.0
    graph_loss = losses.Huber(1.0)
    x = fastnn.Input((3,))
    graph = fastnn.Model(x, [layers.Dense(1)(x), layers.Dense(1)(x)], seed=0)
    graph.compile("sgd", [graph_loss, "mse"])
    with pytest.raises(AttributeError, match=r"^reduction of Huber"):
        graph_loss.reduction = "sum"


def test_full_batch_optimizers_follow_changes_between_fits():
    model = fastnn.Sequential([layers.Dense(4, "tanh"), layers.Dense(1)], seed=0)
    model.compile("lm", "mse")
    model.fit(X, Y, verbose=0)
    model.optimizer.damping = 7.0
    model.optimizer.min_gradient = 1e9  # no step is needed any longer
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "name, value", [("loss", "mae"), ("metrics", ["mae"]), ("loss_weights", [2.0]), ("dtype", "float64")]
)
@pytest.mark.parametrize("graph", [False, True])
def test_what_compile_sets_cannot_be_assigned(graph, name, value):
    x = fastnn.Input((3,))
    model = fastnn.Model(x, layers.Dense(1)(x)) if graph else a_model()
    model.compile("sgd", "mse")
    before = getattr(model, name)
    with pytest.raises(AttributeError, match=rf"^{name} of <.*> cannot be assigned: "):
        setattr(model, name, value)
    assert getattr(model, name) is before
    model.fit(X, Y, verbose=0)


def test_an_assigned_optimizer_needs_compile():
    model = a_model()
    model.optimizer = optimizers.Adam()
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(RuntimeError, match=r"model\.optimizer was assigned: call model.compile"):
            call(X, Y)
    model.compile(model.optimizer, "mse")
    model.fit(X, Y, verbose=0)


def test_a_layer_has_a_name_or_a_number():
    model = a_model()
    assert model.get_layer(index=0) is model.layers[0] is model.get_layer(model.layers[0].name)
    for options in ({}, {"name": model.layers[1].name, "index": 0}):
        with pytest.raises(ValueError, match="get_layer takes a name or an index, got name="):
            model.get_layer(**options)


def test_layers_of_a_users_class_are_fixed_too():
    class Tower(layers.Layer):
        def __init__(self, units, **options):
            super().__init__(**options)
            self.units, self.dense, self.calls = units, layers.Dense(units), 0

        def call(self, x):
            return self.dense(x)

    x = fastnn.Input((3,))
    tower = Tower(4, name="tower")
    tower.units = 5
    fastnn.Model(x, tower(x))
    tower.calls += 1
    with pytest.raises(AttributeError, match=r"^units of Tower 'tower' cannot be changed: the network of model"):
        tower.units = 6


def test_a_name_that_is_almost_an_attribute_draws_a_warning():
    model = a_model()
    for part, name, meant in (
        (model.layers[0], "trainble", "trainable"),
        (model.optimizer, "momentun", "momentum"),
        (model, "stop_trainng", "stop_training"),
    ):
        with pytest.warns(UserWarning, match=f"has no attribute '{name}'.*Did you mean '{meant}'"):
            setattr(part, name, False)


def test_other_names_and_classes_of_the_user_take_attributes(recwarn):
    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.layer_names = ["a"]

        def call(self, x):
            return x

    model = a_model()
    model.note, model.layers[0].tag, model.optimizer.remark, Own().scopes = "a", "b", "c", "d"
    assert not recwarn.list


def test_weights_are_excluded_from_weight_decay_before_the_model_is_compiled():
    model = a_model(optimizers.AdamW())
    with pytest.raises(AttributeError, match="cannot be excluded"):
        model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(TypeError, match=r"var_list must be a list of weights, such as layer.bias, got 'bias'"):
        optimizers.AdamW().exclude_from_weight_decay(var_list=["bias"])


def test_a_learning_rate_is_a_number_that_can_be_assigned():
    optimizer = optimizers.SGD(0.5)
    rate = optimizer.learning_rate
    assert rate == 0.5 and isinstance(rate, float) and type(copy.deepcopy(rate)) is float and repr(rate) == "0.5"
    assert rate.assign(0.25) == optimizer.learning_rate.numpy() == optimizer.learning_rate.value == 0.25
    with pytest.raises(ValueError, match="learning_rate must be a finite number of at least 0, got -1"):
        rate.assign(-1)
    follows = optimizers.SGD(optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0))
    with pytest.raises(TypeError, match="cannot be assigned"):
        follows.learning_rate.assign(0.1)
    assert follows.learning_rate == 0.1 and optimizer.learning_rate == 0.25


def test_names_of_optimizers_are_taken_in_any_case():
    assert type(optimizers.get("ADAM")) is optimizers.Adam and type(optimizers.get("rmsProp")) is optimizers.RMSprop
