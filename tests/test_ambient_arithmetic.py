"""The caller's rounding mode, flushing of subnormal numbers and locale change no bit, and stay as they were."""

import ctypes
import locale
import platform
import sys

import golden_bits
import numpy as np
import pytest

import fastnn
from fastnn import layers

ENVIRONMENT_BYTES, MXCSR = 32, 28  # fenv_t of x86-64: seven words of the x87, then MXCSR
TINY = np.full((4, 3), 1e-40, np.float32)
MODES = {"upward": 0x4000, "downward": 0x2000, "to zero": 0x6000, "subnormals are zero": 0x8040}

x86_64 = pytest.mark.skipif(
    not (sys.platform == "linux" and platform.machine() == "x86_64"), reason="sets a register of x86-64"
)


def set_mode(bits):
    """Set MXCSR's rounding mode and its flushing of subnormal numbers; return what they were."""
    libm = ctypes.CDLL("libm.so.6")
    environment = ctypes.create_string_buffer(ENVIRONMENT_BYTES)
    assert libm.fegetenv(environment) == 0
    register = ctypes.c_uint32.from_buffer(environment, MXCSR)
    before = register.value & 0xE040
    register.value = register.value & ~0xE040 | bits
    assert libm.fesetenv(environment) == 0
    return before


def results():
    """Hashes of two trained models, one of them in float64; a prediction of subnormal inputs; starting weights."""
    stack = [fastnn.Input((3,)), layers.Dense(5, kernel_initializer="orthogonal"), layers.Dense(2)]
    model = fastnn.Sequential(stack, seed=3)
    tiny = model.predict(TINY)
    start = [weight.tobytes() for weight in model.get_weights()]
    return (
        golden_bits.train(golden_bits.relu_adam),
        golden_bits.train(golden_bits.float64_softplus),
        start,
        tiny.tobytes(),
    )


@x86_64
@pytest.mark.parametrize("mode", MODES)
def test_the_callers_arithmetic_changes_no_bit_and_is_kept(mode):
    expected = results()
    assert set_mode(MODES[mode]) == 0
    try:
        given = results()
    finally:
        after = set_mode(0)
    assert given == expected
    assert after == MODES[mode]


def test_a_comma_locale_changes_nothing(tmp_path):
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "es_ES.UTF-8"):
        try:
            before = locale.setlocale(locale.LC_ALL)
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        break
    else:
        pytest.skip("no locale with a decimal comma is installed")
    try:
        assert locale.localeconv()["decimal_point"] == ","
        model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(5, "elu"), layers.Dropout(0.25)], seed=1)
        model.compile(fastnn.optimizers.Adam(0.0025), "mse")
        model.fit(np.eye(3), np.ones((3, 5)), verbose=0)
        model.save(tmp_path / "model.safetensors")
        again = fastnn.load_model(tmp_path / "model.safetensors")
        assert again.predict(np.eye(3)).tobytes() == model.predict(np.eye(3)).tobytes()
        assert again.optimizer.learning_rate == model.optimizer.learning_rate
    finally:
        locale.setlocale(locale.LC_ALL, before)
