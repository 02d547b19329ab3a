"""Whom a variant's method was fitted to, by the record of its training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anonbench import manifests
from anonbench.attack.contract import Site
from anonbench.attack.subjects import Subjects
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file
from anonbench.records import RegionKind


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
            return {
                "dataset": record["dataset"], "split": record["split"], "region": record["region"],
                "tables_sha256": dict(record["tables_sha256"]), "weights_sha256": record["weights_sha256"],
                "data": record.get("data"),
            }  # fmt: skip
        except (KeyError, TypeError, ValueError):
            raise AnonbenchError(
                "does not say whom a method was fitted to", file=self.fit, remedy="fit the method again"
            ) from None

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
        return Site(self.original, self.original, self.annotations, told["split"], attacked.most, attacked.seed)


def apart_from_members(strangers: Subjects, members: Subjects, table: Path) -> None:
    """Raise AnonbenchError when somebody whom a method was fitted to is among those whom it was not, by ``table``."""
    both = {who for who in strangers.identities if who is not None} & set(members.identities)
    if both:
        raise AnonbenchError(
            f"shows '{min(both)}', whom the method was fitted to: they are no strangers to it", file=table,
            remedy="name another split as attack.probe",
        )  # fmt: skip
