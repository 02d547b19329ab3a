"""What an attack must offer. Imported without torch, since reading a study asks attacks what they need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, get_args

import numpy as np

from anonbench.attack.options import Knowledge
from anonbench.attack.subjects import Subjects

Risk = Literal["singling out", "linkability", "inference"]
"""The three risks of WP29's Opinion 05/2014 on anonymisation techniques."""

Describe = Callable[[np.ndarray], np.ndarray]
"""An attacker's network: unit vectors float32 (N, D) of crops uint8 (N, height, width, 3)."""


@dataclass(frozen=True)
class Trial:
    """An attack's answers: how alike each probe and each of the gallery look to it.

    ``scores`` float32 (P, G); ``probe`` (P,) and ``gallery`` (G,) say who they are, int64 numbers that name nobody;
    ``allowed`` bool (P, G): False where a pair must not be compared. ``covered`` bool (P,): whom the variant has
    changed; ``images`` int64 (P,) ids of the probes' images. ``kinds`` names pairs, bool (P, G), whose pictures of one
    person are to be told of apart, too, such as those in the same clothes. ``likeness`` (P,): how alike a picture is to
    its original, for illustration; None where that is not asked.
    """

    scores: np.ndarray = field(repr=False)
    probe: np.ndarray
    gallery: np.ndarray
    allowed: np.ndarray = field(repr=False)
    covered: np.ndarray
    images: np.ndarray
    kinds: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    likeness: np.ndarray | None = field(default=None, repr=False)

    def among(self, rows: np.ndarray, columns: np.ndarray) -> Trial:
        """Return the trial of some probes, bool (P,), among some of the gallery, bool (G,)."""
        here = np.ix_(rows, columns)
        return replace(
            self, scores=self.scores[here], probe=self.probe[rows], gallery=self.gallery[columns],
            allowed=self.allowed[here], covered=self.covered[rows], images=self.images[rows],
            kinds={name: pairs[here] for name, pairs in self.kinds.items()},
            likeness=None if self.likeness is None else self.likeness[rows],
        )  # fmt: skip

    def of_kind(self, name: str) -> Trial:
        """Return the trial in which a person's pictures of one of the ``kinds`` of pairs count alone."""
        same = self.probe[:, None] == self.gallery[None, :]
        return replace(self, allowed=self.allowed & (self.kinds[name] | ~same))


class Attack(ABC):
    """An attack. Register a subclass in the entry-point group ``anonbench.attacks``; its name is the entry point's."""

    title: ClassVar[str]
    """What is tried, in a heading."""

    risk: ClassVar[Risk]

    needs_identities: ClassVar[bool] = False
    """Whether the data set must say who people are."""

    needs_gallery: ClassVar[bool] = False
    """Whether people are looked for in another split than the one that is attacked."""

    needs_original: ClassVar[bool] = True
    """Whether those who are attacked are compared with their own originals."""

    by_those_who_know: ClassVar[Sequence[str]] = get_args(Knowledge)
    """Attackers that make the attack, by their knowledge."""

    within: ClassVar[bool] = False
    """Whether pictures of one variant are compared with each other, not with originals: so an attacker learns, too."""

    @abstractmethod
    def people(self, own: Subjects) -> Sequence[object]:
        """Return who is the same person to an attacker that learns (N,): None for nobody else."""

    @abstractmethod
    def attempt(self, seen: Subjects, raw: Subjects | None, gallery: Subjects | None, describe: Describe) -> Trial:
        """Attack.

        ``seen`` are the attacked people as the variant shows them, ``raw`` the same, in the same order, in the original
        images, if the attack needs them, ``gallery`` those of the gallery, if it needs one: of its original images, or,
        ``within`` a variant, of the variant's. Raises AnonbenchError where there is nothing to compare.
        """


def numbered(*names: np.ndarray) -> list[np.ndarray]:
    """Return names as numbers (int64), the same number for the same name in all of the arrays."""
    known = {name: k for k, name in enumerate(sorted({str(name) for one in names for name in one}))}
    return [np.array([known[str(name)] for name in one], dtype=np.int64) for one in names]
