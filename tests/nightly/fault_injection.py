"""Let every allocation and every start of a thread fail, once and for ever, in fit, predict, save, load and clone.

Run: python tests/nightly/fault_injection.py [CALLERS ...]. CALLERS: "core" (allocations in the extension), "threads"
(starts of threads in the extension), "any" (allocations of the whole process).
Each call ends as without a fault, with the same bits, or with MemoryError; then the same objects work, and the files in
the folder are those of before. Anything else, and the end of the process, is a failure, except for the errors of other
libraries that OTHERS lists. Prints the failures and a line of JSON.
"""

import collections
import copy
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
CALLERS = {"core": (1, "/_core."), "threads": (2, "/_core."), "any": (1, None)}
GOOD = ("same", "MemoryError", "another library")
# Not disturbed by "any": NumPy raises MemoryError for the buffers of a ufunc without the GIL, which ends the process.
OURS_ALONE = {"second order"}
MOST = 3000  # faults of one kind in one task; no task has more sites
# What other libraries raise in place of MemoryError where one of their own allocations fails.
OTHERS = {
    "returned NULL without setting an exception": "NumPy's ufuncs, in buffers of a reduction",
    "error return without exception set": "NumPy's ufuncs, likewise",
}


def addresses(library):
    """First and last address of a loaded library; 0 and 0 for every caller."""
    if library is None:
        return 0, 0
    ranges = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        if library in line
    ]
    return min(first for first, _ in ranges), max(end for _, end in ranges)


def tasks(folder):
    """{name: task}; a task returns arrays, which have the same bits each time."""
    import numpy as np

    import fastnn
    from fastnn import layers

    fastnn.set_num_threads(2)
    X = np.random.default_rng(0).normal(size=(4096, 40)).astype(np.float32)
    Y = X[:, :3].copy()
    path = os.path.join(folder, "model.safetensors")

    def model():
        stack = [fastnn.Input((40,)), layers.Dense(256, "relu"), layers.Dropout(0.1), layers.Dense(3)]
        made = fastnn.Sequential(stack, seed=1)
        made.compile("adam", "mse")
        return made

    def of_tables():
        x = fastnn.Input((40,))
        h = layers.ParametricActivation("mish")(layers.NTPDense(9)(layers.PeriodicEmbedding(40, 2)(x)))
        members = layers.MemberDense(3, 5)(layers.FeatureScale(members=3)(h))
        return fastnn.Model(x, layers.Dense(3)(layers.GroupedDense(3, 2)(members)), seed=1)

    def fit_few(made, optimizer):
        made.compile(optimizer, "mse")
        made.fit(X[:96], Y[:96], batch_size=96, epochs=1, verbose=0)
        return [*made.get_weights(), made.predict(X[:96])]

    def of_few_weights():
        return fastnn.Sequential([fastnn.Input((40,)), layers.Dense(2, "tanh"), layers.Dense(3)], seed=1)

    trained, fitted = model(), model()
    weights = trained.get_weights()
    trained.save(path)

    def fit():
        fitted.set_weights(weights)
        fitted.compile("adam", "mse")
        fitted.epochs_begun = 0
        fitted.fit(X, Y, batch_size=1024, epochs=1, verbose=0)
        return fitted.get_weights()

    def save():
        trained.save(path)
        return []

    return {
        "build": lambda: model().get_weights(),
        "fit": fit,
        "predict": lambda: [trained.predict(X)],
        "evaluate": lambda: [np.float64(trained.evaluate(X, Y, verbose=0))],
        "gradients": lambda: trained.gradients(X, Y),
        "save": save,
        "load": lambda: fastnn.load_model(path).get_weights(),
        "clone": lambda: copy.deepcopy(trained).get_weights(),
        "tables": lambda: fit_few(of_tables(), "adamw"),
        "second order": lambda: fit_few(of_few_weights(), "lm"),
    }


def verdict(result, expected):
    """Describe how a call ended: "same", "MemoryError", "another library" or what was wrong."""
    from same_bits import digest

    if isinstance(result, MemoryError):
        return "MemoryError"
    if isinstance(result, BaseException):
        inner = result
        while inner.__cause__ is not None:
            inner = inner.__cause__
        if inner is result and any(message in str(result) for message in OTHERS):
            return "another library"
        at = traceback.extract_tb(inner.__traceback__)[-1]
        return f"{type(result).__name__}: {result} (raised in {Path(at.filename).name}:{at.lineno})"
    return "same" if digest(*result) == expected else "other bits"


