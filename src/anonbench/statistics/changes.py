"""What lies between two studies: a difference of two independent estimates, and many of them at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from anonbench.statistics.contrasts import LEVEL, effective_freedom, quantile


@dataclass(frozen=True)
class Estimate:
    """A number with its squared standard error and the degrees of freedom of that (inf: known)."""

    value: float
    variance: float
    freedom: float = np.inf


@dataclass(frozen=True)
class Change:
    """The second estimate minus the first, of two that err independently."""

    first: Estimate
    second: Estimate

    @property
    def value(self) -> float:
        """Return the second value minus the first."""
        return self.second.value - self.first.value

    @property
    def error(self) -> float:
        """Return the standard error."""
        return float(np.sqrt(self.first.variance + self.second.variance))

    @property
    def freedom(self) -> float:
        """Return the degrees of freedom of Welch (1947) and Satterthwaite (1946); inf without any error."""
        both = (self.first, self.second)
        return float(effective_freedom(np.array([[e.variance for e in both]]), [e.freedom for e in both])[0])

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the ends of the interval at a level (0..1)."""
        half = quantile(0.5 + level / 2, self.freedom) * self.error
        return self.value - half, self.value + half

    @property
    def probability(self) -> float:
        """Return the two-sided p-value of no change; 1 or 0 where nothing can err."""
        if not self.error:
            return float(self.value == 0)
        ratio = -abs(self.value) / self.error
        tail = special.stdtr(self.freedom, ratio) if np.isfinite(self.freedom) else special.ndtr(ratio)
        return float(2 * tail)


def holm(probabilities: np.ndarray) -> np.ndarray:
    """Return p-values (N) corrected so that the first wrong one of N has a chance below their level (Holm 1979)."""
    order = np.argsort(probabilities, kind="stable")
    stepped = np.maximum.accumulate(probabilities[order] * np.arange(len(order), 0, -1))
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(stepped, 1)
    return corrected
