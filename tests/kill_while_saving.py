"""Kill processes with SIGKILL while they save checkpoints, and count the files that are lost or torn.

Run: python tests/kill_while_saving.py FOLDER KILLS CHANGED INTERRUPTED SEED. Prints the counts as JSON. It kills at
least KILLS processes, and continues until more than CHANGED of them had completed a save and more than INTERRUPTED were
killed during one, or until 20 * KILLS are killed.
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


def save_forever(model: fastnn.Sequential, path: Path, begun: int) -> None:
    """Save models whose weights are all one number, a new number each time; write a byte to ``begun`` before each."""
    shapes = [value.shape for value in model.get_weights()]
    number = 0
    while True:
        number += 1
        model.set_weights([np.full(shape, number) for shape in shapes])
        os.write(begun, b"s")
        model.save(path)


def temporary_files(folder: Path) -> set[str]:
    """Names of the temporary files of interrupted saves: a kill leaves one, which the next save removes."""
    return {name for name in os.listdir(folder) if name.endswith(".tmp")}


def main() -> None:
    """Start a process, kill it and check the file, until enough kills have hit a save."""
    folder, (least, after, within, seed) = Path(sys.argv[1]), map(int, sys.argv[2:])
    draw = random.Random(seed)
    path = folder / "checkpoint.safetensors"
    model = fastnn.Sequential([fastnn.Input((64,)), layers.Dense(96), layers.Dense(3)], seed=0)
    model.compile("adam", "mse")
    model.save(path)
    kills = lost = torn = changed = interrupted = 0
    left: set[str] = set()
    while kills < least or (kills < 20 * least and (changed <= after or interrupted <= within)):
        kills += 1
        before = path.stat().st_mtime_ns
        progress, begun = os.pipe()
        child = os.fork()
        if child == 0:
            save_forever(model, path, begun)
        os.close(begun)
        # Wait for a number of saves, not for a time, in which a busy machine may not save at all.
        for _ in range(draw.randint(1, 3)):
            os.read(progress, 1)
        time.sleep(draw.uniform(0.0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(progress)
        changed += path.exists() and path.stat().st_mtime_ns != before
        try:
            weights = fastnn.load_model(path).get_weights()
            same = len({value for array in weights for value in np.unique(array).tolist()}) == 1
            torn += path.stat().st_mtime_ns != before and not same
        except FileNotFoundError:
            lost += 1
        except fastnn.ModelFormatError:
            torn += 1
        left |= temporary_files(folder)
        interrupted = len(left)
    counts = {"kills": kills, "lost": lost, "torn": torn, "changed": int(changed), "interrupted": interrupted}
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
