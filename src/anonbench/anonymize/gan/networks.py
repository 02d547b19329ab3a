"""The networks: generator, style mapping, encoder of latents, discriminator. All pixels are float32 RGB in -1..1.

Sources. Generator: an in-painting U-Net (Ronneberger et al. 2015) with styles, as DeepPrivacy2's (Hukkelas and
Lindseth 2023); modulated convolutions, equalised learning rate and mapping network are StyleGAN2's (Karras et al.
2020). The latent of a real person comes from an encoder, as in BicycleGAN (Zhu et al. 2017): the style space then holds
what the mask, the limbs and the surroundings do not tell (colours, clothes, light), and a few minutes suffice to
learn it. Discriminator: conditional on mask and limbs, a decision per patch (Isola et al. 2017), with the minibatch
deviation of Karras et al. 2018. Space to depth as the first step (Shi et al. 2016) is what a CPU needs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from anonbench.learning.resizing import bilinear

SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""What keeps the variance through a leaky rectifier; put into the weights, which spares a pass over the activations."""
FINE = 12
"""Channels at full resolution, at least."""
CHOICE, NEARNESS = 2.0, 4.0
"""How decidedly a pixel takes one colour of the palette, and its own territory's."""
SHADE = 0.5
"""Weight of what is added to the palette's colours: folds, light, patterns."""
GRID = (6, 3)
"""Rows and columns that the encoder looks at one by one: what is at the top of a person is not what is below."""
NARROW = -3.0
"""Logarithm of the latents' variance at the start: a wide one would teach the generator to ignore them."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What must agree for weights to fit: ``lines`` and ``territories`` are numbers of maps (see `conditions`).

    ``palette`` are colours that a style has beside one for each territory.
    """

    kind: str
    width: int
    height: int
    lines: int
    territories: int
    palette: int
    stem: int
    channels: tuple[int, ...]
    latent_channels: int
    style_channels: int


def activate(x: torch.Tensor) -> torch.Tensor:
    """Return the leaky rectifier of x, which layers before it make up for (`GAIN`); x may be overwritten."""
    return F.leaky_relu(x, SLOPE, inplace=True)


class Linear(nn.Module):
    """A fully connected layer with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale = GAIN / math.sqrt(inputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


class Conv(nn.Module):
    """A convolution with equalised learning rate; an odd ``kernel``, padded to keep the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = GAIN / math.sqrt(inputs * kernel**2)
        self.stride, self.padding = stride, kernel // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


class StyledConv(nn.Module):
    """StyleGAN2's modulated and demodulated 3x3 convolution, with the scales on the activations, not the weights."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = Conv(inputs, outputs)
        self.style = Linear(style, inputs, bias=1.0)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        scales = self.style(w)
        weight = self.conv.weight * self.conv.scale
        norm = GAIN * torch.rsqrt((scales.square() @ weight.square().sum(dim=(2, 3)).T) + 1e-8)
        x = F.conv2d(x * scales[:, :, None, None], weight, None, 1, 1)
        return torch.addcmul(self.conv.bias[:, None, None], x, norm[:, :, None, None])


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = Conv(inputs, outputs), Conv(outputs, outputs)
        self.skip = Conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (activate(self.second(activate(self.first(x)))) + self.skip(x)) / math.sqrt(2)


class StyledBlock(nn.Module):
    """A residual block of two modulated convolutions."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.first, self.second = StyledConv(inputs, outputs, style), StyledConv(outputs, outputs, style)
        self.skip = Conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return (activate(self.second(activate(self.first(x, w)), w)) + self.skip(x)) / math.sqrt(2)


