"""Random numbers that are the same on every machine.

Only the raw stream of PCG64 is used (`Generator.random`), everything else is plain arithmetic on it, so that
no distribution's implementation, no libm and no SIMD path can change a scene.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def generator(*key: object) -> np.random.Generator:
    """A generator that depends on the key's text only (never on Python's salted `hash`)."""
    digest = hashlib.sha256("/".join(str(part) for part in key).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


class Dice:
    """Scalar draws from one stream; real numbers are rounded to 1e-6."""

    def __init__(self, *key: object) -> None:
        self._generator = generator(*key)
        self._buffer: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._buffer:
            self._buffer = self._generator.random(64).tolist()
        return self._buffer.pop()

    def uniform(self, low: float, high: float) -> float:
        return round(low + (high - low) * self.unit(), 6)

    def integer(self, low: int, high: int) -> int:
        """Uniform over low..high, both included."""
        return low + int((high - low + 1) * self.unit())

    def chance(self, probability: float) -> bool:
        return self.unit() < probability

    def sign(self) -> int:
        return 1 if self.unit() < 0.5 else -1

    def choice(self, values: Sequence[T]) -> T:
        return values[int(len(values) * self.unit())]

    def weighted(self, values: Sequence[T], weights: Sequence[float]) -> T:
        mark = self.unit() * sum(weights)
        for value, weight in zip(values, weights, strict=True):
            mark -= weight
            if mark < 0:
                return value
        return values[-1]

    def shuffled(self, values: Sequence[T]) -> list[T]:
        deck = list(values)
        for i in range(len(deck) - 1, 0, -1):
            j = int((i + 1) * self.unit())
            deck[i], deck[j] = deck[j], deck[i]
        return deck
