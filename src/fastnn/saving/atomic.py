"""Writing a file so that a crash leaves either the old content or the new content.

Order of system calls: write a temporary file in the same folder, fsync it, rename it over the old one, fsync the folder
(Pillai et al., 2014). The writer holds a lock on its temporary file, which ends with the process: a temporary file that
nobody has locked belongs to a process that was killed, and the next write to the same path removes it.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable
from typing import Any

from fastnn._ranks import on_first

fcntl: Any = None  # Windows does without locks: an open file cannot be removed there.
with contextlib.suppress(ImportError):
    import fcntl

_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def write_atomically(path: str | os.PathLike[str], parts: Iterable[Any]) -> None:
    """Write ``parts`` one after the other to ``path``; between ranks, rank 0 writes and the others wait for it.

    Parameters
    ----------
    path : the file; its folder must exist. A symbolic link is followed: the file that it points to is replaced.
    parts : bytes or contiguous buffers.

    Raises
    ------
    OSError
        The file cannot be written, is read-only, or is a folder, a device or a pipe; an old file is unchanged, and no
        temporary file is left.
    """
    on_first(f"write {os.fspath(path)}", lambda: _write(path, parts))


def _write(path: str | os.PathLike[str], parts: Iterable[Any]) -> None:
    path = os.path.abspath(os.fspath(path))
    if os.path.islink(path):
        path = os.path.realpath(path)
    folder, name = os.path.split(path)
    mode = mode_to_keep(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"the folder {folder!r} does not exist; create it first")
    prefix = f".{name[:100]}."
    _sweep(folder, prefix)
    file = _TemporaryFile()
    try:
        file.create(os.path.join(folder, prefix), 0o666 if mode is None else 0o600)
        for part in parts:
            _write_all(file.descriptor, part)
        if mode is not None:
            os.chmod(file.descriptor if os.chmod in os.supports_fd else file.name, mode)
        os.fsync(file.descriptor)
        if fcntl is None:
            file.close()
        os.replace(file.name, path)
    except BaseException:
        file.remove()
        raise
    finally:
        file.close()
    _sync_folder(folder)


def mode_to_keep(path: str) -> int | None:
    """Return the permissions of the file that is replaced; None if there is none.

    Raises
    ------
    OSError
        There is something that must not be replaced.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path!r} is a folder; give the name of a file")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "only a regular file can be replaced, not a device, a pipe or a socket", path)
    # The rename would not ask the file for permission. The bits count for root, too, whom the system always lets.
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only: make it writable, or give another name", path)
    return stat.S_IMODE(mode)


class _TemporaryFile:
    """A new file that its writer holds locked. It exists before its file does, so that any failure can be undone."""

    def __init__(self) -> None:
        self.name = ""
        self.descriptor = -1

    def create(self, prefix: str, mode: int) -> None:
        """Create the file, under a name that begins with ``prefix``. The system takes the umask from ``mode``."""
        while True:
            name = f"{prefix}{os.urandom(4).hex()}.tmp"
            try:
                self.descriptor = os.open(name, _NEW_FILE, mode)
            except FileExistsError:
                continue
            self.name = name
            if fcntl is None:
                return
            with contextlib.suppress(OSError):  # a file system without locks: nobody sweeps there either
                fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            if os.fstat(self.descriptor).st_nlink:
                return
            # Another process has swept it between the creation and the lock.
            self.name = ""
            self.close()

    def close(self) -> None:
        """Close the file, once."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # All is on the disk after fsync: an error of closing says nothing new.
                os.close(descriptor)

    def remove(self) -> None:
        """Remove the file if it was created."""
        if self.name:
            if fcntl is None:
                self.close()
            with contextlib.suppress(OSError):
                os.unlink(self.name)


def _sweep(folder: str, prefix: str) -> None:
    """Remove the temporary files of killed writes to the same path."""
    pattern = re.compile(rf"{re.escape(prefix)}[a-z0-9_]{{8}}\.tmp")
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name):
                _remove_if_unlocked(entry.path)


def _remove_if_unlocked(temporary: str) -> None:
    """Remove a temporary file unless a live process holds it."""
    with contextlib.suppress(OSError):
        if fcntl is None:
            os.unlink(temporary)
            return
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(temporary)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, part: Any) -> None:
    """Write a buffer, also where the system takes only a part of it at a time."""
    rest = memoryview(part).cast("B")
    while rest.nbytes:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: str) -> None:
    """Make a rename in the folder durable, on systems where folders can be opened and synchronized."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
