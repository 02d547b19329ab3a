"""What attacks of every kind leave: metrics.json and scores.npz, and on whom attackers are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anonbench.arrays import write_arrays
from anonbench.attack.contract import Attack, Choose, Drawn
from anonbench.attack.record import WEIGHTS
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.seeding import generator
from anonbench.statistics.resampling import Draw

FORMAT = 1
"""Version of ``metrics.json``."""
VALIDATION, TEST = "validation", "test"
"""People on whom attackers are chosen, and those who are reported."""


def chooser(share: float, seed: int, what: str = "people or images") -> Choose:
    """Return who of some people or images attackers are chosen on: a ``share`` of them, which a seed draws.

    The same whatever the variant or the attacker. What it returns raises AnonbenchError where fewer than two would be
    left in a part; ``what`` they are is said there.
    """

    def choose(groups: np.ndarray) -> np.ndarray:
        there, of = np.unique(groups, return_inverse=True)
        chosen = np.zeros(len(there), dtype=bool)
        chosen[generator("validation", seed).permutation(len(there))[: round(share * len(there))]] = True
        if not 2 <= chosen.sum() <= len(there) - 2:
            raise AnonbenchError(
                f"{len(there)} {what} are too few to choose attackers on {share:.0%} of them and report the others",
                entry="attack.validation",
            )
        return np.asarray(chosen[of])

    return choose


def known(value: float) -> float | None:
    """Return a number as ``metrics.json`` has it: None where there is none."""
    return value if np.isfinite(value) else None


def write(
    out: Path, name: str, attack: Attack, *, variant: Path, who: dict[str, Any] | None, own: dict[str, Any] | None,
    people: Mapping[str, str | None], draw: Draw | None, drawn: Drawn, said: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray], model: Path | None,
) -> None:  # fmt: skip
    """Write ``scores.npz`` (``arrays``) and, last, ``metrics.json``.

    ``who`` is the attacker's configuration, ``own`` what its record says of its own people, ``people`` are the splits
    that are compared, ``said`` is what the attack has found, ``model`` the folder of an attacker that has learnt.
    """
    write_arrays(out / "scores.npz", arrays)
    write_json(
        out / "metrics.json",
        {
            "format": FORMAT,
            "attack": name,
            "risk": attack.risk,
            "attacker": who,
            "own": own,
            "variant": variant.name,
            "people": dict(people),
            "draw": str(draw) if draw else None,
            "drawn": drawn,
            **said,
            "files": {
                "weights": None if model is None else sha256_file(model / WEIGHTS),
                "scores": sha256_file(out / "scores.npz"),
            },
        },
    )
