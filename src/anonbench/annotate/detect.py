"""A detector's pass over a shard of images: one list of boxes per image, one table per shard.

Everything that is found in an image depends on that image alone, so that the number of shards changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from tqdm import tqdm

from anonbench import __version__
from anonbench.annotate import detections
from anonbench.detectors.base import Detector, StoredDetections, make
from anonbench.detectors.config import DetectorConfig
from anonbench.detectors.engine import detect, inside
from anonbench.errors import AnonbenchError
from anonbench.images import read_rgb


def detect_shard(
    images: pa.Table, root: Path, config: DetectorConfig, out: Path, hashes: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Run a detector over images and write what it finds as a table of `detections`.

    ``images`` are rows of `regions.IMAGES` (of one shard), their paths relative to ``root``; ``hashes`` are the
    files' sha256 by path, as far as they are known. Returns the number of
    ``images``, of ``detections``, and of images that stored detections have no entry for (``missing``). Raises
    AnonbenchError for an image that cannot be decoded, and for one with people that stored detections do not know.
    """
    cv2.setNumThreads(1)  # a shard is one job, and its result must not depend on the number of cores
    detector = make(config.plugin, config.options)
    rows = images.drop_columns(["bytes", "start"]).to_pylist()
    find = (
        _stored(detector, config)
        if isinstance(detector, StoredDetections)
        else _seen(detector, root, config, hashes or {})
    )
    found, missing = [], 0
    for row in tqdm(rows, f"detect {detector.finds}s", unit="image", disable=None):
        boxes = find(row)
        missing += boxes is None
        found.append(inside(np.zeros((0, 5), np.float32) if boxes is None else boxes, row["width"], row["height"]))
    run = {
        "finds": detector.finds,
        "version": detector.version,
        "weights": [list(entry) for entry in detector.weights],
        **config.model_dump(mode="json"),
        "anonbench": __version__,
    }
    shard: dict[str, Any] = {"images": [row["image_id"] for row in rows], "missing": missing}
    if isinstance(detector, StoredDetections):
        run["entries"] = detector.entries
        shard["used"] = len(rows) - missing
    detections.write(out, shard["images"], found, run, shard)
    return {"images": len(rows), "detections": sum(map(len, found)), "missing": missing}


def _stored(detector: StoredDetections, config: DetectorConfig) -> Callable[[dict[str, Any]], np.ndarray | None]:
    def find(row: dict[str, Any]) -> np.ndarray | None:
        boxes = detector.boxes_of(row["image_id"], row["file_name"])
        if boxes is None and row["people"] and config.options.get("missing") != "empty":
            raise AnonbenchError(
                f"has no entry for image {row['image_id']} ({row['file_name']}), which has people",
                file=config.files[0],
                remedy="run the detector on that image, or set options.missing to 'empty'",
            )
        return boxes

    return find


def _seen(
    detector: Detector, root: Path, config: DetectorConfig, hashes: Mapping[str, str]
) -> Callable[[dict[str, Any]], np.ndarray]:
    def find(row: dict[str, Any]) -> np.ndarray:
        path, size = row["path"], (row["width"], row["height"])
        pixels = read_rgb(root / path, size, row["labels_on"], hashes.get(path))
        return detect(detector, pixels, config)

    return find
