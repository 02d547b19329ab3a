"""`roi_codec` with the published loss, so that one study can compare both; inverted colours are what it rewards."""

from __future__ import annotations

from typing import Any, ClassVar

from anonbench.anonymize.roi_codec import options
from anonbench.anonymize.roi_codec.method import LearnedCodec


class RoiCodecPublished(LearnedCodec):
    """Encodes and decodes frames; heads are pushed away from what they were (Liebender et al. 2024)."""

    class FitSettings(options.FitSettings):
        """How the codec is fitted: `roi_codec`'s settings with the published loss."""

        own: ClassVar[dict[str, Any]] = {"loss": {"preset": "published"}}
