"""Random numbers for dropout and noise in plain NumPy: Philox4x32 with 7 rounds (Salmon et al., 2011)."""

from statistics import NormalDist

import numpy as np

from fastnn.reference.arguments import Array

ROUNDS = 7
_LOW = np.uint64(0xFFFFFFFF)
_EPOCH_FACTOR = 0x9E3779B97F4A7C15


def random_bits(shape: tuple[int, int], seed: int, epoch: int, step: int, stream: int) -> Array:
    """Return 32 random bits for each element of a batch, uint64 (rows, features).

    The counters are row, feature // 4, step and stream; one call gives four features.

    Parameters
    ----------
    shape : rows of the batch, features.
    seed, epoch : the model's seed and the number of the epoch, counted from 1; they form the key.
    step : number of the step in the epoch, counted from 0.
    stream : number of the layer.
    """
    rows, features = shape
    groups = -(-features // 4)
    key = (seed ^ (epoch * _EPOCH_FACTOR)) & 0xFFFFFFFFFFFFFFFF
    key_0, key_1 = key & 0xFFFFFFFF, key >> 32
    first = np.repeat(np.arange(rows, dtype=np.uint64), groups)
    c = [
        first,
        np.tile(np.arange(groups, dtype=np.uint64), rows),
        np.full_like(first, step & 0xFFFFFFFF),
        np.full_like(first, stream),
    ]
    for _ in range(ROUNDS):
        product_0, product_1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [
            (product_1 >> np.uint64(32)) ^ c[1] ^ np.uint64(key_0),
            product_1 & _LOW,
            (product_0 >> np.uint64(32)) ^ c[3] ^ np.uint64(key_1),
            product_0 & _LOW,
        ]
        key_0, key_1 = (key_0 + 0x9E3779B9) & 0xFFFFFFFF, (key_1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=1).reshape(rows, 4 * groups)[:, :features]


def dropped(shape: tuple[int, int], rate: float, seed: int, epoch: int, step: int, stream: int) -> Array:
    """Return the mask of the dropped elements of a batch, whose bits are below ``rate * 2^32``."""
    threshold = min(int(rate * 2.0**32), 2**32 - 1)
    mask: Array = random_bits(shape, seed, epoch, step, stream) < threshold
    return mask


def normal(shape: tuple[int, int], seed: int, epoch: int, step: int, stream: int) -> Array:
    """Return standard normal numbers (rows, features): the quantiles of ``(bits + 0.5) / 2^32`` (Wichura, 1988)."""
    uniform = (random_bits(shape, seed, epoch, step, stream).astype(np.float64) + 0.5) * 2.0**-32
    quantile = NormalDist().inv_cdf
    return np.array([quantile(u) for u in uniform.ravel()]).reshape(shape)
