"""Starting weights: distributions, limits, and the same numbers for the same seed."""

import numpy as np
import pytest

import fastnn
from fastnn import initializers, layers

SHAPE = (300, 200)


def standard_error(values):
    """Standard error of the standard deviation of normal numbers."""
    return values.std() / np.sqrt(2.0 * values.size)


@pytest.mark.parametrize(
    ("name", "variance", "limit"),
    [
        ("glorot_uniform", 2 / 500, np.sqrt(6 / 500)),
        ("he_uniform", 2 / 300, np.sqrt(6 / 300)),
        ("lecun_uniform", 1 / 300, np.sqrt(3 / 300)),
        ("glorot_normal", 2 / 500, 2 * np.sqrt(2 / 500) / 0.87962566103423978),
        ("he_normal", 2 / 300, 2 * np.sqrt(2 / 300) / 0.87962566103423978),
        ("lecun_normal", 1 / 300, 2 * np.sqrt(1 / 300) / 0.87962566103423978),
        ("random_normal", 0.05**2, np.inf),
        ("truncated_normal", (0.05 * 0.87962566103423978) ** 2, 0.1),
        ("random_uniform", 0.1**2 / 12, 0.05),
    ],
)
def test_variance_and_limits(name, variance, limit):
    values = type(initializers.get(name))(seed=7)(SHAPE, "float64")
    assert values.shape == SHAPE
    assert abs(values.std() - np.sqrt(variance)) < 5 * standard_error(values)
    assert abs(values.mean()) < 5 * values.std() / np.sqrt(values.size)
    assert np.abs(values).max() <= limit
    if np.isfinite(limit):
        assert np.abs(values).max() > 0.99 * limit
    assert len(np.unique(values)) > 0.999 * values.size


def test_constant_ones_zeros_identity():
    assert (initializers.Zeros()((2, 3)) == 0).all()
    assert (initializers.Ones()((2, 3)) == 1).all()
    assert (initializers.Constant(2.5)((2, 3)) == 2.5).all()
    assert (initializers.Identity(3.0)((2, 3)) == 3.0 * np.eye(2, 3)).all()
    assert initializers.Ones()(4, "float64").dtype == np.float64
    with pytest.raises(ValueError, match=r"holds shape \(2,\), the weight has shape \(2, 3\)"):
        initializers.Constant([1.0, 2.0])((2, 3))
    for kind in (initializers.Identity, initializers.Orthogonal):
        with pytest.raises(ValueError, match="needs a matrix"):
            kind()((3,))


def test_signs_are_equally_likely():
    values = initializers.RandomSigns(seed=7)(SHAPE, "float64")
    assert set(np.unique(values)) == {-1.0, 1.0}
    assert abs(values.mean()) < 5 / np.sqrt(values.size)
    assert initializers.get("random_signs").get_config() == {"seed": None}


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal(shape):
    values = initializers.Orthogonal(gain=2.0, seed=1)(shape, "float64")
    product = values @ values.T if shape[0] <= shape[1] else values.T @ values
    np.testing.assert_allclose(product, 4.0 * np.eye(min(shape)), atol=1e-12)


def test_seeds_of_initializers_and_models():
    first, second = initializers.HeNormal(seed=4), initializers.HeNormal(seed=4)
    np.testing.assert_array_equal(first(SHAPE), second(SHAPE))
    assert not np.array_equal(first(SHAPE), initializers.HeNormal(seed=5)(SHAPE))
    assert not np.array_equal(initializers.HeNormal()(SHAPE), initializers.HeNormal()(SHAPE))

    def kernels(seed, **options):
        stack = [fastnn.Input((6,)), layers.Dense(6, **options), layers.Dense(6, **options)]
        return fastnn.Sequential(stack, seed=seed).get_weights()[::2]

    a, b = kernels(1), kernels(1)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a[0], a[1])
    assert not np.array_equal(a[0], kernels(2)[0])
    # An initializer's own seed wins over the model's.
    np.testing.assert_array_equal(
        kernels(1, kernel_initializer=initializers.HeNormal(seed=9)),
        kernels(2, kernel_initializer=initializers.HeNormal(seed=9)),
    )


def test_float32_weights_are_the_rounded_float64_ones():
    stack = [fastnn.Input((6,)), layers.Dense(6)]
    single = fastnn.Sequential(stack, seed=1).get_weights()[0]
    double = fastnn.Sequential([fastnn.Input((6,)), layers.Dense(6)], seed=1, dtype="float64").get_weights()[0]
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_initializers_of_a_layer():
    start = np.arange(6.0).reshape(2, 3)
    layer = layers.Dense(3, kernel_initializer=start, bias_initializer=initializers.Constant(7.0))
    fastnn.Sequential([fastnn.Input((2,)), layer])
    np.testing.assert_array_equal(layer.kernel, start)
    np.testing.assert_array_equal(layer.bias, np.full(3, 7.0))
    with pytest.raises(ValueError, match="the weight has shape"):
        fastnn.Sequential([fastnn.Input((3,)), layers.Dense(3, kernel_initializer=start)])
    for wrong in ({"mode": "fan_side"}, {"distribution": "gamma"}, {"scale": 0.0}):
        with pytest.raises(ValueError):
            initializers.VarianceScaling(**wrong)


def test_to_categorical_and_normalize():
    one_hot = fastnn.utils.to_categorical([[2], [0]], num_classes=4)
    np.testing.assert_array_equal(one_hot, [[0, 0, 1, 0], [1, 0, 0, 0]])
    for wrong, options, message in (
        ([0, -1], {}, "x has label -1"),
        ([0, 4], {"num_classes": 4}, "x has label 4; labels must be whole numbers from 0 to 3"),
        ([0.5], {}, "x has label 0.5"),
        ([np.nan], {}, "x has label nan"),
        (["a"], {}, "x must be real numbers"),
        ([], {}, "x is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            fastnn.utils.to_categorical(wrong, **options)
    np.testing.assert_allclose(fastnn.utils.normalize([[3.0, 4.0], [0.0, 0.0]]), [[0.6, 0.8], [0.0, 0.0]])
