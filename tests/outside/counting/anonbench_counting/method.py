"""A method: one colour per line."""

from __future__ import annotations

import numpy as np

from anonbench.anonymize.contract import Crop, Method


class Smear(Method):
    """Give each line of a region the mean of its colours."""

    def change(self, crop: Crop) -> np.ndarray:
        """Return the smeared crop."""
        mean = crop.pixels.mean(axis=1, keepdims=True)
        return np.broadcast_to(np.rint(mean), crop.pixels.shape).astype(np.uint8)
