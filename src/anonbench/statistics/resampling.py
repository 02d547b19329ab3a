"""Common random numbers: every evaluation of a data set is resampled with the same draws of its images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anonbench.seeding import generator

FEWEST = 5
"""With fewer groups (images, videos) that tell of something, drawing them tells nothing: there is no verdict."""


def group_weights(groups: int, resamples: int, *seed: object) -> np.ndarray:
    """Return int32 (resamples, groups): how often each group (image, video) is drawn, with replacement."""
    random = generator("images", *seed)
    return random.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Draw:
    """How a study draws the groups of a data set: ``resamples`` times, with the numbers of ``seed`` and ``dataset``."""

    resamples: int
    seed: int
    dataset: str

    def __str__(self) -> str:
        """Return what tells draws apart."""
        return f"{self.resamples} of seed {self.seed} for {self.dataset}"

    def weights(self, groups: int) -> np.ndarray:
        """Return int32 (resamples, groups); see `group_weights`."""
        return group_weights(groups, self.resamples, self.seed, self.dataset)


def effective(instances: np.ndarray) -> float:
    """Return how many groups tell of a category, given how many of its objects each holds: Kish's (1965) number."""
    held = np.asarray(instances, dtype=np.float64)
    return float(held.sum() ** 2 / (held**2).sum()) if held.any() else 0.0
