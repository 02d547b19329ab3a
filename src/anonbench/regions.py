"""The tables that `annotate` writes and later stages read: of images, of people, of regions (one per person and kind).

Masks are COCO run lengths (column-major, starting with background), so that decoding one inside its box is exact by
construction and costs as much as the box's columns.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from anonbench.errors import AnonbenchError, in_one_line
from anonbench.files import atomic, remedy
from anonbench.records import Region, RegionKind

Row = TypeVar("Row", bound=Mapping[str, Any])

GROUP = 8192
"""Rows in a row group."""
FACTS = b"anonbench.facts"
"""Key of a table's facts in its file's metadata."""
REGION = "region"
"""Status of a row that has a region; any other status is a `records.Reason`."""

IMAGES = pa.schema(
    [
        ("image_id", pa.int64()),
        ("file_name", pa.string()),  # name inside a variant's image folder
        ("path", pa.string()),  # relative to the data set's root
        ("width", pa.int32()),  # of the frame that the labels refer to
        ("height", pa.int32()),
        ("labels_on", pa.string()),  # that frame: upright (EXIF orientation applied) or stored
        ("bytes", pa.int64()),
        ("people", pa.int32()),
        ("start", pa.int64()),  # bytes of all images before this one: places the image in a shard
        ("video_id", pa.int64()),  # null: a still image
        ("frame_index", pa.int32()),  # place in the video, from 0
    ]
)

PEOPLE = pa.schema(
    [
        ("image_id", pa.int64()),
        ("person_id", pa.int64()),
        ("category", pa.string()),
        ("crowd", pa.bool_()),
        ("ignore", pa.bool_()),
        ("box", pa.list_(pa.float64())),  # x, y, width, height; null when it cannot be used
        ("rle", pa.binary()),  # counts of COCO's compressed RLE; null when the mask cannot be used
        ("keypoints", pa.list_(pa.float32())),  # 51 numbers or null
        ("face", pa.list_(pa.float64())),  # the data set's own face box or null
        ("head", pa.list_(pa.float32())),  # top of the head and neck, x, y and visibility each, or null
        ("area", pa.float64()),
        ("identity", pa.string()),
        ("attributes", pa.string()),  # JSON, {name: value} with sorted names, or null
        ("note", pa.string()),  # what is wrong with it
    ]
)
"""One row per annotated person, by image id, then person id."""

REGIONS = pa.schema(
    [
        ("image_id", pa.int64()),
        ("person_id", pa.int64()),
        ("category", pa.string()),
        ("kind", pa.string()),
        ("status", pa.string()),
        ("source", pa.string()),
        ("x0", pa.int32()),
        ("y0", pa.int32()),
        ("x1", pa.int32()),
        ("y1", pa.int32()),
        ("subject", pa.list_(pa.float64())),  # x, y, width, height
        ("runs", pa.list_(pa.uint32())),  # null: the whole box
        ("keypoints", pa.list_(pa.float32())),  # 51 numbers or null
        ("area", pa.float64()),  # of the person, as annotated
        ("identity", pa.string()),
    ]
)


_OF_EVERY_ROW = frozenset(
    (
        "image_id", "file_name", "path", "width", "height", "bytes", "people", "start", "person_id", "category", "kind",
        "status", "area",
    )
)  # fmt: skip
"""Columns without which a row says nothing."""
_KEYS = ("image_id", "person_id", "kind")
"""Columns that tell a table's rows apart, where it has them."""
_PLACE = ("x0", "y0", "x1", "y1", "subject", "source")
"""Columns without which a region is nowhere."""


def write(
    path: str | Path, rows: list[dict[str, Any]], schema: pa.Schema, facts: Mapping[str, Any] | None = None
) -> None:
    """Write rows as a Parquet file, atomically; ``facts`` (JSON) is what there is to say of the table as a whole."""
    if facts:
        schema = schema.with_metadata({FACTS: json.dumps(facts, sort_keys=True, allow_nan=False)})
    with writer(path, schema) as add:
        for row in rows:
            add(row)


def facts_of(path: str | Path) -> dict[str, Any]:
    """Return the facts that a table was written with.

    Those of a table of images are ``skipped``: what `annotate` says of images that could not be
    used, ``frame_guessed``: how many images have labels that fit two frames, of which the upright one was taken,
    ``videos``: id, name, action, width, height and number of frames of each clip, ``actions``: the names that an
    action may have, ``action_kinds``: the kind of each, if there are kinds, and ``attributes``: the values that each
    attribute of a person may have, with their meaning.
    """
    with _readable(path):
        metadata = pq.read_schema(path).metadata or {}
    facts: dict[str, Any] = json.loads(metadata.get(FACTS, b"{}"))
    return facts


