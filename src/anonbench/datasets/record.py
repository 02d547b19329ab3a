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
        return data / record["root"], record
    except (KeyError, TypeError):
        raise AnonbenchError("is not a download record", file=data / NAME, remedy="run download again") from None
