"""Networks that describe a crop by numbers that are alike for the same person."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from anonbench.errors import AnonbenchError, nearest


class Compact(nn.Module):
    """Four convolutions of stride two with normalisation, for a CPU; horizontal stripes are pooled apart.

    Pooling by stripes keeps what is worn above apart from what is worn below, as part-based re-identification does
    (Sun et al. 2018, arXiv 1711.09349).
    """

    STRIPES = 4

    def __init__(self, dimensions: int, widths: tuple[int, ...] = (24, 48, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(before * self.STRIPES, dimensions)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return (N, dimensions) of float crops (N, 3, height, width)."""
        found = self.body(crops).mean(3)
        found = found.repeat_interleave(-(-self.STRIPES // found.shape[2]), 2)  # of low crops, rows are stripes
        stripes = torch.stack([part.mean(2) for part in torch.tensor_split(found, self.STRIPES, 2)], 2)
        return self.head(stripes.flatten(1))


class Mosaic(nn.Module):
    """A perceptron on the mean colours of a grid of cells: it sees what is worn where, and no texture at all."""

    GRID = (12, 6)

    def __init__(self, dimensions: int, width: int = 256) -> None:
        super().__init__()
        cells = 3 * self.GRID[0] * self.GRID[1]
        self.layers = nn.Sequential(
            nn.Linear(cells, width), nn.LayerNorm(width), nn.GELU(),
            nn.Linear(width, width), nn.LayerNorm(width), nn.GELU(),
            nn.Linear(width, dimensions),
        )  # fmt: skip

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return (N, dimensions) of float crops (N, 3, height, width), neither of them less than the grid's."""
        rows = [part.mean(2) for part in torch.tensor_split(crops, self.GRID[0], 2)]
        cells = [part.mean(3) for part in torch.tensor_split(torch.stack(rows, 2), self.GRID[1], 3)]
        found: torch.Tensor = self.layers(torch.stack(cells, 3).flatten(1))
        return found


def _resnet18(dimensions: int) -> nn.Module:
    from torchvision.models import resnet18

    network: nn.Module = resnet18(weights=None, num_classes=dimensions)
    return network


NETWORKS: dict[str, Callable[[int], nn.Module]] = {"compact": Compact, "mosaic": Mosaic, "resnet18": _resnet18}


def build(network: str, dimensions: int) -> nn.Module:
    """Return a network with random weights, channels last; raise AnonbenchError for an unknown name."""
    if network not in NETWORKS:
        raise AnonbenchError(f"unknown network '{network}'{nearest(network, NETWORKS)}", entry="network")
    made: nn.Module = NETWORKS[network](dimensions).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return made


def scaled(crops: torch.Tensor) -> torch.Tensor:
    """Return crops uint8 (N, 3, height, width) as networks take them: float32, -1 to 1.

    Channels are last in memory, with which a training takes three quarters of the time on a CPU.
    """
    return crops.to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1


class Embedder(nn.Module):
    """A network with its input scaled and its output of length one, so that likeness is a cosine."""

    def __init__(self, network: str, dimensions: int) -> None:
        """Build it with random weights; raise AnonbenchError for an unknown name."""
        super().__init__()
        self.network = build(network, dimensions)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return unit vectors (N, dimensions) of crops uint8 (N, 3, height, width)."""
        return functional.normalize(self.network(scaled(crops)))


@torch.no_grad()
def embed(embedder: Embedder, crops: torch.Tensor, mirrored: bool, chunk: int = 256) -> torch.Tensor:
    """Return unit vectors (N, dimensions) float32 of crops, or, ``mirrored``, of the mean of each and its mirror image.

    The latter is for a network that has learnt from mirrored crops, too.
    """
    embedder.eval()
    found = [embedder(part) + embedder(part.flip(3)) if mirrored else embedder(part) for part in crops.split(chunk)]
    return functional.normalize(torch.cat(found))
