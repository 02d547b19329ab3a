"""How many large faces are found again after each method and level, however much a photograph is enlarged.

    python benchmarks/strength.py --root /path/to/coco --split train2017 --split val2017

The folder has COCO's layout with ``annotations/person_keypoints_<split>.json``. The faces are the largest that
CenterFace finds about a labelled nose. Each photograph is enlarged (cubic), the face or the person is changed, and what
surrounds the face is shown to detectors with the face at several sizes (`SIZES`): whoever looks for faces may shrink a
picture as well, and a blurred face looks sharper then. A face counts as found when a detection at any of the sizes has
an IoU of 0.3 or more with it. ``identity`` is the ceiling; ``mask_out`` the floor: what hair and shoulders give away.

Detectors: CenterFace, OpenCV's cascades of Haar features (frontal faces), and MTCNN where the package facenet-pytorch
is installed (``pip install --no-deps facenet-pytorch``; it is not in the lock). ``--detector`` adds others, such as
YuNet.

``--sweep`` asks instead how the strength decides: Gaussians by their standard deviation and mosaics by their number of
cells, both in units of the face's side (the square root of its box's area), on the photographs as they are.
``--small`` shrinks the photographs until faces are 8 to 30 pixels high. ``--sheet`` writes what the detectors saw.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from anonbench.annotate.geometry import pixel_box, rle_of
from anonbench.anonymize import engine
from anonbench.anonymize.contract import Method, make
from anonbench.anonymize.strength import face_of
from anonbench.arguments import block
from anonbench.cli import one_sentence
from anonbench.detectors.base import make as make_detector
from anonbench.detectors.config import DetectorConfig
from anonbench.images import read_rgb
from anonbench.records import Box, Region, RegionKind
from anonbench.regions import decode, runs_of
from anonbench.variants import Variant

SIZES = (40, 80)
"""Longer side of the face in pixels, as detectors see it."""
FOUND = 0.3
"""IoU of a detection with the face."""
VARIANTS = (
    "identity", "mask_out", "blur-low", "blur-medium", "blur-high", "pixelate-low", "pixelate-medium", "pixelate-high",
    "adaptive_blur-low-paper", "adaptive_blur-medium-paper", "adaptive_blur-high-paper",
    "adaptive_blur-low", "adaptive_blur-medium", "adaptive_blur-high",
    "adaptive_pixelate-low-paper", "adaptive_pixelate-medium-paper", "adaptive_pixelate-high-paper",
    "adaptive_pixelate-low", "adaptive_pixelate-medium", "adaptive_pixelate-high",
)  # fmt: skip
"""Methods and levels; ``-paper`` stands for the parameter ``paper: true``."""

SIGMAS = (0.02, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3)
CELLS = (20, 14, 12, 10, 9, 8, 7, 6, 5, 4, 3, 2)
"""Strengths that are swept."""

Finder = Callable[[np.ndarray], np.ndarray]
"""Takes uint8 HxWx3 RGB, returns boxes (n, 4 or more): x, y, width, height."""


@dataclass(frozen=True)
class Face:
    """A face in a photograph: its box and its person's box and mask (RLE)."""

    pixels: np.ndarray
    box: Box
    person: Box
    rle: dict

    def region(self, kind: RegionKind, scale: float) -> tuple[np.ndarray, Region]:
        """Return the photograph enlarged by ``scale``, and the region of the face or the person in it."""
        height, width = (round(side * scale) for side in self.pixels.shape[:2])
        how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        pixels = self.pixels if scale == 1 else cv2.resize(self.pixels, (width, height), interpolation=how)
        x, y, w, h = (side * scale for side in (self.box if kind is RegionKind.FACE else self.person))
        box = pixel_box((x, y, w, h), width, height)
        assert box is not None
        x0, y0, x1, y1 = box
        mask = np.ones((y1 - y0, x1 - x0), bool)
        if kind is RegionKind.BODY:
            whole = (0, 0, self.pixels.shape[1], self.pixels.shape[0])
            full = decode(runs_of(self.rle["counts"]), self.pixels.shape[0], whole).astype(np.uint8)
            full = cv2.resize(full, (width, height), interpolation=cv2.INTER_NEAREST)
            mask = full[y0:y1, x0:x1].astype(bool)
        return pixels, Region(1, kind, "mask", box, mask, (x, y, w, h))


