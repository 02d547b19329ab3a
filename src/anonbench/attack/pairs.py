"""One attacker's scores: who is compared with whom, and how alike the attacker finds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from anonbench.errors import AnonbenchError

BATCH = 128
"""About so many mates are looked at side by side."""


@dataclass(frozen=True)
class Pairs:
    """A checked score matrix.

    ``scores`` float64 (P, G), larger = more alike; ``probe`` (P) and ``gallery`` (G) are rows of ``identities`` (I),
    which are sorted; ``allowed`` bool (P, G), False: a pair that is left out.
    """

    scores: np.ndarray
    probe: np.ndarray
    gallery: np.ndarray
    allowed: np.ndarray
    identities: np.ndarray

    @cached_property
    def mates(self) -> np.ndarray:
        """Return bool (P, G): allowed pairs that show the same person."""
        return np.asarray(self.allowed & (self.probe[:, None] == self.gallery[None, :]))

    @cached_property
    def others(self) -> np.ndarray:
        """Return bool (P, G): allowed pairs that show different people."""
        return np.asarray(self.allowed & (self.probe[:, None] != self.gallery[None, :]))

    @cached_property
    def mated(self) -> np.ndarray:
        """Return bool (P): probes with a mate."""
        return np.asarray(self.mates.any(axis=1))

    @cached_property
    def _by_person(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the gallery's order by person, where each person starts in it, and who they are (rows)."""
        order = np.argsort(self.gallery, kind="stable")
        people, starts = np.unique(self.gallery[order], return_index=True)
        return order, starts, people

    def people(self) -> np.ndarray:
        """Return the people of the gallery (J), as rows of ``identities``, in the order of `best` and `standing`."""
        return self._by_person[2]

    def best(self) -> np.ndarray:
        """Return float (P, J): each gallery person's highest allowed score, -inf without any."""
        order, starts, _ = self._by_person
        scores = np.where(self.allowed, self.scores, -np.inf)[:, order]
        return np.asarray(np.maximum.reduceat(scores, starts, axis=1))

    def standing(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield batches of where mates stand among the other people whom their probe is compared with.

        Each is the probes' rows, int (M), one per mate, and float64 (M, K) twice: of each of K other people's allowed
        images the share that is less alike than the mate, and the share that is exactly as alike. All of a probe's
        mates are in one batch.
        """
        order, starts, _ = self._by_person
        pending: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
        for row in np.flatnonzero(self.mated):
            allowed, scores = self.others[row, order], self.scores[row, order]
            mates = self.scores[row, self.mates[row]][:, None]
            images = np.add.reduceat(allowed, starts, dtype=np.int64)
            there = images > 0
            below, equal = (
                np.add.reduceat(hit & allowed, starts, axis=1, dtype=np.int64)[:, there] / images[there]
                for hit in (scores < mates, scores == mates)
            )
            batch = pending.setdefault(int(there.sum()), [])
            batch.append((np.full(len(mates), row), below, equal))
            if sum(len(rows) for rows, _, _ in batch) >= BATCH:
                yield _joined(batch)
                batch.clear()
        yield from (_joined(batch) for batch in pending.values() if batch)


def _joined(batch: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of several probes as those of one."""
    rows, below, equal = zip(*batch, strict=True)
    return np.concatenate(rows), np.concatenate(below), np.concatenate(equal)


def checked(scores: ArrayLike, probe: ArrayLike, gallery: ArrayLike, allowed: ArrayLike | None = None) -> Pairs:
    """Return the checked pairs of ``scores`` (P, G) between ``probe`` (P) and ``gallery`` (G) identities.

    Identities are integers or strings; ``allowed`` (P, G) False leaves a pair out (the same image, or the same person
    and camera as Market-1501 does), None leaves out none. Raises AnonbenchError on wrong shapes, scores that are not
    finite, identities of other types, and where no probe has a mate or there is nobody else.
    """
    matrix = np.asarray(scores, dtype=np.float64)
    names = [_names(probe, "probe"), _names(gallery, "gallery")]
    shape = (len(names[0]), len(names[1]))
    if matrix.shape != shape:
        raise AnonbenchError(
            f"have the shape {matrix.shape} for {shape[0]} probes and {shape[1]} gallery images",
            entry="scores",
            remedy="give one row per probe and one column per gallery image",
        )
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise AnonbenchError(
            f"{matrix[row, column]} at probe {row} and gallery image {column} is no finite number",
            entry="scores",
            remedy="look for embeddings that are zero or not finite; to leave a pair out, use allowed",
        )
    if (names[0].dtype.kind == "U") != (names[1].dtype.kind == "U"):
        raise AnonbenchError(
            "one side has strings and the other numbers", entry="identities", remedy="give both sides the same type"
        )
    identities, codes = np.unique(np.concatenate(names), return_inverse=True)
    kept = np.ones(shape, dtype=bool) if allowed is None else np.asarray(allowed)
    if kept.shape != shape or kept.dtype != bool:
        raise AnonbenchError(
            f"is {kept.dtype} of shape {kept.shape} where scores have {shape}",
            entry="allowed",
            remedy="give one true or false per pair",
        )
    pairs = Pairs(matrix, codes[: shape[0]], codes[shape[0] :], kept, identities)
    if not pairs.mates.any():
        raise AnonbenchError(
            "no probe has an allowed gallery image of the same person",
            entry="identities",
            remedy="use people with two images or more, one of them in the gallery",
        )
    if not pairs.others.any():
        raise AnonbenchError(
            "no probe is compared with anybody else", entry="identities", remedy="put two people or more in the gallery"
        )
    return pairs


def _names(identities: ArrayLike, side: str) -> np.ndarray:
    """Return identities as a vector of integers or strings; raises AnonbenchError on anything else."""
    found = np.asarray(identities)
    if found.dtype.kind == "O":
        found = np.asarray(found.tolist())
    if found.ndim != 1 or found.dtype.kind not in "iuU" or not len(found):
        raise AnonbenchError(
            f"identities are {found.dtype} of shape {found.shape}",
            entry=side,
            remedy="give one integer or string per image, and at least one image",
        )
    return found
