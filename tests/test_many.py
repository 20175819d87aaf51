"""Many models trained at once: the bits of each alone, folds, seeds and grids, errors and interrupts."""

import sys
import tracemalloc

import numpy as np
import pytest
from same_bits import same_weights

import fastnn
from fastnn import callbacks, layers

X = np.random.default_rng(0).normal(size=(90, 3))
Y = (X[:, :1] * 2 - X[:, 1:2] ** 2).astype("f4")
ROWS = np.arange(90)
FOLDS = [(ROWS[ROWS % 3 != k], ROWS[ROWS % 3 == k]) for k in range(3)]


def build(seed=0, units=5, rate=0.01):
    hidden = layers.Dense(units, activation="relu")
    model = fastnn.Sequential([fastnn.Input((3,)), hidden, layers.Dropout(0.1), layers.Dense(1)], seed=seed)
    model.compile(fastnn.optimizers.Adam(rate), "mse", metrics=["mae"])
    return model


def alone(seed, rows, held_out=None, **options):
    model = build(seed, **options)
    validation = None if held_out is None else (X[held_out], Y[held_out])
    history = model.fit(X[rows], Y[rows], epochs=3, batch_size=16, validation_data=validation, verbose=0)
    return model, history


def fit(models, **options):
    return fastnn.fit_many(models, X, Y, **{"epochs": 3, "batch_size": 16, "verbose": 0, **options})


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_every_model_has_the_bits_of_training_it_alone(n_threads):
    fits = fit(build, seeds=[3, 1], splits=FOLDS, grid={"units": [4, 7], "rate": [0.01]}, n_threads=n_threads)
    expected = [
        {"seed": seed, "units": units, "rate": 0.01, "split": k}
        for seed in (3, 1)
        for k in range(3)
        for units in (4, 7)
    ]
    assert fits.options == expected and fits.errors == {}
    for model, history, options in zip(fits.models, fits.histories, fits.options, strict=True):
        training, held_out = FOLDS[options["split"]]
        reference, reference_history = alone(options["seed"], training, held_out, units=options["units"])
        assert same_weights(model, reference)
        assert history.history == reference_history.history
    assert fits.oof.shape == (4, 90, 1) and fits.oof.dtype == np.float32
    for number, (seed, units) in enumerate([(3, 4), (3, 7), (1, 4), (1, 7)]):
        for k, (training, held_out) in enumerate(FOLDS):
            reference, _ = alone(seed, training, held_out, units=units)
            assert np.array_equal(fits.oof[number][held_out], reference.predict(X[held_out], verbose=0)), k


