"""The parts of benchmarks/gpu.sh, each a command of its own: `python benchmarks/gpu.py run PART --out FOLDER`.

``parts`` lists them in the order that they run in, ``table`` prints what their JSON files in a folder say. All but the
timing of single calls is done with anonbench's own commands, as a study runs them, on rendered streetlife images.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from tabulate import tabulate

from anonbench.cli import one_sentence
from anonbench.files import read_json, sha256_file, write_json

HERE = Path(__file__).parent
COMMAND = os.environ.get("ANONBENCH", f"{sys.executable} -m anonbench").split()
"""What every command starts with."""
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pycocotools", "detectron2")
SPLITS = ("val", "train", "gallery", "probe")
Facts = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    images: Facts
    clips: Facts
    speed: int
    accuracy: int
    levels: int
    fit: int
    network: Facts
    gan: Facts
    oom_batch: int
    action: Facts


FULL = Sizes(
    images={
        "width": 640,
        "height": 480,
        "train": 160,
        "val": 60,
        "identities": 60,
        "attributes": True,
        "gallery": 24,
        "probe": 24,
        "gallery_identities": 24,
    },
    clips={"clips": 24, "frames": 32, "width": 224, "height": 168},
    speed=12,
    accuracy=250,
    levels=12,
    fit=40,
    network={"preset": "mask-rcnn-r50"},
    gan={"preset": "published"},
    oom_batch=400,
    action={"network": "r2plus1d_18"},
)
SMALL = Sizes(
    images={
        "train": 24,
        "val": 8,
        "identities": 10,
        "attributes": True,
        "gallery": 12,
        "probe": 12,
        "gallery_identities": 6,
    },
    clips={"clips": 8, "frames": 8, "width": 128, "height": 96},
    speed=2,
    accuracy=3,
    levels=3,
    fit=3,
    network={"preset": "cpu-short", "tasks": ["detection", "segmentation"]},
    gan={"preset": "cpu"},
    oom_batch=2,
    action={"network": "r3d_small", "frames": 4, "height": 32, "width": 32},
)


@dataclass(frozen=True)
class Job:
    """One part's run: where it works, and on what."""

    device: str
    sizes: Sizes
    work: Path
    """Folder that parts share: data, annotations, variants, models."""

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"

    @property
    def threads(self) -> int:
        return min(os.cpu_count() or 1, 16) if self.cuda else 2

    @property
    def data(self) -> Path:
        return self.work / "data" / "streetlife"

    @property
    def annotations(self) -> Path:
        return self.work / "annotations" / "streetlife"

    def recipe(self, precision: str, iterations: int, **more: Any) -> str:
        """Return the recipe of the detector that is trained, as JSON."""
        half = precision if self.cuda or precision != "fp16" else "bf16"
        entries = {**self.sizes.network, "epochs": None, "iterations": iterations, "precision": half}
        return json.dumps({**entries, "warmup_iterations": max(1, iterations // 5), **more})

    def action(self, precision: str, iterations: int, **more: Any) -> str:
        """Return the recipe of the action network that is trained, as JSON."""
        entries = {"trainer": "clips", "tasks": ["action"], "settings": self.sizes.action, "batch_size": 16}
        entries |= {"iterations": iterations, "warmup_iterations": 1, "base_learning_rate": 0.01}
        return json.dumps({**entries, "precision": precision, **more})


class Failed(Exception):
    """A command that should have worked did not."""


def anonbench(*arguments: object, fails: bool = False) -> str:
    """Run one of anonbench's commands and return what it printed; it must succeed, or, if it ``fails``, refuse."""
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, flush=True)
    if (done.returncode != 0) != fails:
        raise Failed(f"{' '.join(map(str, arguments[:1]))} ended with {done.returncode}: {done.stdout[-600:]}")
    return done.stdout


def machine(job: Job) -> Facts:
    """Say what all this runs on."""
    import torch

    found: Facts = {"python": platform.python_version(), "cores": os.cpu_count(), "versions": {}}
    for name in PACKAGES:
        try:
            found["versions"][name] = version(name)
        except PackageNotFoundError:
            found["versions"][name] = None
    if job.cuda:
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "memory_mib": properties.total_memory >> 20, "cuda": torch.version.cuda}
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        if shutil.which(asked[0]):
            found["driver"] = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def data(job: Job) -> Facts:
    """Render the images, annotate them, and write the original as a variant."""
    folders = {"streetlife": (job.data, SPLITS, job.sizes.images)}
    folders |= {"clips": (job.work / "data" / "clips", ("train",), job.sizes.clips)}
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(render, name, *what) for name, what in folders.items()]:
            done.result()
        for done in [pool.submit(prepare, job, split) for split in SPLITS]:
            done.result()
    return {"images": job.sizes.images, "clips": job.sizes.clips}


