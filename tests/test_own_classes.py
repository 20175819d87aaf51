"""Classes of users: what can work works, and an override that fastnn would never use is refused."""

import copy
import importlib
import inspect
import pickle
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import activations, callbacks, constraints, initializers, layers, losses, metrics, optimizers, regularizers

X = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
Y = X.sum(axis=1, keepdims=True)


class Full(initializers.Initializer):
    """Keras's signature, with a description."""

    def __init__(self, value=2.0):
        self.value = value

    def __call__(self, shape, dtype=None, **kwargs):
        return np.full(shape, self.value, dtype)

    def get_config(self):
        return {"value": self.value}


class Halved(initializers.HeNormal):
    def __call__(self, shape, dtype=None, **kwargs):
        return 0.5 * super().__call__(shape, dtype=dtype, **kwargs)


def ascending(shape, dtype=None):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


class TanhDense(layers.Dense):
    def __init__(self, units, activation="tanh", **options):
        super().__init__(units, activation=activation, **options)


class StrongL2(regularizers.L2):
    def __init__(self, l2=0.5):
        super().__init__(l2)


def build():
    first = TanhDense(2, kernel_initializer=Full(3.0), kernel_regularizer=StrongL2())
    block = layers.Residual([layers.Dense(2, kernel_initializer=Halved(), bias_initializer=ascending)])
    model = fastnn.Sequential([fastnn.Input((3,)), first, block], seed=3)
    model.compile("sgd", "mse")
    return model


CUSTOM = {each.__name__: each for each in (Full, Halved, ascending, TanhDense, StrongL2)}


def hook(*arguments, **options):
    """Something that would change the numbers."""
    return 0.0


@pytest.mark.parametrize(
    ("base", "name"),
    [
        *[
            (fastnn.Sequential, name)
            for name in (
                *("train_step", "test_step", "predict_step", "make_train_function", "make_test_function"),
                *("make_predict_function", "call", "__call__", "build", "compute_loss", "compute_metrics"),
                *("metrics", "get_metrics_result", "reset_metrics"),
            )
        ],
        *[(layers.Dense, name) for name in ("call", "__call__", "build", "compute_output_shape", "add_weight")],
        (layers.BatchNormalization, "call"),
        (layers.Residual, "call"),
        (layers.Normalization, "update_state"),
        (layers.StringLookup, "finalize_state"),
        (callbacks.EarlyStopping, "get_monitor_value"),
        (callbacks.ReduceLROnPlateau, "_is_improvement"),
        (callbacks.ModelCheckpoint, "_save_model"),
        *[(fastnn.MLPClassifier, name) for name in ("_backprop", "_forward_pass", "_init_coef")],
        (fastnn.MLPRegressor, "_compute_loss_grad"),
        *[(optimizers.SGD, name) for name in ("update_step", "apply_gradients", "apply", "build", "learning_rate")],
        (optimizers.Adam, "update_step"),
        (regularizers.L2, "__call__"),
        (regularizers.Regularizer, "__call__"),
        (constraints.MaxNorm, "__call__"),
        (losses.MeanSquaredError, "call"),
        (losses.MeanSquaredError, "__call__"),
        (activations.ActivationFunction, "__call__"),
    ],
)
def test_an_override_that_is_never_used_is_refused(base, name):
    message = rf"^fastnn would never use Own\.{name}: \w"
    with pytest.raises(TypeError, match=message):
        type("Own", (base,), {name: hook})
    between = type("Between", (base,), {"other": hook})
    with pytest.raises(TypeError, match=message):
        type("Own", (between,), {name: hook})
    mixin = type("Mixin", (), {name: hook})
    with pytest.raises(TypeError, match=rf"^fastnn would never use Mixin\.{name}: "):
        type("Own", (mixin, base), {})


