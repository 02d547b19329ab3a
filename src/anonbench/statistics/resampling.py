"""Common random numbers: every evaluation of a data set is resampled with the same draws of its images."""

from __future__ import annotations

import numpy as np

from anonbench.seeding import generator


def group_weights(groups: int, resamples: int, *seed: object) -> np.ndarray:
    """Return int32 (resamples, groups): how often each group (image, video) is drawn, with replacement."""
    random = generator("images", *seed)
    return random.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(np.int32)
