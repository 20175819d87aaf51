"""Rows of no known class: their p-values, the rate of false alarms, and labels of flagged rows."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn
from fastnn.tabular.novelty import Novelty
from fastnn.tabular.training import Data, HeldOut

RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    """Train 8 epochs."""
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 8)


def novelty_of(X, seed=0, n_codes=0):
    n = len(X)
    codes = np.zeros((n, n_codes))
    return Novelty(X, np.empty((n, 0)), codes, np.arange(n) % 8, seed)


def test_rate_of_false_alarms_is_that_asked_for():
    """Over 200 splits of 100 rows: the share of new rows with p <= 0.1, whose mean is at most 0.1."""
    rates = []
    for seed in range(200):
        rows = np.random.default_rng(seed).standard_t(3, size=(200, 3))
        found = novelty_of(rows[:100], seed).p_values(rows[100:], np.empty((100, 0)), np.empty((100, 0)))
        rates.append((found <= 0.1).mean())
    # The deviation of a split's rate is about 0.045, that of the mean 0.0032. References of all folds are nearer.
    assert 0.07 < np.mean(rates) < 0.1 + 3 * 0.0032


def test_logarithms_of_probabilities():
    X = RNG.normal(size=(60, 2))
    model = fastnn.TabularClassifier("plain", n_bags=2, random_state=0).fit(X, X[:, 0] > 0)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), np.maximum(model.predict_proba(X), 1e-7), rtol=1e-12)


def test_distance_by_hand():
    numbers = np.array([[0.0], [1.0], [2.0], [3.0]])
    novelty = Novelty(numbers, np.empty((4, 0)), np.array([[0], [0], [1], [1]]), np.array([0, 1, 0, 1]), 0)
    # Quartiles 0.75 and 2.25: rows are at -1, -1/3, 1/3 and 1 before arcsinh. All references are nearest neighbours.
    far, near = np.arcsinh(1.0), np.arcsinh(1.0 / 3.0)
    outer = (far - near + np.hypot(2.0 * far, 2**0.5)) / 2.0
    inner = (far - near + np.hypot(2.0 * near, 2**0.5)) / 2.0
    np.testing.assert_allclose(novelty._calibrating, [inner, inner, outer, outer], rtol=1e-12)
    assert novelty.p_values(np.array([[50.0]]), np.empty((1, 0)), np.array([[0]])) == pytest.approx([1 / 5])
    assert novelty.p_values(np.array([[1.5]]), np.empty((1, 0)), np.array([[0]]))[0] > 0.5


def test_a_class_that_was_not_in_the_fit_is_flagged():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    known = y < 8
    rows = np.sort(RNG.permutation(np.flatnonzero(known))[:600])
    model = fastnn.TabularClassifier("plain", n_bags=3, random_state=0).fit(X[rows], y[rows])
    new = np.setdiff1d(np.flatnonzero(known), rows)
    labels = model.predict(X, unknown=-1)
    assert (labels[new] == -1).mean() < 0.1
    assert (labels[~known] == -1).mean() > 0.3
    strict = model.predict(X, unknown=-1, false_alarm_rate=0.01)
    assert set(np.flatnonzero(strict == -1)) <= set(np.flatnonzero(labels == -1))
    rest = labels != -1
    np.testing.assert_array_equal(labels[rest], model.predict(X)[rest])


@pytest.mark.parametrize(
    ("labels", "unknown", "kind"),
    [(["a", "b"], "something else", "U"), ([0, 1], -1, "i"), ([0, 1], "none", "O"), ([False, True], -1, "O")],
)
def test_labels_keep_their_values(labels, unknown, kind):
    X = RNG.normal(size=(60, 2))
    y = np.array(labels)[(X[:, 0] > 0).astype(int)]
    model = fastnn.TabularClassifier("plain", n_bags=2, random_state=0).fit(X, y)
    far = np.vstack([X[:5], np.full((1, 2), 1e6)])
    found = model.predict(far, unknown=unknown)
    assert found.dtype.kind == kind
    assert found[-1] == unknown
    assert found[0] in labels or found[0] == unknown
    assert (model.predict(far)[:5] == model.predict(X[:5])).all()


def test_categories_that_the_fit_did_not_have():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": RNG.normal(size=80), "town": RNG.choice([f"t{i}" for i in range(12)], 80)})
    model = fastnn.TabularClassifier("plain", n_bags=2, random_state=0).fit(table, table["a"] > 0)
    p = model.known_p_values(table)
    other = table.assign(town="elsewhere")
    assert (model.known_p_values(other) <= p).all()


def test_too_few_rows_for_a_rate():
    X = RNG.normal(size=(30, 2))
    model = fastnn.TabularClassifier("plain", n_bags=2, random_state=0).fit(X, X[:, 0] > 0)
    with pytest.raises(ValueError, match=r"false_alarm_rate=0\.01 needs at least 99 rows .* got 30"):
        model.predict(X, unknown="?", false_alarm_rate=0.01)
    with pytest.raises((ValueError, TypeError), match="false_alarm_rate"):
        model.predict(X, unknown="?", false_alarm_rate=1.5)
    with pytest.raises(ValueError, match=r"false_alarm_rate=0\.05 needs unknown=, the label of rows"):
        model.predict(X, false_alarm_rate=0.05)


def test_no_row_chooses_the_epoch_of_its_output():
    """Changing a row's target never changes the epoch of its own outputs, but may change that of other parts."""
    n, epochs = 12, 40
    outputs = RNG.normal(size=(epochs, n, 1))
    y = RNG.normal(size=(n, 1))

    def seen(targets):
        held_out = HeldOut(Data(np.empty((n, 0)), targets), lambda t, o: float(((t - o) ** 2).mean()), 3)
        for epoch in range(epochs):
            held_out.see(epoch, outputs[epoch])
        return held_out

    first = seen(y)
    errors = ((outputs - y) ** 2).mean(axis=(1, 2))
    assert first.best_epoch == errors.argmin()
    assert first._best[-1] == errors.min()
    for row in range(n):
        for value in (-5.0, 5.0):
            changed = y.copy()
            changed[row] = value
            np.testing.assert_array_equal(seen(changed).outputs[row], first.outputs[row])


def test_a_single_held_out_row_takes_the_last_epoch():
    held_out = HeldOut(Data(np.empty((1, 0)), np.zeros((1, 1))), lambda t, o: float(np.abs(t - o).mean()), 0)
    for epoch, value in enumerate((3.0, 1.0, 2.0)):
        held_out.see(epoch, np.array([[value]]))
    assert held_out.best_epoch == 1
    assert held_out.outputs.tolist() == [[2.0]]
