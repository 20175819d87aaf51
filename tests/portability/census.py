"""Count the instructions of the inner loops of all products, as compiled for AVX2, AVX-512 and NEON.

A compiler, or a change to csrc/kernels/gemm_tpl.h, that keeps sums in memory instead of registers ruins a loop without
changing a bit. So each tile's loop over k must contain only its fused multiply-adds, its loads, one broadcast per row,
and a few instructions for prefetching, counting and addressing. Neither it nor an update rule in a tile, a loop with
square roots, may spill a vector register. The flags are those of CMakeLists.txt. An instruction set without a
compiler is reported as NOT TESTED. The exit status is 1 if a loop is bad.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parent.parent.parent / "csrc" / "kernels" / "table.c"
FLAGS = ["-std=c11", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fno-version-loops-for-strides"]  # as in csrc/CMakeLists.txt
X86 = platform.machine() == "x86_64"
CROSS = "" if platform.machine() == "aarch64" else "aarch64-linux-gnu-"
CC = os.environ.get("CC", "gcc")


class Target(NamedTuple):
    """How one instruction set is compiled. `vectors`: vectors in a panel of 64 bytes."""

    isa: str
    compiler: str
    objdump: str
    flags: tuple[str, ...]
    vectors: int


AVX512 = ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512")
TARGETS = [
    Target("avx2", CC if X86 else "x86_64-linux-gnu-gcc", "objdump", ("-mavx2", "-mfma"), 2),
    Target("avx512", CC if X86 else "x86_64-linux-gnu-gcc", "objdump", AVX512, 1),
    Target("neon", f"{CROSS}gcc" if CROSS else CC, f"{CROSS}objdump", ("-fno-schedule-insns",), 4),
]

# Addresses loaded from the stack per step of k: sixteen rows of A need more pointers than there are registers.
ADDRESSES = {"avx512": 4}
OTHER_ADDRESSES = 0.25
# Other instructions than multiply-adds, loads and broadcasts: per loop (and one per row of the tile), and per step.
OTHERS, OTHERS_PER_STEP = 7, 2.5


class Loop(NamedTuple):
    """Instructions of one loop, by kind."""

    total: int
    multiply_adds: int
    loads: int
    broadcasts: int
    embedded: int
    roots: int
    spills: int
    addresses: int


def functions(program: Path, objdump: str) -> dict[str, list[tuple[int, str]]]:
    """(address, instruction) of every function of an object file."""
    listing = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", str(program)], capture_output=True, text=True, check=True
    )
    found: dict[str, list[tuple[int, str]]] = {}
    name = ""
    for line in listing.stdout.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.+)>:", line):
            name = head[1].split(".")[0]
            found[name] = []
        elif name and (code := re.match(r"\s*([0-9a-f]+):\s+(.*)", line)):
            found[name].append((int(code[1], 16), re.split(r"\s*(?:#\s|//)", code[2])[0]))
    return found


def inner_loops(code: list[tuple[int, str]]) -> list[list[str]]:
    """Bodies of the innermost loops: from a jump's target to the jump back to it."""
    at = {address: i for i, (address, _) in enumerate(code)}
    loops = []
    for end, (_, text) in enumerate(code):
        jump = re.match(r"(?:j\w+|b(?:\.\w+)?|cbn?z|tbn?z)\s+(?:\w+,\s*)?(?:#\d+,\s*)?([0-9a-f]+) <", text)
        if jump and at.get(int(jump[1], 16), end + 1) <= end:
            loops.append((at[int(jump[1], 16)], end))
    inner = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    return [[text for _, text in code[first : last + 1]] for first, last in inner]


def count(body: list[str]) -> Loop:
    """Count a loop's instructions by kind, in AT&T syntax for x86 or in AArch64 syntax."""

    def matching(pattern: str) -> int:
        return sum(re.search(pattern, text) is not None for text in body)

    stack = r"\(%[er]?[sb]p|\[sp"
    vector_stack = rf"(?:mm\d.*(?:{stack})|(?:{stack}).*mm\d|^(?:ld|st)[rpu]+\s+[qdsv]\d.*\[sp)"
    spills = matching(vector_stack)
    return Loop(
        total=len(body),
        multiply_adds=matching(r"^(?:vfn?madd|fmla)"),
        loads=matching(r"^vmov[ua]p[sd]\s+[^%].*,%[yz]mm|^ldu?r\s+q(?!.*\[sp)|^ld1\s")
        + 2 * matching(r"^ldp\s+q(?!.*\[sp)"),
        broadcasts=matching(r"^vbroadcast|^ld1r|^dup|^ldr\s+[sd]\d") + 2 * matching(r"^ldp\s+[sd]\d"),
        embedded=matching(r"\{1to\d+\}"),
        roots=matching(r"^vsqrt"),
        spills=spills,
        addresses=matching(stack) - spills,
    )


