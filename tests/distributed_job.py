"""One rank of a small job that goes as its first argument says. test_distributed.py starts it with mpiexec.

Run: mpiexec -n N python tests/distributed_job.py HOW FOLDER [STEP].
"""

import os
import signal
import sys

import numpy as np

import fastnn
from fastnn import callbacks, layers


class Event(callbacks.Callback):
    """Does on the last rank, after a number of steps, what the job is about."""

    def __init__(self, ranks, how, step):
        super().__init__()
        self.happens = ranks.rank == ranks.size - 1
        self.how, self.steps_left = how, step

    def on_train_batch_end(self, batch, logs=None):
        self.steps_left -= 1
        if not self.happens or self.steps_left:
            return
        if self.how == "raise":
            raise ValueError("an exception on one rank")
        if self.how == "exit":
            sys.exit(7)
        if self.how == "leave":
            sys.exit(0)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "change weights":
            self.model.set_weights([weight + 1 for weight in self.model.get_weights()])
        if self.how == "change the rate":
            self.model.optimizer.learning_rate = 0.5
        if self.how == "stop":
            self.model.stop_training = True


def train(ranks, how, folder, step):
    """Fit, save and print like an ordinary script."""
    rng = np.random.default_rng(ranks.rank if how == "different rows" else 0)
    X = rng.normal(size=(640, 20)).astype("f4")
    model = fastnn.Sequential(
        [layers.Dense(70, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.1), layers.Dense(1)],
        seed=None if how == "no seed" else 3,
    )
    model.compile("adam", "mse", metrics=["mae"])
    hooks = [
        callbacks.BackupAndRestore(f"{folder}/backup"),
        callbacks.CSVLogger(f"{folder}/log.csv"),
        callbacks.ModelCheckpoint(f"{folder}/best.fnn", save_best_only=True),
        Event(ranks, how, step),
    ]
    history = model.fit(
        X,
        X[:, :1] * 2,
        batch_size=64,
        epochs=12,
        validation_split=0.1,
        callbacks=hooks,
        verbose=2 if how == "ok" else 0,
    )
    if how == "different calls" and ranks.rank:
        return
    model.save(f"{folder}/model.fnn")
    assert len(model.predict(fastnn.data.source(X), out=f"{folder}/predictions.npy")) == len(X)
    same = fastnn.load_model(f"{folder}/model.fnn").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(same, model.get_weights(), strict=True))
    print(f"rank {ranks.rank} of {ranks.size}: {len(history.epoch)} epochs")


if __name__ == "__main__":
    with fastnn.distributed.mpi(least_operations=0) as current:
        train(current, sys.argv[1], sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else 45)
