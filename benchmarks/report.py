"""Seconds and memory of `report-tables`, for a study as large as a published one, made of noise.

python benchmarks/report.py [--images 5000] [--variants 9] [--seeds 3] [--repeats 3]
Every evaluation has boxes, masks and keypoints of so many validation images, and holds its 1000 resamples, as the
workflow's `evaluate` jobs leave them. To make them takes minutes; what is timed is `anonbench report-tables` in a
process of its own, by its seconds of CPU time: other work on a machine moves those of a clock.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from scale import measured
from tabulate import tabulate

from anonbench.cli import one_sentence

PROJECT = Path(__file__).parents[1]
RESAMPLES = 1000
METHODS = ["face-identity", *(f"{region}-{method}" for region in ("face", "body") for method in (
    "blur-low", "blur-medium", "blur-high", "pixelate-low", "pixelate-medium", "pixelate-high", "mask_out"
))]  # fmt: skip


def main(
    images: Annotated[int, typer.Option(min=2, help="Validation images.")] = 5000,
    variants: Annotated[int, typer.Option(min=2, max=len(METHODS) + 1, help="Variants, with the original.")] = 9,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats; medians are printed.")] = 3,
) -> None:
    """Print the table."""
    sys.path.insert(0, str(PROJECT / "tests" / "report"))
    from synthetic_study import write_study

    quality = {"original": 0.85} | {name: 0.8 - 0.03 * k for k, name in enumerate(METHODS[: variants - 1])}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study = write_study(root, tuple(range(seeds)), images, quality, bootstrap=RESAMPLES, noise=True, resampled=True)
        told = [f"--{name}={root / name}" for name in ("evaluations", "models", "anonymized", "annotations")]
        words = "report-tables", f"--study={study}", *told, f"--out={root / 'tables'}"
        took = [measured(root, *words) for _ in range(repeats)]
    seconds, memory = (statistics.median(of) for of in zip(*took, strict=True))
    rows = [[variants * seeds, images, f"{seconds:.1f}", f"{memory:.0f}"]]
    print(tabulate(rows, headers=["evaluations", "images", "CPU s", "peak MiB"], tablefmt="github"))


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
