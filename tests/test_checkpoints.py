"""Checkpoints, resumed fits, the CSV log, and learning rates changed by a batch callback."""

import csv
import json
import os
import warnings

import numpy as np
import pytest
from mutated_files import put_together, taken_apart
from same_bits import same_arrays, same_weights
from sample_models import dropout_model, halved_square

import fastnn
from fastnn import callbacks, layers

RNG = np.random.default_rng(1)
X = RNG.normal(size=(150, 3))
Y = X.sum(axis=1) + 0.2 * RNG.normal(size=150)


class KilledError(Exception):
    """Stands for the end of the process."""


class Kill(callbacks.Callback):
    def __init__(self, epoch=None):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KilledError


def watchers(folder, kill=None):
    return [
        callbacks.EarlyStopping("val_loss", patience=4, restore_best_weights=True),
        callbacks.ReduceLROnPlateau(patience=1, factor=0.5, min_delta=0.05),
        callbacks.BackupAndRestore(folder),
        Kill(kill),
    ]


@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_a_killed_and_resumed_fit_gives_the_same_bits(tmp_path, cut):
    whole = dropout_model(seed=11)
    expected = whole.fit(X, Y, epochs=8, validation_split=0.2, verbose=0, callbacks=watchers(tmp_path / "a"))
    killed = dropout_model(seed=11)
    with pytest.raises(KilledError):
        killed.fit(X, Y, epochs=8, validation_split=0.2, verbose=0, callbacks=watchers(tmp_path / "b", cut))
    assert os.path.exists(tmp_path / "b") == (cut > 0)
    resumed = dropout_model(seed=None if cut else 11)
    history = resumed.fit(X, Y, epochs=8, validation_split=0.2, verbose=0, callbacks=watchers(tmp_path / "b"))
    assert history.history == expected.history and history.epoch == expected.epoch
    assert same_weights(whole, resumed)
    assert resumed.optimizer.learning_rate == whole.optimizer.learning_rate
    assert not (tmp_path / "b").exists()
    for model in (whole, resumed):
        model.fit(X, Y, epochs=1, verbose=0)
    assert same_weights(whole, resumed)


def test_a_fit_that_follows_a_schedule_is_resumed(tmp_path):
    def scheduled():
        return dropout_model(
            seed=11, optimizer=fastnn.optimizers.SGD(fastnn.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5))
        )

    whole, killed, resumed = scheduled(), scheduled(), scheduled()
    whole.fit(X, Y, epochs=4, verbose=0)
    for model, cut in ((killed, 2), (resumed, None)):
        watch = [callbacks.BackupAndRestore(tmp_path / "b"), Kill(cut)]
        if cut is None:
            model.fit(X, Y, epochs=4, verbose=0, callbacks=watch)
        else:
            with pytest.raises(KilledError):
                model.fit(X, Y, epochs=4, verbose=0, callbacks=watch)
    assert same_weights(whole, resumed)
    assert resumed.optimizer.learning_rate == whole.optimizer.learning_rate


