"""The files of an attacker that has learnt, read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anonbench.attack.options import AttackerConfig
from anonbench.errors import AnonbenchError
from anonbench.files import read_json

WEIGHTS, RECORD, TIMING, CHECKPOINT = "weights.safetensors", "attacker.json", "timing.json", "checkpoint.pt"
AGAIN = "let it learn again"
"""What to do about an attacker whose files are no good."""
RESTORER = "restorer.pt"
"""Checkpoint of what undoes a method, kept until the attacker has learnt to look, too."""


def read_attacker(folder: Path, attack: str | None = None) -> tuple[dict[str, Any], AttackerConfig]:
    """Return an attacker's record and configuration; raise AnonbenchError when there is none, or of another attack."""
    file = folder / RECORD
    if not file.is_file():
        raise AnonbenchError("contains no attacker (no attacker.json)", file=folder, remedy="run fit-attacker first")
    record = read_json(file)
    try:
        config, learnt = AttackerConfig.model_validate(record["attacker"]), record.get("attack")
    except (KeyError, TypeError, ValueError):
        raise AnonbenchError("is not the record of an attacker", file=file, remedy=AGAIN) from None
    if attack is not None and learnt != attack:
        raise AnonbenchError(f"has learnt to {learnt}, not to {attack}", file=file)
    return record, config


def own_people(record: dict[str, Any], annotations: Path) -> Path:
    """Return the table of people whom an attacker has learnt from, in its data set's folder of tables."""
    return annotations / f"{record['own']['split']}.people.parquet"
