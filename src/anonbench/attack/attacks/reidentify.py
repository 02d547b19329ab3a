"""Find a person again: from anonymized images to original ones of other scenes, or between anonymized ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from anonbench.attack.comparing import alike, described
from anonbench.attack.contract import Describe, Matching, Risk, Trial, numbered
from anonbench.attack.subjects import Subjects
from anonbench.datasets.base import CAMERA
from anonbench.errors import AnonbenchError

OUTFIT = "outfit"
"""The attribute that says which of their clothes somebody wears, counted for each person apart."""


class Reidentify(Matching):
    """Looks for each anonymized person of the probe split among the original people of the gallery split."""

    title: ClassVar[str] = "find again in original images"
    risk: ClassVar[Risk] = "linkability"
    needs_identities: ClassVar[bool] = True
    needs_gallery: ClassVar[bool] = True
    needs_original: ClassVar[bool] = False

    def people(self, own: Subjects) -> Sequence[object]:
        """Return the identities; raise AnonbenchError where nobody has been seen twice."""
        known = [who for who in own.identities if who is not None]
        if known and len(set(known)) == len(known):
            raise AnonbenchError(
                "everybody is in one picture alone: an attacker cannot learn to find people again",
                entry="attack.own",
                remedy="choose a split that shows people in several images",
            )
        return list(own.identities)

    def attempt(self, seen: Subjects, raw: Subjects | None, gallery: Subjects | None, describe: Describe) -> Trial:
        """Compare everybody who is known with all of the gallery who are known.

        Pictures of a person by the camera that took the probe are left out, as in Market-1501 (Zheng et al. 2015).
        Where it is known who wears what, people in the same outfit and in another one are told apart.
        """
        assert gallery is not None
        seen, gallery = seen.known(), gallery.known()
        if not set(seen.identities) & set(gallery.identities):
            raise AnonbenchError(
                "nobody of the probe split is in the gallery split",
                entry="attack.gallery",
                remedy="name splits that show the same people, with identities",
            )
        probe, found = numbered(seen.identities, gallery.identities)
        same = probe[:, None] == found[None, :]
        allowed = ~(same & _equal(seen.said(CAMERA), gallery.said(CAMERA)))
        if not (same & allowed).any():
            raise AnonbenchError(
                "nobody of the probe split was taken by another camera in the gallery split", entry="attack.gallery"
            )
        scores = alike(described(describe, seen.crops), described(describe, gallery.crops))
        return Trial(
            scores, probe, found, allowed, seen.covered, seen.images,
            kinds=_outfits(seen.said(OUTFIT), gallery.said(OUTFIT)),
        )  # fmt: skip


class Relink(Reidentify):
    """Looks for each anonymized person of the probe split among the anonymized people of the gallery split.

    That is linkage between two releases: whoever has a pseudonym is found without anybody knowing who it is.
    """

    title: ClassVar[str] = "find again in anonymized images"
    within: ClassVar[bool] = True


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return where two sides, str (P,) and (G,), have the same value: bool (P, G), False where one has none."""
    return np.asarray((one[:, None] == other[None, :]) & (one != "")[:, None])


def _outfits(one: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
    """Return the pairs in the same outfit and those in different ones; {} where nobody says who wears what."""
    known = np.logical_and.outer(one != "", other != "")
    same = _equal(one, other)
    return {"same outfit": same, "other outfit": known & ~same} if known.any() else {}
