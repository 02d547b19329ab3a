"""Common random numbers: every evaluation of a data set is resampled with the same draws of its images."""

from __future__ import annotations

import numpy as np

from anonbench.seeding import generator


def group_weights(groups: int, resamples: int, *seed: object) -> np.ndarray:
    """Return int32 (resamples, groups): how often each group (image, video) is drawn, with replacement."""
    random = generator("images", *seed)
    return random.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(np.int32)


def effective(instances: np.ndarray) -> float:
    """Return how many groups tell of a category, given how many of its objects each holds: Kish's (1965) number."""
    held = np.asarray(instances, dtype=np.float64)
    return float(held.sum() ** 2 / (held**2).sum()) if held.any() else 0.0
