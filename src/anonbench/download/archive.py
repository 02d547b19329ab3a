"""Zip and tar archives, unpacked so that no entry can leave its folder."""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from anonbench.download.transfer import CHUNK, bar, room
from anonbench.errors import AnonbenchError
from anonbench.names import LONGEST

RATIO = 200
"""How many times larger than the archive its content may be (deflate on zeros reaches 1032; photographs 1)."""
FREE = 1 << 28
"""Content below this many bytes is never suspected of being a bomb."""
BLOCK = 4096
"""What a file takes on disk at least, in bytes."""


_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError,
)  # fmt: skip
"""What the readers of archives raise for one that is broken."""


class Damaged(AnonbenchError):
    """The archive itself is at fault."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    size: int
    folder: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a zip or tar archive into ``folder``, which must not exist; return the number of files.

    Every entry is checked before the first is written. Raises Damaged for an archive that is neither or broken, for
    names that lead out of the folder, links, devices, encrypted entries and content beyond its declared or any sensible
    size; AnonbenchError when the disk has no room.
    """
    try:
        with _entries(archive) as entries:
            checked = [(_target(archive, entry), entry) for entry in entries]
            _check_places(archive, checked)
            _check_size(archive, folder, entries)
            files = sum(not entry.folder for entry in entries)
            folder.mkdir(parents=True)
            with bar(f"unpack {archive.name}", files, unit=" files") as progress:
                for name, entry in checked:
                    _write(archive, entry, folder / name)
                    progress.update(not entry.folder)
    except _BROKEN as error:
        raise _bad(archive, f"is damaged or of an unknown kind ({error})") from error
    return files


def merge(source: Path, target: Path) -> list[str]:
    """Move everything in the folder ``source`` into ``target``, on the same disk; return the top-level names.

    A folder that is not there yet is moved in one rename; one that is there is merged into, files are replaced.
    """
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(os.listdir(source))
    for name in names:
        old, new = source / name, target / name
        if old.is_dir() and new.is_dir():
            merge(old, new)
        elif new.exists() and old.is_dir() != new.is_dir():
            raise AnonbenchError("already exists where a file of the archive belongs", file=new, remedy="move it away")
        else:
            os.replace(old, new)
    return names


@contextlib.contextmanager
def _entries(archive: Path) -> Iterator[list[_Entry]]:
    """Yield an archive's entries, open for reading."""
    with contextlib.ExitStack() as stack:
        if zipfile.is_zipfile(archive):
            packed = stack.enter_context(zipfile.ZipFile(archive))
            yield [_zip_entry(archive, packed, info) for info in packed.infolist()]
            return
        try:
            tar = stack.enter_context(tarfile.open(archive))
        except tarfile.ReadError:
            raise _bad(archive, "is truncated, or is not a zip or tar archive") from None
        yield [_tar_entry(archive, tar, info) for info in tar.getmembers()]


def _zip_entry(archive: Path, packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _bad(archive, "is a link or a device, which no data set needs", info.filename)
    if info.flag_bits & 1:
        raise _bad(archive, "is encrypted", info.filename)
    return _Entry(info.filename, info.file_size, info.is_dir(), lambda: packed.open(info))


def _tar_entry(archive: Path, tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Entry:
    if not (info.isreg() or info.isdir()):
        raise _bad(archive, "is a link or a device, which no data set needs", info.name)
    return _Entry(info.name, info.size if info.isreg() else 0, info.isdir(), lambda: tar.extractfile(info))


def _target(archive: Path, entry: _Entry) -> PurePosixPath:
    """Return where an entry goes, relative to the folder; raise when it would leave it."""
    name = entry.name.replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or name[1:2] == ":":
        raise _bad(archive, "would be written outside the data set's folder", repr(entry.name))
    if not path.parts and not entry.folder:
        raise _bad(archive, "is a file without a name", repr(entry.name))
    if any(len(os.fsencode(part)) > LONGEST for part in path.parts):
        raise _bad(archive, f"has a name of more than {LONGEST} bytes", repr(entry.name[:40]) + "...")
    return path


def _check_places(archive: Path, checked: list[tuple[PurePosixPath, _Entry]]) -> None:
    """Raise Damaged when an entry needs a folder where another one is a file."""
    files = {path: entry.name for path, entry in checked if not entry.folder}
    for path, entry in checked:
        for place in (path, *path.parents) if entry.folder else path.parents:
            if place in files:
                raise _bad(archive, f"needs a folder in the place of the file {files[place]!r}", repr(entry.name))


def _check_size(archive: Path, folder: Path, entries: list[_Entry]) -> None:
    total, packed = sum(entry.size for entry in entries), archive.stat().st_size
    if total > FREE and total > RATIO * packed:
        raise _bad(archive, f"would unpack from {packed} to {total} bytes, which no data set does")
    room(folder.parent, total + BLOCK * len(entries) // 2, f"unpacking {archive.name}")


def _write(archive: Path, entry: _Entry, path: Path) -> None:
    """Write one entry, never more than its declared size."""
    if entry.folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = entry.open()
    if source is None:
        raise _bad(archive, "cannot be read", entry.name)
    written = 0
    try:
        with source, open(path, "wb") as stream:
            while chunk := source.read(CHUNK):
                written += len(chunk)
                if written > entry.size:
                    break
                stream.write(chunk)
    except OSError as error:
        if error.errno is None:  # gzip and bz2 say so that their data is damaged
            raise _bad(archive, f"is damaged ({error})", entry.name) from error
        raise AnonbenchError(
            f"cannot be written ({error.strerror})", file=path, remedy="free some space and run again"
        ) from error
    if written != entry.size:
        raise _bad(archive, f"does not have the {entry.size} bytes that the archive declares", entry.name)


def _bad(archive: Path, message: str, entry: str | None = None) -> Damaged:
    return Damaged(message, file=archive, entry=entry, remedy="fetch the archive again from its source")


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
