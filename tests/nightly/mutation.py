"""Mutate the kernels' templates: does a test see it?

Run: python tests/nightly/mutation.py [COUNT [SEED]]. Each mutant changes one operator, constant or comparison of
csrc/kernels/*_tpl.h. The scalar kernels are compiled with it, and tests/portability/steps.c trains and multiplies on
them. A mutant is killed where this program prints another hash than is pinned, fails or does not end: pinned, because a
fault in a template is common to all instruction sets. Mutants that give the same object code are not counted. Prints
the survivors and a line of JSON.
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
SECONDS = 60
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


def compiled(folder, csrc):
    """The scalar kernels' object files of a copy of the sources, or None if they do not compile."""
    objects = []
    for name, kind in (("f32", []), ("f64", ["-DFNN_DOUBLE"])):
        objects.append(Path(folder) / f"mutant_{name}.o")
        flags = [*c_programs.FLAGS, "-O1", "-w", "-DFNN_ISA_SCALAR", *kind]
        command = ["gcc", *flags, "-c", "table.c", "-o", str(objects[-1])]
        if subprocess.run(command, cwd=csrc / "kernels", capture_output=True).returncode:
            return None
    return objects


def survives(program, expected):
    """Whether a program prints the expected lines; it is ended at the first other one."""
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
    killed, survivors, left_out = 0, [], 0
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
            path.write_text(text[:start] + new + text[end:], encoding="utf-8")
            objects = compiled(folder, csrc)
            path.write_text(text, encoding="utf-8")
            if objects is None or [o.read_bytes() for o in objects] == original:
                left_out += 1
                continue
            program = Path(folder) / "mutant"
            subprocess.run(["gcc", *engine, *objects, "-fopenmp", "-lm", "-o", program], check=True)
            if not survives(program, expected):
                killed += 1
                continue
            line = text.count("\n", 0, start)
            survivors.append(
                f"{path.name}:{line + 1}: {text[start:end]} -> {new} in: {text.splitlines()[line].strip()}"
            )
            print(survivors[-1], flush=True)
    score = killed / max(killed + len(survivors), 1)
    print(
        json.dumps(
            {"mutants": killed + len(survivors), "killed": killed, "same code": left_out, "score": round(score, 3)}
        )
    )
    sys.exit(1 if score < LEAST_SCORE else 0)


if __name__ == "__main__":
    main()
