"""Pooling of regions (RoIAlign, He et al. 2017, arXiv 1703.06870), on a CPU as a product with a sparse matrix.

A cell of a region's grid is a weighted sum of pixels: each of its samples of the four around it. torchvision's kernel
reads and writes them channel by channel, forward and backward, an eighth of a small training's time; with channels last
the whole batch is one product of a sparse matrix (cells x pixels) with the maps, and its gradient one with the
transposed matrix. SciPy multiplies row by row in one order on every processor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.autograd.function import once_differentiable
from torchvision.ops import MultiScaleRoIAlign


class RegionPool(MultiScaleRoIAlign):
    """torchvision's `MultiScaleRoIAlign`, to rounding; faster on a CPU where regions are pooled from one level."""

    def multiplies(self, features: dict[str, Tensor]) -> bool:
        """Return whether it pools these by a product: on a CPU, float32, from one level, with a number of samples.

        Not the first time where nobody has set the scales: torchvision looks then at how large the maps are.
        """
        if len(self.featmap_names) > 1 or self.sampling_ratio < 1 or self.scales is None:
            return False
        maps = features[self.featmap_names[0]]
        return maps.device.type == "cpu" and maps.dtype == torch.float32

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Return (regions, channels, height, width), with channels last in memory where it is a product.

        Raises MemoryError where there is no memory for the product.
        """
        if not self.multiplies(x):
            return super().forward(x, boxes, image_shapes)
        maps = x[self.featmap_names[0]]
        regions = np.concatenate([one.detach().numpy() for one in boxes]).astype(np.float32, copy=False)
        images = np.repeat(np.arange(len(boxes)), [len(one) for one in boxes])
        count, channels, height, width = maps.shape
        size, scale, samples = self.output_size, self.scales[0], self.sampling_ratio
        cells = cells_of(regions, images, (count, height, width), size, scale, samples)
        pooled: Tensor = _Product.apply(maps.permute(0, 2, 3, 1).reshape(-1, channels), cells)
        return pooled.view(len(regions), *self.output_size, channels).permute(0, 3, 1, 2)


def cells_of(
    regions: NDArray[np.float32],
    images: NDArray[np.int64],
    shape: tuple[int, int, int],
    size: tuple[int, ...],
    scale: float,
    samples: int,
) -> Any:
    """Return the weights of each cell's pixels, a sparse matrix float32 (R * h * w, N * H * W).

    ``regions`` (R, 4) are x0, y0, x1, y1 in the input's pixels and ``images`` (R) whose they are; ``shape`` N, H, W of
    the maps, ``size`` (h, w) of the grids, ``scale`` from the input's pixels to the maps', ``samples`` x ``samples``
    points per cell. As torchvision's ``roi_align`` does without ``aligned``: a region is at least one pixel of the maps
    large; a sample between centres is interpolated, one less than a pixel outside is at the border, and one farther
    outside is zero.
    """
    count, height, width = shape
    axes = [
        _samples(regions[:, [1, 3]] * np.float32(scale), size[0], samples, height),
        _samples(regions[:, [0, 2]] * np.float32(scale), size[1], samples, width),
    ]
    (rows, row_weights), (columns, column_weights) = axes  # (R, h * samples, 2) and (R, w * samples, 2)
    at = images[:, None, None, None, None] * (height * width) + rows[:, :, None, :, None] * width
    pixels = at + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :] / np.float32(samples**2)
    cells = len(regions) * size[0] * size[1]

    def by_cell(values: NDArray[Any]) -> NDArray[Any]:
        apart = values.reshape(len(regions), size[0], samples, size[1], samples, 4)
        return apart.transpose(0, 1, 3, 2, 4, 5).ravel()

    ends = np.arange(cells + 1, dtype=np.int32) * (4 * samples**2)
    entries = by_cell(weights), by_cell(pixels).astype(np.int32), ends
    return sparse.csr_matrix(entries, (cells, count * height * width), copy=False)


def _samples(ends: NDArray[np.float32], cells: int, samples: int, pixels: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return, along one axis of ``pixels``, the two pixels around each of R * n samples and the weight of each.

    ``ends`` (R, 2) of the regions in pixels; both results are (R, n, 2), n = cells * samples.
    """
    within = np.tile(np.arange(samples, dtype=np.float32) + np.float32(0.5), cells)
    steps = np.repeat(np.arange(cells, dtype=np.float32), samples)
    with np.errstate(invalid="ignore", over="ignore"):  # of regions that are not finite
        cell = np.maximum(ends[:, 1:] - ends[:, :1], np.float32(1)) / np.float32(cells)
        places = ends[:, :1] + steps * cell + within * cell / np.float32(samples)  # rounded as the kernel does
    there = (places >= -1) & (places <= pixels)
    seen = np.where(np.isnan(places), places, there).astype(np.float32)  # what is no number stays none
    places = np.clip(np.where(there, places, np.float32(0)), 0, pixels - 1)
    low = places.astype(np.int64)
    share = places - low.astype(np.float32)
    around = np.stack([low, np.minimum(low + 1, pixels - 1)], axis=2)
    return around, np.stack([1 - share, share], axis=2) * seen[..., None]


class _Product(torch.autograd.Function):
    """A sparse matrix float32 (cells, N) times pixels float32 (N, channels)."""

    @staticmethod
    def forward(context: Any, pixels: Tensor, cells: Any) -> Tensor:
        context.cells = cells
        return torch.from_numpy(cells @ pixels.detach().numpy())

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return torch.from_numpy(context.cells.T @ gradient.contiguous().numpy()), None
