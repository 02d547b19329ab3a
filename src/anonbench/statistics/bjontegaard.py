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
    curves = _curves(anchor, other, fewest)
    ends = _common(curves)
    if curves is None or ends is None:
        return None
    means = [float(PchipInterpolator(x, y).integrate(*ends)) / (ends[1] - ends[0]) for x, y in curves]
    return 100 * float(np.expm1(means[1] - means[0]))


def common(
    anchor: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]], fewest: int = FEWEST
) -> tuple[float, float] | None:
    """Return the ends of the qualities that both curves have, over which `bd_rate` averages; None where it says None.

    Of curves at the same rates they may be few: then the difference is that of one's upper end to the other's lower.
    """
    return _common(_curves(anchor, other, fewest))


Curve = tuple[np.ndarray, np.ndarray]


def _curves(
    anchor: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]], fewest: int
) -> tuple[Curve, Curve] | None:
    one, two = _curve(anchor, fewest), _curve(other, fewest)
    return None if one is None or two is None else (one, two)


def _common(curves: tuple[Curve, Curve] | None) -> tuple[float, float] | None:
    if curves is None:
        return None
    (qualities, _), (others, _) = curves
    low, high = float(max(qualities[0], others[0])), float(min(qualities[-1], others[-1]))
    return (low, high) if low < high else None


def _curve(points: Sequence[tuple[float, float]], fewest: int) -> Curve | None:
    """Return qualities and logarithms of rates in growing order; None for what is no curve."""
    ordered = np.array(sorted(points), dtype=np.float64).reshape(-1, 2)
    if len(ordered) < max(fewest, 2) or not np.isfinite(ordered).all() or ordered[0, 0] <= 0:
        return None
    rates, qualities = ordered.T
    if (np.diff(qualities) <= 0).any() or (np.diff(rates) <= 0).any():
        return None
    return qualities, np.log(rates)
