"""Bilinear resizing inside networks whose training repeats to the byte, on a GPU too."""

from __future__ import annotations

import functools

import torch
from torch.nn import functional as F


def bilinear(x: torch.Tensor, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    """Return (N, C, H, W) at ``size`` (height, width), as `F.interpolate` does.

    On a GPU that is held to results that repeat, two matrix products do it: there torch's own gradient is a sum by
    index, which took three fifths of a generator's training (docs/measurements/gpu.md).
    """
    if x.device.type == "cuda" and torch.are_deterministic_algorithms_enabled():
        return by_products(x, size, align_corners)
    return F.interpolate(x, size, mode="bilinear", align_corners=align_corners)


def by_products(x: torch.Tensor, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    """Return the same by one matrix product along each axis."""
    wide = torch.promote_types(x.dtype, torch.float32)  # rows of weights in half precision do not sum to one
    rows, columns = (_weights(x.shape[2 + i], size[i], align_corners, x.device, wide) for i in range(2))
    with torch.autocast(x.device.type, enabled=False):
        return (rows @ x.to(wide) @ columns.T).to(x.dtype)


@functools.lru_cache(maxsize=64)
def _weights(before: int, after: int, align_corners: bool, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return (after, before): what each new place takes from the old ones."""
    with torch.inference_mode(False), torch.no_grad():
        whole = F.interpolate(
            torch.eye(before, dtype=torch.float64)[None], after, mode="linear", align_corners=align_corners
        )[0].T
        return whole.contiguous().to(device, dtype)
