"""A learned codec that hides heads and keeps people while it compresses (Liebender et al. 2024, arXiv 2406.05726).

No detector runs where it is used: what is a head the encoder has learned. See `anonbench.anonymize.roi_codec`.
"""

from __future__ import annotations

from anonbench.anonymize.roi_codec.method import LearnedCodec


class RoiCodec(LearnedCodec):
    """Encodes and decodes frames so that heads are hidden; `fit.loss` says how."""
