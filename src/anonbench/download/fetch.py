"""Put a data set on disk, or check the copy that is there, and record what was found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anonbench import catalogue as datasets_csv
from anonbench.datasets.base import Split
from anonbench.datasets.record import adapter_of, listing_of, write_listing
from anonbench.download.sources import Fetcher
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_bytes, sha256_file, write_json
from anonbench.names import normal


def download(
    dataset: str,
    adapter: str,
    root: Path | None,
    options: dict[str, Any],
    splits: list[str],
    out: Path,
    *,
    catalogue: Path | None = None,
    mirror: str | None = None,
    keep_archives: bool = False,
) -> dict[str, Any]:
    """Fetch ``splits`` into ``out`` (or use ``root``, read-only), read each once, and write ``out/download.json`` last.

    Of a plugin that ``converts``, what it makes of ``root`` lies in ``out``.

    ``catalogue`` is config/datasets.csv: where the plugin's files are, and the counts that are told and recorded as
    ``splits.<name>.expected``; ``mirror`` and ``keep_archives`` are `anonbench.download.sources.Fetcher`'s. Raises
    AnonbenchError when the root is missing or empty, a file cannot be fetched, or a split cannot be read.
    """
    plugin = adapter_of(adapter, options)
    rows = datasets_csv.rows(catalogue, adapter) if catalogue is not None else []
    fetcher = Fetcher(adapter, rows, mirror, keep_archives)
    if root is None:
        out.mkdir(parents=True, exist_ok=True)
        plugin.download(out, splits, fetcher)
        base = out
    else:
        base = root.expanduser().absolute()
        if not base.is_dir():
            raise AnonbenchError(
                "the root is not a folder", file=base, remedy=f"check datasets.{dataset}.root in the study"
            )
        if next(base.iterdir(), None) is None:
            raise AnonbenchError("the root is empty", file=base, remedy="unpack the data set there first")
        if plugin.converts:
            out.mkdir(parents=True, exist_ok=True)
            plugin.convert(base, out, splits)
    made = plugin.converts or (root is None and plugin.renders)
    source, base = base, out if made else base
    record: dict[str, Any] = {
        "dataset": dataset,
        "adapter": adapter,
        "root": "." if root is None or made else str(base),
        **({"converted": str(source)} if root is not None and made else {}),
        "options": options,
        "splits": {},
    }
    read = {name: plugin.read(base, name) for name in splits}
    if made:
        _remove_leftovers(base, list(read.values()))
    for name, split in read.items():
        names = sorted(set(_names(split)))
        files = [(name, path) for name in names if (path := base / split.folder / name).is_file()]
        # A user's copy and unpacked archives may be large; the archives' own hashes say what is in them.
        digests = {name: sha256_file(path) if made else str(path.stat().st_size) for name, path in files}
        write_listing(out, name, split.folder, digests if made else None)
        record["splits"][name] = {
            "images": len(files),
            "bytes": sum(path.stat().st_size for _, path in files),
            "listing_sha256": sha256_bytes(listing_of(digests).encode()),
            "annotations": {p.relative_to(base).as_posix(): sha256_file(p) for p in split.sources},
        }
        if catalogue is not None and rows:
            record["splits"][name]["expected"] = datasets_csv.expected(catalogue, adapter, name)
    if fetcher.fetched:
        record["archives"] = dict(sorted(fetcher.fetched.items()))
    write_json(out / "download.json", record)
    return record


def _names(split: Split) -> Iterator[str]:
    """Yield where the files of a split's images are, but for impossible names, which annotate tells."""
    for image in split.images:
        with contextlib.suppress(ValueError):
            yield normal(split.path_of(image))


def told(dataset: str, name: str, split: dict[str, Any]) -> str:
    """Return the line that says what was found of a split, and how it differs from the catalogue."""
    line = f"{dataset} {name}: {split['images']} images, {split['bytes'] / 1e6:.1f} MB"
    wanted = split.get("expected", {}).get("images")
    if wanted is not None and wanted != split["images"]:
        line += f"; DIFFERENT: the catalogue expects {wanted} images"
    return line


def _remove_leftovers(base: Path, read: list[Split]) -> None:
    """Remove from the splits' folders the images of an earlier rendering that no annotations name."""
    named = {base / split.folder / name for split in read for name in _names(split)}
    for folder in {base / split.folder for split in read}:
        for path in folder.rglob("*"):
            if path.is_file() and not path.name.startswith(".") and path not in named:
                path.unlink()
