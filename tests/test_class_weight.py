"""Factors of the loss by class: the same as the factors of the rows, for every loss whose targets have classes."""

import re

import numpy as np
import pytest
from same_bits import same_weights
from sample_models import linear_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
NUMBERS = RNG.normal(size=(20, 2))
LABELS = np.arange(20) % 4
BINARY = np.arange(20) % 2


def test_class_weight_equals_sample_weight():
    weights = {0: 3.0, 2: 0.25}
    rows = np.array([weights.get(label, 1.0) for label in LABELS.tolist()])
    given = 1.0 + np.arange(20) / 32.0
    for loss, y in (("sparse_categorical_crossentropy", LABELS), ("categorical_crossentropy", np.eye(4)[LABELS])):
        by_class, by_row = linear_model(loss, 4), linear_model(loss, 4)
        a = by_class.fit(X, y, class_weight=weights, sample_weight=given, validation_split=0.2, verbose=0).history
        train = by_row.fit(X[:16], y[:16], sample_weight=(rows * given)[:16], verbose=0).history
        assert a["loss"] == train["loss"]
        # Validation rows are weighted by sample_weight alone.
        expected = by_class.evaluate(X[16:], y[16:], sample_weight=given[16:], verbose=0)
        assert a["val_loss"] == [expected]
        np.testing.assert_array_equal(by_class.get_weights()[0], by_row.get_weights()[0])


def test_class_weight_of_a_binary_target():
    by_class, by_row = linear_model("binary_crossentropy", 1), linear_model("binary_crossentropy", 1)
    by_class.fit(X, BINARY, class_weight={1: 5.0}, verbose=0)
    by_row.fit(X, BINARY, sample_weight=1.0 + 4.0 * BINARY, verbose=0)
    np.testing.assert_array_equal(by_class.get_weights()[0], by_row.get_weights()[0])


TERNARY = np.arange(20) % 3
CLASS_TARGETS = {
    "mse of 0 and 1": ("mse", BINARY, {1: 5.0}, BINARY),
    "mae of a column": ("mae", BINARY[:, None], {0: 2.0, 1: 5.0}, BINARY),
    "mse of whole numbers": ("mse", TERNARY, {2: 3.0, 0: 0.5}, TERNARY),
    "hinge of -1 and 1": ("hinge", 2 * BINARY - 1, {-1: 2.0, 1: 0.5}, 2 * BINARY - 1),
    "hinge of 0 and 1": ("hinge", BINARY, {0: 2.0}, BINARY),
    "dice of 0 and 1": ("dice", BINARY, {1: 4.0}, BINARY),
    "mse of one-hot rows": ("mse", np.eye(3)[TERNARY], {2: 3.0, 0: 0.5}, TERNARY),
    "hinge of one-hot rows": ("hinge", 2 * np.eye(3)[TERNARY] - 1, {2: 3.0}, TERNARY),
    "dice of one-hot rows": ("dice", np.eye(3)[TERNARY], {1: 2.0}, TERNARY),
    "binary cross-entropy of one-hot rows": ("binary_crossentropy", np.eye(3)[TERNARY], {1: 2.0}, TERNARY),
    "huber of one-hot rows": ("huber", np.eye(3)[TERNARY], {1: 2.0}, TERNARY),
}


@pytest.mark.parametrize("name", CLASS_TARGETS)
def test_class_weight_with_every_loss_whose_targets_have_classes(name):
    loss, y, weights, classes = CLASS_TARGETS[name]
    units = y.shape[1] if y.ndim > 1 else 1
    factors = np.array([weights.get(label, 1.0) for label in classes.tolist()])
    by_class, by_row, by_batch, one_by_one = (linear_model(loss, units) for _ in range(4))
    by_class.fit(X, y, 7, class_weight=weights, shuffle=False, verbose=0)
    by_row.fit(X, y, 7, sample_weight=factors, shuffle=False, verbose=0)
    batches = [(X[start : start + 7], y[start : start + 7]) for start in range(0, 20, 7)]
    by_batch.fit(iter(batches), class_weight=weights, verbose=0)
    for batch in batches:
        one_by_one.train_on_batch(*batch, class_weight=weights)
    assert same_weights(by_class, by_row) and same_weights(by_batch, by_row) and same_weights(one_by_one, by_row)


def test_class_weights_of_targets_without_classes_are_refused():
    cases = [
        ("mse", NUMBERS[:, 0], {0: 1.0}, f"but y has {np.float32(NUMBERS[0, 0]):g} at row 0"),
        ("mse", NUMBERS, {0: 1.0}, "but y has 2 columns that are not one-hot"),
        ("binary_crossentropy", np.ones((20, 2)), {0: 1.0}, "but y has 2 columns that are not one-hot"),
        ("mse", BINARY, {2: 1.0}, "class_weight has class 2; the classes are 0 to 1"),
        ("mse", BINARY, {-1: 1.0}, "class_weight has class -1; the classes are 0 to 1"),
        ("hinge", 2 * BINARY - 1, {0: 1.0}, "class_weight has class 0; the classes are -1 and 1"),
        ("mse", TERNARY, {3: 1.0}, "class_weight has class 3; the classes are 0 to 2"),
        ("mse", BINARY, {True: 1.0}, "class_weight has class True"),
    ]
    for loss, y, weights, message in cases:
        model = linear_model(loss, y.shape[1] if y.ndim > 1 else 1)
        with pytest.raises(ValueError, match=re.escape(message)):
            model.fit(X, y, class_weight=weights, verbose=0)
        assert model.network.iterations == 0
