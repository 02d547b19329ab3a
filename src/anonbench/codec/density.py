"""The factorised density of latents: one learned distribution for each channel (Balle et al. 2018, arXiv 1802.01436).

The distribution function of appendix 6.1: sigmoid(f_4(f_3(f_2(f_1(x))))), f(x) = g(softplus(H) x + b),
g(x) = x + tanh(a) tanh(x), three numbers wide inside. It rises everywhere, so differences are probabilities.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (1, 3, 3, 3, 1)
SCALE = 10.0
"""How wide the distributions are at first."""
LEAST = 1e-9
"""Likelihoods are not taken to be smaller."""


class Density(nn.Module):
    """Distribution functions of N channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        scale = SCALE ** (1 / (len(WIDTHS) - 1))
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for inside, outside in itertools.pairwise(WIDTHS):
            start = math.log(math.expm1(1 / scale / outside))
            self.matrices.append(nn.Parameter(torch.full((channels, outside, inside), start)))
            self.biases.append(nn.Parameter(torch.rand(channels, outside, 1) - 0.5))
            if outside > 1:
                self.factors.append(nn.Parameter(torch.zeros(channels, outside, 1)))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the distribution functions at ``x`` (C, 1, K), elementwise."""
        for number, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = torch.matmul(F.softplus(matrix), x) + bias
            if number < len(self.factors):
                x = x + torch.tanh(self.factors[number]) * torch.tanh(x)
        return x

    def interval(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """Return the probabilities between ``low`` and ``high`` (each C, 1, K)."""
        below, above = self.logits(low), self.logits(high)
        # the difference is taken on the side of zero where sigmoids are small, and thus exact
        sign = torch.where(below + above > 0, -1.0, 1.0)
        return (torch.sigmoid(sign * above) - torch.sigmoid(sign * below)).abs()

    def forward(self, y: torch.Tensor, step: float = 1.0) -> torch.Tensor:
        """Return the likelihoods of latents (N, C, h, w), each of an interval of ``step`` about it."""
        flat = y.transpose(0, 1).reshape(self.channels, 1, -1)
        found = self.interval(flat - step / 2, flat + step / 2).clamp_min(LEAST)
        return found.reshape(self.channels, y.shape[0], *y.shape[2:]).transpose(0, 1)


def bits(likelihoods: torch.Tensor) -> torch.Tensor:
    """Return the bits that latents take, a scalar."""
    return -torch.log2(likelihoods).sum()
