"""The difference of two rate curves: closed forms, what another program says, and curves that are none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonbench.statistics.bjontegaard import bd_rate, common

ANCHOR = [(9487.76, 40.037), (4593.60, 38.615), (2486.44, 36.845), (1358.24, 34.851)]
OTHER = [(9787.80, 40.121), (4469.00, 38.651), (2451.52, 36.970), (1356.24, 34.987)]
"""Rates and PSNR of the example of https://github.com/FAU-LMS/bjontegaard."""
EXPECTED = -4.417485350589045
"""Its answer by piecewise cubic interpolation (version 1.3.0 and its default)."""


def test_the_example_of_a_published_program() -> None:
    assert bd_rate(ANCHOR, OTHER) == pytest.approx(EXPECTED, abs=1e-3)


@given(st.floats(0.1, 10))
def test_the_same_curve_at_so_many_times_the_rate(factor: float) -> None:
    scaled = [(factor * rate, quality) for rate, quality in ANCHOR]
    assert bd_rate(ANCHOR, scaled) == pytest.approx(100 * (factor - 1), rel=1e-6, abs=1e-6)


def test_straight_lines_differ_by_what_lies_between_them() -> None:
    """log rate = quality / 6 and quality / 6 + quality / 100: over 20..50 dB the mean difference is that at 35 dB."""
    qualities = (20.0, 30.0, 40.0, 50.0)
    one = [(math.exp(q / 6), q) for q in qualities]
    other = [(math.exp(q / 6 + q / 100), q) for q in qualities]
    assert bd_rate(one, other) == pytest.approx(100 * math.expm1(35 / 100))
    assert bd_rate(other, one) == pytest.approx(100 * math.expm1(-35 / 100))


def test_only_what_both_reach_is_compared() -> None:
    low = [(math.exp(q / 6), q) for q in (20.0, 25.0, 30.0, 35.0)]
    high = [(2 * math.exp(q / 6), q) for q in (30.0, 35.0, 40.0, 45.0)]
    assert bd_rate(low, high) == pytest.approx(100)
    assert common(low, high) == common(high, low) == (30, 35)
    beyond = [(rate, quality + 50) for rate, quality in high]
    assert bd_rate(low, beyond) is common(low, beyond) is None


@pytest.mark.parametrize(
    "curve",
    [
        ANCHOR[:3],
        [],
        [*ANCHOR[:3], (1358.24, 39.0)],
        [*ANCHOR[:3], (0.0, 34.0)],
        [*ANCHOR[:3], (float("nan"), 34.0)],
        [*ANCHOR, (4593.60, 38.0)],
    ],
    ids=["three points", "none", "more bits, less quality", "no bits", "not a number", "a rate twice"],
)
def test_what_is_no_curve_has_no_difference(curve: list[tuple[float, float]]) -> None:
    assert bd_rate(ANCHOR, curve) is common(ANCHOR, curve) is None
    assert bd_rate(curve, ANCHOR) is common(curve, ANCHOR) is None
