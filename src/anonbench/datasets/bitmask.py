"""Label images: PNGs whose pixels name the object that they belong to, and those objects as COCO masks."""

from __future__ import annotations

import io
import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm import tqdm

from anonbench.errors import AnonbenchError
from anonbench.images import read_bytes

Entries = list[dict[str, Any]]
"""COCO's annotations, here without ``id`` and ``image_id``."""

_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
_THREADS = min(4, os.cpu_count() or 1)
_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Header:
    """A PNG's size in pixels, bits per sample and colour type (the PNG specification's number)."""

    width: int
    height: int
    depth: int
    colour: int

    @property
    def samples(self) -> str:
        """What a pixel holds, in words: ``16-bit grey``."""
        return f"{self.depth}-bit {_COLOURS.get(self.colour, 'unknown')}"


def png_header(path: Path) -> Header:
    """Read a PNG's header chunk; raise AnonbenchError when the file is empty, cut short or no PNG."""
    with path.open("rb") as stream:
        start = stream.read(26)
    if not start:
        raise AnonbenchError("is empty", file=path, remedy="unpack the archive again")
    if len(start) < 26 or start[:8] != b"\x89PNG\r\n\x1a\n" or start[12:16] != b"IHDR":
        raise AnonbenchError("is not a PNG file", file=path, remedy="unpack the archive again")
    return Header(*struct.unpack(">IIBB", start[16:26]))


def image_size(path: Path) -> tuple[int, int]:
    """Return an image file's stored width and height from its header; raise AnonbenchError when it has none."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise AnonbenchError("is not an image that can be read", file=path, remedy="unpack the archive again") from None


def check_label(path: Path, image: Path, depth: int, colour: int, remedy: str) -> Header:
    """Return the header of a label image after comparing it with what the format asks for and with its image's size.

    Raises AnonbenchError that names the label image and what differs.
    """
    header = png_header(path)
    if (header.depth, header.colour) != (depth, colour):
        wanted = Header(0, 0, depth, colour).samples
        raise AnonbenchError(f"holds {header.samples} pixels where the format has {wanted}", file=path, remedy=remedy)
    size = image_size(image)
    if size != (header.width, header.height):
        raise AnonbenchError(
            f"is {header.width}x{header.height} pixels, its image {image.name} is {size[0]}x{size[1]}",
            file=path,
            remedy="use images and labels of the same release, neither of them resized",
        )
    return header


def read_label(path: Path) -> np.ndarray:
    """Return a label image's samples: uint16 (height, width) or uint8 (height, width, channels, RGBA order).

    Raises AnonbenchError when the file is missing, empty, cut short or damaged.
    """
    data = read_bytes(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return np.asarray(image)
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise AnonbenchError(f"cannot be decoded ({error})", file=path, remedy="unpack the archive again") from None


@dataclass(frozen=True, slots=True)
class Mask:
    """The pixels of one value: ``counts`` are COCO's uncompressed run lengths, ``bbox`` x, y, width, height."""

    value: int
    counts: np.ndarray
    bbox: tuple[int, int, int, int]
    area: int

    def entry(self, size: tuple[int, int], category: int, **extra: Any) -> dict[str, Any]:
        """Return the mask as a COCO annotation; ``size`` is the image's height and width."""
        runs = coco_mask.frPyObjects({"size": [*size], "counts": self.counts.tolist()}, *size)
        return {
            "category_id": category,
            "bbox": [*self.bbox],
            "area": self.area,
            "segmentation": {"size": [*size], "counts": runs["counts"].decode()},
            "iscrowd": 0,
            **extra,
        }