def render(name: str, folder: Path, splits: tuple[str, ...], options: Facts) -> None:
    """Render a data set."""
    anonbench(
        "download", "--dataset", name, "--adapter", "streetlife", "--splits", ",".join(splits), "--options",
        json.dumps(options), "--out", folder,
    )  # fmt: skip


def prepare(job: Job, split: str) -> None:
    """Annotate a split and write the original as a variant."""
    anonbench("annotate", "--data", job.data, "--split", split, "--out", job.annotations, "--threads", job.threads)
    anonbench("regions", "--annotations", job.annotations, "--split", split)
    write_variant(job, "original", split)


def write_variant(job: Job, variant: str, split: str, *extra: object) -> Facts:
    """Write a variant of a split; return its seconds."""
    out, timing = job.work / "anonymized" / "streetlife" / variant, job.work / f"{variant}-{split}.timing.json"
    common = ("--annotations", job.annotations, "--split", split, "--variant", variant, "--out", out)
    anonbench("anonymize", "--data", job.data, *common, "--threads", job.threads, "--timing", timing, *extra)
    anonbench("merge", *common)
    found: Facts = read_json(timing)
    return found


def training(job: Job, name: str, recipe: str, *, clips: bool = False) -> list[object]:
    """Return the words of the command that trains on the original images or clips."""
    variant = job.work / "data" / "clips" if clips else job.work / "anonymized" / "streetlife" / "original"
    return [
        "train", "--variant", variant, "--recipe", recipe, "--out", job.work / "models" / name, "--device", job.device,
        "--threads", job.threads, "--seed", 3,
    ]  # fmt: skip


def train(job: Job, name: str, recipe: str, *, clips: bool = False, fails: bool = False) -> Facts:
    """Train on the original; return what timing.json says, or the last line of a refusal."""
    said = anonbench(*training(job, name, recipe, clips=clips), fails=fails)
    out = job.work / "models" / name
    if fails:
        return {"said": said.strip().splitlines()[-1]}
    return {**read_json(out / "timing.json"), "level": read_json(out / "train.json")["resolved"]["determinism"]}


KEPT = ("images_per_second", "loading_share", "peak_gpu_memory_mib", "peak_memory_mib", "seconds", "level")


def kept(timing: Facts) -> Facts:
    return {name: timing[name] for name in KEPT if name in timing}