@pytest.mark.parametrize(
    ("base", "advice"),
    [
        (fastnn.Model, "list the layers in fastnn.Sequential"),
        (layers.Layer, "may derive from a layer such as Dense"),
        (optimizers.Optimizer, "Choose one of fastnn's optimizers"),
        (constraints.Constraint, "layer.kernel.assign"),
        (losses.Loss, r"a function of \(y_true, y_pred\)"),
    ],
)
def test_a_class_of_its_own_arithmetic_is_refused_with_advice(base, advice):
    with pytest.raises(TypeError, match=f"^Own cannot derive from {base.__name__} directly: .*{advice}"):
        type("Own", (base,), {"extra": hook})


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: fastnn.Sequential([layers.Dense(1)]), "train_step"),
        (lambda: fastnn.Sequential([layers.Dense(1)]), "call"),
        (lambda: layers.Dense(1), "call"),
        (lambda: layers.Dense(1), "build"),
        (lambda: optimizers.SGD(), "update_step"),
        (lambda: losses.MeanSquaredError(), "call"),
    ],
)
def test_a_hook_cannot_be_assigned_and_is_absent_when_read(make, name):
    thing = make()
    with pytest.raises(TypeError, match=rf"^fastnn would never use \w+\.{name}: "):
        setattr(thing, name, hook)
    assert not hasattr(thing, name)
    with pytest.raises(AttributeError, match=f"^{type(thing).__name__} has no attribute '{name}': "):
        getattr(thing, name)


def test_what_can_work_works():
    model = build()
    kernel, bias, inner, ascending_bias = model.get_weights()
    assert (kernel == 3.0).all() and (bias == 0.0).all()
    np.testing.assert_array_equal(ascending_bias, [0.0, 1.0])
    assert model.layers[0].activation.name == "tanh" and model.layers[0].kernel_regularizer.l2 == 0.5
    # Random numbers of an initializer that a custom one calls come from the model's seed.
    plain = layers.Residual([layers.Dense(2, kernel_initializer="he_normal")])
    whole = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2), plain], seed=3)
    np.testing.assert_array_equal(inner, 0.5 * whole.get_weights()[2])

    class Twice(fastnn.Sequential):
        def predict(self, x, **options):
            return 2.0 * super().predict(x, **options)

    class Halving(optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.5**step

    class Largest(metrics.Metric):
        def __init__(self, name="largest"):
            super().__init__(name=name)
            self.value = self.add_weight(name="value")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.value.assign(max(float(self.value), np.abs(y_true - y_pred).max()))

        def result(self):
            return float(self.value)

    model = Twice([fastnn.Input((2,)), layers.Dense(1, kernel_initializer=Full(1.0))])
    model.compile(optimizers.SGD(Halving()), "mse", metrics=[Largest()])
    np.testing.assert_allclose(model.predict(X), 2.0 * Y, rtol=1e-6)
    assert model.evaluate(X, 2.0 * Y, verbose=0)[1] == pytest.approx(np.abs(Y).max(), rel=1e-6)
    assert model.fit(X, Y, epochs=2, verbose=0).history["loss"][0] < 1e-12


def test_own_parts_are_copied_saved_and_loaded(tmp_path):
    model = build()
    model.save(tmp_path / "m.safetensors")
    for copied in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        fastnn.load_model(tmp_path / "m.safetensors", custom_objects=CUSTOM),
        fastnn.models.model_from_json(model.to_json(), CUSTOM),
        fastnn.models.clone_model(model),
        fastnn.Sequential.from_config(model.get_config(), {"TanhDense": TanhDense}),
    ):
        first, block = copied.layers
        assert type(first) is TanhDense and first.kernel_initializer.value == 3.0
        assert type(first.kernel_regularizer) is StrongL2
        assert type(block.layers[0].kernel_initializer) is Halved
        assert block.layers[0].bias_initializer is ascending


@pytest.mark.parametrize(
    ("initializer", "message"),
    [
        (lambda shape, dtype=None: np.zeros(2), r"<lambda> must return the shape of the weight, \(3, 1\), got \(2,\)"),
        (lambda shape, dtype=None: np.full(shape, np.nan), "<lambda> has nan at row 0, column 0"),
        (lambda shape, dtype=None: np.full(shape, "a"), "<lambda> must be real numbers"),
        (lambda shape, dtype=None: np.full(shape, 1e300), "too large for float32"),
    ],
)
def test_what_an_initializer_returns_is_checked(initializer, message):
    with pytest.raises(ValueError, match=f"initializer {message}" if "<" in message else message):
        fastnn.Sequential([fastnn.Input((3,)), layers.Dense(1, kernel_initializer=initializer)])


