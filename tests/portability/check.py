"""Check that the kernels of other processors give the same bits: build steps.c for each, and compare what it prints.

The scalar kernels, built for this machine, are the oracle. They are compared with AVX2; with the 64-byte template of
AVX-512, lowered by the compiler to SSE2; and with NEON under qemu-aarch64. The baseline of x86-64, which rounds twice,
is compared with itself under qemu-x86_64 as a Nehalem. A target without a compiler or emulator is reported as NOT
TESTED. The oracle's own hashes are pinned in tests/data/golden_numbers.txt; where the definition of a number has
changed, --pin writes them again. The exit status is 1 if bits differ.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "csrc"
PINNED = HERE.parent / "data" / "golden_numbers.txt"
FLAGS = ["-std=c11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
ENGINE = [path for path in sorted((SOURCES / "engine").rglob("*.c")) if path.name != "dispatch.c"]
CC = os.environ.get("CC", "cc")
ARM = "aarch64-linux-gnu-gcc"


class Target(NamedTuple):
    """One build of the kernels, and how to run it. `like`: the target whose bits it must have."""

    name: str
    isa: str
    like: str | None
    compiler: str = CC
    flags: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()


X86 = [
    Target("avx2", "avx2", "scalar", flags=("-mavx2", "-mfma")),
    # GCC 12 fails on 64-byte masks with AVX2, so this is lowered to SSE2 and fmaf from libm.
    Target("avx512 lowered", "avx512", "scalar"),
    Target("baseline", "baseline", None),
    Target("baseline on a Nehalem", "baseline", "baseline", emulator=("qemu-x86_64", "-cpu", "Nehalem")),
]
NATIVE = {"x86_64": X86, "aarch64": [Target("neon", "neon", "scalar")]}.get(platform.machine(), [])
EMULATED = [
    Target("neon under qemu", "neon", "scalar", ARM, ("-static", "-fno-schedule-insns"), ("qemu-aarch64",)),
    Target("scalar on aarch64 under qemu", "scalar", "scalar", ARM, ("-static",), ("qemu-aarch64",)),
]
TARGETS = [Target("scalar", "scalar", None), *NATIVE, *(EMULATED if platform.machine() != "aarch64" else [])]


def missing(target: Target) -> str | None:
    """Why a target cannot be tested here, or None if it can."""
    for program in (target.compiler, *target.emulator[:1]):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if "-mavx2" in target.flags:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8").split() if Path("/proc/cpuinfo").exists() else []
        if not {"avx2", "fma"} <= set(known):
            return "this processor has no AVX2 with FMA"
    return None


def build(target: Target, folder: Path) -> Path:
    """Compile both element types and the engine; return the program."""
    program = folder / "_".join(target.name.split())
    kernels = [program.with_suffix(suffix) for suffix in (".f32.o", ".f64.o")]
    define = f"-DFNN_ISA_{target.isa.upper()}"
    compile_ = [target.compiler, *FLAGS, *target.flags, define, "-c", str(SOURCES / "kernels/table.c"), "-o"]
    commands = [[*compile_, str(kernels[0])], [*compile_, str(kernels[1]), "-DFNN_DOUBLE"]]
    running = [subprocess.Popen(command) for command in commands]
    if any(process.wait() for process in running):
        sys.exit(f"{target.name}: the kernels do not compile")
    static = ["-static"] if "-static" in target.flags else []
    link = [target.compiler, *FLAGS, *static, f"-DISA={target.isa}", "-fopenmp", str(HERE / "steps.c")]
    # A static link warns about dlopen in the OpenMP library, which nothing here calls.
    linked = subprocess.run(
        [*link, *map(str, ENGINE + kernels), "-lm", "-o", str(program)], capture_output=True, text=True
    )
    if linked.returncode:
        sys.exit(f"{target.name}: {linked.stderr}")
    return program


def main() -> None:
    """Build, run and compare the targets whose names contain one of the given words, or all without words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="words in the names of targets; default: all targets")
    parser.add_argument("--pin", action="store_true", help="pin the hashes of the scalar kernels")
    names, pin = vars(parser.parse_args()).values()
    wanted = [t for t in TARGETS if not names or t.name == "scalar" or any(name in t.name for name in names)]
    needed = {t.like for t in wanted} | {t.name for t in wanted}
    printed: dict[str, list[str]] = {}
    programs: dict[str, Path] = {}
    runs: list[tuple[Target, subprocess.Popen[str]]] = []
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for target in [t for t in TARGETS if t.name in needed]:
            if (why := missing(target)) is not None:
                print(f"NOT TESTED  {target.name}: {why}", flush=True)
                continue
            same = target.like == target.isa == "baseline"
            program = programs[target.like] if same and target.like else build(target, Path(folder))
            programs[target.name] = program
            # This runs while the next targets are built.
            command = [*target.emulator, str(program)]
            runs.append((target, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)))
        for target, run in runs:
            output, errors = run.communicate()
            if run.returncode:
                sys.exit(f"FAILED      {target.name}: {errors.strip() or run.returncode}")
            printed[target.name] = lines = output.splitlines()
            if pin and target.name == "scalar":
                PINNED.write_text(output, encoding="utf-8")
            if target.name == "scalar" and output != PINNED.read_text(encoding="utf-8"):
                print("FAILED      scalar: other hashes than in tests/data/golden_numbers.txt", flush=True)
                failed = True
            if target.like is None:
                print(f"ran         {target.name}: {len(lines)} hashes", flush=True)
                continue
            pairs = zip(lines, printed[target.like], strict=True)
            different = [mine.rsplit(" ", 1)[0] for mine, other in pairs if mine != other]
            failed |= bool(different)
            verdict = f"{len(different)} DIFFER from" if different else f"all {len(lines)} as"
            print(f"{'FAILED' if different else 'ok':<12}{target.name}: {verdict} {target.like}", flush=True)
            for line in different[:10]:
                print(f"            {line}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
