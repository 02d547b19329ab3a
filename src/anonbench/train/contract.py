"""What a trainer must offer, and the files that a training and a prediction leave: the same for every trainer."""

from __future__ import annotations

import platform
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm import tqdm

import anonbench
from anonbench import portable, registry
from anonbench import recipe as recipes
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.learning import choose_device, save_tensors
from anonbench.recipe import Recipe
from anonbench.resources import peak_memory
from anonbench.tasks import base as tasks
from anonbench.train import distributed, initialisation
from anonbench.train.data import Category, Variant
from anonbench.train.record import RECORD, TIMING, WEIGHTS, read_record

CHECKPOINT = "checkpoint.pt"
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Fit:
    """What a training yields.

    ``curve``: one dict per sampled iteration with ``iteration``, ``learning_rate`` and each loss term (mean since the
    sample before). ``initialisation`` has at least ``kind`` and ``seen``. ``iterations``, ``images``, ``seconds`` and
    ``loading_seconds`` count this run only, not what a killed one did.
    """

    weights: Weights = field(repr=False)
    curve: list[dict[str, float]] = field(repr=False)
    initialisation: dict[str, Any]
    iterations: int
    images: int
    seconds: float
    loading_seconds: float


Outputs = dict[str, list[Any]]
"""What a model says of one image, by the key that its tasks read (`Task.entries`), such as ``detections``."""


