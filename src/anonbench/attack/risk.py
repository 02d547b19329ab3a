"""What a risk means beside its controls and whom it comes from, and how uncertain it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anonbench.errors import AnonbenchError
from anonbench.statistics.rates import share_of
from anonbench.statistics.resampling import effective


@dataclass(frozen=True)
class Mixture:
    """A risk of two kinds of people: A = kappa * A_covered + (1 - kappa) * A_missed, all 0..1.

    ``kappa`` is the share of probes whose people were anonymized; the risk of a kind that nobody is of is NaN, and
    counts for nothing.
    """

    kappa: float
    covered: float
    missed: float

    @property
    def from_covered(self) -> float:
        """Return what people who were anonymized add to the risk."""
        return self.kappa * self.covered if self.kappa else 0.0

    @property
    def from_missed(self) -> float:
        """Return what people who were left as they are add to the risk."""
        return (1 - self.kappa) * self.missed if self.kappa < 1 else 0.0

    @property
    def risk(self) -> float:
        """Return A."""
        return self.from_covered + self.from_missed

    @property
    def share_missed(self) -> float:
        """Return which share of the risk (0..1) comes from people who were missed; NaN where there is no risk."""
        return self.from_missed / self.risk if self.risk else float("nan")


def mixture(values: np.ndarray, covered: np.ndarray) -> Mixture:
    """Return the mixture of per-probe ``values`` (P) by who was ``covered``, bool (P); NaN values are left out.

    Raises AnonbenchError where no value is left or the shapes differ.
    """
    known = ~np.isnan(values)
    if covered.shape != values.shape or covered.dtype != bool or not known.any():
        raise AnonbenchError(
            f"is {covered.dtype} of shape {covered.shape} for {int(known.sum())} values of shape {values.shape}",
            entry="covered",
            remedy="give one true or false per probe, and a probe with a value",
        )
    parts = (values[known & covered], values[known & ~covered])
    means = [float(part.mean()) if len(part) else float("nan") for part in parts]
    return Mixture(len(parts[0]) / int(known.sum()), *means)


def identity_replicates(
    values: np.ndarray, probe: ArrayLike, weights: np.ndarray, identities: ArrayLike | None = None
) -> np.ndarray:
    """Return means over probes when whole identities are drawn with replacement, float64 (..., B).

    ``values`` (..., P), such as (seeds, P), NaN where a probe has none; ``probe`` (P) identities; ``weights`` (B, I),
    how often each identity is drawn (`statistics.resampling.group_weights`), its columns the sorted ``identities`` (I),
    by default those of the probes. Give those of probes and gallery where measures of the whole ROC curve, which need
    both, are to share the draws. All of a person's probes are drawn with them. NaN where a draw has no value. Raises
    AnonbenchError for weights of another number of identities, and for a probe of none of them.
    """
    people = np.asarray(probe)
    known = np.unique(people) if identities is None else np.asarray(identities)
    columns = np.minimum(np.searchsorted(known, people), len(known) - 1)
    if weights.ndim != 2 or weights.shape[1] != len(known) or (known[columns] != people).any():
        raise AnonbenchError(
            f"have the shape {weights.shape} for {len(known)} identities",
            entry="weights",
            remedy="give one column per identity, sorted, and every probe's among them",
        )
    drawn = weights.T[columns].astype(np.float64)
    there = ~np.isnan(values)
    return share_of(np.where(there, values, 0.0) @ drawn, there @ drawn)


def identities_that_tell(values: np.ndarray, probe: ArrayLike) -> float:
    """Return how many identities tell of per-probe ``values`` (P): Kish's effective number (`resampling.effective`).

    It is what a `Panel` takes for ``groups``.
    """
    _, people = np.unique(np.asarray(probe), return_inverse=True)
    return effective(np.bincount(people, weights=~np.isnan(values)))
