"""What a fit's action network begins as: the network of a finished training of the trainer `clips`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from anonbench.anonymize.learned.options import FitSettings
from anonbench.errors import AnonbenchError, first_line
from anonbench.files import check_sha256, read_json
from anonbench.learning.video import Recognition

ENTRY = "fit start"
RECORD, WEIGHTS = "train.json", "weights.safetensors"
"""What `anonbench train` leaves (`anonbench.train.record`): stages do not import each other."""
TRAIN_AGAIN = "train it again (anonbench train)"


def told(folder: Path) -> dict[str, Any]:
    """Return what the record of a fit says of its start: whose training it is, and the sha256 of its weights.

    Raises AnonbenchError where there is no finished training of the trainer `clips`.
    """
    record = _record(folder)
    of = {"dataset": record["data"].get("dataset"), "seed": record["seed"]}
    return {"start": {**of, "weights_sha256": record["weights_sha256"]}}


def load(network: Recognition, folder: Path, actions: Sequence[str], s: FitSettings) -> None:
    """Give an action network the weights of a finished training.

    Raises AnonbenchError where there is none, and for one of other actions, of another network or whose file of
    weights is not the one that its record tells of, or holds numbers that are not finite.
    """
    record = _record(folder)
    if record["actions"] != list(actions):
        raise AnonbenchError(
            f"was trained on other actions ({', '.join(record['actions']) or 'none'}) than those that are "
            f"fitted to ({', '.join(actions)})",
            file=folder,
            entry=ENTRY,
            remedy="train one on the same actions, in the same order",
        )
    weights = folder / WEIGHTS
    check_sha256(weights, record["weights_sha256"], RECORD, TRAIN_AGAIN)
    try:
        given = load_file(weights)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise AnonbenchError(
            f"cannot be read as safetensors ({first_line(error)})", file=weights, entry=ENTRY, remedy=TRAIN_AGAIN
        ) from None
    wanted = network.state_dict()
    wrong = [n for n in wanted.keys() | given.keys() if n not in wanted or n not in given]
    wrong += [n for n in wanted.keys() & given.keys() if wanted[n].shape != given[n].shape]
    if wrong:
        raise AnonbenchError(
            f"holds another network than {s.utility}: {len(wrong)} tensors differ, first '{min(wrong)}'",
            file=folder,
            entry=ENTRY,
            remedy=_instead(record["recipe"].get("settings"), s),
        )
    bad = [n for n in sorted(wanted) if given[n].dtype != wanted[n].dtype or not torch.isfinite(given[n]).all()]
    if bad:
        raise AnonbenchError(
            f"holds something else than finite numbers of {wanted[bad[0]].dtype} in {len(bad)} tensors, first in "
            f"'{bad[0]}'",
            file=weights,
            entry=ENTRY,
            remedy=TRAIN_AGAIN,
        )
    network.load_state_dict(given)


def _instead(theirs: Any, s: FitSettings) -> str:
    """Say how a fit could have the network of a training, whose recipe has such settings."""
    theirs = theirs if isinstance(theirs, dict) else {}
    small = ("widths", "depths") if theirs.get("network") == "r3d_small" else ()
    wanted = {"utility": theirs.get("network"), **{f"utility_{key}": theirs.get(f"small_{key}") for key in small}}
    try:
        FitSettings.model_validate({**s.model_dump(), **wanted})
    except ValidationError:
        return "name a training of a network that a fit can have (fit.utility)"
    differ = {key: value for key, value in wanted.items() if s.model_dump(mode="json")[key] != value}
    return "set " + ", ".join(f"{key}: {value}" for key, value in wanted.items()) if differ else TRAIN_AGAIN


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        there = path.is_file()
    except OSError as error:
        raise AnonbenchError(f"cannot be looked at ({first_line(error)})", entry=ENTRY) from None
    if not there:
        raise AnonbenchError(
            "contains no finished training (no train.json)", file=folder, entry=ENTRY,
            remedy="name the folder that anonbench train wrote, or train it first",
        )  # fmt: skip
    record = read_json(path)
    keys = {"recipe": dict, "data": dict, "seed": int, "weights_sha256": str}
    if not isinstance(record, dict) or not all(isinstance(record.get(key), kind) for key, kind in keys.items()):
        raise AnonbenchError("is not the record of a training", file=path, entry=ENTRY, remedy=TRAIN_AGAIN)
    trainer, actions = record["recipe"].get("trainer"), record.get("actions")
    if trainer != "clips":
        raise AnonbenchError(
            f"is a training of {trainer}, and a fit's action network is one of clips",
            file=folder, entry=ENTRY, remedy="name a training of trainer: clips",
        )  # fmt: skip
    if not isinstance(actions, list) or not all(isinstance(action, str) for action in actions):
        raise AnonbenchError("does not name its actions", file=path, entry=ENTRY, remedy=TRAIN_AGAIN)
    return record
