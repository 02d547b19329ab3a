"""What a model is trained on and what it is tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anonbench.variants import ORIGINAL

Direction = Literal["original", "same", "deployed"]
ON_ORIGINAL, ON_SAME, ON_DEPLOYED = "original", "same", "deployed"
"""Directions: trained on the variant and tested on the original images; trained and tested on the variant; trained on
the original images and tested on the variant."""

TESTED = {
    ON_ORIGINAL: "tested on the original images",
    ON_SAME: "tested on the variant's own images",
    ON_DEPLOYED: "trained on the original images and tested on the variant's",
}

AS_IT_IS = "as it is, tested on the variant's images"
"""What the last of them is of a model that is not trained."""


def in_words(direction: str, fixed: bool = False) -> str:
    """Return in words what a direction tests on what; ``fixed`` of a model that is not trained."""
    return AS_IT_IS if fixed and direction == ON_DEPLOYED else TESTED[direction]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation: of a model that was trained on a variant with a seed, on the images of another variant."""

    dataset: str
    trained: str
    model: str
    seed: int
    tested: str

    @property
    def folder(self) -> Path:
        """Its folder below `evaluations`."""
        return Path(self.dataset, self.trained, self.model, f"seed{self.seed}", f"on-{self.tested}")


def pair(direction: str, variant: str) -> tuple[str, str]:
    """Return what is trained on and what is tested on to learn of a variant in a direction."""
    return {
        ON_ORIGINAL: (variant, ORIGINAL),
        ON_SAME: (variant, variant),
        ON_DEPLOYED: (ORIGINAL, variant),
    }[direction]


def told(direction: str, variants: Sequence[str], varies: bool) -> list[str]:
    """Return those of a model's variants that a direction tells something of.

    One that does not vary, since it needs no training or has its training on original images alone, tells of a variant
    when it is deployed on it; on the original it has its reference; and of training on a variant it says nothing.
    """
    if varies or direction == ON_DEPLOYED:
        return list(variants)
    return [v for v in variants if v == ORIGINAL and direction == ON_ORIGINAL]


def seeds_of(seeds: Sequence[int], further: Sequence[int], variant: str, trains: bool) -> list[int]:
    """Return the seeds of a model's trainings on a variant: the original has ``further`` ones.

    A model that needs no training has the first seed alone.
    """
    if not trains:
        return list(seeds[:1])
    return [*seeds, *(further if variant == ORIGINAL else ())]
