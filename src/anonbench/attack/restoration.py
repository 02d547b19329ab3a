"""Undoing what a method did to a crop: a U-Net that learns from people of the attacker's own what they looked like."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from anonbench.attack.learning import Attacker, moved, tensor_of
from anonbench.attack.options import AttackerConfig, RestorerConfig
from anonbench.seeding import generator

BLOCK = 2
"""Pixels along a side of what a U-Net sees as one."""
CHUNK = 256
"""Crops in one go when nothing is trained."""
WINDOW, DEVIATION = 11, 1.5
"""Pixels along a side of SSIM's window, and its standard deviation (Wang et al. 2004)."""


def _block(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015, arXiv 1505.04597) that says what has to be added to a crop.

    It works on blocks of 2x2 pixels (space to depth, Shi et al. 2016, arXiv 1609.05158), a quarter of the work.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        """Build it with random weights; ``widths`` are the channels by level, the finest first."""
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise((3 * BLOCK**2, *widths)))
        pairs = list(pairwise(widths))
        self.up = nn.ModuleList(_block(fine + coarse, fine) for fine, coarse in reversed(pairs))
        self.last = nn.Conv2d(widths[0], 3 * BLOCK**2, 1)
        nn.init.zeros_(self.last.weight)  # it starts with the crop as it is
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return restored crops, float (N, 3, height, width), about 0..1, of crops uint8 of that shape."""
        height, width = crops.shape[2:]
        whole = BLOCK * 2 ** (len(self.down) - 1)
        beyond = (0, -width % whole, 0, -height % whole)
        seen = functional.pad(crops.float() / 255, beyond, mode="replicate")
        levels = [self.down[0](functional.pixel_unshuffle(seen * 2 - 1, BLOCK))]
        for block in list(self.down)[1:]:
            levels.append(block(functional.max_pool2d(levels[-1], 2)))
        found = levels.pop()
        for block in self.up:
            found = block(torch.cat([levels.pop(), _doubled(found)], 1))
        restored: torch.Tensor = (seen + functional.pixel_shuffle(self.last(found), BLOCK))[:, :, :height, :width]
        return restored


def _doubled(maps: torch.Tensor) -> torch.Tensor:
    """Return maps of twice the width and height, each number four times; its gradient is a plain sum."""
    count, channels, height, width = maps.shape
    repeated = maps[:, :, :, None, :, None].expand(count, channels, height, 2, width, 2)
    return repeated.reshape(count, channels, 2 * height, 2 * width)


def ssim(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return structural similarity (Wang et al. 2004), float (N,), of pictures 0..1 (N, 3, height, width).

    The mean over colours and over all places of a Gaussian window of 11x11 pixels that fits into the picture, which
    must be as large as that. 1 is equality.
    """
    taps = torch.arange(WINDOW, dtype=torch.float32, device=one.device) - (WINDOW - 1) / 2
    weights = torch.exp(-0.5 * (taps / DEVIATION) ** 2)
    weights = weights / weights.sum()
    channels = one.shape[1]
    down = weights.reshape(1, 1, WINDOW, 1).expand(channels, 1, WINDOW, 1)
    across = down.transpose(2, 3)

    def mean(x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(functional.conv2d(x, down, groups=channels), across, groups=channels)

    a, b = mean(one), mean(other)
    variances = mean(one * one) - a * a + mean(other * other) - b * b
    covariance = mean(one * other) - a * b
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * a * b + c1) * (2 * covariance + c2) / ((a * a + b * b + c1) * (variances + c2))
    return alike.mean((1, 2, 3))


def likeness(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the SSIM of crops, float32 (N,), of crops uint8 (N, height, width, 3)."""
    pairs = zip(tensor_of(one).split(CHUNK), tensor_of(other).split(CHUNK), strict=True)
    return torch.cat([ssim(a.float() / 255, b.float() / 255) for a, b in pairs]).numpy()


Batch = tuple[torch.Tensor, torch.Tensor]
"""Crops as the method leaves them, and the same as they were."""


class Restoration(Attacker[Batch]):
    """Learns what changed crops looked like: (1 - s) L1 + s (1 - SSIM), as in Zhao et al. 2016 (arXiv 1511.08861)."""

    name = "restorer"
    entry, batch_entry = "attack.attackers restorer", "attack.attackers restorer.batch_size"
    what, fewest = "crops", 1

    def __init__(
        self, network: UNet, seen: np.ndarray, raw: np.ndarray, config: AttackerConfig, seed: int, device: torch.device
    ) -> None:
        """Prepare the training on crops uint8 (N, height, width, 3), changed ones and the same as they were."""
        assert config.restores is not None
        self.how: RestorerConfig = config.restores
        super().__init__(network, config, seed, device, self.how.iterations, self.how.learning_rate)
        self.seen, self.raw = tensor_of(seen), tensor_of(raw)

    def batches(self, first: int) -> Generator[Batch, None, None]:
        for iteration in range(first, self.iterations):
            random = generator("restorer", self.seed, iteration)
            rows = torch.from_numpy(random.permutation(len(self.seen))[: self.how.batch_size])
            seen, raw = moved(self.config, random, self.seen[rows], self.raw[rows])
            yield seen, raw

    def step(self, batch: Batch, iteration: int) -> dict[str, float]:
        seen, raw = (part.to(self.device) for part in batch)
        restored, truth = self.network(seen), raw.float() / 255
        terms = {"l1": (restored - truth).abs().mean(), "ssim": 1 - ssim(restored, truth).mean()}
        return self.descend((1 - self.how.ssim) * terms["l1"] + self.how.ssim * terms["ssim"], terms, iteration)

    def size(self, batch: Batch) -> int:
        return len(batch[0])


@torch.no_grad()
def restore(network: UNet, crops: np.ndarray, device: torch.device) -> np.ndarray:
    """Return crops (uint8 (N, height, width, 3)) as the network restores them; raise ValueError where it fails."""
    network.eval()
    found = [network(part.to(device)) for part in tensor_of(crops).split(CHUNK)]
    if not all(torch.isfinite(part).all() for part in found):
        raise ValueError("restores pictures to numbers that are not finite")
    found = [part.clamp(0, 1) * 255 for part in found]
    pixels = torch.cat(found).round().to(torch.uint8).cpu().numpy()
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
