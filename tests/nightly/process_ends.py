"""Processes that end while they train, at random moments: none hangs, none crashes.

Run: python tests/nightly/process_ends.py [COUNT]. Prints a line of JSON.
"""

import collections
import json
import random
import subprocess
import sys

SECONDS = 60
CODE = """
import os, sys, threading, time
import numpy as np, fastnn

def train():
    model = fastnn.Sequential([fastnn.Input((50,)), fastnn.layers.Dense(200), fastnn.layers.Dense(1)], seed=1)
    model.compile("adam", "mse")
    X = np.ones((2000, 50), "f4")
    while True:
        model.fit(X, X[:, :1], batch_size=500, epochs=3, verbose=0)

for _ in range(2):
    threading.Thread(target=train, daemon=True).start()
time.sleep({delay})
{end}
"""
ENDS = (
    "",
    "sys.exit(0)",
    "os._exit(0)",
    "raise SystemExit",
    "threading.Thread(target=lambda: time.sleep(0.1)).start()",
)


def main():
    """Start and end processes."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rng, outcomes = random.Random(0), collections.Counter()
    for _ in range(count):
        end = rng.choice(ENDS)
        code = CODE.format(delay=rng.random() * 0.3, end=end)
        try:
            run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            outcomes["hangs"] += 1
            print("hangs:", end)
            continue
        if run.returncode or run.stderr:
            outcomes["crashes"] += 1
            print(f"{end or 'end'}: {run.returncode}: {run.stderr[-500:]}")
    print(json.dumps({"ends": count, "hangs": outcomes["hangs"], "crashes": outcomes["crashes"]}))
    sys.exit(1 if outcomes else 0)


if __name__ == "__main__":
    main()
