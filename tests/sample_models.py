"""Compiled models for tests that need some model, but not a particular one; a custom loss, and a hook of epochs."""

import numpy as np

import fastnn
from fastnn import layers
from fastnn.callbacks import Callback


class OneByOne(Callback):
    """A hook of epochs: training returns to Python after each."""

    def on_epoch_end(self, epoch, logs=None):
        pass


def halved_square(y_true, y_pred):
    """A custom loss."""
    return float(np.mean((y_pred - y_true) ** 2) / 2), (y_pred - y_true) / y_pred.size


def tanh_model(optimizer="sgd", loss="mse", metrics=None, units=1, dtype="float32"):
    """3 inputs, 5 tanh units, ``units`` outputs."""
    stack = [fastnn.Input((3,)), layers.Dense(5, activation="tanh"), layers.Dense(units)]
    model = fastnn.Sequential(stack, seed=1, dtype=dtype)
    model.compile(optimizer, loss, metrics=metrics)
    return model


def relu_model(*extra, seed=3, optimizer="adam", loss="mse", metrics=None, n_in=4, **options):
    """``n_in`` inputs, 7 relu units, the extra layers, 2 outputs."""
    stack = [fastnn.Input((n_in,)), layers.Dense(7, activation="relu"), *extra, layers.Dense(2)]
    model = fastnn.Sequential(stack, seed=seed, **options)
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
    return model


def dropout_model(seed=3, optimizer="adam", width=8):
    """3 inputs, ``width`` relu units with dropout, 1 output."""
    stack = [fastnn.Input((3,)), layers.Dense(width, activation="relu"), layers.Dropout(0.1), layers.Dense(1)]
    model = fastnn.Sequential(stack, seed=seed)
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def linear_model(loss="mse", units=2, **options):
    """A compiled model of one dense layer, of three features."""
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(units)], seed=1, **options)
    model.compile(optimizer="sgd", loss=loss)
    return model
