"""A tiny data set (people are red figures, cars blue boxes) and a recipe that trains on it in a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anonbench import recipe as recipes
from anonbench.files import sha256_bytes, write_json
from anonbench.manifests import digest_of, shard_path, summary_path
from anonbench.recipe import Recipe

WIDTH, HEIGHT = 96, 64
CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 3, "name": "car", "supercategory": "vehicle"},
]
TINY: dict[str, Any] = {
    "tasks": ["detection", "segmentation", "pose"],
    "settings": {
        "architecture": {
            "backbone": "compact",
            "compact_widths": [8, 8],
            "compact_depths": [1, 1],
            "strides": [4, 8],
            "pyramid_channels": 8,
            "anchor_sizes": [[12], [32]],
            "rpn_samples": 16,
            "rpn_before_nms": 20,
            "rpn_after_nms": 10,
            "rpn_before_nms_test": 20,
            "rpn_after_nms_test": 10,
            "roi_levels": [4, 8],
            "roi_canonical_size": 96,
            "box_roi_size": 3,
            "box_width": 16,
            "box_samples": 16,
            "score_threshold": 0.0,
            "detections_per_image": 5,
            "mask_head": {"roi_size": 6, "widths": [8], "regions_per_image": 2},
            "keypoint_head": {"roi_size": 6, "widths": [8], "regions_per_image": 2},
        },
        "min_size": [64],
        "max_size": 96,
    },
    "batch_size": 2,
    "iterations": 4,
    "base_learning_rate": 0.02,
    "reference_batch_size": 2,
    "warmup_iterations": 2,
    "checkpoint_every": 2,
}

ARCHITECTURE: dict[str, Any] = TINY["settings"]["architecture"]


def tiny_recipe(settings: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """Return the tiny recipe with some of the trainer's settings and some other entries changed."""
    return recipes.parse({**TINY, **changes, "settings": {**TINY["settings"], **(settings or {})}})


CLIPS: dict[str, Any] = {
    **{name: value for name, value in TINY.items() if name not in ("tasks", "settings")},
    "trainer": "clips",
    "tasks": ["action"],
    "settings": {
        "network": "r3d_small",
        "small_widths": [4, 8],
        "small_depths": [1, 1],
        "frames": 4,
        "stride": 1,
        "height": 32,
        "width": 32,
        "horizontal_flip": 0.0,
    },
}
ACTIONS = ["left", "right", "still"]


def clips_recipe(settings: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """Return a tiny recipe for clips with some of the settings and some other entries changed."""
    return recipes.parse({**CLIPS, **changes, "settings": {**CLIPS["settings"], **(settings or {})}})


def recipe_for(trainer: str, settings: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """Return the tiny recipe for a trainer; detectron2's smallest backbone is ResNet-18."""
    if trainer == "clips":
        return clips_recipe(settings, **changes)
    if trainer != "detectron2":
        return tiny_recipe(settings, trainer=trainer, **changes)
    own = ("compact_widths", "compact_depths", "roi_canonical_size")
    architecture = {name: value for name, value in ARCHITECTURE.items() if name not in own}
    architecture |= {"backbone": "resnet18", "norm": "group", "strides": [4, 8, 16, 32], "proposal_levels": [4, 8]}
    architecture |= (settings or {}).get("architecture", {})
    return tiny_recipe({**(settings or {}), "architecture": architecture}, trainer=trainer, **changes)


def write_variant(root: Path, images: int = 5, split: str = "train", categories: Any = CATEGORIES) -> Path:
    """Write a COCO data set of ``images`` images; the second has no annotations, the third also a crowd."""
    rng = np.random.default_rng(7)
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
    for number in range(1, images + 1):
        pixels = rng.integers(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        name = f"{number:03d}.png"
        coco["images"].append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        if number != 2:
            x, y, w, h = 6 * number, 8, 16, 40
            pixels[y : y + h, x : x + w] = (200, 40, 40)
            pose = [[x + w * (0.2 + 0.6 * (k % 2)), y + h * (k + 0.5) / 17, 2] for k in range(17)]
            person = {"category_id": 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
            person["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            person |= {"keypoints": np.ravel(pose).tolist(), "num_keypoints": 17}
            pixels[44:60, 60:90] = (40, 40, 200)
            car = {"category_id": 3, "bbox": [60, 44, 30, 16], "area": 480, "iscrowd": 0}
            car["segmentation"] = [[60, 44, 90, 44, 90, 60, 60, 60]]
            found = [person, car]
            if number == 3:
                found.append({**person, "bbox": [0, 0, 20, 20], "iscrowd": 1})
            for annotation in found:
                coco["annotations"].append({**annotation, "id": len(coco["annotations"]) + 1, "image_id": number})
        cv2.imwrite(str(root / split / name), pixels[:, :, ::-1])
    (root / "annotations" / f"{split}.json").write_text(json.dumps(coco))
    return root


def write_clips(
    root: Path,
    clips: int = 6,
    split: str = "train",
    categories: Any = CATEGORIES,
    frames: int = 6,
    actions: list[str] = ACTIONS,
    seed: int = 7,
) -> Path:
    """Write COCO-VID clips in which a red figure goes to the left, to the right or stands still, in turns."""
    rng = np.random.default_rng(seed)
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": categories, "videos": [], "actions": actions}
    for clip in range(1, clips + 1):
        action = actions[(clip - 1) % len(actions)]
        coco["videos"].append({"id": clip, "width": WIDTH, "height": HEIGHT, "frames": frames, "action": action})
        step = {"left": -6, "right": 6}.get(action, 0)
        street, start = rng.integers(0, 60, (HEIGHT, WIDTH, 3)), int(rng.integers(34, 48))
        for frame in range(frames):
            pixels = street + rng.integers(0, 12, street.shape)
            x, y, w, h = start + step * frame - step * frames // 2, 10, 14, 40
            pixels[y : y + h, x : x + w] = (200, 40, 40)
            number = len(coco["images"]) + 1
            name = f"{clip:03d}_{frame:02d}.png"
            image = {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
            coco["images"].append({**image, "video_id": clip, "frame_index": frame})
            person = {"id": number, "image_id": number, "category_id": 1, "bbox": [x, y, w, h], "area": w * h}
            coco["annotations"].append({**person, "iscrowd": 0})
            cv2.imwrite(str(root / split / name), pixels.astype(np.uint8)[:, :, ::-1])
    (root / "annotations" / f"{split}.json").write_text(json.dumps(coco))
    return root


def write_manifest(root: Path, split: str = "train") -> str:
    """Write the parts of the anonymize stage's manifest that are read here (two shards, summary); return its digest."""
    names = sorted(path.name for path in (root / split).iterdir())
    hashes = {name: sha256_bytes((root / split / name).read_bytes()) for name in names}
    shards = []
    for number in (0, 1):
        rows: list[dict[str, Any]] = [{"type": "shard", "shard": number}]
        for name in names[number::2]:
            size = (root / split / name).stat().st_size
            rows += [{"type": "image", "file_name": name, "bytes": size, "sha256": hashes[name], "image_id": 0}]
            rows += [{"type": "person"}]
        path = shard_path(root, split, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        shards.append(sha256_bytes(path.read_bytes()))
    annotations = sha256_bytes((root / "annotations" / f"{split}.json").read_bytes())
    digest = digest_of(hashes)
    write_json(summary_path(root, split), {"shards": shards, "digest": digest, "annotations_sha256": annotations})
    return digest
