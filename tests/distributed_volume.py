"""Print as JSON what a rank has received in 80 steps, and the bytes and a checksum of the weights.

test_distributed.py runs this: mpiexec -n 2 python tests/distributed_volume.py [ranks | messages | no memory].
"""

import json
import resource
import sys
import zlib

import numpy as np

import fastnn

if __name__ == "__main__":
    X = np.random.default_rng(0).normal(size=(40 * 64, 60)).astype("f4")
    with fastnn.distributed.mpi(least_operations=0, shared_memory=sys.argv[1] != "messages") as ranks:
        if sys.argv[1] == "no memory":
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        model = fastnn.Sequential([fastnn.layers.Dense(100, activation="relu"), fastnn.layers.Dense(1)], seed=1)
        model.compile("adam", "mse")
        model.fit(X, X[:, :1], batch_size=64, epochs=2, verbose=0)
        weights = b"".join(weight.tobytes() for weight in model.get_weights())
        found = {
            "exchanges": ranks.n_exchanges,
            "bytes": ranks.n_bytes,
            "weights": len(weights),
            "sum": zlib.crc32(weights),
        }
        print(json.dumps(found))
