"""Print as JSON what a rank has received in 80 steps, and the bytes of all weights. test_distributed.py runs this.

Run: mpiexec -n 2 python tests/distributed_volume.py [ranks | messages].
"""

import json
import sys

import numpy as np

import fastnn

if __name__ == "__main__":
    X = np.random.default_rng(0).normal(size=(40 * 64, 60)).astype("f4")
    with fastnn.distributed.mpi(least_operations=0, shared_memory=sys.argv[1] == "ranks") as ranks:
        model = fastnn.Sequential([fastnn.layers.Dense(100, activation="relu"), fastnn.layers.Dense(1)], seed=1)
        model.compile("adam", "mse")
        model.fit(X, X[:, :1], batch_size=64, epochs=2, verbose=0)
        n_bytes = sum(weight.nbytes for weight in model.get_weights())
        print(json.dumps({"exchanges": ranks.n_exchanges, "bytes": ranks.n_bytes, "weights": n_bytes}))
