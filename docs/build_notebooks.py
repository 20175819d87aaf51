"""Build docs/tutorials/*.ipynb from the text form; needs jupytext: pip install '.[tutorials]'."""

from pathlib import Path

import jupytext


def main() -> None:
    """Write a notebook next to every tutorial."""
    for page in sorted((Path(__file__).resolve().parent / "tutorials").glob("[0-9]*_*.md")):
        notebook = jupytext.read(page, fmt="md:myst")
        jupytext.write(notebook, page.with_suffix(".ipynb"))
        print(page.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main()
