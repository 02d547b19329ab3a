"""The record that `download` leaves of a data set: where its root is and which plugin reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anonbench import registry
from anonbench.datasets.base import DatasetAdapter
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_bytes, sha256_file, write_json

NAME = "download.json"
_AGAIN = "run download again"


def adapter_of(name: str, options: dict[str, Any]) -> DatasetAdapter:
    """Return the data set plugin ``name`` with its options."""
    plugin: DatasetAdapter = registry.load("datasets", name)(options)
    return plugin


def root_of(data: Path) -> tuple[Path, dict[str, Any]]:
    """Return the root of the data set whose record lies in ``data``, and the record."""
    record = read_json(data / NAME)
    try:
        if "\0" not in record["root"]:
            return data / record["root"], record
    except (KeyError, TypeError):
        pass
    raise _no_record(data)


def reader_of(data: Path, split: str) -> tuple[Path, DatasetAdapter, int | None]:
    """Return root and plugin of the data set whose record lies in ``data``, and the people that a split should have.

    That number is None where the catalogue knows none.
    """
    root, record = root_of(data)
    try:
        adapter, options = record["adapter"], record["options"]
        expected = ((record["splits"].get(split) or {}).get("expected") or {}).get("people")
    except (KeyError, AttributeError):
        raise _no_record(data) from None
    return root, adapter_of(adapter, options), expected


def write_listing(data: Path, split: str, folder: Path, digests: dict[str, str] | None) -> None:
    """Write the sha256 of the files in ``folder`` (relative to the root) by name; None: remove the list."""
    path = _listing_path(data, split)
    if digests is None:
        path.unlink(missing_ok=True)
    else:
        write_json(path, {"folder": folder.as_posix(), "files": digests})


def listing_of(digests: Mapping[str, object]) -> str:
    """Return the text whose sha256 the record holds of a split's files: a line for each, with its hash or size."""
    return "".join(f"{name} {digest}\n" for name, digest in digests.items())


def hashes_of(data: Path, split: str) -> dict[str, str]:
    """Return the sha256 of a split's image files, by path relative to the root, as `download` left them.

    {} of those that it did not make, and where an earlier version did. Raises AnonbenchError when the list is not the
    one of the record.
    """
    path = _listing_path(data, split)
    if not path.is_file():
        return {}
    listing, record = read_json(path), read_json(data / NAME)
    try:
        folder, digests = Path(listing["folder"]), dict(listing["files"])
        if sha256_bytes(listing_of(digests).encode()) == record["splits"][split]["listing_sha256"]:
            return {(folder / name).as_posix(): digest for name, digest in digests.items()}
    except (KeyError, TypeError, ValueError):
        pass
    raise AnonbenchError(f"is not the list of files that {NAME} tells of", file=path, remedy=_AGAIN)


def check_sources(data: Path, split: str, sources: Iterable[Path]) -> None:
    """Raise AnonbenchError for a file of annotations that is not as `download` left it, unless it is the user's own."""
    record = read_json(data / NAME)
    if record["root"] != ".":
        return
    known = (record["splits"].get(split) or {}).get("annotations") or {}
    for path in sources:
        digest = known.get(path.relative_to(data).as_posix())
        if digest is not None and sha256_file(path) != digest:
            raise AnonbenchError("was edited or damaged after it was written", file=path, remedy=_AGAIN)


def _listing_path(data: Path, split: str) -> Path:
    return data / f"{split}.listing.json"


def _no_record(data: Path) -> AnonbenchError:
    return AnonbenchError("is not a download record", file=data / NAME, remedy=_AGAIN)
