"""Write the folder api: an index, a page for every public module and a page for every public class."""

import importlib
import inspect
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

TOP = {
    "Models": (
        "Sequential",
        "Model",
        "Input",
        "KerasTensor",
        "load_model",
        "load_keras",
        "load_onnx",
        "load_torch",
        "DivergenceError",
        "ModelFormatError",
    ),
    "Estimators": ("MLPClassifier", "MLPRegressor", "BaggedMLPClassifier", "BaggedMLPRegressor", "sweep"),
    "Tables": ("TabularClassifier", "TabularRegressor"),
    "Many models": ("fit_many", "predict_many"),
    "Understanding": ("loss_landscape", "WeightRecorder", "diagnose", "TrainingDoctor"),
    "Running": ("set_num_threads", "get_num_threads", "threads", "show_config"),
}
MODULES = (
    "layers", "activations", "losses", "optimizers", "optimizers.schedules", "initializers", "regularizers",
    "constraints", "callbacks", "metrics", "models", "utils", "ops", "reference", "plotting", "landscape", "diagnosis",
    "many", "data", "distributed", "model_selection", "diagram", "datasets",
)  # fmt: skip
ELSEWHERE = {"fastnn.many": {"fit_many", "predict_many"}, "fastnn.models": {"Model", "Sequential", "load_model"}}
"""Names of a module that another page lists."""
INTERNAL = {
    "activations": {"GeneralReLU"},
    "callbacks": {"CallbackList"},
    "initializers": {"Source", "choice"},
    "layers": {"ParameterSpec", "WeightAccess", "automatic_name"},
}
"""Classes and functions of public modules that serve the package alone."""
INTERNAL_MEMBERS = {
    # models
    "all_layers", "build_from", "declared_input", "forget_other_threads", "graph_for", "hold_weights", "in_form",
    "inner_layers", "inner_places", "inner_tensors", "leaf_layers", "losses_of_outputs", "network", "network_weights",
    "of_tensors", "output_keys", "ports", "program", "program_for", "put", "reading", "require_compiled", "trace",
    "trace_layers", "without_network",
    # layers
    "check_weights", "compute", "computes", "depth", "dtype_of", "holder", "holds_floats", "keeps_elements", "lend",
    "n_outputs", "numbers_of", "op", "op_of", "parameter_specs", "read_weight", "row_of", "tensor", "trains", "weight",
    "write_weight",
    # losses, optimizers, activations, schedules, initializers, regularizers, constraints
    "core_name", "couples_rows", "decays", "depends_on_batches", "draw", "factors", "learning_rates", "of_rows",
    "option_names", "options", "rates", "require_settable_rate", "rule", "schedule", "settable_rate",
    "skipped_activation", "target_columns", "targets", "with_parameters",
    # callbacks
    "after_epoch", "check_kept", "close", "factors_of", "kept_attributes", "on_divergence", "on_progress", "resume",
    "written_path",
    # sources
    "files", "in_all_rows", "read_inputs", "read_targets",
    # estimators
    "check_fold", "fit_fold",
    # metrics
    "arrays", "correlation", "default_name", "direction", "entries", "rows",
}  # fmt: skip
"""Members without a leading underscore that the package itself calls and a user does not."""
FOR_USERS = {"Source.rows"}
"""Members of classes that users call although others of that name are internal."""


def public_names(module_name: str) -> list[str]:
    """Return the public classes and functions of a module, leaving out aliases of classes."""
    module = importlib.import_module(module_name)
    left_out = INTERNAL.get(module_name.removeprefix("fastnn."), set()) | ELSEWHERE.get(module_name, set())
    if hasattr(module, "__all__"):
        names = [name for name in module.__all__ if name not in left_out]
    else:
        names = [name for name, member in vars(module).items() if _belongs(module, name, member, left_out)]
    members = {name: getattr(module, name) for name in names}
    return [
        name
        for name, member in members.items()
        if (inspect.isfunction(member) or inspect.isclass(member))
        and member.__name__ == name
        and member.__module__.startswith("fastnn")
        and not member.__module__.startswith("fastnn._array_functions")
    ]


def _belongs(module: ModuleType, name: str, member: Any, left_out: set[str]) -> bool:
    """Return whether a module without ``__all__`` defines a public name."""
    if name.startswith("_") or name in left_out:
        return False
    return bool(getattr(member, "__module__", None) == module.__name__)


def functions_as_objects(module_name: str) -> list[str]:
    """Return the names of array functions that are callable objects: activations, and losses per row."""
    module = importlib.import_module(module_name)
    members = {name: getattr(module, name) for name in dir(module)}
    return sorted(
        name
        for name, member in members.items()
        if not name.startswith("_") and type(member).__module__.startswith("fastnn.") and callable(member)
    )


def sections() -> list[tuple[str, str, list[str]]]:
    """Return (title, module, public names) of every page of the reference."""
    top = [(title, "fastnn", list(names)) for title, names in TOP.items()]
    return top + [(f"fastnn.{name}", f"fastnn.{name}", public_names(f"fastnn.{name}")) for name in MODULES]


def class_pages() -> dict[type, str]:
    """Return the full name under which each public class has its page."""
    pages: dict[type, str] = {}
    for _, module_name, names in sections():
        for name in names:
            member = getattr(importlib.import_module(module_name), name)
            if inspect.isclass(member):
                pages.setdefault(member, f"{module_name}.{name}")
    return pages