class Leaves(callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise SystemExit(3)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_callback_that_leaves_the_program_ends_its_model_alone(n_threads):
    with pytest.warns(UserWarning, match=r"1 of 3 models failed: 1; see .errors. Model 1 .*: SystemExit: 3"):
        fits = fit(build, seeds=3, callbacks=[[], [Leaves()], []], n_threads=n_threads)
    assert list(fits.errors) == [1] and fits.errors[1].code == 3
    assert [history is None for history in fits.histories] == [False, True, False]


def test_one_configuration_has_plain_predictions_out_of_fold():
    fits = fit(build, splits=FOLDS[:2])
    assert fits.oof.shape == (90, 1)
    assert np.isnan(fits.oof[ROWS % 3 == 2]).all() and np.isfinite(fits.oof[ROWS % 3 != 2]).all()
    assert fit(build, seeds=2).oof is None


def test_a_list_of_models_is_trained_in_place():
    models = [build(seed, units=3 + seed) for seed in range(4)]
    fits = fit(models)
    assert all(a is b for a, b in zip(fits.models, models, strict=True))
    assert all(same_weights(model, alone(seed, ROWS, units=3 + seed)[0]) for seed, model in enumerate(models))


def test_splits_of_scikit_learn():
    selection = pytest.importorskip("sklearn.model_selection")
    fits = fit(build, splits=selection.KFold(3))
    assert len(fits.models) == 3 and np.isfinite(fits.oof).all()


def test_a_number_of_splits_is_that_of_folds_of_consecutive_rows():
    parts = np.array_split(ROWS, 4)
    fits = fit(build, splits=4)
    expected = fit(build, splits=[(np.setdiff1d(ROWS, part), part) for part in parts])
    assert all(same_weights(a, b) for a, b in zip(fits.models, expected.models, strict=True))
    assert np.array_equal(fits.oof, expected.oof)


@pytest.mark.filterwarnings("ignore:x has no more rows")
@pytest.mark.parametrize("metrics", [None, ["mae"]])
@pytest.mark.parametrize("seed", [0, 1])
def test_splits_in_any_order_and_with_repeated_rows_have_the_bits_of_copied_rows(seed, metrics):
    rng = np.random.default_rng(seed)
    splits = [(rng.permutation(90)[:50], rng.permutation(90)[:20]), (rng.integers(0, 90, 70), rng.integers(0, 90, 9))]
    weight = rng.uniform(size=90)
    targets = rng.integers(0, 3, 90)

    def classifier(seed):
        stack = [fastnn.Input((3,)), layers.Dense(6, activation="tanh"), layers.Dense(3, activation="softmax")]
        model = fastnn.Sequential(stack, seed=seed)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=metrics and ["accuracy"])
        return model

    for options in ({}, {"shuffle": False}, {"class_weight": {0: 2.0, 2: 0.5}}, {"steps_per_epoch": 2}):
        fits = fastnn.fit_many(
            classifier, X, targets, splits=splits, sample_weight=weight, epochs=4, batch_size=16, verbose=0, **options
        )
        for model, history, (training, held_out) in zip(fits.models, fits.histories, splits, strict=True):
            reference = classifier(0)
            expected = reference.fit(
                X[training],
                targets[training],
                sample_weight=weight[training],
                validation_data=(X[held_out], targets[held_out], weight[held_out]),
                epochs=4,
                batch_size=16,
                verbose=0,
                **options,
            )
            assert same_weights(model, reference)
            assert history.history == expected.history


def graph(seed):
    a, b = fastnn.Input((2,), name="a"), fastnn.Input((1,), name="b")
    hidden = layers.Dense(5, activation="relu")(layers.concatenate([a, b]))
    outputs = {"first": layers.Dense(1, name="first")(hidden), "second": layers.Dense(2, name="second")(hidden)}
    model = fastnn.Model({"a": a, "b": b}, outputs, seed=seed)
    model.compile("adam", {"first": "mse", "second": "mae"}, metrics={"second": ["mse"]})
    return model


