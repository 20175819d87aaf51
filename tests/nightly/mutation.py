"""Mutate the kernels' templates: does a test see it?

Run: python tests/nightly/mutation.py [COUNT [SEED]]. Each mutant changes one operator, constant or comparison of
csrc/kernels/*_tpl.h. The scalar kernels are compiled with it, and tests/portability/steps.c trains and multiplies on
them. A mutant is killed where this program prints another hash than is pinned, fails or does not end: pinned, because a
fault in a template is common to all instruction sets. Otherwise it is killed where the address and bounds sanitizers
object. Mutants are not counted that give the same object code, or that change no number on any input: these equivalent
ones are listed in equivalent_mutants.txt, each with its reason. Prints the survivors and a line of JSON.
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


def compiled(folder, csrc, flags=()):
    """The scalar kernels' object files of a copy of the sources, or None if they do not compile."""
    objects = []
    for name, kind in (("f32", []), ("f64", ["-DFNN_DOUBLE"])):
        objects.append(Path(folder) / f"mutant_{name}.o")
        command = [
            "gcc",
            *c_programs.FLAGS,
            "-O1",
            "-w",
            "-DFNN_ISA_SCALAR",
            *kind,
            *flags,
            "-c",
            "table.c",
            "-o",
            str(objects[-1]),
        ]
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


def main():
    """Compile and run the mutants of a sample."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    killed, survivors, left_out, equivalent = 0, [], 0, 0
    known = {line for line in EQUIVALENT.read_text(encoding="utf-8").splitlines() if line and not line.startswith(" ")}
    with tempfile.TemporaryDirectory() as folder:
        csrc = Path(folder) / "csrc"
        shutil.copytree(c_programs.SOURCES, csrc)
        c_programs.program(folder, "scalar", ["-O1"])
        engine = [path for path in Path(folder).glob("*.o") if not path.name.startswith("scalar_")]
        original = [path.read_bytes() for path in compiled(folder, csrc)]
        expected = c_programs.PINNED.read_text(encoding="utf-8")
        templates = {path: path.read_text(encoding="utf-8") for path in sorted((csrc / "kernels").glob("*_tpl.h"))}
        mutations = [(path, place) for path, text in templates.items() for place in places(text)]
        random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0).shuffle(mutations)
        for path, (start, end, new) in mutations:
            if killed + len(survivors) == count:
                break
            text = templates[path]
            line = text.count("\n", 0, start)
            change = f"{text[start:end]} -> {new} in: {text.splitlines()[line].strip()}"
            if f"{path.name}: {change}" in known:
                equivalent += 1
                continue
            path.write_text(text[:start] + new + text[end:], encoding="utf-8")
            objects = compiled(folder, csrc)
            if objects is None or [o.read_bytes() for o in objects] == original:
                left_out += 1
            elif not survives(folder, engine, objects, expected) or not survives(
                folder, engine, compiled(folder, csrc, SANITIZED), expected, SANITIZED
            ):
                killed += 1
            else:
                survivors.append(f"{path.name}:{line + 1}: {change}")
                print(survivors[-1], flush=True)
            path.write_text(text, encoding="utf-8")
    score = killed / max(killed + len(survivors), 1)
    figures = {"mutants": killed + len(survivors), "killed": killed, "same code": left_out, "equivalent": equivalent}
    print(json.dumps({**figures, "score": round(score, 3)}))
    sys.exit(1 if score < LEAST_SCORE else 0)


if __name__ == "__main__":
    main()
