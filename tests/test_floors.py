"""The law of the house: imports and calls point down. ARCHITECTURE.md quotes the floors below."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "fastnn"

FLOORS = """
errors _allocation _forking _warnings _array_functions _ranks
_core
_arguments _command_line _names _progress _structures
_derivation _missing
_arrays _registry _randomness _processors _arithmetic _dask
_variables
ops reference
activations constraints initializers regularizers data
layers losses optimizers metrics datasets model_selection utils
backend network
saving
export
callbacks
training
many diagram distributed
models estimators
tabular
plotting
landscape
diagnosis
interchange
__init__
bench demo tables
cli
__main__
""".split("\n")[1:-1]
"""From the ground up. A module imports from lower floors and from its own wing, never from its own floor or above."""

FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor.split()}
MODULES = {
    ".".join(("fastnn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MODULES["fastnn._core"] = PACKAGE / "_core.pyi"
MODULES["fastnn.metrics._rows"] = PACKAGE / "metrics" / "_rows.pyi"


def imports_of(path):
    """Return the modules of the package that a file imports, at any depth of its code, and whether it names them."""
    found, unnamed = set(), []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: line {node.lineno} imports relatively"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in MODULES else node.module)
                if node.module == "fastnn":
                    unnamed.append(alias.name)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return {name for name in found if name == "fastnn" or name.startswith("fastnn.")}, unnamed


def top_of(module):
    """Return the wing or top-level module that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def test_every_module_has_a_floor():
    assert {top_of(module) for module in MODULES} == set(FLOOR_OF)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module):
    found, unnamed = imports_of(MODULES[module])
    wing = top_of(module)
    upward = {target for target in found if top_of(target) != wing and FLOOR_OF[top_of(target)] >= FLOOR_OF[wing]}
    assert not upward, f"{module} is on floor {FLOOR_OF[wing]} ({wing}) and imports {sorted(upward)}"
    if FLOOR_OF[wing] < FLOOR_OF["__init__"]:
        assert not unnamed, f"{module} imports {unnamed} from fastnn: write 'import fastnn.name as name'"


def test_no_circle_of_imports():
    graph = {module: imports_of(path)[0] - {module} for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_the_core_imports_nothing_of_the_package_but_the_fork_hook():
    lines = [
        line
        for pattern in ("*.pyx", "*.pxi")
        for path in PACKAGE.rglob(pattern)
        for line in path.read_text(encoding="utf-8").splitlines()
        if "fastnn" in line and "import" in line
    ]
    assert all("fastnn._forking" in line for line in lines)


SOURCES = Path(__file__).resolve().parents[1] / "csrc"
ENGINE_FLOORS = """
dispatch environment trials
call
arena pieces random
team
route
network rates
common_memory gradients
weight_sums
strips
chunk_sums
ranks
layers
losses update
arrays least_squares predict
plan train
epochs
""".split("\n")[1:-1]
"""From the ground up. A file of the engine calls functions of lower floors; those of layers/ know one another."""

ENGINE_FLOOR_OF = {name: number for number, floor in enumerate(ENGINE_FLOORS) for name in floor.split()}
C_TEXT = {
    path.relative_to(SOURCES): re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for path in sorted(SOURCES.rglob("*.[ch]"))
}
ENGINE_FILES = [path for path in C_TEXT if path.parts[0] == "engine" and path.suffix == ".c"]
PLACE_OF = {
    name: path
    for path, text in C_TEXT.items()
    for name in re.findall(r"^\w[^;{}]*?\b(fnn_\w+)\([^;{}]*\) \{", text, flags=re.MULTILINE)
}
"""The files that define the functions of more than one file."""


def engine_floor(path):
    """Return the file of the engine, or its wing layers/, whose floor a source file is on."""
    return "layers" if path.parent.name == "layers" else path.stem


def test_every_file_of_the_engine_has_a_floor():
    assert {engine_floor(path) for path in ENGINE_FILES} == set(ENGINE_FLOOR_OF)


@pytest.mark.parametrize("path", ENGINE_FILES, ids=str)
def test_calls_of_the_engine_point_down(path):
    floor = engine_floor(path)
    assert set(re.findall(r"\b(fnn_\w+)\(", C_TEXT[path])) <= PLACE_OF.keys()
    named = set(re.findall(r"\bfnn_\w+", C_TEXT[path])) & PLACE_OF.keys()
    places = {name: PLACE_OF[name] for name in named if PLACE_OF[name].suffix == ".c"}
    upward = {
        name: str(place)
        for name, place in places.items()
        if engine_floor(place) != floor and ENGINE_FLOOR_OF[engine_floor(place)] >= ENGINE_FLOOR_OF[floor]
    }
    assert not upward, f"{path} is on floor {ENGINE_FLOOR_OF[floor]} and calls {upward}"


def test_includes_point_down():
    graph = {path: re.findall(r'^#include "(.+)"', text, flags=re.MULTILINE) for path, text in C_TEXT.items()}
    for path, names in graph.items():
        included = {(SOURCES / path.parent / name).resolve().relative_to(SOURCES) for name in names}
        assert all(place.suffix == ".h" and place in C_TEXT for place in included), path
        if path.parts[0] == "kernels":
            assert {place.parts[0] for place in included} <= {"kernels", "fnn.h", "quantile.h"}, path
        graph[path] = included
    TopologicalSorter(graph).prepare()
