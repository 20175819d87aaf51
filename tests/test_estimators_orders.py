"""Orders of rows that the fits of a search share are those that each would draw, as are random numbers after them."""

import numpy as np
import pytest

import fastnn.estimators.orders as orders
from fastnn.estimators.orders import SharedOrders, draw_orders


def drawn(draw, seed, n, counts, skipped=0):
    """Orders of some stretches of epochs, and a number that is drawn after them."""
    random, order = np.random.RandomState(seed), np.arange(n)
    random.uniform(size=skipped)
    found = [draw(random, order, count).copy() for count in counts]
    return found, order, random.randint(2**31, size=5), random.normal()


def assert_equal(found, expected):
    for a, b in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_epoch_is_scikit_learns_shuffle_of_the_order_before():
    random, order = np.random.RandomState(3), np.arange(20)
    expected, rows = [], np.arange(20)
    other = np.random.RandomState(3)
    for _ in range(4):
        rows = rows[other.permutation(20)]
        expected.append(rows)
    np.testing.assert_array_equal(draw_orders(random, order, 4), expected)


@pytest.mark.parametrize("most", [10**6, 200, 1])
def test_shared_orders_are_those_that_each_fit_would_draw(monkeypatch, most):
    monkeypatch.setattr(orders, "_MOST_SHARED", most)
    shared = SharedOrders()
    fits = [(0, 12, [3, 1, 5], 0), (0, 12, [3, 1, 5], 0), (0, 12, [2, 4], 0), (0, 12, [3, 1, 5], 7), (1, 12, [3], 0)]
    fits += [(0, 13, [3, 1], 0), (0, 12, [3, 1, 5], 0), (0, 12, [2, 4], 0)]
    for fit in fits:
        assert_equal(drawn(shared, *fit), drawn(draw_orders, *fit))


def test_orders_are_drawn_once(monkeypatch):
    calls = []
    monkeypatch.setattr(orders, "draw_orders", lambda *given: calls.append(1) or draw_orders(*given))
    shared = SharedOrders()
    for _ in range(3):
        drawn(shared, 0, 12, [3, 5])
    assert len(calls) == 2


def test_a_normal_number_that_is_left_over_is_part_of_the_state():
    """A legacy generator draws normal numbers in pairs and keeps the second one."""
    shared = SharedOrders()
    for kept in (True, False, True):
        random = np.random.RandomState(0)
        random.normal(size=1 if kept else 2)
        other = np.random.RandomState(0)
        other.normal(size=1 if kept else 2)
        np.testing.assert_array_equal(shared(random, np.arange(9), 2), draw_orders(other, np.arange(9), 2))
        assert random.normal() == other.normal()