class Runs:
    """A label image (integers, height x width) as the runs of equal values down its columns.

    COCO's run lengths of every value follow from one pass over the pixels, however many objects there are.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.height, self.width = labels.shape
        column_major = cv2.transpose(labels).ravel()
        edges = np.flatnonzero(column_major[1:] != column_major[:-1]) + 1
        self._starts = np.concatenate(([0], edges))
        self._ends = np.concatenate((edges, [column_major.size]))
        self._values = column_major[self._starts].astype(np.int64)

    def values(self) -> list[int]:
        """Return the values that occur, sorted."""
        return [int(v) for v in np.unique(self._values)]

    def masks(self, wanted: Iterable[int]) -> list[Mask]:
        """Return the masks of those of the ``wanted`` values that occur, sorted by value."""
        chosen = np.flatnonzero(np.isin(self._values, np.fromiter(wanted, np.int64)))
        order = chosen[np.argsort(self._values[chosen], kind="stable")]
        if not order.size:
            return []
        borders = np.flatnonzero(np.diff(self._values[order])) + 1
        return [self._mask(runs) for runs in np.split(order, borders)]

    def _mask(self, runs: np.ndarray) -> Mask:
        starts, ends, height = self._starts[runs], self._ends[runs], self.height
        counts = np.empty(2 * len(runs), np.int64)
        counts[0::2] = starts - np.concatenate(([0], ends[:-1]))
        counts[1::2] = ends - starts
        rest = self.height * self.width - int(ends[-1])
        if rest:
            counts = np.append(counts, rest)
        first, last = starts // height, (ends - 1) // height
        over = first != last  # a run that goes on in the next column touches the image's lower and upper edge
        x0, x1 = int(first[0]), int(last[-1])
        y0 = int(np.where(over, 0, starts % height).min())
        y1 = int(np.where(over, height - 1, (ends - 1) % height).max())
        area = int((ends - starts).sum())
        return Mask(int(self._values[runs[0]]), counts, (x0, y0, x1 - x0 + 1, y1 - y0 + 1), area)


class Annotations:
    """A split's annotations, converted image by image in a few threads whenever they are iterated over.

    ``convert`` takes the position of an image and returns its entries; ids count from 1, in the order of the images,
    whose ids count from 1 too. Raises what ``convert`` raises.
    """

    def __init__(self, convert: Callable[[int], Entries], images: int, title: str) -> None:
        self._convert, self._images, self._title = convert, images, title

    def __iter__(self) -> Iterator[dict[str, Any]]:
        number = 0
        for index, entries in enumerate(tqdm(self._converted(), self._title, self._images, unit="image", disable=None)):
            for entry in entries:
                number += 1
                yield {"id": number, "image_id": index + 1, **entry}

    def _converted(self) -> Iterator[Entries]:
        pool = ThreadPoolExecutor(_THREADS)
        waiting: deque[Future[Entries]] = deque()
        try:
            for index in range(self._images):
                waiting.append(pool.submit(self._convert, index))
                if len(waiting) > _THREADS * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def files_in(folder: Path, pattern: str, suffix: str) -> dict[str, Path]:
    """Return the files that match ``pattern`` in ``folder`` by their path without ``suffix``, sorted.

    Hidden files (the ``._`` twins that some systems write) are left out.
    """
    found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    return {path.relative_to(folder).as_posix().removesuffix(suffix): path for path in found}


def check_pairs(images: dict[str, Path], labels: dict[str, Path], label_of: Callable[[str], Path], remedy: str) -> None:
    """Raise AnonbenchError for the first image without a label image, or label image without an image."""
    bare = sorted(images.keys() - labels.keys())
    if bare:
        more = f" (nor have {len(bare) - 1} other images)" if len(bare) > 1 else ""
        raise AnonbenchError(f"has no label image {label_of(bare[0])}{more}", file=images[bare[0]], remedy=remedy)
    lost = sorted(labels.keys() - images.keys())
    if lost:
        more = f" (and so do {len(lost) - 1} others)" if len(lost) > 1 else ""
        raise AnonbenchError(f"labels an image that is not there{more}", file=labels[lost[0]], remedy=remedy)


def check_disjoint(names: Sequence[str], split: str, others: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Raise AnonbenchError when an image of ``split`` stands in another split too: the test would know the training."""
    for other, known in others.items():
        both = sorted({*names} & {*known})
        if both:
            raise AnonbenchError(
                f"is in the splits '{split}' and '{other}'",
                file=folder,
                entry=both[0],
                remedy="unpack the archive again: no image is in two official splits",
            )
