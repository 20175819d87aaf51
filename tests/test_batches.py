"""Rows that come batch by batch: the same training as with arrays, epoch after epoch."""

import itertools

import numpy as np
import pytest
from same_bits import same_arrays, same_weights
from sample_models import tanh_model

import fastnn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.1).astype(np.float32)
WEIGHT = RNG.uniform(0.5, 2.0, 50).astype(np.float32)
STARTS = range(0, 50, 16)  # the last of four batches has two rows


class Pieces(fastnn.utils.PyDataset):
    """A data set whose rows come in order, or rotated by ``shift`` more in every epoch."""

    def __init__(self, *arrays, shift=0):
        super().__init__(workers=2)
        self.arrays, self.shift, self.epochs = arrays, shift, 0

    def __len__(self):
        return len(STARTS)

    def __getitem__(self, index):
        order = np.roll(np.arange(50), self.shift * self.epochs)[STARTS[index] :][:16]
        return tuple(array[order] for array in self.arrays)

    def on_epoch_end(self):
        self.epochs += 1


class Loader:
    """Like the loaders of other libraries: it can be iterated over repeatedly, but it is not a sequence."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def __iter__(self):
        starts = range(0, len(self.arrays[0]), 16)
        return ([array[start : start + 16] for array in self.arrays] for start in starts)


def endless():
    """Batches of eight rows without end, each with different rows."""
    for step in itertools.count():
        rows = np.arange(8 * step, 8 * step + 8) * 7 % 50
        yield X[rows], Y[rows]


def make_model(*, optimizer="adam", loss="mse", metrics=("mae",)):
    return tanh_model(optimizer, loss, list(metrics))


@pytest.mark.parametrize("source", [Pieces, Loader])
@pytest.mark.parametrize("arrays", [(X, Y), (X, Y, WEIGHT)])
def test_batches_train_as_the_arrays_they_are_made_of(source, arrays):
    batched, whole = make_model(), make_model()
    got = batched.fit(source(*arrays), epochs=3, verbose=0, validation_data=source(*arrays)).history
    weight = arrays[2] if len(arrays) == 3 else None
    expected = whole.fit(
        X, Y, 16, 3, 0, shuffle=False, sample_weight=weight, validation_data=arrays, validation_batch_size=16
    ).history
    assert got == expected
    assert same_weights(batched, whole)
    assert len(got["val_mae"]) == 3


def test_every_epoch_takes_the_next_batches_of_a_generator():
    model, steps = make_model(), make_model()
    history = model.fit(endless(), epochs=3, steps_per_epoch=5, verbose=0).history
    losses = [steps.train_on_batch(x, y)[0] for x, y in itertools.islice(endless(), 15)]
    np.testing.assert_allclose(history["loss"], np.reshape(losses, (3, 5)).mean(axis=1), rtol=1e-6)
    assert same_weights(model, steps)
    assert len(set(losses)) == 15


def test_losses_and_metrics_are_of_the_rows_of_their_epoch():
    model = make_model(optimizer=fastnn.optimizers.SGD(0.0))
    history = model.fit(endless(), epochs=2, steps_per_epoch=3, verbose=0).history
    for epoch in range(2):
        x, y = (np.concatenate(a) for a in zip(*itertools.islice(endless(), 3 * epoch, 3 * epoch + 3), strict=True))
        expected = model.evaluate(x, y, verbose=0)
        assert [history["loss"][epoch], history["mae"][epoch]] == pytest.approx(expected, rel=1e-6)
    assert history["loss"][0] != history["loss"][1]


def test_a_data_set_may_change_its_order_in_every_epoch():
    pieces, model, whole = Pieces(X, Y, shift=5), make_model(), make_model()
    model.fit(pieces, epochs=3, verbose=0)
    assert pieces.epochs == 3
    for epoch in range(3):
        order = np.roll(np.arange(50), 5 * epoch)
        whole.fit(X[order], Y[order], batch_size=16, shuffle=False, verbose=0)
    assert same_weights(model, whole)


def test_epochs_may_end_within_a_data_set_which_then_restarts_at_its_end():
    model, whole = make_model(), make_model()
    model.fit(Loader(X[:48], Y[:48]), epochs=2, steps_per_epoch=2, verbose=0)
    order = [*range(48), *range(16)]
    whole.fit(X[:32], Y[:32], batch_size=16, shuffle=False, verbose=0)
    whole.fit(X[order[32:]], Y[order[32:]], batch_size=16, shuffle=False, verbose=0)
    assert same_weights(model, whole)


def test_classes_are_weighted_in_every_epoch():
    labels = (Y > 0.0).astype(np.float32)
    pair = []
    for data in ({"x": Pieces(X, labels)}, {"x": X, "y": labels, "batch_size": 16, "shuffle": False}):
        model = make_model(loss=fastnn.losses.BinaryCrossentropy(from_logits=True), metrics=())
        history = model.fit(**data, epochs=3, verbose=0, class_weight={0: 1.0, 1: 3.0}).history
        pair.append((model, history))
    assert pair[0][1] == pair[1][1]
    assert same_weights(pair[0][0], pair[1][0])


def test_evaluate_and_predict_take_batches():
    model = make_model(loss=fastnn.losses.MeanSquaredError(reduction="sum"))
    assert model.evaluate(Pieces(X, Y), verbose=0) == model.evaluate(X, Y, batch_size=16, verbose=0)
    rows = [row for start in (0, 8, 16) for row in np.arange(start, start + 8) * 7 % 50]
    assert model.evaluate(endless(), steps=3, verbose=0) == model.evaluate(X[rows], Y[rows], batch_size=8, verbose=0)
    expected = model.predict(X)
    for source in (Pieces(X), Pieces(X, Y), Loader(X), (X[start : start + 16] for start in STARTS)):
        steps = 4 if not hasattr(source, "arrays") else None
        assert np.array_equal(model.predict(source, steps=steps), expected)


def test_a_generator_that_ends_ends_fit_after_the_batches_that_are_left():
    model, steps = make_model(), make_model()
    with pytest.warns(UserWarning) as warned:
        history = model.fit(itertools.islice(endless(), 7), epochs=5, steps_per_epoch=3, verbose=0)
    assert [str(warning.message) for warning in warned] == [
        "x has no more batches: this epoch has 1, fewer than steps_per_epoch=3",
        "x has no more batches: fit ends before the last epoch",
    ]
    assert {warning.filename for warning in warned} == {__file__}
    assert history.epoch == [0, 1, 2]
    losses = [steps.train_on_batch(x, y)[0] for x, y in itertools.islice(endless(), 7)]
    assert history.history["loss"][2] == pytest.approx(losses[6], rel=1e-6)
    assert same_weights(model, steps)


def test_one_epoch_is_all_of_a_generator():
    model, steps = make_model(), make_model()
    parameters = []
    seen = fastnn.callbacks.LambdaCallback(on_train_begin=lambda logs: parameters.append(seen.params["steps"]))
    history = model.fit(itertools.islice(endless(), 7), verbose=0, callbacks=[seen]).history
    losses = [steps.train_on_batch(x, y)[0] for x, y in itertools.islice(endless(), 7)]
    assert same_weights(model, steps)
    assert history["loss"] == pytest.approx([np.mean(losses)], rel=1e-6)
    assert parameters == [None]
    with pytest.warns(UserWarning, match="fit ends before the last epoch"):
        assert model.fit(itertools.islice(endless(), 7), epochs=3, verbose=0).epoch == [0]
    assert len(model.predict(itertools.islice(endless(), 3))) == 24
    assert model.evaluate(itertools.islice(endless(), 3), verbose=0) == model.evaluate(endless(), steps=3, verbose=0)
    data = itertools.islice(endless(), 3)
    assert len(model.fit(X, Y, epochs=2, verbose=0, validation_data=data).history["val_loss"]) == 2


@pytest.mark.parametrize("sizes", [[8, 3, 8], [4, 5, 4, 3, 4, 4], [1, 2, 3, 4], [9, 8, 7, 7, 1, 1]])
def test_batches_may_have_any_sizes(sizes):
    bounds = np.cumsum([0, *sizes])
    parts = [(X[a:b], Y[a:b], WEIGHT[a:b]) for a, b in itertools.pairwise(bounds)]
    model, steps = make_model(), make_model()
    batches = []
    log = fastnn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append((batch, logs["loss"])))
    history = model.fit(iter(parts * 2), epochs=2, steps_per_epoch=len(parts), verbose=0, callbacks=[log]).history
    for epoch in range(2):
        losses = [steps.train_on_batch(*part)[0] for part in parts]
        running = np.cumsum(np.multiply(losses, sizes)) / bounds[1:]
        np.testing.assert_allclose(
            [loss for _, loss in batches[epoch * len(sizes) :][: len(sizes)]], running, rtol=1e-6
        )
        assert history["loss"][epoch] == pytest.approx(running[-1], rel=1e-6)
    assert [batch for batch, _ in batches] == 2 * list(range(len(sizes)))
    assert same_weights(model, steps)
    frozen = make_model(optimizer=fastnn.optimizers.SGD(0.0))
    n = bounds[-1]
    result = frozen.fit(iter(parts), verbose=0).history
    expected = frozen.evaluate(X[:n], Y[:n], sample_weight=WEIGHT[:n], verbose=0)
    assert [result["loss"][0], result["mae"][0]] == pytest.approx(expected, rel=1e-6)
    assert frozen.evaluate(iter(parts), verbose=0) == pytest.approx(expected, rel=1e-6)


def test_a_loss_that_depends_on_batches_is_evaluated_on_the_batches_that_come():
    model = make_model(loss=fastnn.losses.MeanSquaredError(reduction="sum"), metrics=())
    parts = [(X[:9], Y[:9]), (X[9:13], Y[9:13]), (X[13:20], Y[13:20])]
    expected = sum(len(x) * model.test_on_batch(x, y) for x, y in parts) / 20
    assert model.evaluate(iter(parts), verbose=0) == pytest.approx(expected, rel=1e-6)


def test_large_sources_are_trained_on_in_stretches(monkeypatch):
    model, steps = make_model(), make_model()
    monkeypatch.setattr("fastnn.training.batches._STRETCH_BYTES", 3000)
    taken = []

    def batches():
        for x, y in itertools.islice(endless(), 40):
            taken.append(model.network.iterations)
            yield x, y

    history = model.fit(batches(), verbose=0).history
    losses = [steps.train_on_batch(x, y)[0] for x, y in itertools.islice(endless(), 40)]
    assert same_weights(model, steps)
    assert taken[-1] >= 30, taken
    assert history["loss"] == pytest.approx([np.mean(losses)], rel=1e-6)


def test_a_source_may_write_every_batch_over_the_last_one():
    def overwriting():
        x, y = np.empty((8, 3), np.float32), np.empty((8, 1), np.float32)
        for new_x, new_y in itertools.islice(endless(), 5):
            x[:], y[:] = new_x, new_y
            yield x, y

    model, expected = make_model(), make_model()
    model.fit(overwriting(), verbose=0)
    expected.fit(endless(), steps_per_epoch=5, verbose=0)
    assert same_weights(model, expected)


def test_a_generator_without_end_is_not_collected_for_ever(monkeypatch):
    monkeypatch.setattr("fastnn.training.batches._LARGE", 1 << 20)
    monkeypatch.setattr("fastnn.training.batches._STRETCH_BYTES", 1 << 16)
    monkeypatch.setattr("fastnn.training.batches._free_bytes", lambda: 1 << 21)
    with pytest.raises(MemoryError, match="x gives more rows than the memory holds: give steps, the batches to take"):
        make_model().predict(endless())


def test_epochs_of_a_data_set_with_a_length_end_where_it_ends():
    class Counting(Pieces):
        begun = 0

        def on_epoch_begin(self):
            self.begun += 1

    model, steps = make_model(), make_model()
    pieces = Counting(X, Y)
    with pytest.warns(UserWarning, match="this epoch has 1, fewer than steps_per_epoch=3"):
        history = model.fit(pieces, epochs=3, steps_per_epoch=3, verbose=0).history
    for index in (0, 1, 2, 3, 0, 1, 2):
        steps.train_on_batch(*pieces[index])
    assert same_weights(model, steps)
    assert (pieces.begun, pieces.epochs, len(history["loss"])) == (3, 3, 3)


def test_metrics_and_losses_in_python_take_batches():
    def squared(y_true, y_pred):
        return float(np.mean((y_pred - y_true) ** 2)), 2.0 * (y_pred - y_true) / y_true.size

    own, native = make_model(loss=squared), make_model()
    history = own.fit(endless(), epochs=2, steps_per_epoch=4, verbose=0).history
    expected = native.fit(endless(), epochs=2, steps_per_epoch=4, verbose=0).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (endless, {"steps_per_epoch": 0}, "steps_per_epoch must be a whole number"),
        (endless, {"steps_per_epoch": 2, "validation_split": 0.2}, "validation_data instead of validation_split"),
        (endless, {"steps_per_epoch": 2, "sample_weight": WEIGHT}, "give sample_weight with them"),
        (lambda: Loader(X[:0]), {}, "x gave no batch"),
        (lambda: iter([(X[:0], Y[:0])]), {"steps_per_epoch": 1}, r"batch 0 \(counted from 0\) of x has no rows"),
        (lambda: Loader(X), {}, r"y is missing \(None\)"),
        (lambda: Loader(X, Y, WEIGHT, WEIGHT), {}, r"x must give batches .* got tuples of 4"),
        (lambda: iter([(X, Y), (X,)]), {"steps_per_epoch": 2}, "all alike, got tuples of 1 and 2"),
        (
            lambda: iter([(X[:4], Y[:4]), (X[:4, :2], Y[:4])]),
            {"steps_per_epoch": 2},
            "batches of x do not fit together",
        ),
        (lambda: iter([(X[:, :2], Y)]), {"steps_per_epoch": 1}, "x has 2 features"),
    ],
)
def test_bad_sources_are_refused_and_change_nothing(source, options, message):
    model = make_model()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(source(), verbose=0, epochs=2, **options)
    assert model.history is None
    assert same_arrays(before, model.get_weights())


def test_a_batch_of_other_columns_ends_fit_with_its_name():
    parts = iter([(X[:8], Y[:8])] * 3 + [(X[:8, :2], Y[:8])])
    with pytest.raises(ValueError, match="x has 2 features"):
        make_model().fit(parts, epochs=4, steps_per_epoch=1, verbose=0)


def test_what_can_become_an_array_is_not_a_source_of_batches():
    model = make_model()
    assert np.array_equal(model.predict([list(row) for row in X.tolist()]), model.predict(X.astype(float)))
    for bad, message in (({"x": X}, "x is a dict"), ({1.0, 2.0}, "x is a set"), ("text", "x must be real numbers")):
        with pytest.raises(ValueError, match=message):
            model.predict(bad)
    with pytest.raises(NotImplementedError, match="PyDataset must define __len__"):
        model.predict(fastnn.utils.PyDataset())


def test_masked_entries_in_batches_are_refused():
    masked = np.ma.masked_less(np.linspace(-1.0, 1.0, 12).reshape(6, 2), 0.0)
    plain, target = masked.filled(0.0), masked.filled(0.0)[:, :1]
    place = fastnn.Input((2,), name="place")
    graph = fastnn.Model(place, fastnn.layers.Dense(1)(place))
    for model in (fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)]), graph):
        model.compile("sgd", "mse")
        before = model.get_weights()
        for call in (
            lambda m=model: m.predict(x for x in (plain, masked)),
            lambda m=model: m.fit(((x, target) for x in (plain, masked)), verbose=0),
            lambda m=model: m.fit(((plain, y) for y in (target, masked[:, :1])), verbose=0),
            lambda m=model: m.evaluate(((x, target) for x in (plain, masked)), verbose=0),
        ):
            with pytest.raises(ValueError, match=r"^batch 1 \(counted from 0\) of x has masked entries"):
                call()
        np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_targets_come_with_the_batches_and_validation_rows_once():
    X, y = np.zeros((6, 2), "float32"), np.zeros((6, 1), "float32")
    model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)])
    model.compile("sgd", "mse")
    for method in (model.fit, model.evaluate):
        with pytest.raises(
            ValueError, match=r"x is a generator or a loader, and y is given too: it must give batches \(x, y\)"
        ):
            method(iter([(X, y)]), y)
    with pytest.warns(UserWarning, match=r"validation_split=0.5 has no effect: validation_data is given"):
        model.fit(X, y, validation_split=0.5, validation_data=(X, y), verbose=0)


def test_batches_of_lists_of_one_array():
    """A chain takes ([x], [y]) and ([x], [y], [sample_weight]) from generators, as a graph does."""
    rng = np.random.default_rng(4)
    x, y, weight = rng.normal(size=(40, 3)), rng.normal(size=40), rng.random(40)

    def batches(form):
        for begin in range(0, 40, 8):
            yield form(*(each[begin : begin + 8] for each in (x, y, weight)))

    found = []
    for form in (lambda *parts: parts, lambda *parts: tuple([part] for part in parts)):
        model = fastnn.Sequential([fastnn.layers.Dense(4, "tanh"), fastnn.layers.Dense(1)], seed=0)
        model.compile("sgd", "mse")
        losses = model.fit(batches(form), verbose=0).history["loss"]
        found.append((losses, model.evaluate(batches(form), verbose=0), model.predict(x, verbose=0).tolist()))
    assert found[0] == found[1]
