"""What a detector is: it gets images and returns boxes with scores. Sizes, tiles, clipping, files are the engine's."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from pydantic import Field

from anonbench import registry
from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.plugins import Plugin

Finds = Literal["face", "person"]


Network = TypeVar("Network")


class BySize(Generic[Network]):
    """Networks that are each good for one size of images: those of small images are kept, of a large one the last.

    An image is looked at in several sizes. OpenCV holds some 200 bytes for each of a size's pixels.
    """

    PIXELS: ClassVar[int] = 1 << 20
    """So many pixels the sizes have together, unless a single one has more."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Network] = {}

    def get(self, width: int, height: int, read: Callable[[int, int], Network]) -> Network:
        """Return the network of a size; ``read`` makes it unless it is kept, after others have made room for it."""
        size = width, height
        net = self._kept.pop(size, None)
        if net is None:
            while self._kept and sum(w * h for w, h in self._kept) + width * height > self.PIXELS:
                del self._kept[next(iter(self._kept))]  # whose use is longest ago
            net = read(width, height)
        self._kept[size] = net
        return net


class DetectorOptions(Strict):
    """The settings of a detector; a plugin adds its own."""

    threshold: float = Field(0.5, ge=0, le=1, description="Detections below this score are dropped.")


class _Plugin(Plugin, abc.ABC):
    """What detectors and stored detections have in common.

    ``finds`` says what the boxes are of. ``needs_torch`` says whether it needs PyTorch, which not every rule's
    environment has.
    """

    Options: ClassVar[type[Strict]] = DetectorOptions
    finds: ClassVar[Finds] = "face"
    needs_torch: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def version(self) -> str:
        """Library and model with their versions, in words."""

    @property
    def weights(self) -> list[tuple[str, str]]:
        """Name and hexadecimal sha256 of every file (or table) of numbers that decides the result."""
        return []


class Detector(_Plugin):
    """Finds faces or people in pixels.

    A plugin may not change the images, may not depend on what else is in a batch or was seen before, and gives the same
    boxes for the same pixels each time. ``batch`` is how many images it wants at a time; the engine gives it no more,
    and all of them from one image of the data set.
    """

    batch: int = 1

    @abc.abstractmethod
    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the detections of each image (uint8 HxWx3, RGB; sizes may differ; not to be written to).

        Each result is float32 (n, 5): x, y, width, height in pixels of that image (x and y of the upper left corner,
        may leave the image) and score 0..1, the best first, none below ``options.threshold``.
        """


class StoredDetections(_Plugin):
    """Boxes that were found elsewhere: the engine asks by image and never decodes it."""

    @property
    @abc.abstractmethod
    def entries(self) -> int:
        """How many images the stored file has an entry for."""

    @abc.abstractmethod
    def boxes_of(self, image_id: int, file_name: str) -> np.ndarray | None:
        """Return an image's detections as `Detector.detect` does (float32 (n, 5)), None when it has no entry."""


def load(name: str) -> type[Detector] | type[StoredDetections]:
    """Return a detector's class by its registered name; raise AnonbenchError for an unknown one."""
    plugin = registry.load("detectors", name)
    if not (isinstance(plugin, type) and issubclass(plugin, (Detector, StoredDetections))):
        raise AnonbenchError(
            f"the detector plugin '{name}' is not a Detector",
            remedy="derive it from anonbench.detectors.base.Detector or StoredDetections",
        )
    return plugin


def make(name: str, options: dict[str, Any] | None = None) -> Detector | StoredDetections:
    """Return a detector by its registered name; raise AnonbenchError for an unknown name, option or missing file."""
    return load(name)(options)


def check_file(path: Path, sha256: str | None, entry: str) -> str:
    """Return the sha256 of a file that the user names; raise AnonbenchError if it is missing or another one."""
    try:
        found = sha256_file(path)
    except (FileNotFoundError, IsADirectoryError):
        raise AnonbenchError("no such file", file=path, entry=entry, remedy=f"set {entry} to a file") from None
    if sha256 is not None and found != sha256.lower():
        raise AnonbenchError(
            f"its sha256 is {found}, not {sha256}",
            file=path,
            entry=entry,
            remedy="fetch it again, or correct the sha256",
        )
    return found


def tidy(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """Return detections (n, 5) as float32 in the contract's form.

    Those that are not finite, have no size or score below ``threshold`` go; the rest is ordered by score, then by box,
    so that no order of work shows.
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 5)
    good = np.isfinite(boxes).all(axis=1) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0) & (boxes[:, 4] >= threshold)
    boxes = boxes[good]
    return boxes[order(boxes)]


def order(boxes: np.ndarray) -> np.ndarray:
    """Return the indices that put detections (n, 5) in order: best score first, equal ones by x, y, width, height."""
    return np.lexsort((boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -boxes[:, 4]))


def nms(boxes: np.ndarray, iou: float) -> np.ndarray:
    """Return detections (n, 5) in order, without those whose IoU with a better one that stays is above ``iou``."""
    boxes = boxes[order(boxes)]
    x0, y0, x1, y1 = boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    areas = boxes[:, 2] * boxes[:, 3]
    alive = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        rest = slice(i + 1, None)
        wide = np.minimum(x1[i], x1[rest]) - np.maximum(x0[i], x0[rest])
        high = np.minimum(y1[i], y1[rest]) - np.maximum(y0[i], y0[rest])
        inside = np.clip(wide, 0, None) * np.clip(high, 0, None)
        alive[rest] &= inside <= iou * (areas[i] + areas[rest] - inside)
    return boxes[alive]
