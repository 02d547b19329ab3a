"""How attackers have learnt: their losses, which tell whether they had learnt enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.report.collect import Sources, loss_points
from anonbench.report.study import ReportStudy

ATTACKER_COLUMNS = (
    "dataset", "attack", "attacker", "variant", "training", "iteration", "n_seeds", "loss",
)  # fmt: skip
ATTACKER, RESTORER = "attacker", "restorer"
"""A row's training: of the network that looks, or of the one that undoes the method before."""
RECORD = "attacker.json"
DISSIMILARITY = 0.2
"""Weight of 1 - SSIM in a restorer's loss, unless the attacker's record says another."""
AGAIN = "let it learn again"


def attackers(study: ReportStudy, sources: Sources, allow_missing: bool = False) -> pd.DataFrame:
    """Return the loss of those who learn to attack, averaged over seeds, per iteration (see `ATTACKER_COLUMNS`).

    ``dataset`` and ``variant`` are what they have learnt from. Where an attacker undoes a method with a network, that
    one's loss has rows of its own. Raises AnonbenchError when an attacker is missing, unless ``allow_missing``, or
    damaged.
    """
    frames = []
    for dataset, attack, attacker, variant, seed in study.learners():
        made = study.made_with(variant, seed)
        place = Path(dataset, made, attack, attacker, f"seed{seed}")
        file = (sources.attackers or Path()) / place / RECORD
        if allow_missing and not file.exists():
            continue
        keys = {"dataset": dataset, "attack": attack, "attacker": attacker, "variant": variant}
        frames += [
            frame.assign(**keys, training=of) for of, frame in _losses(_record(file, attack, made, seed), file).items()
        ]
    if not frames:
        return pd.DataFrame(columns=list(ATTACKER_COLUMNS))
    names = list(ATTACKER_COLUMNS[:6])
    joined = pd.concat([frame.assign(order=k) for k, frame in enumerate(frames)], ignore_index=True)
    joined["order"] = joined.groupby(names[:5])["order"].transform("min")
    found = joined.groupby(["order", *names]).loss.agg(n_seeds="count", loss="mean").reset_index()
    return found[list(ATTACKER_COLUMNS)]


def _record(file: Path, attack: str, variant: str, seed: int) -> dict[str, Any]:
    """Return an attacker's record; raise AnonbenchError for none, or one of another attack, variant or seed."""
    if not file.exists():
        raise AnonbenchError("no such file", file=file, remedy="run fit-attacker first")
    record = read_json(file)
    if not isinstance(record, dict) or not isinstance(record.get("attacker"), dict):
        raise AnonbenchError("is not the record of an attacker", file=file, remedy=AGAIN)
    if record.get("attack") != attack:
        raise AnonbenchError(f"is not the record of an attacker that has learnt to {attack}", file=file, remedy=AGAIN)
    own = record.get("own")
    learnt = {"own.variant": own.get("variant") if isinstance(own, dict) else None, "seed": record.get("seed")}
    for entry, wanted in (("own.variant", variant), ("seed", seed)):
        if learnt[entry] not in (None, wanted):
            said = f"is {learnt[entry]!r}, but the attacker lies where that of {wanted!r} is expected"
            raise AnonbenchError(said, file=file, entry=entry, remedy=AGAIN)
    return record


def _losses(record: dict[str, Any], file: Path) -> dict[str, pd.DataFrame]:
    """Return iteration and loss of each training of an attacker, the first one first."""
    found = {}
    if RESTORER in record:
        points = pd.DataFrame(loss_points(record, file, AGAIN, RESTORER, ("l1", "ssim")))
        weight = _dissimilarity(record["attacker"].get("restorer"), file)
        found[RESTORER] = points[["iteration"]].assign(loss=(1 - weight) * points.l1 + weight * points.ssim)
    points = pd.DataFrame(loss_points(record, file, AGAIN, terms=("loss",)))
    found[ATTACKER] = points[["iteration", "loss"]]
    return found


def _dissimilarity(restorer: Any, file: Path) -> float:
    """Return the weight of 1 - SSIM in a restorer's loss, as the attacker's record says or leaves out."""
    weight = DISSIMILARITY if restorer is None else restorer.get("ssim") if isinstance(restorer, dict) else None
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise AnonbenchError("is not the record of an attacker", file=file, entry="attacker.restorer", remedy=AGAIN)
    return weight