def test_a_backup_of_another_fit_is_refused(tmp_path):
    with pytest.raises(KilledError):
        dropout_model().fit(X, Y, epochs=3, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path), Kill(1)])
    dense, dropout, last = layers.Dense(8, activation="relu"), layers.Dropout(0.1), layers.Dense(1)
    input_layer = fastnn.Input((3,))
    different = "the model differs from the one that was saved: "
    cases = [
        ([input_layer, last], "adam", f"{different}its number of layers is 1, that of the saved one 3"),
        (
            [input_layer, layers.Dense(9, activation="relu"), dropout, last],
            "adam",
            f"{different}its layers[0] (Dense) has units=9, the saved one 8",
        ),
        (
            [input_layer, layers.Dense(8, activation="tanh"), dropout, last],
            "adam",
            f"{different}its layers[0] (Dense) has activation='tanh', the saved one 'relu'",
        ),
        (
            [input_layer, dense, layers.GaussianNoise(0.1), last],
            "adam",
            f"{different}its layers[1] is a GaussianNoise, that of the saved one a Dropout",
        ),
        ([input_layer, dense, dropout, last], "sgd", "the saved fit had the optimizer Adam; this one has SGD"),
    ]
    for stack, optimizer, change in cases:
        model = fastnn.Sequential([type(layer).from_config(layer.get_config()) for layer in stack], seed=0)
        model.compile(optimizer, "mse")
        before = model.get_weights()
        with pytest.raises(fastnn.ModelFormatError) as raised:
            model.fit(X, Y, epochs=3, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path), Kill()])
        assert str(raised.value) == (
            f"cannot resume from the backup in {str(tmp_path)!r}: {change}. Fit the model that was saved, give another "
            "backup_dir, or delete this one to start over"
        )
        assert same_arrays(before, model.get_weights())
    with pytest.raises(
        fastnn.ModelFormatError, match=r"had the callbacks \['Kill', 'History'\]; this one has \['History'\]"
    ):
        dropout_model().fit(X, Y, epochs=3, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path)])
    model = dropout_model(seed=2)
    before = model.get_weights()
    path = tmp_path / "backup.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(fastnn.ModelFormatError):
        model.fit(X, Y, epochs=3, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path), Kill()])
    assert same_arrays(before, model.get_weights())


def state_of(model, watch):
    """Return all that a backup changes."""
    network = (model.network.iterations, model.epochs_begun, model.seed, model.optimizer.learning_rate)
    kept = [{name: getattr(each, name) for name in each.kept_attributes} for each in watch]
    return network, kept


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("fit", "learning_rate"), "absent"),
        (("fit", "learning_rate"), None),
        (("fit", "learning_rate"), "0.1"),
        (("fit", "learning_rate"), -1.0),
        (("fit", "learning_rate"), True),
        (("fit", "epoch"), "absent"),
        (("fit", "epoch"), 1.0),
        (("fit", "epoch"), -1),
        (("fit", "epoch"), 10**18),
        (("fit", "stopped"), 0),
        (("fit", "stopped"), "absent"),
        (("fit", "epochs"), 3),
        (("fit", "epochs"), ["0"]),
        (("fit", "history"), []),
        (("fit", "history", "loss"), 3),
        (("fit", "history", "more"), None),
        (("fit", "callbacks"), None),
        (("fit", "callbacks", 0), None),
        (("fit", "callbacks", 0, "class_name"), "absent"),
        (("fit", "callbacks", 0, "state"), "absent"),
        (("fit", "callbacks", 0, "state"), []),
        (("fit", "callbacks", 0, "state", "wait"), "absent"),
        (("fit", "callbacks", 0, "state", "wait"), None),
        (("fit", "callbacks", 0, "state", "wait"), "1"),
        (("fit", "callbacks", 0, "state", "wait"), True),
        (("fit", "callbacks", 0, "state", "best"), "1"),
        (("fit", "callbacks", 0, "state", "best"), {"arrays": 4}),
        (("fit", "callbacks", 0, "state", "best"), {"float": 1}),
        (("fit", "callbacks", 0, "state", "best"), {"float": "x"}),
        (("fit", "callbacks", 0, "state", "best_weights"), 1),
        (("fit", "callbacks", 0, "state", "best_weights"), {"arrays": 3}),
        (("fit", "callbacks", 0, "state", "best_weights"), {"arrays": 10**12}),
        (("fit", "callbacks", 0, "state", "best_weights"), {"arrays": -1}),
        (("fit", "callbacks", 0, "state", "further"), 1),
        (("fit", "callbacks", 1, "state", "cooldown_counter"), 0.5),
        (("model",), "absent"),
        (("model", "layers"), None),
        (("model", "layers", 0), None),
        (("compile",), "absent"),
        (("compile", "arguments"), None),
        (("compile", "arguments", "optimizer"), "adam"),
        (("training",), "absent"),
        (("training", "seed"), "absent"),
        (("training", "seed"), "1"),
        (("training", "seed"), -1),
        (("training", "iterations"), 10**18),
        (("training", "n_moments"), 1),
    ],
)
def test_a_damaged_backup_changes_nothing(tmp_path, path, value):
    with pytest.raises(KilledError):
        dropout_model(seed=1).fit(X, Y, epochs=3, validation_split=0.2, verbose=0, callbacks=watchers(tmp_path, 2))
    file = tmp_path / "backup.safetensors"
    header, body = taken_apart(file.read_bytes())
    key, *steps = path
    texts = header["__metadata__"]
    if steps:
        text = json.loads(texts[key])
        inner = text
        for step in steps[:-1]:
            inner = inner[step]
        if value == "absent":
            del inner[steps[-1]]
        else:
            inner[steps[-1]] = value
        texts[key] = json.dumps(text)
    else:
        del texts[key]
    file.write_bytes(put_together(header, body))
    model, watch = dropout_model(seed=7), watchers(tmp_path)
    before = model.get_weights(), *state_of(model, watch)
    with pytest.raises(fastnn.ModelFormatError):
        model.fit(X, Y, epochs=3, validation_split=0.2, verbose=0, callbacks=watch)
    assert same_arrays(before[0], model.get_weights())
    assert before[1:] == state_of(model, watch)
    assert model.history.history == {} and model.history.epoch == []


