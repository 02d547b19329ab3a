"""The people of a split by image: what later stages read of the tables of regions and of people."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anonbench import regions
from anonbench.errors import AnonbenchError
from anonbench.records import Region, RegionKind


class People:
    """The rows of a region kind by image; run lengths stay in Arrow's memory until a mask is needed."""

    def __init__(self, table: pa.Table) -> None:
        order = pc.sort_indices(table, sort_keys=[("image_id", "ascending"), ("person_id", "ascending")])
        table = table.take(order).combine_chunks()
        self._columns = table.drop_columns(["runs", "keypoints"]).to_pylist()
        self._lists = {name: _Lists(table[name]) for name in ("runs", "keypoints")}
        self._of: dict[int, list[int]] = defaultdict(list)
        for index, row in enumerate(self._columns):
            self._of[row["image_id"]].append(index)

    @classmethod
    def nobody(cls) -> People:
        """Return no people."""
        return cls(regions.REGIONS.empty_table())

    @classmethod
    def read(cls, path: Path, region: RegionKind, rows: list[dict[str, Any]]) -> People:
        """Read the people of a region kind in some images (rows of the images table).

        Raises AnonbenchError for a table that is missing or damaged, and for a region that leaves its image.
        """
        ids = [row["image_id"] for row in rows]
        if not ids:
            return cls.nobody()
        table = regions.read_checked(path, regions.REGIONS, (min(ids), max(ids)))
        kind = pc.equal(table["kind"], region.value)
        mine = pc.is_in(table["image_id"], value_set=pa.array(ids, pa.int64()))
        table = table.filter(pc.and_(kind, mine))
        _check_inside(table, rows, path)
        return cls(table)

    def have_regions(self, image_id: int) -> bool:
        """Tell whether anybody in an image has a region."""
        return any(self._columns[index]["status"] == regions.REGION for index in self._of.get(image_id, ()))

    def regions(self, image: dict[str, Any]) -> list[Region]:
        """Return the regions of an image, masks decoded."""
        found = []
        for index in self._of.get(image["image_id"], ()):
            row = self._columns[index]
            if row["status"] == regions.REGION:
                found.append(regions.to_region({**row, "runs": self._lists["runs"][index]}, image["height"]))
        return found

    def keypoints(self, image_id: int) -> dict[int, np.ndarray]:
        """Return keypoints (float32 17x3) by person id."""
        found = {}
        for index in self._of.get(image_id, ()):
            values = self._lists["keypoints"][index]
            if values is not None:
                found[self._columns[index]["person_id"]] = values.reshape(-1, 3)
        return found

    def people(self, image: dict[str, Any]) -> list[Region]:
        """Return nothing: who is in an image is among its regions."""
        return []

    def rows(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of the people of an image, with a region or without, but for run lengths and keypoints."""
        return [self._columns[index] for index in self._of.get(image["image_id"], ())]


def _check_inside(table: pa.Table, rows: list[dict[str, Any]], path: Path) -> None:
    """Raise AnonbenchError when a region leaves its image, one of ``rows`` of the images table."""
    table = table.filter(pc.equal(table["status"], regions.REGION))
    sizes = np.array(sorted((row["image_id"], row["width"], row["height"]) for row in rows), dtype=np.int64)
    of = sizes[np.searchsorted(sizes[:, 0], table["image_id"].to_numpy())]
    outside = (table["x1"].to_numpy() > of[:, 1]) | (table["y1"].to_numpy() > of[:, 2])
    if outside.any():
        raise AnonbenchError(
            "has a region that leaves its image",
            file=path,
            entry=f"image {of[outside][0, 0]}",
            remedy="delete it and run the annotate stage",
        )


class Frames:
    """Whole images as regions, and the people in them, whether they have a face, a mask or a box or not."""

    def __init__(self, table: pa.Table) -> None:
        self._of: dict[int, list[dict[str, Any]]] = defaultdict(list)
        table = table.select(["image_id", "person_id", "category", "box", "face", "area"])
        for row in table.sort_by([("image_id", "ascending"), ("person_id", "ascending")]).to_pylist():
            self._of[row["image_id"]].append(row)

    @classmethod
    def read(cls, path: Path, rows: list[dict[str, Any]]) -> Frames:
        """Read the people of some images (rows of the images table) from a table of people."""
        ids = [row["image_id"] for row in rows]
        if not ids:
            return cls(regions.PEOPLE.empty_table())
        table = regions.read(path, regions.PEOPLE, (min(ids), max(ids)))
        return cls(table.filter(pc.is_in(table["image_id"], value_set=pa.array(ids, pa.int64()))))

    def have_regions(self, image_id: int) -> bool:
        """Return True: every image is a region."""
        return True

    def regions(self, image: dict[str, Any]) -> list[Region]:
        """Return the frame of an image."""
        width, height = image["width"], image["height"]
        box, mask = (0, 0, width, height), np.ones((height, width), bool)
        return [Region(0, RegionKind.FRAME, RegionKind.FRAME.value, box, mask, (0.0, 0.0, width, height))]

    def keypoints(self, image_id: int) -> dict[int, np.ndarray]:
        """Return nothing: a frame has no keypoints."""
        return {}

    def people(self, image: dict[str, Any]) -> list[Region]:
        """Return the faces, or where the data set gives none the bodies, of the people in an image; boxes alone."""
        found = []
        for row in self._of.get(image["image_id"], ()):
            subject = row["face"] or row["box"]
            if subject is None:
                continue
            face = bool(row["face"]) or row["category"].casefold() == RegionKind.FACE
            x, y, w, h = subject
            kind, nothing = RegionKind.FACE if face else RegionKind.BODY, np.zeros((0, 0), bool)
            found.append(Region(row["person_id"], kind, RegionKind.FRAME.value, (0, 0, 0, 0), nothing, (x, y, w, h)))
        return found

    def rows(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a row per person of an image; the region of each is the frame."""
        return [whole(row, image) for row in self._of.get(image["image_id"], ())]


def whole(row: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a person with the frame of their image as the region."""
    frame = RegionKind.FRAME.value
    return {**row, "kind": frame, "source": frame, "x0": 0, "y0": 0, "x1": image["width"], "y1": image["height"]}


class _Lists:
    """A column of lists, each a slice of one NumPy array; None where the table has null."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        array = column.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
        self._offsets = array.offsets.to_numpy()
        self._values = array.values.to_numpy()
        self._null = array.is_null().to_numpy(zero_copy_only=False)

    def __getitem__(self, index: int) -> np.ndarray | None:
        if self._null[index]:
            return None
        return self._values[self._offsets[index] : self._offsets[index + 1]]
