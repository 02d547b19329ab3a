"""Files that are whole or absent: temporary name, then rename; hashes; links."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anonbench.errors import AnonbenchError, in_one_line

_NUMBERS = itertools.count()
_FICLONE = 0x40049409
_CANNOT_CLONE = (
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EPERM,
    errno.EBADF,
)
_PART = re.compile(r"\.(.+?)\.(?:([0-9a-f]{8})-([0-9a-f]{8})\.)?(\d+)\.(?:\d+\.part|(?:\d+\.)?link)")
"""A temporary name: of what it is to become, where its process runs, a random mark of it, its number, and a counter."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Reasons for which a file cannot be read that say nothing of what is in it."""
_REMEDIES = {
    **dict.fromkeys(_FULL, "free some space and run again"),
    errno.EIO: "see whether the disk is well, then run again",
    errno.ENOENT: "run again when nothing else writes to the folder",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "see who may write to the folder, then run again"),
}
"""What to do when the system refuses to write, by its reason."""
_LONG = 200
"""Bytes of a name above which the temporary file beside it, whose name is longer, is named by a hash."""
_OLD = 6 * 3600
"""Seconds after which what a process of another machine was writing is taken for left over: nobody can ask for it."""
_leftovers: dict[str, dict[str, list[str]]] = {}
_listing = threading.Lock()


def _here() -> str:
    """Return a mark of where numbers tell processes apart: this machine since its start, and this container in it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        where = f"{boot} {os.readlink('/proc/self/ns/pid')} {socket.gethostname()}"
    except OSError:
        return secrets.token_hex(4)
    return hashlib.sha256(where.encode()).hexdigest()[:8]


_HOST = _here()
_mark = secrets.token_hex(4)


def _another_mark() -> None:
    """Mark a child of fork as another process than its parent."""
    global _mark
    _mark = secrets.token_hex(4)


os.register_at_fork(after_in_child=_another_mark)


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is renamed to ``path``, on any error removed.

    What a killed process left of an earlier write of ``path`` is removed: one of this machine at once, one of another,
    which may still be at work, when it is hours old.

    Raises AnonbenchError when the system refuses to write (see `explained`).
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    stem = _stem(name)
    part = os.path.join(folder, _temporary(stem, "part"))
    with explained(path, part):
        if not os.path.isdir(folder or "."):
            os.makedirs(folder, exist_ok=True)
        _clear(folder, stem)
        try:
            yield Path(part)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):  # the next write of this file removes it
                os.unlink(part)
            raise


def is_temporary(name: str) -> bool:
    """Tell whether a file's name is one that `atomic` and `place` give to files that are being written."""
    return _PART.fullmatch(name) is not None


def is_left_over(path: str | Path) -> bool:
    """Tell whether a file is a temporary one that nobody writes any more, by the rule of `atomic`."""
    part = _PART.fullmatch(os.path.basename(path))
    return part is not None and _is_left(os.fspath(path), part)


def _temporary(stem: str, kind: str) -> str:
    """Return a name that no other process, of whatever machine, gives to a file that it writes."""
    return f".{stem}.{_HOST}-{_mark}.{os.getpid()}.{next(_NUMBERS)}.{kind}"


def _clear(folder: str, stem: str) -> None:
    """Remove what is left over of earlier writes of a file."""
    for left in _left_in(folder or ".").pop(stem, ()):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, left))


def _stem(name: str) -> str:
    """Return what the names of temporary files beside ``name`` begin with; a name may be as long as there are."""
    return name if len(os.fsencode(name)) <= _LONG else hashlib.sha256(os.fsencode(name)).hexdigest()


def _left_in(folder: str) -> dict[str, list[str]]:
    """Return the temporary files in a folder by what they were to become, as this process found them at first.

    Those that another process may still be writing are none of them.
    """
    with _listing:
        if folder not in _leftovers:
            found: dict[str, list[str]] = {}
            for name in os.listdir(folder):
                part = _PART.fullmatch(name)
                if part and _is_left(os.path.join(folder, name), part):
                    found.setdefault(part[1], []).append(name)
            _leftovers[folder] = found
        return _leftovers[folder]


def _is_left(path: str, part: re.Match[str]) -> bool:
    """Tell whether nobody writes a temporary file any more; of another machine's, or an old name, its age tells."""
    if part[2] == _HOST:
        return not _at_work(int(part[4]), part[3])
    try:
        return time.time() - os.stat(path).st_ctime > _OLD  # a link has the mtime of what it links to
    except OSError:  # whole by now, and renamed
        return False


