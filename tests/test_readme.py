"""What the README says is true: its example runs, and its commands are the ones that are checked."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.datasets import load_ground_motion

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def python_examples():
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_learns(capsys):
    (example,) = python_examples()
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 15
    fastnn.utils.set_random_seed(0)
    exec(compile(example, "README.md", "exec"), {})
    errors = eval(capsys.readouterr().out)
    assert set(errors) == {"loss", "mae"}
    records = load_ground_motion()
    variance = np.log10(records.target)[records["event"] % 4 == 0].var()
    assert errors["loss"] < 0.4 * variance
    (shown,) = re.findall(r"```text\n(.*?)```", README, flags=re.DOTALL)
    assert errors == pytest.approx(eval(shown), rel=1e-3)


def test_the_commands_are_the_ones_that_are_checked():
    commands = re.findall(r"```sh\n(.*?)\n```", README, flags=re.DOTALL)
    assert [command.split("&&")[-1].split("/")[-1].strip() for command in commands] == [
        "fastnn demo",
        "fastnn bench",
        "python -m pytest",
    ]
    pattern = re.search(r"grep -m 1 -E '([^']*)' README.md", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert [bool(re.search(pattern[1], command)) for command in commands] == [False, False, True]


def test_the_extras_of_the_commands_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in [README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")]:
        named = [name for group in re.findall(r"'?\.\[([a-z,]+)\]", text) for name in group.split(",")]
        assert named
        assert set(named) <= set(project["optional-dependencies"])


def test_nothing_says_to_install_from_the_index():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("docs/**/*.md")]:
        assert not re.search(r"pip install '?fastnn\b", path.read_text(encoding="utf-8")), path
