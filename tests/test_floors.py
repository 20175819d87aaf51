"""The law of the house: imports point down. ARCHITECTURE.md quotes the floors below."""

import ast
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
