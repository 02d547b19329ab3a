"""Networks of learned anonymizers, and of the one who looks for private attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import resnet18, resnet50
from torchvision.models.resnet import BasicBlock, ResNet

from anonbench.anonymize.learned.optics import Lens
from anonbench.anonymize.methods.contrast import AROUND, FLAT, SHOWN, side_of
from anonbench.errors import AnonbenchError
from anonbench.learning.resizing import bilinear

LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601), as the method `grey` has it."""
COLOURS = ("rgb", "grey", "contrast")
"""What a network sees and shows: colours, luma, or how much a pixel's luma differs from that around it."""
CLIPPED = 0.01
"""Darkest and, from 1, brightest value whose logit is taken: that of 0 and 1 is infinite."""
PROJECTED = 128
"""Numbers that a view is described by for NT-Xent, as SPAct has it."""
MOST = 16_384
"""Pixels of a side and channels of a level at most."""
STRIP = 16
"""Fitted shapes that a strip is worked on as at most, where that is more than four times its pixels."""
DECODER = (256, 128, 64, 32)
ENCODER = (64, 64, 128, 256)
"""Channels of the U-Net++ and of the four levels of a ResNet-18."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """An anonymizer: what its file of weights has to say of it.

    ``width`` and ``height`` are the shape, in pixels, of what it was fitted to; ``noise`` is the standard deviation of
    what is added to its output, in units of images in [0, 1]. It follows from the study's seed: it hides from those who
    do not know that.
    """

    network: str
    width: int
    height: int
    widths: tuple[int, ...]
    skip: bool
    colour: str
    shrink: int
    noise: float
    zernike: int
    taps: int

    def __post_init__(self) -> None:
        sides = (self.width, self.height, self.shrink, self.zernike, self.taps, *self.widths)
        if self.network not in ("unet", "unetplusplus", "optics") or self.colour not in COLOURS:
            raise ValueError(f"the network '{self.network}' of the colour '{self.colour}'")
        if not self.widths or not all(type(side) is int and 1 <= side <= MOST for side in sides):
            raise ValueError(f"sides and widths that are not whole numbers in 1..{MOST}, or none")
        if not 0 <= self.noise <= 1:  # NaN is not
            raise ValueError(f"noise of {self.noise}")

    @property
    def multiple(self) -> int:
        """What both sides of a picture have to be a multiple of."""
        deep = {"unet": 2 ** (len(self.widths) - 1), "unetplusplus": 16, "optics": 1}[self.network]
        return deep * self.shrink

    def shape_for(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height at which a frame is worked on.

        The largest rectangle of the fitted shape that fits into the frame then has the fitted number of pixels, but for
        the rounding to `multiple`. That of a strip, in which it is tiny, is larger, so that the frame is worked on with
        four times its own pixels at most, or `STRIP` times those of the fit. Raises AnonbenchError for a strip that is
        so narrow that the rounding makes it far larger.
        """
        most = max(4 * width * height, STRIP * self.width * self.height)
        scale = max(min(width / self.width, height / self.height), (width * height / most) ** 0.5)
        sides = [max(1, round(side / scale / self.multiple)) * self.multiple for side in (width, height)]
        if sides[0] * sides[1] > 4 * most:
            raise AnonbenchError(
                f"a frame of {width}x{height} pixels would be worked on as {sides[0]}x{sides[1]}",
                remedy="leave it out, or cut it",
            )
        return sides[0], sides[1]