class Territories(nn.Module):
    """Adds to each territory what the style says of it, as SEAN (Zhu et al. 2020) does with semantic regions."""

    def __init__(self, territories: int, channels: int, style: int) -> None:
        super().__init__()
        self.shape = (territories, channels)
        self.says = Linear(style, territories * channels)

    def forward(self, x: torch.Tensor, maps: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        said = self.says(w).view(-1, *self.shape)
        return x + torch.einsum("nlhw,nlc->nchw", maps, said)


class Generator(nn.Module):
    """Fills the masked part of a crop.

    Clothes have few colours. So a style names them, one for each territory and some that are free, each pixel chooses
    among them, as those of slot attention's decoder do (Locatello et al. 2020), and shade is added.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.stem, self.lines, levels = a.stem, a.lines, list(a.channels)
        self.mapping = nn.ModuleList(
            [Linear(a.latent_channels, a.style_channels), Linear(a.style_channels, a.style_channels)]
        )
        self.enter = Conv(5 * a.stem**2 + a.lines, levels[0])
        self.down = nn.ModuleList(Conv(above, below, 3, stride=2) for above, below in itertools.pairwise(levels))
        self.encode = nn.ModuleList(Block(n, n) for n in levels[1:])
        self.middle = StyledBlock(levels[-1], levels[-1], a.style_channels)
        self.up = nn.ModuleList(Conv(below, above, 1) for above, below in itertools.pairwise(levels))
        self.decode = nn.ModuleList(StyledBlock(n, n, a.style_channels) for n in levels[:-1])
        self.dress = nn.ModuleList(Territories(a.territories, n, a.style_channels) for n in levels[:-1])
        fine = max(FINE, levels[0] // 4)
        self.colours = a.territories + a.palette
        self.leave, self.detail = Conv(levels[0], self.colours + fine, 1), Conv(5, fine)
        self.sharpen, self.shade = StyledConv(fine, fine, a.style_channels), Conv(fine, 3)
        self.choose, self.palette = Conv(fine, self.colours, 1), Linear(a.style_channels, 3 * self.colours)

    def style(self, z: torch.Tensor) -> torch.Tensor:
        """Return the styles w of latents z, (N, style_channels)."""
        for layer in self.mapping:
            z = activate(layer(z))
        return z

    def forward(self, visible: torch.Tensor, mask: torch.Tensor, maps: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Return (N, 3, H, W), not clamped.

        ``visible``: (N, 3, H, W), 0 under the mask; ``mask``: (N, 1, H, W), 1 where people are filled in;
        ``maps``: (N, lines + territories, H / stem, W / stem) of 0..1; ``w``: (N, style_channels).
        """
        lines, territories = maps[:, : self.lines], maps[:, self.lines :]
        visible = visible * (1 - mask)
        seen = torch.cat([visible, mask, torch.ones_like(mask)], 1)
        x = torch.cat([F.pixel_unshuffle(seen, self.stem), lines], 1)
        x = activate(self.enter(x))
        skips = [x]
        for down, block in zip(self.down, self.encode, strict=True):
            x = block(activate(down(x)))
            skips.append(x)
        x = self.middle(x, w)
        for index in reversed(range(len(self.decode))):
            x = bilinear(self.up[index](x), (skips[index].shape[2], skips[index].shape[3]))
            where = F.adaptive_avg_pool2d(territories, (skips[index].shape[2], skips[index].shape[3]))
            x = self.decode[index](self.dress[index]((x + skips[index]) / math.sqrt(2), where, w), w)
        x = self.leave(x)
        near = F.pad(NEARNESS * territories, (0, 0, 0, 0, 0, x.shape[1] - territories.shape[1]))
        x = bilinear(x + near, (seen.shape[2], seen.shape[3]))
        choice, x = x[:, : self.colours], x[:, self.colours :]
        x = activate(self.sharpen(activate((x + self.detail(seen)) / math.sqrt(2)), w))
        choice = (CHOICE * self.choose(x) + choice).permute(0, 2, 3, 1).flatten(1, 2).softmax(2)
        painted = (choice @ self.palette(w).view(-1, self.colours, 3)).unflatten(1, seen.shape[2:])
        return painted.permute(0, 3, 1, 2) + SHADE * self.shade(x)


class Encoder(nn.Module):
    """Says which latent a real person has; used in training only.

    It looks at the whole and at the mean colour of each territory (SEAN's region-wise average pooling).
    """

    def __init__(self, a: Architecture, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem, self.lines = a.stem, a.lines
        self.enter = Conv(4 * a.stem**2 + a.lines, channels[0])
        self.down = nn.ModuleList(Conv(above, below, 3, stride=2) for above, below in itertools.pairwise(channels))
        self.whole = Linear(channels[-1] * math.prod(GRID), 2 * a.latent_channels)
        self.colours = Linear(4 * a.territories, a.style_channels)
        self.mixed = Linear(a.style_channels, 2 * a.latent_channels)
        self.straight = Linear(4 * a.territories, a.latent_channels)

    def forward(
        self, pixels: torch.Tensor, mask: torch.Tensor, maps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and logarithm of the variance of the latents, (N, latent_channels) each."""
        person = torch.cat([pixels * mask, mask], 1)
        x = activate(self.enter(torch.cat([F.pixel_unshuffle(person, self.stem), maps[:, : self.lines]], 1)))
        for layer in self.down:
            x = activate(layer(x))
        where = maps[:, self.lines :]
        seen = torch.einsum("nlhw,nchw->nlc", where, F.avg_pool2d(person, self.stem))
        seen = torch.cat([seen[..., :3] / seen[..., 3:].clamp_min(0.1), (seen[..., 3:] > 1).float()], 2)
        x = self.whole(_grid_means(x).flatten(1)) + self.mixed(activate(self.colours(seen.flatten(1))))
        mean, log_variance = x.chunk(2, 1)
        mean = mean + self.straight(seen.flatten(1))
        return mean, (log_variance + NARROW).clamp(-8, 4)


def _grid_means(x: torch.Tensor) -> torch.Tensor:
    """Return the means (N, C, *GRID) of the cells of a grid; adaptive pooling, with a gradient that repeats on CUDA."""
    rows, columns = (_cells(size, cells, x) for size, cells in zip(x.shape[2:], GRID, strict=True))
    return rows @ x @ columns.T


def _cells(size: int, cells: int, like: torch.Tensor) -> torch.Tensor:
    """Return (cells, size): which share each of ``size`` places has in the mean of a cell."""
    edges = torch.linspace(0, size, cells + 1, device=like.device)
    places = torch.arange(size, device=like.device)
    share = (torch.minimum(edges[1:, None], places + 1) - torch.maximum(edges[:-1, None], places)).clamp_min(0)
    return (share / share.sum(1, keepdim=True)).to(like.dtype)


class Discriminator(nn.Module):
    """Tells real crops from filled ones, patch by patch."""

    def __init__(self, a: Architecture, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem, self.lines = a.stem, a.lines
        self.enter = Conv(4 * a.stem**2 + a.lines, channels[0])
        self.down = nn.ModuleList(Conv(above, below, 3, stride=2) for above, below in itertools.pairwise(channels))
        self.last = Conv(channels[-1] + 1, channels[-1])
        self.leave = Conv(channels[-1], 1, 1)

    def forward(
        self, pixels: torch.Tensor, mask: torch.Tensor, maps: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return logits (N, 1, h, w) and the features of each level."""
        x = torch.cat([F.pixel_unshuffle(torch.cat([pixels, mask], 1), self.stem), maps[:, : self.lines]], 1)
        x = activate(self.enter(x))
        features = [x]
        for layer in self.down:
            x = activate(layer(x))
            features.append(x)
        spread = ((x - x.mean(0)).square().mean(0) + 1e-8).sqrt().mean().expand(len(x), 1, *x.shape[2:])
        x = activate(self.last(torch.cat([x, spread], 1)))
        return self.leave(x), features
