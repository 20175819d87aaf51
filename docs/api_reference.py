"""Write api.md, the list of all public names, for autosummary to document."""

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
"""Names that modules without ``__all__`` share with other modules of the package."""
ELSEWHERE = {"fastnn.models": {"Model", "Sequential", "load_model"}}
"""Names of a module that the page lists in another section."""


def public_names(module_name: str) -> list[str]:
    """Return the public classes and functions of a module, leaving out aliases of classes."""
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
    """Return the names of array functions that are callable objects: activations, and losses per row."""
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
        "Names, arguments and defaults are those of Keras, and in `fastnn.metrics` those of scikit-learn.",
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
        # Pages of removed names would not be in any table of contents.
        shutil.rmtree(path.parent / "_api", ignore_errors=True)
        path.write_text(text, encoding="utf-8")
