"""How alike people look to an attacker: the same number wherever the same two pictures are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anonbench.attack.contract import Describe
from anonbench.attack.subjects import blank


@dataclass(frozen=True)
class Described:
    """An attacker's description of N crops: ``vectors`` float32 (U, D) of the different ones, ``of`` int64 (N,) which
    of them each crop has; ``blank`` bool (N,): whose crop shows nothing."""

    vectors: np.ndarray
    of: np.ndarray
    blank: np.ndarray


def described(describe: Describe, crops: np.ndarray) -> Described:
    """Return the description of crops uint8 (N, height, width, 3), where equal crops have one between them.

    A network rounds by a crop's place in its batch, and a matrix product by a row's place in the matrix. People who
    look exactly the same, as masked-out ones do, would differ by that, and their order be told by who stands where.
    """
    first: dict[bytes, int] = {}
    of = np.array([first.setdefault(crop.tobytes(), len(first)) for crop in crops], dtype=np.int64)
    _, kept = np.unique(of, return_index=True)
    return Described(describe(crops[kept]), of, blank(crops))


def alike(one: Described, other: Described) -> np.ndarray:
    """Return how alike each of P is to each of G, float32 (P, G): the cosine of their vectors.

    Whoever shows nothing is as like to somebody as half of the others are (the median): blank crops are equal, and
    would else be the likest pairs of all, whosever they are, or before or behind all others by the sign of a cosine.
    """
    found = np.asarray((one.vectors @ other.vectors.T)[np.ix_(one.of, other.of)])
    if one.blank.any() or other.blank.any():
        seen = found[~one.blank][:, ~other.blank]
        if not seen.size:
            return np.zeros_like(found)
        found[np.ix_(~one.blank, other.blank)] = np.median(seen, axis=1, keepdims=True)
        found[one.blank] = np.median(seen)
    return found
