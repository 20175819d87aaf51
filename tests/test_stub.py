"""The stub of the compiled core matches the core."""

import ast
import inspect
from pathlib import Path

import pytest

import fastnn
from fastnn import _core

STUB = ast.parse((Path(fastnn.__file__).parent / "_core.pyi").read_text())


def arguments(function):
    """Argument names of a function of the stub, in order."""
    spec = function.args
    names = [a.arg for a in (*spec.posonlyargs, *spec.args)]
    names += [spec.vararg.arg] if spec.vararg else []
    names += [a.arg for a in spec.kwonlyargs] + ([spec.kwarg.arg] if spec.kwarg else [])
    return [name for name in names if name != "self"]


def described(body):
    """Functions and properties of a class or module of the stub, by name."""
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
FUNCTIONS = described(STUB.body)
VARIABLES = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}


def test_every_public_name_of_the_core_is_in_the_stub():
    modules = {"np", "os", "platform"}
    public = {name for name in vars(_core) if not name.startswith("_")} - modules
    assert public == (CLASSES.keys() | FUNCTIONS.keys() | VARIABLES) - {"Array"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_have_the_arguments_of_the_stub(name):
    assert list(inspect.signature(getattr(_core, name)).parameters) == arguments(FUNCTIONS[name])


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_have_the_members_of_the_stub(name):
    cls, members = getattr(_core, name), described(CLASSES[name].body)
    public = {member for member in vars(cls) if not member.startswith("_")}
    assert public == {member for member in members if member != "__init__"}
    for member in public:
        value = inspect.getattr_static(cls, member)
        if callable(value):
            signature = inspect.signature(getattr(cls, member))
            assert [p for p in signature.parameters if p != "self"] == arguments(members[member]), member


def test_every_kind_of_op_is_described_in_the_stub():
    text = ast.get_docstring(CLASSES["Network"])
    assert [op for op in _core.OPS if f'"{op}"' not in text] == []
