"""Mutate the kernels' templates: does a test see it?

Run: python tests/nightly/mutation.py [COUNT [SEED [FILES ...]]]. Each mutant changes one operator, constant or
comparison of csrc/kernels/*_tpl.h, or of the FILES among them. The scalar kernels are compiled with it, and
tests/portability/steps.c trains and multiplies on them. A mutant is killed where this program prints another hash than
is pinned, fails or does not end: pinned, because a fault in a template is common to all instruction sets. Otherwise it
is killed where the kernels of AVX2 or of AVX-512 do so, which have tiles and pairs of panels that the scalar ones lack,
or where the address and bounds sanitizers object. Mutants are not counted that give the same object code on all of
these, or that change no number on any input: these equivalent ones are listed in equivalent_mutants.txt, each with its
reason. Prints the survivors and a line of JSON.
"""

import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import c_programs

LEAST_SCORE = 0.9
SECONDS = 120
SANITIZED = ["-fsanitize=address,bounds", "-fno-sanitize-recover=all"]
# Blocks in the file: a line "FILE: OLD -> NEW in: SOURCE LINE" for each mutant, then its reason, indented.
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
TOKEN = re.compile(
    r"(?<=\s)(?P<sign>[-+*/])(?=\s)|(?<=\s)(?P<compare><=|>=|<|>|==|!=)(?=\s)|(?<=\s)(?P<logic>&&|\|\|)(?=\s)"
    r"|(?P<assign>[-+*]=)(?=\s)|\bv_fma(?P<call>\()|(?<![\w.])(?P<number>\d+(?:\.\d+)?)(?![\w.])"
)
OTHER = {
    "+": "-", "-": "+", "*": "+", "/": "*", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
    "&&": "||", "||": "&&", "+=": "-=", "-=": "+=", "*=": "+=", "(": "(-",
}  # fmt: skip


def places(text):
    """(start, end, replacement) of all mutations of a template, without comments and directives."""
    blank = re.sub(r"(?s:/\*.*?\*/)|^#(?:.*\\\n)*.*$", lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.M)
    for match in TOKEN.finditer(blank):
        old = match[match.lastgroup]
        new = str(float(old) + 1) if "." in old else str(int(old) + 1) if old.isdigit() else OTHER[old]
        yield match.start(match.lastgroup), match.end(match.lastgroup), new


def compiled(folder, csrc, isa="scalar", flags=()):
    """Object files of the kernels of a copy of the sources, or None if they do not compile."""
    objects = []
    for name, kind in (("f32", []), ("f64", ["-DFNN_DOUBLE"])):
        objects.append(Path(folder) / f"mutant_{name}.o")
        options = [
            *c_programs.FLAGS,
            *c_programs.ISA_FLAGS[isa],
            "-O1",
            "-w",
            f"-DFNN_ISA_{isa.upper()}",
            *kind,
            *flags,
        ]
        command = ["gcc", *options, "-c", "table.c", "-o", str(objects[-1])]
        if subprocess.run(command, cwd=csrc / "kernels", capture_output=True).returncode:
            return None
    return objects


def survives(folder, engine, objects, expected, flags=()):
    """Whether a program with these kernels prints the expected lines; it is ended at the first other one."""
    program = Path(folder) / "mutant"
    subprocess.run(["gcc", *flags, *engine, *objects, "-fopenmp", "-lm", "-o", program], check=True)
    process = subprocess.Popen([program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    watch = threading.Timer(SECONDS, process.kill)
    watch.start()
    same = all(line == wanted for line, wanted in itertools.zip_longest(process.stdout, expected.splitlines(True)))
    watch.cancel()
    if not same:
        process.kill()
    return process.wait() == 0 and same


def engines(folder):
    """{instruction set: object files of the engine and the driver}."""
    found = {}
    for isa in ("scalar", *["avx2"] * c_programs.AVX2, *["avx512"] * c_programs.AVX512):
        place = Path(folder) / isa
        place.mkdir()
        c_programs.program(place, isa, ["-O1"])
        found[isa] = [path for path in place.glob("*.o") if not path.name.startswith(f"{isa}_")]
    return found


def outcome(folder, csrc, engine, originals, expected):
    """Whether a mutant is "killed", has "survived", or has the "same code"; so has one that does not compile."""
    changed = False
    for isa, objects_of_engine in engine.items():
        objects = compiled(folder, csrc, isa)
        if objects is None:
            return "same code"
        if [path.read_bytes() for path in objects] != originals[isa]:
            changed = True
            if not survives(folder, objects_of_engine, objects, expected):
                return "killed"
    if not changed:
        return "same code"
    sanitized = compiled(folder, csrc, flags=SANITIZED)
    return "survived" if survives(folder, engine["scalar"], sanitized, expected, SANITIZED) else "killed"


def equivalent_mutants():
    """Lines "FILE: OLD -> NEW in: SOURCE LINE", or "FILE: * in: SOURCE LINE", of the list."""
    return {line for line in EQUIVALENT.read_text(encoding="utf-8").splitlines() if line and not line.startswith(" ")}


def main():
    """Compile and run the mutants of a sample."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    killed, survivors, left_out, equivalent = 0, [], 0, 0
    known = equivalent_mutants()
    with tempfile.TemporaryDirectory() as folder:
        csrc = Path(folder) / "csrc"
        shutil.copytree(c_programs.SOURCES, csrc)
        engine = engines(folder)
        originals = {isa: [path.read_bytes() for path in compiled(folder, csrc, isa)] for isa in engine}
        expected = c_programs.PINNED.read_text(encoding="utf-8")
        paths = sorted((csrc / "kernels").glob("*_tpl.h"))
        chosen = [path for path in paths if path.name in (sys.argv[3:] or [path.name])]
        templates = {path: path.read_text(encoding="utf-8") for path in chosen}
        mutations = [(path, place) for path, text in templates.items() for place in places(text)]
        random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0).shuffle(mutations)
        for path, (start, end, new) in mutations:
            if killed + len(survivors) == count:
                break
            text = templates[path]
            line = text.count("\n", 0, start)
            source = text.splitlines()[line].strip()
            change = f"{text[start:end]} -> {new} in: {source}"
            if {f"{path.name}: {change}", f"{path.name}: * in: {source}"} & known:
                equivalent += 1
                continue
            path.write_text(text[:start] + new + text[end:], encoding="utf-8")
            found = outcome(folder, csrc, engine, originals, expected)
            killed += found == "killed"
            left_out += found == "same code"
            if found == "survived":
                survivors.append(f"{path.name}:{line + 1}: {change}")
                print(survivors[-1], flush=True)
            path.write_text(text, encoding="utf-8")
    score = killed / max(killed + len(survivors), 1)
    figures = {"mutants": killed + len(survivors), "killed": killed, "same code": left_out, "equivalent": equivalent}
    print(json.dumps({**figures, "score": round(score, 3)}))
    sys.exit(1 if score < LEAST_SCORE else 0)


if __name__ == "__main__":
    main()
