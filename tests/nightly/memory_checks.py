"""Run the C core under valgrind, and analyse its source with the compiler's static analyser.

Run: python tests/nightly/memory_checks.py. Prints a line of JSON: errors and leaked bytes under valgrind, findings of
-fanalyzer. The findings themselves go to the error output.
"""

import json
import re
import sys
import tempfile

import c_programs

# What GCC 12 says without cause: it does not follow a struct through a function pointer or through memcpy.
KNOWN = {
    "layers/layer_norm.c: null-argument": "`D` and `saved` are NULL for other kinds of layer; this kind keeps both",
}


def valgrind(folder):
    """Errors and leaked bytes of all networks and arrays on up to three threads."""
    watched = c_programs.program(folder, "avx2" if c_programs.AVX2 else "scalar", ["-g", "-O1"])
    # Not "possible": the threads of the OpenMP runtime are alive at the end, and their stacks with them.
    options = ["--leak-check=full", "--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect"]
    text = c_programs.run(["valgrind", *options, str(watched)], OMP_WAIT_POLICY="passive").stderr
    errors = int(re.search(r"ERROR SUMMARY: (\d+) errors", text)[1])
    lost = sum(int(n.replace(",", "")) for n in re.findall(r"(?:definitely|indirectly) lost: ([\d,]+) bytes", text))
    if errors or lost:
        print(text[:20000], file=sys.stderr)
    return errors, lost


def analyser():
    """Findings of the static analyser in csrc/engine: those not in KNOWN, and the number of those that are."""
    new = known = 0
    for source in c_programs.ENGINE:
        name = source.relative_to(c_programs.SOURCES / "engine").as_posix()
        command = ["gcc", *c_programs.FLAGS, "-fanalyzer", "-O1", "-fopenmp", "-c", str(source), "-o", "/dev/null"]
        text = c_programs.run(command).stderr
        for kind in re.findall(r"warning: .*\[-Wanalyzer-([\w-]+)\]", text):
            if f"{name}: {kind}" in KNOWN:
                known += 1
            else:
                new += 1
                print(text, file=sys.stderr)
    return new, known


def main():
    """Both checks."""
    with tempfile.TemporaryDirectory() as folder:
        errors, lost = valgrind(folder)
    new, known = analyser()
    figures = {"valgrind errors": errors, "bytes lost": lost, "analyser findings": new, "explained": known}
    print(json.dumps(figures))
    sys.exit(1 if errors or lost or new else 0)


if __name__ == "__main__":
    main()
