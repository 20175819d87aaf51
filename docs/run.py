"""Run the Python code of documentation pages from top to bottom, solutions of exercises included.

python docs/run.py [--pictures DIRECTORY] [page.md ...]
"""

import argparse
import re
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(r"^```(?:\{code-cell\} ipython3|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Return every page with code."""
    found = sorted(path for path in HERE.rglob("*.md") if "_build" not in path.parts)
    return [path for path in found if BLOCK.search(path.read_text(encoding="utf-8"))]


def run(page: Path, pictures: Path | None = None) -> None:
    """Run the blocks of a page in one namespace; an error names the page and the line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    text = page.read_text(encoding="utf-8")
    namespace = {"__name__": "__main__"}
    count = 0
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block.group(1), str(page), "exec"), namespace)
        for number in plt.get_fignums():
            figure = plt.figure(number)
            figure.canvas.draw()
            count += 1
            if pictures is not None:
                figure.savefig(pictures / f"{page.stem}_{count}.png", dpi=60)
        plt.close("all")


def main() -> None:
    """Run the given pages, or all pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    for page in arguments.pages or pages():
        start = time.process_time()
        run(page.resolve(), arguments.pictures)
        print(f"{page.name}: {time.process_time() - start:.1f} s of processor time", file=sys.stderr)


if __name__ == "__main__":
    main()
