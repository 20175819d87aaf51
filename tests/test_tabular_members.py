"""TabM's network in which a row goes through some members: its outputs and gradients are those of all members."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn
from fastnn import layers
from fastnn.tabular import recipes, tabm
from fastnn.tabular.columns import TableEncoder

N, K = 24, 6
RNG = np.random.default_rng(0)
TABLES = {
    "numbers": RNG.normal(size=(N, 3)),
    "categories": RNG.choice(list("abcdefghijkl"), (N, 2)).astype(object),
    "both": np.column_stack([RNG.normal(size=(N, 2)).astype(object), RNG.choice(list("abcdefghijkl"), N)]),
}
TASKS = {
    "regression": recipes.Task("tabm", 1, False, 0.0, 8, n_members=K),
    "two targets": recipes.Task("tabm", 2, False, 0.0, 8, n_members=K),
    "two classes": recipes.Task("tabm", 1, True, 0.0, 8, n_members=K),
    "three classes": recipes.Task("tabm", 3, True, 0.0, 8, n_members=K),
    "levels": recipes.Task("tabm", 4, False, 0.0, 8, (0.1, 0.9), K),
}


def networks(table, task):
    """Encoded rows, the network of all members and that of some, with the same weights."""
    encoder = TableEncoder("quantile", 0)
    X = encoder.learn(TABLES[table], None)
    both = [recipes.build(task, encoder, X, 0, some) for some in (False, True)]
    tabm.copy_to_some(*both)
    return X, *both


def through_all(rows):
    """Each row three times, and columns of the numbers of two members: all six for a row."""
    return np.repeat(rows, 3, axis=0), np.tile(np.arange(3)[:, None] + [0, 3], (len(rows), 1))


def by_member(task, outputs):
    """Outputs of a network as (n, m, n_outputs) for m members of a row."""
    if isinstance(outputs, list):
        return np.stack(outputs, axis=1)
    n_levels = max(len(task.levels), 1)
    each = outputs.reshape(len(outputs), n_levels, -1, task.n_outputs // n_levels)
    return each.swapaxes(1, 2).reshape(len(outputs), -1, task.n_outputs)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("task", TASKS)
def test_outputs_are_those_of_the_members(table, task):
    X, every, some = networks(table, TASKS[task])
    rows, numbers = through_all(X)
    found = by_member(TASKS[task], some.predict(np.column_stack([rows, numbers]), verbose=0))
    wanted = by_member(TASKS[task], every.predict(rows, verbose=0))
    assert (wanted.std(axis=1) > 1e-3).any()
    np.testing.assert_allclose(found, np.take_along_axis(wanted, numbers[:, :, None], axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_weights_are_copied_to_and_fro(task):
    _, every, some = networks("both", TASKS[task])
    wanted = [each.copy() for each in every.get_weights()]
    every.set_weights([np.zeros_like(each) for each in wanted])
    tabm.copy_to_all(some, every)
    for found, before in zip(every.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(found, before)


@pytest.mark.parametrize("task", TASKS)
def test_a_step_through_all_members_is_that_of_all(task, monkeypatch):
    monkeypatch.setattr(tabm.layers, "Dropout", lambda rate: layers.Activation("linear"))
    task = TASKS[task]
    X, every, some = networks("both", task)
    rows, numbers = through_all(X)
    y = RNG.random((len(X), 2 if task.levels else task.n_outputs)).astype(np.float32)
    before = every.get_weights()
    for model, given, x, target in (
        (every, task, X, y),
        (some, task.of_row(), np.column_stack([rows, numbers]), np.repeat(y, 3, axis=0)),
    ):
        recipes.compile_model(model, given, recipes.Plan(len(x), 1, None, False, fastnn.optimizers.SGD(0.5), {}))
        model.fit(x, recipes.targets_of(given, target), batch_size=len(x), epochs=1, verbose=0)
    wanted = every.get_weights()
    tabm.copy_to_all(some, every)
    changed = [np.abs(after - first).max() > 1e-5 for after, first in zip(wanted, before, strict=True)]
    assert sum(changed) == len(wanted) - 2, "all but the edges of the numbers"
    for found, after in zip(every.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(found, after, rtol=1e-4, atol=2e-6)


def test_members_take_turns():
    numbers = np.zeros((20, 2), np.float32)
    tabm.choose_members(numbers, 8, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(numbers.astype(int).ravel()), 5)
    first = numbers.copy()
    assert (first[:, 0] != first[:, 1]).all()
    tabm.choose_members(numbers, 8, np.random.default_rng(1))
    assert (numbers != first).any()


@pytest.fixture
def few_rows(monkeypatch):
    """Few rows train some of the members, too."""
    monkeypatch.setattr(tabm, "_FEWEST_ROWS", 1)


def test_every_member_is_trained_even_with_fewer_rows_than_members(few_rows, monkeypatch):
    kept = {}
    copied = tabm.copy_to_some

    def copy(every, some):
        kept["heads"] = every.get_layer("head0").get_weights()[0].copy()
        copied(every, some)

    monkeypatch.setattr(tabm, "copy_to_some", copy)
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 60)
    y = TABLES["numbers"][:6, 0]
    model = fastnn.TabularRegressor("tabm", n_bags=1, random_state=0).fit(TABLES["numbers"][:6], y)
    (network,) = model.models_
    last = network.get_layer("head0").get_weights()[0]
    assert last.shape[1] == 32
    assert network.network.iterations == 60
    assert (np.abs(last - kept["heads"]).max(axis=0) > 1e-3).all()


@pytest.mark.parametrize(
    ("task", "n", "some"),
    [
        (recipes.Task("realmlp", 1, False, 0.0, 8), 1000, False),
        (recipes.Task("tabm", 1, False, 0.0, 8), 500, True),
        (recipes.Task("tabm", 1, False, 0.0, 8), 499, False),
        (recipes.Task("tabm", 100, True, 0.0, 8), 1000, False),
        (recipes.Task("tabm", 1, False, 0.0, 8, n_members=2), 1000, False),
    ],
)
def test_all_members_are_trained_where_rows_or_members_are_few_or_outputs_many(task, n, some):
    assert task.trains_some(n) is some


@pytest.mark.parametrize("table", TABLES)
def test_estimators_are_saved(table, few_rows, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 2)
    model = fastnn.TabularRegressor("tabm", n_bags=2, random_state=0).fit(TABLES[table], np.arange(N) % 7)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(TABLES[table]), model.predict(TABLES[table]))


def test_threads_change_no_bit(few_rows, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 3)
    X, y = TABLES["both"], np.arange(N) % 3
    weight = 1.0 + np.arange(N) % 2
    found = [
        fastnn.TabularClassifier("tabm", n_bags=2, n_threads=n, random_state=0).fit(X, y, sample_weight=weight)
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(found[0].predict_proba(X), found[1].predict_proba(X))
