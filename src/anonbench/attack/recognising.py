"""An attacker that looks with a recogniser, which has learnt elsewhere: what it leaves, and how it describes people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import anonbench
from anonbench import portable
from anonbench.attack.contract import Describe
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import AGAIN, RECORD, WEIGHTS, read_attacker
from anonbench.attack.subjects import OWN_IMAGES
from anonbench.errors import AnonbenchError
from anonbench.files import check_sha256, sha256_file, write_json
from anonbench.learning.files import save_tensors
from anonbench.recognisers.base import Recogniser


def adopt(attack: str, config: AttackerConfig, origin: dict[str, Any], seed: int, out: Path, code: str) -> None:
    """Write what an attacker that learns leaves, ``weights.safetensors`` and, last, ``attacker.json``.

    No weights are in the former, and nobody was learnt from; the latter names the recogniser's weights. Raises
    AnonbenchError for weights or a package that are missing.
    """
    assert config.recogniser is not None
    (out / RECORD).unlink(missing_ok=True)
    recogniser = config.recogniser.make()
    save_tensors({}, out / WEIGHTS)
    write_json(
        out / RECORD,
        {
            "attack": attack,
            "attacker": config.model_dump(mode="json"),
            "own": origin,
            OWN_IMAGES: [],
            "recogniser": _told(recogniser),
            "seed": seed,
            "weights_sha256": sha256_file(out / WEIGHTS),
            "code": code,
            "versions": {"python": portable.python(), "anonbench": anonbench.__version__},
        },
    )


def described_by(folder: Path) -> Describe | None:
    """Return how the attacker in a folder describes crops, as unit vectors float32 (N, D), if it is a recogniser's.

    Raises AnonbenchError unless the recogniser is the one that the attacker's record names; what is returned raises it
    for what is no description. Numbers that are all zero say nothing: they are like nobody's.
    """
    record, attacker = read_attacker(folder)
    config = attacker.recogniser
    if config is None:
        return None
    check_sha256(folder / WEIGHTS, record.get("weights_sha256"), RECORD, AGAIN)
    recogniser = config.make()
    told = _told(recogniser)
    if record.get("recogniser") != told:
        raise AnonbenchError(f"names another recogniser than {told['version']}", file=folder / RECORD, remedy=AGAIN)

    def describe(crops: np.ndarray) -> np.ndarray:
        shown = crops.view()
        shown.flags.writeable = False
        try:
            found = np.asarray(recogniser.describe(shown), np.float64)
            good = found.ndim == 2 and found.shape[1] > 0 and len(found) == len(crops) and np.isfinite(found).all()
        except (TypeError, ValueError):
            good = False
        if not good:
            raise AnonbenchError(
                f"the recogniser {config.plugin} does not describe {len(crops)} pictures by as many rows of finite "
                "numbers",
                entry="attack.attackers recogniser",
            )
        largest = np.abs(found).max(axis=1, keepdims=True)
        found = np.divide(found, largest, out=np.zeros_like(found), where=largest > 0)  # whatever their scale
        length = np.linalg.norm(found, axis=1, keepdims=True)
        return np.divide(found, length, out=found, where=length > 0).astype(np.float32)

    return describe


def _told(recogniser: Recogniser) -> dict[str, Any]:
    return {"version": recogniser.version, "weights": [list(one) for one in recogniser.weights]}
