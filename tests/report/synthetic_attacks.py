"""Attacks made of numbers, on disk: what the report reads of the stage `attack`, without a training."""

from __future__ import annotations

import functools
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from anonbench.arrays import write_arrays
from anonbench.attack.contract import Trial
from anonbench.attack.estimates import estimate_arrays, estimates, threshold_of
from anonbench.attack.linkage import linkability
from anonbench.attack.risk import identities_that_tell, identity_replicates
from anonbench.files import read_json, sha256_file, write_json
from anonbench.report.study import is_identity
from anonbench.statistics.resampling import Draw

DRAW = Draw(200, 7, "people of streetlife")
SIZES = (10, 30)
ATTACKERS = {
    "body-naive": {"knowledge": "naive", "region": "body", "view": "person"},
    "body-aware": {"knowledge": "aware", "region": "body", "view": "person"},
    "body-silhouette": {"knowledge": "naive", "region": "body", "view": "silhouette"},
    "face-naive": {"knowledge": "naive", "region": "face", "view": "region"},
    "face-aware": {"knowledge": "aware", "region": "face", "view": "region"},
}
TELLING = {
    "original": 2.0, "face-identity": 2.0, "face-blur-medium": 1.6, "face-mask_out": 1.0, "body-blur-medium": 1.2,
    "body-mask_out": 0.0,
}  # fmt: skip
"""How much of a person is left in each variant, against noise of 1."""


def attackers_of(variant: str) -> list[str]:
    """Return who attacks a variant: those about its region; where nothing is hidden those, too, who need no method."""
    region, bare = variant.partition("-")[0], variant == "original" or is_identity(variant)
    return [n for n, a in ATTACKERS.items() if a["region"] == region or (bare and "aware" not in n)]


def write_attacks(
    root: Path, telling: dict[str, float] | None = None, seeds: tuple[int, ...] = (0,), people: int = 60,
    attacks: tuple[str, ...] = ("reidentify",),
) -> dict[str, Any]:  # fmt: skip
    """Write attacks/ under ``root``; return what study.json says of them, and say it there if there is one."""
    telling = telling or TELLING
    for attack in attacks:
        for variant, left in telling.items():
            for name in attackers_of(variant):
                shown = 0.35 if "silhouette" in name else left * (0.9 if "naive" in name else 1.0)
                for seed in seeds:
                    write_attack(place(root, variant, name, seed, attack), shown, attack, variant, name, seed, people)
    said = {
        "datasets": ["streetlife"], "attacks": list(attacks), "seeds": list(seeds), "sizes": list(SIZES),
        "attackers": {attack: {variant: attackers_of(variant) for variant in telling} for attack in attacks},
    }  # fmt: skip
    if (root / "study.json").exists():
        write_json(root / "study.json", {**read_json(root / "study.json"), "attacks": said})
    return said


def place(root: Path, variant: str, attacker: str, seed: int = 0, attack: str = "reidentify") -> Path:
    """Return the folder of an attack."""
    return root / "attacks" / "streetlife" / variant / attack / attacker / f"seed{seed}"


def write_attack(folder: Path, left: float, attack: str, variant: str, attacker: str, seed: int, people: int) -> None:
    """Write an attack that sees as much of a person as is ``left``: numbers of theirs, and noise of its own.

    The noise of a picture is the same whoever looks, as that of a real one is; an attacker and a seed add their own.
    """
    changed = variant != "original" and "identity" not in variant
    measured, arrays = _attacked(left, attacker.split("-")[0], seed, people, changed)
    write(folder, attack, variant, ATTACKERS[attacker], measured, arrays, str(DRAW))


@functools.cache
def _attacked(
    left: float, kind: str, seed: int, people: int, changed: bool
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what is measured of validation and test people, and the arrays of scores.npz."""
    who = np.repeat(np.arange(people), 2)
    shared = np.random.default_rng(5)
    own = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    persons = shared.normal(size=(people, 16))
    sides = [shared.normal(size=(2 * people, 16)) + 0.2 * own.normal(size=(2 * people, 16)) for _ in range(2)]
    probe, gallery = left * persons[who] + sides[0], 2.0 * persons[who] + sides[1]
    probe, gallery = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (probe, gallery))
    covered, rows = np.full(2 * people, changed), np.arange(2 * people)
    trial = Trial(probe @ gallery.T, who, who, np.ones((len(who),) * 2, bool), covered, rows)
    chosen = who % 3 == 0
    parts = {"validation": _part(trial, chosen), "test": _part(trial, ~chosen)}
    threshold = threshold_of(parts["validation"])
    arrays: dict[str, np.ndarray] = {"probe": who, "validation": chosen}
    measured = {name: _measured(part, threshold) for name, part in parts.items()}
    test = parts["test"]
    weights = DRAW.weights(len(np.unique(test.probe)))
    for size in (*SIZES, None):
        values = linkability(test.scores, test.probe, test.gallery, size)
        key = str(size or "all")
        arrays |= {
            f"telling/{key}": np.asarray(identities_that_tell(values, test.probe)),
            f"replicates/{key}": identity_replicates(values, test.probe, weights),
        }
    return measured, arrays | estimate_arrays(test, measured["test"]["measures"], DRAW)


def write(
    folder: Path, attack: str, variant: str, attacker: dict[str, Any] | None, parts: dict[str, Any],
    arrays: dict[str, np.ndarray], draw: str | None = str(DRAW),
    risk: str = "linkability",
) -> None:  # fmt: skip
    """Write the two files of an attack."""
    write_arrays(folder / "scores.npz", arrays)
    head = {"format": 1, "attack": attack, "risk": risk, "attacker": attacker, "own": None, "variant": variant}
    people = {"people": {"probe": "probe", "gallery": "gallery"}, "draw": draw}
    files = {"files": {"scores": sha256_file(folder / "scores.npz")}}
    write_json(folder / "metrics.json", head | people | parts | files)


def _part(trial: Trial, rows: np.ndarray) -> Trial:
    return Trial(
        trial.scores[np.ix_(rows, rows)], trial.probe[rows], trial.gallery[rows], trial.allowed[np.ix_(rows, rows)],
        trial.covered[rows], trial.images[rows],
    )  # fmt: skip


def _measured(part: Trial, threshold: float) -> dict[str, Any]:
    people = len(np.unique(part.probe))
    sizes = {str(n): n for n in SIZES} | {"all": None}
    found = {
        name: linkability(part.scores, part.probe, part.gallery, n) for name, n in sizes.items() if (n or 0) <= people
    }
    told = {name: float(np.nanmean(values)) for name, values in found.items()}
    return {
        "probes": len(part.probe), "people": people, "candidates": people,
        "linkability": {name: float(np.nanmean(found[name])) if name in found else None for name in sizes},
        "chance": {name: 1 / (n or people) for name, n in sizes.items()},
        "crowd": {"median": 5.0, "fifth": 1.0, "below_10": 0.7}, "covered": float(part.covered.mean()),
        "linkability_of_covered": {s: of if part.covered.any() else None for s, of in told.items()},
        "linkability_of_missed": {s: None if part.covered.any() else of for s, of in told.items()},
        "share_of_missed": dict.fromkeys(told, 0.0 if part.covered.any() else 1.0),
        "measures": estimates(part, threshold),
    }  # fmt: skip