@contextlib.contextmanager
def writer(path: str | Path, schema: pa.Schema) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that adds a row to a Parquet file; the file appears, whole, when the block ends."""
    rows: list[dict[str, Any]] = []
    with atomic(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as stream:

        def flush() -> None:
            stream.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def add(row: dict[str, Any]) -> None:
            rows.append(row)
            if len(rows) == GROUP:
                flush()

        yield add
        if rows:
            flush()


def read(
    path: str | Path,
    schema: pa.Schema,
    image_ids: tuple[int, int] | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read a table; ``image_ids`` (first, last) skips the row groups outside the range, ``columns`` all others.

    Raises AnonbenchError when the file is missing, damaged or of another version.
    """
    with _readable(path), pq.ParquetFile(path) as file:
        found = file.schema_arrow
        table = file.read_row_groups(_groups(file.metadata, image_ids), columns=columns)
    if found.names != schema.names or found.types != schema.types:
        raise AnonbenchError(
            "has columns that differ from those that this version writes", file=path, remedy="delete it and run again"
        )
    for name in table.schema.names:
        if name in _OF_EVERY_ROW and table[name].null_count:
            raise AnonbenchError(f"has rows without {name}", file=path, remedy="delete it and run again")
    return table


def read_checked(path: str | Path, schema: pa.Schema, image_ids: tuple[int, int] | None = None) -> pa.Table:
    """Do what `read` does; raise AnonbenchError, too, where rows stand there twice, and for boxes that are none."""
    table = read(path, schema, image_ids)
    if wrong := _wrong(table, schema):
        raise AnonbenchError(wrong, file=path, remedy="delete it and run the annotate stage")
    return table


def _wrong(table: pa.Table, schema: pa.Schema) -> str | None:
    """Return what no table that `annotate` writes has; None where there is nothing of it."""
    there = set(table.schema.names)
    keys = [name for name in _KEYS if name in schema.names]
    if there.issuperset(keys):
        twice = table.select(keys).group_by(keys, use_threads=False).aggregate([("image_id", "count")])
        if twice.num_rows < table.num_rows:
            many = twice.filter(pc.greater(twice["image_id_count"], 1)).slice(0, 1).to_pylist()[0]
            return f"has several rows of one {' and '.join(keys)} ({', '.join(str(many[key]) for key in keys)})"
    for name in sorted(there.intersection(("box", "face", "subject"))):
        column = table[name]
        numbers = pc.list_flatten(column)
        if pc.any(pc.not_equal(pc.list_value_length(column), 4)).as_py() or numbers.null_count:
            return f"has a {name} that is not four numbers"
        values = numbers.to_numpy().reshape(-1, 4)
        if not np.isfinite(values).all() or (name == "box" and (values[:, 2:] <= 0).any()):
            return f"has a {name} that is not finite or has no size"
    if "area" in there and not (np.isfinite(areas := table["area"].to_numpy()) & (areas >= 0)).all():
        return "has an area that is not finite or negative"
    if there.issuperset(("status", *_PLACE)):
        table = table.filter(pc.equal(table["status"], REGION)).select(_PLACE)
        if any(table[name].null_count for name in _PLACE):
            return "has regions without a place"
        x0, y0, x1, y1 = (table[name].to_numpy() for name in _PLACE[:4])
        if ((x0 < 0) | (y0 < 0) | (x1 <= x0) | (y1 <= y0)).any():
            return "has regions that are empty or outside the image"
    return None


@contextlib.contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    """Raise AnonbenchError in the place of what reading a table raises."""
    try:
        yield
    except FileNotFoundError:
        raise AnonbenchError("no such table", file=path, remedy="run the annotate stage first") from None
    except (pa.ArrowException, OSError) as error:
        raise AnonbenchError(
            f"is not a table that can be read ({in_one_line(error)})",
            file=path,
            remedy=remedy(error, "delete it and run again"),
        ) from None


def _groups(metadata: pq.FileMetaData, image_ids: tuple[int, int] | None) -> list[int]:
    """Return the row groups that may hold images of a range; the image's id is every table's first column."""
    groups = list(range(metadata.num_row_groups))
    if image_ids is None:
        return groups
    bounds = [metadata.row_group(group).column(0).statistics for group in groups]
    return [g for g, of in zip(groups, bounds, strict=True) if of.min <= image_ids[1] and of.max >= image_ids[0]]


