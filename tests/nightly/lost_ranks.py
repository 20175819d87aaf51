"""MPI jobs that lose a rank at a random step: each ends, and the next one resumes it with the bits of one process.

Also the bits of 1, 2, 3, 4 and 8 ranks. Run: python tests/nightly/lost_ranks.py [COUNT]. Prints a line of JSON.
"""

import json
import random
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from mpi_jobs import MISSING, TESTS, run_job


def alone(script, *arguments):
    """What a script prints that this process runs without MPI."""
    command = [sys.executable, str(TESTS / script), *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def different_bits():
    """Names of what some number of ranks trains differently."""
    expected, different = json.loads(alone("distributed_bits.py")), []
    for n_ranks, way in product((1, 2, 3, 4, 8), ("ranks", "messages")):
        job = run_job(n_ranks, "distributed_bits.py", way, timeout=600)
        found = json.loads(job.stdout) if job.returncode == 0 else {}
        different += [f"{n_ranks} ranks, {way}: {name}" for name, bits in expected.items() if found.get(name) != bits]
    return different


def lose_a_rank(step, n_ranks, expected):
    """Kill the last rank at a step, then resume; return what went wrong, or None."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            lost = run_job(n_ranks, "distributed_job.py", "kill", folder, step, timeout=60)
            resumed = run_job(random.Random(step).choice((2, 3)), "distributed_job.py", "quiet", folder, timeout=120)
        except subprocess.TimeoutExpired:
            return "hangs"
        if lost.returncode == 0:
            return "status 0"
        if resumed.returncode:
            print(resumed.stderr[-2000:])
            return "does not resume"
        return None if Path(folder, "model.fnn").read_bytes() == expected else "different bits"


def main():
    """Run all jobs."""
    if MISSING is not None:
        sys.exit(MISSING)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        alone("distributed_job.py", "quiet", folder)
        expected = Path(folder, "model.fnn").read_bytes()
    wrong = [lose_a_rank(rng.randint(1, 105), rng.choice((2, 3, 4)), expected) for _ in range(count)]
    different = different_bits()
    wrong = [each for each in wrong if each is not None]
    print(*wrong, *different, sep="\n", end="\n" if wrong or different else "")
    print(json.dumps({"lost ranks": count, "wrong": len(wrong), "different bits": len(different)}))
    sys.exit(1 if wrong or different else 0)


if __name__ == "__main__":
    main()
