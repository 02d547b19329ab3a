"""What a detector finds on photographs whose people are labelled, and how long it takes.

    python benchmarks/detectors.py --root /path/to/coco --split train2017 --detector '{"plugin": "centerface"}'

The folder has COCO's layout with ``annotations/person_keypoints_<split>.json``. A face counts as found when a detection
holds the nose (and, in the second figure, both eyes). Detections are sorted by what they touch: the labelled head of a
person; a person (or crowd) without labelled head; another part of a person with one; nobody. The last two are false
alarms or people whom nobody annotated: ``--sheet`` writes their crops for a person to judge. For a detector of people a
person counts as found at IoU 0.5 or more.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from anonbench.annotate.geometry import HEAD, rle_of
from anonbench.arguments import block
from anonbench.cli import one_sentence
from anonbench.detectors.base import Detector, make
from anonbench.detectors.config import DetectorConfig
from anonbench.detectors.engine import detect
from anonbench.images import read_rgb

FRONT = slice(0, 3)
"""Nose and both eyes."""
TOUCH = 0.1
"""A detection touches a person who has more than this share of its pixels."""


def measure(root: Path, split: str, config: DetectorConfig, limit: int | None = None) -> dict[str, Any]:
    """Run a detector over a split; return counts, seconds and the detections that touch no labelled head."""
    coco = json.loads((root / "annotations" / f"person_keypoints_{split}.json").read_text())
    people: dict[int, list[dict[str, Any]]] = {}
    for person in coco["annotations"]:
        people.setdefault(person["image_id"], []).append(person)
    detector = make(config.plugin, config.options)
    if not isinstance(detector, Detector):
        raise SystemExit(f"'{config.plugin}' looks at no image")
    counts: Counter[str] = Counter()
    strangers, seconds = [], 0.0
    for image in coco["images"][:limit]:
        pixels = read_rgb(root / split / image["file_name"], (image["width"], image["height"]))
        start = time.perf_counter()
        found = detect(detector, pixels, config)
        seconds += time.perf_counter() - start
        present = people.get(image["id"], [])
        counts["images"] += 1
        counts["detections"] += len(found)
        if detector.finds == "face":
            faces(counts, found, present)
            for box in found:
                what = touched(box, present, image)
                counts[what] += 1
                if what in ("body of a labelled person", "nobody"):
                    strangers.append((what, float(box[4]), crop(pixels, box)))
        else:
            whole = [person["bbox"] for person in present if not person["iscrowd"]]
            counts["people"] += len(whole)
            if whole and len(found):
                ious = coco_mask.iou(found[:, :4].astype(float), np.array(whole, float), [0] * len(whole))
                counts["people found"] += int((ious.max(axis=0) >= 0.5).sum())
                counts["touch nobody"] += int((ious.max(axis=1) < 0.1).sum())
            else:
                counts["touch nobody"] += len(found)
    return {"detector": detector.version, "counts": dict(counts), "seconds": seconds, "strangers": strangers}


def faces(counts: Counter[str], found: np.ndarray, people: list[dict[str, Any]]) -> None:
    """Count the labelled faces and those that were found."""
    for person in people:
        points = np.array(person["keypoints"], float).reshape(-1, 3)
        if points[0, 2] > 0:
            counts["noses"] += 1
            counts["noses found"] += bool(holds(found, points[0]).any())
        if (points[FRONT, 2] > 0).all():
            counts["frontal"] += 1
            counts["frontal found"] += bool(holds(found, points[0]).any())
            whole = np.logical_and.reduce([holds(found, point) for point in points[FRONT]])
            counts["frontal whole"] += bool(whole.any())


def holds(boxes: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return which boxes (n, 5) hold a point."""
    x, y, w, h = boxes[:, :4].T
    return (x <= point[0]) & (point[0] <= x + w) & (y <= point[1]) & (point[1] <= y + h)


def touched(box: np.ndarray, people: list[dict[str, Any]], image: dict[str, Any]) -> str:
    """Return what a detection touches."""
    for person in people:
        points = np.array(person["keypoints"], float).reshape(-1, 3)[HEAD]
        if any(holds(box[None], point)[0] for point in points[points[:, 2] > 0]):
            return "labelled head"
    x0, y0, x1, y1 = int(box[0]), int(box[1]), int(np.ceil(box[0] + box[2])), int(np.ceil(box[1] + box[3]))
    best = "nobody"
    for person in people:
        mask = coco_mask.decode(rle_of(person["segmentation"], image["width"], image["height"]))
        inside = mask[max(y0, 0) : y1, max(x0, 0) : x1]
        if inside.size and inside.mean() > TOUCH:
            points = np.array(person["keypoints"], float).reshape(-1, 3)[HEAD]
            if not (points[:, 2] > 0).any():
                return "person without labelled head"
            best = "body of a labelled person"
    return best


def crop(pixels: np.ndarray, box: np.ndarray, side: int = 120) -> np.ndarray:
    """Return a detection with its surroundings, ``side`` pixels square."""
    x, y, w, h = box[:4]
    reach = max(float(max(w, h)), 4.0)
    scale = side / (2 * reach)
    move = np.array([[scale, 0, side / 2 - (x + w / 2) * scale], [0, scale, side / 2 - (y + h / 2) * scale]])
    window = cv2.warpAffine(pixels, move, (side, side), flags=cv2.INTER_LINEAR)
    return cv2.putText(window, f"{box[4]:.2f} {reach:.0f}px", (3, side - 5), 0, 0.4, (255, 255, 0), 1)


def sheet(path: Path, strangers: list[tuple[str, float, np.ndarray]], columns: int = 12) -> None:
    """Write the crops of false alarms and unannotated people as one picture."""
    tiles = [tile for _, _, tile in sorted(strangers, key=lambda each: (each[0], -each[1]))]
    if not tiles:
        return
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a data set in COCO's layout, with keypoints")
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--detector", required=True, help="the block of settings, as JSON")
    parser.add_argument("--limit", type=int, help="look at the first images only")
    parser.add_argument("--sheet", type=Path, help="write crops of what touches no labelled head (PNG)")
    args = parser.parse_args()
    config = block(DetectorConfig, args.detector, "--detector")
    result = measure(args.root, args.split, config, args.limit)
    c: Counter[str] = Counter(result["counts"])
    print(f"{result['detector']}, scales {config.scales}, tile {config.tile}")
    if config.finds == "face":
        print(f"  nose and both eyes labelled: {c['frontal found']} of {c['frontal']} found", end=" ")
        print(f"(eyes in the box too: {c['frontal whole']})")
        print(f"  nose labelled: {c['noses found']} of {c['noses']} found")
        for what in ("labelled head", "person without labelled head", "body of a labelled person", "nobody"):
            print(f"  detections on {what}: {c[what]}")
    else:
        print(f"  {c['people found']} of {c['people']} people found at IoU 0.5", end=", ")
        print(f"{c['touch nobody']} of {c['detections']} detections touch nobody")
    print(f"  {result['seconds'] / c['images']:.3f} s per image, {c['images']} images")
    if args.sheet:
        sheet(args.sheet, result["strangers"])


if __name__ == "__main__":
    with one_sentence():
        main()
