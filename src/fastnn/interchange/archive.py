"""Zip archives whose contents are not trusted: bounded in entries, sizes and compression."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from fastnn.errors import ModelFormatError

_MOST_ENTRIES = 4096
_SIGNATURE = b"PK\x01\x02"
"""Begins every entry of the directory of an archive."""


class Archive:
    """The entries of a zip archive; each is read when it is asked for, and all of them no larger than the archive.

    Parameters
    ----------
    zipped : the archive.
    size : bytes of the archive.

    Attributes
    ----------
    names : names of the entries.
    size : bytes of the archive.

    Raises
    ------
    ModelFormatError
        An entry that is not there, is there twice, encrypted, or larger than the archive.
    """

    def __init__(self, zipped: zipfile.ZipFile, size: int) -> None:
        self._zipped, self.size, self._left = zipped, size, size
        self._entries = {entry.filename: entry for entry in zipped.infolist()}
        self.names = list(self._entries)
        if len(self.names) < len(zipped.infolist()):
            raise ModelFormatError("the archive has an entry twice")

    def read(self, name: str, at_most: int | None = None) -> bytes:
        """Return the bytes of one entry, which has at most ``at_most``."""
        entry = self._entries.get(name)
        if entry is None:
            raise ModelFormatError(f"the archive has no entry {name!r}")
        limit = self._left if at_most is None else min(at_most, self._left)
        if entry.file_size > limit:
            raise ModelFormatError(f"the entry {name!r} has {entry.file_size} bytes; at most {limit} are read")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelFormatError(f"the entry {name!r} is encrypted, or compressed in another way than deflate")
        self._left -= entry.file_size
        with self._zipped.open(entry) as file:
            found = file.read(entry.file_size)
        if len(found) != entry.file_size:
            raise ModelFormatError(f"the entry {name!r} is truncated")
        return found


@contextmanager
def opened_archive(data: bytes) -> Iterator[Archive]:
    """Open an archive.

    Raises
    ------
    ModelFormatError
        The bytes are not a zip archive, or it has more than 4096 entries.
    """
    # An entry of 46 bytes becomes an object of a kilobyte, so they are counted before they are parsed.
    if data.count(_SIGNATURE) > _MOST_ENTRIES:
        raise ModelFormatError(f"the archive has more than {_MOST_ENTRIES} entries")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            yield Archive(zipped, len(data))
    except zipfile.BadZipFile as error:
        raise ModelFormatError(f"the zip archive cannot be read: {error}") from None