def files(folder):
    """Hash of the model file, and the other files."""
    from same_bits import digest

    content = (Path(folder) / "model.safetensors").read_bytes()
    return digest(content), sorted(os.listdir(folder))[:-1]


def in_a_new_thread(task):
    """Return a task's result or its error. A new thread has no team, so the extension starts threads again."""
    results = []

    def run():
        try:
            results.append(task())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


def disturbed(shim, callers, task, n, forever):
    """Run a task whose n-th call fails; return its result or its error, and the number of calls that failed."""
    kind, library = CALLERS[callers]
    n_failed = ctypes.c_long()
    for _ in range(20):
        time.sleep(0.02 * (callers == "threads"))  # after a failed start, the extension does not try again at once
        where = addresses(library)
        shim.failing_arm(kind, n, forever, *where)
        try:
            result = in_a_new_thread(task) if callers == "threads" else task()
        except BaseException as error:
            result = error
        # On a crowded machine, calls run on one thread for a while.
        if shim.failing_disarm(ctypes.byref(n_failed)) or n > 1 or callers != "threads":
            break
    return result, n_failed.value


def work(callers, position):
    """Disturb all tasks from a position on, (task, forever, call); print a line before and after each fault."""
    from same_bits import digest

    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    shim.failing_disarm.restype = ctypes.c_long
    shim.failing_arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t]
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, task) in enumerate(tasks(folder).items()):
            if i < position[0] or (callers == "any" and name in OURS_ALONE):
                continue
            expected, written = digest(*task()), files(folder)
            for forever in (0, 1):
                first = position[2] if [i, forever] == position[:2] else 1
                for n in range(first, MOST) if [i, forever] >= position[:2] else ():
                    print("try", i, forever, n, name, flush=True)
                    result, n_failed = disturbed(shim, callers, task, n, forever)
                    outcome = verdict(result, expected)
                    if files(folder) != written:
                        outcome += ", other files"
                        for left in Path(folder).glob(".*"):
                            left.unlink()
                    del result
                    if digest(*task()) != expected:
                        outcome += ", then other bits"
                    if not n_failed:
                        break
                    print("got", outcome, flush=True)
        print("end", flush=True)


def disturb(shim, callers):
    """All faults of one kind: their number, and {(task, forever, outcome): calls} of the bad ones."""
    position, faults, bad = [0, 0, 1], 0, collections.defaultdict(list)
    paths = f"{HERE.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "LD_PRELOAD": shim, "PYTHONPATH": paths}
    while True:
        command = [sys.executable, __file__, "--work", callers, *map(str, position)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
        tried = None
        for line in run.stdout.splitlines():
            if line.startswith("try "):
                tried = line.split(maxsplit=4)[1:]
            elif line.startswith("got "):
                faults += 1
                if line[4:] not in GOOD:
                    bad[tried[3], tried[1], line[4:]].append(tried[2])
        if run.stdout.endswith("end\n"):
            return faults, bad
        if tried is None or "Traceback" in run.stderr:
            sys.exit(run.stderr)
        faults += 1
        bad[tried[3], tried[1], f"the process ended: {run.stderr.strip()[-100:]}"].append(tried[2])
        position = [int(tried[0]), int(tried[1]), int(tried[2]) + 1]


def main():
    """Build the shim and disturb everything."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        shim = str(Path(folder) / "failing_calls.so")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", HERE / "failing_calls.c", "-o", shim, "-ldl"], check=True)
        for callers in sys.argv[1:] or CALLERS:
            faults, bad = disturb(shim, callers)
            for (name, forever, outcome), calls in bad.items():
                later = " and all later ones" * int(forever)
                print(f"{callers}, {name}, call {', '.join(calls[:20])}{later}: {outcome}")
            figures[callers] = {"faults": faults, "bad": sum(map(len, bad.values()))}
    print(json.dumps(figures))
    sys.exit(1 if any(figure["bad"] for figure in figures.values()) else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], [int(text) for text in sys.argv[3:]])
    else:
        main()
