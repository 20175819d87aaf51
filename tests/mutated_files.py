"""Model files of several kinds, and random changes of them that keep the checksum right."""

import copy
import hashlib
import json

import numpy as np

import fastnn
from fastnn import layers, metrics, optimizers

NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    255,
    4096,
    10**6,
    10**9,
    1 << 31,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    10**30,
    0.5,
    -0.0,
    1e-300,
    1e300,
]
OTHERS = [
    None,
    True,
    False,
    "",
    "1",
    "01f4",
    "F32",
    "float32",
    "os.system",
    "9" * 400,
    ["["],
    ["(a+)+$"],
    "\ud800",
    [],
    {},
    [1],
    [[1, 2]],
    {"a": 1},
]
NAMED = [
    {"class_name": "AUC", "config": {"num_thresholds": 10**9}},
    {"class_name": "MeanIoU", "config": {"num_classes": 10**7}},
    {"class_name": "Rescaling", "config": {"scale": 2.0}},
    {"class_name": "Dropout", "config": {"rate": 0.5}},
    {"class_name": "Dense", "config": {"units": 10**9}},
    {"class_name": "Flatten", "config": {}},
    {"class_name": "ExponentialDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 1, "decay_rate": 1e300}},
    {"class_name": "Constant", "config": {"value": [0.0]}},
    {"class_name": "relu", "config": {"max_value": 1.0}},
    {"function": "exec"},
]


def sample_files(folder):
    """Return the bytes of files that `save` and `save_weights` wrote, by name."""
    models = {
        "plain": [fastnn.Input((2,)), layers.Dense(3, activation="tanh"), layers.Dense(1)],
        "deep": [
            layers.Dense(4, input_dim=2, kernel_regularizer="l2", bias_constraint="non_neg"),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.1),
            layers.Residual([layers.Dense(3, activation="elu"), layers.Residual([layers.PReLU()]), layers.Dense(4)]),
            layers.Dropout(0.5),
            layers.LayerNormalization(center=False, scale=False),
            layers.Dense(1),
        ],
        "weightless": [fastnn.Input((2,)), layers.Rescaling(0.5, 1.0), layers.GaussianNoise(1.0)],
        "rows": [fastnn.Input((2, 1)), layers.Flatten(), layers.Normalization(missing="indicator"), layers.Dense(1)],
    }
    compiled = {
        "plain": ("adam", "mse", ["mae", metrics.AUC(), metrics.MeanIoU(num_classes=2)]),
        "deep": (
            optimizers.AdamW(optimizers.schedules.CosineDecay(0.1, 10), use_ema=True, gradient_accumulation_steps=2),
            fastnn.losses.Huber(0.7),
            [metrics.Precision(thresholds=[0.2, 0.5]), metrics.PrecisionAtRecall(0.5, num_thresholds=20)],
        ),
        "rows": (optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0), "binary_crossentropy", None),
    }
    compiled["deep"][0].exclude_from_weight_decay(var_names=["bias", "gamma"])
    files = {}
    for name, stack in models.items():
        model = fastnn.Sequential(stack, seed=0, dtype="float64" if name == "deep" else "float32")
        if name in compiled:
            optimizer, loss, measured = compiled[name]
            model.compile(optimizer, loss, metrics=measured)
            X = np.eye(2).reshape(2, *model.all_layers[0].declared_input)
            model.fit(X, np.array([0.0, 1.0]), epochs=1, verbose=0)
        if name == "plain":
            model.feature_names_in_ = ["depth", "distance"]
        model.save(folder / name)
        files[name] = (folder / name).read_bytes()
    model.save_weights(folder / "weights")
    files["weights"] = (folder / "weights").read_bytes()
    return files


def taken_apart(data):
    """Return the header and the body of a file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put_together(header, body, sign=True):
    """Return the file of a header and a body, by default with the right checksum."""
    if isinstance(header, dict):
        if sign and isinstance(header.get("__metadata__"), dict):
            header["__metadata__"]["sha256"] = hashlib.sha256(body).hexdigest()
        header = json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + body


def mutated(data, draw):
    """Return a file with a few random changes, most of them of its description, and then with the right checksum."""
    header, body = taken_apart(data)
    kind = draw.random()
    if kind < 0.1:
        return _changed_bytes(data, draw)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        metadata = header.get("__metadata__")
        known = ("model", "compile", "training", "features", "fit")
        texts = [name for name in known if isinstance(metadata, dict) and name in metadata]
        if texts and draw.random() < 0.75:
            _change_text(metadata, draw.choice(texts), draw)
        else:
            change_value(header, draw)
    if draw.random() < 0.1:
        body = body[: draw.randrange(len(body) + 1)] + bytes(draw.choice([0, 0, 1, 4096]))
    return put_together(header, body)


def _changed_bytes(data, draw):
    """Return the data with bytes changed, taken out or put in."""
    wrong = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        place = draw.randrange(len(wrong)) if wrong else 0
        some = bytes(draw.randrange(256) for _ in range(draw.randint(0, 9)))
        wrong[place : place + draw.randint(0, 9)] = some
    return bytes(wrong)


def _change_text(metadata, name, draw):
    """Change one of the JSON texts of a description: the parsed text, or its characters."""
    text = metadata[name]
    if not isinstance(text, str) or draw.random() < 0.1:
        text = str(text)
        place = draw.randrange(len(text) + 1)
        metadata[name] = (
            text[:place] + draw.choice(["", "0", "9" * 5000, "}", "[" * 3000, '"', "NaN", "-"]) + text[place + 1 :]
        )
        return
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return
    for _ in range(draw.choice([1, 1, 2, 4]) if isinstance(parsed, dict | list) else 0):
        change_value(parsed, draw)
    metadata[name] = json.dumps(parsed)


def _places(value, found, depth=0):
    """Collect all (container, key) in a JSON value, those deep inside excepted."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        found.append((value, key))
        if isinstance(each, dict | list) and depth < 50:
            _places(each, found, depth + 1)
    return found


def change_value(value, draw):
    """Change a JSON value somewhere inside, in place."""
    places = _places(value, [])
    if not places:
        return
    container, key = draw.choice(places)
    old = container[key]
    kind = draw.randrange(8)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, list):
        container.extend(copy.deepcopy(old) for _ in range(draw.choice([1, 1, 2, 300])))
    elif kind == 1:
        container[draw.choice(["x", "dtype", "name", "seed", "trainable", "units", "shape", f"{key}x"])] = (
            copy.deepcopy(old)
        )
    elif kind == 2:
        other, place = draw.choice(places)
        container[key] = copy.deepcopy(other[place])
    elif kind == 3:
        container[key] = copy.deepcopy(draw.choice(NAMED))
    elif kind == 4 and isinstance(old, dict):
        container[key] = {
            "class_name": "Residual",
            "config": {"layers": [copy.deepcopy(old)] * draw.choice([1, 2, 40])},
        }
    elif kind == 5 and isinstance(old, int | float):
        container[key] = draw.choice([old + 1, old - 1, -old, float(old), str(old), bool(old), old * 10**9])
    elif kind == 6:
        container[key] = copy.deepcopy(draw.choice(OTHERS))
    else:
        container[key] = draw.choice(NUMBERS)
