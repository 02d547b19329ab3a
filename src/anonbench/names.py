"""File names of a data set's images: one way to write each, and those that no variant can hold."""

from __future__ import annotations

import os
import posixpath
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from anonbench.files import is_temporary
from anonbench.records import LOSSLESS

ENDINGS = frozenset(("avif", "bmp", "gif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pgm", "ppm", "tif", "tiff", "webp"))
"""Of the image formats that can be read, beside PNG."""

LONGEST = 255
"""Bytes that file systems give a name."""


def normal(name: Any) -> str:
    """Return the one way to write a file name: ``./a.jpg``, ``sub//b.jpg`` become ``a.jpg``, ``sub/b.jpg``.

    A name is a POSIX path relative to a folder of images. Raises ValueError, whose text goes on from the image's name,
    for what is no such path or cannot be written everywhere: outside the folder, a folder, backslashes, control
    characters, a part of more than 255 bytes, half of a surrogate pair, a name of the temporary files beside an image.
    """
    if not isinstance(name, str) or not name or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"has the file name {name!r}, which is not a path inside the image folder")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"has the file name {name!a}, which is not Unicode (half of a surrogate pair)") from None
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        raise ValueError(f"has the file name {name!a}, which contains a control character")
    if "\\" in name:
        raise ValueError(f"has the file name {name!r}, which contains a backslash (folders are separated by /)")
    if name.endswith("/") or name.split("/")[-1] == ".":
        raise ValueError(f"has the file name {name!r}, which is the name of a folder")
    longest = max(len(part) for part in encoded.split(b"/"))
    if longest > LONGEST:
        raise ValueError(f"has a file name of {longest} bytes ({name[:20]!r}...), more than the limit of {LONGEST}")
    if is_temporary(posixpath.basename(name)):
        raise ValueError(f"has the file name {name!r}, which is reserved for half-written files")
    return posixpath.normpath(name)


def as_png(name: str) -> str:
    """Return the name that an image has as a PNG: another image format's ending is replaced, any other kept.

    ``a.jpg`` becomes ``a.png``, ``a.1`` becomes ``a.1.png``.
    """
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.rpartition(".")
    if dot and ending.casefold() == "png":
        return name
    return f"{folder}{slash}{stem if dot and ending.casefold() in ENDINGS else last}.png"


def encoded(name: str, policy: str | None) -> str:
    """Return the name under which an image that was changed is stored with an encoder policy."""
    return as_png(name) if policy == LOSSLESS else name


def alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two names that differ only in case or in how Unicode writes a letter (NFC, NFD), None when none do."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name if name.isascii() and name.islower() else _folded(name), name)
        if other != name:
            return other, name
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def are_one(folder: Path) -> bool:
    """Tell whether the file system of a folder, which is made, takes names for one that are `alike`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".names-", dir=folder) as made:
        Path(made, "\u00e9").touch()
        return any(os.path.exists(os.path.join(made, name)) for name in ("\u00c9", "e\u0301"))
