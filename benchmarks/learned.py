"""How fast anonymizers that learn are fitted and applied, and how much of the stage is their own forward pass.

    python benchmarks/learned.py                                          the preset `cpu` at 64 x 64, on a processor
    python benchmarks/learned.py --device cuda --preset published --size 224 --steps 300 --out learned.jsonl

Clips of drawn frames (blurred noise, JPEG) are written to a folder, with the tables that `annotate` would write. Then

- **fit**: the fit of the preset runs for so many steps of the minimax, both sides in turns, as `anonbench fit` runs it.
  Seconds of the first tenth (a GPU finds its kernels, frames are decoded) are left out.
- **apply**: the stage writes the frames' variant (read, decode, network, encode, write, one thread), and the network
  alone sees the same frames as prepared tensors. The two take turns; printed are medians of the turns and the median of
  their ratios. On a processor these are seconds of CPU time.

Each result is a line of JSON, which goes to `--out`, too.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from anonbench import portable

portable.settle()  # before torch is loaded

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import typer  # noqa: E402

from anonbench import regions  # noqa: E402
from anonbench.anonymize.contract import FitJob  # noqa: E402
from anonbench.anonymize.learned import weights  # noqa: E402
from anonbench.anonymize.learned.data import Material  # noqa: E402
from anonbench.anonymize.learned.loop import ANONYMIZER, Fitting, Players  # noqa: E402
from anonbench.anonymize.learned.options import LEVELS, FitSettings  # noqa: E402
from anonbench.anonymize.learned.training import architecture  # noqa: E402
from anonbench.anonymize.methods.learned import Learned  # noqa: E402
from anonbench.anonymize.shard import Shard  # noqa: E402
from anonbench.arguments import block, mapping  # noqa: E402
from anonbench.cli import one_sentence  # noqa: E402
from anonbench.files import write_json  # noqa: E402
from anonbench.learning.devices import choose_device, deterministic  # noqa: E402
from anonbench.learning.loop import run as train  # noqa: E402
from anonbench.records import RegionKind  # noqa: E402
from anonbench.resources import peak_memory  # noqa: E402
from anonbench.variants import Variant  # noqa: E402

ACTIONS = ("one", "two")
ATTRIBUTES = ("red", "green", "blue")
SPLIT = "train"


def draw(folder: Path, clips: int, frames: int, size: int) -> list[dict[str, Any]]:
    """Write clips of frames, ``size`` pixels on the shorter side, with a person in each; return the rows of images."""
    random, width = np.random.default_rng(0), round(size * 4 / 3)
    (folder / "data" / "raw").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    start = 0
    for clip in range(clips):
        scene = cv2.resize(random.integers(0, 256, (9, 12, 3), dtype=np.uint8), (width, size))
        for frame in range(frames):
            noise = random.normal(0, 8, scene.shape)
            pixels = np.clip(np.roll(scene, frame * (1 + clip % 2), 1) + noise, 0, 255).astype(np.uint8)
            name, image_id = f"{clip:04}_{frame:04}.jpg", clip * frames + frame + 1
            data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            (folder / "data" / "raw" / name).write_bytes(data)
            images.append(
                {
                    "image_id": image_id, "file_name": name, "path": f"raw/{name}", "width": width, "height": size,
                    "labels_on": "upright", "bytes": len(data), "people": 1, "start": start, "video_id": clip + 1,
                    "frame_index": frame,
                }
            )  # fmt: skip
            start += len(data)
            said = json.dumps({"colour": ATTRIBUTES[clip % 3]})
            box = [0.4 * width, 0.2 * size, 0.2 * width, 0.7 * size]
            people.append(
                {
                    "image_id": image_id, "person_id": image_id, "category": "person", "crowd": False, "ignore": False,
                    "box": box, "area": box[2] * box[3], "attributes": said,
                }
            )  # fmt: skip
    videos = [{"id": clip + 1, "action": ACTIONS[clip % 2], "frames": frames} for clip in range(clips)]
    facts = {"videos": videos, "actions": list(ACTIONS)}
    regions.write(folder / "annotations" / f"{SPLIT}.images.parquet", images, regions.IMAGES, facts)
    regions.write(folder / "annotations" / f"{SPLIT}.people.parquet", people, regions.PEOPLE)
    write_json(folder / "data" / "download.json", {"dataset": "drawn", "root": "."})
    return images


class Timed(Fitting):
    """A fit that notes when each step was done, and whose it was."""

    def begin(self) -> None:
        self.times = [time.perf_counter()]

    def done(self, iteration: int) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())


def fit(folder: Path, rows: list[dict[str, Any]], settings: FitSettings, device: torch.device) -> dict[str, Any]:
    """Fit for the settings' steps, write the weights, and return what it took."""
    table = folder / "annotations" / f"{SPLIT}.people.parquet"
    facts = regions.facts_of(folder / "annotations" / f"{SPLIT}.images.parquet")
    job = FitJob(
        kind=RegionKind.FRAME, root=folder / "data", images=rows, table=table, settings=settings, seed=0,
        device=device.type, threads=torch.get_num_threads(), weights=folder / "weights.safetensors", checkpoint=None,
        sheet=None, origin={"dataset": "drawn", "split": SPLIT, "region": "frame"}, facts=facts,
    )  # fmt: skip
    material = Material.read(job)
    with deterministic(settings.determinism != "seeded"):
        players = Players.new(architecture(settings), material, 0, device)
        learner = Timed(players, material, 0, device)
        ran = train(learner, None, "")
    weights.save(job.weights, players.anonymizer, job.origin)
    frames = settings.clips * settings.frames + settings.stills
    first = max(2, learner.iterations // 10)
    steps = np.diff(learner.times)
    sides = {True: "anonymizer_step_seconds", False: "rivals_step_seconds"}
    of: dict[str, list[float]] = {name: [] for name in sides.values()}
    for iteration, seconds in enumerate(steps):
        if iteration >= min(first, len(steps) - 2):
            of[sides[learner.turn(iteration) == ANONYMIZER]].append(float(seconds))
    pair = sum(statistics.median(found) for found in of.values() if found)
    return {
        "steps": len(steps),
        "steps_per_second": round(2 / pair, 3),
        "frames_per_second": round(2 / pair * frames, 1),
        **{name: round(statistics.median(found), 5) for name, found in of.items() if found},
        "parameters": sum(p.numel() for p in players.anonymizer.parameters()),
        "losses": ran.curve[-1],
        "skipped_for_overflow": bool(learner.scaler.is_enabled() and learner.scaler.get_scale() < 2.0**16),
        **peak_memory(),
    }


def applied(folder: Path, rows: list[dict[str, Any]], device: torch.device, turns: int) -> dict[str, Any]:
    """Apply the fitted network to all frames, by the stage and alone, in turns; return what it took."""
    method = Learned()
    method.load(folder / "weights.safetensors", RegionKind.FRAME, device.type)
    network = method._network
    size = method._architecture.shape_for(rows[0]["width"], rows[0]["height"])
    batch = method.batch if device.type == "cuda" else 1
    pixels = [cv2.imread(str(folder / "data" / row["path"]))[..., ::-1] for row in rows]
    seen = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in pixels])
    tensors = (torch.from_numpy(seen).to(device).permute(0, 3, 1, 2).float() / 255).split(
        batch
    )  # as the method has them
    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def stage(turn: int) -> None:
        shard = Shard(
            folder / "data", folder / "annotations", folder / f"out{turn}", SPLIT,
            Variant(RegionKind.FRAME, "learned", "b30"), seed=0,
        )  # fmt: skip
        shard.work(rows, folder / "data", shard.people(rows), method, lambda _: None)

    def alone(turn: int) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            for one in tensors:
                network(one)
        if device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(do: Callable[[int], None], turn: int) -> float:
        before = clock()
        do(turn)
        return clock() - before

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    pairs = []
    for turn in range(-1, turns):  # the first one warms up
        found = [seconds(alone, turn), seconds(stage, turn)]
        if turn >= 0:
            pairs.append(found)
    forward, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "frames": len(rows),
        "working_size": list(size),
        "batch": batch,
        "stage_frames_per_second": round(len(rows) / whole, 1),
        "network_frames_per_second": round(len(rows) / forward, 1),
        "stage_over_network": round(statistics.median(b / a for a, b in pairs), 3),
        "turns": turns,
        **peak_memory(),
    }


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    preset: Annotated[str, typer.Option(help="cpu or published.")] = "cpu",
    level: Annotated[str, typer.Option(help="A level of the method.")] = "b30",
    network: Annotated[str, typer.Option(help="unet, unetplusplus or optics; the level's unless given.")] = "",
    size: Annotated[int, typer.Option(help="Side of what the networks see, in pixels.")] = 64,
    steps: Annotated[int, typer.Option(min=4, help="Steps of the minimax, of both sides together.")] = 20,
    settings: Annotated[str, typer.Option(help="Further settings of the fit, as JSON.")] = "{}",
    turns: Annotated[int, typer.Option(min=1, help="Turns of stage and network alone.")] = 5,
    out: Annotated[Path | None, typer.Option(help="File for the lines of JSON.")] = None,
) -> None:
    """Measure."""
    where = choose_device(device)
    torch.set_num_threads(1 if where.type == "cpu" else torch.get_num_threads())
    given = {
        **LEVELS[level], "preset": preset, "width": size, "height": size, "iterations": steps,
        "identity_iterations": 0, "warmup_iterations": 0, "min_pixels": 4, **({"network": network} if network else {}),
    }  # fmt: skip
    if preset == "published":
        given["observed"] = (size, size)
    if where.type == "cpu" and preset == "published":
        given["precision"] = "fp32"
    chosen = block(FitSettings, {**given, **mapping(settings, "--settings")}, "--settings")
    about = {
        "device": torch.cuda.get_device_name() if where.type == "cuda" else "cpu",
        "torch": torch.__version__, "preset": preset, "level": level, "network": chosen.network, "size": size,
        "precision": chosen.precision, "frames_in_a_step": chosen.clips * chosen.frames + chosen.stills,
    }  # fmt: skip
    lines = []
    with tempfile.TemporaryDirectory(prefix="anonbench-") as name:
        folder = Path(name)
        frames = (chosen.frames - 1) * chosen.stride + 3
        rows = draw(folder, max(2, chosen.clips), frames, size)
        for what, do in (
            ("fit", lambda: fit(folder, rows, chosen, where)),
            ("apply", lambda: applied(folder, rows[:256], where, turns)),
        ):
            lines.append(json.dumps({"what": what, **about, **do()}))
            print(lines[-1], flush=True)
            if out is not None:
                out.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
