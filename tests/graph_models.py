"""Graphs for the tests of models as graphs."""

import numpy as np
from keras_graph_cases import CASES, Layers, starting_weights

import fastnn
import fastnn.diagram
from fastnn import layers

CODES = np.array(["P", "S", "P", "Lg"] * 10)


def two_by_two(seed=0, **options):
    """Two inputs, two outputs."""
    a, b = fastnn.Input((4,), name="a"), fastnn.Input((3,), name="b")
    h = layers.Dense(6, activation="tanh", name="h")(layers.concatenate([a, b]))
    heads = [layers.Dense(1, name="p")(h), layers.Dense(2, name="q")(h)]
    model = fastnn.Model([a, b], heads, seed=seed, **options)
    model.compile("adam", loss=["mse", "mae"], metrics={"q": ["mse"]})
    return model


def built(name, dtype="float64"):
    model = CASES[name].build(fastnn, Layers(fastnn, dtype))
    model.set_weights(starting_weights(model))
    return model


def same(left, right):
    """Whether two predictions have the same form and bits."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return np.array_equal(left, right)
