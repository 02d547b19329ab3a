"""How much the anonymize stage costs beside decoding and encoding, and how it scales to two threads.

    python benchmarks/anonymize.py --root /path/to/coco --split train2017 --split val2017

File to file, in one process, on the images in which a person has a region: read, sha256, decode, masks, change,
encode, sha256, write, manifest rows. The floor reads, decodes, encodes with the same settings and writes. Every image
goes through all of them in a shuffled order, so that the machine's other work falls on all alike; quoted are medians,
of wall time and of the thread's own time.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import simplejpeg

from anonbench import images, regions
from anonbench.annotate.choose import choose
from anonbench.annotate.options import RegionsConfig
from anonbench.annotate.people import convert
from anonbench.anonymize.contract import make
from anonbench.anonymize.shard import Shard
from anonbench.cli import one_sentence
from anonbench.datasets.coco import Coco
from anonbench.files import write_json
from anonbench.people import People
from anonbench.records import RegionKind
from anonbench.variants import Variant

WHOLE = "whole"
"""Name of the split of all splits."""


def floor(source: Path, target: Path, quality: int, subsampling: str) -> None:
    """Decode and encode a colour JPEG, nothing else."""
    pixels = simplejpeg.decode_jpeg(source.read_bytes(), "RGB")
    target.write_bytes(simplejpeg.encode_jpeg(pixels, quality, "RGB", subsampling))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a data set in COCO's layout")
    parser.add_argument("--split", action="append", required=True)
    parser.add_argument("--region", default="body", choices=["face", "body"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--copies", type=int, default=4, help="times that the splits stand in the run on two threads")
    args = parser.parse_args()
    names = [f"{args.region}-{name}" for name in ("identity", "blur-medium", "pixelate-medium", "mask_out")]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_json(work / "data" / "download.json", {"dataset": "benchmark", "root": str(args.root.resolve())})
        jobs = []
        for split in args.split:
            convert(Coco({}).read(args.root, split), args.root, work / "annotations", split)
            choose(work / "annotations", split, RegionsConfig())
            for row in regions.read(work / "annotations" / f"{split}.images.parquet", regions.IMAGES).to_pylist():
                jobs.append((split, row))
        one_by_one(args, work, jobs, names)
        repeated(args, work)
        threads(args, work, names)


def repeated(args: argparse.Namespace, work: Path) -> None:
    """Put all splits ``--copies`` times into one, so that a run is as long as a shard of a real data set's."""
    folder = work / "annotations"
    tables: dict[str, list[dict]] = {"images": [], "regions": []}
    schemas = {"images": regions.IMAGES, "regions": regions.REGIONS}
    offset = start = 0
    for copy in range(args.copies):
        for split in args.split:
            rows = {n: regions.read(folder / f"{split}.{n}.parquet", s).to_pylist() for n, s in schemas.items()}
            for row in rows["images"]:
                row |= {"file_name": f"{copy}-{split}-{row['file_name']}", "start": start}
                start += row["bytes"]
            for name, found in rows.items():
                tables[name] += [{**row, "image_id": row["image_id"] + offset} for row in found]
            offset += 1 + max(row["image_id"] for row in rows["images"])
    for name, schema in schemas.items():
        regions.write(folder / f"{WHOLE}.{name}.parquet", tables[name], schema)


