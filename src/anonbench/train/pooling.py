"""Pooling of regions on processors: the sums of RoIAlign as a product with a sparse matrix.

Each cell of a region is the mean of bilinear samples, that is, a weighted sum of a few places of a feature map (He et
al. 2017). The weights are a sparse matrix with a row for each cell, so that the forward pass is its product with the
map's places, and the backward pass that of its transpose with the gradient. Channels that lie side by side make both
several times faster than torchvision's loops, which take the channels one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign


class Pool(MultiScaleRoIAlign):
    """torchvision's, by `pooled` where the maps are on a processor and the samples of a cell are of a fixed number."""

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Return (n, C, m, m): the regions of ``boxes`` (n_i, 4), pooled from the maps (N, C, h, w)."""
        maps = [x[name] for name in self.featmap_names]
        if not (self.sampling_ratio > 0 and _on_processor(maps[0])):
            whole: Tensor = super().forward(x, boxes, image_shapes)
            return whole
        assert self.scales is not None
        assert self.map_levels is not None
        image = torch.cat([box.new_full((len(box), 1), i) for i, box in enumerate(boxes)])
        regions = torch.cat([image, torch.cat(boxes)], dim=1)
        side, sampling = self.output_size[0], self.sampling_ratio
        if len(maps) == 1:
            return pooled(maps[0], regions, side, self.scales[0], sampling)
        levels = self.map_levels(boxes)
        found = maps[0].new_zeros(len(regions), maps[0].shape[1], side, side)
        for level, (features, scale) in enumerate(zip(maps, self.scales, strict=True)):
            part = torch.where(levels == level)[0]
            found[part] = pooled(features, regions[part], side, scale, sampling)
        return found


def prepared(maps: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the maps laid out for all poolings, so that not each of them does it."""
    return {name: _laid_out(values) for name, values in maps.items()}


def _laid_out(values: Tensor) -> Tensor:
    return values.contiguous(memory_format=torch.channels_last if _on_processor(values) else torch.contiguous_format)


def _on_processor(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype == torch.float32


def pooled(features: Tensor, regions: Tensor, side: int, scale: float, sampling: int) -> Tensor:
    """Return the same as torchvision's ``roi_align(features, regions, side, scale, sampling)``, up to rounding.

    ``features``: float32 (N, C, h, w), at best in memory by channels last, as what is returned, (n, C, side, side), is.
    ``regions``: (n, 5), the image's number and x0, y0, x1, y1 in pixels of the input. ``sampling``: samples per cell
    and direction, at least 1.
    """
    made: Tensor = _Pooled.apply(features, _weights(regions, features.shape, side, scale, sampling), side)
    return made


def _weights(regions: Tensor, shape: torch.Size, side: int, scale: float, sampling: int) -> csr_array:
    """Return float32 (n * side * side, N * h * w): what each cell takes from each place."""
    images, _, height, width = shape
    given = regions.detach().numpy().astype(np.float32, copy=False)
    corners = given[:, 1:] * np.float32(scale)
    rows, above = _samples(corners[:, 1], corners[:, 3], height, side, sampling)
    columns, left = _samples(corners[:, 0], corners[:, 2], width, side, sampling)
    first = given[:, 0].astype(np.int32)[:, None, None] * (height * width)
    # (n, side, 2 sampling) of each direction to (n, side, side, 2 sampling, 2 sampling)
    places = (first + rows * width)[:, :, None, :, None] + columns[:, None, :, None, :]
    weights = above[:, :, None, :, None] * left[:, None, :, None, :]
    each = (2 * sampling) ** 2
    starts = np.arange(0, places.size + 1, each, dtype=np.int32)
    return csr_array((weights.ravel(), places.ravel(), starts), shape=(len(given) * side**2, images * height * width))


def _samples(low: np.ndarray, high: np.ndarray, length: int, side: int, sampling: int) -> tuple[np.ndarray, np.ndarray]:
    """Return along one direction the places int32 (n, side, 2 * sampling) of a map and their weights.

    A region is at least one place long; a sample more than one place outside of the map is zero.
    """
    cell = np.maximum(high - low, np.float32(1)) / np.float32(side)
    offsets = (np.arange(side * sampling, dtype=np.float32) + np.float32(0.5)) / np.float32(sampling)
    at = low[:, None] + offsets * cell[:, None]
    inside = (at >= -1) & (at <= length)
    at = at.clip(0, length - 1)
    before = at.astype(np.int32)
    share = at - before.astype(np.float32)
    after = np.minimum(before + 1, length - 1)
    held = inside / np.float32(sampling)
    places = np.stack([before, after], axis=2).reshape(len(low), side, 2 * sampling)
    weights = np.stack([(1 - share) * held, share * held], axis=2).reshape(len(low), side, 2 * sampling)
    return places, weights.astype(np.float32, copy=False)


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weights: csr_array, side: int) -> Tensor:
        ctx.weights, ctx.shape = weights, features.shape
        values = weights @ _by_place(features)
        return torch.from_numpy(values).view(-1, side, side, features.shape[1]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        images, channels, height, width = ctx.shape
        values = ctx.weights.T @ _by_place(gradient)
        return torch.from_numpy(values).view(images, height, width, channels).permute(0, 3, 1, 2), None, None


def _by_place(values: Tensor) -> np.ndarray:
    """Return (N, C, h, w) as an array (N * h * w, C); of channels last it is no copy."""
    array: np.ndarray = values.detach().permute(0, 2, 3, 1).reshape(-1, values.shape[1]).numpy()
    return array
