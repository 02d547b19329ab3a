"""Link an anonymized person to its own original: an upper bound, since pose and background are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

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

        A picture is found again, and whole people are drawn, or images where nobody says who anybody is.
        """
        assert raw is not None
        own = np.arange(len(seen), dtype=np.int64)
        who = persons(raw.identities)
        allowed = (who[:, None] != who[None, :]) | (own[:, None] == own[None, :])
        groups, drawn = drawn_together(raw.identities, raw.images)
        return Trial(
            describe(seen.crops) @ describe(raw.crops).T, own, own, allowed, seen.covered, seen.images,
            groups=groups, drawn=drawn,
        )  # fmt: skip