def one_by_one(args: argparse.Namespace, work: Path, jobs: list[tuple[str, dict]], names: list[str]) -> None:
    """Print the median per image and the median of the ratios to the floor."""
    cv2.setNumThreads(1)
    shards = {
        (name, split): Shard(work / "data", work / "annotations", work / name, split, Variant.parse(name))
        for name in names
        for split in args.split
    }
    methods = {name: make(Variant.parse(name)) for name in names}
    people = {
        split: People.read(
            work / "annotations" / f"{split}.regions.parquet",
            RegionKind(args.region),
            [row for s, row in jobs if s == split],
        )
        for split in args.split
    }
    settings = []
    for split, row in jobs:
        source = args.root / row["path"]
        decoded = images.decode(source.read_bytes(), file=source)
        encoder = images.encode(decoded.pixels, decoded).encoder
        if people[split].regions(row) and encoder.startswith("jpeg source q") and not decoded.grey:
            quality = int(encoder.split()[2][1:])
            settings.append((split, row, source, quality, decoded.subsampling or "444"))
    times: dict[str, list[float]] = defaultdict(list)
    owns: dict[str, list[float]] = defaultdict(list)
    shuffled = random.Random(0)
    (work / "floor").mkdir()
    for _ in range(args.repeat):
        for split, row, source, quality, subsampling in settings:
            order = ["floor", *names]
            shuffled.shuffle(order)
            for name in order:
                target = work / name / (split if name != "floor" else "") / row["file_name"]
                target.unlink(missing_ok=True)  # replacing a file makes ext4 flush it: 2 ms
                start, own = time.perf_counter(), time.thread_time()
                if name == "floor":
                    floor(source, target, quality, subsampling)
                else:
                    shards[name, split].write([row], args.root, people[split], methods[name])
                times[name].append(1000 * (time.perf_counter() - start))
                owns[name].append(1000 * (time.thread_time() - own))
    pixels = statistics.median(row["width"] * row["height"] for _, row, *_ in settings)
    print(f"{len(settings)} images of {pixels / 1e6:.2f} megapixels (median), {args.repeat} repeats, 1 thread")
    for name in ["floor", *names]:
        wall, own = (
            f"{statistics.median(of[name]):6.2f} ms "
            f"{statistics.median(a / b for a, b in zip(of[name], of['floor'], strict=True)):5.2f} x floor"
            for of in (times, owns)
        )
        print(f"  {name:22s} wall {wall}, own {own}")


def threads(args: argparse.Namespace, work: Path, names: list[str]) -> None:
    """Print how much faster two threads are than one, for the floor and each method, interleaved."""
    rows = regions.read(work / "annotations" / f"{WHOLE}.images.parquet", regions.IMAGES).to_pylist()
    walls: dict[tuple[str, int], list[float]] = defaultdict(list)
    owns: dict[tuple[str, int], list[float]] = defaultdict(list)
    order = [(name, number) for name in ["floor", *names] for number in (1, 2)]
    shuffled = random.Random(0)
    for repeat in range(args.repeat + 1):
        shuffled.shuffle(order)
        for name, number in order:
            out = work / "threads"
            out.mkdir()
            start, own = time.perf_counter(), time.process_time()
            if name == "floor":
                floors(rows, args.root, out, number)
            else:
                Shard(work / "data", work / "annotations", out, WHOLE, Variant.parse(name), threads=number).run()
            if repeat:  # the first round fills the caches
                walls[name, number].append(time.perf_counter() - start)
                owns[name, number].append(time.process_time() - own)
            shutil.rmtree(out)
    print(f"{len(rows)} images, {args.repeat} repeats")
    for name in ["floor", *names]:
        one, two = (statistics.median(walls[name, number]) for number in (1, 2))
        more = statistics.median(owns[name, 2]) / statistics.median(owns[name, 1])
        print(
            f"  {name:22s} {one:.2f} s on 1 thread, {two:.2f} s on 2: {one / two:.2f} x, for {more:.2f} x the CPU time"
        )


def floors(rows: list[dict], root: Path, out: Path, number: int) -> None:
    """Decode and encode all images on ``number`` threads."""
    waiting = iter(rows)

    def work() -> None:
        for row in waiting:
            floor(root / row["path"], out / row["file_name"], 90, "420")

    with ThreadPoolExecutor(number) as pool:
        for done in [pool.submit(work) for _ in range(number)]:
            done.result()


if __name__ == "__main__":
    with one_sentence():
        main()
