"""Whether two splits show the same people, where a study says that they must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anonbench.datasets.base import DatasetAdapter
from anonbench.errors import AnonbenchError


def check_apart(adapter: DatasetAdapter, root: Path, split: str, other: str) -> None:
    """Compare the identities of two splits of a data set under ``root``.

    Raises AnonbenchError that names the first identity which both have, and when one of them has none: nothing would
    be known then.
    """
    found = {name: _people(adapter, root, name) for name in (split, other)}
    for name, (file, people) in found.items():
        if not people:
            raise AnonbenchError(
                "names nobody's identity, so whether people are in two splits cannot be told",
                file=file,
                entry=f"split {name}",
                remedy="give annotations an identity, or leave out disjoint",
            )
    (file, people), (_, others) = found[split], found[other]
    for identity in sorted(people.keys() & others.keys()):
        raise AnonbenchError(
            f"shows '{identity}', who is in the split {other} too (annotation {others[identity]}), and the two must be "
            "disjoint",
            file=file,
            entry=f"annotation {people[identity]}",
            remedy="move the person's images into one split, or leave out disjoint",
        )


def _people(adapter: DatasetAdapter, root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Return a split's file, and the id of an annotation of each identity."""
    split = adapter.read(root, name)
    people: dict[str, Any] = {}
    for annotation in split.annotations:
        if annotation.get("identity") is not None:
            people.setdefault(str(annotation["identity"]), annotation.get("id"))
    return split.sources[0] if split.sources else root / split.folder, people
