"""How alike people look to an attacker: the same number wherever the same two pictures are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anonbench.attack.contract import Describe
from anonbench.attack.subjects import EMPTY


@dataclass(frozen=True)
class Described:
    """An attacker's description of N crops: ``vectors`` float32 (U, D) of the different ones, ``of`` int64 (N,) which
    of them each crop has."""

    vectors: np.ndarray
    of: np.ndarray


def described(describe: Describe, crops: np.ndarray) -> Described:
    """Return the description of crops uint8 (N, height, width, 3), where equal crops have one between them.

    A network rounds by a crop's place in its batch, and a matrix product by a row's place in the matrix. People who
    look exactly the same, as masked-out ones do, would differ by that, and their order be told by who stands where.
    A crop that shows nothing (`subjects.EMPTY` everywhere: of somebody without a face, say) has the description zero,
    which is as like to one as to another: equal crops would else be the most alike of all, whosever they are.
    """
    first: dict[bytes, int] = {}
    of = np.array([first.setdefault(crop.tobytes(), len(first)) for crop in crops], dtype=np.int64)
    _, kept = np.unique(of, return_index=True)
    different = crops[kept]
    vectors = describe(different)
    nothing = (different == EMPTY).all(axis=(1, 2, 3))
    return Described(np.where(nothing[:, None], np.float32(0), vectors), of)


def alike(one: Described, other: Described) -> np.ndarray:
    """Return how alike each of P is to each of G, float32 (P, G): the cosine of their vectors."""
    return np.asarray((one.vectors @ other.vectors.T)[np.ix_(one.of, other.of)])
