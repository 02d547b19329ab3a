"""How fast a learned codec is fitted, encodes and decodes, and where the time goes; JSON lines.

    python benchmarks/codec.py --device cuda --size 256 --steps 200 --preset published --out codec.jsonl

Images are made up: soft noise with people in it, so that nothing is downloaded; how good a codec is they cannot tell.
A line says `fit` (steps and images a second, peak memory), `code` (an image's milliseconds: networks, entropy coder,
the whole method; bits per pixel, real and estimated; whether the streams came back) or `batch` (images a second of the
networks where many are worked on at once). `--preset` takes several, `--steps 0` fits nothing. Imports neither
Snakemake nor DVC.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anonbench import portable

portable.settle()  # before torch is imported

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from anonbench.anonymize.methods.roi_codec import RoiCodec  # noqa: E402
from anonbench.anonymize.roi_codec.data import Sources  # noqa: E402
from anonbench.anonymize.roi_codec.loop import Fitting  # noqa: E402
from anonbench.anonymize.roi_codec.options import FitSettings  # noqa: E402
from anonbench.arguments import block  # noqa: E402
from anonbench.cli import one_sentence  # noqa: E402
from anonbench.codec import coder, stream, weights  # noqa: E402
from anonbench.codec.networks import multiplications, padded  # noqa: E402
from anonbench.codec.tables import tabulate  # noqa: E402
from anonbench.crops import Work, cut  # noqa: E402
from anonbench.learning.devices import choose_device, deterministic  # noqa: E402
from anonbench.learning.loop import run  # noqa: E402
from anonbench.records import Region, RegionKind  # noqa: E402
from anonbench.resources import peak_memory  # noqa: E402
from anonbench.windows import Window  # noqa: E402

WARM_UP = 5
"""Steps and images that are not counted."""


def image(width: int, height: int, seed: int) -> np.ndarray:
    """Return soft noise, uint8 HxWx3."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128.0, np.float32)
    for cells, amplitude in ((3, 50), (9, 30), (40, 10)):
        coarse = rng.normal(0, amplitude, (cells, cells, 3)).astype(np.float32)
        pixels += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def sources(count: int, size: tuple[int, int]) -> Sources:
    """Return made-up images with three people each."""
    width, height = size
    rows, kept, people, heads = [], {}, {}, {}
    for image_id in range(1, count + 1):
        rng = np.random.default_rng((1, image_id))
        pixels = image(width, height, image_id)
        x = rng.uniform(0, 0.8 * width, 3)
        own = np.stack([x, np.full(3, 0.2 * height), x + 0.2 * width, np.full(3, 0.9 * height)], 1)
        people[image_id] = own
        heads[image_id] = np.stack([own[:, 0] + 0.06 * width, own[:, 1], own[:, 2] - 0.06 * width,
                                    own[:, 1] + 0.12 * height], 1)  # fmt: skip
        kept[image_id] = pixels
        rows.append(
            {"image_id": image_id, "file_name": f"{image_id}.png", "path": "", "width": width, "height": height}
        )
    return Sources(Path(), rows[:-2], rows[-2:], people, heads, "", kept)


