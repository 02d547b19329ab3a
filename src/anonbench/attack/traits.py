"""What is true of people: the attributes that annotations say, and the colours of their clothes in original images."""

from __future__ import annotations

import cv2
import numpy as np

from anonbench import regions
from anonbench.attack.contract import Site
from anonbench.attack.subjects import Subjects, pictures_of
from anonbench.datasets.base import CAMERA
from anonbench.people import People
from anonbench.records import Region, RegionKind

NO_TRAITS = (CAMERA, "outfit")
"""Attributes that say nothing of a person: who took the picture, and the number of what is worn in it."""
BANDS = {"upper": (0.2, 0.5), "lower": (0.5, 0.9)}
"""Where clothes are sought: from one share of the body region's height to another, without head and shoes."""
FEWEST_PIXELS = 16
"""With fewer pixels of the body in a band its colour is not known."""


def labels_of(people: Subjects) -> dict[str, np.ndarray]:
    """Return by attribute what is said of people: object (N,), str or None, names sorted."""
    found = {}
    for name in sorted({name for of in people.attributes for name in of}.difference(NO_TRAITS)):
        found[name] = np.empty(len(people), dtype=object)
        found[name][:] = [of.get(name) for of in people.attributes]
    return found


def colours_of(site: Site, people: Subjects) -> dict[str, np.ndarray]:
    """Return the mean colour of people's bodies in each of the `BANDS`, in the original images, by the band's name.

    float64 (N, 3): L*, a*, b* (CIE 1976, white point D65) of the visible pixels of the body region, the mean over
    pixels; NaN of those without such a region, or with fewer than `FEWEST_PIXELS` in the band. Pixels are converted by
    OpenCV in whole numbers, to a quarter of a unit of L* and one of a* and b*. Raises AnonbenchError for tables and
    images that are missing or damaged.
    """
    rows = regions.read(site.table("images"), regions.IMAGES).to_pylist()
    bodies = People.read(site.table(RegionKind.BODY.table), RegionKind.BODY, rows)
    read = pictures_of(site.original, site.split)
    found = {band: np.full((len(people), 3), np.nan) for band in BANDS}
    of: dict[int, dict[int, int]] = {}
    for k, (image, person) in enumerate(zip(people.images.tolist(), people.people.tolist(), strict=True)):
        of.setdefault(image, {})[person] = k
    for image in rows:
        wanted = of.get(image["image_id"], {})
        if not wanted:
            continue
        pixels = read(image["image_id"])
        for region in bodies.regions(image):
            if region.person_id in wanted:
                for band, colour in _colours(pixels, region).items():
                    found[band][wanted[region.person_id]] = colour
    return found


def _colours(pixels: np.ndarray, region: Region) -> dict[str, np.ndarray]:
    """Return the mean Lab colour (3,) of a region's pixels by band, where there are enough of them."""
    x0, y0, x1, y1 = region.box
    lab = cv2.cvtColor(np.ascontiguousarray(pixels[y0:y1, x0:x1]), cv2.COLOR_RGB2LAB)
    height = y1 - y0
    found = {}
    for band, (first, last) in BANDS.items():
        part = slice(round(first * height), round(last * height))
        inside = lab[part][region.mask[part]]
        if len(inside) >= FEWEST_PIXELS:
            lightness, a, b = inside.mean(axis=0, dtype=np.float64)
            found[band] = np.array([lightness * 100 / 255, a - 128, b - 128])
    return found
