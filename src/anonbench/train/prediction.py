"""Predictions: one command runs a trained model on a split, one file of COCO detections, for every trainer."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm import tqdm

from anonbench import portable, registry
from anonbench import recipe as recipes
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.learning.devices import choose_device
from anonbench.records import KEYPOINTS
from anonbench.train.contract import Detection, Trainer
from anonbench.train.data import Category, Variant
from anonbench.train.record import RECORD, WEIGHTS, read_record


def run_prediction(
    model: Path, variant_dir: Path, split: str, out: Path, *, device: str = "auto", threads: int = 1
) -> None:
    """Run the model of the folder ``model`` on a split and write COCO detections to ``out``.

    Raises AnonbenchError when the training is not complete, its weights are not those that it recorded, or the
    variant has other categories.
    """
    started = time.perf_counter()
    record = read_record(model)
    recipe = recipes.parse(record["recipe"], model / RECORD)
    if sha256_file(model / WEIGHTS) != record["weights_sha256"]:
        raise AnonbenchError("is not the file that train.json describes", file=model / WEIGHTS, remedy="train again")
    categories = tuple(Category(**category) for category in record["categories"])
    variant = Variant.read(variant_dir, split)
    if variant.categories != categories:
        raise AnonbenchError(
            f"has the categories {_names(variant.categories)}, the model was trained on {_names(categories)}",
            file=variant.annotations,
        )
    where = choose_device(device)
    if recipe.level(where.type) == "portable":
        portable.require()
    torch.set_num_threads(threads)
    try:
        weights = load_file(model / WEIGHTS)
    except SafetensorError as error:
        raise AnonbenchError(f"cannot be read ({error})", file=model / WEIGHTS, remedy="train again") from error
    trainer: Trainer = registry.load("trainers", recipe.trainer)()
    people = {category.id for category in categories if category.person}
    images = trainer.predict(weights, categories, variant, recipe, where)
    detections = [
        coco_result(detection, detection.category_id in people)
        for found in tqdm(images, "predict", len(variant.samples), unit="image", mininterval=1)
        for detection in found
    ]
    result = {
        "categories": [asdict(category) for category in categories],
        "model": {"weights_sha256": record["weights_sha256"], "tasks": list(recipe.tasks), "trainer": recipe.trainer},
        "detections": detections,
    }
    write_json(out, result, indent=None)
    seconds = time.perf_counter() - started
    print(f"{len(detections)} detections in {len(variant.samples)} images, {seconds:.1f} s", file=sys.stderr)


def _names(categories: tuple[Category, ...]) -> str:
    return ", ".join(f"{c.id} {c.name}" for c in categories) or "none"


def coco_result(detection: Detection, person: bool) -> dict[str, Any]:
    """Return the detection as COCO's results format has it; keypoints are for people only."""
    x0, y0, x1, y1 = (float(v) for v in detection.box)
    result: dict[str, Any] = {
        "image_id": detection.image_id,
        "category_id": detection.category_id,
        "bbox": [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)],
        "score": round(float(detection.score), 5),
    }
    if detection.mask is not None:
        rle = coco_mask.encode(np.asfortranarray(detection.mask, dtype=np.uint8))
        result["segmentation"] = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
    if detection.keypoints is not None and person:
        assert detection.keypoints.shape == (len(KEYPOINTS), 3)
        result["keypoints"] = [round(float(v), 2) for v in detection.keypoints.ravel()]
    return result