def width(name: str, vectors: int) -> int | None:
    """Multiply-adds of one step of k, from a function's name, or None if it is not a product's tile."""
    if tile := re.fullmatch(r"tile_f_(\d+)_(\d+)", name):
        return int(tile[1]) * int(tile[2]) * vectors
    if tile := re.fullmatch(r"tile_[a-z]_(\d+)_(full|second)", name):  # second: two panels of a vector, or half a panel
        return int(tile[1]) * (vectors if tile[2] == "full" else 2 if vectors == 1 else vectors // 2)
    if tile := re.fullmatch(r"tile_u_(\d+)", name):  # a pair of panels, with an update rule beside the products
        return 2 * int(tile[1]) * vectors
    if tile := re.fullmatch(r"row_of_(\d+)", name):
        return int(tile[1]) * vectors
    return None


def faults(target: Target, name: str, loop: Loop, per_step: int) -> list[str]:
    """Describe what is wrong with a loop."""
    if loop.roots:  # an update rule
        return [f"{loop.spills} vector spills"] if loop.spills else []
    steps, rest = divmod(loop.multiply_adds, per_step)
    if rest or not steps:
        return [f"{loop.multiply_adds} multiply-adds are not whole steps of {per_step}"]
    found = []
    if loop.spills:
        found.append(f"{loop.spills} vector spills")
    if loop.addresses > ADDRESSES.get(target.isa, OTHER_ADDRESSES) * steps:
        found.append(f"{loop.addresses} addresses on the stack")
    known = loop.multiply_adds + loop.loads + loop.broadcasts + loop.spills + loop.addresses
    if loop.total - known > OTHERS + per_step // target.vectors + OTHERS_PER_STEP * steps:
        found.append(f"{loop.total - known} instructions that are not the product's own")
    return found


def census(target: Target, folder: str, verbose: bool) -> bool:
    """Compile both element types and examine every tile; True if all are good."""
    good = True
    for element, kind in (("float32", []), ("float64", ["-DFNN_DOUBLE"])):
        program = Path(folder) / f"{target.isa}_{element}.o"
        flags = [*FLAGS, *target.flags, f"-DFNN_ISA_{target.isa.upper()}", *kind]
        subprocess.run([target.compiler, *flags, "-c", str(SOURCE), "-o", str(program)], check=True)
        tiles = 0
        for name, code in sorted(functions(program, target.objdump).items()):
            per_step = width(name, target.vectors)
            if per_step is None:
                continue
            loops = [loop for loop in map(count, inner_loops(code)) if loop.multiply_adds]
            wrong = [fault for loop in loops for fault in faults(target, name, loop, per_step)]
            if not loops:
                wrong = ["no loop with multiply-adds: are they calls?"]
            tiles += 1
            good &= not wrong
            if verbose or wrong:
                print(f"{'BAD' if wrong else 'ok':<4}{target.isa} {element} {name}: {'; '.join(wrong)}")
                for loop in loops:
                    print(
                        "      ",
                        ", ".join(f"{value} {kind.replace('_', ' ')}" for kind, value in loop._asdict().items()),
                    )
        if not tiles:
            print(f"BAD  {target.isa} {element}: no tile found")
            good = False
        print(f"{target.isa} {element}: {tiles} tiles", flush=True)
    return good


def main() -> None:
    """Examine all instruction sets whose compiler is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verbose", action="store_true", help="print every loop, not only bad ones")
    verbose = parser.parse_args().verbose
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for target in TARGETS:
            lacking = [program for program in (target.compiler, target.objdump) if shutil.which(program) is None]
            if lacking:
                print(f"NOT TESTED  {target.isa}: {lacking[0]} is not installed")
            else:
                good &= census(target, folder, verbose)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
