"""The files that a training leaves, and its record, which a prediction reads before torch is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.recipe import upgraded

WEIGHTS, RECORD, TIMING = "weights.safetensors", "train.json", "timing.json"


def read_record(model: Path) -> dict[str, Any]:
    """Return a finished training's ``train.json``; raise AnonbenchError when there is none."""
    if not (model / RECORD).is_file():
        raise AnonbenchError("contains no finished training (no train.json)", file=model, remedy="run the train stage")
    record = read_json(model / RECORD)
    if not isinstance(record, dict) or not isinstance(record.get("recipe"), dict):
        raise AnonbenchError("is not the record of a training", file=model / RECORD, remedy="train again")
    # models of version 0.1 stay usable; their recipes are complete, whatever the preset of then is called now
    return {**record, "recipe": upgraded({**record["recipe"], "preset": None})}


def determinism_of(model: Path) -> str:
    """Return the level of determinism that a finished training's recipe asks for."""
    return str(read_record(model)["recipe"].get("determinism", "auto"))
