"""Arrays that are accepted: any layout and type, with the results of a plain copy."""

import numpy as np
import pytest
from same_bits import same_weights
from sample_models import linear_model

import fastnn
from fastnn import layers
from fastnn._arrays import as_features

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
NUMBERS = RNG.normal(size=(20, 2))
LABELS = np.arange(20) % 4


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1][::-1],
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: a.astype(np.longdouble),
        lambda a: np.concatenate([a, a], axis=1)[:, :3],
    ],
)
def test_every_memory_layout_gives_the_same_bits(convert):
    plain = linear_model(dtype="float64")
    plain.fit(X, NUMBERS, verbose=0)
    other = linear_model(dtype="float64")
    given = convert(X)
    kept = np.array(given)
    other.fit(given, NUMBERS, verbose=0)
    np.testing.assert_array_equal(np.array(given), kept)
    assert same_weights(plain, other)
    np.testing.assert_array_equal(plain.predict(X), other.predict(given))
    np.testing.assert_array_equal(plain.predict(X), np.asarray(other(given)))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float16"])
def test_other_dtypes_are_read_as_their_values(dtype):
    values = (np.arange(60).reshape(20, 3) % 2).astype(dtype)
    model = linear_model()
    np.testing.assert_array_equal(model.predict(values), model.predict(values.astype(np.float64)))
    model.fit(values, values[:, :2], verbose=0)
    other = linear_model()
    other.fit(values.astype(np.float32), values[:, :2].astype(np.float32), verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])


def test_columns_and_vectors_of_targets_are_the_same():
    weights = []
    for y in (NUMBERS[:, 0], NUMBERS[:, :1], NUMBERS[:, 0].tolist()):
        model = linear_model(units=1)
        model.fit(X, y, verbose=0, sample_weight=np.ones((20, 1)))
        weights.append(model.get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(weights[0], weights[2])
    for y in (LABELS, LABELS.reshape(-1, 1), LABELS.astype(float), LABELS.astype(np.uint8)):
        model = linear_model("sparse_categorical_crossentropy", 4)
        model.fit(X, y, verbose=0)
        weights.append(model.get_weights()[0])
    for other in weights[4:]:
        np.testing.assert_array_equal(weights[3], other)


def test_one_feature_may_be_a_vector():
    model = fastnn.Sequential([fastnn.Input((1,)), layers.Dense(1)])
    np.testing.assert_array_equal(model.predict(X[:, 0]), model.predict(X[:, :1]))


def test_nullable_numbers_of_a_frame_have_missing_values():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"count": pandas.array([1, None, 3], dtype="Int64"), "size": [0.5, 1.5, 2.5]})
    expected = np.array([[1, 0.5], [np.nan, 1.5], [3, 2.5]])
    with pytest.raises(ValueError, match="x has nan at row 1, column 0"):
        as_features(table, 2, np.dtype("float32"))
    np.testing.assert_array_equal(as_features(table, 2, np.dtype("float32"), allow_missing=True), expected)
    with pytest.raises(ValueError, match="x must be real numbers, but its dtype is object"):
        as_features(table.assign(size="large"), 2, np.dtype("float32"))
