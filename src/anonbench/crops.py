"""Crops of people: what methods change, and what generators, attackers and figures learn from or show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from anonbench.records import OF_PEOPLE, Box, Region
from anonbench.seeding import seed_of
from anonbench.windows import Window

TRAIN = "train"
"""The split whose random numbers do not depend on its name."""


def person_seed(seed: int, split: str, image_id: int, whom: object) -> int:
    """Return the seed of a person, by id, or of the frame of an image.

    Image ids start at 1 in every split, so the split belongs to what is hashed: the same number of an image and of a
    person would otherwise give two people one look, and linked releases would share what nobody has in common. `TRAIN`
    does not, so that what studies have made stays.
    """
    return seed_of(seed, *([] if split == TRAIN else [split]), image_id, whom)


@dataclass(frozen=True, slots=True)
class Work:
    """One image: ``pixels`` (uint8 HxWx3 RGB) change in place; ``keypoints`` are float32 17x3 by person.

    ``people`` are those in an image whose one region is the frame, each with their face or body as a region. ``split``
    is the image's, for random numbers (`person_seed`).
    """

    image_id: int
    pixels: np.ndarray = field(repr=False)
    regions: Sequence[Region]
    keypoints: Mapping[int, np.ndarray] = field(default_factory=dict)
    file: str | None = None
    people: Sequence[Region] = ()
    split: str = TRAIN


@dataclass(frozen=True, slots=True)
class Crop:
    """One region as a method sees it, in pixels of the crop; ``region`` and ``window`` are in the image's pixels.

    ``pixels`` is uint8 HxWx3 RGB and read-only; ``subject`` is the person's or face's own box; ``keypoints``
    is float32 17x3 (x, y, visibility) or None. ``people`` are all regions of the image. ``seed`` is the person's in
    this image or the frame's, ``study_seed`` what it was derived from.
    """

    pixels: np.ndarray = field(repr=False)
    subject: Box
    keypoints: np.ndarray | None
    region: Region
    window: Window
    seed: int
    people: Sequence[Region] = field(default=(), repr=False)
    study_seed: int = 0

    @property
    def background(self) -> np.ndarray:
        """Where nobody's region is, as far as regions are known: bool HxW."""
        free = ~self.mask
        left, top, right, bottom = self.window.box
        for one in self.people:
            x0, y0, x1, y1 = one.box
            if x0 < right and left < x1 and y0 < bottom and top < y1:
                free &= ~replace(self, region=one).mask
        return free

    @property
    def mask(self) -> np.ndarray:
        """Where the result will be pasted: bool HxW."""
        (left, top, right, bottom), (x0, y0, x1, y1) = self.window.box, self.region.box
        mask = np.zeros((bottom - top, right - left), np.uint8)
        a, b, c, d = max(x0, left), max(y0, top), min(x1, right), min(y1, bottom)  # somebody else's may leave the crop
        mask[b - top : d - top, a - left : c - left] = self.region.mask[b - y0 : d - y0, a - x0 : c - x0]
        if self.window.size is None:
            return mask.view(bool)
        return cv2.resize(mask, self.window.size, interpolation=cv2.INTER_NEAREST).view(bool)

    def seed_of(self, identity: bool = False) -> int:
        """Return the person's seed; with ``identity`` that of all images of the person, where the data set tells."""
        if identity and self.region.identity is not None:
            return seed_of(self.study_seed, "identity", self.region.identity)
        return self.seed

    def generator(self, identity: bool = False) -> np.random.Generator:
        """Return a new random generator of `seed_of`, the same whenever and wherever the person is worked on."""
        return np.random.Generator(np.random.PCG64(self.seed_of(identity)))


def cut(work: Work, region: Region, window: Window, padding: str, seed: int) -> Crop:
    """Cut a region's crop out of an image, padded where it leaves it and resized to the working size."""
    height, width = work.pixels.shape[:2]
    x0, y0, x1, y1 = window.box
    pixels = work.pixels[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    beyond = (max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0))
    if any(beyond):
        border = cv2.BORDER_CONSTANT if padding == "zero" else cv2.BORDER_REPLICATE
        pixels = cv2.copyMakeBorder(pixels, *beyond, border)
    scale = (1.0, 1.0)
    if window.size is not None:
        scale = (window.size[0] / (x1 - x0), window.size[1] / (y1 - y0))
        pixels = _resized(pixels, window.size)
    keypoints = work.keypoints.get(region.person_id)
    if keypoints is not None:
        keypoints = keypoints.astype(np.float32)
        known = keypoints[:, 2] > 0
        if known.any():
            keypoints[known, :2] = (keypoints[known, :2] - (x0, y0)) * scale
    whom = region.person_id if region.kind in OF_PEOPLE else region.kind
    x, y, w, h = region.subject
    pixels = pixels.view()
    pixels.flags.writeable = False
    return Crop(
        pixels=pixels,
        subject=((x - x0) * scale[0], (y - y0) * scale[1], w * scale[0], h * scale[1]),
        keypoints=keypoints,
        region=region,
        window=window,
        seed=person_seed(seed, work.split, work.image_id, whom),
        people=work.regions,
        study_seed=seed,
    )


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
