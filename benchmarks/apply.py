"""`anonbench apply` beside `deface` on the same photographs: time from files to files, faces hidden, background kept.

    pip install --no-deps --target /tmp/deface imageio imageio-ffmpeg scikit-image lazy-loader packaging
    python benchmarks/apply.py --root /path/to/coco --split val2017 --with /tmp/deface --size 640x480 --threads 2

Both run CenterFace with the same threshold on OpenCV, once on the whole image, as commands of their own (starting
included), one after the other in shuffled order; quoted are medians of the wall time, and of the time of all cores,
which other work on the machine moves less. ``deface`` is not installed with all that it imports: ``--with`` is a folder
that holds the rest. Photographs are cut to the shape of ``--size`` and resized to it, all to one: after another size,
OpenCV 4.14 gives deface boxes of nothing (we read the network anew). Recall is counted in a run of its own, in which
both paint faces in one colour: of the people with labelled nose and eyes those whose three points have that colour
afterwards. Background is what neither paints; a sample of it counts as changed when it is not the source's to the bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from anonbench.cli import one_sentence

QUALITY = 80
"""Of resized photographs as JPEG."""
THRESHOLD = 0.2
Time = tuple[float, float]
FRONT = 3
"""Nose and both eyes are the first of COCO's keypoints."""
COLOUR = (255, 0, 255)
"""Red, green, blue of what faces are painted with, to count them: no photograph has it."""
NEAR = 64
"""Levels that a painted pixel may be away from the colour, as JPEG keeps it."""


def shown(root: Path, split: str, size: tuple[int, int], folder: Path, limit: int) -> dict[str, np.ndarray]:
    """Write photographs at a size; return the labelled points (n, 3, 2) of faces by file name."""
    coco = json.loads((root / "annotations" / f"person_keypoints_{split}.json").read_text())
    points: dict[str, np.ndarray] = {}
    folder.mkdir(parents=True)
    for image in coco["images"][:limit]:
        source, target = root / split / image["file_name"], folder / image["file_name"]
        pixels = cv2.imread(str(source))
        high, wide = pixels.shape[:2]
        w, h = min(wide, high * size[0] / size[1]), min(high, wide * size[1] / size[0])
        left, top, scale = (wide - w) / 2, (high - h) / 2, size[0] / w
        cut = pixels[round(top) : round(top + h), round(left) : round(left + w)]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        cv2.imwrite(str(target), cv2.resize(cut, size, interpolation=how), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        faces = []
        for person in coco["annotations"]:
            if person["image_id"] == image["id"] and not person["iscrowd"]:
                front = np.array(person["keypoints"], float).reshape(-1, 3)[:FRONT]
                where = (front[:, :2] - (left, top)) * scale
                inside = ((where >= 0) & (where < size)).all()
                if (front[:, 2] > 0).all() and inside:
                    faces.append(where)
        points[image["file_name"]] = np.array(faces).reshape(-1, FRONT, 2)
    return points


def deface(source: Path, work: Path, more: Path, words: list[str]) -> tuple[Time, Path]:
    """Run deface on copies of all photographs; return the seconds and the folder of its outputs."""
    folder = work / "deface"
    folder.mkdir()
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, folder / path.name)
    files = [str(path) for path in sorted(folder.iterdir())]
    program = "from deface.deface import main; main()"
    seconds = timed([sys.executable, "-c", program, *files, "--thresh", str(THRESHOLD), *words], more)
    for path in files:
        os.unlink(path)
        stem, ending = os.path.splitext(path)
        os.rename(f"{stem}_anonymized{ending}", path)
    return seconds, folder


def ours(source: Path, work: Path, more: Path, threads: int, words: list[str]) -> tuple[Time, Path]:
    """Run `anonbench apply`; return the seconds and its output."""
    out = work / "ours"
    words = ["apply", str(source), "--out", str(out), "--threads", str(threads), *words]
    return timed([sys.executable, "-m", "anonbench", *words], more), out


