"""Build the C core without Python, in a program for one instruction set, and run it."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "portability"))
from check import ENGINE, FLAGS, PINNED, SOURCES  # noqa: E402

__all__ = ["AVX2", "AVX512", "ENGINE", "FLAGS", "HERE", "PINNED", "SOURCES", "kernels", "program", "run"]

NUMBERS = HERE.parent / "portability" / "steps.c"
FEATURES = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
AVX2 = {"avx2", "fma"} <= FEATURES
AVX512 = {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= FEATURES
WIDE = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"]
ISA_FLAGS = {"avx512": WIDE, "avx2": ["-mavx2", "-mfma"], "scalar": [], "baseline": []}


def kernels(folder, isa, flags, compiler="gcc"):
    """Compile the kernels of both element types; return the object files."""
    objects = []
    for element, kind in (("f32", []), ("f64", ["-DFNN_DOUBLE"])):
        objects.append(Path(folder) / f"{isa}_{element}.o")
        define = [f"-DFNN_ISA_{isa.upper()}", *kind]
        source = SOURCES / "kernels" / "table.c"
        compile_ = [compiler, *FLAGS, *ISA_FLAGS[isa], *flags, *define, "-c", source, "-o", objects[-1]]
        subprocess.run(compile_, check=True)
    return objects


def program(folder, isa, flags, link=("-fopenmp",), driver=NUMBERS, compiler="gcc", kernel_flags=None):
    """Compile the core and a driver, with more flags; return the program. ``link``: what is linked after the engine."""
    path = Path(folder) / f"numbers_{isa}"
    sources = [driver, *ENGINE]
    objects = []
    for i, source in enumerate(sources):
        objects.append(Path(folder) / f"{i}_{source.stem}.o")
        compile_ = [compiler, *FLAGS, "-fopenmp", f"-DISA={isa}", *flags, "-c", source, "-o", objects[-1]]
        subprocess.run(compile_, check=True)
    objects += kernels(folder, isa, flags if kernel_flags is None else kernel_flags, compiler)
    subprocess.run([compiler, *flags, *objects, *link, "-lm", "-lpthread", "-o", path], check=True)
    return path


def run(command, **environment):
    """Run a program; return its process with the text that it printed."""
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
