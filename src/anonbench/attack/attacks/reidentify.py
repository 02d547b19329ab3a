"""Find a person again: from anonymized images to original ones of other scenes, or between anonymized ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from anonbench.attack.contract import Describe, Matching, Risk, Trial, numbered
from anonbench.attack.subjects import Subjects
from anonbench.errors import AnonbenchError


class Reidentify(Matching):
    """Looks for each anonymized person of the probe split among the original people of the gallery split."""

    title: ClassVar[str] = "find again in original images"
    risk: ClassVar[Risk] = "linkability"
    needs_identities: ClassVar[bool] = True
    needs_gallery: ClassVar[bool] = True

    def people(self, own: Subjects) -> Sequence[object]:
        """Return the identities."""
        return list(own.identities)

    def attempt(self, seen: Subjects, raw: Subjects, gallery: Subjects | None, describe: Describe) -> Trial:
        """Compare everybody who is known with all of the gallery who are known."""
        assert gallery is not None
        seen, gallery = seen.known(), gallery.known()
        if not set(seen.identities) & set(gallery.identities):
            raise AnonbenchError(
                "nobody of the probe split is in the gallery split",
                entry="attack.gallery",
                remedy="name splits that show the same people, with identities",
            )
        probe, found = numbered(seen.identities, gallery.identities)
        allowed = np.ones((len(seen), len(gallery)), dtype=bool)
        scores = describe(seen.crops) @ describe(gallery.crops).T
        return Trial(scores, probe, found, allowed, seen.covered, seen.images)