def test_model_checkpoint_names_and_best(tmp_path):
    model = dropout_model(seed=3)
    every = callbacks.ModelCheckpoint(tmp_path / "new" / "{epoch:02d}-{val_loss:.2f}.safetensors")
    best = callbacks.ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True, monitor="val_mae", mode="min")
    never = callbacks.ModelCheckpoint(tmp_path / "never", save_best_only=True, initial_value_threshold=0.0)
    with pytest.warns(UserWarning, match=r"name it 'w-\{batch\}.weights.safetensors'"):
        weights = callbacks.ModelCheckpoint(tmp_path / "w-{batch}.weights.h5", save_weights_only=True, save_freq=4)
    history = model.fit(
        X, Y, epochs=3, batch_size=50, validation_split=0.2, verbose=0, callbacks=[every, best, never, weights]
    ).history
    names = [f"{epoch + 1:02d}-{loss:.2f}.safetensors" for epoch, loss in enumerate(history["val_loss"])]
    assert sorted(os.listdir(tmp_path / "new")) == sorted(names)
    assert not (tmp_path / "never").exists()
    # There are three steps in an epoch: steps 4 and 8 are the first and the second of their epochs.
    assert sorted(name for name in os.listdir(tmp_path) if name.startswith("w-")) == [
        "w-1.weights.h5",
        "w-2.weights.h5",
    ]
    loaded = fastnn.load_model(tmp_path / "best.safetensors")
    split = X[120:], Y[120:]
    assert loaded.evaluate(*split, verbose=0, return_dict=True)["mae"] == pytest.approx(min(history["val_mae"]))
    with pytest.raises(KeyError, match="val_f1"):
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[callbacks.ModelCheckpoint(str(tmp_path / "{val_f1}"))])
    with pytest.raises(ValueError, match="save_freq"):
        callbacks.ModelCheckpoint("a", save_freq="step")


def test_csv_log(tmp_path):
    path = tmp_path / "log.csv"
    model = dropout_model(seed=4)
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[callbacks.CSVLogger(path)]).history
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[callbacks.CSVLogger(path, append=True)])
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "0"]
    assert [float(row["loss"]) for row in rows[:2]] == history["loss"]
    assert rows[0]["val_loss"] == "NA"


