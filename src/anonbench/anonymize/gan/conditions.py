"""What the generator is told of a person: the crop without them, the mask, and the limbs drawn as maps."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from anonbench.anonymize.gan.networks import Architecture
from anonbench.records import SKELETON, RegionKind

PARTS = (*((a - 1, b - 1) for a, b in SKELETON), (17, 18), (15, 19), (16, 20), (21, 22))
"""Ends of COCO's limbs, of the crown, the feet and the trunk: indices of COCO's keypoints and what `_ends` adds."""
LIMBS = len(PARTS)
CROWN, TOE = 0.8, 0.3
"""How far the crown is beyond the head's middle, seen from the neck, and a toe beyond the ankle, seen from the knee."""
FACE_TERRITORIES = 9
WIDTH = 0.03
"""Sigma of a limb's profile, as a share of the map's height."""
REACH = 0.02
"""How soft the choice of the nearest limb is, as a share of the map's height."""

RING = 0.08
"""How far around the mask `surroundings` looks, as a share of the crop's height."""
SURROUNDINGS = 27


def to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """Return uint8 (N, H, W, 3) as float32 (N, 3, H, W) in -1..1."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def limb_maps(keypoints: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Return (N, 2 L, height, width) of 0..1 for L limbs (`PARTS`): lines, then territories.

    A line is a Gaussian of the distance to the limb; the maps stand for TriA-GAN's drawn skeletons (Hukkelas and
    Lindseth 2023). A territory is the limb's share of a soft choice of the nearest one, so that a torso is filled
    although its limbs are its outline; SEAN (Zhu et al. 2020) has semantic regions in this place. ``keypoints`` is
    float32 (N, 17, 3), x and y as shares of the crop's width and height, and visibility. A limb that lacks an end has
    empty maps.
    """
    device = keypoints.device
    keypoints = _ends(keypoints)
    ends = torch.tensor(PARTS, device=device)
    scale = torch.tensor([width / height, 1.0], device=device)
    points = keypoints[..., :2] * scale
    a, b = points[:, ends[:, 0], :, None, None], points[:, ends[:, 1], :, None, None]  # in units of the height
    there = ((keypoints[:, ends[:, 0], 2] > 0) & (keypoints[:, ends[:, 1], 2] > 0))[:, :, None, None]
    y = ((torch.arange(height, device=device) + 0.5) / height)[:, None]
    x = (torch.arange(width, device=device) + 0.5) / height
    dx, dy = x - a[:, :, 0], y - a[:, :, 1]
    along_x, along_y = (b - a)[:, :, 0], (b - a)[:, :, 1]
    length = (along_x.square() + along_y.square()).clamp_min(1e-8)
    t = ((dx * along_x + dy * along_y) / length).clamp(0, 1)
    distance = (dx - t * along_x).square() + (dy - t * along_y).square()
    lines = torch.exp(-distance / (2 * WIDTH**2)) * there
    nearest = (-(distance + 1e-8).sqrt() / REACH).masked_fill(~there, -1e9).softmax(1) * there
    return torch.cat([lines, nearest], 1)


def _ends(keypoints: torch.Tensor) -> torch.Tensor:
    """Return (N, 23, 3): COCO's keypoints, then middle of the head, crown, toes, middles of shoulders and hips."""
    head, shoulders, hips = (_middle(keypoints[:, some]) for some in (slice(0, 5), slice(5, 7), slice(11, 13)))
    crown = _beyond(shoulders, head, CROWN)
    toes = _beyond(keypoints[:, 13:15], keypoints[:, 15:17], TOE)
    return torch.cat([keypoints, head, crown, toes, shoulders, hips], 1)


def _middle(points: torch.Tensor) -> torch.Tensor:
    """Return the mean (N, 1, 3) of those points (N, P, 3) that are known."""
    known = points[..., 2:] > 0
    sums = points[..., :2].where(known, 0).sum(1, keepdim=True)
    return torch.cat([sums / known.sum(1, keepdim=True).clamp_min(1), known.any(1, keepdim=True).float()], 2)


def _beyond(a: torch.Tensor, b: torch.Tensor, share: float) -> torch.Tensor:
    """Return points (N, P, 3) beyond b as seen from a, by a share of the way between them."""
    known = ((a[..., 2:] > 0) & (b[..., 2:] > 0)).float()
    return torch.cat([b[..., :2] + share * (b[..., :2] - a[..., :2]), known], 2)


def grid_maps(count: int, width: int, height: int, device: torch.device) -> torch.Tensor:
    """Return (N, 9, height, width): the territories of a face, a soft 3x3 grid."""
    centres = (torch.arange(3, device=device) + 0.5) / 3
    x = torch.exp(-((torch.arange(width, device=device) + 0.5) / width - centres[:, None]).abs() / 0.08)
    y = torch.exp(-((torch.arange(height, device=device) + 0.5) / height - centres[:, None]).abs() / 0.08)
    near = (y[:, None, :, None] * x[None, :, None, :]).reshape(9, height, width)
    return (near / near.sum(0)).expand(count, -1, -1, -1)


def maps_for(kind: RegionKind) -> tuple[int, int]:
    """Return the numbers of lines and territories that `maps_of` gives for a kind."""
    return LIMBS, LIMBS if kind is RegionKind.BODY else FACE_TERRITORIES


def maps_of(keypoints: torch.Tensor, a: Architecture) -> torch.Tensor:
    """Return lines and territories at the resolution of the networks' first layer.

    A face's lines are the same limbs (nose, eyes, ears, shoulders, as DeepPrivacy's, Hukkelas et al. 2019); its
    territories are a grid.
    """
    size = (a.width // a.stem, a.height // a.stem)
    maps = limb_maps(keypoints, *size)
    if a.kind == RegionKind.BODY:
        return maps
    return torch.cat([maps[:, :LIMBS], grid_maps(len(keypoints), *size, keypoints.device)], 1)


def surroundings(pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return (N, 27): the mean colours beside the mask in the cells of a 3x3 grid, where a neck or the light shows.

    ``pixels`` (N, 3, H, W) in -1..1, ``mask`` (N, 1, H, W), whose pixels are not looked at. A cell without any such
    pixel gets the mean of the others; zeros if there are none at all.
    """
    reach = max(1, round(RING * mask.shape[2]))
    ring = F.max_pool2d(mask, 2 * reach + 1, 1, reach) * (1 - mask)
    shares = F.adaptive_avg_pool2d(ring, 3)
    sums = F.adaptive_avg_pool2d(pixels * ring, 3)
    everywhere = sums.sum(dim=(2, 3), keepdim=True) / shares.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return torch.where(shares > 0, sums / shares.clamp_min(1e-6), everywhere).flatten(1)
