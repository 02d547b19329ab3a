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


def read_attacker(folder: Path) -> tuple[dict[str, Any], AttackerConfig]:
    """Return an attacker's record and configuration; raise AnonbenchError when there is none."""
    file = folder / RECORD
    if not file.is_file():
        raise AnonbenchError("contains no attacker (no attacker.json)", file=folder, remedy="run fit-attacker first")
    record = read_json(file)
    try:
        return record, AttackerConfig.model_validate(record["attacker"])
    except (KeyError, TypeError, ValueError):
        raise AnonbenchError("is not the record of an attacker", file=file, remedy=AGAIN) from None
