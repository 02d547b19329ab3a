"""How long and with how much memory annotations of COCO train2017's size are read, and given to a variant.

    python benchmarks/annotate.py

Writes a synthetic instances file (118,287 images, 860,001 annotations of which 262,465 people, about 450 MB; ellipses
whose corners are as many as COCO's on the average) and its images (links to one grey JPEG, or to the photograph
of 640x480 that --image names, whose decoding takes its usual time) into a temporary folder, then runs
`anonbench annotate`, `regions`, `anonymize` (the original, which copies) and `merge` on it, each in a process of its
own on one core, and prints seconds and peak memory of each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from anonbench.cli import one_sentence

IMAGES, ANNOTATIONS, PEOPLE = 118_287, 860_001, 262_465
WIDTH, HEIGHT = 640, 480
LINKS = 50_000
"""Links to one file; ext4 allows 65,000."""


def write(root: Path, scale: float, image: bytes) -> Path:
    """Write a data set in COCO's layout, ``scale`` times the size; return the annotation file."""
    rng = np.random.default_rng(0)
    images, annotations, people = (round(scale * n) for n in (IMAGES, ANNOTATIONS, PEOPLE))
    folder = root / "train2017"
    folder.mkdir(parents=True)
    names = [f"{number:012d}.jpg" for number in range(1, images + 1)]
    for index, name in enumerate(names):
        if index % LINKS == 0:
            first = folder / name
            first.write_bytes(image)
        else:
            os.link(first, folder / name)
    file = root / "annotations" / "instances_train2017.json"
    file.parent.mkdir()
    order = rng.permutation(annotations)
    with open(file, "w") as stream:
        categories = [{"id": 1, "name": "person", "supercategory": "person"}]
        categories += [{"id": n, "name": f"thing {n}", "supercategory": "thing"} for n in range(2, 81)]
        entries = [
            {"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in enumerate(names, start=1)
        ]
        stream.write(json.dumps({"info": {}, "licenses": [], "categories": categories, "images": entries})[:-1])
        stream.write(', "annotations": [')
        for index in range(annotations):
            entry = annotation(rng, index + 1, 1 + index % images, 1 if order[index] < people else 2 + index % 79)
            stream.write((", " if index else "") + json.dumps(entry))
        stream.write("]}")
    return file


def grey() -> bytes:
    """Return a grey image as JPEG."""
    return cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 128, np.uint8))[1].tobytes()


def annotation(rng: np.random.Generator, number: int, image: int, category: int) -> dict:
    """Return an ellipse as COCO writes a polygon: two decimals."""
    corners = 6 + int(rng.geometric(1 / 22))
    w, h = np.exp(rng.uniform(np.log(8), np.log(300), 2))
    x, y = rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    points = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], axis=1).round(2)
    low, high = points.min(axis=0), points.max(axis=0)
    return {
        "segmentation": [points.ravel().tolist()],
        "area": round(float(np.pi / 4 * w * h), 4),
        "iscrowd": 0,
        "image_id": image,
        "bbox": [*low.tolist(), *(high - low).round(2).tolist()],
        "category_id": category,
        "id": number,
    }


def measured(*words: str) -> None:
    """Run a command on one core; print its seconds and its peak memory."""
    core = next(iter(os.sched_getaffinity(0)))
    start = time.perf_counter()
    process = subprocess.Popen(words, preexec_fn=lambda: os.sched_setaffinity(0, {core}), stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    print(
        f"{words[3]:10s} {seconds:6.1f} s ({usage.ru_utime + usage.ru_stime:.1f} s of CPU), "
        f"{usage.ru_maxrss / 1024**2:.2f} GiB at most, exit status {status}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="size, as a share of COCO train2017's")
    parser.add_argument("--image", type=Path, help="photograph of 640x480 that all images are links to")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        image = args.image.read_bytes() if args.image else grey()
        file = write(work / "root", args.scale, image)
        print(f"{file.name}: {file.stat().st_size / 1e6:.0f} MB", flush=True)
        record = {"dataset": "b", "adapter": "coco", "root": str(work / "root"), "options": {}, "splits": {}}
        (work / "download.json").write_text(json.dumps(record))
        start = [sys.executable, "-m", "anonbench"]
        out = str(work / "annotations")
        measured(*start, "annotate", "--data", str(work), "--split", "train2017", "--out", out)
        measured(*start, "regions", "--annotations", out, "--split", "train2017")
        variant = ["--split", "train2017", "--variant", "original", "--out", str(work / "anonymized" / "original")]
        measured(*start, "anonymize", "--data", str(work), "--annotations", out, *variant)
        measured(*start, "merge", "--annotations", out, *variant)


if __name__ == "__main__":
    with one_sentence():
        main()
