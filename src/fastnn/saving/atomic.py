"""Writing a file so that a crash leaves either the old content or the new content.

Order of system calls: write a temporary file in the same folder, flush, fsync it, rename it over the old one, fsync
the folder (Pillai et al., 2014).
"""

import contextlib
import os
from collections.abc import Iterable
from typing import Any


def write_atomically(path: str | os.PathLike[str], parts: Iterable[Any]) -> None:
    """Write ``parts`` one after the other to ``path``.

    Parameters
    ----------
    path : the file; its folder must exist.
    parts : bytes or contiguous buffers.

    Raises
    ------
    OSError
        The file cannot be written; an old file is unchanged, and no temporary file is left.
    """
    path = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(path)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path!r} is a folder; give the name of a file")
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"the folder {folder!r} does not exist; create it first")
    # A symbolic link is kept: the file that it points to is replaced, in its own folder.
    if os.path.islink(path):
        path = os.path.realpath(path)
        folder, name = os.path.split(path)
    import tempfile

    descriptor, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", suffix=".tmp", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _permissions(path))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _permissions(path: str) -> int:
    """Return the permissions of the file that is replaced, or those that a new file would get."""
    try:
        return os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _sync_folder(folder: str) -> None:
    """Make a rename in the folder durable, on systems where folders can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
