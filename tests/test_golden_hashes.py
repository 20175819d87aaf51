"""Weights of twelve recipes after 1,000 steps: pinned hashes, the same on every instruction set of every machine."""

import json

import golden_bits
import pytest

from fastnn import _core


@pytest.fixture(scope="module")
def computed(run_per_isa):
    """Hashes of each instruction set of this machine (tests/golden_bits.py)."""
    return run_per_isa("golden_bits.py")


@pytest.mark.parametrize("isa", _core.config()["isas"])
def test_weights_after_1000_steps_are_the_pinned_ones(computed, isa):
    pinned = json.loads(golden_bits.PINNED.read_text(encoding="utf-8"))
    assert len(pinned["fused"]) == len(golden_bits.RECIPES) == 12
    assert computed[isa]["hashes"] == pinned["baseline" if isa == "baseline" else "fused"]
