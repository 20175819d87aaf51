"""Names of activations, initializers, layers, losses and optimizers: who registers one, who looks one up; their base.

The descriptions register themselves here, so that none of them has to import another.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self, TypeVar

T = TypeVar("T")

# kind -> every spelling -> the registered object; the first spelling of each object is listed in error messages.
_entries: dict[str, dict[str, Any]] = {}
_listed: dict[str, list[str]] = {}


class Description:
    """Base of everything that its constructor's arguments describe: they can be had back, saved and printed."""

    _options: ClassVar[tuple[str, ...]] = ()
    """Names of the arguments, each an attribute as well."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {option: getattr(self, option) for option in self._options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an object from ``get_config()``."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_config().items())})"


def register(kind: str, *names: str) -> Callable[[T], T]:
    """Decorate a class or object so that ``resolve(kind, name)`` finds it under each of ``names``.

    Parameters
    ----------
    kind : "activation", "initializer", "layer", "loss", "optimizer", ...
    names : the spelling that messages list first, then the aliases.
    """

    def add(entry: T) -> T:
        _entries.setdefault(kind, {}).update(dict.fromkeys(names, entry))
        _listed.setdefault(kind, []).append(names[0])
        return entry

    return add


def unknown_name(what: str, given: object, known: Iterable[str]) -> str:
    """Message for a name that is not known: lists the known names and the nearest one."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(str(given).lower(), [name.lower() for name in names], n=1, cutoff=0.5)
    nearest = next((name for name in names if near and name.lower() == near[0]), None)
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    return f"unknown {what} {given!r}.{hint} Known: {', '.join(names)}"


def listed(kind: str) -> list[str]:
    """First names of all that is registered."""
    return list(_listed.get(kind, []))


def knows(kind: str, name: str) -> bool:
    """Whether something is registered under ``name``."""
    return name in _entries.get(kind, {})


def find(kind: str, name: str) -> Any:
    """Return what is registered under ``name``.

    Raises
    ------
    ValueError
        The name is unknown; the message lists the known names and the nearest.
    """
    try:
        return _entries[kind][name]
    except KeyError:
        raise ValueError(unknown_name(kind, name, _listed[kind])) from None


def resolve(kind: str, identifier: Any, base: type[Any]) -> Any:
    """Turn what a user may write into an object of class ``base``.

    Parameters
    ----------
    kind : registry kind.
    identifier : a registered name, a class, an object, or the dict
        ``{"class_name": name, "config": options}``.
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
    if isinstance(identifier, str):
        found = find(kind, identifier)
        return found() if isinstance(found, type) else found
    if isinstance(identifier, type) and issubclass(identifier, base):
        return identifier()
    if isinstance(identifier, dict) and "class_name" in identifier:
        found = find(kind, identifier["class_name"])
        options = identifier.get("config", {})
        return found.from_config(options)
    article = "an" if kind[0] in "aeiou" else "a"
    raise TypeError(
        f"{kind} must be a name ({', '.join(sorted(_listed[kind]))}) or {article} {base.__name__} object, "
        f"got {identifier!r}"
    )
