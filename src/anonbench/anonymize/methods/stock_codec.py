"""A learned codec as any other: mean squared error and bits, no regions. Hides nobody."""

from __future__ import annotations

from typing import Any, ClassVar

from anonbench.anonymize.roi_codec import options
from anonbench.anonymize.roi_codec.method import LearnedCodec


class StockCodec(LearnedCodec):
    """Encodes and decodes frames for their error alone (Balle et al. 2018's factorised prior); a control."""

    anonymizes: ClassVar[bool] = False

    class FitSettings(options.FitSettings):
        """How the codec is fitted: `roi_codec`'s settings without people and heads."""

        own: ClassVar[dict[str, Any]] = {"loss": {"people": 0.0, "heads": 0.0, "restorer": 0.0}}
