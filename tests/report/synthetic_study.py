"""A whole study made of noise, on disk: what the report reads, without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from anonbench import regions
from anonbench.evaluate import synthetic
from anonbench.evaluate.metrics import evaluate_files
from anonbench.files import sha256_file
from anonbench.manifests import shard_path, summary_path, write_rows
from anonbench.statistics.resampling import Draw

QUALITY = {
    "original": 0.85,
    "face-identity": 0.85,
    "face-blur-medium": 0.83,
    "face-mask_out": 0.80,
    "body-blur-medium": 0.35,
    "body-mask_out": 0.15,
}
"""How well people are found by a model trained on each variant."""

REASONS = {
    "face": {"no_face_found": 31, "below_min_size": 12, "crowd": 4},
    "body": {"crowd": 4},
}


def write_study(
    root: Path,
    seeds: tuple[int, ...] = (0, 1, 2),
    images: int = 40,
    quality: dict[str, float] | None = None,
    tasks: tuple[str, ...] = ("detection", "segmentation", "pose"),
    people_per_sheet: int = 4,
    bootstrap: int = 200,
    noise: bool = False,
    vector_formats: tuple[str, ...] = (),
    original_seeds: tuple[int, ...] = (),
    resampled: bool = False,
    metric: str | None = None,
) -> Path:
    """Write study.json, evaluations/, models/ and anonymized/ under ``root``; return the study's path.

    The original has ``original_seeds``, too. With ``noise``, the runs of one seed differ between variants in
    everything, not only in how well people are found. Evaluations hold their ``bootstrap`` resamples with
    ``resampled``, as the workflow's do; else the report computes them. ``metric`` is what the study asks about.
    """
    quality = quality or QUALITY
    recipe = {
        "trainer": "torchvision", "tasks": list(tasks), "batch_size": 8, "iterations": 400, "optimizer": "sgd",
        "base_learning_rate": 0.02, "reference_batch_size": 16, "initialisation": {"kind": "scratch"},
    }  # fmt: skip
    study: dict[str, Any] = {
        "name": "synthetic", "seed": 7, "datasets": {"streetlife": {"train": "train", "val": "val"}},
        "variants": list(quality), "models": {"compact": recipe}, "seeds": list(seeds),
        "report": {
            "margin": 1.0, "bootstrap": bootstrap, "people_per_sheet": people_per_sheet,
            "vector_formats": list(vector_formats),
        },
    }  # fmt: skip
    if metric is not None:
        study["report"]["primary"] = {"metric": metric}
    if original_seeds:
        study["original_seeds"] = list(original_seeds)
    dump(root / "study.json", study)
    anonymized = root / "anonymized" / "streetlife"
    truth = synthetic.ground_truth(images, seed=5)
    val = anonymized / "original" / "annotations" / "val.json"
    draw = Draw(bootstrap, study["seed"], "streetlife") if resampled else None
    dump(val, truth)
    train = synthetic.ground_truth(12, seed=6, width=320, height=240)
    for variant, good in quality.items():
        _pictures(anonymized / variant / "train", train, variant)
        dump(anonymized / variant / "annotations" / "train.json", train)
        _shard(anonymized / variant, train, variant)
        for split in ("train", "val"):
            dump(summary_path(anonymized / variant, split), manifest(variant) | _merged(anonymized / variant, split))
        for seed in (*seeds, *(original_seeds if variant == "original" else ())):
            place = Path("streetlife") / variant / "compact" / f"seed{seed}"
            dump(root / "predictions.json", predictions(truth, variant, good, seed, tasks, noise))
            out = root / "evaluations" / place / "on-original"
            evaluate_files(root / "predictions.json", val, out, draw=draw, metric=metric)
            iterations = np.arange(10, 401, 10)
            points = [
                {
                    "iteration": int(i), "learning_rate": 0.01,
                    "loss_classifier": round(1.5 / (1 + i / 60) + 0.05 * np.sin(i + seed) + (0.9 - good) * 0.2, 6),
                    "loss_box": round(0.6 / (1 + i / 90), 6),
                }
                for i in iterations
            ]  # fmt: skip
            record = {
                "recipe": recipe, "resolved": {"batch_size": 8, "learning_rate": 0.01, "iterations": 400},
                "initialisation": {"kind": "scratch", "seen": [], "leaks": False}, "seed": seed, "loss_curve": points,
                "device": "a CPU", "threads": 1, "versions": {"torch": "2.13.0"},
                "data": {"images": 12, "used": 50},
            }  # fmt: skip
            dump(root / "models" / place / "train.json", record)
            timing = {"seconds": 60.5 + seed, "images_per_second": 52.9, "peak_memory_mib": 900.0}
            dump(root / "models" / place / "timing.json", timing)
    (root / "predictions.json").unlink()
    write_annotations(root / "annotations" / "streetlife", train)
    return root / "study.json"


def predictions(
    truth: dict[str, Any], variant: str, good: float, seed: int, tasks: tuple[str, ...], noise: bool = False
) -> dict[str, Any]:
    """Return what the study's model of a variant and seed finds."""
    of = {1: good + 0.004 * np.sin(7 * seed + len(variant)), 2: 0.8, 3: 0.75}
    return synthetic.predictions(truth, of, seed=1000 * seed + (len(variant) if noise else 0), tasks=tasks)


