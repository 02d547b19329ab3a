"""WebP: the intra frames of VP8."""

from __future__ import annotations

from typing import ClassVar

from anonbench.anonymize.coded import Coded


class WebP(Coded):
    """Codes frames as WebP, by `anonbench.images.lossy`."""

    format: ClassVar[str] = "webp"