def members(documented: type, pages: dict[type, str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the members to document in full, and those of public base classes by the base's full name."""
    bases = [base for base in documented.__mro__[1:] if base in pages and base.__name__ != "Model"]
    in_full: list[str] = []
    inherited: dict[str, list[str]] = {}
    for name in _in_order_of_source(documented):
        origin = next((base for base in reversed(bases) if any(name in vars(each) for each in base.__mro__)), None)
        if origin is None:
            in_full.append(name)
        elif name != "__call__":
            inherited.setdefault(pages[origin], []).append(name)
    return in_full, inherited


def _in_order_of_source(documented: type) -> list[str]:
    """Return the names of a class's documented members: the class's, those of its bases, those of scikit-learn."""
    found: list[str] = []
    for definer in documented.__mro__:
        if definer.__module__.split(".")[0] not in ("fastnn", "sklearn"):
            continue
        for name, member in vars(definer).items():
            shown = not name.startswith("_") or (name == "__call__" and definer.__module__.startswith("fastnn."))
            described = isinstance(member, classmethod | staticmethod | property) or inspect.isroutine(member)
            internal = name in INTERNAL_MEMBERS and f"{definer.__name__}.{name}" not in FOR_USERS
            if shown and described and member.__doc__ and not internal and name not in found:
                found.append(name)
    return sorted(found, key=lambda name: _is_of_scikit_learn(getattr(documented, name)))


def _is_of_scikit_learn(member: Any) -> bool:
    return (getattr(member, "__module__", None) or "").startswith("sklearn")


def _class_page(name: str, documented: type, pages: dict[type, str]) -> str:
    """Return the page of a class: its docstring, and every public method."""
    module_name, _, short = name.rpartition(".")
    in_full, inherited = members(documented, pages)
    lines = [short, "=" * len(short), "", f".. currentmodule:: {module_name}", "", f".. autoclass:: {short}"]
    if in_full:
        lines += [f"   :members: {', '.join(in_full)}"]
    lines += [""]
    for base, names in inherited.items():
        links = ", ".join(f":py:obj:`{each} <{base}.{each}>`" for each in names)
        lines += [f"**Inherited from** :py:obj:`{base.rpartition('.')[2]} <{base}>`: {links}.", ""]
    return "\n".join(lines)


def _first_sentence(documented: Any) -> str:
    paragraph = (inspect.getdoc(documented) or "").split("\n\n")[0]
    return " ".join(paragraph.split())


def _module_page(title: str, module_name: str, names: list[str], pages: dict[type, str]) -> str:
    """Return the page of a module: a table of its names, and its functions in full."""
    module = importlib.import_module(module_name)
    lines = [title, "=" * len(title), ""]
    if title == module_name:
        lines += [(module.__doc__ or "").strip().split("\n\n")[0], ""]
        if functions := functions_as_objects(module_name):
            lines += [f"Functions of arrays: {', '.join(f'``{name}``' for name in functions)}.", ""]
    documented = {name: getattr(module, name) for name in names}
    addresses = {name: pages.get(each, f"{module_name}.{name}") for name, each in documented.items()}
    lines += [".. list-table::", "   :class: names", ""]
    for name, each in documented.items():
        lines += [f"   * - :py:obj:`{name} <{addresses[name]}>`", f"     - {_first_sentence(each)}"]
    own_pages = [addresses[name] for name, each in documented.items() if addresses[name] == f"{module_name}.{name}"]
    own_pages = [address for address in own_pages if address in pages.values()]
    if own_pages:
        lines += ["", ".. toctree::", "   :hidden:", ""]
        lines += [f"   {address.rpartition('.')[2]} <{address}>" for address in own_pages]
    lines += ["", f".. currentmodule:: {module_name}", ""]
    for name, each in documented.items():
        if not inspect.isclass(each):
            lines += [f".. autofunction:: {name}", ""]
    return "\n".join(lines)


def _file_name(title: str) -> str:
    return title.lower().replace(" ", "_")


def page_texts() -> dict[str, str]:
    """Return the text of every page by its file name."""
    pages = class_pages()
    texts = {f"{name}.rst": _class_page(name, documented, pages) for documented, name in pages.items()}
    index = [
        "API reference",
        "=============",
        "",
        "Names, arguments and defaults are those of Keras, and in ``fastnn.metrics`` those of scikit-learn.",
        "",
        ".. list-table::",
        "   :class: names",
        "",
    ]
    for title, module_name, names in sections():
        texts[f"{_file_name(title)}.rst"] = _module_page(title, module_name, names, pages)
        about = _first_sentence(importlib.import_module(module_name)) if title == module_name else ", ".join(names)
        index += [f"   * - :doc:`{title} <{_file_name(title)}>`", f"     - {about}"]
    index += ["", ".. toctree::", "   :hidden:", ""]
    index += [*(f"   {title.removeprefix('fastnn.')} <{_file_name(title)}>" for title, _, _ in sections()), ""]
    texts["index.rst"] = "\n".join(index)
    return texts


def write(folder: Path) -> None:
    """Write the pages that have changed, and remove those of names that are gone."""
    texts = page_texts()
    if folder.exists() and {path.name for path in folder.iterdir()} - set(texts):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