def speed(job: Job) -> Facts:
    """Train a few iterations in each precision, after some that do not count, and see where the time goes."""
    import torch

    from anonbench import recipe as recipes
    from anonbench.learning.ahead import decoders
    from anonbench.learning.devices import choose_device, deterministic
    from anonbench.train import models
    from anonbench.train.data import VariantSplit
    from anonbench.train.loop import Batches, fit

    torch.set_num_threads(job.threads)
    where = choose_device(job.device)
    variant = VariantSplit.read(job.work / "anonymized" / "streetlife" / "original", "train")
    found: Facts = {}
    for precision in ("fp32", "bf16", "fp16"):
        warm, counted = (
            recipes.read(job.recipe(precision, n, base_learning_rate=1e-3, **EVEN))
            for n in (max(1, job.sizes.speed // 3), job.sizes.speed)
        )
        with deterministic(counted.strict(where.type)):
            torch.manual_seed(0)
            model = models.build(counted, variant.categories).to(where, memory_format=torch.channels_last)
            first = fit(model, Batches(variant, warm, 0), where, None, "", decoders(where))
            if job.cuda:
                torch.cuda.reset_peak_memory_stats()
            ran = fit(model, Batches(variant, counted, 1), where, None, "", decoders(where))
            peak = {"peak_gpu_memory_mib": torch.cuda.max_memory_allocated() >> 20} if job.cuda else {}
            again = recipes.read(job.recipe(precision, 2, base_learning_rate=1e-3, **EVEN))
            seen = profile(
                job, lambda r=again, m=model: fit(m, Batches(variant, r, 2), where, None, "", decoders(where))
            )
        found[precision] = {
            "images_per_second": round(ran.images / ran.seconds, 2),
            "waiting_for_images": round(ran.loading_seconds / ran.seconds, 4),
            "first_iterations_seconds": round(first.seconds, 1),
            **peak,
            "two_iterations": seen,
        }
        print(json.dumps({precision: found[precision]}), flush=True)
    return found


EVEN: Facts = {"schedule": "cosine", "gradient_clip": 5.0}
"""So that a training from scratch does not diverge while it is measured."""
TOP = 12


def profile(job: Job, work: Callable[[], object]) -> Facts:
    """Return wall seconds, the seconds that the GPU worked, and what it and the processor spent most time on."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if job.cuda else [])]
    started = time.perf_counter()
    with profiler(activities=kinds) as seen:
        work()
    wall = time.perf_counter() - started
    rows = seen.key_averages()
    found: Facts = {"wall": round(wall, 3)}
    for what in ("device", "cpu") if job.cuda else ("cpu",):
        spent = {row.key[:90]: getattr(row, f"self_{what}_time_total") / 1e6 for row in rows}
        most = sorted(spent.items(), key=lambda item: -item[1])[:TOP]
        found[what] = {"all": round(sum(spent.values()), 3), **{name: round(value, 4) for name, value in most}}
    return found


def accuracy(job: Job) -> Facts:
    """Train from scratch, predict, evaluate."""
    recipe: Facts = {"optimizer": "adamw", "base_learning_rate": 5e-4, **EVEN}
    if job.cuda:
        recipe["settings"] = {"min_size": [480], "max_size": 640, "horizontal_flip": 0.5}
    found = kept(train(job, "accuracy", job.recipe("bf16", job.sizes.accuracy, **recipe)))
    predictions = job.work / "predictions" / "predictions.json"
    started = time.perf_counter()
    variant = job.work / "anonymized" / "streetlife" / "original"
    anonbench(
        "predict", "--model", job.work / "models" / "accuracy", "--variant", variant, "--out", predictions,
        "--device", job.device, "--threads", job.threads,
    )  # fmt: skip
    found["predict_seconds"] = round(time.perf_counter() - started, 1)
    truth = variant / "annotations" / "val.json"
    anonbench("evaluate", "--predictions", predictions, "--annotations", truth, "--out", predictions.parent)
    tasks = read_json(predictions.parent / "metrics.json")["tasks"]
    found["metrics"] = {name: {"all": task["overall"], **task["parts"]} for name, task in tasks.items()}
    return {"iterations": job.sizes.accuracy, **found}


def levels(job: Job) -> Facts:
    """Repeat short trainings of an action network at both levels that a GPU has; continue one that was killed."""
    found: Facts = {}
    every = max(1, job.sizes.levels // 3)
    hashes: dict[str, list[str]] = {}
    for level in ("strict", "seeded"):
        recipe = job.action("fp32", job.sizes.levels, determinism=level, checkpoint_every=every)
        runs = [train(job, f"{level}-{n}", recipe, clips=True) for n in range(2)]
        hashes[level] = [sha256_file(job.work / "models" / f"{level}-{n}" / "weights.safetensors") for n in range(2)]
        found[level] = {"same_bytes": len(set(hashes[level])) == 1, "seconds": [run["seconds"] for run in runs]}
    recipe = job.action("fp32", job.sizes.levels, determinism="strict", checkpoint_every=every)
    found["killed_and_continued_same_bytes"] = killed(job, recipe) == hashes["strict"][0]
    if job.cuda:
        portable = job.action("fp32", 1, determinism="portable")
        found["portable"] = train(job, "portable", portable, clips=True, fails=True)["said"]
    return found


def killed(job: Job, recipe: str) -> str:
    """Kill a training after its first checkpoint, run it again, and return the hash of its weights."""
    checkpoints = job.work / "checkpoints"
    command = [*training(job, "killed", recipe, clips=True), "--checkpoints", checkpoints]
    running = subprocess.Popen([*COMMAND, *map(str, command)])
    while running.poll() is None and not (checkpoints / "checkpoint.pt").exists():
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    if running.wait() == 0:
        raise Failed("the training had ended before it was killed")
    anonbench(*command)
    return sha256_file(job.work / "models" / "killed" / "weights.safetensors")


def strict(job: Job) -> Facts:
    """Repeat a short training of a detector with determinism strict."""
    recipe = job.recipe("fp32", 3, determinism="strict", base_learning_rate=1e-3, **EVEN)
    runs = [train(job, f"detector-strict-{n}", recipe) for n in range(2)]
    hashes = {sha256_file(job.work / "models" / f"detector-strict-{n}" / "weights.safetensors") for n in range(2)}
    return {"same_bytes": len(hashes) == 1, "seconds": [run["seconds"] for run in runs]}


def gan(job: Job) -> Facts:
    """Fit a generator for a few steps with the published preset, fill people in with it, and see where time goes."""
    from anonbench.anonymize.fitting import fit
    from anonbench.records import RegionKind

    settings = {**job.sizes.gan, "body_iterations": job.sizes.fit, "min_pixels": 16, "warmup": 0.1}
    out = job.work / "fits" / "body"
    anonbench(
        "fit", "--data", job.data, "--annotations", job.annotations, "--region", "body", "--method", "gan",
        "--settings", json.dumps(settings), "--out", out, "--device", job.device, "--threads", job.threads,
    )  # fmt: skip
    record = read_json(out / "fit.json")
    found = {
        "fit": {**read_json(out / "timing.json"), "parameters": record["parameters"], "level": record["determinism"]}
    }
    weights = ("--weights", out / "weights.safetensors", "--device", job.device)
    found["apply"] = write_variant(job, "body-gan", "train", *weights)
    short = json.dumps({**settings, "body_iterations": 8, "max_people": 64})
    work = functools.partial(
        fit, job.data, job.annotations, RegionKind.BODY, "gan", job.work / "fits" / "profiled", settings=short,
        device=job.device, threads=job.threads,
    )  # fmt: skip
    found["eight_steps"] = profile(job, work)
    return found


def memory(job: Job) -> Facts:
    """Ask for more memory than there is, and keep what is said."""
    recipe = {**json.loads(job.recipe("fp32", 2)), "batch_size": job.sizes.oom_batch}
    started = time.perf_counter()
    found = train(job, "oom", json.dumps(recipe), fails=job.cuda)
    return {**found, "batch_size": job.sizes.oom_batch, "seconds": round(time.perf_counter() - started, 1)}


def processes(job: Job) -> Facts:
    """Ask one GPU for two processes of one training; and give it two trainings at once, as two jobs would."""
    recipe, found = job.recipe("bf16", job.sizes.speed, base_learning_rate=1e-3, **EVEN), {}
    if job.cuda:
        said = anonbench(*training(job, "two", recipe), "--processes", 2, fails=True)
        found["two_processes"] = said.strip().splitlines()[-1]
    names = [f"beside-{n}" for n in range(2)]
    running = [subprocess.Popen([*COMMAND, *map(str, training(job, name, recipe))]) for name in names]
    codes = [one.wait() for one in running]
    if any(codes):
        raise Failed("one of two trainings side by side failed")
    found["of_two"] = [kept(read_json(job.work / "models" / name / "timing.json")) for name in names]
    return found


def detectron2(job: Job) -> Facts:
    """Train with detectron2, where it is installed."""
    if importlib.util.find_spec("detectron2") is None:
        return {"skipped": "detectron2 is not installed"}
    settings = {"architecture": {"norm": "group"}} if not job.cuda else {}
    network = {"trainer": "detectron2", "preset": None, "tasks": ["detection", "segmentation"], "settings": settings}
    if not job.cuda:
        network["settings"] |= {"min_size": [192], "max_size": 256}
        network |= {"batch_size": 2, "base_learning_rate": 0.0001}
    found = {}
    for precision in ("fp32", "bf16"):
        recipe = job.recipe(precision, job.sizes.speed, **{"base_learning_rate": 1e-3, **EVEN, **network})
        found[precision] = kept(train(job, f"detectron2-{precision}", recipe))
    return found


def action(job: Job) -> Facts:
    """Train an action network on clips."""
    precisions = ("fp32", "bf16")
    return {p: kept(train(job, f"action-{p}", job.action(p, job.sizes.speed), clips=True)) for p in precisions}


def attack(job: Job) -> Facts:
    """Let an attacker learn to recognise bodies, and look for those of the other split."""
    folder, out = job.work / "anonymized" / "streetlife" / "original", job.work / "attackers" / "reidentify"
    attacker = {"knowledge": "naive", "region": "body", "view": "person", "width": 64, "height": 128}
    attacker |= {"iterations": job.sizes.fit}
    both = ("--original", folder, "--annotations", job.annotations, "--device", job.device, "--threads", job.threads)
    anonbench(
        "fit-attacker", "--attack", "reidentify", "--attacker", json.dumps(attacker), "--seen", folder, "--split",
        "train", "--out", out, *both,
    )  # fmt: skip
    anonbench(
        "attack", "--attack", "reidentify", "--model", out, "--variant", folder, "--out", job.work / "attacks",
        "--probe", "probe", "--gallery", "gallery", *both,
    )  # fmt: skip
    timing: Facts = read_json(out / "timing.json")
    return {"fit": timing, "metrics": read_json(job.work / "attacks" / "metrics.json")["test"]["measures"]}


def script(name: str, *full: str, small: tuple[str, ...]) -> Callable[[Job], Facts]:
    """Return the part that another benchmark is, which writes JSON lines to ``--out``; its options on a GPU or not."""

    def run(job: Job) -> Facts:
        out = job.work / f"{name}.jsonl"
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, HERE / f"{name}.py", "--device", job.device, "--out", out]
        done = subprocess.run([*map(str, command), *(full if job.cuda else small)])
        if done.returncode:
            raise Failed(f"{name}.py ended with {done.returncode}")
        return {"lines": [json.loads(line) for line in out.read_text().splitlines()]}

    return run


learned = script(
    "learned", "--preset", "published", "--size", "224", "--steps", "300", "--turns", "3",
    small=("--preset", "cpu", "--size", "64", "--steps", "4", "--turns", "1"),
)  # fmt: skip
codec = script(
    "codec", "--preset", "published", "--size", "256", "--steps", "60", "--repeats", "5", "--batch", "16",
    small=("--preset", "cpu", "--size", "64", "--steps", "2", "--repeats", "1", "--image-size", "64", "64"),
)  # fmt: skip

PARTS: dict[str, tuple[int, Callable[[Job], Facts]]] = {
    "machine": (60, machine),
    "data": (120, data),
    "speed": (150, speed),
    "gan": (120, gan),
    "levels": (120, levels),
    "memory": (90, memory),
    "processes": (90, processes),
    "action": (90, action),
    "attack": (90, attack),
    "accuracy": (150, accuracy),
    "learned": (180, learned),
    "codec": (60, codec),
    "detectron2": (120, detectron2),
    "strict": (240, strict),
}
"""By name: the limit in seconds, and what is done; ``data`` comes before all that read it."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Part = Annotated[str, typer.Argument(help="One of the parts.")]
Out = Annotated[Path, typer.Option(help="Folder of the results.")]


@app.command()
def parts() -> None:
    """List the parts."""
    print("\n".join(PARTS))


@app.command()
def limit(part: Part, small: bool = False) -> None:
    """Print a part's limit in seconds; a rehearsal, on a busy processor, has ten times as long."""
    if part not in PARTS:
        raise SystemExit(f"unknown part {part}; the parts are {', '.join(PARTS)}")
    print(PARTS[part][0] * (10 if small else 1))


@app.command()
def run(part: Part, out: Out, device: str = "cuda", small: bool = False) -> None:
    """Run one part and write what it found."""
    job = Job(device, SMALL if small else FULL, out.resolve() / "work")
    started = time.perf_counter()
    found = PARTS[part][1](job)
    seconds = round(time.perf_counter() - started, 1)
    common = {"part": part, "device": device, "small": small, "part_seconds": seconds}
    write_json(out / f"{part}.json", {**common, **found})


@app.command()
def failed(part: Part, out: Out, code: Annotated[int, typer.Option(help="Exit status.")] = 1) -> None:
    """Write that a part failed, with the end of what it said."""
    said = (out / f"{part}.log").read_text(errors="replace").strip()[-1500:]
    why = "ran over its time" if code in (124, 137) else f"ended with {code}"
    write_json(out / f"{part}.json", {"part": part, "failed": why, "said": said})


@app.command()
def table(out: Out) -> None:
    """Print every number of every part."""
    rows = []
    for part in PARTS:
        file = out / f"{part}.json"
        if file.is_file():
            rows += [[part, name, value] for name, value in flat(read_json(file)) if name != "part"]
    print(tabulate(rows, headers=["part", "what", "value"], tablefmt="github", disable_numparse=True))


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return the leaves of nested mappings with their dotted names."""
    if isinstance(value, dict):
        return [leaf for key, below in value.items() for leaf in flat(below, f"{name}.{key}".strip("."))]
    return [(name, str(value))]


if __name__ == "__main__":
    with one_sentence():
        app()
