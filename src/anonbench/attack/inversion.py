"""What follows from a method's parameters without learning: changed regions of an image as they probably were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anonbench import manifests, registry
from anonbench.crops import Work, cut
from anonbench.errors import AnonbenchError
from anonbench.people import Frames, People
from anonbench.records import Region, RegionKind


@dataclass(frozen=True)
class Inversion:
    """A variant's method, by its manifest, and the regions that it changed in a split."""

    method: Any
    people: People | Frames

    @classmethod
    def of(cls, variant: Path, annotations: Path, split: str, rows: list[dict[str, Any]]) -> Inversion:
        """Read it for some images (rows of the images table); raise AnonbenchError for a method that has no inverse."""
        said = manifests.summary_of(variant, split)
        file = manifests.summary_path(variant, split)
        try:
            name, parameters, region = said["method"], said["parameters"], RegionKind(said["region"])
        except (KeyError, TypeError, ValueError):
            raise AnonbenchError(
                "does not say how it was made", file=file, remedy="attack a variant, or run the anonymize stage again"
            ) from None
        method = registry.load("methods", name)
        if not method.inverts:
            raise AnonbenchError(
                f"arithmetic does not take back anything of {name}", file=file,
                remedy="give the attacker a restorer of kind unet",
            )  # fmt: skip
        table = annotations / f"{split}.{region.table}.parquet"
        people = Frames.read(table, rows) if region is RegionKind.FRAME else People.read(table, region, rows)
        return cls(method(parameters), people)

    def __call__(self, pixels: np.ndarray, image: dict[str, Any], changed: set[tuple[int, int]]) -> np.ndarray:
        """Return an image (uint8 HxWx3) with the regions of those who were ``changed`` (image, person) inverted.

        ``image`` is its row of the images table. Whoever was changed last, the largest, is inverted first.
        """
        found = self.people.regions(image)
        if isinstance(self.people, People):
            found = [one for one in found if (image["image_id"], one.person_id) in changed]
        found.sort(key=lambda one: (int(np.count_nonzero(one.mask)), one.person_id), reverse=True)
        return self._inverted(pixels, image, found) if found else pixels

    def _inverted(self, pixels: np.ndarray, image: dict[str, Any], found: Sequence[Region]) -> np.ndarray:
        work = Work(image["image_id"], pixels.copy(), found)
        height, width = pixels.shape[:2]
        for one in found:
            window = self.method.window(one, width, height)
            crop = cut(work, one, window, self.method.padding, 0)
            (left, top, _, _), (x0, y0, x1, y1) = window.box, one.box
            inside = self.method.invert(crop)[y0 - top : y1 - top, x0 - left : x1 - left]
            np.copyto(work.pixels[y0:y1, x0:x1], inside, where=one.mask[..., None])
        return work.pixels
