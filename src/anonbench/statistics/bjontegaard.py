"""How much more a codec takes for the same picture: the Bjøntegaard difference of two rate curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

FEWEST = 4
"""Points of a curve."""


def bd_rate(
    anchor: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]], fewest: int = FEWEST
) -> float | None:
    """Return by how many per cent ``other`` takes more than ``anchor`` for the same quality; below 0 it takes less.

    Points are (rate, quality), such as bits per pixel and decibels, in any order; rates are above 0. The logarithm of
    the rate is interpolated over the quality by piecewise cubic polynomials that keep its order (Fritsch and Carlson
    1980), and averaged over the qualities that both curves have: Bjøntegaard, VCEG-M33 (2001), with the interpolation
    of the common test conditions of HEVC (JCTVC-L1100), since one cubic through all points overshoots.

    None where nothing can be said: fewer than ``fewest`` points, a curve on which more bits do not give more quality,
    or no common quality.
    """
    curves = [_curve(points, fewest) for points in (anchor, other)]
    if curves[0] is None or curves[1] is None:
        return None
    (qualities, rates), (others, other_rates) = curves[0], curves[1]
    low, high = max(qualities[0], others[0]), min(qualities[-1], others[-1])
    if low >= high:
        return None
    means = [
        float(PchipInterpolator(x, y).integrate(low, high)) / (high - low)
        for x, y in ((qualities, rates), (others, other_rates))
    ]
    return 100 * float(np.expm1(means[1] - means[0]))


def _curve(points: Sequence[tuple[float, float]], fewest: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return qualities and logarithms of rates in growing order; None for what is no curve."""
    ordered = np.array(sorted(points), dtype=np.float64).reshape(-1, 2)
    if len(ordered) < max(fewest, 2) or not np.isfinite(ordered).all() or ordered[0, 0] <= 0:
        return None
    rates, qualities = ordered.T
    if (np.diff(qualities) <= 0).any() or (np.diff(rates) <= 0).any():
        return None
    return qualities, np.log(rates)