class Double(nn.Sequential):
    """Two convolutions of 3 x 3, each with normalisation and ReLU."""

    def __init__(self, before: int, after: int, middle: int | None = None) -> None:
        middle = middle or after
        super().__init__(
            nn.Conv2d(before, middle, 3, padding=1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
            nn.Conv2d(middle, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True),
        )  # fmt: skip


class UNet(nn.Module):
    """SPAct's U-Net (Dave et al. 2022; Ronneberger et al. 2015): bilinear enlarging; channels of each level.

    Published are 64, 128, 256, 512, 512. From (N, C, H, W) to logits of the same shape.
    """

    def __init__(self, widths: Sequence[int], channels: int = 3) -> None:
        super().__init__()
        self.first = Double(channels, widths[0])
        self.down = nn.ModuleList(Double(a, b) for a, b in pairwise(widths))
        up, current = [], widths[-1]
        for level in reversed(range(len(widths) - 1)):
            together = current + widths[level]
            after = widths[max(0, level - 1)]
            up.append(Double(together, after, together // 2))
            current = after
        self.up = nn.ModuleList(up)
        self.last = nn.Conv2d(current, channels, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        found = [self.first(pictures)]
        for down in self.down:
            found.append(down(functional.max_pool2d(found[-1], 2)))
        current = found.pop()
        for up in self.up:
            beside = found.pop()
            large = bilinear(current, (beside.shape[2], beside.shape[3]), align_corners=True)
            current = up(torch.cat([beside, large], 1))
        logits: Tensor = self.last(current)
        return logits


class UNetPlusPlus(nn.Module):
    """U-Net++ (Zhou et al. 2018) over a ResNet-18's first four levels, decoder 256/128/64/32.

    The network that TeD-SPAD's code builds with segmentation_models_pytorch (encoder depth 4), written out: the package
    is not in the lock. There it counts 13.9 million weights, 8.4 of them of the encoder's last stage, which a depth of
    4 never runs; ours has not got it. From (N, C, H, W) to logits of the same shape, sides multiples of 16.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        encoder = resnet18(weights=None)
        stem = encoder.conv1
        if channels != 3:
            stem = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.stem = nn.Sequential(stem, encoder.bn1, encoder.relu)
        self.stages = nn.ModuleList([nn.Sequential(encoder.maxpool, encoder.layer1), encoder.layer2, encoder.layer3])
        levels = ENCODER[::-1]
        self.depth = len(levels) - 1
        before, beside = (levels[0], *DECODER[:-1]), (*levels[1:], 0)
        self.nodes = nn.ModuleDict()
        for last in range(self.depth):
            for first in range(last + 1):
                below = before[last] if first == 0 else beside[last - 1]
                after = DECODER[last] if first == 0 else beside[last]
                count = last + 1 - first
                self.nodes[f"{first}_{last}"] = Double(below + beside[last] * count, after)
        self.nodes[f"0_{self.depth}"] = Double(before[-1], DECODER[-1])
        self.last = nn.Conv2d(DECODER[-1], channels, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        features = [self.stem(pictures)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        features = features[::-1]
        dense: dict[tuple[int, int], Tensor] = {}
        for apart in range(self.depth):
            for first in range(self.depth - apart):
                last = first + apart
                beside = [dense[k, last] for k in range(first + 1, last + 1)] + [features[last + 1]]
                below = features[first] if apart == 0 else dense[first, last - 1]
                dense[first, last] = self._node(first, last, below, beside)
        logits: Tensor = self.last(self._node(0, self.depth, dense[0, self.depth - 1], []))
        return logits

    def _node(self, first: int, last: int, below: Tensor, beside: list[Tensor]) -> Tensor:
        large = functional.interpolate(below, scale_factor=2, mode="nearest")
        found: Tensor = self.nodes[f"{first}_{last}"](torch.cat([large, *beside], 1))
        return found


def luma(pictures: Tensor) -> Tensor:
    """Return the luma (N, 1, H, W) of RGB pictures (N, 3, H, W)."""
    return (pictures * pictures.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def contrast(luma: Tensor) -> Tensor:
    """Return by how many standard deviations each pixel of (N, 1, H, W) is brighter than the square around it.

    What the method `contrast` shows of a frame of this size, in 0..1.
    """
    side = side_of(AROUND, luma.shape[2], luma.shape[3])
    mean, squares = (
        functional.avg_pool2d(one, side, 1, side // 2, count_include_pad=False) for one in (luma, luma * luma)
    )
    spread = (squares - mean * mean).clamp_min((FLAT / 255) ** 2).sqrt()
    return (0.5 + SHOWN / 255 * (luma - mean) / spread).clamp(0, 1)


class Anonymizer(nn.Module):
    """From pictures (N, 3, H, W), RGB in 0..1, to pictures alike.

    Each picture is one frame: nothing of another frame, before or after, is seen (TeD-SPAD's released code reshapes
    clips so that frames and colours are mixed). ``skip`` adds the picture's own logit before the sigmoid, so that the
    network begins as the identity but for the clipping to `CLIPPED`.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.architecture = a
        channels = 3 if a.colour == "rgb" else 1
        if a.network == "optics":
            self.network: nn.Module = Lens(a.zernike, a.taps)
        else:
            self.network = UNet(a.widths, channels) if a.network == "unet" else UNetPlusPlus(channels)
            if a.skip:
                last: Any = self.network.last
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        a = self.architecture
        seen = self.seen(pictures)
        if a.network == "optics":
            found = self.network(seen if seen.shape[1] == 3 else seen.expand(-1, 3, -1, -1))
            if a.colour != "rgb":
                found = luma(found)
        else:
            logits = self.network(seen)
            found = torch.sigmoid(logits + torch.logit(seen, CLIPPED) if a.skip else logits)
        if a.shrink > 1:
            found = bilinear(found, (found.shape[2] * a.shrink, found.shape[3] * a.shrink))
        return found.expand(-1, 3, -1, -1)

    def seen(self, pictures: Tensor) -> Tensor:
        """Return what the network is shown of pictures: (N, 3, h, w), or of grey ones and of contrast (N, 1, h, w)."""
        a = self.architecture
        if a.shrink > 1:
            pictures = functional.avg_pool2d(pictures, a.shrink)
        if a.colour == "rgb":
            return pictures
        return contrast(luma(pictures)) if a.colour == "contrast" else luma(pictures)

    def noisy(self, pictures: Tensor) -> Tensor:
        """Return what `forward` does with the noise of a training, from torch's global generator."""
        found: Tensor = self(pictures)
        if self.architecture.noise == 0:
            return found
        drawn = torch.randn(found.shape, device=found.device)
        return (found + self.architecture.noise * drawn).clamp(0, 1)


def folded(network: nn.Module) -> nn.Module:
    """Return a network for use alone, in which convolutions do what the normalisation behind each did; in place."""
    found = list(network.named_children())
    for (name, one), (after, two) in pairwise([*found, ("", None)]):
        if isinstance(one, nn.Conv2d) and isinstance(two, nn.BatchNorm2d):
            setattr(network, name, fuse_conv_bn_eval(one, two))
            setattr(network, after, nn.Identity())
        elif one is not None:
            folded(one)
    return network


class Observer(nn.Module):
    """One who looks at crops of people (N, 3, h, w), RGB in 0..1: tells views of a still, or guesses attributes.

    ``values`` is how many values each attribute has. ``small`` is a ResNet of few, narrow blocks, for CPUs.
    """

    def __init__(self, name: str, widths: Sequence[int], values: Sequence[int]) -> None:
        super().__init__()
        self.values = tuple(values)
        if name == "small":
            layers: list[nn.Module] = [
                nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
            ]  # fmt: skip
            before = widths[0]
            for width in widths:
                shortcut = nn.Sequential(nn.Conv2d(before, width, 1, 2, bias=False), nn.BatchNorm2d(width))
                layers.append(BasicBlock(before, width, 2, shortcut))
                before = width
            self.body: nn.Module = nn.Sequential(*layers)
        else:
            network: ResNet = resnet18(weights=None) if name == "resnet18" else resnet50(weights=None)
            before = network.fc.in_features
            self.body = nn.Sequential(*list(network.children())[:-2])
        self.project = nn.Sequential(nn.Linear(before, before), nn.ReLU(inplace=True), nn.Linear(before, PROJECTED))
        self.head = nn.Linear(before, sum(self.values)) if self.values else None

    def _described(self, crops: Tensor) -> Tensor:
        found: Tensor = self.body((crops - 0.5) / 0.25).mean((2, 3))
        return found

    def views(self, crops: Tensor) -> Tensor:
        """Return what NT-Xent compares, (N, `PROJECTED`)."""
        found: Tensor = self.project(self._described(crops))
        return found

    def guesses(self, crops: Tensor) -> list[Tensor]:
        """Return logits (N, values) of each attribute."""
        assert self.head is not None
        return list(self.head(self._described(crops)).split(self.values, 1))


def cut(pictures: Tensor, boxes: Tensor, size: tuple[int, int], mirrored: Tensor | None = None) -> Tensor:
    """Return what lies in boxes of pictures, (N, C, height, width) for ``size`` (width, height).

    ``boxes`` are float32 (N, 4): x0, y0, x1, y1 in pixels, one for each picture (N, C, H, W). Weights are a triangle's,
    as wide as a pixel of the crop or of the picture, whichever is larger. The product of matrices repeats on every
    device, which the gradients of torch's own samplers do not.
    """
    rows = _weights(boxes[:, 1], boxes[:, 3], pictures.shape[2], size[1])
    columns = _weights(boxes[:, 0], boxes[:, 2], pictures.shape[3], size[0])
    if mirrored is not None:
        columns = torch.where(mirrored[:, None, None], columns.flip(1), columns)
    return rows[:, None] @ pictures @ columns[:, None].transpose(2, 3)


def _weights(first: Tensor, last: Tensor, count: int, wanted: int) -> Tensor:
    """Return what share each of ``count`` pixels has in each of ``wanted`` between two places: (N, wanted, count)."""
    step = (last - first) / wanted
    middles = first[:, None] + (torch.arange(wanted, device=first.device) + 0.5) * step[:, None]
    pixels = torch.arange(count, device=first.device) + 0.5
    near = functional.relu(1 - (pixels - middles[..., None]).abs() / step.clamp_min(1)[:, None, None])
    return near / near.sum(2, keepdim=True).clamp_min(1e-6)
