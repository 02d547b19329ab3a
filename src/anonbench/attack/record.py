"""The files of an attacker that has learnt, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from anonbench.attack.options import AttackerConfig
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.variants import plain

WEIGHTS, RECORD, TIMING, CHECKPOINT = "weights.safetensors", "attacker.json", "timing.json", "checkpoint.pt"
AGAIN = "let it learn again"
"""What to do about an attacker whose files are no good."""
RESTORER = "restorer.pt"
"""Checkpoint of what undoes a method, kept until the attacker has learnt to look, too."""


class _Own(BaseModel):
    """What a record says of the attacker's own people."""

    dataset: str | None = None
    split: Annotated[str, Field(pattern=r"^[^/]+$")] | None = None
    variant: str | None = None


class _Record(BaseModel):
    """What an attacker's record must say, and may say, that is believed."""

    attack: str
    attacker: AttackerConfig
    own: _Own
    own_images: list[str] | None = None
    weights_sha256: str


def read_attacker(
    folder: Path, attack: str | None = None, variant: str | None = None
) -> tuple[dict[str, Any], AttackerConfig]:
    """Return an attacker's record and configuration.

    Raises AnonbenchError when there is none, or of another ``attack``, or of one who knows another method than that of
    the ``variant`` that is attacked.
    """
    file = folder / RECORD
    if not file.is_file():
        raise AnonbenchError("contains no attacker (no attacker.json)", file=folder, remedy="run fit-attacker first")
    record = read_json(file)
    try:
        told = _Record.model_validate(record)
        json.dumps(record, allow_nan=False)  # parts of it are written again
    except (TypeError, ValueError):
        raise AnonbenchError("is not the record of an attacker", file=file, remedy=AGAIN) from None
    if attack is not None and told.attack != attack:
        raise AnonbenchError(f"has learnt to {told.attack}, not to {attack}", file=file)
    if variant is not None and told.own.variant is not None:
        needed = told.attacker.trained_on(variant)
        if plain(told.own.variant) != plain(needed):
            raise AnonbenchError(
                f"has learnt from {told.own.variant}; whoever attacks {variant} and is {told.attacker.knowledge} "
                f"learns from {needed}",
                file=file,
                remedy="give the attacker of this variant",
            )
    return record, told.attacker


def own_people(record: dict[str, Any], annotations: Path) -> Path:
    """Return the table of people whom an attacker has learnt from, in its data set's folder of tables.

    Raises AnonbenchError for a record that does not say which it is.
    """
    if record["own"].get("split") is None:
        raise AnonbenchError("does not say whom the attacker has learnt from", file=RECORD, remedy=AGAIN)
    return annotations / f"{record['own']['split']}.people.parquet"
