"""Tables of detections: one row per box, and in the file's metadata what found them and in which images it looked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from anonbench.errors import AnonbenchError
from anonbench.files import atomic, remedy

DETECTIONS = pa.schema(
    [
        ("image_id", pa.int64()),
        ("x", pa.float32()),  # upper left corner, pixels of the frame that the labels refer to
        ("y", pa.float32()),
        ("width", pa.float32()),
        ("height", pa.float32()),
        ("score", pa.float32()),  # 0..1
    ]
)
_KEY = b"anonbench.detections"
_AGAIN = "delete it and run annotate again"


def write(
    path: str | Path, image_ids: Sequence[int], boxes: Sequence[np.ndarray], run: dict[str, Any], shard: dict[str, Any]
) -> None:
    """Write a table, atomically.

    ``boxes`` holds float32 (n, 5) for each of ``image_ids``: x, y, width, height, score. ``run`` is the metadata that
    all shards share (plugin, its version, options, weights ...), ``shard`` this one's; both must be JSON.
    """
    rows = np.concatenate([np.zeros((0, 5), np.float32), *boxes])
    ids = np.repeat(np.asarray(image_ids, np.int64), [len(each) for each in boxes])
    columns = [pa.array(ids), *(pa.array(np.ascontiguousarray(rows[:, i])) for i in range(5))]
    metadata = {_KEY: json.dumps({"run": run, "shard": shard}, sort_keys=True, allow_nan=False)}
    table = pa.Table.from_arrays(columns, schema=DETECTIONS.with_metadata(metadata))
    with atomic(path) as part:
        pq.write_table(table, part, compression="zstd")


def read(paths: Sequence[str | Path]) -> tuple[pa.Table, dict[str, Any]]:
    """Return the rows of all shards, and their metadata: what ``run`` was, and ``images`` (ids looked at), ``missing``.

    Raises AnonbenchError when a file is missing or damaged, when shards were made by different runs (another detector,
    version, option or weights), or when two looked at the same image.
    """
    tables, run, images, missing, used = [], None, [], 0, 0
    seen: set[int] = set()
    for path in paths:
        table, metadata = _read(Path(path))
        if run is None:
            run = metadata["run"]
        elif run != metadata["run"]:
            other = metadata["run"]
            differing = sorted(key for key in run.keys() | other.keys() if run.get(key) != other.get(key))
            raise AnonbenchError(
                f"was made with another {', '.join(differing)} than {paths[0]}", file=path, remedy=_AGAIN
            )
        for image_id in metadata["shard"]["images"]:
            if image_id in seen:
                raise AnonbenchError(f"image {image_id} is in another shard too", file=path, remedy=_AGAIN)
            seen.add(image_id)
            images.append(image_id)
        missing += metadata["shard"]["missing"]
        used += metadata["shard"].get("used", 0)
        tables.append(table)
    if run is None:
        raise AnonbenchError("no table of detections is given", remedy="run the detector first")
    return pa.concat_tables(tables), {**run, "images": images, "missing": missing, "used": used}


def by_image(paths: Sequence[str | Path], images: Sequence[dict[str, Any]]) -> dict[int, np.ndarray]:
    """Return the detections of each image by its id: float32 (n, 5), the best first; {} when no table is given.

    ``images`` are all rows of a split's table of images. Raises AnonbenchError as `read` does, when the tables do not
    cover exactly these images, and when stored detections have entries of other images and are not told to ignore them.
    """
    if not paths:
        return {}
    table, metadata = read(paths)
    ids, looked = {row["image_id"] for row in images}, set(metadata["images"])
    for wrong, what in ((ids - looked, "was not looked at"), (looked - ids, "is not in the split")):
        if wrong:
            raise AnonbenchError(
                f"the tables of detections do not match the split: image {min(wrong)} {what} "
                f"({len(wrong)} such images)",
                file=paths[0],
                remedy=_AGAIN,
            )
    strangers = metadata.get("entries", 0) - metadata["used"]
    if strangers and metadata["options"].get("strangers") == "refuse":
        example = _example(metadata, images)
        raise AnonbenchError(
            f"{strangers} of its {metadata['entries']} entries are of no image in the split{example}",
            file=metadata["options"].get("path"),
            remedy="give the boxes of this split, or set options.strangers to 'ignore'",
        )
    values = np.column_stack([table[name].to_numpy() for name in DETECTIONS.names[1:]]).astype(np.float32)
    owners = table["image_id"].to_numpy()
    found = dict.fromkeys(ids, np.zeros((0, 5), np.float32))
    ends = np.append(np.flatnonzero(np.diff(owners)) + 1, len(owners)) if len(owners) else owners
    for start, end in zip([0, *ends[:-1]], ends, strict=False):
        found[int(owners[start])] = values[start:end]
    return found


def _example(metadata: dict[str, Any], images: Sequence[dict[str, Any]]) -> str:
    """Return one entry that is of no image, for the message, as long as the file is still there."""
    names = {row["file_name"] for row in images} | {str(row["image_id"]) for row in images}
    try:
        entries = json.loads(Path(metadata["options"]["path"]).read_bytes())
        return f", for example {min(entries.keys() - names)!r}"
    except (OSError, KeyError, ValueError, AttributeError):
        return ""


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    try:
        table = pq.read_table(path)
        metadata = json.loads((table.schema.metadata or {})[_KEY])
    except FileNotFoundError:
        raise AnonbenchError("no such table of detections", file=path, remedy="run the detector first") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise AnonbenchError(
            f"is not a table of detections ({error})", file=path, remedy=remedy(error, _AGAIN)
        ) from None
    if table.schema.names != DETECTIONS.names:
        raise AnonbenchError("has columns that differ from those that this version writes", file=path, remedy=_AGAIN)
    return table.replace_schema_metadata(None), metadata
