"""Load mutated model files and backups: only ModelFormatError, in little time and memory.

Run: python tests/nightly/fuzz_model_files.py COUNT [SEED]. Each file is loaded whole, or its weights alone, or it is
the backup of a fit. Prints a line of JSON with the numbers of files, refusals and of the worst case; a file that breaks
a bound is kept in the current folder and ends the run with an error.
"""

import json
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from mutated_files import mutated, sample_files
from same_bits import same_arrays
from sample_models import dropout_model

import fastnn
from fastnn import callbacks, layers
from fastnn.errors import ModelFormatError

SECONDS = 1.0
MEBIBYTES = 64.0


class KilledError(Exception):
    """Stands for the end of the process."""


class Kill(callbacks.Callback):
    """Ends a fit at the start of its second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        """Raise KilledError."""
        if epoch == 1:
            raise KilledError


X, Y = np.eye(3), np.ones(3)


def resume(folder):
    """Continue a fit from the backup in a folder; return the model and its state before."""
    model = dropout_model(seed=5)
    before = state_of(model)
    watch = [
        callbacks.EarlyStopping("loss", patience=4, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("loss", patience=1),
        callbacks.BackupAndRestore(folder),
        Kill(),
    ]
    try:
        model.fit(X, Y, epochs=2, verbose=0, callbacks=watch)
    except KilledError:
        pass
    except ModelFormatError:
        assert same_arrays(before[0], model.get_weights()) and before[1:] == state_of(model)[1:], (
            "the model was changed"
        )
        raise


def state_of(model):
    """Return what a backup changes."""
    return model.get_weights(), model.seed, model.epochs_begun, model.optimizer.learning_rate, model.network.iterations


def peak(reset=False):
    """Return the largest resident memory in MiB since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run(count, seed, folder):
    """Load ``count`` files; return numbers of files and refusals, and the largest time and memory."""
    draw = random.Random(seed)
    files = sample_files(folder)
    try:
        resume(folder / "backup")
    finally:
        backup = folder / "backup" / "backup.safetensors"
        files["backup"] = backup.read_bytes()
    open_model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(3), layers.Dense(1)], seed=9)
    path, worst = folder / "mutated", {"files": 0, "refused": 0, "seconds": 0.0, "mebibytes": 0.0}
    names = list(files)
    for _ in range(count):
        name = draw.choice(names)
        data = mutated(files[name], draw)
        target = backup if name == "backup" else path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
        weights_alone = name != "backup" and draw.random() < 0.1
        start, low = time.process_time(), peak(reset=True)
        try:
            if name == "backup":
                resume(backup.parent)
            elif weights_alone:
                open_model.load_weights(path)
            else:
                model = fastnn.load_model(path, compile=draw.random() < 0.9)
                if model.built:
                    model.predict(np.zeros((2, model.n_features)))
        except ModelFormatError:
            worst["refused"] += 1
        except ValueError as error:
            # The caller's model or functions are missing or of another shape.
            if not any(text in str(error) for text in ("does not fit the model", "custom_objects=")):
                keep(data, error)
        except Exception as error:
            keep(data, error)
        seconds, mebibytes = time.process_time() - start, peak() - low
        if seconds > SECONDS or mebibytes > MEBIBYTES + 4 * len(data) / 2**20:
            keep(data, AssertionError(f"{seconds:.2f} s, {mebibytes:.0f} MiB"))
        worst["files"] += 1
        worst["seconds"] = max(worst["seconds"], round(seconds, 3))
        worst["mebibytes"] = max(worst["mebibytes"], round(mebibytes, 1))
    return worst


def keep(data, error):
    """Store a file that breaks a promise, and raise."""
    kept = Path(f"broken_{abs(hash(data)) % 10**8}.safetensors")
    kept.write_bytes(data)
    raise AssertionError(f"{kept.absolute()}: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, Path(temporary))))