def memory(device: torch.device) -> dict[str, float]:
    """Return the peak memory: of a GPU what torch allocated, and the process's."""
    found: dict[str, float] = dict(peak_memory())
    if device.type == "cuda":
        found["gpu_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return found


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Timed(Fitting):
    """A training that remembers when each step was done."""

    ends: list[float]

    def done(self, iteration: int) -> None:
        wait(self.device)
        self.ends.append(time.perf_counter())


def fit(settings: FitSettings, device: torch.device, threads: int) -> tuple[dict[str, Any], Fitting]:
    """Fit for some steps; return what it took, and the training."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    learner = Timed(sources(max(settings.batch_size + 4, 24), settings.size), settings, 0, device, threads)
    learner.ends = []
    with deterministic():
        ran = run(learner, None, "")
    counted = learner.ends[min(WARM_UP, len(learner.ends) - 1) :]
    took = (counted[-1] - counted[0]) / max(len(counted) - 1, 1)
    first, last = ran.curve[0], ran.curve[-1]
    return {
        "steps": settings.iterations,
        "batch_size": settings.batch_size,
        "size": settings.size,
        "precision": settings.precision,
        "steps_per_second": round(1 / max(took, 1e-9), 3),
        "images_per_second": round(settings.batch_size / max(took, 1e-9), 2),
        "losses_first": first,
        "losses_last": last,
        **memory(device),
    }, learner


def milliseconds(device: torch.device, jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of jobs, which take turns, so that a slow moment is everybody's."""
    for job in jobs.values():
        job()
    took: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            wait(device)
            started = time.perf_counter()
            job()
            wait(device)
            took[name].append(1000 * (time.perf_counter() - started))
    return {name: round(statistics.median(times), 3) for name, times in took.items()}


def code(method: RoiCodec, size: tuple[int, int], device: torch.device, repeats: int) -> dict[str, Any]:
    """Encode and decode an image; return milliseconds, bits and whether it came back."""
    compressor = method._compressor
    assert compressor is not None
    pixels = image(*size, seed=77)
    a = compressor.architecture
    coded = compressor.analyse(pixels)
    data = compressor.pack(coded)
    tables = compressor.tables[0]
    escapes, words = stream.write(coded.latents, tables)
    positions = coded.latents[0].size
    x = padded(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255, a.stride).to(device)
    y = torch.from_numpy(coded.latents)[None].float().to(device)
    frame = Region(0, RegionKind.FRAME, "frame", (0, 0, *size), np.ones(size[::-1], bool), (0.0, 0.0, *size))
    crop = cut(Work(1, pixels, [frame]), frame, Window(frame.box), "replicate", 0)

    @torch.inference_mode()
    def analysis() -> object:
        return compressor.codec.latents(x)

    @torch.inference_mode()
    def synthesis() -> object:
        return compressor.codec.images(y)

    took = milliseconds(device, {
        "analysis": analysis,
        "synthesis": synthesis,
        "entropy_encode": lambda: stream.write(coded.latents, tables),
        "entropy_decode": lambda: coder.decode(words, tables, positions),
        "encode": lambda: compressor.encode(pixels),
        "decode": lambda: compressor.decode(data),
        "apply": lambda: method.change(crop),
    }, repeats)  # fmt: skip
    decoded = compressor.decode(data)
    networks = took["analysis"] + took["synthesis"]
    estimated = compressor.estimate(coded)
    return {
        "size": size,
        "milliseconds": took,
        "encode_images_per_second": round(1000 / took["encode"], 2),
        "decode_images_per_second": round(1000 / took["decode"], 2),
        "apply_by_networks": round(took["apply"] / networks, 3),
        "coder_by_networks": round((took["entropy_encode"] + took["entropy_decode"]) / networks, 3),
        "coder": "constriction" if coder.installed() else "python",
        "symbols": int(coded.latents.size),
        "escapes": len(escapes),
        "multiplications": multiplications(a, *size),
        "bits_per_pixel": round(8 * len(data) / pixels[..., 0].size, 5),
        "bits_per_pixel_estimated": round(estimated / pixels[..., 0].size, 5),
        "real_by_estimated": round(8 * len(data) / max(estimated, 1e-9), 4),
        "came_back": bool((compressor.unpack(data).latents == coded.latents).all())
        and bool((decoded == compressor.synthesise(coded)).all()),
        **memory(device),
    }


def batch(method: RoiCodec, size: tuple[int, int], device: torch.device, count: int) -> dict[str, Any]:
    """Run the networks on many images at once."""
    compressor = method._compressor
    assert compressor is not None
    stack = np.stack([image(*size, seed=n) for n in range(count)])
    x = torch.from_numpy(stack).permute(0, 3, 1, 2).float().div(255)
    x = padded(x, compressor.architecture.stride).to(device)
    with torch.inference_mode():
        y = compressor.codec.latents(x).round()
        took = milliseconds(device, {
            "analysis": lambda: compressor.codec.latents(x), "synthesis": lambda: compressor.codec.images(y)
        }, 5)  # fmt: skip
    return {"size": size, "batch": count, "milliseconds": took, **{
        f"{name}_images_per_second": round(1000 * count / of, 1) for name, of in took.items()
    }, **memory(device)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--preset", nargs="+", choices=FitSettings.presets, default=["cpu"])
    parser.add_argument("--size", type=int, help="Side of what is fitted to, in pixels; the preset's when left out.")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--restorer", action="store_true", help="Fit with our loss, which has one.")
    parser.add_argument("--image-size", type=int, nargs=2, default=[512, 512], help="Width and height that are coded.")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=0, help="Images at once for the networks alone; 0: not measured.")
    parser.add_argument("--threads", type=int, default=1, help="Threads of the training.")
    parser.add_argument("--out", type=Path, help="File that the JSON lines are added to.")
    options = parser.parse_args()
    device = choose_device(options.device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else portable.processor()
    about = {"device": machine, "torch": torch.__version__, "python": platform.python_version()}

    def say(kind: str, preset: str, found: dict[str, Any]) -> None:
        line = json.dumps({"what": kind, "preset": preset, **about, **found})
        print(line, flush=True)
        if options.out is not None:
            with options.out.open("a") as file:
                file.write(line + "\n")

    for preset in options.preset:
        given: dict[str, Any] = {"preset": preset, "precision": options.precision, "iterations": max(options.steps, 1)}
        given |= {"held_out": 0.0}
        given |= {"size": (options.size, options.size)} if options.size else {}
        given |= {"batch_size": options.batch_size} if options.batch_size else {}
        given |= {"loss": {"preset": "ours"}} if options.restorer else {}
        settings = block(FitSettings, given, "what is fitted")
        torch.set_num_threads(options.threads)
        if options.steps:
            found, learner = fit(settings, device, options.threads)
            say("fit", preset, found)
        else:
            learner = Fitting(sources(24, settings.size), settings, 0, device)
        codec = learner.chosen()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.safetensors"
            weights.save(path, codec, [tabulate(codec.density, 1.0)], {"hides": "heads"})
            del learner
            method = RoiCodec()
            method.load(path, RegionKind.FRAME, options.device)
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        say("code", preset, code(method, (options.image_size[0], options.image_size[1]), device, options.repeats))
        if options.batch:
            say("batch", preset, batch(method, (options.image_size[0], options.image_size[1]), device, options.batch))


if __name__ == "__main__":
    with one_sentence():
        sys.exit(main())