def test_an_unknown_argument_names_the_function_the_nearest_and_all():
    model = fastnn.Sequential([layers.Dense(1)])
    for call, message in (
        (lambda: layers.Dense(1, activaton="relu"), r"^Dense\(\) got .* 'activaton'. Did you mean 'activation'\? Its"),
        (lambda: layers.LeakyReLU(alpha=0.1), r"^LeakyReLU\(\) got .* 'alpha'. Did you mean 'negative_slope'\?"),
        (lambda: TanhDense(1, trainabel=True), r"^TanhDense\(\) got .* Did you mean 'trainable'\?"),
        (lambda: layers.Rescaling(1.0, mean=3.0), r"^Rescaling\(\) got .* 'mean'"),
        (lambda: fastnn.Input(shpe=(3,)), r"^Input\(\) got .* Did you mean 'shape'\? Its arguments: shape, batch_size"),
        (
            lambda: fastnn.Sequential([], sed=0),
            r"^Sequential\(\) got .* 'seed'\? Its arguments: layers, seed, dtype, name",
        ),
        (
            lambda: model.fit(X, Y, epoch=3),
            r"^Sequential\.fit\(\) got .* 'epoch'. Did you mean 'epochs'\? Its arguments: x, y",
        ),
        (lambda: model.compile(optimiser="adam"), r"^Sequential\.compile\(\) got .* Did you mean 'optimizer'\?"),
        (lambda: model.predict(X, batchsize=3), r"^Sequential\.predict\(\) got .* Did you mean 'batch_size'\?"),
        (lambda: losses.Huber(dleta=1.0), r"^Huber\(\) got .* Did you mean 'delta'\?"),
        (lambda: metrics.AUC(num_treshold=3), r"^AUC\(\) got .* Did you mean 'num_thresholds'\?"),
        (lambda: fastnn.callbacks.EarlyStopping(patiance=1), r"^EarlyStopping\(\) got .* Did you mean 'patience'\?"),
        (
            lambda: optimizers.schedules.CosineDecay(0.1, steps=3),
            r"^CosineDecay\(\) got .* Did you mean 'decay_steps'\?",
        ),
        (lambda: initializers.HeNormal(sed=1), r"^HeNormal\(\) got .* Did you mean 'seed'\?"),
        (lambda: fastnn.MLPClassifier(activaton="relu"), r"^MLPClassifier\(\) got .* Did you mean 'activation'\?"),
        (lambda: fastnn.BaggedMLPRegressor(n_bag=3), r"^BaggedMLPRegressor\(\) got .* Did you mean 'n_bags'\?"),
        (
            lambda: fastnn.MLPRegressor().fit(X, Y, sampleweight=None),
            r"^MLPRegressor\.fit\(\) got .* Did you mean 'sample_weight'\?",
        ),
        (lambda: model.export_c("net.c", functio="f"), r"^Sequential\.export_c\(\) got .* Did you mean 'function'\?"),
        (lambda: fastnn.predict_many([], X, batchsize=1), r"^predict_many\(\) got .* Did you mean 'batch_size'\?"),
        (lambda: fastnn.diagnose(model, X, validation=X), r"^diagnose\(\) got .* Did you mean 'validation_data'\?"),
        (lambda: fastnn.loss_landscape(model, X, Y, direction=1), r"^loss_landscape\(\) got .* mean 'directions'\?"),
        (lambda: fastnn.load_torch("m.pt", activation=["relu"]), r"^load_torch\(\) got .* mean 'activations'\?"),
        (lambda: fastnn.load_keras("m.keras", modle=None), r"^load_keras\(\) got .* Did you mean 'model'\?"),
        (lambda: fastnn.load_onnx(pth="m.onnx"), r"^load_onnx\(\) got .* Did you mean 'path'\?"),
        (lambda: fastnn.load_model(filepth="x"), r"^load_model\(\) got .* Did you mean 'filepath'\?"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    assert list(inspect.signature(layers.Dense).parameters)[:2] == ["units", "activation"]
    assert list(inspect.signature(model.fit).parameters)[:3] == ["x", "y", "batch_size"]


def test_one_output_has_one_loss_and_abbreviations_are_names():
    model = fastnn.Sequential([layers.Dense(1)])
    for loss in ({"out": "mse"}, ["mse", "mae"], []):
        with pytest.raises(TypeError, match="one output and one loss"):
            model.compile("sgd", loss)
    for given in ({"out": "mae"}, [["mae"], ["mse"]]):
        with pytest.raises(TypeError, match="a network has one output: give a list of metrics"):
            model.compile("sgd", "mse", metrics=given)
    for loss, near in (("mze", "mse"), ("maee", "mae"), ("bec", "bce"), ("mean_squared_eror", "mean_squared_error")):
        with pytest.raises(ValueError, match=f"unknown loss '{loss}'. Did you mean '{near}'"):
            model.compile("sgd", loss)
    for metric, near in (("mze", "mse"), ("accc", "acc"), ("acuracy", "accuracy")):
        with pytest.raises(ValueError, match=f"unknown metric '{metric}'. Did you mean '{near}'"):
            model.compile("sgd", "mse", metrics=[metric])
    for given in (layers.Dense(3), "Dense", 3, layers.Dense):
        with pytest.raises(TypeError, match="layers must be a list of layers"):
            fastnn.Sequential(given, layers.Dense(1))


@pytest.mark.parametrize(
    ("cls", "name", "advice"),
    [
        (fastnn.Sequential, "train_step", "custom loss function"),
        (layers.Dense, "call", "use an activation, another layer"),
        (layers.Layer, "build", "pass an initializer"),
        (layers.Residual, "call", "use an activation, another layer"),
        (optimizers.SGD, "update_step", "set its options"),
        (losses.MeanSquaredError, "call", "Pass compile a function"),
        (regularizers.L2, "__call__", "pass l1 and l2"),
        (TanhDense, "call", "use an activation, another layer"),
        (StrongL2, "__call__", "pass l1 and l2"),
    ],
)
def test_hooks_that_are_assigned_to_a_class_later_are_refused(cls, name, advice, monkeypatch):
    model = build()
    monkeypatch.setattr(cls, name, hook, raising=False)
    with pytest.raises(TypeError, match=f"fastnn would never use {cls.__name__}.{name}: .*{advice}"):
        model.compile("sgd", "mse")
    monkeypatch.undo()
    model.compile("sgd", "mse")


def test_a_misspelled_hook_of_a_callback_draws_a_warning():
    for name, near in (("on_train_batch_ends", "on_train_batch_end"), ("on_epochs_end", "on_epoch_end")):
        with pytest.warns(UserWarning, match=rf"^Own\.{name} is not a hook, .* Did you mean '{near}'\?"):
            type("Own", (callbacks.Callback,), {name: hook})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        type("Own", (callbacks.Callback,), {"on_improvement": hook, "on_epoch_end": hook, "after_each_step": hook})


PUBLIC_MODULES = (
    *("", ".data", ".datasets", ".diagnosis", ".diagram", ".distributed", ".estimators", ".interchange", ".landscape"),
    *(".layers", ".losses", ".many", ".metrics", ".model_selection", ".models", ".optimizers", ".optimizers.schedules"),
    *(".plotting", ".saving", ".tabular", ".utils", ".callbacks", ".initializers", ".constraints", ".regularizers"),
)
MADE_BY_FASTNN = {  # records, and classes that only fastnn makes
    *("Box", "CallbackList", "Column", "Dataset", "Diagnosis", "DivergenceError", "Finding", "KerasTensor"),
    *("LossFunction", "LossLandscape", "ManyFits", "ParameterSpec", "Source", "WeightAccess"),
}
PASS_ON = {"MeanMetricWrapper", "automatic_name", "fit_many", "get"}  # options of a user's function, or of fit


def takes_arguments(made):
    try:
        parameters = inspect.signature(made).parameters.values()
    except ValueError:
        return False
    return callable(made) and any(each.kind is not each.VAR_POSITIONAL for each in parameters)


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_public_function_and_class_answers_an_unknown_argument(module):
    pytest.importorskip("sklearn"), pytest.importorskip("matplotlib")
    owner = importlib.import_module(f"fastnn{module}")
    for name in owner.__all__:
        made = getattr(owner, name)
        if inspect.ismodule(made) or name in PASS_ON or name in MADE_BY_FASTNN or not takes_arguments(made):
            continue
        needed = [
            None
            for each in inspect.signature(made).parameters.values()
            if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        with pytest.raises(TypeError) as raised:
            made(*needed, unknown_argument=1)
        answers = ("Its arguments: ", "has no hook 'unknown_argument'", "has no option", "cannot derive")
        assert any(each in str(raised.value) for each in answers), f"{name}: {raised.value}"
