"""The pinned hashes from other compilers and levels of optimization.

Run: python tests/nightly/compilers.py. Tries every gcc and clang that is installed with OpenMP. Prints a line of JSON:
the number of builds, and those whose numbers differ.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile

import c_programs

NAMES = ["gcc", *(f"gcc-{n}" for n in range(10, 17)), "clang", *(f"clang-{n}" for n in range(13, 24))]
LEVELS = ("-O0", "-O1", "-O2", "-O3")


def found():
    """{version: command} of the compilers that are installed and compile OpenMP."""
    compilers = {}
    for name in NAMES:
        if shutil.which(name) is None:
            continue
        version = subprocess.run([name, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
        with tempfile.TemporaryDirectory() as folder:
            test = [name, "-fopenmp", "-x", "c", "-", "-o", f"{folder}/a"]
            code = "#include <omp.h>\nint main(void) { return omp_get_num_threads() - 1; }"
            if subprocess.run(test, input=code, text=True, capture_output=True).returncode:
                print(f"NOT TESTED  {name}: no OpenMP")
                continue
        number = re.search(r"\d+\.\d+\.\d+", version)[0]
        short = f"{name.partition('-')[0]} {number}"
        compilers.setdefault(short, name)
    return compilers


def main():
    """Build and compare."""
    expected = c_programs.PINNED.read_text(encoding="utf-8")
    builds, different = [], []
    isas = ("scalar", "avx2") if c_programs.AVX2 else ("scalar",)
    for version, compiler in found().items():
        for level in LEVELS:
            for isa in isas if level != "-O0" else isas[:1]:
                with tempfile.TemporaryDirectory() as folder:
                    program = c_programs.program(folder, isa, [level, "-w"], compiler=compiler)
                    same = c_programs.run([program]).stdout == expected
                builds.append(f"{version} {level} {isa}")
                different += [] if same else builds[-1:]
                print(f"{'ok' if same else 'DIFFERS':<12}{builds[-1]}", flush=True)
    print(json.dumps({"builds": len(builds), "different": different}))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
