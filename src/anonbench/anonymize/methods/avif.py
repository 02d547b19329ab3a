"""AVIF: the intra frames of AV1, by libaom at speed 6."""

from __future__ import annotations

from typing import ClassVar

from anonbench.anonymize.coded import Coded


class Avif(Coded):
    """Codes frames as AVIF, by `anonbench.images.lossy`."""

    format: ClassVar[str] = "avif"