def frame_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `images.decode` and `images.strip` want to know of a row of a table of images.

    It is as large as annotated: whatever larger file takes its place is refused before it is decoded.
    """
    size = (row["width"], row["height"])
    return {"size": size, "labels_on": row["labels_on"], "max_pixels": size[0] * size[1]}


def shown(people: Sequence[Row]) -> list[Row]:
    """Return whom networks are to look at, of a split's rows of a table of people: everybody but crowds.

    In a split that has nobody with a box of their own, as one whose labels are of whole pictures, it is the crowds.
    """
    wholes = are_wholes(people)
    return [row for row in people if row["crowd"] is wholes]


def are_wholes(people: Sequence[Row]) -> bool:
    """Tell whether a split's rows of a table of people show crowds, and nobody who has a box and counts."""
    single = any(not row["crowd"] and not row["ignore"] and row["box"] is not None for row in people)
    return not single and any(row["crowd"] and row["box"] is not None for row in people)


def shard_of(table: pa.Table, shard: int, shards: int) -> pa.Table:
    """Return the rows of an images table in ``shard`` of ``shards``: contiguous, of about equal bytes.

    No video is cut: where the middle of its bytes lies, there all its frames go.
    """
    sizes = table["bytes"].to_numpy()
    total = int(sizes.sum())
    middle = table["start"].to_numpy() + sizes // 2
    framed = table["video_id"].is_valid().to_numpy()
    if framed.any():
        _, of_video = np.unique(table["video_id"].drop_null().to_numpy(), return_inverse=True)
        first = np.full(of_video.max() + 1, total)
        np.minimum.at(first, of_video, table["start"].to_numpy()[framed])
        size = np.zeros_like(first)
        np.add.at(size, of_video, sizes[framed])
        middle[framed] = (first + size // 2)[of_video]
    of = np.minimum(middle * shards // max(total, 1), shards - 1)
    return table.filter(pa.array(of == shard))


def decode(runs: np.ndarray | None, height: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return the bool mask (y1-y0, x1-x0) of ``box`` from run lengths of an image ``height`` pixels tall.

    The same pixels as ``pycocotools.mask.decode(rle)[y0:y1, x0:x1]``; None means that the whole box is set.
    """
    x0, y0, x1, y1 = box
    if runs is None:
        return np.ones((y1 - y0, x1 - x0), dtype=bool)
    ends = runs.cumsum(dtype=np.int64)
    first, last = x0 * height, x1 * height
    i, j = ends.searchsorted((first, last), "right").tolist()
    bounds = np.empty(j - i + 2, np.int64)
    bounds[0], bounds[1:-1], bounds[-1] = first, ends[i:j], last
    values = np.zeros(j - i + 1, np.uint8)
    values[1 - (i & 1) :: 2] = 1
    if j == len(ends):
        values[-1] = 0  # behind the last run
    columns = values.repeat(bounds[1:] - bounds[:-1]).reshape(x1 - x0, height)
    return cv2.transpose(columns[:, y0:y1]).view(bool)


def to_region(row: dict, height: int) -> Region:
    """Turn a row of the regions table (with status `REGION`) into a `records.Region`; ``height`` is the image's."""
    box = (row["x0"], row["y0"], row["x1"], row["y1"])
    runs = row["runs"] if row["runs"] is None else np.asarray(row["runs"])
    x, y, w, h = row["subject"]
    return Region(
        person_id=row["person_id"],
        kind=RegionKind(row["kind"]),
        source=row["source"],
        box=box,
        mask=decode(runs, height, box),
        subject=(x, y, w, h),
        identity=row.get("identity"),
    )


def runs_of(counts: str | bytes) -> np.ndarray:
    """Return the run lengths (int64) in a compressed COCO RLE's ``counts``.

    The format is that of ``rleFrString`` in the COCO API's maskApi.c: base-32 digits, least significant first, and
    from the fourth run on the difference to the run before the last.
    """
    data = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, dtype=np.uint8).astype(np.int64) - 48
    if data.size == 0:
        return np.zeros(0, dtype=np.int64)
    if data.min() < 0 or data.max() > 63 or data[-1] & 0x20:
        raise ValueError("not a compressed COCO RLE")
    ends = np.flatnonzero((data & 0x20) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    place = np.arange(data.size) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((data & 0x1F) << (5 * place), starts)
    negative = (data[ends] & 0x10) != 0
    values[negative] -= np.int64(1) << (5 * (ends - starts + 1)[negative])
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
