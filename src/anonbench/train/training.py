"""Trainings: one command fits a model to a variant and leaves the same files, whoever trains."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import anonbench
from anonbench import portable, registry
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.learning import distributed
from anonbench.learning.devices import choose_device, held, hold
from anonbench.learning.files import save_tensors
from anonbench.recipe import Recipe
from anonbench.resources import peak_memory
from anonbench.train import initialisation
from anonbench.train.code import training_code
from anonbench.train.contract import TrainedModel, Trainer
from anonbench.train.data import VariantSplit
from anonbench.train.record import RECORD, TIMING, WEIGHTS

CHECKPOINT = "checkpoint.pt"


def run_training(
    variant_dir: Path,
    split: str,
    recipe: Recipe,
    seed: int,
    out: Path,
    *,
    device: str = "auto",
    threads: int = 1,
    checkpoints: Path | None = None,
    timing: Path | None = None,
    processes: int = 1,
    datasets: Sequence[str] = (),
) -> None:
    """Train and write ``weights.safetensors`` and, last, ``train.json`` into ``out``.

    Both have the same bytes whenever the same training is repeated: on the same machine (``determinism: strict``), or
    on any x86-64 processor with AVX2 (``portable``). What differs (seconds, memory, the processor's name) goes to the
    file ``timing``, or to ``timing.json`` in ``out``. With ``processes`` the batch is shared by so many (one per GPU);
    under torchrun this process is one of them already. ``datasets`` are the names of the data set, as
    `Initialisation.seen` may have them; unless given, the name of the folder that ``variant_dir`` lies in.
    """
    trainer: Trainer = registry.load("trainers", recipe.trainer)()
    trainer.require(recipe)
    where = choose_device(device)
    names = tuple(datasets) or (variant_dir.resolve().parent.name,)
    arguments = (variant_dir, split, recipe, seed, out, where.type, threads, checkpoints, timing, names)
    if distributed.from_torchrun():
        distributed.join(where)
        try:
            _train(*arguments)
        finally:
            distributed.leave()
    elif processes > 1 and trainer.trains:
        distributed.launch(trainer.launch, _train, processes, where, *arguments)
    else:
        _train(*arguments)


def _train(
    variant_dir: Path,
    split: str,
    recipe: Recipe,
    seed: int,
    out: Path,
    device: str,
    threads: int,
    checkpoints: Path | None,
    timing: Path | None,
    datasets: tuple[str, ...],
) -> None:
    """Train in this process, alone or as one of a group; the first of the group writes."""
    trainer: Trainer = registry.load("trainers", recipe.trainer)()
    where, place = torch.device(device), distributed.place()
    if place.size > 1:
        where = distributed.own_device(where)
    level = recipe.level(where.type)
    hold(level, threads)
    variant = VariantSplit.read(variant_dir, split, clips=trainer.of_clips)
    samples = len(trainer.samples(variant))
    if trainer.trains and not samples:
        what = "clips with an action" if trainer.of_clips else "images"
        raise AnonbenchError(f"has no {what} to train on", file=variant.annotations)
    resolved = {"iterations": recipe.total_iterations(samples), **held(level)}
    if trainer.trains:
        resolved = {"batch_size": recipe.batch_size, "learning_rate": recipe.learning_rate(), **resolved}
    seen = trainer.seen(recipe)
    leaks = initialisation.leaks(seen, datasets) if seen is not None else None
    if place.rank == 0:
        (out / RECORD).unlink(missing_ok=True)
        what = f"{samples} clips of {len(variant.samples)} images" if trainer.of_clips else f"{samples} images"
        _announce(trainer.describe(recipe), recipe, resolved, what, where, place.size)
        if leaks:
            print(
                f"WARNING: the {'first weights have' if trainer.trains else 'model has'} seen {', '.join(seen or ())}, "
                f"that is, images of {datasets[0]}: what anonymization costs is "
                + ("underestimated" if trainer.trains else "not what it would cost on images that are new to it"),
                file=sys.stderr,
            )
    checkpoint = checkpoints / CHECKPOINT if checkpoints is not None else None
    trained = trainer.train(variant, recipe, seed, where, checkpoint)
    if place.rank > 0:
        return
    save_tensors({name: trained.weights[name].contiguous() for name in sorted(trained.weights)}, out / WEIGHTS)
    machine = {"device": device_name(where), "python": platform.python_version()}
    write_json(timing or out / TIMING, {**_timing(trained), **machine})
    record = {
        "recipe": recipe.model_dump(mode="json"),
        "resolved": resolved,
        "initialisation": {**trained.initialisation, "leaks": leaks},
        "seed": seed,
        "categories": [asdict(category) for category in variant.categories],
        **({"actions": list(variant.actions)} if trainer.of_clips else {}),
        "data": {
            "dataset": datasets[0],
            "split": split,
            "annotations_sha256": variant.sha256,
            "images_digest": variant.images_digest,
            **variant.counts,
            **({"clips": samples} if trainer.of_clips else {}),
        }
        if trainer.trains
        else {"dataset": datasets[0]},
        "loss_curve": trained.curve,
        "weights_sha256": sha256_file(out / WEIGHTS),
        "code": training_code(recipe),
        "device": portable.processor() if level == "portable" else device_name(where),
        "processes": place.size,
        "threads": threads,
        "versions": {
            "python": portable.python(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
            **trainer.versions(),
            "anonbench": anonbench.__version__,
        },
    }
    write_json(out / RECORD, record)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)


def _announce(
    settings: str, recipe: Recipe, resolved: dict[str, Any], samples: str, device: torch.device, processes: int
) -> None:
    """Print what is about to happen."""
    if not recipe.trains:
        print(
            f"trainer {recipe.trainer}, {', '.join(recipe.tasks)}, nothing to train\nsettings {settings}",
            file=sys.stderr,
        )
        return
    start = recipe.initialisation
    rule = f"{recipe.base_learning_rate:g} for {recipe.reference_batch_size} images"
    lines = [
        f"trainer {recipe.trainer}, {', '.join(recipe.tasks)}, {recipe.precision}, "
        f"determinism {resolved['determinism']}, {device_name(device)}"
        + (f", {processes} processes" if processes > 1 else ""),
        f"settings {settings}",
        f"{samples}, {resolved['iterations']} iterations of {resolved['batch_size']}",
        f"learning rate {resolved['learning_rate']:g} ({rule}), {recipe.schedule}, "
        f"warm-up {recipe.warmup_iterations} iterations",
        f"start {start.kind}"
        + (f" from {start.file} ({start.provenance})" if start.file else "")
        + (f", which has seen {', '.join(start.seen) or 'nothing'}" if start.seen is not None else ""),
    ]
    print("\n".join(lines), file=sys.stderr)


def _timing(trained: TrainedModel) -> dict[str, float]:
    return {
        "seconds": round(trained.seconds, 2),
        "iterations": trained.iterations,
        "iterations_per_second": round(trained.iterations / max(trained.seconds, 1e-9), 4),
        "images_per_second": round(trained.images / max(trained.seconds, 1e-9), 2),
        "loading_share": round(trained.loading_seconds / max(trained.seconds, 1e-9), 4),
        **peak_memory(),
    }


def device_name(device: torch.device) -> str:
    """Return the GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
