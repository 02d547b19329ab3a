"""Seeds that depend on what is seeded, never on the order of work."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(*parts: object) -> int:
    """Return a 63-bit seed: the sha256 of the parts' text, for example of (study seed, image id, person id)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: object) -> np.random.Generator:
    """Return a PCG64 generator seeded by `seed_of`."""
    return np.random.Generator(np.random.PCG64(seed_of(*parts)))
