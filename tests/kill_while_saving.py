"""Kills processes with SIGKILL while they save checkpoints, and counts files that are lost or torn.

Run: python tests/kill_while_saving.py FOLDER KILLS SEED; prints the counts as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn import layers


def save_forever(model: fastnn.Sequential, path: Path) -> None:
    """Save models whose weights are all one number, a new one every time."""
    shapes = [value.shape for value in model.get_weights()]
    number = 0
    while True:
        number += 1
        model.set_weights([np.full(shape, number) for shape in shapes])
        model.save(path)


def main() -> None:
    """Start, kill and check."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    draw = random.Random(seed)
    path = folder / "checkpoint.safetensors"
    model = fastnn.Sequential([fastnn.Input((64,)), layers.Dense(96), layers.Dense(3)], seed=0)
    model.compile("adam", "mse")
    model.save(path)
    lost = torn = changed = 0
    for _ in range(kills):
        before = path.stat().st_mtime_ns
        child = os.fork()
        if child == 0:
            save_forever(model, path)
        time.sleep(draw.uniform(0.0005, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        changed += path.exists() and path.stat().st_mtime_ns != before
        try:
            weights = fastnn.load_model(path).get_weights()
            same = len({value for array in weights for value in np.unique(array).tolist()}) == 1
            torn += path.stat().st_mtime_ns != before and not same
        except FileNotFoundError:
            lost += 1
        except fastnn.ModelFormatError:
            torn += 1
    left_over = [name for name in os.listdir(folder) if name.endswith(".tmp")]
    print(json.dumps({"lost": lost, "torn": torn, "changed": int(changed), "interrupted": len(left_over)}))


if __name__ == "__main__":
    main()
