"""`roi_codec` without its term of heads: what the same networks do that are asked for people alone. Hides nobody."""

from __future__ import annotations

from typing import Any, ClassVar

from anonbench.anonymize.roi_codec import options
from anonbench.anonymize.roi_codec.method import LearnedCodec


class RoiCodecPeople(LearnedCodec):
    """Encodes and decodes frames, people better than the rest; a control."""

    anonymizes: ClassVar[bool] = False

    class FitSettings(options.FitSettings):
        """How the codec is fitted: `roi_codec`'s settings without heads."""

        own: ClassVar[dict[str, Any]] = {"loss": {"heads": 0.0, "restorer": 0.0}}
