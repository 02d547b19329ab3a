"""The images that a codec learns from, with the boxes of people and heads in them."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.compute as pc
from tqdm import tqdm

from anonbench import images, regions
from anonbench.anonymize.roi_codec.options import FitSettings
from anonbench.errors import AnonbenchError
from anonbench.images.resizing import resized
from anonbench.records import RegionKind
from anonbench.regions import frame_of
from anonbench.seeding import generator

IN_MEMORY = 1 << 30
"""Bytes of decoded images that are kept; others are decoded whenever they are learned from."""


@dataclass(frozen=True, slots=True)
class Batch:
    """``pixels`` uint8 (N, H, W, 3) RGB; ``people`` and ``heads``: for each image boxes (float64 Kx4), x0 y0 x1 y1."""

    pixels: np.ndarray
    people: list[np.ndarray]
    heads: list[np.ndarray]

    def first(self, count: int) -> Batch:
        """Return the first ``count`` images."""
        return Batch(self.pixels[:count], self.people[:count], self.heads[:count])


@dataclass(frozen=True, slots=True)
class Sources:
    """The images of a split, and who is in them (boxes float64 Kx4, x0 y0 x1 y1, by image id).

    ``learned`` and ``held`` are rows of the images table: what is learned from, and what weights are chosen on.
    """

    root: Path
    learned: list[dict[str, Any]]
    held: list[dict[str, Any]]
    people: dict[int, np.ndarray] = field(repr=False)
    heads: dict[int, np.ndarray] = field(repr=False)
    digest: str
    _kept: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    _turn: Any = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def read(
        cls, root: Path, rows: list[dict[str, Any]], table: Path, fit: FitSettings, seed: int, threads: int
    ) -> Sources:
        """Read the tables, and all images once; ``digest`` is the sha256 over their names and bytes.

        ``table`` is the table of people. Heads are the faces that the table of regions beside it holds; where it is not
        there the data set's own. Raises AnonbenchError for fewer than two images, and for one that was edited.
        """
        rows = sorted(rows, key=lambda row: row["image_id"])
        if fit.max_images is not None and len(rows) > fit.max_images:
            chosen = generator("images", seed).permutation(len(rows))[: fit.max_images]
            rows = [rows[index] for index in sorted(chosen.tolist())]
        if len(rows) < 2:
            raise AnonbenchError(f"{len(rows)} images are too few to fit a codec to", file=root)
        people, heads = boxes_of(table, rows, fit.head_scale)
        held = round(fit.held_out * len(rows))
        order = generator("held out", seed).permutation(len(rows))
        out = set(order[: min(max(held, int(fit.held_out > 0)), len(rows) - 1)].tolist())
        parts = [[row for n, row in enumerate(rows) if (n in out) is apart] for apart in (False, True)]
        found = cls(root, parts[0], parts[1], people, heads, "")
        digest = found._look(rows, threads)
        return cls(root, parts[0], parts[1], people, heads, digest, found._kept)

    @property
    def counts(self) -> dict[str, int]:
        """How much there is, for the record."""
        ids = [row["image_id"] for row in self.learned]
        none = np.zeros((0, 4))
        return {
            "images": len(self.learned),
            "held_out": len(self.held),
            "people": sum(len(self.people.get(one, none)) for one in ids),
            "heads": sum(len(self.heads.get(one, none)) for one in ids),
        }

    def _look(self, rows: list[dict[str, Any]], threads: int) -> str:
        """Hash the images, keep as many of them decoded as there is room for, and return the digest."""
        room = IN_MEMORY
        kept = []
        for row in rows:
            room -= 3 * row["width"] * row["height"]
            kept.append(room >= 0)

        def read(index: int) -> str:
            row = rows[index]
            source = f"{self.root}/{row['path']}"
            data = images.read_bytes(source, row.get("sha256"))
            if kept[index]:
                pixels = images.decode(data, file=source, **frame_of(row)).pixels
                self._kept[row["image_id"]] = pixels
            return f"{hashlib.sha256(data).hexdigest()}  {row['file_name']}\n"

        before = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            with ThreadPoolExecutor(threads) as pool:
                bar = tqdm(pool.map(read, range(len(rows))), "images", len(rows), unit="image", disable=None)
                return hashlib.sha256("".join(bar).encode()).hexdigest()
        finally:
            cv2.setNumThreads(before)

    def pixels(self, row: dict[str, Any]) -> np.ndarray:
        """Return an image, uint8 HxWx3 RGB."""
        kept = self._kept.get(row["image_id"])
        if kept is not None:
            return kept
        source = f"{self.root}/{row['path']}"
        return images.decode(images.read_bytes(source, row.get("sha256")), file=source, **frame_of(row)).pixels

    def batch(self, iteration: int, fit: FitSettings, seed: int) -> Batch:
        """Return the batch of an iteration, whatever came before."""
        size = min(fit.batch_size, len(self.learned))
        epoch, place = divmod(iteration, len(self.learned) // size)
        order = generator("order", seed, epoch).permutation(len(self.learned))[place * size : (place + 1) * size]
        draw = generator("sample", seed, iteration)
        return _joined([self._sample(self.learned[index], fit, draw) for index in order.tolist()])

    def held_out(self, fit: FitSettings) -> list[Batch]:
        """Return the held-out images as batches: at the size of the others, a window about the first head or the
        middle."""
        rows = self.held[: fit.held_out_most]
        samples = [self._sample(row, fit, None) for row in rows]
        return [_joined(samples[n : n + fit.batch_size]) for n in range(0, len(samples), fit.batch_size)]

    def _sample(
        self, row: dict[str, Any], fit: FitSettings, draw: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is learned from an image, drawn or, without a generator, always the same."""
        pixels, none = self.pixels(row), np.zeros((0, 4))
        people, heads = (of.get(row["image_id"], none) for of in (self.people, self.heads))
        width, height = fit.size
        if fit.sampling == "resize":
            scale = np.array([width / pixels.shape[1], height / pixels.shape[0]] * 2)
            pixels, people, heads = resized(pixels, fit.size), people * scale, heads * scale
        else:
            x, y = _corner(pixels, heads, fit, draw)
            corner = np.array([x, y, x, y])
            beyond = (max(height - pixels.shape[0], 0), max(width - pixels.shape[1], 0))
            if any(beyond):
                pixels = cv2.copyMakeBorder(pixels, 0, beyond[0], 0, beyond[1], cv2.BORDER_REPLICATE)
            pixels, people, heads = pixels[y : y + height, x : x + width], people - corner, heads - corner
        if draw is not None and draw.random() < fit.flip:
            pixels = pixels[:, ::-1]
            people, heads = (_mirrored(of, width) for of in (people, heads))
        return pixels, people, heads


