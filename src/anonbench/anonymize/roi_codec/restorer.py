"""The attacker that a codec is trained against: a small network that brings heads back from what is decoded."""

from __future__ import annotations

import torch
from torch import nn


class Restorer(nn.Module):
    """Images in 0..1 (N, 3, H, W; sides multiples of 4) to images: two halvings, wide enough to see a small head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.near = nn.Sequential(nn.Conv2d(3, c, 3, padding=1), nn.ReLU())
        self.far = nn.Sequential(
            nn.Conv2d(c, 2 * c, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * c, 2 * c, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * c, 2 * c, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * c, 2 * c, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1),
            nn.ReLU(),
        )
        self.last = nn.Conv2d(2 * c, 3, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return what the images were, as far as the network knows."""
        near = self.near(z)
        restored: torch.Tensor = z + self.last(torch.cat([near, self.far(near)], 1))
        return restored
