"""The record that `download` leaves of a data set: where its root is and which plugin reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anonbench import registry
from anonbench.datasets.base import DatasetAdapter
from anonbench.errors import AnonbenchError
from anonbench.files import read_json

NAME = "download.json"


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


def _no_record(data: Path) -> AnonbenchError:
    return AnonbenchError("is not a download record", file=data / NAME, remedy="run download again")
