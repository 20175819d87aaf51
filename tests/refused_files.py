"""A small model file, changes of what it says, and loading a file that must be refused."""

import json
import time

import numpy as np
import pytest
from mutated_files import put_together, taken_apart

import fastnn
from fastnn import ModelFormatError, layers


def small_file(folder):
    """Return the bytes of the file of a trained model of two layers."""
    path = folder / "m.safetensors"
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(3, activation="tanh"), layers.Dense(1)], seed=0)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.eye(2), np.ones(2), epochs=1, verbose=0)
    model.save(path)
    return path.read_bytes()


def refused(data, folder):
    """Return the message for these bytes as a file."""
    path = folder / "m.safetensors"
    path.write_bytes(data)
    return message_of(path)


def message_of(path):
    """Return the message for a file; it takes at most a second of the processor."""
    start = time.process_time()
    with pytest.raises(ModelFormatError) as caught:
        fastnn.load_model(path)
    assert time.process_time() - start < 1.0
    return str(caught.value)


def described(data, path, value):
    """Return the file with one value of its description changed."""
    header, body = taken_apart(data)
    key, *steps, last = path
    text = json.loads(header["__metadata__"][key])
    place = text
    for step in steps:
        place = place[step]
    if isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    header["__metadata__"][key] = json.dumps(text)
    return put_together(header, body)
