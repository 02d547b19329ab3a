"""What the plugins of official layouts share: known splits, folders that must be there, sizes, a neutral order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from anonbench.errors import AnonbenchError

AGAIN = "unpack the official archive again, or check root"


def check_split(dataset: str, split: str, known: Iterable[str]) -> None:
    """Raise AnonbenchError for a split that the data set does not have; the message names those it has."""
    if split not in (names := list(known)):
        raise AnonbenchError(f"{dataset} has no split '{split}' (known: {', '.join(names)})")


def need_folder(path: Path) -> Path:
    """Return ``path``; raise AnonbenchError unless it is a folder."""
    if not path.is_dir():
        raise AnonbenchError("is not a folder", file=path, remedy=AGAIN)
    return path


def read_lines(path: Path) -> list[str]:
    """Return a UTF-8 file's lines, stripped; raise AnonbenchError when it is missing, empty or not text."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise AnonbenchError("no such file", file=path, remedy=AGAIN) from None
    except UnicodeDecodeError as error:
        raise AnonbenchError(f"is not text in UTF-8 ({error.reason})", file=path, remedy=AGAIN) from None
    if not any(lines):
        raise AnonbenchError("is empty", file=path, remedy=AGAIN)
    return lines


def image_size(path: Path, entry: str | None = None) -> tuple[int, int]:
    """Return width and height in pixels of the stored frame (EXIF orientation not applied) from the file's header.

    Raises AnonbenchError when the file is missing, empty or not an image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise AnonbenchError("is not on disk", file=path, entry=entry, remedy="fetch the images again") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        why = "is empty" if path.is_file() and not path.stat().st_size else "cannot be read as an image"
        raise AnonbenchError(why, file=path, entry=entry, remedy="fetch the image again") from error


def unrelated_order(dataset: str, names: Iterable[str]) -> list[str]:
    """Return names in an order that says nothing about them and is the same everywhere: that of their hashes.

    Images numbered in the order of names that tell who is in them would still tell which show the same person.
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"{dataset} {name}".encode(errors="replace")).digest())
