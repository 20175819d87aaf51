"""Names of activations, initializers, layers, losses, metrics and optimizers, and their descriptions as JSON.

Each class registers itself under its names. ``{"class_name": name, "config": get_config()}`` describes an object, so
whatever is registered and has ``get_config`` and ``from_config`` can be saved. Functions of the user are described by
their name; ``custom_objects`` gives them back.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Self, TypeVar

from fastnn._arguments import nearest
from fastnn._derivation import Derivable, is_fastnn_assigning, warn_of_near_name

T = TypeVar("T")
CustomObjects = Mapping[str, Any]

# kind -> every spelling -> the registered object; the first spelling of each object is listed in error messages.
_entries: dict[str, dict[str, Any]] = {}
_listed: dict[str, list[str]] = {}
# kind -> name -> module that registers it
_late: dict[str, dict[str, str]] = {}
_late_aliases: dict[str, set[str]] = {}
_OTHER_NAMES = {
    "trainlm": "lm",
    "trainbr": "lm_bayes",
    "trainbfg": "lbfgs",
    "tansig": "tanh",
    "logsig": "sigmoid",
    "logistic": "sigmoid",
    "purelin": "linear",
    "identity": "linear",
    "poslin": "relu",
}
"""Names that MATLAB and scikit-learn have for something that is registered under another name."""


class Description(Derivable):
    """Base of objects that the arguments of their constructor describe; these can be read, saved and printed."""

    _options: ClassVar[tuple[str, ...]] = ()
    """Names of the arguments; each is an attribute too."""
    _read_by = ""
    """What has read the options and does not follow their changes; nothing before."""

    def fix(self, reader: str) -> None:
        """Refuse changes of the options from now on.

        Parameters
        ----------
        reader : what has read them, for the message; an empty string allows changes again.
        """
        self._read_by = reader

    def __setattr__(self, name: str, value: Any) -> None:
        cls: Any = type(self)
        mine = self.__dict__
        if name not in mine:
            if not is_fastnn_assigning():
                warn_of_near_name(self, name)
        elif self._read_by and name in _arguments_of(cls):
            called = f" {mine['name']!r}" if "name" in mine else ""
            raise AttributeError(f"{name} of {type(self).__name__}{called} cannot be changed: {self._read_by}")
        try:
            super().__setattr__(name, value)
        except AttributeError:
            self._explain_refusal(name)
            raise

    def _explain_refusal(self, name: str) -> None:
        """Raise AttributeError that says why an attribute cannot be assigned, where there is more to say."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_read_by"}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {option: getattr(self, option) for option in self._options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an object from ``get_config()``."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_config().items())})"


@lru_cache(maxsize=512)
def _arguments_of(cls: type[Any]) -> frozenset[str]:
    """Return the names of the constructor's arguments, and of those of the constructors that it calls."""
    constructors = [vars(each)["__init__"] for each in cls.__mro__[:-1] if "__init__" in vars(each)]
    names = {name for constructor in constructors for name in inspect.signature(constructor).parameters}
    return frozenset(names - {"name"})


def register(kind: str, *names: str) -> Callable[[T], T]:
    """Return a decorator that registers a class or object under each of ``names`` for ``resolve(kind, name)``.

    Parameters
    ----------
    kind : "activation", "initializer", "layer", "loss", "optimizer", ...
    names : the spelling that messages list, then the aliases.
    """

    def add(entry: T) -> T:
        _entries.setdefault(kind, {}).update(dict.fromkeys(names, entry))
        _listed.setdefault(kind, []).append(names[0])
        return entry

    return add


def register_late(kind: str, module: str, *names: str, aliases: Iterable[str] = ()) -> None:
    """Know names that a module registers; it is imported when one of them is first found. Messages list no aliases."""
    _late.setdefault(kind, {}).update(dict.fromkeys([*names, *aliases], module))
    _late_aliases.setdefault(kind, set()).update(aliases)


def unknown_name(what: str, given: object, known: Iterable[str], aliases: Iterable[str] = ()) -> str:
    """Return the message for an unknown name: the nearest known name or alias, and the list of the names."""
    names = sorted(known)
    other = _OTHER_NAMES.get(str(given).lower())
    near = other if other in names else nearest(given, [*names, *(alias for alias in aliases if alias not in names)])
    hint = f" Did you mean {near!r}?" if near else ""
    return f"unknown {what} {given!r}.{hint} Known: {', '.join(names)}"


def listed(kind: str) -> list[str]:
    """Return the first name of each registered object."""
    late = [name for name in _late.get(kind, {}) if name not in _late_aliases[kind]]
    return list(dict.fromkeys([*_listed.get(kind, []), *late]))


def spellings(kind: str) -> list[str]:
    """Return all names of the registered objects."""
    return list(dict.fromkeys([*_entries.get(kind, {}), *_late.get(kind, {})]))


def knows(kind: str, name: str) -> bool:
    """Return whether something is registered under ``name``."""
    return name in _entries.get(kind, {}) or name in _late.get(kind, {})


def find(kind: str, name: str) -> Any:
    """Return the object that is registered under ``name``.

    Raises
    ------
    ValueError
        The name is unknown; the message has the known names and the nearest.
    """
    if name not in _entries.get(kind, {}) and name in _late.get(kind, {}):
        importlib.import_module(_late[kind][name])
    try:
        return _entries[kind][name]
    except KeyError:
        raise ValueError(unknown_name(kind, name, listed(kind), spellings(kind))) from None


def resolve(kind: str, identifier: Any, base: type[T]) -> T:
    """Return the object of class ``base`` that ``identifier`` stands for.

    Parameters
    ----------
    kind : registry kind.
    identifier : a registered name, a class, an object, or the dict ``{"class_name": name, "config": options}``.
    base : class of the result.

    Raises
    ------
    ValueError
        Unknown name.
    TypeError
        Not a name, class, dict or object of this kind.
    """
    if isinstance(identifier, base):
        return identifier
    found: Any = None
    if isinstance(identifier, str):
        found = find(kind, identifier)
    elif isinstance(identifier, type) and issubclass(identifier, base):
        found = identifier
    elif isinstance(identifier, dict) and "class_name" in identifier:
        found = deserialize(kind, identifier)
    if found is None:
        article = "an" if kind[0] in "aeiou" else "a"
        raise TypeError(
            f"{kind} must be a name ({', '.join(sorted(listed(kind)))}) or {article} {base.__name__} object, "
            f"got {identifier!r}"
        )
    described: T = found() if isinstance(found, type) else found
    return described


def describe(kind: str, part: Any) -> Any:
    """Return ``serialize(part)``; None and what is not registered under its class's name are returned as they are."""
    return serialize(part) if part is not None and type(part) is _entries[kind].get(type(part).__name__) else part


class MissingObjectError(ValueError):
    """A description names a function of the user that is not in ``custom_objects``."""


def serialize(described: Any) -> dict[str, Any]:
    """Return ``{"class_name", "config"}`` of an object, or ``{"function": name}`` of a function."""
    if hasattr(described, "get_config"):
        return {"class_name": type(described).__name__, "config": described.get_config()}
    if not hasattr(described, "__name__"):
        raise ValueError(
            f"{described!r} cannot be saved: it has neither get_config() nor a name; give a function that def or "
            "lambda made, or an object with get_config()"
        )
    return {"function": described.__name__}


def deserialize(kind: str, description: Any, custom_objects: CustomObjects | None = None) -> Any:
    """Return the object of ``serialize``; names in ``custom_objects`` come first. A string stays a string.

    Raises
    ------
    ValueError
        The name is neither registered nor in ``custom_objects``, or the description has the wrong form.
    """
    custom = custom_objects or {}
    if isinstance(description, str):
        return custom.get(description, description)
    if not isinstance(description, dict):
        raise ValueError(f"the description of the {kind} must be an object, got {type(description).__name__}")
    if "function" in description:
        if description["function"] not in custom:
            raise MissingObjectError(
                f"the {kind} is a function of your own: pass custom_objects={{{description['function']!r}: the "
                "function}, or compile=False and call model.compile"
            )
        return custom[description["function"]]
    name, options = description.get("class_name"), description.get("config", {})
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError(f"the description of the {kind} must have class_name and config")
    found = custom[name] if name in custom else find(kind, name)
    return found.from_config(options) if hasattr(found, "from_config") else found(**options)
