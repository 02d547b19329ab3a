"""How long Snakemake takes to plan: a graph of thousands of jobs, and a rerun with nothing to do.

    python benchmarks/graph.py
    python benchmarks/graph.py --finished /path/to/a/clone/with/results

Prints the seconds of ``snakemake --dry-run`` for 64 shards, 20 variants and three data sets (three trainings of each),
of one that finds everything done, and of ``anonbench --help``: by the clock and of CPU time, the median of three.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from anonbench.cli import one_sentence

PROJECT = Path(__file__).parents[1]
LEVELS = ("low", "medium", "high")
VARIANTS = [
    "original", "body-identity", "face-identity", "face-mask_out", "body-mask_out",
    "frame-downsample-2x", "frame-grey",
    *(f"{region}-{how}-{level}" for region in ("face", "body") for how in ("blur", "pixelate") for level in LEVELS),
    "frame-identity",
]  # fmt: skip
TOOLS = Path(sys.executable).parent


def timed(folder: Path, *words: str, times: int = 3) -> tuple[list[tuple[float, float]], str]:
    """Run a command some times in a folder; return the seconds, by the clock and of CPU, and what it printed last."""
    seconds, said = [], ""
    for _ in range(times):
        start, used = time.perf_counter(), os.times()
        done = subprocess.run([TOOLS / words[0], *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
        now = os.times()
        cpu = now.children_user + now.children_system - used.children_user - used.children_system
        seconds.append((time.perf_counter() - start, cpu))
        said = done.stdout + done.stderr
        if done.returncode:
            sys.exit(f"{' '.join(words)}\n{said}")
    return seconds, said


def show(what: str, seconds: list[tuple[float, float]]) -> None:
    """Print the medians."""
    clock, cpu = (statistics.median(column) for column in zip(*seconds, strict=True))
    print(f"{what}: {clock:.2f} s, {cpu:.2f} s of CPU", flush=True)


def study() -> dict[str, object]:
    """Return a study of 64 shards, 20 variants and three data sets."""
    datasets = {f"streets-{n}": {"adapter": "streetlife", "options": {"seed": n}} for n in range(3)}
    return {
        "name": "large", "output": "runs/large", "datasets": datasets, "variants": VARIANTS,
        "anonymize": {"shards": 64}, "models": {"small": {"preset": "cpu-short"}},
        "train": {"seeds": [0, 1, 2], "device": "cpu"},
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=Path, help="a clone in which the default study has run")
    args = parser.parse_args()
    assert len(VARIANTS) == 20
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("Snakefile", "workflow", "config", "envs", "profiles", "requirements.lock"):
            copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy2
            copy(PROJECT / name, folder / name)
        (folder / "large.yaml").write_text(yaml.safe_dump(study()))
        seconds, said = timed(folder, "snakemake", "--dry-run", "--quiet", "rules", "--configfile", "large.yaml")
        jobs = re.search(r"^total +(\d+)$", said, re.MULTILINE)
        show(f"snakemake --dry-run of {jobs[1] if jobs else '?'} jobs", seconds)
    if args.finished:
        seconds, said = timed(args.finished, "snakemake", "--dry-run")
        show(f"snakemake --dry-run in {args.finished} ({said.strip().splitlines()[-1][:60]})", seconds)
    show("anonbench --help", timed(PROJECT, "anonbench", "--help")[0])


if __name__ == "__main__":
    with one_sentence():
        main()
