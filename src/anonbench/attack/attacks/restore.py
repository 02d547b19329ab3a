"""Undo what a method did, and link the result to the own original: what reversal brings back of somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from anonbench.attack.attacks.link import Link
from anonbench.attack.contract import Describe, Trial
from anonbench.attack.options import NAIVE, REVERSE
from anonbench.attack.subjects import Subjects


class Restore(Link):
    """Links what a `reverse` attacker has restored; a `naive` one shows what there was to be seen without.

    How alike a restored picture is to the original (SSIM) is noted beside it, as an illustration: a likely face of
    somebody else is as alike, and no attack.
    """

    title: ClassVar[str] = "link the restored picture to the own original"
    by_those_who_know: ClassVar[Sequence[str]] = (NAIVE, REVERSE)

    def attempt(self, seen: Subjects, raw: Subjects | None, gallery: Subjects | None, describe: Describe) -> Trial:
        """Compare everybody with the originals of all, as `Link`; and note likeness."""
        from anonbench.attack.restoration import likeness  # torch takes seconds to import

        assert raw is not None
        return replace(super().attempt(seen, raw, gallery, describe), likeness=likeness(seen.crops, raw.crops))
