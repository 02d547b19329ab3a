"""The transforms of a learned codec: 5x5 convolutions of stride 2 with simplified GDN, and their mirror image.

Layers as in Liebender et al. 2024 (arXiv 2406.05726): N channels, M hidden layers, 2^(M + 2) pixels along a latent, a
sigmoid at the end. GDN is the simplified one of Johnston et al. 2019 (arXiv 1912.08771): x / (beta + gamma |x|), and
its inverse multiplies; both parameters are kept from falling below zero as in Balle 2018 (arXiv 1802.00847).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from anonbench.codec.density import Density

PEDESTAL = 2.0**-36
"""What is added below a root, so that its gradient stays finite (Balle 2018)."""
BETA_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Architecture:
    """``channels`` of every layer and of the latents, ``hidden`` layers, ``noise`` of the channel, ``gain`` of latents.

    The gain multiplies what the analysis gives and divides what the synthesis gets. It changes no codec that can be
    reached, but a large one lets a short training begin with latents that stand out of their rounding.
    The noise (in latents' own units, before they are rounded) is part of the codec: what is fainter than it is lost for
    whoever has the stream, unless they know the seed that it was drawn by and draw it again.
    """

    channels: int
    hidden: int
    noise: float = 0.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        if not (1 <= self.channels <= 4096 and 0 <= self.hidden <= 6 and 0 <= self.noise <= 100):
            raise ValueError(f"{self.channels} channels, {self.hidden} hidden layers, noise {self.noise}")
        if not 1e-3 <= self.gain <= 1e3:
            raise ValueError(f"a gain of {self.gain}")

    @property
    def stride(self) -> int:
        """Pixels along one latent."""
        return 2 ** (self.hidden + 2)

    def latents(self, width: int, height: int) -> tuple[int, int, int]:
        """Return channels, rows and columns of the latents of an image."""
        return self.channels, -(-height // self.stride), -(-width // self.stride)


class LowerBound(torch.autograd.Function):
    """max(x, bound), whose gradient also passes where it moves x towards the bound (Balle 2018)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, bound: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        (x,) = ctx.saved_tensors
        return gradient * ((x >= ctx.bound) | (gradient < 0)), None


class Gdn(nn.Module):
    """Simplified generalised divisive normalisation of N channels, or with ``inverse`` its inverse."""

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(self._root(torch.ones(channels)))
        self.gamma = nn.Parameter(self._root(0.1 * torch.eye(channels)))

    @staticmethod
    def _root(value: torch.Tensor) -> torch.Tensor:
        return (value + PEDESTAL).clamp_min(PEDESTAL) ** 0.5

    @staticmethod
    def _square(root: torch.Tensor, least: float) -> torch.Tensor:
        bounded: torch.Tensor = LowerBound.apply(root, (least + PEDESTAL) ** 0.5)
        return bounded * bounded - PEDESTAL

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, H, W)."""
        gamma = self._square(self.gamma, 0.0)[:, :, None, None]
        norm = F.conv2d(x.abs(), gamma, self._square(self.beta, BETA_LEAST))
        return x * norm if self.inverse else x / norm


class Codec(nn.Module):
    """Analysis, density of the latents, synthesis."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        n, m = architecture.channels, architecture.hidden
        down: list[nn.Module] = [_conv(3, n)]
        up: list[nn.Module] = []
        for _ in range(m + 1):
            down += [Gdn(n), _conv(n, n)]
            up += [_deconv(n, n), Gdn(n, inverse=True)]
        self.analysis = nn.Sequential(*down)
        self.synthesis = nn.Sequential(*up, _deconv(n, 3), nn.Sigmoid())
        self.density = Density(n)

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply the weights of all convolutions but the last layer's."""
        for layer in [*self.analysis, *self.synthesis][:-2]:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.weight *= factor

    def latents(self, x: torch.Tensor) -> torch.Tensor:
        """Return the latents of images ((N, 3, H, W) in 0..1, sides multiples of the stride) before their rounding."""
        return self.analysis(x).float() * self.architecture.gain

    def images(self, y: torch.Tensor) -> torch.Tensor:
        """Return the images of latents, in 0..1."""
        decoded: torch.Tensor = self.synthesis(y / self.architecture.gain)
        return decoded.float()

    def forward(
        self, x: torch.Tensor, noise: torch.Tensor, step: float = 1.0, channel: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return decoded images and likelihoods of latents as training sees them.

        ``x`` is (N, 3, H, W) in 0..1 with sides that are multiples of the stride; ``noise`` (like the latents, in
        -0.5..0.5) stands for the rounding (Balle et al. 2017, arXiv 1611.01704), ``channel`` (standard normal) for the
        noise channel. Likelihoods are those of intervals of ``step``.
        """
        y = self.latents(x)
        if channel is not None:
            y = y + self.architecture.noise * channel
        y = y + step * noise
        with torch.autocast(y.device.type, enabled=False):  # eight bits are too few for likelihoods
            likelihoods = self.density(y, step)
        return self.images(y), likelihoods


def padded(x: torch.Tensor, stride: int) -> torch.Tensor:
    """Return images (N, C, H, W) with their last row and column repeated up to multiples of the stride."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")


def multiplications(architecture: Architecture, width: int, height: int) -> dict[str, int]:
    """Return the multiply-accumulate operations of ``encode`` and ``decode`` of an image, GDN included."""
    n, total = architecture.channels, {"encode": 0, "decode": 0}
    _, rows, columns = architecture.latents(width, height)
    for level in range(architecture.hidden + 2):  # from the latents outwards; GDN follows all but the first
        positions = rows * columns * 4**level
        colours = 3 if level == architecture.hidden + 1 else n
        total["encode"] += positions * (25 * n * colours + (n * n if level else 0))
        total["decode"] += positions * (25 * n * colours + (4 * n * n if colours == n else 0))
    return total


def _conv(inside: int, outside: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 5, stride=2, padding=2)


def _deconv(inside: int, outside: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inside, outside, 5, stride=2, padding=2, output_padding=1)
