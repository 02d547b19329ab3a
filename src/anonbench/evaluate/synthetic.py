"""Made-up ground truth and predictions of a known quality, for tests and benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from anonbench.records import KEYPOINTS, SKELETON
from anonbench.seeding import generator

CATEGORIES: list[dict[str, Any]] = [
    {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(KEYPOINTS),
        "skeleton": [*map(list, SKELETON)],
    },
    {"id": 2, "name": "car", "supercategory": "vehicle"},
    {"id": 3, "name": "bicycle", "supercategory": "vehicle"},
]  # fmt: skip

_POSE = np.array(
    [(0.5, 0.08), (0.47, 0.06), (0.53, 0.06), (0.44, 0.08), (0.56, 0.08), (0.35, 0.2), (0.65, 0.2), (0.28, 0.36),
     (0.72, 0.36), (0.25, 0.5), (0.75, 0.5), (0.42, 0.52), (0.58, 0.52), (0.4, 0.74), (0.6, 0.74), (0.38, 0.95),
     (0.62, 0.95)]
)  # fmt: skip
"""Where the keypoints lie in a person's box, as shares of its width and height."""


def ground_truth(
    images: int, per_image: float = 5, width: int = 640, height: int = 480, seed: int = 0
) -> dict[str, Any]:
    """Return COCO annotations: people with keypoints and some crowds, cars and bicycles; masks are ellipses."""
    random = generator("truth", images, per_image, width, height, seed)
    annotations: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        for _ in range(random.poisson(per_image)):
            category = int(random.choice([1, 2, 3], p=[0.55, 0.35, 0.1]))
            h = float(np.exp(random.uniform(np.log(16), np.log(0.8 * height))))
            w = h * float(random.uniform(0.35, 0.5) if category == 1 else random.uniform(1, 1.8))
            w = min(w, 0.9 * width)
            x, y = random.uniform(0, width - w), random.uniform(0, height - h)
            box = [round(float(v), 2) for v in (x, y, w, h)]
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "iscrowd": int(category == 1 and random.random() < 0.04),
                "segmentation": ellipse(box, height, width),
            }
            annotation["area"] = float(coco_mask.area(annotation["segmentation"]))
            if category == 1:
                points = np.column_stack([_POSE * (w, h) + (x, y), random.choice([0, 1, 2], 17, p=[0.1, 0.2, 0.7])])
                points[points[:, 2] == 0] = 0
                annotation["keypoints"] = [round(float(v), 2) for v in points.ravel()]
                annotation["num_keypoints"] = int((points[:, 2] > 0).sum())
            annotations.append(annotation)
    frames = [{"id": i, "file_name": f"{i:06d}.jpg", "width": width, "height": height} for i in range(1, images + 1)]
    return {"images": frames, "annotations": annotations, "categories": CATEGORIES}


def ellipse(box: list[float], height: int, width: int) -> dict[str, Any]:
    """Return the compressed RLE of the ellipse inscribed in ``box``."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    x = box[0] + box[2] * (0.5 + 0.5 * np.cos(angles))
    y = box[1] + box[3] * (0.5 + 0.5 * np.sin(angles))
    polygon = np.column_stack([x, y]).ravel().tolist()
    runs = coco_mask.merge(coco_mask.frPyObjects([polygon], height, width))
    return {"size": [height, width], "counts": runs["counts"].decode()}


def predictions(
    truth: dict[str, Any],
    quality: dict[int, float] | float = 0.8,
    seed: int = 0,
    extra: float = 3,
    tasks: tuple[str, ...] = ("detection", "segmentation", "pose"),
) -> dict[str, Any]:
    """Return predictions: a share ``quality`` (0..1, or by category id) of the objects, displaced, and ``extra`` false
    ones per image. The displacement and the scores get worse as the quality falls.
    """
    random = generator("predictions", seed)
    sizes = {i["id"]: (i["height"], i["width"]) for i in truth["images"]}
    ids = [c["id"] for c in truth["categories"]]
    posed = {a["category_id"] for a in truth["annotations"] if a.get("keypoints")}
    detections: list[dict[str, Any]] = []

    def add(image: int, category: int, box: np.ndarray, score: float, points: np.ndarray) -> None:
        size = sizes[image]
        box[2:] = np.maximum(box[2:], 2)
        where = [round(float(v), 2) for v in box]
        found = {"image_id": image, "category_id": category, "bbox": where, "score": round(float(score), 5)}
        if "segmentation" in tasks:
            found["segmentation"] = ellipse(where, *size)
        if "pose" in tasks and category in posed:
            found["keypoints"] = [round(float(v), 2) for v in points.ravel()]
        detections.append(found)

    for a in truth["annotations"]:
        good = quality[a["category_id"]] if isinstance(quality, dict) else quality
        box = np.array(a["bbox"])
        scale = 0.02 + 0.12 * (1 - good)
        wrong = random.normal(0, scale, 4) * box[[2, 3, 2, 3]]
        points = np.column_stack([_POSE * box[2:] + box[:2], np.ones(17)])
        points[:, :2] += random.normal(0, scale * np.sqrt(box[2] * box[3]) * 0.6, (17, 2))
        score, keep = np.clip(random.normal(0.35 + 0.5 * good, 0.15), 0.01, 1), random.random() < good
        if keep:
            add(a["image_id"], a["category_id"], box + wrong, score, points)
    for image, (height, width) in sizes.items():
        for _ in range(random.poisson(extra)):
            w, h = random.uniform(8, width / 3), random.uniform(8, height / 2)
            box = np.array([random.uniform(0, width - w), random.uniform(0, height - h), w, h])
            points = np.column_stack([_POSE * box[2:] + box[:2], np.ones(17)])
            add(image, int(random.choice(ids)), box, random.beta(2, 4), points)
    return {
        "categories": [{k: c[k] for k in ("id", "name", "supercategory")} for c in truth["categories"]],
        "model": {"weights_sha256": "0" * 64, "tasks": list(tasks), "trainer": "synthetic"},
        "detections": detections,
    }
