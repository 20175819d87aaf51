"""Any array gives the same bits as a clean copy, or a ValueError; the user's array is never modified."""

import numpy as np
import pytest
from same_bits import same_arrays, same_weights
from sample_models import tanh_model

import fastnn

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", "c8", "O", "U3", "M8[s]"]


@st.composite
def arrays(draw):
    """Arrays of any dtype, byte order, strides and alignment; some with values that are not finite."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.sampled_from([(5, 3), (1, 3), (7, 3), (0, 3), (5, 2), (3,), (5, 3, 1), ()]))
    if dtype.kind in "OUM":
        array = np.zeros(shape, dtype)
    else:
        values = draw(hnp.arrays("i1", shape, elements=st.integers(0, 1 if dtype.kind == "b" else 100)))
        array = values.astype(dtype)
        if dtype.kind == "f" and array.size and draw(st.booleans()):
            array.reshape(-1)[draw(st.integers(0, array.size - 1))] = draw(
                st.sampled_from([np.nan, np.inf, -np.inf, 0.5, -0.0, float(np.finfo(dtype).max), 1e-40])
            )
    layout = draw(st.sampled_from(["C", "F", "reversed", "strided", "swapped", "misaligned", "read-only", "broadcast"]))
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "reversed" and array.ndim:
        return array[::-1]
    if layout == "strided" and array.ndim == 2:
        wide = np.zeros((2 * shape[0], 2 * shape[1]), dtype)
        wide[::2, ::2] = array
        return wide[::2, ::2]
    if layout == "swapped" and dtype.kind in "iufc":
        return array.astype(dtype.newbyteorder())
    if layout == "misaligned" and dtype.kind in "iuf" and array.size:
        space = np.zeros(array.nbytes + 1, np.uint8)[1:].view(dtype).reshape(shape)
        space[...] = array
        return space
    if layout == "read-only":
        array.flags.writeable = False
    if layout == "broadcast" and array.ndim == 2 and array.shape[0]:
        return np.broadcast_to(array[0], shape)
    return array


@hypothesis.given(arrays(), st.sampled_from(["float32", "float64"]))
@hypothesis.settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_any_array_as_inputs(given_array, dtype):
    kept = given_array.copy()
    model = tanh_model("adam", dtype=dtype)
    before = model.get_weights()
    y = np.linspace(0.0, 1.0, len(given_array)) if given_array.ndim else np.zeros(1)
    try:
        predicted = model.predict(given_array)
    except ValueError:
        with pytest.raises(ValueError):
            model.fit(given_array, y, verbose=0)
        assert same_arrays(before, model.get_weights())
        np.testing.assert_array_equal(given_array, kept)
        return
    clean = np.array(given_array, dtype=np.float64)
    assert clean.shape[1:] == (3,) and np.isfinite(clean).all()
    other = tanh_model("adam", dtype=dtype)
    np.testing.assert_array_equal(predicted, other.predict(clean))
    np.testing.assert_array_equal(predicted, model(given_array))
    if not len(clean):
        with pytest.raises(ValueError, match="x is empty"):
            model.fit(given_array, y, verbose=0)
    elif np.abs(clean).max() <= 100.0:
        model.fit(given_array, y, batch_size=3, verbose=0)
        other.fit(clean, y, batch_size=3, verbose=0)
        assert same_weights(model, other)
    np.testing.assert_array_equal(given_array, kept)


@hypothesis.given(
    arrays(), st.sampled_from(["mse", "bce", "sparse_categorical_crossentropy", "categorical_crossentropy"])
)
@hypothesis.settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_any_array_as_targets(given_array, loss):
    kept = given_array.copy()
    model = tanh_model("adam", loss, units=3)
    before = model.get_weights()
    X = np.linspace(-1.0, 1.0, 15).reshape(5, 3)
    try:
        model.fit(X, given_array, verbose=0)
    except (ValueError, fastnn.DivergenceError):
        assert same_arrays(before, model.get_weights())
    else:
        assert len(given_array) == 5 and np.isfinite(np.array(given_array, np.float64)).all()
        assert all(np.isfinite(weight).all() for weight in model.get_weights())
    np.testing.assert_array_equal(given_array, kept)
