"""How much memory and time each stage takes by the number of images.

    python benchmarks/scale.py 1000 10000

For each number: a synthetic data set like COCO's train2017 (7.3 annotations an image, of which 2.2 people; links to one
grey image), then each stage's command in a process of its own on one core. Prints seconds of CPU and peak memory, as
the table in docs/measurements/scale.md. Training takes two steps, so that its row is about reading; predictions are
made up (ten boxes an image), for a network's time does not depend on how many images there are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from annotate import IMAGES, grey, write

from anonbench.cli import one_sentence

SPLIT = "train2017"
VARIANTS = ("original", "body-mask_out")
TINY: dict[str, Any] = {
    "tasks": ["detection"], "batch_size": 2, "iterations": 2, "warmup_iterations": 1,
    "settings": {
        "min_size": [96], "max_size": 128,
        "architecture": {
            "backbone": "compact", "compact_widths": [8, 8, 16], "compact_depths": [1, 1, 1], "strides": [8, 16],
            "proposal_levels": [8, 16], "pyramid_channels": 16, "anchor_sizes": [[16], [48]], "roi_levels": [8, 16],
            "box_width": 16, "rpn_samples": 16, "box_samples": 16,
        },
    },
}  # fmt: skip


def measured(folder: Path, *words: str) -> tuple[float, float]:
    """Run a command of anonbench on one core; return its seconds of CPU and its peak memory in MiB."""
    core = next(iter(os.sched_getaffinity(0)))
    command = [sys.executable, "-m", "anonbench", *words]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, {core})
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(words)}\n{(folder / 'log').read_text()}")
    found = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"{words[0]}: {found[0]:.1f} s, {found[1]:.0f} MiB", file=sys.stderr, flush=True)
    return found


def predictions(images: int, file: Path) -> None:
    """Write made-up answers: ten boxes an image, of COCO's 80 categories."""
    rng = np.random.default_rng(0)
    categories = [{"id": 1, "name": "person"}, *({"id": n, "name": f"thing {n}"} for n in range(2, 81))]
    model = {"tasks": ["detection"]}
    with open(file, "w") as stream:
        stream.write(json.dumps({"model": model, "categories": categories})[:-1] + ', "detections": [')
        for k in range(10 * images):
            box = [*rng.uniform(0, 300, 2).round(2).tolist(), *rng.uniform(8, 300, 2).round(2).tolist()]
            entry = {
                "image_id": 1 + k // 10,
                "category_id": int(rng.integers(1, 81)),
                "bbox": box,
                "score": float(rng.random()),
            }
            stream.write((", " if k else "") + json.dumps(entry))
        stream.write("]}")


def stages(work: Path, images: int) -> dict[str, tuple[float, float]]:
    """Run every stage on so many images; return seconds and MiB of each."""
    write(work / "root", images / IMAGES, grey())
    record = {"dataset": "b", "adapter": "coco", "root": str(work / "root"), "options": {}, "splits": {}}
    (work / "download.json").write_text(json.dumps(record))
    tables, split, found = str(work / "annotations"), ("--split", SPLIT), {}
    found["annotate"] = measured(work, "annotate", "--data", str(work), *split, "--out", tables)
    found["regions"] = measured(work, "regions", "--annotations", tables, *split)
    for name in VARIANTS:
        out = ("--variant", name, "--out", str(work / "anonymized" / "b" / name))
        source = ("--data", str(work), "--annotations", tables, *split)
        found[f"anonymize {name}"] = measured(work, "anonymize", *source, "--parameters", "{}", *out)
        found[f"merge {name}"] = measured(work, "merge", "--annotations", tables, *split, *out)
    variant = work / "anonymized" / "b" / VARIANTS[1]
    (work / "recipe.json").write_text(json.dumps(TINY))
    found["train"] = measured(
        work, "train", "--variant", str(variant), *split, "--recipe", "recipe.json", "--seed", "0", "--device", "cpu",
        "--threads", "1", "--out", str(work / "model"),
    )  # fmt: skip
    predictions(images, work / "predictions.json")
    truth = work / "anonymized" / "b" / "original" / "annotations" / f"{SPLIT}.json"
    found["evaluate"] = measured(
        work, "evaluate", "--predictions", "predictions.json", "--annotations", str(truth),
        "--people", f"{tables}/{SPLIT}.people.parquet", "--out", str(work / "evaluation"),
    )  # fmt: skip
    (work / "study.json").write_text(json.dumps(study()))
    found["sheet"] = measured(
        work, "report-sheet", "--study", "study.json", "--dataset", "b", "--anonymized", str(work / "anonymized"),
        "--out", str(work / "figures"),
    )  # fmt: skip
    return found


def study() -> dict[str, Any]:
    """Return the part of a study that the report reads."""
    from anonbench.config import parse
    from anonbench.workflow.arguments import Arguments
    from anonbench.workflow.files import Files

    value = {
        "name": "scale", "datasets": {"b": {"adapter": "coco", "root": ".", "train": SPLIT, "val": "val2017"}},
        "variants": list(VARIANTS), "models": {"tiny": yaml.safe_load(yaml.safe_dump(TINY))},
    }  # fmt: skip
    whole = parse(value)
    summary: dict[str, Any] = json.loads(Arguments(whole, Files(whole, Path())).summary())
    return summary


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=int, nargs="+", help="numbers of images")
    args = parser.parse_args()
    rows: dict[str, list[str]] = {}
    for images in args.images:
        with tempfile.TemporaryDirectory() as folder:
            for stage, (seconds, mib) in stages(Path(folder), images).items():
                rows.setdefault(stage, []).append(f"{mib:.0f} MiB, {seconds:.1f} s")
    print("| | " + " | ".join(f"{n:,} images" for n in args.images) + " |")
    print("|---" * (1 + len(args.images)) + "|")
    for stage, values in rows.items():
        print(f"| `{stage}` | " + " | ".join(values) + " |")


if __name__ == "__main__":
    with one_sentence():
        main()