COVERAGE = """kind,category,size,status,source,people
body,person,large,crowd,,4
body,person,large,region,mask,96
body,person,small,region,box,100
face,person,large,region,ground_truth,90
face,person,large,no_face_found,,10
face,person,small,region,keypoints,100
"""


def write_annotations(folder: Path, truth: dict[str, Any], split: str = "train") -> None:
    """Write what the report reads of `annotate`: counts, boxes, and regions that meet no box."""
    dump(folder / f"{split}.json", truth)
    (folder / f"{split}.coverage.csv").write_text(COVERAGE)
    regions.write(folder / f"{split}.regions.parquet", [], regions.REGIONS)


def manifest(variant: str) -> dict[str, Any]:
    """Return a variant's manifest with 200 people."""
    region, _, rest = variant.partition("-")
    method, _, level = rest.partition("-")
    reasons = REASONS.get(region, {})
    done = 200 - sum(reasons.values()) if rest else 0
    return {
        "dataset": "streetlife", "variant": variant, "region": region if rest else None,
        "method": method or None, "level": level or None, "parameters": {}, "encoder": "source", "seed": 7,
        "images": {"encoded": 10, "copied": 2, "stripped": 0},
        "people": {"total": 200, "by_category": {"person": {"people": 200, "anonymized": done, "reasons": reasons}}},
        "share_changed": done / 200,
        **({"fitted_on": {"dataset": "elsewhere", "split": "train", "region": region}} if method == "gan" else {}),
    }  # fmt: skip


def _shard(folder: Path, truth: dict[str, Any], variant: str) -> None:
    """Write whom of the training split a variant has changed: everybody's body, and four of five people's faces."""
    done = "control" if "identity" in variant else "anonymized"
    rows: list[dict[str, Any]] = [{"type": "shard"}]
    for k, a in enumerate(a for a in truth["annotations"] if a["category_id"] == 1 and variant != "original"):
        status = "no_face_found" if variant.startswith("face") and k % 5 == 0 else done
        x, y, w, h = a["bbox"]
        box = [int(x), int(y), int(x + w) + 1, int(y + h * (0.3 if variant.startswith("face") else 1)) + 1]
        row = {"image_id": a["image_id"], "person_id": a["id"], "category": "person", "status": status}
        rows.append({"type": "person", **row, "box": None if status == "no_face_found" else box})
    write_rows(shard_path(folder, "train", 0), rows)


def _merged(folder: Path, split: str) -> dict[str, Any]:
    shard, labels = sha256_file(shard_path(folder, "train", 0)), folder / "annotations" / f"{split}.json"
    digest = sha256_file(labels) if labels.is_file() else ""
    return {"shards": [shard], "digest": "", "annotations_sha256": digest, "touches": "regions"}


def _pictures(folder: Path, truth: dict[str, Any], variant: str) -> None:
    folder.mkdir(parents=True)
    for frame in truth["images"]:
        size = frame["width"], frame["height"]
        image = Image.linear_gradient("L").resize(size).convert("RGB")
        draw = ImageDraw.Draw(image)
        for a in truth["annotations"]:
            if a["image_id"] == frame["id"]:
                x, y, w, h = a["bbox"]
                draw.ellipse([x, y, x + w, y + h], fill=(40 * a["category_id"], 90, 160))
                if a["category_id"] == 1:
                    draw.ellipse([x + 0.38 * w, y + 0.02 * h, x + 0.62 * w, y + 0.14 * h], fill=(230, 180, 140))
        if variant != "original":
            image = image.filter(ImageFilter.GaussianBlur(3))
        image.save(folder / frame["file_name"])


def dump(path: Path, value: Any) -> None:
    """Write JSON, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