def test_a_batch_callback_changes_the_next_step():
    rates = [0.1, 0.05, 0.01]

    class Change(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = rates[batch]

    model, by_hand = dropout_model(seed=6, optimizer="sgd"), dropout_model(seed=6, optimizer="sgd")
    for each in (model, by_hand):
        each.pop(), each.pop()
        each.add(layers.Dense(1))
        each.compile("sgd", "mse")
    by_hand.set_weights(model.get_weights())
    model.fit(X, Y, epochs=1, batch_size=50, shuffle=False, verbose=0, callbacks=[Change()])
    for batch, rate in enumerate(rates):
        by_hand.optimizer.learning_rate = rate
        rows = slice(50 * batch, 50 * batch + 50)
        by_hand.train_on_batch(X[rows], Y[rows])
    assert same_weights(model, by_hand)


def test_frozen_layers_are_saved_frozen(tmp_path):
    model = dropout_model(seed=7)
    model.layers[0].trainable = False
    model.save(tmp_path / "m")
    loaded = fastnn.load_model(tmp_path / "m")
    assert [layer.trainable for layer in loaded.layers] == [False, True, True]
    assert [len(loaded.trainable_weights), len(loaded.non_trainable_weights)] == [2, 2]
    lines = []
    loaded.summary(print_fn=lines.append)
    assert "Trainable params: 9" in lines[0] and "Non-trainable params: 32" in lines[0]
    kernel = loaded.layers[0].kernel.numpy()
    loaded.fit(X, Y, epochs=1, verbose=0)
    assert np.array_equal(kernel, loaded.layers[0].kernel)


def test_a_loss_in_python_is_saved_by_name(tmp_path):
    model = dropout_model(seed=8)
    model.compile("adam", halved_square)
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="custom_objects"):
        fastnn.load_model(tmp_path / "m")
    loaded = fastnn.load_model(tmp_path / "m", custom_objects={"halved_square": halved_square})
    for each in (model, loaded):
        each.fit(X, Y, epochs=1, verbose=0)
    assert same_weights(model, loaded)


def test_csv_log_goes_on_with_the_columns_of_its_file(tmp_path):
    path = tmp_path / "log.csv"
    logger = callbacks.CSVLogger(path, append=True)
    logger.on_train_begin()
    logger.on_epoch_end(0, {"loss": 1.0, "mae": 2.0})
    again = callbacks.CSVLogger(path, append=True)
    again.on_train_begin()
    again.on_epoch_end(1, {"loss": 3.0})
    assert path.read_text().split() == ["epoch,loss,mae,val_loss,val_mae", "0,1.0,2.0,NA,NA", "1,3.0,NA,NA,NA"]
    with pytest.warns(
        UserWarning, match="no column for 'auc'; its columns: epoch, loss, .*: later values are left out"
    ):
        again.on_epoch_end(2, {"loss": 1.0, "auc": 0.5})
    third = callbacks.CSVLogger(path, append=True)
    third.on_train_begin()
    with pytest.raises(ValueError, match="no column for 'auc'; its columns: epoch, loss, mae, val_loss, val_mae"):
        third.on_epoch_end(3, {"loss": 1.0, "auc": 0.5})
    with pytest.raises(ValueError, match="does not begin with the header of a CSVLogger"):
        callbacks.CSVLogger(path, separator=";", append=True).on_train_begin()
    assert len(path.read_text().split()) == 4


@pytest.mark.parametrize("option", [{"monitor": "val_acc"}, {"mode": "max"}, {"initial_value_threshold": 0.1}])
def test_model_checkpoint_warns_of_options_without_effect(tmp_path, option):
    path = tmp_path / "m.safetensors"
    with pytest.warns(UserWarning, match="no effect without save_best_only=True"):
        callbacks.ModelCheckpoint(path, **option)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callbacks.ModelCheckpoint(path, save_best_only=True, **option)


def test_functions_of_callbacks_are_checked_at_once():
    with pytest.raises(TypeError, match="on_epoch_end must be a function, got 3"):
        callbacks.LambdaCallback(on_epoch_end=3)
    with pytest.raises(TypeError, match="schedule must be a function"):
        callbacks.LearningRateScheduler(0.1)
