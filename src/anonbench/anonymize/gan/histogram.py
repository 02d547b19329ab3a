"""Fits the colours of a generated person to a reference: the study's two answers to missing global context.

Naive: histogram matching of the pixels, all channels pooled, as scikit-image's ``match_histograms`` without a channel
axis, blended in with a Gaussian-softened mask. Latent: the style is moved by Adam until the soft histograms of
saturation and value agree in 1-D Wasserstein distance (soft histograms: HistoGAN,
Afifi et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

SOFTENING = (19, 10.0, 288)
"""Taps and sigma of the Gaussian that softens the mask, and the height of the crop that they are for."""
BINS = 256
BANDWIDTH = 1.0
"""Sigma of a soft histogram's kernel, in bins."""
SAMPLE = 4096
"""Reference pixels that a soft histogram is made of, at most, evenly spaced."""


def match(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return uint8 values, mapped so that their distribution is that of ``reference`` (uint8); float64, same shape."""
    _levels, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    wanted, wanted_counts = np.unique(reference, return_counts=True)
    mapped = np.interp(
        np.cumsum(counts) / values.size, np.cumsum(wanted_counts) / reference.size, wanted.astype(np.float64)
    )
    return mapped[inverse].reshape(values.shape)


def naive(filled: np.ndarray, mask: np.ndarray, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return a filled crop (float HxWx3, 0..255) with the person's colours matched.

    ``source`` (bool HxW) are the pixels whose histogram is mapped to that of ``reference`` (uint8 Nx3).
    """
    rounded = np.clip(np.rint(filled), 0, 255).astype(np.uint8)
    if not len(reference) or not source.any():
        return filled
    matched = filled.astype(np.float64)
    matched[source] = match(rounded[source], reference)
    taps, sigma, height = SOFTENING
    scale = len(filled) / height
    odd = 2 * round(taps * scale / 2) + 1
    soft = cv2.GaussianBlur(mask.astype(np.float32), (odd, odd), max(sigma * scale, 1e-3))[..., None]
    return soft * matched + (1 - soft) * filled


def saturation_and_value(rgb: torch.Tensor) -> torch.Tensor:
    """Return (2, N) of 0..1 of RGB (N, 3) in 0..1."""
    import torch

    value, least = rgb.amax(-1), rgb.amin(-1)
    return torch.stack([(value - least) / value.clamp_min(1e-4), value])


def soft_cdf(values: torch.Tensor) -> torch.Tensor:
    """Return the cumulated soft histograms (C, BINS) of values (C, N) in 0..1."""
    import torch

    centres = torch.arange(BINS, device=values.device, dtype=values.dtype)
    weights = torch.exp(-0.5 * ((values[..., None] * (BINS - 1) - centres) / BANDWIDTH).square()).sum(1)
    histogram = weights / weights.sum(-1, keepdim=True).clamp_min(1e-12)
    return histogram @ torch.triu(torch.ones(BINS, BINS, device=values.device, dtype=values.dtype))


def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the 1-D Wasserstein distances of cumulated histograms, in units of the values' range, summed."""
    return (a - b).abs().mean(-1).sum()


def latent(
    w: torch.Tensor,
    fill: Callable[[torch.Tensor], torch.Tensor],
    chosen: torch.Tensor,
    reference: np.ndarray,
    *,
    steps: int,
    step_size: float,
    stop: float,
) -> torch.Tensor:
    """Return a style (1, W), moved for ``steps`` or until the filled crop has the reference's saturation and value.

    ``fill`` gives the crop (1, 3, H, W) in -1..1 for a style; ``chosen`` (bool HxW) are the pixels that are compared
    with ``reference`` (uint8 Nx3). The style of the smallest loss is kept.
    """
    import torch

    from anonbench.learning import optimizers

    if not len(reference) or not chosen.any():
        return w
    some = np.ascontiguousarray(reference[:: -(-len(reference) // SAMPLE)])
    wanted = soft_cdf(saturation_and_value(torch.from_numpy(some).to(w.device).float() / 255))
    moved = w.detach().clone().requires_grad_()
    optimizer = optimizers.Adam([moved], step_size)
    best, least = w.detach(), float("inf")
    for _ in range(steps):
        pixels = (fill(moved)[0].permute(1, 2, 0)[chosen].clamp(-1, 1) + 1) / 2
        loss = distance(soft_cdf(saturation_and_value(pixels)), wanted)
        reached = float(loss.detach())
        if reached < least:
            best, least = moved.detach().clone(), reached
        if not reached >= stop:  # also where it is not a number: the engine sees what comes out
            break
        (moved.grad,) = torch.autograd.grad(loss, [moved])
        optimizer.step()
    return best
