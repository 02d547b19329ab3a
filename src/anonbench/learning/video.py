"""Video networks with one body and one last layer, whoever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import video
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]
KINETICS: Statistics = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
MVIT: Statistics = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True)
class Origin:
    """A network of torchvision: the mean and deviation (RGB, 0..1) of its input, and where its last layer lies."""

    statistics: Statistics
    head: str


ORIGINS = {
    "r3d_18": Origin(KINETICS, "fc"),
    "mc3_18": Origin(KINETICS, "fc"),
    "r2plus1d_18": Origin(KINETICS, "fc"),
    "s3d": Origin(KINETICS, "classifier.1"),
    "mvit_v1_b": Origin(MVIT, "head.1"),
    "swin3d_t": Origin(IMAGENET, "head"),
    "r3d_small": Origin(KINETICS, "fc"),
}
"""Means and deviations are those of torchvision's published weights; S3D's last layer is a convolution of 1 x 1 x 1."""


class Recognition(nn.Module):
    """From clips (N, 3, T, H, W), RGB, uint8 or float in 0..255, to logits (N, actions).

    Weights are called ``network.`` and torchvision's name, the last layer's ``head.``.
    """

    def __init__(self, name: str, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network, self.head = network, head
        where, _, last = ORIGINS[name].head.rpartition(".")
        setattr(network.get_submodule(where), last, _Through(head))
        mean, deviation = ORIGINS[name].statistics
        self.shift: Tensor
        self.factor: Tensor
        self.register_buffer("shift", 255 * torch.tensor(mean).view(3, 1, 1, 1), persistent=False)
        self.register_buffer("factor", 1 / (255 * torch.tensor(deviation)).view(3, 1, 1, 1), persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        found: Tensor = self.network((clips - self.shift) * self.factor)
        return found

    def described(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, actions) and the features (N, C) that the last layer makes them of."""
        seen: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            logits: Tensor = self(clips)
        finally:
            handle.remove()
        features = seen[0]
        return logits, features.mean(tuple(range(2, features.ndim))) if features.ndim > 2 else features


class _Through(nn.Module):
    """Calls a module that is registered elsewhere, so that its weights have one name."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = [module]

    def forward(self, values: Tensor) -> Tensor:
        found: Tensor = self._module[0](values)
        return found


class Mean(nn.Module):
    """The mean over time and both sides, (N, C, 1, 1, 1): what torchvision's pool gives, with a repeatable gradient."""

    def forward(self, values: Tensor) -> Tensor:
        return values.mean((2, 3, 4), keepdim=True)


class SmallR3D(nn.Module):
    """R3D (Tran et al. 2018, section 3.3) of few and narrow blocks, which torchvision has in one width alone."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, widths[0], (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(inplace=True),
        )
        layers: list[nn.Module] = []
        before = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                shortcut = None
                if stride > 1 or before != width:
                    shortcut = nn.Sequential(nn.Conv3d(before, width, 1, stride, bias=False), nn.BatchNorm3d(width))
                layers.append(BasicBlock(before, width, Conv3DSimple, stride, shortcut))
                before = width
        self.layers = nn.Sequential(*layers)
        self.avgpool = Mean()
        self.fc: nn.Module = nn.Linear(before, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, values: Tensor) -> Tensor:
        found: Tensor = self.fc(self.avgpool(self.layers(self.stem(values))).flatten(1))
        return found


def recognition(name: str, actions: int, widths: Sequence[int] = (), depths: Sequence[int] = ()) -> Recognition:
    """Return an untrained network of `ORIGINS`; its random weights come from torch's global generator.

    ``widths`` and ``depths`` are those of `SmallR3D`.
    """
    network: nn.Module = SmallR3D(widths, depths) if name == "r3d_small" else getattr(video, name)(weights=None)
    if isinstance(network, video.VideoResNet):
        network.avgpool = Mean()
    old = network.get_submodule(ORIGINS[name].head)
    head: nn.Module
    if isinstance(old, nn.Conv3d):
        head = nn.Conv3d(old.in_channels, actions, 1)
    else:
        assert isinstance(old, nn.Linear)
        head = nn.Linear(old.in_features, actions)
    weight, bias = head.weight, head.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    nn.init.normal_(weight, 0, 0.01)
    nn.init.zeros_(bias)
    return Recognition(name, network, head)