def timed(command: list[str], more: Path) -> Time:
    """Return the seconds of a command, by the clock and of all cores."""
    path = os.pathsep.join([str(more), os.environ.get("PYTHONPATH", "")])
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cores


def hidden(out: Path, points: dict[str, np.ndarray]) -> tuple[int, int]:
    """Return how many labelled faces have the colour at their three points, and how many there are."""
    found = total = 0
    for name, faces in points.items():
        pixels = cv2.imread(str(out / name)).astype(int)
        for face in faces:
            x, y = face.astype(int).T
            found += bool((abs(pixels[y, x] - COLOUR[::-1]) <= NEAR).all())
            total += 1
    return found, total


def background(source: Path, outs: list[Path]) -> list[float]:
    """Return the share of the samples far from what either paints that each tool changed."""
    counts = np.zeros((len(outs), 2))
    for path in sorted(source.iterdir()):
        old = cv2.imread(str(path)).astype(int)
        new = [cv2.imread(str(out / path.name)).astype(int) for out in outs]
        painted = np.max([abs(one - old).max(axis=2) > NEAR for one in new], axis=0).astype(np.uint8)
        free = cv2.dilate(painted, np.ones((65, 65), np.uint8)) == 0
        for index, one in enumerate(new):
            counts[index] += (one[free] != old[free]).sum(), old[free].size
    return [float(changed / total) for changed, total in counts]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a data set in COCO's layout with keypoints")
    parser.add_argument("--split", required=True)
    parser.add_argument("--with", dest="more", type=Path, required=True, help="folder of what deface imports")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--size", default="640x480", help="width x height of the photographs")
    parser.add_argument("--limit", type=int, default=60, help="photographs")
    args = parser.parse_args()
    shuffled = random.Random(0)
    size = tuple(int(side) for side in args.size.split("x"))
    assert len(size) == 2
    with tempfile.TemporaryDirectory() as folder:
        source, picture = Path(folder) / "photos", Path(folder) / "colour.png"
        points = shown(args.root, args.split, size, source, args.limit)
        cv2.imwrite(str(picture), np.full((8, 8, 3), COLOUR[::-1], np.uint8))
        runs = {
            "anonbench": (ours, (args.threads, ["--variant", "face-blur-medium"])),
            "deface": (deface, ([],)),
        }
        seconds: dict[str, list[Time]] = {name: [] for name in runs}
        for _ in range(args.repeat):
            for name in shuffled.sample(sorted(runs), len(runs)):
                with tempfile.TemporaryDirectory(dir=folder) as work:
                    run, words = runs[name]
                    seconds[name].append(run(source, Path(work), args.more, *words)[0])
        with tempfile.TemporaryDirectory(dir=folder) as work:
            paint = ["--variant", "face-mask_out", "--parameters", json.dumps({"colour": COLOUR})]
            mine = ours(source, Path(work), args.more, args.threads, paint)[1]
            image = ["--replacewith", "img", "--replaceimg", str(picture)]
            theirs = deface(source, Path(work), args.more, image)[1]
            recall = [hidden(mine, points), hidden(theirs, points)]
            kept = background(source, [mine, theirs])
        middle = {name: [statistics.median(t) for t in zip(*of, strict=True)] for name, of in seconds.items()}
        print(f"{args.size}, {len(points)} photographs, {args.threads} threads, {args.repeat} repeats")
        for name, (found, total), changed in zip(("anonbench", "deface"), recall, kept, strict=True):
            each = ", ".join(f"{one:.1f}" for one, _ in seconds[name])
            wall, cores = middle[name]
            print(
                f"  {name:9s} {wall:6.1f} s ({each}), {cores:.1f} s of all cores, {found} of {total} faces hidden, "
                f"{100 * changed:.1f} % of the background's samples changed"
            )
        ratios = [mine / theirs for mine, theirs in zip(middle["anonbench"], middle["deface"], strict=True)]
        print(f"  ratio {ratios[0]:.2f} by the clock, {ratios[1]:.2f} of all cores")


if __name__ == "__main__":
    with one_sentence():
        main()
