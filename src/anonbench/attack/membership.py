"""Who was among those that something was fitted to, by scores: numbers of a test of membership, on resamples, too."""

from __future__ import annotations

import numpy as np

from anonbench.attack.contract import Statistic


def auc_of(scores: np.ndarray, members: np.ndarray) -> Statistic:
    """Return the chance that a member's score (U,) is above a stranger's, half of ties counted; chance is .5.

    ``members`` bool (U,). Mann and Whitney's (1947) statistic of weighted units; NaN where a draw holds one kind alone.
    """
    curve = _Curve(scores, members)

    def statistic(weights: np.ndarray) -> np.ndarray:
        mine, others = curve.masses(weights)
        before = np.cumsum(others, axis=1) - others
        with np.errstate(invalid="ignore", divide="ignore"):
            # scores fall: whoever comes after a member is below it
            below = others.sum(axis=1, keepdims=True) - before - others / 2
            return np.asarray((mine * below).sum(axis=1) / (mine.sum(axis=1) * others.sum(axis=1)))

    return statistic


def tpr_at(scores: np.ndarray, members: np.ndarray, fpr: float) -> Statistic:
    """Return the share of members who are told where a share ``fpr`` of strangers is taken for one; chance is ``fpr``.

    A few who are remembered show here, and not in the AUC (Carlini et al. 2022, arXiv 2112.03570). The ROC curve is
    linear between the points that thresholds reach. NaN where a draw holds one kind alone.
    """
    curve = _Curve(scores, members)

    def statistic(weights: np.ndarray) -> np.ndarray:
        found = np.full(len(weights), np.nan)
        mine, others = (np.cumsum(part, axis=1) for part in curve.masses(weights))
        for k in np.flatnonzero((mine[:, -1] > 0) & (others[:, -1] > 0)):
            rates = (np.append(0.0, part[k] / part[k, -1]) for part in (others, mine))
            false, true = rates
            last = int(np.searchsorted(false, fpr, "right")) - 1  # the highest point at or left of the rate
            step = min(last + 1, len(false) - 1)
            width = false[step] - false[last]
            share = (fpr - false[last]) / width if width > 0 else 0.0
            found[k] = true[last] + share * (true[step] - true[last])
        return found

    return statistic


class _Curve:
    """Units sorted by score, the highest first, and where equal ones begin."""

    def __init__(self, scores: np.ndarray, members: np.ndarray) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ordered = scores[self.order]
        self.starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        self.members = members[self.order]

    def masses(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of members and of strangers at each score, both (B, scores); ``weights`` (B, U)."""
        drawn = weights[:, self.order]
        mine = np.add.reduceat(drawn * self.members, self.starts, axis=1)
        others = np.add.reduceat(drawn * ~self.members, self.starts, axis=1)
        return mine, others
