"""Run the C core under valgrind, and analyse its source with the compiler's static analyser.

Run: python tests/nightly/memory_checks.py. Prints a line of JSON: errors and leaked bytes under valgrind, findings of
-fanalyzer. The findings themselves go to the error output.
"""

import json
import re
import sys
import tempfile

import c_programs

# Two engine files call kernels through tables and allocate through the arena; the analyser follows both.
ANALYSE = ["-fanalyzer", "-O1", "-Wno-analyzer-too-complex"]


def valgrind(folder):
    """Errors and leaked bytes of all networks and arrays on up to three threads."""
    watched = c_programs.program(folder, "avx2" if c_programs.AVX2 else "scalar", ["-g", "-O1"])
    options = ["--error-exitcode=0", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible"]
    # OpenMP's own threads are alive at the end, and their stacks are its, not the program's.
    text = c_programs.run(["valgrind", *options, "--trace-children=no", str(watched)], OMP_WAIT_POLICY="passive").stderr
    errors = int(re.search(r"ERROR SUMMARY: (\d+) errors", text)[1])
    lost = sum(int(n.replace(",", "")) for n in re.findall(r"(?:definitely|indirectly) lost: ([\d,]+) bytes", text))
    if errors or lost:
        print(text[:20000], file=sys.stderr)
    return errors, lost


def analyser():
    """Findings of the static analyser in csrc/engine."""
    findings = 0
    for source in c_programs.ENGINE:
        command = ["gcc", *c_programs.FLAGS, *ANALYSE, "-fopenmp", "-c", str(source), "-o", "/dev/null"]
        text = c_programs.run(command).stderr
        findings += len(re.findall(r"warning: .*\[-Wanalyzer", text))
        print(text, file=sys.stderr, end="")
    return findings


def main():
    """Both checks."""
    with tempfile.TemporaryDirectory() as folder:
        errors, lost = valgrind(folder)
    figures = {"valgrind errors": errors, "bytes lost": lost, "analyser findings": analyser()}
    print(json.dumps(figures))
    sys.exit(1 if any(figures.values()) else 0)


if __name__ == "__main__":
    main()
