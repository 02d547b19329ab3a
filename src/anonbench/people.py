"""The people of a split by image: what later stages read of the table of regions."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anonbench import regions
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
    def read(cls, path: Path, region: RegionKind | None, rows: list[dict[str, Any]]) -> People:
        """Read the people of a region kind in some images (rows of the images table)."""
        ids = [row["image_id"] for row in rows]
        if not ids or region is None:
            return cls(regions.REGIONS.empty_table())
        table = regions.read(path, regions.REGIONS, (min(ids), max(ids)))
        kind = pc.equal(table["kind"], region.value)
        mine = pc.is_in(table["image_id"], value_set=pa.array(ids, pa.int64()))
        return cls(table.filter(pc.and_(kind, mine)))

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

    def rows(self, image_id: int) -> list[dict[str, Any]]:
        """Return the rows of the people of an image, with a region or without, but for run lengths and keypoints."""
        return [self._columns[index] for index in self._of.get(image_id, ())]


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
