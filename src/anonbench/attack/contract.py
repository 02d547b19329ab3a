"""What an attack must offer. Imported without torch, since reading a study asks attacks what they need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

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
    changed; ``images`` int64 (P,) ids of the probes' images.
    """

    scores: np.ndarray = field(repr=False)
    probe: np.ndarray
    gallery: np.ndarray
    allowed: np.ndarray = field(repr=False)
    covered: np.ndarray
    images: np.ndarray


class Attack(ABC):
    """An attack. Register a subclass in the entry-point group ``anonbench.attacks``; its name is the entry point's."""

    title: ClassVar[str]
    """What is tried, in a heading."""

    risk: ClassVar[Risk]

    needs_identities: ClassVar[bool] = False
    """Whether the data set must say who people are."""

    needs_gallery: ClassVar[bool] = False
    """Whether people are looked for in another split than the one that is attacked."""

    @abstractmethod
    def people(self, own: Subjects) -> Sequence[object]:
        """Return who is the same person to an attacker that learns (N,): None for nobody else."""

    @abstractmethod
    def attempt(self, seen: Subjects, raw: Subjects, gallery: Subjects | None, describe: Describe) -> Trial:
        """Attack.

        ``seen`` are the attacked people as the variant shows them, ``raw`` the same, in the same order, in the original
        images, ``gallery`` those of the gallery's original images, if the attack needs one. Raises AnonbenchError where
        there is nothing to compare.
        """


def numbered(*names: np.ndarray) -> list[np.ndarray]:
    """Return names as numbers (int64), the same number for the same name in all of the arrays."""
    known = {name: k for k, name in enumerate(sorted({str(name) for one in names for name in one}))}
    return [np.array([known[str(name)] for name in one], dtype=np.int64) for one in names]