class Trainer(ABC):
    """A way of training and running models. Register a subclass in the entry-point group ``anonbench.trainers``."""

    @abstractmethod
    def check(self, recipe: Recipe) -> None:
        """Raise AnonbenchError when the recipe asks for what this trainer cannot do."""

    @abstractmethod
    def train(self, variant: Variant, recipe: Recipe, seed: int, device: torch.device, checkpoint: Path | None) -> Fit:
        """Train; the result depends on the other arguments (and the machine), never on ``checkpoint``.

        With ``checkpoint`` (a file), save to it every ``recipe.checkpoint_every`` iterations and at the end, and
        continue from what a killed run of the same training left there. The caller removes it. In a group of
        processes (`distributed.place`) all of them call this at once, and what the first returns counts.
        """

    @abstractmethod
    def predict(
        self, weights: Weights, categories: tuple[Category, ...], variant: Variant, recipe: Recipe, device: torch.device
    ) -> Iterator[Outputs]:
        """Yield the outputs for each image of ``variant``, in its order: what the recipe's tasks encode."""

    def launch(self, function: Callable[..., None], processes: int, arguments: tuple[Any, ...]) -> None:
        """Call ``function(*arguments)`` in ``processes`` processes of this machine that form a torch group."""
        distributed.torchrun(function, processes, arguments)

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages, besides torch and torchvision, that can move a number."""
        return {}


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
    trainer.check(recipe)
    where = choose_device(device)
    names = tuple(datasets) or (variant_dir.resolve().parent.name,)
    arguments = (variant_dir, split, recipe, seed, out, where.type, threads, checkpoints, timing, names)
    if distributed.from_torchrun():
        distributed.join(where)
        try:
            _train(*arguments)
        finally:
            distributed.leave()
    elif processes > 1:
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
    if level == "portable":
        portable.require()
    torch.set_num_threads(threads)
    variant = Variant.read(variant_dir, split)
    if not variant.samples:
        raise AnonbenchError("has no images to train on", file=variant.annotations)
    resolved = {
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate(),
        "iterations": recipe.total_iterations(len(variant.samples)),
        "determinism": level,
        **({"portable": portable.TORCH} if level == "portable" else {}),
    }
    seen = initialisation.seen(recipe)
    leaks = initialisation.leaks(seen, datasets)
    if place.rank == 0:
        (out / RECORD).unlink(missing_ok=True)
        _announce(recipe, resolved, variant, where, place.size)
        if leaks:
            print(
                f"WARNING: the first weights have seen {', '.join(seen)}, that is, images of {datasets[0]}: what "
                "anonymization costs is underestimated",
                file=sys.stderr,
            )
    checkpoint = checkpoints / CHECKPOINT if checkpoints is not None else None
    fit = trainer.train(variant, recipe, seed, where, checkpoint)
    if place.rank > 0:
        return
    save_tensors({name: fit.weights[name].contiguous() for name in sorted(fit.weights)}, out / WEIGHTS)
    machine = {"device": device_name(where), "python": platform.python_version()}
    write_json(timing or out / TIMING, {**_timing(fit), **machine})
    record = {
        "recipe": recipe.model_dump(mode="json"),
        "resolved": resolved,
        "initialisation": {**fit.initialisation, "leaks": leaks},
        "seed": seed,
        "categories": [asdict(category) for category in variant.categories],
        "data": {
            "dataset": datasets[0],
            "split": split,
            "annotations_sha256": variant.sha256,
            "images_digest": variant.images_digest,
            **variant.counts,
        },
        "loss_curve": fit.curve,
        "weights_sha256": sha256_file(out / WEIGHTS),
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


def _announce(recipe: Recipe, resolved: dict[str, Any], variant: Variant, device: torch.device, processes: int) -> None:
    """Print what is about to happen."""
    start = recipe.initialisation
    sizes = "/".join(str(size) for size in recipe.min_size)
    rule = f"{recipe.base_learning_rate:g} for {recipe.reference_batch_size} images"
    lines = [
        f"trainer {recipe.trainer}, {recipe.architecture.backbone}, {', '.join(recipe.tasks)}, {recipe.precision}, "
        f"determinism {resolved['determinism']}, {device_name(device)}"
        + (f", {processes} processes" if processes > 1 else ""),
        f"{len(variant.samples)} images, {resolved['iterations']} iterations of {resolved['batch_size']}, "
        f"shorter side {sizes}, longer at most {recipe.max_size}",
        f"learning rate {resolved['learning_rate']:g} ({rule}), {recipe.schedule}, "
        f"warm-up {recipe.warmup_iterations} iterations",
        f"start {start.kind}"
        + (f" from {start.file} ({start.provenance})" if start.file else "")
        + (f", which has seen {', '.join(start.seen) or 'nothing'}" if start.seen is not None else ""),
    ]
    print("\n".join(lines), file=sys.stderr)


def _timing(fit: Fit) -> dict[str, float]:
    return {
        "seconds": round(fit.seconds, 2),
        "iterations": fit.iterations,
        "iterations_per_second": round(fit.iterations / max(fit.seconds, 1e-9), 4),
        "images_per_second": round(fit.images / max(fit.seconds, 1e-9), 2),
        "loading_share": round(fit.loading_seconds / max(fit.seconds, 1e-9), 4),
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


def run_prediction(
    model: Path, variant_dir: Path, split: str, out: Path, *, device: str = "auto", threads: int = 1
) -> None:
    """Run the model of the folder ``model`` on a split and write what its tasks read of it to ``out``.

    Raises AnonbenchError when the training is not complete, its weights are not those that it recorded, or the
    variant has other categories.
    """
    started = time.perf_counter()
    record = read_record(model)
    recipe = recipes.parse(record["recipe"], model / RECORD)
    if sha256_file(model / WEIGHTS) != record["weights_sha256"]:
        raise AnonbenchError("is not the file that train.json describes", file=model / WEIGHTS, remedy="train again")
    categories = tuple(Category(**category) for category in record["categories"])
    variant = Variant.read(variant_dir, split)
    if variant.categories != categories:
        raise AnonbenchError(
            f"has the categories {_names(variant.categories)}, the model was trained on {_names(categories)}",
            file=variant.annotations,
        )
    where = choose_device(device)
    if recipe.level(where.type) == "portable":
        portable.require()
    torch.set_num_threads(threads)
    try:
        weights = load_file(model / WEIGHTS)
    except SafetensorError as error:
        raise AnonbenchError(f"cannot be read ({error})", file=model / WEIGHTS, remedy="train again") from error
    trainer: Trainer = registry.load("trainers", recipe.trainer)()
    people = frozenset(category.id for category in categories if category.person)
    asked = [tasks.load(name) for name in recipe.tasks]
    writers = {task.entries: task for task in reversed(asked)}
    entries: dict[str, list[dict[str, Any]]] = {task.entries: [] for task in asked}
    images = trainer.predict(weights, categories, variant, recipe, where)
    for outputs in tqdm(images, "predict", len(variant.samples), unit="image", mininterval=1):
        for key, task in writers.items():
            entries[key] += [task.encode(output, people) for output in outputs[key]]
    result = {
        "categories": [asdict(category) for category in categories],
        "model": {"weights_sha256": record["weights_sha256"], "tasks": list(recipe.tasks), "trainer": recipe.trainer},
        **entries,
    }
    write_json(out, result, indent=None)
    seconds = time.perf_counter() - started
    found = ", ".join(f"{len(of)} {key}" for key, of in entries.items())
    print(f"{found} in {len(variant.samples)} images, {seconds:.1f} s", file=sys.stderr)


def _names(categories: tuple[Category, ...]) -> str:
    return ", ".join(f"{c.id} {c.name}" for c in categories) or "none"
