"""A tiny codec with random weights whose latents spread over some integers, and what tests need beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from anonbench.codec import weights
from anonbench.codec.networks import Architecture, Codec
from anonbench.codec.tables import TOTAL, Tables, tabulate

STEPS = (1.0, 2.0)


def codec(channels: int = 6, hidden: int = 1, noise: float = 0.0, gain: float = 1.0, seed: int = 0) -> Codec:
    """Return a codec with random weights."""
    torch.manual_seed(seed)
    made = Codec(Architecture(channels, hidden, noise, gain))
    with torch.no_grad():
        made.analysis[-1].weight.mul_(20)
    return made.eval().requires_grad_(False)


def write(
    path: Path, origin: dict[str, Any] | None = None, steps: tuple[float, ...] = STEPS, **architecture: Any
) -> Path:
    """Write a codec with random weights."""
    made = codec(**architecture)
    weights.save(path, made, [tabulate(made.density, step) for step in steps], origin or {"hides": "heads"})
    return path


def tables(rng: np.random.Generator, channels: int = 4, widest: int = 20) -> Tables:
    """Return random tables, some of a likely and many hardly possible symbols."""
    first, sizes, counts = [], [], []
    for _ in range(channels):
        size = int(rng.integers(2, widest + 1))
        shares = rng.random(size) ** rng.integers(1, 12)
        own = np.floor(shares / shares.sum() * (TOTAL - size)).astype(np.int64) + 1
        own[rng.integers(size)] += TOTAL - own.sum()
        first.append(int(rng.integers(-9, 3)))
        sizes.append(size)
        counts.append(own)
    return Tables(1.0, np.array(first, np.int32), np.array(sizes, np.int32), np.concatenate(counts).astype(np.int32))
