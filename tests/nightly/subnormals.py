"""Steps of a network whose moments decay to subnormal numbers, against its first steps: their time must not grow.

Run: python tests/nightly/subnormals.py [STEPS]. Half of the units are dead, so that their moments decay for thousands
of steps. Prints a line of JSON with the ratio of processor times: of the fastest step in each hundred. It fails where
subnormal numbers cost what they do in hardware, a multiple; not on a few percent, which a busy machine makes by itself.
"""

import json
import sys
import time

import numpy as np

from fastnn import _core

MOST = 1.5


def main():
    """Train, and time windows of steps."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    rng = np.random.default_rng(0)
    network = _core.Network(64, [("dense", {"n_out": 256, "activation": "relu"}), ("dense", {"n_out": 8})], "float32")
    network.set_parameter(0, "kernel", rng.normal(size=(64, 256)) * 0.1)
    network.set_parameter(1, "kernel", rng.normal(size=(256, 8)) * 0.1)
    network.compile("mean_squared_error", {}, "adam", {"beta_1": 0.9, "beta_2": 0.98, "epsilon": 1e-7})
    X = rng.normal(size=(64, 64)).astype(np.float32)
    fit = _core.Fit(network, X, np.ascontiguousarray(X[:, :8]), None, 64, 1)
    windows = []
    for epoch in range(steps):
        if epoch == 100:  # From here on, half of the units have no gradient.
            bias = np.zeros(256)
            bias[::2] = -1e6
            network.set_parameter(0, "bias", bias)
        fit.begin_epoch(0, epoch, False, np.full(1, 1e-4))
        start = time.thread_time_ns()
        fit.run()
        windows.append(time.thread_time_ns() - start)
    parts = np.array(windows[100 : 100 + (steps - 100) // 100 * 100]).reshape(-1, 100).min(axis=1)
    ratio = float(parts[len(parts) // 2 :].max() / parts[:3].max())
    moments = network.get_parameter(0, "kernel", 1)
    subnormal = int(((moments != 0) & (abs(moments) < np.finfo(np.float32).tiny)).sum())
    print(json.dumps({"steps": steps, "ratio": round(ratio, 3), "subnormal moments": subnormal}))
    sys.exit(1 if ratio > MOST or subnormal else 0)


if __name__ == "__main__":
    main()
