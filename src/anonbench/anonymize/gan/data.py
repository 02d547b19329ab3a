"""The people that the generator learns from: crops of one split, held in memory or, if they are many, in a file."""

from __future__ import annotations

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from anonbench import images
from anonbench.crops import Work, cut
from anonbench.errors import AnonbenchError
from anonbench.people import People
from anonbench.records import FLIP, Region, RegionKind
from anonbench.regions import frame_of
from anonbench.seeding import generator
from anonbench.windows import Window, published_window

IN_MEMORY = 1 << 30
"""Bytes of crops that are held in memory; more go to an unnamed file that the system removes with the process."""


def published_crop(region: Region, width: int, height: int) -> Window:
    """Return the published crop of a region at the image's own resolution: `shrink` must see every masked pixel."""
    return Window(published_window(region, width, height).box)


def shrink(pixels: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a crop (uint8 HxWx3) and its mask (bool HxW) at the working size (width, height).

    A pixel of the mask returned is set where any masked pixel has a share in it: outside it nothing of the person is
    left, however thin an arm is.
    """
    small = size[0] <= pixels.shape[1] and size[1] <= pixels.shape[0]
    how = cv2.INTER_AREA if small else cv2.INTER_LINEAR
    covered = cv2.resize(mask.astype(np.float32), size, interpolation=how) > 0
    return cv2.resize(pixels, size, interpolation=how), covered


def shares(keypoints: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """Return keypoints of a crop (float32 17x3, pixels) as shares of its width and height; zeros for None."""
    if keypoints is None:
        return np.zeros((17, 3), np.float32)
    points = keypoints.astype(np.float32)
    known = np.isfinite(points).all(axis=1) & (points[:, 2] > 0)
    points[:, :2] /= size
    points[~known] = 0
    return points


@dataclass(frozen=True, slots=True)
class Batch:
    """``pixels`` uint8 (N, H, W, 3) RGB; ``masks`` bool (N, H, W); ``keypoints`` float32 (N, 17, 3), see `shares`."""

    pixels: np.ndarray
    masks: np.ndarray
    keypoints: np.ndarray

    def first(self, count: int) -> Batch:
        """Return the first ``count`` crops."""
        return Batch(self.pixels[:count], self.masks[:count], self.keypoints[:count])


@dataclass(frozen=True, slots=True)
class Crops:
    """Every person's crop, by image id and person id; the same columns as `Batch`."""

    pixels: np.ndarray = field(repr=False)
    masks: np.ndarray = field(repr=False)
    keypoints: np.ndarray = field(repr=False)
    counts: dict[str, int]
    digest: str

    @classmethod
    def read(
        cls,
        root: Path,
        rows: list[dict[str, Any]],
        people: People,
        kind: RegionKind,
        size: tuple[int, int],
        min_pixels: int,
        max_people: int | None,
        seed: int,
        threads: int,
    ) -> Crops:
        """Cut the people out of the images (``rows`` of the images table).

        ``digest`` is the sha256 over the images' names and bytes that were read, in order of image id. Raises
        AnonbenchError when fewer than two people are left.
        """
        rows = sorted(rows, key=lambda row: row["image_id"])
        found: list[tuple[dict[str, Any], list[Region]]] = []
        seen = small = 0
        for row in rows:
            everyone = people.regions(row)
            large = [one for one in everyone if one.box[3] - one.box[1] >= min_pixels]
            seen, small = seen + len(everyone), small + len(everyone) - len(large)
            found.append((row, large))
        total = sum(len(regions) for _, regions in found)
        if max_people is not None and total > max_people:
            kept = set(generator("people", seed).permutation(total)[:max_people].tolist())
            numbers = iter(range(total))
            found = [(row, [one for one in regions if next(numbers) in kept]) for row, regions in found]
            total = max_people
        if total < 2:
            raise AnonbenchError(
                f"{total} of the split's {seen} {kind} regions are at least {min_pixels} pixels high",
                file=root,
                remedy="lower fit.min_pixels, or fit on another data set (fit_on)",
            )
        found = [(row, regions) for row, regions in found if regions]
        width, height = size
        pixels = _array((total, height, width, 3))
        masks = _array((total, height, width))
        keypoints = np.zeros((total, 17, 3), np.float32)
        starts = np.cumsum([0, *(len(regions) for _, regions in found)])
        digests: list[str] = [""] * len(found)

        def read(index: int) -> None:
            row, regions = found[index]
            source = f"{root}/{row['path']}"
            data = images.read_bytes(source, row.get("sha256"))
            digests[index] = f"{hashlib.sha256(data).hexdigest()}  {row['file_name']}\n"
            decoded = images.decode(data, file=source, **frame_of(row))
            work = Work(row["image_id"], decoded.pixels, regions, people.keypoints(row["image_id"]), source)
            for at, one in enumerate(regions, starts[index]):
                crop = cut(work, one, published_crop(one, row["width"], row["height"]), "replicate", seed)
                pixels[at], masks[at] = shrink(crop.pixels, crop.mask, size)
                keypoints[at] = shares(crop.keypoints, crop.pixels.shape[1::-1])

        before = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            with ThreadPoolExecutor(threads) as pool:
                list(tqdm(pool.map(read, range(len(found))), "crops", len(found), unit="image", disable=None))
        finally:
            cv2.setNumThreads(before)
        counts = {"images": len(found), "people": total, "below_min_pixels": small, "regions": seen}
        digest = hashlib.sha256("".join(digests).encode()).hexdigest()
        return cls(pixels, masks.view(bool), keypoints, counts, digest)

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, iteration: int, size: int, seed: int, flip: float, dropout: float) -> Batch:
        """Return the batch of an iteration, whatever came before: shuffled, mirrored, some without keypoints."""
        size = min(size, len(self))
        epoch, place = divmod(iteration, len(self) // size)
        order = generator("order", seed, epoch).permutation(len(self))[place * size : (place + 1) * size]
        draw = generator("augment", seed, iteration)
        mirrored, hidden = draw.random(size) < flip, draw.random(size) < dropout
        pixels, masks, keypoints = self.pixels[order], self.masks[order], self.keypoints[order]
        pixels[mirrored], masks[mirrored] = pixels[mirrored, :, ::-1], masks[mirrored, :, ::-1]
        turned = keypoints[mirrored][:, FLIP]
        turned[..., 0] = np.where(turned[..., 2] > 0, 1 - turned[..., 0], 0)
        keypoints[mirrored] = turned
        keypoints[hidden] = 0
        return Batch(pixels, masks, keypoints)


def _array(shape: tuple[int, ...]) -> np.ndarray:
    if np.prod(shape, dtype=np.int64) <= IN_MEMORY:
        return np.zeros(shape, np.uint8)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)
