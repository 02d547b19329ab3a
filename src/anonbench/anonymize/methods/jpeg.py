"""JPEG: what cameras write."""

from __future__ import annotations

from typing import ClassVar

from anonbench.anonymize.coded import Coded


class Jpeg(Coded):
    """Codes frames as JPEG, by `anonbench.images.lossy`."""

    format: ClassVar[str] = "jpeg"
