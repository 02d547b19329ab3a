"""What an interval allows to say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonbench.statistics.verdicts import DROP, GAIN, SAME, UNSURE, verdict

NUMBERS, MARGINS = st.floats(-100, 100, allow_nan=False), st.floats(0.1, 5)
HALVES, SHARES = st.floats(0, 50), st.floats(0, 1)


@given(NUMBERS, HALVES, SHARES, MARGINS)
def test_a_verdict_says_what_the_intervals_allow(value: float, half: float, share: float, margin: float) -> None:
    interval, inner = (value - half, value + half), (value - share * half, value + share * half)
    said = verdict(interval, inner, margin)
    assert (said == SAME) == (-margin < inner[0] and inner[1] < margin)
    if said == DROP:
        assert interval[1] < 0
    if said == GAIN:
        assert interval[0] > 0
    if said == UNSURE:
        assert interval[0] <= 0 <= interval[1]
    turned = verdict((-interval[1], -interval[0]), (-inner[1], -inner[0]), margin)
    assert turned == {DROP: GAIN, GAIN: DROP}.get(said, said)
    assert verdict(interval, inner, margin, best="lower") == {DROP: GAIN, GAIN: DROP}.get(said, said)


@pytest.mark.parametrize(
    ("interval", "inner", "said"),
    [
        ((-0.9, 0.4), (-0.8, 0.3), SAME),
        ((-1.1, 0.4), (-0.9, 0.2), SAME),
        ((-0.9, -0.1), (-0.8, -0.2), SAME),
        ((-1.3, -0.1), (-1.2, -0.2), DROP),
        ((-1.3, 0.1), (-1.2, 0.0), UNSURE),
        ((0.2, 1.4), (0.3, 1.3), GAIN),
        ((-43, -39), (-42, -40), DROP),
    ],
)
def test_verdicts_by_hand(interval: tuple[float, float], inner: tuple[float, float], said: str) -> None:
    assert verdict(interval, inner, 1.0) == said
