"""An attacker that looks with a recogniser, which has learnt elsewhere: what it leaves, and how it describes people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import anonbench
from anonbench import portable
from anonbench.attack.contract import Describe
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import AGAIN, RECORD, WEIGHTS
from anonbench.attack.subjects import OWN_IMAGES
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.learning.files import save_tensors
from anonbench.recognisers.base import Recogniser
from anonbench.recognisers.config import RecogniserConfig


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


def described_by(config: RecogniserConfig, record: dict[str, Any], folder: Path) -> Describe:
    """Return a recogniser's description of crops: unit vectors, float32 (N, D).

    ``record`` is that of the attacker in ``folder``. Raises AnonbenchError unless the recogniser is the one that it
    names; what is returned raises it for numbers that are not finite.
    """
    recogniser = config.make()
    told = _told(recogniser)
    if record.get("recogniser") != told:
        raise AnonbenchError(f"names another recogniser than {told['version']}", file=folder / RECORD, remedy=AGAIN)

    def describe(crops: np.ndarray) -> np.ndarray:
        found = np.asarray(recogniser.describe(crops), np.float32)
        if found.ndim != 2 or len(found) != len(crops) or not np.isfinite(found).all():
            raise AnonbenchError(
                f"the recogniser {config.plugin} does not describe {len(crops)} pictures by as many rows of finite "
                "numbers",
                entry="attack.attackers recogniser",
            )
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(np.float32).tiny)

    return describe


def _told(recogniser: Recogniser) -> dict[str, Any]:
    return {"version": recogniser.version, "weights": [list(one) for one in recogniser.weights]}
