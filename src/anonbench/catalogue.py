"""The catalogue of public data sets, config/datasets.csv: one row per data set and file."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from anonbench.errors import AnonbenchError, nearest

COLUMNS = (
    "dataset", "version", "file", "splits", "url", "bytes", "md5", "sha256", "unpack", "requires", "licence", "terms",
    "images", "people",
)  # fmt: skip
ACCOUNTS = ("cityscapes", "bdd100k")
"""What ``requires`` can name: the accounts that anonbench.download.accounts knows how to use."""


@dataclass(frozen=True, slots=True)
class Row:
    """One file of a data set.

    ``file`` is its name in a mirror, a POSIX path relative to the data set's folder. ``splits`` need it; all when
    empty. ``bytes``, ``md5`` and ``sha256`` (hexadecimal) are the published ones, None where nothing is published.
    ``unpack`` is the folder that the archive is unpacked into, relative to the data set's (``.`` is the data set's
    own), or None for a file that stays as it is, under its name. ``requires`` is an account or None. ``images`` and
    ``people`` are the numbers that each split of the whole data set holds.
    """

    dataset: str
    version: str
    file: str
    splits: tuple[str, ...]
    url: str
    bytes: int | None
    md5: str | None
    sha256: str | None
    unpack: str | None
    requires: str | None
    licence: str
    terms: str
    images: dict[str, int]
    people: dict[str, int]


def read(path: Path) -> list[Row]:
    """Read and check the whole catalogue; raise AnonbenchError that names line and column."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AnonbenchError("no such catalogue", file=path, remedy="give --catalogue config/datasets.csv") from None
    except UnicodeDecodeError as error:
        raise AnonbenchError(f"is not UTF-8 ({error})", file=path) from None
    lines = csv.reader(text.splitlines(), strict=True)
    try:
        header = next(lines, [])
        if tuple(header) != COLUMNS:
            raise AnonbenchError(
                f"the first line is not {','.join(COLUMNS)}", file=path, entry="line 1", remedy="restore the header"
            )
        rows = [_row(path, lines.line_num, cells) for cells in lines]
    except csv.Error as error:
        raise AnonbenchError(f"is not CSV ({error})", file=path, entry=f"line {lines.line_num}") from None
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if (row.dataset, row.file) in seen:
            raise AnonbenchError("duplicate entry", file=path, entry=f"{row.dataset} {row.file}")
        seen.add((row.dataset, row.file))
    return rows


def rows(path: Path, dataset: str, splits: Iterable[str] | None = None) -> list[Row]:
    """Return the rows of a data set that ``splits`` need (all when None); none when the data set has no rows.

    Raises AnonbenchError for a split that the rows do not know.
    """
    return needed([row for row in read(path) if row.dataset == dataset], splits)


def needed(found: list[Row], splits: Iterable[str] | None) -> list[Row]:
    """Return those of a data set's rows that ``splits`` need; raise AnonbenchError for an unknown split."""
    if splits is None:
        return found
    wanted = set(splits)
    known = {split for row in found for split in (*row.splits, *row.images)}
    for split in sorted(wanted - known if known else ()):
        raise AnonbenchError(f"{found[0].dataset} has no split '{split}'{nearest(split, known)}")
    return [row for row in found if not row.splits or wanted & set(row.splits)]


def expected(path: Path, dataset: str, split: str) -> dict[str, int | None]:
    """Return how many ``images`` and ``people`` a split has; None where the catalogue does not say."""
    found = rows(path, dataset)
    counts: dict[str, int | None] = {}
    for name in ("images", "people"):
        said = {getattr(row, name)[split] for row in found if split in getattr(row, name)}
        if len(said) > 1:
            raise AnonbenchError(f"the rows of {dataset} disagree on the {name} of {split}: {sorted(said)}", file=path)
        counts[name] = said.pop() if said else None
    return counts


def _row(path: Path, line: int, cells: list[str]) -> Row:
    if len(cells) != len(COLUMNS):
        raise AnonbenchError(
            f"has {len(cells)} cells, not {len(COLUMNS)}",
            file=path,
            entry=f"line {line}",
            remedy="quote cells with commas",
        )
    values: dict[str, Any] = {}
    for column, cell in zip(COLUMNS, cells, strict=True):
        try:
            values[column] = _READERS[column](cell.strip())
        except ValueError as error:
            raise AnonbenchError(str(error), file=path, entry=f"line {line}, {column}") from None
    return Row(**values)


def _matching(pattern: str, what: str) -> Callable[[str], str]:
    def reader(cell: str) -> str:
        if not re.fullmatch(pattern, cell):
            raise ValueError(f"'{cell}' is not {what}")
        return cell

    return reader


def _or_none(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda cell: reader(cell) if cell else None


def _relative(cell: str) -> str:
    path = PurePosixPath(cell)
    if not cell or path.is_absolute() or ".." in path.parts or "\\" in cell or str(path) != cell:
        raise ValueError(f"'{cell}' is not a plain relative path")
    return cell


def _address(cell: str) -> str:
    parts = urlsplit(cell)
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in cell:
        raise ValueError(f"'{cell}' is not an http or https address")
    return cell


def _size(cell: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", cell):
        raise ValueError(f"'{cell}' is not a number of bytes")
    return int(cell)


def _account(cell: str) -> str:
    if cell not in ACCOUNTS:
        raise ValueError(f"'{cell}' is not an account{nearest(cell, ACCOUNTS)}")
    return cell


def _counts(cell: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in cell.split():
        match = re.fullmatch(r"([A-Za-z0-9_]+)=(\d+)", part)
        if match is None:
            raise ValueError(f"'{part}' is not split=number")
        if match[1] in counts:
            raise ValueError(f"duplicate split '{match[1]}'")
        counts[match[1]] = int(match[2])
    return counts


def _splits(cell: str) -> tuple[str, ...]:
    splits = tuple(cell.split())
    for split in splits:
        _matching(r"[A-Za-z0-9_]+", "the name of a split")(split)
    return splits


_TEXT = _matching(r".+", "a text (it is empty)")
_READERS: dict[str, Callable[[str], Any]] = {
    "dataset": _matching(r"[a-z0-9][a-z0-9_-]*", "a name (lower-case letters, digits, - and _)"),
    "version": _TEXT,
    "file": _relative,
    "splits": _splits,
    "url": _address,
    "bytes": _or_none(_size),
    "md5": _or_none(_matching(r"[0-9a-f]{32}", "an md5 (32 lower-case hexadecimal digits)")),
    "sha256": _or_none(_matching(r"[0-9a-f]{64}", "a sha256 (64 lower-case hexadecimal digits)")),
    "unpack": _or_none(_relative),
    "requires": _or_none(_account),
    "licence": _TEXT,
    "terms": _address,
    "images": _counts,
    "people": _counts,
}
