"""Train under the thread sanitizer: no reports, no suppressions, the same bits.

Run: python tests/nightly/thread_sanitizer.py. Prints a line of JSON: reports, parallel regions, networks and arrays
whose bits are not those of the plain program.
"""

import json
import re
import sys
import tempfile

import c_programs

ALL_THREADS = c_programs.HERE / "all_threads.c"
WRAPPED = [f"-Wl,--wrap={name}" for name in ("fnn_team_run", "fnn_threads_for", "fnn_trials_start")]


def main():
    """Build and run both programs."""
    isa = "avx2" if c_programs.AVX2 else "scalar"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        plain = c_programs.run([c_programs.program(other, isa, [])])
        flags = ["-fsanitize=thread", "-g", "-O1"]
        watched = c_programs.program(folder, isa, flags, [*WRAPPED, ALL_THREADS, "-I", c_programs.SOURCES, "-fopenmp"])
        # On one processor, more threads than processors are never sent away; without randomized addresses, which the
        # sanitizer of older compilers does not expect.
        command = ["taskset", "-c", "0", "setarch", "-R", str(watched)]
        run = c_programs.run(command, TSAN_OPTIONS="halt_on_error=0 exitcode=0")
    print(run.stderr, file=sys.stderr)
    lines, expected = run.stdout.splitlines(), plain.stdout.splitlines()
    figures = {
        "reports": run.stderr.count("WARNING: ThreadSanitizer"),
        "regions": int(re.search(r"(\d+) parallel regions", run.stderr)[1]),
        "hashes": len(lines),
        "different": sum(a != b for a, b in zip(lines, expected, strict=True)),
    }
    print(json.dumps(figures))
    sys.exit(1 if figures["reports"] or figures["different"] or run.returncode or not figures["regions"] else 0)


if __name__ == "__main__":
    main()
