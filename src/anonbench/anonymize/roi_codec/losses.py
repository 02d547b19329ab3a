"""The loss of a codec that hides heads and keeps people, its terms pinned by tests on cases computed by hand.

Published (Liebender et al. 2024, arXiv 2406.05726, and its code): with x the images and z the decoded ones in 0..1,

    1.0 MSE(x, z) + 1.0 people(MSE) + 0.6 heads(1 - MSE) + 0.04 bits per pixel

where people(f) and heads(f) are the mean over the batch's images of the mean of f over an image's boxes, 0 for an image
without any. The released code gives NaN for a box that shrinks to nothing; here it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anonbench.anonymize.roi_codec.options import Loss
from anonbench.codec.density import bits

FLAT = 1e-4
"""Variance below which a box has nothing that correlates: (2.5 of 255 levels) squared."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of a batch's images as masks of rows and columns; boxes that hold no pixel are not there.

    ``rows`` is float32 (N, K, H), ``columns`` (N, K, W), ``valid`` (N, K): K is the most boxes of one image.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    valid: torch.Tensor

    @classmethod
    def of(cls, boxes: Sequence[np.ndarray], size: tuple[int, int], device: torch.device | None = None) -> Boxes:
        """Take boxes (a float Kx4 array of x0, y0, x1, y1 in pixels for each image) of images of width, height.

        As published, corners are cut to whole pixels; and here to the image.
        """
        width, height = size
        kept = []
        for own in boxes:
            whole = np.trunc(np.asarray(own, np.float64).reshape(-1, 4)).clip(0, [width, height, width, height])
            kept.append(whole[(whole[:, 2] > whole[:, 0]) & (whole[:, 3] > whole[:, 1])].astype(np.int64))
        most = max((len(own) for own in kept), default=0)
        rows, columns = (np.zeros((len(kept), most, side), np.float32) for side in (height, width))
        valid = np.zeros((len(kept), most), np.float32)
        for image, own in enumerate(kept):
            valid[image, : len(own)] = 1
            for number, (x0, y0, x1, y1) in enumerate(own):
                rows[image, number, y0:y1], columns[image, number, x0:x1] = 1, 1
        return cls(*(torch.from_numpy(part).to(device) for part in (rows, columns, valid)))

    def means(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the mean of maps (N, C, H, W) in each box: (N, K, C); 0 where there is no box."""
        along = torch.matmul(self.rows[:, None], maps)  # N, C, K, W
        sums = (along * self.columns[:, None]).sum(3)
        area = (self.rows.sum(2) * self.columns.sum(2)).clamp_min(1)
        return (sums / area[:, None]).transpose(1, 2)

    def average(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over the images of the mean over each image's boxes of values (N, K), a scalar.

        An image without a box counts as 0.
        """
        own = (values * self.valid).sum(1) / self.valid.sum(1).clamp_min(1)
        return own.mean()


def terms(
    loss: Loss,
    images: torch.Tensor,
    decoded: torch.Tensor,
    likelihoods: torch.Tensor,
    people: Boxes,
    heads: Boxes,
    restored: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Return the terms, times their factors, of images and decoded ones ((N, 3, H, W) in 0..1).

    ``restored`` is what the restorer makes of the decoded images.
    """
    error = (images - decoded).square()
    pixels = images.shape[0] * images.shape[2] * images.shape[3]
    found = {
        "background": loss.background * error.mean(),
        "people": loss.people * people.average(people.means(error).mean(2)),
        "heads": loss.heads * heads.average(head_term(loss, images, decoded, heads)),
        "rate": loss.rate * bits(likelihoods) / pixels,
    }
    if restored is not None:
        found["restored"] = loss.restorer * heads.average(explained(images, restored, heads))
    return found


def head_term(loss: Loss, images: torch.Tensor, decoded: torch.Tensor, heads: Boxes) -> torch.Tensor:
    """Return for each head (N, K) how much of it is left, by ``loss.head_term``; what it is without a box is not said.

    Each is smallest for a head that is hidden as the term understands it, and none is below 0.
    """
    if loss.head_term == "correlation":
        return correlation(images, decoded, heads)
    if loss.head_term == "flat":
        mean = heads.means(images)
        at = heads.means(decoded.square()) - 2 * mean * heads.means(decoded) + mean.square()
        return at.mean(2).clamp_min(0)
    error = heads.means((images - decoded).square()).mean(2)
    if loss.head_term == "bounded":
        return (1 - error / loss.margin).clamp_min(0)
    return 1 - error


def correlation(images: torch.Tensor, decoded: torch.Tensor, boxes: Boxes) -> torch.Tensor:
    """Return the squared correlation of each box's pixels with what they were (N, K), the mean of the channels'.

    1 for the same, for inverted colours and for any other gain and offset; near 0 where either is flat.
    """
    a, b = boxes.means(images), boxes.means(decoded)
    spread_a = (boxes.means(images.square()) - a.square()).clamp_min(0)
    spread_b = (boxes.means(decoded.square()) - b.square()).clamp_min(0)
    common = boxes.means(images * decoded) - a * b
    return (common.square() / (spread_a * spread_b + FLAT**2)).mean(2)


def explained(images: torch.Tensor, restored: torch.Tensor, boxes: Boxes) -> torch.Tensor:
    """Return which share of each box's variance a restored image explains (N, K): 1 - MSE / variance, 0 at least.

    Who knows nothing but a head's mean colour explains none.
    """
    error = boxes.means((images - restored).square()).mean(2)
    variance = (boxes.means(images.square()) - boxes.means(images).square()).mean(2)
    return (1 - error / variance.clamp_min(FLAT)).clamp_min(0)
