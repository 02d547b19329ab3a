"""Seconds to evaluate one model, by each engine and beside faster-coco-eval, and to resample its images.

python benchmarks/evaluate.py [--images 500] [--repeats 3] [--before REVISION]; 5000 images are as many as COCO's
val2017. Runs are interleaved and medians compared: seconds of CPU time, all on one thread, since other work on a
machine moves those of a clock by more. All sides read the same files and score boxes, masks and keypoints; ours also
checks every detection, scores every category by itself, and keeps the matches. With --before the source at a revision
of git runs, too.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from tabulate import tabulate

from anonbench.cli import one_sentence
from anonbench.evaluate import evidence, synthetic
from anonbench.tasks.engines import PYCOCOTOOLS
from anonbench.tasks.scored import FIELDS

PROJECT = Path(__file__).parents[1]


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of CPU time that ``work`` takes."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    return time.process_time() - start


ALONE = """
import sys, time
source, predictions, annotations, out, images, *engine = sys.argv[1:]
sys.path.insert(0, source)
from pathlib import Path
from anonbench.evaluate import evidence
from anonbench.evaluate.metrics import evaluate_files
import numpy as np
from anonbench.tasks.base import load
start = time.process_time()
evaluate_files(predictions, annotations, out, *engine)
done = time.process_time()
n = int(images)
weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), 1000).astype(np.int32)
for name, task in evidence.read(Path(out) / evidence.FILE).items():
    for part in task.parts.values():
        load(name).score(part, weights)
print(done - start, time.process_time() - done)
"""
"""What a process of its own runs of a source: the evaluation, and 1000 resamples of every task and category."""


def alone(source: Path, predictions: Path, annotations: Path, images: int, *engine: str) -> list[float]:
    """Return the seconds that a source takes for the evaluation and for the resamples."""
    arguments = (source, predictions, annotations, predictions.parent, images, *engine)
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    return [float(s) for s in subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()]


def extract(revision: str, folder: Path) -> Path:
    """Put the source at a revision of git into a folder; return what is to be on the path."""
    archive = subprocess.run(["git", "archive", revision, "src"], cwd=PROJECT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        file.extractall(folder, filter="data")
    return folder / "src"


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


def main(
    images: Annotated[int, typer.Option(help="Images; 7 objects and 20 false detections on each.")] = 500,
    repeats: Annotated[int, typer.Option(help="Interleaved repeats; medians are printed.")] = 3,
    before: Annotated[str | None, typer.Option(help="Revision of git whose source is run beside this one.")] = None,
) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        truth = synthetic.ground_truth(images, per_image=7)
        files = predictions, annotations = root / "predictions.json", root / "val.json"
        annotations.write_text(json.dumps(truth))
        predictions.write_text(json.dumps(synthetic.predictions(truth, 0.8, extra=20)))
        del truth
        old = extract(before, root / "before") if before else None
        took: dict[str, list[float]] = {}
        for _ in range(repeats):
            runs = {"": alone(PROJECT / "src", *files, images)}
            if old:
                runs[f" at {before}"] = alone(old, *files, images)
            runs[", engine pycocotools"] = alone(PROJECT / "src", *files, images, PYCOCOTOOLS)[:1]
            for suffix, of in runs.items():
                for name, its in zip(("evaluate", "1000 resamples"), of, strict=False):
                    took.setdefault(name + suffix, []).append(its)
            took.setdefault("faster-coco-eval", []).append(seconds(lambda: peer(*files)))
        size = (root / evidence.FILE).stat().st_size / 1e6
    rows = [[name, f"{statistics.median(t):.2f}", f"{min(t):.2f}", f"{max(t):.2f}"] for name, t in took.items()]
    print(tabulate(rows, headers=[f"{images} images", "median s", "min", "max"], tablefmt="github"))
    print(f"evidence.npz: {size:.1f} MB")


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
