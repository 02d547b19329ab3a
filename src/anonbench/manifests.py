"""What a variant's folder holds and who was changed: JSON lines per shard, one small JSON per split.

Written by `anonymize`; whoever reads a variant checks it with `verify`.

Layout of a variant: ``<split>/<file_name>`` (images) and ``annotations/<split>.json`` (COCO). The manifests name the
original of every image and the seed of every person, so they lie outside: for a variant's folder ``X/V`` they are
``<split>/<shard>.jsonl``, ``<split>.json`` and ``<split>.sha256`` in ``X/private/V/manifests``, and a copy of ``X/V``
takes none along. No row holds a time, a host or a path outside the variant: equal work gives equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from anonbench.errors import AnonbenchError
from anonbench.files import is_temporary, read_json, sha256_file, write_bytes
from anonbench.records import ANONYMIZED, UNANNOTATED, Reason

Row = dict[str, Any]
REMEDY = "run the anonymize stage again"
_OF_IMAGE: dict[str, type] = {"image_id": int, "file_name": str, "sha256": str}
_OF_PERSON: dict[str, type] = {"image_id": int, "person_id": int, "status": str}
"""Types of what a row must say."""
_CHECKED = ("image_id", "bytes", "sha256")
"""Keys of an image's row that its file is compared with."""
PRIVATE = "private"
"""Name of the folder beside a data set's variants that holds what may not be handed out with them."""


def private_folder(out: Path) -> Path:
    """Return the folder of what may not be handed out with a variant: beside the variant's folder, never inside it."""
    if out.name in ("", ".."):  # the working folder, or one above it
        out = out.resolve()
    return out.parent / PRIVATE / out.name


def check_layout(out: Path, split: str) -> None:
    """Raise AnonbenchError for a variant's folder that holds a split's manifests itself, or is called like theirs."""
    if out.resolve().name == PRIVATE:
        raise AnonbenchError(f"a variant's folder cannot be called '{PRIVATE}'", file=out, remedy="choose another name")
    old = out / "manifests"
    if (old / split).exists() or (old / f"{split}.json").exists():
        raise AnonbenchError(
            "is of an earlier version: it names the originals and would be handed out with the images",
            file=old,
            remedy=f"delete the variant's folder and {REMEDY}",
        )


def exist(out: Path, split: str) -> bool:
    """Tell whether a split has a manifest. Raises AnonbenchError where it lies in the variant's folder itself."""
    check_layout(out, split)
    return summary_path(out, split).is_file()


def splits_of(out: Path) -> list[str]:
    """Return the names of the splits of a variant that have a manifest."""
    return sorted(path.stem for path in (private_folder(out) / "manifests").glob("*.json"))


def shard_path(out: Path, split: str, shard: int) -> Path:
    """Return where the manifest of a shard lies."""
    return private_folder(out) / "manifests" / split / f"{shard}.jsonl"


def summary_path(out: Path, split: str) -> Path:
    """Return where the manifest of a split lies."""
    return private_folder(out) / "manifests" / f"{split}.json"


def sign_path(out: Path, split: str) -> Path:
    """Return where an empty file says that the images of a split are written by the anonymize stage."""
    return private_folder(out) / "manifests" / split / "begun"


def listing_path(out: Path, split: str) -> Path:
    """Return where the hashes of a split's images lie, as ``sha256sum`` prints them; their sha256 is the digest."""
    return private_folder(out) / "manifests" / f"{split}.sha256"


def annotations_path(out: Path, split: str) -> Path:
    """Return where the annotations of a split lie."""
    return out / "annotations" / f"{split}.json"


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines, atomically."""
    write_bytes(path, msgspec.json.Encoder().encode_lines(rows))


def read_rows(path: Path) -> list[Row]:
    """Read a shard's rows, the header first; raise AnonbenchError when it is missing or damaged."""
    return list(each_row(path))


