"""Link an anonymized person to its own original: an upper bound, since pose and background are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from anonbench.attack.comparing import alike, described
from anonbench.attack.contract import Describe, Matching, Risk, Trial, drawn_together, persons
from anonbench.attack.subjects import Subjects


class Link(Matching):
    """Matches each anonymized crop with its own original among those of all others. Needs no identities."""

    title: ClassVar[str] = "link to the own original"
    risk: ClassVar[Risk] = "linkability"

    def people(self, own: Subjects) -> Sequence[object]:
        """Return nobody: every crop is a person of its own."""
        return [None] * len(own)

    def attempt(self, seen: Subjects, raw: Subjects | None, gallery: Subjects | None, describe: Describe) -> Trial:
        """Compare every picture with the originals of all; others of the same person are left out.

        Its own original is found again among one picture each of other people. Whole people are drawn; where nobody
        says who anybody is, every picture is taken for a person, and whole images are drawn.
        """
        assert raw is not None
        who = persons(raw.identities)
        allowed = (who[:, None] != who[None, :]) | np.eye(len(who), dtype=bool)
        groups, drawn = drawn_together(raw.identities, raw.images)
        if drawn == "images":
            who = np.arange(len(seen), dtype=np.int64)
        originals = described(describe, raw.crops)
        scores = alike(originals if seen is raw else described(describe, seen.crops), originals)
        return Trial(
            scores, who, who, allowed, seen.covered, seen.images, groups=groups if drawn == "images" else None,
            drawn=drawn,
        )  # fmt: skip
