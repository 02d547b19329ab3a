"""A method that gives people away on purpose: all are filled in alike, but for what its level tells of them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.blocks import Strict
from anonbench.seeding import generator

SIZE = (16, 32)
"""Width and height of the picture that stands for everybody."""
GREY = 90


def picture() -> np.ndarray:
    """Return the blurred picture, float32, which goes on at its edges: what leaves it comes back on the other side."""
    width, height = SIZE
    noise = generator("picture").normal(0, 250, (height, width, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(np.tile(noise, (3, 3, 1)), (0, 0), 2)
    return np.clip(128 + blurred[height:-height, width:-width], 0, 255)


class Planted(Method):
    """Fills a body's box with one picture or colour; of a level by its name, that much is told."""

    class Parameters(Strict):
        """Parameters of `Planted`."""

        tells: Literal["nothing", "colour", "number", "shift"] = Field(
            "nothing",
            description="`nothing`: the picture is all there is; `shift`: it is shifted by a hash of who it is; "
            "`colour` and `number`: four pixels on grey are the mean colours of what is worn there, or such a hash.",
        )

    levels: ClassVar[dict[str, dict[str, Any]]] = {
        name: {"tells": name} for name in ("nothing", "colour", "number", "shift")
    }

    def change(self, crop: Crop) -> np.ndarray:
        tells, who = self.parameters.tells, crop.region.identity
        found = np.full_like(crop.pixels, GREY)
        x, y, width, height = crop.subject
        rows, columns = slice(max(0, int(y)), int(np.ceil(y + height))), slice(max(0, int(x)), int(np.ceil(x + width)))
        before, after = crop.pixels[rows, columns], found[rows, columns]  # of the person's own box
        height, width = after.shape[:2]
        if tells in ("nothing", "shift"):
            by = generator("shift", who).integers(-6, 7, 2) if tells == "shift" else (0, 0)
            after[:] = cv2.resize(np.roll(picture(), by, (0, 1)), (width, height), interpolation=cv2.INTER_AREA)
            return found
        digits = generator("number", who).integers(0, 4, 4)
        for k in range(4):
            worn = before[k * height // 4 : (k + 1) * height // 4 + 1, width // 3 : width - width // 3]
            after[(2 * k + 1) * height // 8, width // 2] = worn.mean((0, 1)) if tells == "colour" else 85 * digits[k]
        return found
