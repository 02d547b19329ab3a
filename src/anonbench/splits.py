"""Which split of a data set is counted and shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from anonbench.variants import ORIGINAL


def shown(train: str, val: str, variants: Sequence[str], trained: Collection[str], tested: Collection[str]) -> str:
    """Return the split whose people are counted and shown: ``train``, or ``val`` where no model needs the other.

    ``variants`` are a data set's, ``trained`` those that some model is trained on, ``tested`` those on whose images
    some model is tested. Where one of them has only test images and all have these, ``val`` is what all have in common,
    and of variants that nobody trains on the training split need not be anonymized.
    """
    anonymized = [v for v in variants if v != ORIGINAL]
    spared = [v for v in anonymized if v not in trained]
    return val if spared and all(v in tested for v in anonymized) else train
