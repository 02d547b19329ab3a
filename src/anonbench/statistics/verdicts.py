"""What an interval allows to say."""

from __future__ import annotations

DROP, GAIN, SAME, UNSURE = "drop", "gain", "no practical difference", "cannot tell"
REFERENCE, MISSING = "reference", "not evaluated"


def verdict(
    interval: tuple[float, float], equivalence: tuple[float, float], margin: float, best: str = "higher"
) -> str:
    """Judge a difference of a metric whose ``best`` values are the ``higher`` or the ``lower`` ones.

    ``equivalence`` (90 %) within ± ``margin`` is an equivalence by two one-sided tests at 5 % (Schuirmann 1987), also
    where ``interval`` (95 %) excludes zero: such a difference is there, and too small to matter.
    """
    if -margin < equivalence[0] and equivalence[1] < margin:
        return SAME
    low, high = interval if best == "higher" else (-interval[1], -interval[0])
    if high < 0:
        return DROP
    if low > 0:
        return GAIN
    return UNSURE