def largest(root: Path, splits: Iterable[str], count: int) -> list[Face]:
    """Return the largest faces that CenterFace finds about a labelled nose, one per person."""
    finder = make_detector("centerface", {"threshold": 0.5})
    found: list[tuple[float, int, Face]] = []
    for split in splits:
        coco = json.loads((root / "annotations" / f"person_keypoints_{split}.json").read_text())
        for image in coco["images"]:
            size = (image["width"], image["height"])
            people = [p for p in coco["annotations"] if p["image_id"] == image["id"] and not p["iscrowd"]]
            pixels = read_rgb(root / split / image["file_name"], size)
            boxes = finder.detect([pixels])[0]
            for person in people:
                nose = person["keypoints"][:3]
                for x, y, w, h in boxes[:, :4].tolist():
                    if nose[2] > 0 and x <= nose[0] <= x + w and y <= nose[1] <= y + h:
                        one = Face(pixels, (x, y, w, h), tuple(person["bbox"]), rle_of(person["segmentation"], *size))
                        found.append((max(w, h), person["id"], one))
                        break
    found.sort(key=lambda each: (-each[0], each[1]))
    return [face for _, _, face in found[:count]]


def views(pixels: np.ndarray, box: Box) -> list[tuple[np.ndarray, Box]]:
    """Return a face with its surroundings at each of `SIZES`, and the face's box there."""
    x, y, w, h = box
    reach = 1.5 * max(w, h)
    seen = []
    for size in SIZES:
        scale = size / max(w, h)
        side = 3 * size
        small = pixels
        if scale < 1:
            left, top = max(0, math.floor(x + w / 2 - reach)), max(0, math.floor(y + h / 2 - reach))
            part = pixels[top : math.ceil(y + h / 2 + reach), left : math.ceil(x + w / 2 + reach)]
            small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            origin = ((x + w / 2 - left) * scale, (y + h / 2 - top) * scale)
        else:
            small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            origin = ((x + w / 2) * scale, (y + h / 2) * scale)
        move = np.array([[1, 0, side / 2 - origin[0]], [0, 1, side / 2 - origin[1]]], np.float64)
        view = cv2.warpAffine(small, move, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        seen.append((view, (side / 2 - w * scale / 2, side / 2 - h * scale / 2, w * scale, h * scale)))
    return seen


def meets(boxes: np.ndarray, box: Box) -> bool:
    """Tell whether a detection is of the face."""
    for found in np.asarray(boxes, float)[:, :4]:
        x0, y0 = max(found[0], box[0]), max(found[1], box[1])
        x1, y1 = min(found[0] + found[2], box[0] + box[2]), min(found[1] + found[3], box[1] + box[3])
        common = max(0.0, x1 - x0) * max(0.0, y1 - y0)
        if common >= FOUND * (found[2] * found[3] + box[2] * box[3] - common):
            return True
    return False


def finders(extra: Sequence[str]) -> dict[str, Finder]:
    """Return the detectors that are here, by name."""
    found: dict[str, Finder] = {}
    for text in ('{"plugin": "centerface"}', *extra):
        config = block(DetectorConfig, text, "--detector")
        one = make_detector(config.plugin, config.options)
        found[config.plugin] = lambda pixels, one=one: one.detect([pixels])[0]
    cascades = [
        cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_{name}.xml")
        for name in ("default", "alt2")
    ]

    def haar(pixels: np.ndarray) -> np.ndarray:
        grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        return np.array([box for one in cascades for box in one.detectMultiScale(grey, 1.1, 3)]).reshape(-1, 4)

    found["haar"] = haar
    if importlib.util.find_spec("facenet_pytorch") is not None:
        import torch
        from facenet_pytorch import MTCNN

        network = MTCNN(keep_all=True, post_process=False, device=torch.device("cpu"))

        def mtcnn(pixels: np.ndarray) -> np.ndarray:
            boxes, _ = network.detect(pixels)
            corners = np.zeros((0, 4)) if boxes is None else np.asarray(boxes)
            return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)

        found["mtcnn"] = mtcnn
    return found


def again(
    faces: Sequence[Face],
    kind: RegionKind,
    method: Method,
    scale: float,
    detectors: dict[str, Finder],
    tiles: list[np.ndarray] | None = None,
) -> dict[str, int]:
    """Return how many of the faces each detector finds in photographs enlarged by ``scale`` and then changed."""
    counts = dict.fromkeys(detectors, 0)
    for face in faces:
        pixels, region = face.region(kind, scale)
        changed = engine.anonymize_image(pixels, [region], method)
        seen = views(changed, tuple(side * scale for side in face.box))  # type: ignore[arg-type]
        for name, find in detectors.items():
            counts[name] += any(meets(find(view), box) for view, box in seen)
        if tiles is not None:
            tiles.append(cv2.resize(seen[-1][0], (240, 240), interpolation=cv2.INTER_AREA))
    return counts


