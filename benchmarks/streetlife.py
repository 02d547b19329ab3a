"""How fast streetlife renders: `python benchmarks/streetlife.py [--repeats 5] [--images 40] [--sizes 256x192 640x480]`.

Prints images per second on one core, rendering and encoding, as the median over repeats. The sizes take turns within
each repeat, so that a busy moment of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time

import cv2

from anonbench.cli import one_sentence
from anonbench.datasets.streetlife import Options, encode, render_scene


def seconds(options: Options, first: int, images: int) -> float:
    """CPU time of rendering and encoding `images` images."""
    start = time.process_time()
    for index in range(first, first + images):
        encode(render_scene(options, "train", index).image, options)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the speed of rendering streetlife.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=40, help="per repeat and size")
    parser.add_argument("--sizes", nargs="+", default=["256x192", "640x480"], metavar="WxH")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    sizes = {name: Options(width=int(name.split("x")[0]), height=int(name.split("x")[1])) for name in arguments.sizes}
    for options in sizes.values():
        seconds(options, 1, 3)  # fill the caches
    rates: dict[str, list[float]] = {name: [] for name in sizes}
    for repeat in range(arguments.repeats):
        for name, options in sizes.items():
            rates[name].append(arguments.images / seconds(options, 1 + repeat * arguments.images, arguments.images))
    for name, values in rates.items():
        low, high = min(values), max(values)
        print(f"{name}: {statistics.median(values):.1f} images/s (from {low:.1f} to {high:.1f})")


if __name__ == "__main__":
    with one_sentence():
        main()
