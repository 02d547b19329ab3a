"""Ask whether a generator repeats the people that it was fitted to: the nearest that it makes gives members away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from anonbench.attack.comparing import alike, described
from anonbench.attack.contract import (
    Answers,
    Choose,
    Describe,
    Measure,
    Remembering,
    Risk,
    Statistic,
    drawn_together,
    numbered,
)
from anonbench.attack.membership import auc_of, tpr_at
from anonbench.attack.metrics import TEST, VALIDATION
from anonbench.attack.options import AWARE, NAIVE
from anonbench.attack.subjects import Subjects
from anonbench.errors import AnonbenchError
from anonbench.seeding import generator

AUC, OF_ORIGINALS, TPR = "membership_auc", "membership_auc_of_originals", "membership_tpr_1e2"
EXCESS = "membership_auc_excess"
"""By how much the AUC is above that of originals: members may look unlike strangers without anybody's memory."""
FPR = 1e-2


class Memorise(Remembering):
    """Tells members, whom a generator was fitted to, from strangers by how near it comes to them.

    The score of somebody is the highest likeness of their original picture to a generated person. Nobody is compared
    with what was generated in their own place, in their own image or in another of theirs: who was there shows in pose
    and surroundings. Strangers alone have such pictures, so each member has a stranger whose pictures it is not
    compared with either: without memory both kinds are alike.
    """

    title: ClassVar[str] = "tell those whom a generator was fitted to"
    risk: ClassVar[Risk] = "inference"
    by_those_who_know: ClassVar[Sequence[str]] = (NAIVE, AWARE)

    def people(self, own: Subjects) -> Sequence[object]:
        """Return the identities, and where nobody has one, nobody: every crop is then a person of its own."""
        return list(own.identities)

    def recall(
        self, seen: Subjects, raw: Subjects, members: Subjects, describe: Describe, choose: Choose, seed: int
    ) -> Answers:
        """Compare members and strangers with what was generated, and, for comparison, with strangers' originals."""
        made = seen.covered
        if not made.any():
            raise AnonbenchError("nobody of the probe split was generated", entry="attack.probe")
        groups, drawn = _groups(members, raw)
        counterpart = _counterparts(groups[: len(members)], groups[len(members) :], seed)
        of_made = groups[len(members) :][made]
        # in one's own image the surroundings are one's own, too
        own = (counterpart[:, None] == of_made[None, :]) | _together(
            counterpart, groups[len(members) :], raw.images, made
        )
        if own.all(axis=1).any():
            raise AnonbenchError("somebody is compared with nobody else", entry="attack.probe")
        originals = described(describe, np.concatenate([members.crops, raw.crops]))
        is_member = np.arange(len(members) + len(raw)) < len(members)
        nearest = {
            name: np.where(own, -np.inf, alike(originals, described(describe, crops[made]))).max(axis=1)
            for name, crops in ((AUC, seen.crops), (OF_ORIGINALS, raw.crops))
        }
        nearest = {name: likeness.astype(np.float64) for name, likeness in nearest.items()}
        chosen = choose(groups)
        parts = {}
        for part, rows in ((VALIDATION, chosen), (TEST, ~chosen)):
            mine = is_member[rows]
            if mine.all() or not mine.any():
                raise AnonbenchError(
                    f"the {part} people are all of one kind: too few to tell members from strangers",
                    entry="attack.validation",
                )
            kinds = np.stack([mine, ~mine], axis=1)
            aucs = {name: auc_of(scores[rows], mine) for name, scores in nearest.items()}
            found = {EXCESS: Measure(_excess(aucs[AUC], aucs[OF_ORIGINALS]), groups[rows], 0.0, kinds=kinds)}
            found |= {name: Measure(statistic, groups[rows], kinds=kinds) for name, statistic in aucs.items()}
            if (~mine).sum() * FPR >= 1:
                found[TPR] = Measure(tpr_at(nearest[AUC][rows], mine, FPR), groups[rows], kinds=kinds)
            parts[part] = found
        arrays = {
            "probe": groups, "member": is_member, "validation": chosen, "nearest": nearest[AUC],
            "nearest_of_originals": nearest[OF_ORIGINALS],
        }  # fmt: skip
        facts: dict[str, Any] = {"members": len(members), "strangers": len(raw), "generated": int(made.sum())}
        return Answers(parts, EXCESS, drawn, facts, arrays)


def _groups(members: Subjects, raw: Subjects) -> tuple[np.ndarray, Any]:
    """Return who is drawn together, int64 (M + N,), members first, and what is drawn; nobody is of both."""
    pairs = [drawn_together(one.identities, one.images) for one in (members, raw)]
    kinds = {drawn for _, drawn in pairs}
    names = [np.array([f"{kind} {number}" for number in of]) for kind, (of, _) in zip("ms", pairs, strict=True)]
    return np.concatenate(numbered(*names)), "people" if kinds == {"people"} else "images"


def _excess(auc: Statistic, of_originals: Statistic) -> Statistic:
    return lambda weights: auc(weights) - of_originals(weights)


def _counterparts(members: np.ndarray, strangers: np.ndarray, seed: int) -> np.ndarray:
    """Return whose images somebody is not compared with, members first: of a stranger the own, else one's drawn."""
    who, there = np.unique(members), np.unique(strangers)
    drawn = there[generator("counterparts", seed).integers(len(there), size=len(who))]
    return np.concatenate([drawn[np.searchsorted(who, members)], strangers])


def _together(counterpart: np.ndarray, strangers: np.ndarray, images: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Return which of those who were generated are in an image that shows a counterpart: bool (M + N, G)."""
    shown: dict[int, set[int]] = {}
    for who, image in zip(strangers.tolist(), images.tolist(), strict=True):
        shown.setdefault(who, set()).add(image)
    rows = {who: np.isin(images[made], list(of)) for who, of in shown.items()}
    return np.stack([rows[who] for who in counterpart.tolist()])