def _corner(
    pixels: np.ndarray, heads: np.ndarray, fit: FitSettings, draw: np.random.Generator | None
) -> tuple[int, int]:
    """Return the upper left corner of a window: laid around a head, or anywhere."""
    room = [max(pixels.shape[1] - fit.size[0], 0), max(pixels.shape[0] - fit.size[1], 0)]
    if draw is None:
        if not len(heads):
            return room[0] // 2, room[1] // 2
        number, place = 0, np.array([0.5, 0.5])
    else:
        aimed, number, place = draw.random() < fit.aimed, int(draw.integers(max(len(heads), 1))), draw.random(2)
        if not (aimed and len(heads)):
            x, y = (int(share * (side + 1)) for share, side in zip(place, room, strict=True))
            return x, y
    middle = (heads[number, :2] + heads[number, 2:]) / 2
    x, y = (int(min(max(m - s * p, 0), r)) for m, s, p, r in zip(middle, fit.size, place, room, strict=True))
    return x, y


def _mirrored(boxes: np.ndarray, width: int) -> np.ndarray:
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)


def _joined(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Batch:
    pixels, people, heads = zip(*samples, strict=True)
    return Batch(np.stack(pixels), [*people], [*heads])


def faces_beside(table: Path) -> Path:
    """Return where the table of regions stands that belongs to a table of people."""
    return table.with_name(f"{table.name.removesuffix('.people.parquet')}.regions.parquet")


def boxes_of(
    table: Path, rows: list[dict[str, Any]], head_scale: float
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Return the boxes (float64 Kx4, x0 y0 x1 y1) of people and of heads in some images, by image id.

    Crowds and whoever is to be ignored have none. Who is annotated as a face alone (category `face`) is a head.
    """
    ids = {row["image_id"] for row in rows}
    people: dict[int, list[list[float]]] = defaultdict(list)
    heads: dict[int, list[list[float]]] = defaultdict(list)
    regions_table = faces_beside(table)
    chosen = regions_table.is_file()
    if chosen:
        found = regions.read(regions_table, regions.REGIONS)
        found = found.filter(pc.equal(found["kind"], RegionKind.FACE.value)).select(["image_id", "status", "subject"])
        for row in found.to_pylist():
            if row["status"] == regions.REGION and row["image_id"] in ids:
                heads[row["image_id"]].append(_grown(row["subject"], head_scale))
    columns = ["image_id", "category", "crowd", "ignore", "box", "face"]
    for row in regions.read(table, regions.PEOPLE).select(columns).to_pylist():
        if row["image_id"] not in ids or row["crowd"] or row["ignore"]:
            continue
        only_face = row["category"].casefold() == RegionKind.FACE
        face = row["face"] or (row["box"] if only_face else None)
        if face is not None and not chosen:
            heads[row["image_id"]].append(_grown(face, head_scale))
        if row["box"] is not None and not only_face:
            people[row["image_id"]].append(_grown(row["box"], 1.0))
    return ({one: np.array(of, np.float64) for one, of in found.items()} for found in (people, heads))  # type: ignore[return-value]


def _grown(box: list[float], factor: float) -> list[float]:
    x, y, w, h = box
    dx, dy = w * (factor - 1) / 2, h * (factor - 1) / 2
    return [x - dx, y - dy, x + w + dx, y + h + dy]
