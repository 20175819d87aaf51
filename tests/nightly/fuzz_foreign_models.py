"""Load mutated files of PyTorch, Keras and ONNX: only ModelFormatError or a model, in little time and memory.

Run: python tests/nightly/fuzz_foreign_models.py COUNT [SEED]. COUNT files of each format are made. Prints JSON with
the numbers of files, refusals and of the worst case; a file that breaks a bound is kept in the current folder and
ends the run with an error. A hang ends it after a minute.
"""

import faulthandler
import json
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from foreign_files import changed_bytes, changed_description
from fuzz_model_files import MEBIBYTES, SECONDS, peak
from test_foreign_mutations import outcome, samples

FORMATS = {"torch": (".pt", ".safetensors"), "keras": (".keras", ".h5"), "onnx": (".onnx",)}


def run(count, seed, folder):
    """Load ``count`` files of each format; return numbers of files and refusals, and the largest time and memory."""
    draw = random.Random(seed)
    files = samples()
    worst = {"files": 0, "refused": 0, "seconds": 0.0, "mebibytes": 0.0}
    for suffixes in FORMATS.values():
        names = [name for name in files if name.endswith(suffixes)]
        for _ in range(count):
            name = draw.choice(names)
            data, reader = files[name]
            described = name.endswith(".keras") and draw.random() < 0.7
            data = changed_description(data, draw) if described else changed_bytes(data, draw)
            path = folder / name
            path.write_bytes(data)
            faulthandler.dump_traceback_later(60, exit=True)
            start, low = time.process_time(), peak(reset=True)
            try:
                worst["refused"] += outcome(path, reader)
            except Exception as error:
                keep(path, data, error)
            seconds, mebibytes = time.process_time() - start, peak() - low
            if seconds > SECONDS or mebibytes > MEBIBYTES + 4 * len(data) / 2**20:
                keep(path, data, AssertionError(f"{seconds:.2f} s, {mebibytes:.0f} MiB"))
            worst["files"] += 1
            worst["seconds"] = max(worst["seconds"], round(seconds, 3))
            worst["mebibytes"] = max(worst["mebibytes"], round(mebibytes, 1))
    faulthandler.cancel_dump_traceback_later()
    return worst


def keep(path, data, error):
    """Store a file that breaks a promise, and raise."""
    kept = Path(f"broken_{abs(hash(data)) % 10**8}_{path.name}")
    kept.write_bytes(data)
    raise AssertionError(f"{kept.absolute()}: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, Path(temporary))))
