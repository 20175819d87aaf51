"""What a user's class may derive and override: an override that fastnn would never call is refused, not ignored."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NoReturn, TypeVar

from fastnn._arguments import check_keywords, nearest
from fastnn._warnings import warn

C = TypeVar("C", bound="type[Derivable]")


class NeverCalled:
    """A hook of Keras that fastnn does not call, as an attribute: absent when read, refused when assigned."""

    def __init__(self, name: str, instead: str) -> None:
        self.name, self.instead = name, instead

    def __get__(self, instance: Any, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__} has no attribute {self.name!r}: {self.instead}")

    def __set__(self, instance: Any, value: Any) -> NoReturn:
        raise TypeError(_refusal(f"{type(instance).__name__}.{self.name}", self.instead))


class ReadOnly:
    """An attribute that is assigned once, by the constructor; methods of the class change it in ``vars``."""

    def __init__(self, name: str, instead: str) -> None:
        self.name, self.instead = name, instead

    def __set__(self, instance: Any, value: Any) -> None:
        if self.name in vars(instance):
            raise AttributeError(f"{self.name} of {instance!r} cannot be assigned: {self.instead}")
        vars(instance)[self.name] = value


class Derivable:
    """Base of the classes that users derive from. ``never_calls`` says what must not be overridden."""

    _never_called: ClassVar[Mapping[str, str]] = {}
    """Names that fastnn does not call, and what to use instead."""
    _needs: ClassVar[str] = ""
    """Name that a class must define to be complete; without it the class cannot be derived from directly."""
    _instead_of_own: ClassVar[str] = ""
    """What to use instead of a class that lacks ``_needs``; an empty string accepts every class."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if _is_of_fastnn(cls):
            check_keywords(cls)
            return
        for name, instead in cls._never_called.items():
            owner = next((each for each in cls.__mro__ if _defines(each, name)), None)
            if owner is not None and not _is_of_fastnn(owner):
                raise TypeError(_refusal(f"{owner.__name__}.{name}", instead))
        base = next(each for each in cls.__mro__ if _is_of_fastnn(each))
        if "_instead_of_own" in vars(base) and getattr(cls, cls._needs, None) is getattr(base, cls._needs, None):
            raise TypeError(f"{cls.__name__} cannot derive from {base.__name__} directly: {cls._instead_of_own}")


def never_calls(**instead: str) -> Any:
    """Return a decorator of a class that refuses overrides and assignments of some names.

    Parameters
    ----------
    instead : what to use instead, by name.
    """

    def refuse(cls: C) -> C:
        cls._never_called = {**cls._never_called, **instead}
        for name, advice in instead.items():
            if not hasattr(cls, name):
                setattr(cls, name, NeverCalled(name, advice))
        return cls

    return refuse


def read_only(**instead: str) -> Any:
    """Return a decorator of a class whose objects refuse assignments to some attributes once they are made.

    Parameters
    ----------
    instead : what to do instead, by name.
    """

    def protect(cls: C) -> C:
        for name, advice in instead.items():
            setattr(cls, name, ReadOnly(name, advice))
        return cls

    return protect


def check_hooks(*parts: Any) -> None:
    """Raise TypeError if a hook that fastnn never calls was assigned to the class of a part after the class was made.

    Parameters
    ----------
    parts : models, layers and the like; what they hold in attributes and in lists is checked too.
    """
    pairs = {
        (owner, id(cls._never_called)): cls
        for cls in {type(each): None for part in parts for each in _with_inner(part)}
        for owner in cls.__mro__
    }
    for (owner, _), cls in pairs.items():
        for name in cls._never_called.keys() & vars(owner).keys():
            hook = getattr(vars(owner)[name], "fget", vars(owner)[name])
            if callable(hook) and not _is_of_fastnn(hook):
                raise TypeError(_refusal(f"{owner.__name__}.{name}", cls._never_called[name]))


def _warn_of_near_name(part: Derivable, name: str) -> None:
    """Warn of a new attribute of an object of fastnn whose name is almost that of another, unless fastnn assigns it."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_name == "__setattr__":
        frame = frame.f_back
    if frame.f_globals.get("__name__", "").startswith("fastnn.") or not _is_of_fastnn(type(part)):
        return
    known = [each for each in dir(part) if not each.startswith("_")]
    near = None if name in part._never_called else nearest(name, known, alike=0.85)
    if near is not None:
        warn(f"{type(part).__name__} has no attribute {name!r}, and fastnn never reads it. Did you mean {near!r}?")


def _with_inner(part: Derivable) -> Iterator[Derivable]:
    yield part
    for value in vars(part).values():
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, Derivable):
                yield from _with_inner(each)


def _is_of_fastnn(made: Any) -> bool:
    """Whether a class, a function or an object of a class is fastnn's."""
    return str(getattr(made, "__module__", "")).partition(".")[0] == "fastnn"


def _defines(cls: type, name: str) -> bool:
    return name in vars(cls) and not isinstance(vars(cls)[name], NeverCalled)


def _refusal(what: str, instead: str) -> str:
    return f"fastnn would never use {what}: {instead}"


class Spelled(Derivable):
    """Base of the classes whose objects warn of a new attribute that is spelled almost like another."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in vars(self) and name[0] != "_" and not hasattr(type(self), name):
            _warn_of_near_name(self, name)
        super().__setattr__(name, value)
