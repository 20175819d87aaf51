"""Writes api.md, the list of everything public, for autosummary to document."""

import importlib
import inspect
import shutil
from pathlib import Path

TOP = {
    "Models": ("Sequential", "Model", "Input", "load_model", "DivergenceError", "ModelFormatError"),
    "Estimators": ("MLPClassifier", "MLPRegressor"),
    "Understanding": ("loss_landscape", "WeightRecorder", "diagnose", "TrainingDoctor"),
    "Running": ("set_num_threads", "get_num_threads", "threads", "show_config"),
}
MODULES = (
    "layers", "activations", "losses", "optimizers", "optimizers.schedules", "initializers", "regularizers",
    "constraints", "callbacks", "metrics", "models", "utils", "ops", "reference", "plotting", "landscape", "diagnosis",
    "model_selection", "diagram", "datasets",
)  # fmt: skip
INTERNAL = {
    "automatic_name", "ParameterSpec", "WeightAccess", "last_axis", "number_between", "number_or_list", "unknown_name",
}  # fmt: skip
"""What modules without ``__all__`` hold for other modules of the package."""
ELSEWHERE = {"fastnn.models": {"Model", "Sequential", "load_model"}}
"""Names of a module that the page has above."""


def public_names(module_name: str) -> list[str]:
    """Classes and functions that a module of fastnn offers, classes under their own names only."""
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    left_out = INTERNAL | ELSEWHERE.get(module_name, set())
    members = {name: getattr(module, name) for name in names if name not in left_out}
    return [
        name
        for name, member in members.items()
        if (inspect.isfunction(member) or (inspect.isclass(member) and member.__name__ == name))
        and member.__module__.startswith("fastnn")
    ]


def functions_as_objects(module_name: str) -> list[str]:
    """Names of a module's functions of arrays that are objects: activations, and losses of rows."""
    members = vars(importlib.import_module(module_name))
    return sorted(
        name
        for name, member in members.items()
        if not name.startswith("_") and type(member).__module__.startswith("fastnn.") and callable(member)
    )


def write(path: Path) -> None:
    """Write the page."""
    lines = [
        "# API reference",
        "",
        "Names, arguments and defaults are Keras's, and scikit-learn's in `fastnn.metrics`.",
        "",
    ]
    sections = [(title, "fastnn", names) for title, names in TOP.items()]
    sections += [(f"fastnn.{name}", f"fastnn.{name}", public_names(f"fastnn.{name}")) for name in MODULES]
    for title, module_name, names in sections:
        lines += [f"## {title}", ""]
        if title == module_name:
            lines += [(importlib.import_module(module_name).__doc__ or "").strip().split("\n\n")[0], ""]
            if functions := functions_as_objects(module_name):
                lines += [f"Functions of arrays: {', '.join(f'`{name}`' for name in functions)}.", ""]
        lines += ["```{eval-rst}", f".. currentmodule:: {module_name}", "", ".. autosummary::", "   :toctree: _api", ""]
        lines += [*(f"   {name}" for name in names), "```", ""]
    text = "\n".join(lines)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        # Pages of names that are gone would be part of no table of contents.
        shutil.rmtree(path.parent / "_api", ignore_errors=True)
        path.write_text(text, encoding="utf-8")
