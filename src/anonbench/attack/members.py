"""Whom a variant's method was fitted to, by the record of its training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from anonbench import manifests
from anonbench.attack.contract import Site
from anonbench.attack.subjects import Subjects
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file
from anonbench.records import RegionKind


class _Told(BaseModel):
    """What the record of a training says of the people, in the order in which metrics have it."""

    dataset: str
    split: Annotated[str, Field(pattern=r"^[^/]+$")]
    region: str
    tables_sha256: dict[str, str] = Field(min_length=1)
    weights_sha256: Annotated[str, Field(min_length=1)]
    data: Any = None

    @model_validator(mode="after")
    def _of_split(self) -> Self:
        if not all(name == Path(name).name and name.startswith(f"{self.split}.") for name in self.tables_sha256):
            raise ValueError("tables of another split")
        return self


@dataclass(frozen=True)
class Members:
    """The training of a method: its fit.json, and the folders of its data set's original variant and tables."""

    fit: Path
    original: Path
    annotations: Path

    @property
    def told(self) -> dict[str, Any]:
        """Return what the record says of them; raise AnonbenchError when it is damaged."""
        record = read_json(self.fit)
        try:
            told = _Told.model_validate(record).model_dump()
            json.dumps(told, allow_nan=False)  # it is written again
        except (TypeError, ValueError):
            raise AnonbenchError(
                "does not say whom a method was fitted to", file=self.fit, remedy="fit the method again"
            ) from None
        return told

    def site(self, attacked: Site, region: RegionKind) -> Site:
        """Return where they are.

        Raises AnonbenchError where the attacked variant was made by another training or of another region, and where
        the tables are not those that the method was fitted to.
        """
        told = self.told
        made = manifests.summary_of(attacked.variant, attacked.split).get("weights_sha256")
        if made != told["weights_sha256"]:
            raise AnonbenchError(
                f"was not made by the method that {self.fit} tells of",
                file=manifests.summary_path(attacked.variant, attacked.split),
                remedy="give the training of its own method, or anonymize again",
            )
        if told["region"] != region:
            raise AnonbenchError(f"was fitted to {told['region']} regions, not to {region} ones", file=self.fit)
        for name, digest in told["tables_sha256"].items():
            table = self.annotations / name
            if not table.is_file() or sha256_file(table) != digest:
                raise AnonbenchError(
                    "is missing or not what the method was fitted to: it is not known whom it has met", file=table,
                    remedy="fit the method again",
                )  # fmt: skip
        one = self.annotations.resolve() == attacked.annotations.resolve()  # whichever way they are written
        tables = attacked.annotations if one else self.annotations
        return Site(self.original, self.original, tables, told["split"], attacked.most, attacked.seed)


def apart_from_members(strangers: Subjects, members: Subjects, table: Path) -> None:
    """Raise AnonbenchError when somebody whom a method was fitted to is among those whom it was not, by ``table``.

    Raises it for a picture of both, too, whoever is in it.
    """
    same = strangers.pictures and members.pictures and strangers.pictures.shared(members.pictures)
    if same or strangers.sources & members.sources:
        raise AnonbenchError(
            "shows pictures that the method was fitted to: they are no strangers to it", file=table,
            remedy="name another split as attack.probe",
        )  # fmt: skip
    both = {who for who in strangers.identities if who is not None} & set(members.identities)
    if both:
        raise AnonbenchError(
            f"shows '{min(both)}', whom the method was fitted to: they are no strangers to it", file=table,
            remedy="name another split as attack.probe",
        )  # fmt: skip
