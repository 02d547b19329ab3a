"""Undo what a method did, and link the result to the own original: what reversal brings back of somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from anonbench.attack.attacks.link import Link
from anonbench.attack.contract import Describe, Trial
from anonbench.attack.options import NAIVE, REVERSE
from anonbench.attack.subjects import Subjects

EXAMPLES = 6
"""People whose pictures are kept, to be looked at."""


class Restore(Link):
    """Links what a `reverse` attacker has restored; a `naive` one shows what there was to be seen without.

    How alike a restored picture is to the original (SSIM) is noted beside it, as an illustration: a likely face of
    somebody else is as alike, and no attack. So are a few pictures, `examples`.
    """

    title: ClassVar[str] = "link the restored picture to the own original"
    by_those_who_know: ClassVar[Sequence[str]] = (NAIVE, REVERSE)

    def attempt(self, seen: Subjects, raw: Subjects | None, gallery: Subjects | None, describe: Describe) -> Trial:
        """Compare everybody with the originals of all, as `Link`; and note likeness."""
        from anonbench.attack.restoration import likeness  # torch takes seconds to import

        assert raw is not None
        shown = examples(raw)
        pictures = {"seen": seen.crops[shown], "original": raw.crops[shown]}
        found = super().attempt(seen, raw, gallery, describe)
        return replace(found, likeness=likeness(seen.crops, raw.crops), pictures=pictures)


def examples(raw: Subjects, count: int = EXAMPLES) -> np.ndarray:
    """Return who is to be looked at, int64 (count,) at most: whose original picture has most in it.

    That is the sum of the differences of neighbouring pixels: of small people, who are enlarged, it is little. Nobody
    of an image, and no identity, is shown twice. What a variant did to them has no part in it.
    """
    crops = raw.crops.astype(np.int16)
    detail = sum(np.abs(np.diff(crops, axis=axis)).sum(axis=(1, 2, 3), dtype=np.int64) for axis in (1, 2))
    chosen: list[int] = []
    taken: set[tuple[str, object]] = set()
    for index in np.argsort(-np.asarray(detail), kind="stable").tolist():
        who = raw.identities[index]
        keys = {("image", raw.images[index]), *([] if who is None else [("identity", who)])}
        if len(chosen) < count and not keys & taken:
            chosen.append(index)
            taken |= keys
    return np.array(chosen, dtype=np.int64)
