"""The orders in which epochs take the rows, drawn as scikit-learn does; fits with equal random numbers share them."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Order = NDArray[np.int64]
OrderDraw = Callable[[np.random.RandomState, Order, int], Order]
"""Like ``draw_orders``."""

_MOST_SHARED = 2**22
"""Entries of the orders that are kept at a time: 32 MB."""


def draw_orders(random_state: np.random.RandomState, order: Order, count: int) -> Order:
    """Return the orders (count, n) of the next epochs.

    Parameters
    ----------
    random_state : where the random numbers come from.
    order : the order before, (n,); becomes the last one.
    count : number of epochs.
    """
    orders = np.empty((count, len(order)), np.int64)
    for row in orders:
        # In place: the same exchanges as scikit-learn's, which shuffles positions in the order before.
        random_state.shuffle(order)
        row[:] = order
    return orders


class SharedOrders:
    """Draws what ``draw_orders`` does, once for all fits whose random numbers are in the same state.

    The candidates of a search have equal seeds, and shuffling takes an eighth of a fit of 800 rows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[Any, ...], tuple[Order, dict[str, Any]]] = {}
        self._size = 0

    def __call__(self, random_state: np.random.RandomState, order: Order, count: int) -> Order:
        """Return the orders of the next epochs; arguments as of ``draw_orders``. They must not be changed."""
        before = random_state.get_state(legacy=False)
        words, *rest = before.pop("state").values()
        key = (words.tobytes(), *rest, *before.values(), order.tobytes(), count)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            orders, after = known
            random_state.set_state(after)
            order[:] = orders[-1]
            return orders
        orders = draw_orders(random_state, order, count)
        self._keep(key, orders, random_state.get_state(legacy=False))
        return orders

    def _keep(self, key: tuple[Any, ...], orders: Order, after: dict[str, Any]) -> None:
        if orders.size > _MOST_SHARED:
            return
        with self._lock:
            if self._size + orders.size > _MOST_SHARED:
                self._known, self._size = {}, 0
            if key not in self._known:
                self._known[key] = (orders, after)
                self._size += orders.size
