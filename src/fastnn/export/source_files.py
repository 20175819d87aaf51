"""Files of source code: checks of paths and names, and writing that leaves all old files or all new ones."""

import os
import re
from collections.abc import Collection, Mapping
from typing import NoReturn

from fastnn.saving.atomic import write_atomically

_MARK = b"written by fastnn"
_C_NAMES = frozenset(
    """
    alignas alignof and asm auto bool break case catch char class const constexpr continue decltype default delete do
    double else enum explicit export extern false float for friend goto if inline int long main mutable namespace new
    noexcept not nullptr operator or private protected public register restrict return short signed sizeof static
    struct switch template this throw true try typedef typeid typename typeof union unsigned using virtual void volatile
    wchar_t while xor fma fmaf sqrt memcpy printf forward product copy differing
    is_contracted
    """.split()
)


def source_path(path: str | os.PathLike[str], suffix: str) -> str:
    """Return the path of a file of source code.

    Raises
    ------
    TypeError
        Not a path.
    ValueError
        It does not end in ``suffix``.
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"path must be a path, such as 'net{suffix}', got {path!r}")
    text = os.fspath(path)
    if not text.endswith(suffix) or os.path.basename(text) == suffix:
        raise ValueError(f"path must end in {suffix!r}, such as 'net{suffix}', got {text!r}")
    return text


def identifier(name: str, value: object, reserved: Collection[str] = _C_NAMES) -> str:
    """Return a name for source code: letters, digits and underscores, a letter first.

    Raises
    ------
    ValueError
        Not such a name, longer than 63 characters, or a word of the language.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", value):
        raise ValueError(
            f"{name} must be a name of at most 63 letters, digits and underscores, a letter first, got {value!r}"
        )
    if value in reserved:
        _refuse(name, value)
    return value


def check_not_called(name: str, value: str, text: str) -> None:
    """Raise ValueError if source code has a procedure of its own with a name; Fortran ignores case."""
    if re.search(rf"\b{value}\(", text, re.IGNORECASE):
        _refuse(name, value)


def _refuse(name: str, value: str) -> NoReturn:
    raise ValueError(f"{name} must not be {value!r}, which already has a meaning there: choose another name")


def write_sources(files: Mapping[str, str]) -> None:
    """Write files, after a check that each can be written.

    Raises
    ------
    OSError
        A folder is missing, a file is read-only or no file, or it exists and fastnn has not written it.
    """
    for path in files:
        _check_replaceable(os.path.abspath(path))
    for path, text in files.items():
        write_atomically(path, [text.encode()])


def _check_replaceable(path: str) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"the folder {folder!r} does not exist; create it first")
    if not os.path.lexists(path):
        return
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path!r} is a folder; give the name of a file")
    if not os.path.isfile(path):
        raise OSError(f"{path!r} is not a regular file or a link to one; give another name")
    with open(path, "rb") as file:
        start = file.read(2000)
    if start and _MARK not in start:
        raise FileExistsError(f"{path!r} exists and was not written by fastnn; remove it, or give another name")