def _at_work(process: int, mark: str) -> bool:
    """Tell whether a process of this machine is there; another one that had our number is gone."""
    if process == os.getpid():
        return mark == _mark
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return True


@contextlib.contextmanager
def explained(path: str | Path, *temporary: str | Path) -> Iterator[None]:
    """Raise AnonbenchError, in one sentence, where the system refuses to write ``path`` or its ``temporary`` files.

    An OSError that names another file passes.
    """
    try:
        yield
    except OSError as error:
        names = {os.fspath(name) for name in (path, *temporary)}
        if error.errno in _FULL or error.filename is None or os.fspath(error.filename) in names:
            reason = os.strerror(error.errno) if error.errno else str(error)
            advice = _REMEDIES.get(error.errno or 0, "run again")
            raise AnonbenchError(f"cannot be written ({reason})", file=path, remedy=advice) from error
        raise


def remedy(error: BaseException, damaged: str) -> str:
    """Return what to do about a file that cannot be read: ``damaged``, unless it is the system that refuses it."""
    refused = isinstance(error, OSError) and error.errno in _REFUSED
    return "check the disk and who may read the file, then run again" if refused else damaged


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` atomically."""
    with atomic(path) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)


def read_bytes(path: str | Path) -> bytes:
    """Return a file's bytes, with few system calls: each one gives Python's lock away.

    Nothing is read from pipes, which could keep one waiting.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        parts, left = [], os.fstat(descriptor).st_size
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8) atomically."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any, *, indent: int | None = 1) -> None:
    """Write JSON atomically with stable bytes (given order of keys, no NaN)."""
    separators = (",", ":") if indent is None else None
    write_text(path, json.dumps(value, indent=indent, separators=separators, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; raise AnonbenchError when it is missing, cut short or not JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise AnonbenchError("no such file", file=path) from None
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is none of the JSON errors
        raise AnonbenchError(
            f"is not valid JSON ({error})",
            file=path,
            remedy="the file may be truncated: fetch or write it again",
        ) from error


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping; raise AnonbenchError when it is missing or not one."""
    import yaml  # for the few commands that read it

    try:
        value = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise AnonbenchError("no such configuration file", file=path) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: such as the date 2020-99-99
        raise no_yaml(error, path) from None
    if not isinstance(value, dict):
        raise AnonbenchError("is not a YAML mapping", file=path)
    return value


def no_yaml(error: Exception, path: str | Path) -> AnonbenchError:
    """Return, in one sentence, why a file could not be read as YAML."""
    if isinstance(error, UnicodeDecodeError):
        return AnonbenchError(f"is not UTF-8 ({error})", file=path, remedy="save the file as UTF-8")
    said = "nested too deeply" if isinstance(error, RecursionError) else in_one_line(error)
    return AnonbenchError(f"is not valid YAML ({said})", file=path)


def sha256_bytes(data: bytes) -> str:
    """Return the hexadecimal sha256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_sha256(path: Path, sha256: object, record: str, again: str) -> None:
    """Raise AnonbenchError unless a file has the sha256 that its ``record`` (a file's name) has of it.

    ``again`` says how both are made anew.
    """
    if not path.is_file():
        raise AnonbenchError("no such file", file=path, remedy=again)
    if sha256_file(path) != sha256:
        raise AnonbenchError(f"is damaged, or another file than {record} tells of", file=path, remedy=again)


def place(source: Path, target: Path, how: str = "copy") -> None:
    """Put the bytes of ``source`` at ``target``, atomically, replacing what is there.

    ``how`` is ``copy``, ``reflink`` (a copy that shares its blocks on the disk with the source until one of the two
    is written to) or ``hardlink`` (the source itself under a second name: whatever is written to one is written to the
    other). Where the file system cannot clone or link, as across two of them, the file is copied.
    """
    if how == "hardlink":
        target.parent.mkdir(parents=True, exist_ok=True)
        stem = _stem(target.name)
        link = target.with_name(_temporary(stem, "link"))
        _clear(str(target.parent), stem)
        with explained(target, link):
            try:
                os.link(source.resolve(), link)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    raise
            else:
                try:
                    os.replace(link, target)
                finally:
                    link.unlink(missing_ok=True)  # rename is a no-op between two links of one file
                return
    with atomic(target) as part:
        if how != "reflink" or not _clone(source, part):
            shutil.copyfile(source, part)


def _clone(source: Path, target: Path) -> bool:
    """Make ``target`` share the blocks of ``source``; return False where the file system cannot (ioctl_ficlone(2))."""
    with open(source, "rb") as read, open(target, "wb") as written:
        try:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_CLONE:
                raise
            return False
    return True
