"""Sphinx extension: sections of this project's docstrings as definition lists, with types from the annotations.

Most docstrings write ``name : description``, or ``a, b : description`` for several parameters that share one; types are
annotations. Those of data sets and metrics write ``name : type``. Docstrings of other packages go through napoleon.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from sphinx.ext.napoleon import Config, NumpyDocstring
from sphinx.util.inspect import stringify_signature

SECTION = re.compile(r"(Parameters|Attributes|Returns|Yields|Raises|Examples|Notes|References)$")
TYPE_FIRST = re.compile(
    r"(array_like|ndarray|float|int|str|bool|callable|label|list|tuple|dict|mapping|sequence|None|\{.*?\})(?!\w)[^.;]{0,60}"
)
"""What stands on the line of a name when the docstring has NumPy's form ``name : type``, description below."""
LONGEST_TYPE = 50
"""Longer annotations, such as that of anything NumPy takes as a dtype, are left out: the description says it better."""
STANDARD_TYPES = {
    **dict.fromkeys(["x", "y", "X", "y_true", "y_pred", "y_score", "data"], "array_like"),
    "sample_weight": "array_like | None",
    "validation_data": "tuple | None",
    "callbacks": "list[Callback] | None",
    "verbose": "int | str",
    "dtype": "str | dtype",
    "ax": "Axes | None",
    "random_state": "int | RandomState | None",
    "learning_rate": "float | LearningRateSchedule",
    "optimizer": "str | Optimizer",
    "_initializer": "str | Initializer",
    "_regularizer": "str | Regularizer | None",
    "_constraint": "str | Constraint | None",
}
"""Types of parameters by name, or by the end of a name, where the annotation says nothing."""


def annotation_text(annotation: Any) -> str:
    """Return an annotation as one reads it: "int | None", "array"; "" if it says nothing."""
    text = annotation.__name__ if inspect.isclass(annotation) else str(annotation)
    if annotation in (inspect.Parameter.empty, Any):
        return ""
    text = re.sub(r"numpy\.ndarray\[.*?dtype\[[^]]*\]\]", "array", text.replace("~", ""))
    text = re.sub(r"(?:\w+\.)+(\w+)", r"\1", text)
    return text if len(text) <= LONGEST_TYPE else ""


def _types(documented: Any) -> dict[str, str]:
    """Return the types of parameters by name."""
    try:
        parameters = inspect.signature(documented).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {parameter.name: annotation_text(parameter.annotation) for parameter in parameters}


def _standard_type(name: str) -> str:
    """Return the type that a parameter of this name has everywhere; "" if there is none."""
    ending = name[name.rfind("_") :] if "_" in name else name
    return STANDARD_TYPES.get(name) or STANDARD_TYPES.get(ending, "")


def _sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (heading, lines) of a docstring; the heading of the text before the first section is ""."""
    heading, body = "", []
    place = 0
    while place < len(lines):
        underlined = place + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[place + 1].strip())
        if underlined and SECTION.match(lines[place]):
            yield heading, body
            heading, body = lines[place], []
            place += 2
        else:
            body.append(lines[place])
            place += 1
    yield heading, body


def _entries(body: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (first line, indented lines) of every entry of a section."""
    entry: list[str] = []
    for line in body:
        if not line.strip():
            continue
        if not line.startswith(" ") and entry:
            yield entry[0], entry[1:]
            entry = []
        entry.append(line)
    if entry:
        yield entry[0], entry[1:]


def _described(body: list[str], types: dict[str, str], standard: Callable[[str], str]) -> Iterator[str]:
    """Yield a definition list of parameters or attributes; ``standard`` gives types that annotations lack."""
    for first, more in _entries(body):
        names, _, text = f"{first} ".partition(" : ")
        listed = [name.strip() for name in names.split(",")]
        terms = ["**" + name.replace("*", r"\*") + "**" for name in listed]
        if more and TYPE_FIRST.fullmatch(text.strip()):
            kinds, text = [text.strip()] * len(listed), ""
        else:
            kinds = [types.get(name.lstrip("*")) or standard(name) for name in listed]
        if len(set(kinds)) == 1:
            terms, kinds = [", ".join(terms)], kinds[:1]
        yield ", ".join(f"{term} : ``{kind}``" if kind else term for term, kind in zip(terms, kinds, strict=True))
        yield from (f"    {line.strip()}" for line in [text, *more] if line.strip())
        yield ""


def _returned(body: list[str], code: bool) -> Iterator[str]:
    """Yield a definition list of results or errors; entries without an indented description stay paragraphs."""
    for first, more in _entries(body):
        yield f"``{first}``" if code else first
        yield from (f"    {line.strip()}" for line in more)
        yield ""


def restructured(lines: list[str], types: dict[str, str]) -> list[str]:
    """Return the lines of a docstring with its sections as reStructuredText."""
    out: list[str] = []
    for heading, body in _sections(lines):
        if heading:
            out += [f".. rubric:: {heading}", ""]
        if heading == "Parameters":
            out += _described(body, types, _standard_type)
        elif heading == "Attributes":
            out += _described(body, types, lambda name: "")
        elif heading in ("Returns", "Yields", "Raises"):
            out += _returned(body, code=heading == "Raises")
        else:
            out += [*body, ""]
    return out


def _process(app: Any, what: str, name: str, documented: Any, options: Any, lines: list[str]) -> None:
    function = documented.fget if isinstance(documented, property) else documented
    if (getattr(function, "__module__", None) or "fastnn").startswith("fastnn"):
        lines[:] = restructured(lines, _types(documented))
    else:
        foreign = Config(napoleon_use_rtype=False, napoleon_use_param=False)  # words of a type are not links
        lines[:] = NumpyDocstring("\n".join(lines), foreign, app, what, name, documented, options).lines()


def signature_of(documented: type) -> str:
    """Return the arguments of a class as its users write them.

    Layers are made by their metaclass, whose ``__call__(*arguments, **options)`` autodoc would show.
    """
    signature = inspect.signature(documented.__init__)
    given = list(signature.parameters.values())[1:]  # without self
    return stringify_signature(signature.replace(parameters=given), show_annotation=False)


def _sign(app: Any, what: str, name: str, documented: Any, options: Any, signature: str, returns: str) -> Any:
    made = type(documented)  # the metaclass
    if what == "class" and made is not type and "__call__" in vars(made) and documented.__module__.startswith("fastnn"):
        return signature_of(documented), returns
    return None


def setup(app: Any) -> dict[str, Any]:
    """Connect to autodoc."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _sign)
    return {"parallel_read_safe": True}