def variant(kind: RegionKind, name: str) -> Method:
    """Return the method of a name such as ``blur-low`` or ``adaptive_blur-low-paper``."""
    parameters = {"paper": True} if name.endswith("-paper") else {}
    return make(Variant.parse(f"{kind}-{name.removesuffix('-paper')}"), parameters)


def of_strength(kernels: Sequence[float], cells: Sequence[float]) -> Iterator[tuple[str, Callable[[Region], Method]]]:
    """Yield blurs and mosaics by their strength in units of a face's side, with what makes the method for a region."""

    def blur(one: Region, share: float) -> Method:
        sigma = share * face_of(one) * 128 / (1.7 * max(one.subject[2:]))  # in the published crop
        return make(Variant.parse("face-blur-own"), {"sigma": sigma, "kernel": 2 * math.ceil(4 * sigma) + 1})

    def pixelate(one: Region, count: float) -> Method:
        whole = round(count * max(one.subject[2:]) / face_of(one))
        return make(Variant.parse("face-pixelate-own"), {"face_cells": max(1, whole)})

    for share in kernels:
        yield f"sigma {share:.3g}", functools.partial(blur, share=share)
    for count in cells:
        yield f"{count:g} cells", functools.partial(pixelate, count=count)


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a data set in COCO's layout, with keypoints")
    parser.add_argument("--split", action="append", help="may be given several times; train2017 and val2017")
    parser.add_argument("--faces", type=int, default=12, help="how many, from the largest on")
    parser.add_argument("--enlarge", type=float, nargs="+", default=[1, 2, 4, 6])
    parser.add_argument("--variant", action="append", help="method and level, such as blur-low; all when left out")
    parser.add_argument("--kind", choices=list(RegionKind), action="append", help="face, body; both when left out")
    parser.add_argument("--detector", action="append", default=[], help="one more detector, as JSON")
    parser.add_argument("--sweep", action="store_true", help="by strength instead of by method")
    parser.add_argument("--small", action="store_true", help="faces of 8 to 30 pixels")
    parser.add_argument("--sheet", type=Path, help="folder for pictures of what the detectors saw")
    args = parser.parse_args()
    faces = largest(args.root, args.split or ["train2017", "val2017"], args.faces)
    detectors = finders(args.detector)
    print(
        f"{len(faces)} faces, {max(faces[0].box[2:]):.0f} to {max(faces[-1].box[2:]):.0f} pixels high; detectors:",
        end=" ",
    )
    print(", ".join(detectors))
    if args.sweep:
        print("\n| strength | " + " | ".join(detectors) + " |\n|---|" + "---|" * len(detectors))
        for name, method_for in of_strength(SIGMAS, CELLS):
            counts: Counter[str] = Counter()
            for face in faces:
                method = method_for(face.region(RegionKind.FACE, 1)[1])
                counts.update(again([face], RegionKind.FACE, method, 1, detectors))
            print(f"| {name} | " + " | ".join(str(counts[one]) for one in detectors) + " |", flush=True)
        return
    for kind in args.kind or list(RegionKind):
        print(f"\n{kind}: faces found again by " + " / ".join(detectors))
        scales = [(f"{scale:g} x", [scale] * len(faces)) for scale in args.enlarge]
        if args.small:
            scales = [(f"{side} px", [side / max(face.box[2:]) for face in faces]) for side in (8, 12, 20, 30)]
        print("| | " + " | ".join(name for name, _ in scales) + " |\n|---|" + "---|" * len(scales))
        for name in args.variant or VARIANTS:
            method = variant(RegionKind(kind), name)
            cells = []
            for label, factors in scales:
                tiles: list[np.ndarray] = []
                counts = [
                    again([f], RegionKind(kind), method, s, detectors, tiles)
                    for f, s in zip(faces, factors, strict=True)
                ]
                cells.append(" / ".join(str(sum(count[one] for count in counts)) for one in detectors))
                if args.sheet:
                    args.sheet.mkdir(parents=True, exist_ok=True)
                    rows = [np.hstack(tiles[i : i + 6]) for i in range(0, len(tiles) // 6 * 6, 6)]
                    path = args.sheet / f"{kind}-{name}-{label.replace(' ', '')}.png"
                    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
            print(f"| `{name}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    with one_sentence():
        main()
