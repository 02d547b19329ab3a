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

    A few who are remembered show here, and not in the AUC (Carlini et al. 2022, arXiv 2112.03570). Of n strangers the
    j-th highest stands at a share of j / (n + 1), which scores that know nothing exceed with that very chance, and the
    curve is linear between strangers: read off the steps of the empirical curve, chance would be (k + 1) / (n + 1) with
    k = floor(n * fpr), twice as much where n is 1 / fpr. Equal scores are ordered at random, of which it is the mean.
    NaN where a draw holds one kind alone.
    """
    curve = _Curve(scores, members)

    def statistic(weights: np.ndarray) -> np.ndarray:
        found = np.full(len(weights), np.nan)
        mine, others = curve.masses(weights)
        for k in np.flatnonzero((mine.sum(axis=1) > 0) & (others.sum(axis=1) > 0)):
            there = others[k] > 0
            told, before = np.cumsum(mine[k])[there] - mine[k][there], np.cumsum(others[k])[there] - others[k][there]
            tied, as_high = others[k][there], mine[k][there]
            # of strangers of one score the first and the last, among the members of that score in random order
            ranks = np.stack([before + 1, before + tied], axis=1).ravel()
            above = np.stack([told + as_high / (tied + 1), told + as_high * tied / (tied + 1)], axis=1).ravel()
            total, members = others[k].sum(), mine[k].sum()
            ranks, above = np.append(np.append(0.0, ranks), total + 1), np.append(np.append(0.0, above), members)
            found[k] = np.interp(fpr * (total + 1), ranks, above) / members
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