def each_row(path: Path) -> Iterator[Row]:
    """Yield a shard's rows one by one, the header first; raise AnonbenchError when it is missing or damaged."""
    row: Any = None
    try:
        with open(path, "rb") as stream:
            for number, line in enumerate(stream):
                row = json.loads(line)
                if number == 0 and (not isinstance(row, dict) or row.get("type") != "shard"):
                    break
                if not (isinstance(row, dict) and isinstance(row.get("type"), str)):
                    raise AnonbenchError("contains lines that are not rows", file=path, remedy=REMEDY)
                yield row
            else:
                if row is not None:
                    return
    except FileNotFoundError:
        raise AnonbenchError("no such manifest", file=path, remedy="run this shard of the anonymize stage") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AnonbenchError(f"is damaged ({error})", file=path, remedy=REMEDY) from None
    raise AnonbenchError("is not the manifest of a shard", file=path, remedy=REMEDY)


def summary_of(out: Path, split: str) -> Row:
    """Read the manifest of a split; raise AnonbenchError when it is missing or not one."""
    path = summary_path(out, split)
    summary = read_json(path)
    kinds = {"shards": list, "digest": str, "annotations_sha256": str, "method": str | None}
    if not isinstance(summary, dict) or not all(isinstance(summary.get(k), kind) for k, kind in kinds.items()):
        raise AnonbenchError("is not the manifest of a split", file=path, remedy=REMEDY)
    return summary


def rows_of(out: Path, split: str) -> Iterator[Row]:
    """Yield the image and person rows of a merged split, shard by shard, after checking the shards' hashes.

    Raises AnonbenchError, too, for the row of an image that does not say which file it is of.
    """
    for shard, digest in enumerate(summary_of(out, split)["shards"]):
        path = shard_path(out, split, shard)
        if not path.is_file() or sha256_file(path) != digest:
            raise AnonbenchError(
                "is missing or not the manifest that the split was merged from", file=path, remedy=REMEDY
            )
        rows = each_row(path)
        next(rows)
        for row in rows:
            if row["type"] == "image":
                _check(row, _OF_IMAGE, path)
            yield row


def _check(row: Row, kinds: dict[str, type], path: Path) -> None:
    """Raise AnonbenchError unless a row has some keys, each with a value of its type."""
    for key, kind in kinds.items():
        if type(row.get(key)) is not kind:
            said = f"a row of type {row['type']} has the {key} {row.get(key)!r:.80}"
            raise AnonbenchError(said, file=path, remedy=REMEDY)


@dataclass(frozen=True)
class Contents:
    """What the manifest of a split says of its images and people.

    ``summary`` is the split's own part; ``names`` and ``sources``: by an image's id, its file's name and the sha256 of
    the original file; ``hashes``: by name, the sha256 of the file; ``changed``: image and person of everybody who was
    changed, of whom ``strangers`` are nobody's who is annotated.
    """

    summary: Row
    names: dict[int, str]
    sources: dict[int, str]
    hashes: dict[str, str]
    changed: set[tuple[int, int]]
    strangers: int


def contents_of(out: Path, split: str) -> Contents:
    """Read what the manifest of a split says, all in one go.

    Raises AnonbenchError where it is missing, where a row lacks something, where images are listed twice, and where the
    images are not those of the merge.
    """
    path, summary = summary_path(out, split), summary_of(out, split)
    names: dict[int, str] = {}
    sources: dict[int, str] = {}
    hashes: dict[str, str] = {}
    changed: set[tuple[int, int]] = set()
    strangers = 0
    for row in rows_of(out, split):
        if row["type"] == "image":
            _check(row, {"source_sha256": str}, path)
            number, name = row["image_id"], row["file_name"]
            if number in names or name in hashes:
                raise AnonbenchError("is listed twice", file=path, entry=f"image {number}", remedy=REMEDY)
            names[number], sources[number], hashes[name] = name, row["source_sha256"], row["sha256"]
        elif row["type"] == "person":
            _check(row, _OF_PERSON, path)
            if is_changed(row):
                changed.add((row["image_id"], row["person_id"]))
                strangers += row.get("category") == UNANNOTATED
    if digest_of(hashes) != summary["digest"]:
        raise AnonbenchError("does not match its shards", file=path, remedy=REMEDY)
    return Contents(summary, names, sources, hashes, changed, strangers)


