"""What a fit's action network begins as: the network of a finished training of the trainer `clips`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    return {
        "start": {
            "dataset": record["data"].get("dataset"),
            "seed": record["seed"],
            "weights_sha256": record["weights_sha256"],
        }
    }


def load(network: Recognition, folder: Path, actions: Sequence[str], s: FitSettings) -> None:
    """Give an action network the weights of a finished training.

    Raises AnonbenchError where there is none, and for one of other actions, of another network or whose file of
    weights is not the one that its record tells of.
    """
    record = _record(folder)
    if record.get("actions") != list(actions):
        raise AnonbenchError(
            f"was trained on other actions ({', '.join(record.get('actions') or ()) or 'none'}) than those that are "
            f"fitted to ({', '.join(actions)})",
            file=folder,
            entry=ENTRY,
            remedy="train one on the same actions, in the same order",
        )
    weights = folder / WEIGHTS
    check_sha256(weights, record["weights_sha256"], RECORD, TRAIN_AGAIN)
    try:
        given = load_file(weights)
    except (SafetensorError, OSError, ValueError) as error:
        raise AnonbenchError(
            f"cannot be read as safetensors ({first_line(error)})", file=weights, entry=ENTRY, remedy=TRAIN_AGAIN
        ) from None
    wanted = network.state_dict()
    wrong = [n for n in sorted(wanted.keys() | given.keys()) if n not in wanted or n not in given]
    wrong += [n for n in wanted.keys() & given.keys() if wanted[n].shape != given[n].shape]
    if wrong:
        theirs = record["recipe"].get("settings") or {}
        small = {f"utility_{key}": theirs.get(f"small_{key}") for key in ("widths", "depths")}
        said = {"utility": theirs.get("network"), **(small if theirs.get("network") == "r3d_small" else {})}
        raise AnonbenchError(
            f"holds another network than {s.utility}: {len(wrong)} tensors differ, first '{min(wrong)}'",
            file=folder,
            entry=ENTRY,
            remedy="set " + ", ".join(f"{key}: {value}" for key, value in said.items()),
        )
    network.load_state_dict(given)


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise AnonbenchError("contains no finished training (no train.json)", file=folder, entry=ENTRY)
    record = read_json(path)
    keys = {"recipe": dict, "data": dict, "seed": int, "weights_sha256": str}
    if not isinstance(record, dict) or not all(isinstance(record.get(key), kind) for key, kind in keys.items()):
        raise AnonbenchError("is not the record of a training", file=path, entry=ENTRY, remedy=TRAIN_AGAIN)
    if record["recipe"].get("trainer") != "clips":
        raise AnonbenchError(
            f"is a training of {record['recipe'].get('trainer')}, and a fit's action network is one of clips",
            file=folder, entry=ENTRY, remedy="name a training of trainer: clips",
        )  # fmt: skip
    return record
