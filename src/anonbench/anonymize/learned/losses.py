"""The losses of learned anonymizers; docs/learned.md has the formulas and their sources."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.1
"""Of NT-Xent, as SPAct and TeD-SPAD have it."""
MARGIN = 1.0
"""Of the triplet loss, as TeD-SPAD has it."""
UNKNOWN = -1
"""Label of somebody of whom an attribute is not known."""
_LEAST = 1e-12


def rms(x: Tensor, y: Tensor) -> Tensor:
    """Return the root mean square difference (N,) of pictures (N, C, H, W), in their units.

    Where it is zero its gradient is taken to be zero, too: that of the root is infinite.
    """
    return (x - y).square().flatten(1).mean(1).clamp_min(_LEAST).sqrt()


def penalty(x: Tensor, y: Tensor, budget: float) -> Tensor:
    """Return max(0, RMS(x, y) - B), the mean over pictures (N, C, H, W): what a change beyond the budget costs."""
    return functional.relu(rms(x, y) - budget).mean()


def nt_xent(one: Tensor, other: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return the contrastive loss of two views (N, D each), row by row of the same still: SimCLR's (Chen et al. 2020).

    Each of the 2N views is to find its other one among the 2N - 1 others, by the cosine over the temperature.
    """
    views = torch.cat([one, other]).float()
    likeness = functional.cosine_similarity(views[:, None], views, dim=2) / temperature
    likeness = likeness.masked_fill(torch.eye(len(views), dtype=torch.bool, device=views.device), -math.inf)
    count = len(one)
    places = torch.arange(2 * count, device=views.device)
    return functional.cross_entropy(likeness, (places + count) % (2 * count))


def triplet(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Return max(0, |a - p| - |a - n| + margin), the mean over features (N, D): TeD-SPAD's temporal distinctiveness.

    The anchor and the positive are the same stretch of a video, cropped in two ways; the negative is another stretch.
    """
    return functional.triplet_margin_loss(anchor.float(), positive.float(), negative.float(), margin=MARGIN)


def guessing(guesses: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Return the cross-entropy of guessed attributes: the mean over attributes, of each over those who are known.

    ``guesses`` are logits (N, values) of each attribute, ``labels`` int64 (N, attributes), `UNKNOWN` where nobody says.
    """
    losses = []
    for place, logits in enumerate(guesses):
        known = labels[:, place] != UNKNOWN
        if bool(known.any()):
            losses.append(functional.cross_entropy(logits[known].float(), labels[known, place]))
    return torch.stack(losses).mean() if losses else torch.stack([one.float().sum() for one in guesses]).sum() * 0


def certainty(guesses: Sequence[Tensor]) -> Tensor:
    """Return the negative entropy of guesses (N, values each) as a share of the largest: -1 (knows nothing) to 0.

    The mean over attributes and people: the term of Wu et al. (2018), of each attribute in units of log(values).
    """
    shares = []
    for logits in guesses:
        chances = functional.log_softmax(logits.float(), dim=1)
        shares.append((chances.exp() * chances).sum(1).mean() / math.log(logits.shape[1]))
    return torch.stack(shares).mean()


def strongest(terms: Sequence[Tensor]) -> Tensor:
    """Return the largest of the terms (scalars) of an ensemble: that of the attacker who does best."""
    return torch.stack(list(terms)).max()
