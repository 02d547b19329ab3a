"""What a model is trained on and what it is tested on."""

from __future__ import annotations

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