def test_graphs_with_dicts_of_inputs_and_outputs():
    inputs, targets = {"a": X[:, :2], "b": X[:, 2:]}, {"first": Y[:, 0], "second": X[:, :2]}
    options = {"epochs": 3, "batch_size": 16, "verbose": 0}
    fits = fastnn.fit_many(graph, inputs, targets, seeds=2, splits=FOLDS, **options)
    assert {name: array.shape for name, array in fits.oof.items()} == {"first": (2, 90, 1), "second": (2, 90, 2)}
    for number, model in enumerate(fits.models):
        training, held_out = FOLDS[number % 3]
        reference = graph(number // 3)
        part = [
            {name: array[rows] for name, array in data.items()}
            for data in (inputs, targets)
            for rows in (training, held_out)
        ]
        history = reference.fit(part[0], part[2], validation_data=(part[1], part[3]), **options)
        assert same_weights(model, reference)
        assert fits.histories[number].history == history.history
        for name, predictions in reference.predict(part[1], verbose=0).items():
            assert np.array_equal(fits.oof[name][number // 3][held_out], predictions)
    mean = fits.predict(inputs)
    assert mean["second"].shape == (90, 2)
    each = fits.predict(inputs, average=False)
    assert each["first"].shape == (6, 90, 1) and np.array_equal(each["first"].mean(axis=0), mean["first"])
    as_lists = fastnn.fit_many(
        [graph(0)], [inputs["a"], inputs["b"]], [targets["first"], targets["second"]], splits=[FOLDS[0]], **options
    )
    assert same_weights(as_lists.models[0], fits.models[0])


@pytest.mark.parametrize("order", [np.arange(40000), np.random.default_rng(0).permutation(40000)])
def test_folds_copy_no_rows(order):
    inputs = np.ones((40000, 250), np.float32)
    parts = np.split(order, 8)
    splits = [(np.concatenate([*parts[:k], *parts[k + 1 :]]), part) for k, part in enumerate(parts)]

    def wide(seed):
        model = fastnn.Sequential([fastnn.Input((250,)), layers.Dense(2), layers.Dense(1)], seed=seed)
        model.compile("adam", "mse")
        return model

    options = {"steps_per_epoch": 2, "validation_steps": 2, "verbose": 0, "n_threads": 1}
    tracemalloc.start()
    try:
        fits = fastnn.fit_many(wide, inputs, np.ones(40000, np.float32), splits=splits, seeds=2, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(fits.trained) == 16
    # The numbers of the rows of all folds, and one fold's held-out rows for its predictions.
    assert peak < 0.3 * inputs.nbytes


def test_data_frames_keep_the_names_of_their_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"], index=ROWS[::-1])
    fits = fastnn.fit_many(build, frame, Y, splits=FOLDS, epochs=3, batch_size=16, verbose=0)
    assert list(fits.models[0].feature_names_in_) == ["a", "b", "c"]
    for model, (training, held_out) in zip(fits.models, FOLDS, strict=True):
        assert same_weights(model, alone(0, training, held_out)[0])


def test_each_model_stops_for_itself():
    fits = fastnn.fit_many(
        build,
        X,
        Y,
        splits=FOLDS,
        seeds=2,
        epochs=200,
        batch_size=16,
        verbose=0,
        callbacks=lambda: [callbacks.EarlyStopping(patience=1, restore_best_weights=True)],
    )
    lengths = [len(history.epoch) for history in fits.histories]
    assert max(lengths) < 200 and len(set(lengths)) > 1
    for model, history, options in zip(fits.models, fits.histories, fits.options, strict=True):
        training, held_out = FOLDS[options["split"]]
        reference = build(options["seed"])
        expected = reference.fit(
            X[training],
            Y[training],
            epochs=200,
            batch_size=16,
            verbose=0,
            validation_data=(X[held_out], Y[held_out]),
            callbacks=[callbacks.EarlyStopping(patience=1, restore_best_weights=True)],
        )
        assert same_weights(model, reference) and history.history == expected.history
    rates = [[callbacks.LearningRateScheduler(lambda epoch, rate, k=k: 0.01 / (k + 1))] for k in range(2)]
    fits = fit([build(0), build(0)], callbacks=rates)
    assert not same_weights(*fits.models)


def test_a_model_that_diverges_loses_nothing_else():
    with pytest.warns(UserWarning, match=r"1 of 3 models failed: 1; see .errors. Model 1 .*'rate': 1e\+30"):
        fits = fit(build, grid={"rate": [0.01, 1e30, 0.02]})
    assert list(fits.errors) == [1] and isinstance(fits.errors[1], fastnn.DivergenceError)
    assert fits.histories[1] is None
    assert same_weights(fits.models[2], alone(0, ROWS, rate=0.02)[0])
    assert fits.predict(X).shape == (90, 1)


def test_an_error_of_all_models_is_raised():
    with pytest.raises(ValueError, match="features"):
        fastnn.fit_many(build, X[:, :2], Y, seeds=3, verbose=0)


def test_predictions_of_many():
    models = [build(seed) for seed in range(3)]
    all_of_them = fastnn.predict_many(models, X, average=False)
    assert all_of_them.shape == (3, 90, 1)
    assert np.array_equal(all_of_them[2], models[2].predict(X, verbose=0))
    assert np.array_equal(fastnn.predict_many(models, X), all_of_them.mean(axis=0))
    assert np.array_equal(fastnn.predict_many(fit(models), X), fastnn.predict_many(models, X))
    for wrong in ({"n_threads": 0}, {"batch_size": 0}):  # of the result of fit_many too
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fastnn.predict_many(fit(models), X, **wrong)
    with pytest.raises(ValueError, match="at least one"):
        fastnn.predict_many([], X)
    with pytest.raises(ValueError, match=r"x has 2 features \(columns\), but the model takes 3"):
        fastnn.predict_many(models, X[:, :2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": []}, "at least one pair"),
        ({"splits": [(ROWS, [90])]}, r"held-out rows of split 0 must be from 0 to 89, got 90"),
        ({"splits": [(ROWS, [0.5])]}, "must be row numbers"),
        ({"splits": [ROWS[:3]]}, "entry 0 has 3"),
        ({"splits": ROWS}, "entry 0 has one value"),
        ({"splits": "kfold"}, "splits must be pairs .* got 'kfold'"),
        ({"splits": 1}, "splits must be from 2 to 90, the number of rows, got 1"),
        ({"splits": FOLDS, "validation_split": 0.1}, "validation_split cannot be given with splits"),
        ({"seeds": [-1]}, "each entry of seeds"),
        ({"seeds": []}, "must not be empty"),
        ({"grid": {"units": 4}}, r"grid\['units'\] must be a list"),
        (
            {"callbacks": [[]]},
            "for each of the 2 models",
        ),
        ({"n_threads": 0}, "n_threads"),
        ({"epochs": -1}, "epochs"),
    ],
)
def test_wrong_arguments_change_nothing(options, message):
    made = []

    def counted(seed):
        made.append(seed)
        return build(seed)

    with pytest.raises(ValueError, match=message):
        fit(counted, **{"seeds": 2, **options})
    assert made == []


def test_lists_of_models_that_cannot_be_trained():
    model = build()
    for models, options, message in (
        ([model, model], {}, "listed twice"),
        ([model], {"seeds": 2}, "need a function that builds"),
        ([model], {"splits": FOLDS}, "1 models, 3 splits"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(models, **options)
    with pytest.raises(RuntimeError, match="compile"):
        fit([fastnn.Sequential([layers.Dense(1)])])
    with pytest.raises(TypeError, match=r"model must be a fastnn\.Sequential"):
        fit([3])


def test_other_threads_keep_their_number_of_threads():
    before = fastnn.get_num_threads()
    fit(build, seeds=2, n_threads=2)
    assert fastnn.get_num_threads() == before


INTERRUPTED = """
import os, signal, threading, time, warnings
import numpy as np
import fastnn
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
X = np.random.default_rng(0).normal(size=(20000, 30)).astype("f4")
def build(seed):
    model = fastnn.Sequential([fastnn.Input((30,)), fastnn.layers.Dense(64), fastnn.layers.Dense(1)], seed=seed)
    model.compile("adam", "mse")
    return model
class Interrupt(fastnn.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            while threading.active_count() > 2:  # until the thread of the other model has ended
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(3):  # the key is held down
                time.sleep(0.1)
                os.kill(os.getpid(), signal.SIGINT)
            ends.append(threading.active_count())
ends = []
quick, endless = build(0), build(1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fits = fastnn.fit_many([quick, endless], X, X[:, :1], epochs=10**6, n_threads=2, verbose=0,
                           callbacks=[[fastnn.callbacks.EarlyStopping("loss", 1e9)], [Interrupt()]])
print([history is not None for history in fits.histories], fits.errors, endless.epochs_begun >= 3, ends)
print([str(warning.message) for warning in caught])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_an_interrupt_keeps_what_is_finished(run_python):
    done = run_python(INTERRUPTED)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "[True, False] {1: KeyboardInterrupt()} True [2]\n"
        "['training was interrupted: 1 of 2 models are trained, see .errors']\n"
    )


def test_seeds_and_averages_are_checked():
    for seeds in (-1, 10**6 + 1, 2**63):
        with pytest.raises(ValueError, match="seeds must be a whole number from 0 to 1000000"):
            fastnn.fit_many(build, X, Y, seeds=seeds, verbose=0)
    with pytest.raises(ValueError, match="average must be True or False, got 'mean'"):
        fastnn.predict_many([build(0)], X, average="mean")


def test_models_and_callbacks_serve_one_training():
    model, shared = build(0), fastnn.callbacks.EarlyStopping("loss")
    with pytest.warns(UserWarning, match=r"2 of 3 models failed.*models 0 and 1 have the same Sequential: make a new"):
        fits = fit(lambda seed: model, seeds=3, n_threads=1)
    assert fits.models == [model, None, None] and same_weights(model, alone(0, ROWS)[0])
    models = [build(0), build(1)]
    for given in (lambda: [shared], lambda: shared, [[shared], [shared]]):
        with pytest.raises(ValueError, match="models 0 and 1 have the same EarlyStopping: make a new one for each"):
            fit(models, callbacks=given)
    assert not any(model.built and model.optimizer.iterations for model in models)
    with pytest.raises(ValueError, match=r"callbacks must be a list with a list .* got <fastnn.*EarlyStopping"):
        fit(models, callbacks=shared)


@pytest.mark.parametrize("optimizer", [fastnn.optimizers.Adam(0.01), fastnn.optimizers.LevenbergMarquardt()])
def test_an_optimizer_with_state_serves_one_training(optimizer):
    """Callbacks set its learning rate; a second-order method keeps its damping. Without either it may be shared."""

    first_order = isinstance(optimizer, fastnn.optimizers.Adam)

    def build_shared(seed):
        model = build(seed) if first_order else fastnn.Sequential([layers.Dense(1, input_dim=3)], seed=seed)
        model.compile(optimizer, "mse")
        return model

    rates = (lambda: [fastnn.callbacks.ReduceLROnPlateau("loss")]) if first_order else None
    options = {"batch_size": 16 if first_order else None, "n_threads": 1}
    message = rf"2 of 3 models failed.*models 0 and 1 have the same {type(optimizer).__name__}: make a new one"
    with pytest.warns(UserWarning, match=message):
        fits = fit(build_shared, seeds=3, callbacks=rates, **options)
    assert sorted(fits.errors) == [1, 2] and fits.models[1:] == [None, None]
    if first_order:
        assert all(
            same_weights(model, alone(seed, ROWS)[0])
            for seed, model in enumerate(fit(build_shared, seeds=3, n_threads=2).models)
        )


def test_callbacks_write_files_of_one_model(tmp_path):
    """Backups in one folder had let a model continue from the weights of another one."""
    for make, path in (
        (callbacks.BackupAndRestore, "backups"),
        (callbacks.CSVLogger, "log.csv"),
        (callbacks.ModelCheckpoint, "{epoch}.safetensors"),
    ):
        given = [[make(tmp_path / path)], [make(tmp_path / "other" / ".." / path)]]
        for shared in (given, lambda make=make, path=path: [make(tmp_path / path)]):
            with pytest.raises(ValueError, match=rf"models 0 and 1 would both write .*{path}' \({make.__name__}\)"):
                fit([build(0), build(1)], callbacks=shared)
    assert not list(tmp_path.iterdir())
    fits = fit(build, seeds=2, callbacks=[[callbacks.CSVLogger(tmp_path / f"{k}.csv")] for k in range(2)])
    for k in range(2):
        rows = (tmp_path / f"{k}.csv").read_text().splitlines()[1:]
        assert [float(row.split(",")[1]) for row in rows] == fits.histories[k].history["loss"]


def test_numbers_of_numpy_and_texts_as_seeds_and_grids():
    assert fit(build, seeds=np.int64(2)).options == [{"seed": 0}, {"seed": 1}]
    for seeds in ("12", 1.5):
        with pytest.raises(ValueError, match=f"seeds must be a list of values, got {seeds!r}"):
            fit(build, seeds=seeds)
    for grid in ("rate", 3):
        with pytest.raises(ValueError, match=f"grid must be a dict of lists, or a list of dicts, got {grid!r}"):
            fit(build, grid=grid)


def test_one_model_no_model_and_two_kinds_of_seeds_are_refused():
    X, y = np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32")

    def build(seed):
        model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)], seed=seed)
        model.compile("sgd", "mse")
        return model

    for models in (build(0), 3):
        kind = type(models).__name__
        with pytest.raises(TypeError, match=f"models must be a list of compiled models, .* got {kind}"):
            fastnn.fit_many(models, X, y)
        with pytest.raises(TypeError, match=f"models must be a list of models, .* got {kind}"):
            fastnn.predict_many(models, X)
    with pytest.raises(ValueError, match="models must hold at least one model, got none"):
        fastnn.fit_many([], X, y)
    with pytest.raises(ValueError, match="grid has values of 'seed', and seeds are given too"):
        fastnn.fit_many(build, X, y, seeds=2, grid={"seed": [3, 4]})
