"""How much of a head the face regions cover, and how large they are, for each choice of source and margin.

    python benchmarks/face_regions.py --root /path/to/coco --split train2017 --split val2017

The folder has COCO's layout with people's keypoints. Every setting goes through the code of `anonbench regions`.
Counted are the labelled ears, eyes and noses that lie in the person's face region, of those of people who have one. A
union holds all of them by construction: how a margin serves people without keypoints is what `detector` shows, which
does not look at them. The area is the mean, over the faces that both settings have, of the region's pixels by those of
`detector, keypoints` without margin.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from anonbench import regions
from anonbench.annotate.choose import Scene
from anonbench.annotate.options import Detectors, FaceRegions, RegionsConfig
from anonbench.annotate.people import convert
from anonbench.arguments import block
from anonbench.cli import one_sentence
from anonbench.datasets.coco import Coco
from anonbench.detectors.base import Detector, make
from anonbench.detectors.config import DetectorConfig
from anonbench.detectors.engine import detect
from anonbench.images import read_rgb
from anonbench.records import RegionKind

POINTS = {"ears": (3, 4), "eyes": (1, 2), "noses": (0,)}
"""Positions among COCO's keypoints."""
BASE = (("detector", "keypoints"), 0.0)

Setting = tuple[tuple[str, ...], float]
Faces = dict[tuple[str, int], dict[str, Any]]


def look(root: Path, splits: list[str], detector: Detector, config: DetectorConfig) -> list[tuple[str, Any, Any, Any]]:
    """Return the split, the image's row, its people and the faces detected in it, of every image."""
    found = []
    for split in splits:
        with tempfile.TemporaryDirectory() as folder:
            convert(Coco().read(root, split), root, Path(folder), split)
            images = regions.read(Path(folder, f"{split}.images.parquet"), regions.IMAGES).to_pylist()
            people = regions.read(Path(folder, f"{split}.people.parquet"), regions.PEOPLE).to_pylist()
        for image in tqdm(images, f"detect {split}", unit="image", disable=None):
            pixels = read_rgb(root / image["path"], (image["width"], image["height"]))
            present = [person for person in people if person["image_id"] == image["image_id"]]
            found.append((split, image, present, detect(detector, pixels, config)))
    return found


def faces_of(found: list[tuple[str, Any, Any, Any]], setting: Setting, detector: DetectorConfig) -> Faces:
    """Return the rows of the face regions of a setting by split and person."""
    sources, margin = setting
    face = FaceRegions.model_validate({"sources": list(sources), "margin": margin})
    config = RegionsConfig(face=face, detectors=Detectors(face=detector))
    faces: Faces = {}
    for split, image, people, detected in found:
        for row, person in Scene(image, people, config, posed=False).rows(detected, None):
            if person is not None and row["kind"] == RegionKind.FACE and row["status"] == regions.REGION:
                faces[split, row["person_id"]] = row
    return faces


def covered(faces: Faces, least: int) -> Counter[str]:
    """Return how many points of ``least`` visibility there are of people with a region, and how many lie in it."""
    counts: Counter[str] = Counter()
    for row in faces.values():
        if row["keypoints"] is None:
            continue
        points = np.asarray(row["keypoints"]).reshape(-1, 3)
        for what, places in POINTS.items():
            for x, y, visibility in points[list(places)]:
                if visibility >= least:
                    counts[what] += 1
                    counts[f"{what} covered"] += bool(row["x0"] <= x < row["x1"] and row["y0"] <= y < row["y1"])
    return counts


def area(row: dict[str, Any]) -> int:
    """Return the pixels of a region: of its box, or of its mask."""
    if row["runs"] is not None:
        return int(np.asarray(row["runs"])[1::2].sum())
    return int((row["x1"] - row["x0"]) * (row["y1"] - row["y0"]))


def line(setting: Setting, faces: Faces, base: Faces) -> str:
    """Return the row of the table of a setting."""
    every, visible = covered(faces, 1), covered(faces, 2)
    cells = [f"{every[f'{what} covered']} of {every[what]}" for what in POINTS]
    for counts in (every, visible):
        total = sum(counts[what] for what in POINTS)
        cells.append(f"{100 * sum(counts[f'{what} covered'] for what in POINTS) / max(total, 1):.2f} %")
    ratios = [area(row) / area(base[key]) for key, row in faces.items() if key in base]
    cells.append(f"{np.mean(ratios):.2f}")
    return f"| `{', '.join(setting[0])}` | {setting[1]:g} | {len(faces)} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a data set in COCO's layout, with keypoints")
    parser.add_argument("--split", action="append", help="may stand several times (default: train2017)")
    parser.add_argument("--detector", default='{"plugin": "centerface"}', help="the block of settings, as JSON")
    parser.add_argument("--margins", type=float, nargs="+", default=[0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5])
    args = parser.parse_args()
    config = block(DetectorConfig, args.detector, "--detector")
    detector = make(config.plugin, config.options)
    if not isinstance(detector, Detector) or detector.finds != "face":
        raise SystemExit(f"'{config.plugin}' looks for no faces in images")
    found = look(args.root, args.split or ["train2017"], detector, config)
    base = faces_of(found, BASE, config)
    print("| sources | margin | faces | ears | eyes | noses | all | all visible | area |")
    print("|---|---|---|---|---|---|---|---|---|")
    settings = [BASE, *((sources, m) for sources in (("detector",), ("union",)) for m in args.margins)]
    for setting in settings:
        print(line(setting, faces_of(found, setting, config), base), flush=True)


if __name__ == "__main__":
    with one_sentence():
        main()
