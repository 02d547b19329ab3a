"""What a codec costs: milliseconds to encode and to decode an image, multiplications, and memory, at equal rates.

    python benchmarks/codecs.py --bpp 0.5
    python benchmarks/codecs.py --root /path/to/coco --split val2017 --images 100 --bpp 0.3 --bpp 0.6
    python benchmarks/codecs.py --weights fits/frame-roi_codec/weights.safetensors --step 1

With weights of a learned codec, the others are given its rate. The images are those of a split in COCO's layout, or
rendered. Each format is matched to the rate over all of them, as the methods of a study are. Then every image goes
through every codec in a shuffled order on one thread, several times, so that the machine's other work falls on all
alike; quoted are medians over images of the median over repeats. Memory is the growth of a process of its own that
codes and decodes the largest image, beyond one that does not; both are forked when libraries and weights are there, and
all has been coded once, so that neither these nor what is left of that counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tabulate import tabulate

from anonbench import distortion, images, portable
from anonbench.anonymize.coded import Coded
from anonbench.anonymize.contract import make
from anonbench.cli import one_sentence
from anonbench.crops import Crop, Work, cut
from anonbench.datasets.coco import Coco
from anonbench.datasets.streetlife import Options, render_scene
from anonbench.images import lossy
from anonbench.records import Region, RegionKind
from anonbench.variants import Variant


class Codec(NamedTuple):
    """Something that is timed; ``macs``: multiply-accumulate operations of its networks to encode and to decode a
    pixel."""

    name: str
    encode: Callable[[np.ndarray, int], bytes]
    decode: Callable[[bytes], np.ndarray]
    macs: tuple[float, float] | None = None


def matched(format: str, bpp: float, crops: Sequence[Crop]) -> Codec:
    """Return a format at the quality that takes so many bits per pixel over all images."""
    method = make(Variant(RegionKind.FRAME, format), {"bpp": bpp, "sample": len(crops)})
    assert isinstance(method, Coded)
    method.tune(crops)
    qualities = [int(method.change(crop).facts["quality"]) for crop in crops]
    return Codec(f"{format} at {bpp:g}", lambda pixels, at: lossy.encode(pixels, format, qualities[at]), lossy.decode)


def learned(weights: Path, step: float, frames: Sequence[np.ndarray]) -> tuple[Codec, float]:
    """Return a fitted codec at one of its steps, and the bits per pixel that it takes of all images."""
    portable.settle()  # before PyTorch is loaded
    import torch

    from anonbench.codec.compressor import Compressor
    from anonbench.codec.networks import multiplications

    torch.set_num_threads(1)
    compressor, _ = Compressor.load(weights, "cpu")
    height, width = frames[0].shape[:2]
    counts = multiplications(compressor.architecture, width, height)
    macs = counts["encode"] / (width * height), counts["decode"] / (width * height)
    rates = [8 * len(compressor.encode(pixels, step)) / pixels[..., 0].size for pixels in frames]
    made = Codec(f"learned, step {step:g}", lambda pixels, at: compressor.encode(pixels, step), compressor.decode, macs)
    return made, statistics.fmean(rates)


def pictures(args: argparse.Namespace) -> list[np.ndarray]:
    """Return the images, uint8 HxWx3 RGB."""
    if args.root is None:
        options = Options(width=args.width, height=args.height)
        return [render_scene(options, "codecs", number).image for number in range(args.images)]
    split = Coco({}).read(args.root, args.split)
    paths = [args.root / split.folder / split.path_of(image) for image in split.images]
    step = max(1, len(paths) // args.images)
    return [images.read_rgb(path) for path in paths[::step][: args.images]]


def crop_of(number: int, pixels: np.ndarray) -> Crop:
    """Return an image as the crop that a method sees."""
    height, width = pixels.shape[:2]
    box, mask = (0, 0, width, height), np.ones((height, width), bool)
    region = Region(0, RegionKind.FRAME, "frame", box, mask, (0, 0, width, height))
    method = make(Variant(RegionKind.FRAME, "jpeg"), {"quality": 50})
    return cut(Work(number, pixels, [region]), region, method.window(region, width, height), method.padding, 0)


def grown(codec: Codec | None, pixels: np.ndarray, at: int, pipe: multiprocessing.connection.Connection) -> None:
    """Send the peak memory of this process in MiB, after an image was coded and decoded."""
    if codec is not None:
        codec.decode(codec.encode(pixels, at))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory(codec: Codec, frames: list[np.ndarray]) -> float:
    """Return by how many MiB coding and decoding the largest image makes a process grow."""
    at = max(range(len(frames)), key=lambda k: frames[k].size)
    found = []
    context = multiprocessing.get_context("fork")
    for one in (None, codec):
        ours, theirs = context.Pipe()
        process = context.Process(target=grown, args=(one, frames[at], at, theirs))
        process.start()
        found.append(ours.recv())
        process.join()
    return found[1] - found[0]


def measure(codecs: list[Codec], frames: list[np.ndarray], repeat: int) -> list[list[object]]:
    """Return a line of the table for each codec."""
    times: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    files: dict[tuple[str, int], bytes] = {}
    jobs = [(codec, at) for codec in codecs for at in range(len(frames))]
    shuffled = random.Random(0)
    for turn in range(repeat + 1):
        shuffled.shuffle(jobs)
        for codec, at in jobs:
            started = time.perf_counter()
            data = codec.encode(frames[at], at)
            between = time.perf_counter()
            codec.decode(data)
            if turn:  # the first is a warm-up
                times[codec.name, "encode", at].append(between - started)
                times[codec.name, "decode", at].append(time.perf_counter() - between)
            files[codec.name, at] = data
    lines: list[list[object]] = []
    for codec in codecs:
        both = [
            1000 * statistics.median(statistics.median(times[codec.name, what, at]) for at in range(len(frames)))
            for what in ("encode", "decode")
        ]
        rates = [8 * len(files[codec.name, at]) / frames[at][..., 0].size for at in range(len(frames))]
        apart = [distortion.psnr(frames[at], codec.decode(files[codec.name, at])) or 0.0 for at in range(len(frames))]
        macs = " / ".join(f"{one:.0f}" for one in codec.macs) if codec.macs else "no network"
        lines.append(
            [
                codec.name, f"{statistics.fmean(rates):.3f}", f"{statistics.fmean(apart):.2f}",
                *(f"{one:.2f}" for one in both), macs, f"{memory(codec, frames):.1f}",
            ]
        )  # fmt: skip
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a data set in COCO's layout; rendered images without it")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--width", type=int, default=256, help="of rendered images")
    parser.add_argument("--height", type=int, default=192, help="of rendered images")
    parser.add_argument("--bpp", type=float, action="append", help="bits per pixel, several times; 0.5 unless given")
    parser.add_argument("--weights", type=Path, help="of a learned codec, which is timed beside the others")
    parser.add_argument("--step", type=float, default=1.0, help="that its latents are rounded to")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    frames = pictures(args)
    crops = [crop_of(number, pixels) for number, pixels in enumerate(frames)]
    codecs, rates = [], args.bpp or []
    if args.weights:
        ours, rate = learned(args.weights, args.step, frames)
        codecs, rates = [ours], [*rates, round(rate, 4)]
    codecs += [matched(format, bpp, crops) for bpp in rates or [0.5] for format in lossy.FORMATS]
    heads = ["codec", "bits per pixel", "PSNR, dB", "encode, ms", "decode, ms", "MACs per pixel", "memory, MiB"]
    print(
        f"{len(frames)} images, the first {frames[0].shape[1]}x{frames[0].shape[0]}; one thread, "
        f"{args.repeat} repeats\n"
    )
    print(tabulate(measure(codecs, frames, args.repeat), headers=heads, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    with one_sentence():
        main()
