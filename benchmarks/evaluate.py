"""Seconds to evaluate one model, beside faster-coco-eval, and to resample its images.

python benchmarks/evaluate.py [--images 500] [--repeats 3]; 5000 images are as many as COCO's val2017.
Runs are interleaved and medians compared. Both sides read the same files and score boxes, masks and keypoints; ours
also checks every detection, scores every category by itself, and keeps the matches.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from tabulate import tabulate

from anonbench.evaluate import evidence, synthetic
from anonbench.evaluate.metrics import evaluate_files
from anonbench.statistics.resampling import group_weights
from anonbench.tasks.base import load

FIELDS = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}


def seconds(work: Callable[[], object]) -> float:
    """Return how long ``work`` takes."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    return time.perf_counter() - start


def peer(predictions: Path, annotations: Path) -> None:
    """Do the same with faster-coco-eval."""
    from faster_coco_eval import COCO, COCOeval_faster

    detections: list[dict[str, Any]] = json.loads(predictions.read_bytes())["detections"]
    for iou_type, field in FIELDS.items():
        coco = COCO(str(annotations))
        if iou_type == "keypoints":
            coco.dataset["annotations"] = [a for a in coco.dataset["annotations"] if "keypoints" in a]
            coco.createIndex()
        keys = ("image_id", "category_id", "score", field)
        found = coco.loadRes([{k: d[k] for k in keys} for d in detections if field in d])
        run = COCOeval_faster(coco, found, iou_type, print_function=str)
        if iou_type == "keypoints":
            run.params.catIds = [1]
        run.evaluate()
        run.accumulate()
        run.summarize()


def resample(file: Path, images: int) -> None:
    """Compute 1000 resampled APs of every task and category."""
    weights = group_weights(images, 1000, 0)
    for name, task in evidence.read(file).items():
        for part in task.parts.values():
            load(name).score(part, weights)


def main(
    images: Annotated[int, typer.Option(help="Images; 7 objects and 20 false detections on each.")] = 500,
    repeats: Annotated[int, typer.Option(help="Interleaved repeats; medians are printed.")] = 3,
) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        truth = synthetic.ground_truth(images, per_image=7)
        predictions, annotations = root / "predictions.json", root / "val.json"
        annotations.write_text(json.dumps(truth))
        predictions.write_text(json.dumps(synthetic.predictions(truth, 0.8, extra=20)))
        work: dict[str, Callable[[], object]] = {
            "anonbench evaluate": lambda: evaluate_files(predictions, annotations, root),
            "faster-coco-eval": lambda: peer(predictions, annotations),
            "1000 resamples": lambda: resample(root / evidence.FILE, images),
        }
        took: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(repeats):
            for name, one in work.items():
                took[name].append(seconds(one))
        size = (root / evidence.FILE).stat().st_size / 1e6
    rows = [[name, f"{statistics.median(t):.2f}", f"{min(t):.2f}", f"{max(t):.2f}"] for name, t in took.items()]
    print(tabulate(rows, headers=[f"{images} images", "median s", "min", "max"], tablefmt="github"))
    print(f"evidence.npz: {size:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