def image_hashes(out: Path, split: str) -> dict[str, str]:
    """Return the sha256 of a split's images by file name, as its manifest has them; {} without a manifest."""
    rows = rows_of(out, split) if exist(out, split) else iter(())
    return {row["file_name"]: row["sha256"] for row in rows if row["type"] == "image"}


def is_changed(row: Row) -> bool:
    """Tell whether a person's or frame's row is of one that was changed: by the method, or by its fallback."""
    return row["status"] in (ANONYMIZED, Reason.METHOD_FAILED)


def digest_of(hashes: dict[str, str]) -> str:
    """Return the sha256 of what ``sha256sum`` prints for the images (hashes by file name), sorted by file name."""
    return hashlib.sha256(listing_of(hashes).encode()).hexdigest()


def listing_of(hashes: dict[str, str]) -> str:
    """Return what ``sha256sum`` prints for images (hashes by file name), sorted by file name."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def listed(out: Path, split: str) -> dict[str, str]:
    """Return the hashes by file name of the images that the last merge of a split left; {} when there was none."""
    path = listing_path(out, split)
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def files_under(folder: Path) -> Iterator[str]:
    """Yield the names of all files below a folder, relative to it, with forward slashes."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield (Path(parent) / name).relative_to(folder).as_posix()


def verify(out: str | Path, split: str, *, contents: bool = True) -> str:
    """Check a merged split against its manifests; without ``contents`` names and sizes only. Returns the digest.

    Raises AnonbenchError that names the first image that was edited, is missing or does not belong, or the
    annotations when they are not those of the merge.
    """
    return digest_of(verified(out, split, contents=contents))


def verified(out: str | Path, split: str, *, contents: bool = True) -> dict[str, str]:
    """Do what `verify` does; return the sha256 of every image by its name."""
    out = Path(out)
    check_layout(out, split)
    summary = summary_of(out, split)
    images = (row for row in rows_of(out, split) if row["type"] == "image")
    expected = {row["file_name"]: {key: row[key] for key in _CHECKED} for row in images}
    hashes = {name: row["sha256"] for name, row in expected.items()}
    if digest_of(hashes) != summary["digest"]:
        raise AnonbenchError("does not match its shards", file=summary_path(out, split), remedy=REMEDY)
    present = {name for name in files_under(out / split) if not is_temporary(name.rpartition("/")[2])}
    for name in sorted(present - expected.keys()):
        raise AnonbenchError("does not belong to the variant", file=out / split / name, remedy="remove it")
    for name, row in expected.items():
        path = out / split / name
        if name not in present:
            raise AnonbenchError("is missing", file=path, remedy=REMEDY)
        check_image(path, row, contents)
    path = annotations_path(out, split)
    if not path.is_file() or sha256_file(path) != summary["annotations_sha256"]:
        raise _edited(path)
    return hashes


def _edited(path: Path) -> AnonbenchError:
    return AnonbenchError("is missing or was edited", file=path, remedy="run merge again")


def check_labels(path: str | Path) -> None:
    """Raise AnonbenchError when a variant's annotations are not those of its merge; other files are let pass."""
    path = Path(path)
    out, split = path.parent.parent, path.stem
    if path != annotations_path(out, split) or not exist(out, split):
        return
    if sha256_file(path) != summary_of(out, split)["annotations_sha256"]:
        raise _edited(path)


def check_image(path: Path, row: Row, contents: bool) -> None:
    """Raise AnonbenchError when a file is not the one of its manifest row, by size or with ``contents`` by sha256."""
    if path.stat().st_size != row["bytes"] or (contents and sha256_file(path) != row["sha256"]):
        raise AnonbenchError(
            "was edited after it was written", file=path, entry=f"image {row['image_id']}", remedy=REMEDY
        )
