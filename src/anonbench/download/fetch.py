"""Put a data set on disk, or check the copy that is there, and record what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anonbench.datasets.record import adapter_of
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_bytes, sha256_file, write_json


def download(
    dataset: str, adapter: str, root: Path | None, options: dict[str, Any], splits: list[str], out: Path
) -> dict[str, Any]:
    """Fetch ``splits`` into ``out`` (or use ``root``, read-only), read each once, and write ``out/download.json`` last.

    Raises AnonbenchError when the root is missing or empty, or a split cannot be read.
    """
    plugin = adapter_of(adapter, options)
    if root is None:
        out.mkdir(parents=True, exist_ok=True)
        plugin.download(out, splits)
        base = out
    else:
        base = root.expanduser().absolute()
        if not base.is_dir():
            raise AnonbenchError(
                "the root is not a folder", file=base, remedy=f"check datasets.{dataset}.root in the study"
            )
        if next(base.iterdir(), None) is None:
            raise AnonbenchError("the root is empty", file=base, remedy="unpack the data set there first")
    record: dict[str, Any] = {
        "dataset": dataset,
        "adapter": adapter,
        "root": "." if root is None else str(base),
        "options": options,
        "splits": {},
    }
    for name in splits:
        split = plugin.read(base, name)
        files = sorted(p for p in (base / split.images).iterdir() if p.is_file() and not p.name.startswith("."))
        if root is None:
            files = _without_leftovers(files, {Path(image["file_name"]).name for image in split.coco["images"]})
        listing = "".join(f"{p.name} {_mark(p, whole=root is None)}\n" for p in files)
        record["splits"][name] = {
            "images": len(files),
            "bytes": sum(p.stat().st_size for p in files),
            "listing_sha256": sha256_bytes(listing.encode()),
            "annotations": {p.relative_to(base).as_posix(): sha256_file(p) for p in split.sources},
        }
    write_json(out / "download.json", record)
    return record


def _mark(path: Path, *, whole: bool) -> str | int:
    """Return what a file is known by: the hash of its bytes, or its size in a user's own copy, which may be large."""
    return sha256_file(path) if whole else path.stat().st_size


def _without_leftovers(files: list[Path], named: set[str]) -> list[Path]:
    """Remove the images of an earlier download that the annotations do not name; return the others."""
    for path in files:
        if path.name not in named:
            path.unlink()
    return [path for path in files if path.name in named]
