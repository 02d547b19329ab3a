"""The training loop: batches by number, schedule, optimiser, checkpoints.

Everything random is a function of the study's seed and the iteration's number (never of what was drawn before), so a
training that continues from a checkpoint makes the same steps as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import math
import sys
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from anonbench.errors import AnonbenchError
from anonbench.learning import read_checkpoint, saving
from anonbench.recipe import Recipe
from anonbench.seeding import generator, seed_of
from anonbench.train import distributed
from anonbench.train.data import Target, Variant, input_size, load_image, load_target

Batch = tuple[list[torch.Tensor], list[Target]]
CURVE_POINTS = 100
ALONE = distributed.Place()


@dataclass(frozen=True, slots=True)
class Batches:
    """The training batches of a variant: ``batches[i]`` is that of iteration ``i``, whatever came before.

    Of several processes each has its share of every batch, at least one image: an epoch's short last batch is filled
    up with its own first images.
    """

    variant: Variant
    recipe: Recipe
    seed: int
    place: distributed.Place = ALONE

    def __getitem__(self, iteration: int) -> Batch:
        """Return the uint8 (3, h, w) images and the targets (see `data`) of one iteration."""
        size, settings = self.recipe.batch_size, self.recipe.settings
        epoch, number = divmod(iteration, -(-len(self.variant.samples) // size))
        order_seed = self.recipe.seeds.of("order", self.seed)
        order = generator("order", order_seed, epoch).permutation(len(self.variant.samples))
        whole = order[number * size : (number + 1) * size]
        if self.place.size > 1:
            whole = np.resize(whole, -(-len(whole) // self.place.size) * self.place.size)
        images, targets = [], []
        for index in whole[self.place.rank :: self.place.size]:
            sample = self.variant.samples[index]
            draw = generator("augment", self.recipe.seeds.of("augmentation", self.seed), epoch, sample.id)
            flip = bool(draw.random() < settings.horizontal_flip)
            shorter = settings.min_size[int(draw.integers(len(settings.min_size)))]
            shape = input_size(sample.width, sample.height, shorter, settings.max_size)
            images.append(load_image(sample, shape, flip))
            targets.append(load_target(sample, shape, flip, masks="segmentation" in self.recipe.tasks))
        return images, targets

    def ahead(self, first: int, last: int, threads: int) -> Generator[Batch, None, None]:
        """Yield the batches first..last-1 in order, decoding ahead in ``threads`` threads (0: in this one)."""
        if threads == 0:
            yield from (self[i] for i in range(first, last))
            return
        with ThreadPoolExecutor(threads) as pool:
            waiting: list[Future[Batch]] = []
            try:
                for i in range(first, last + 2 * threads):
                    if i < last:
                        waiting.append(pool.submit(self.__getitem__, i))
                    if i >= first + 2 * threads:
                        yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()


def decoders(device: torch.device) -> int:
    """Return how many threads decode ahead; the number changes no result."""
    threads = torch.get_num_threads()
    if device.type == "cuda":
        return max(2, min(threads, 8))
    return 0 if threads == 1 else 2


def learning_rate(recipe: Recipe, iteration: int, iterations: int) -> float:
    """Return the learning rate of an iteration (0-based): linear warm-up, then steps or a half cosine to zero."""
    rate = recipe.learning_rate()
    if recipe.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * iteration / iterations))
    else:
        rate *= 0.1 ** sum(iteration >= step * iterations for step in recipe.steps)
    if iteration < recipe.warmup_iterations:
        done = iteration / recipe.warmup_iterations
        rate *= 0.001 * (1 - done) + done
    return rate


def optimizer_for(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser; only weight matrices and filters decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate(), betas=(recipe.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=recipe.learning_rate(), momentum=recipe.momentum, fused=True)


@dataclass(slots=True)
class Progress:
    """How far a training is: iterations done, the curve so far and the sums of the loss terms since its last point."""

    iteration: int
    curve: list[dict[str, float]]
    sums: dict[str, float]


@dataclass(frozen=True, slots=True)
class Ran:
    """What `fit` reports: the loss curve, and how long and on how many images this process (or its group) worked."""

    curve: list[dict[str, float]]
    iterations: int
    images: int
    seconds: float
    loading_seconds: float


def training_key(
    recipe: Recipe, initialisation: dict[str, Any], variant: Variant, seed: int, device: torch.device, code: str
) -> str:
    """Return what must agree for a checkpoint to be continued; ``code`` is the hash of the trainer's sources."""
    parts = [recipe.model_dump(mode="json"), initialisation, variant.sha256, variant.images_digest, seed, device.type]
    parts += [torch.get_num_threads(), torch.__version__, code, distributed.place().size]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Events:
    """TensorBoard's event files of a training, where the package ``tensorboard`` is installed; else nothing."""

    def __init__(self, folder: Path | None, first: int) -> None:
        self._writer: Any = None
        if folder is not None and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            # what a killed run wrote after its last checkpoint is written again
            self._writer = SummaryWriter(str(folder), purge_step=first + 1)

    def add(self, point: dict[str, float]) -> None:
        """Write a point of the loss curve."""
        if self._writer is not None:
            for name, value in point.items():
                if name != "iteration":
                    self._writer.add_scalar(name, value, int(point["iteration"]))

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.close()


def fit(
    model: nn.Module, batches: Batches, device: torch.device, checkpoint: Path | None, key: str, ahead: int = 0
) -> Ran:
    """Train ``model`` in place.

    ``model(images, targets)`` returns a dict of losses, whose sum is minimised. ``checkpoint`` is a file that is
    written every ``recipe.checkpoint_every`` iterations and read at the start if it carries the same ``key``; beside
    it, in ``events``, stand TensorBoard's files. ``ahead`` threads decode ahead (0: this one). In a group of processes
    each takes its share of every batch (DistributedDataParallel), and the first writes. Raises AnonbenchError at a loss
    that is not finite (the checkpoint from before stays) and when the GPU's memory does not suffice.
    """
    recipe, group = batches.recipe, batches.place
    if recipe.batch_size % group.size:
        raise AnonbenchError(
            f"{recipe.batch_size} images cannot be shared equally by {group.size} processes", entry="recipe batch_size"
        )
    if recipe.precision == "fp16" and device.type != "cuda":
        raise AnonbenchError("fp16 needs a GPU", entry="recipe precision", remedy="use fp32 or bf16")
    total = recipe.total_iterations(len(batches.variant.samples))
    model.train()
    optimizer = optimizer_for(model, recipe)
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
    progress = Progress(0, [], {})
    if checkpoint is not None:
        progress = _resume(checkpoint, key, model, optimizer, scaler, device) or progress
    network: nn.Module = model
    if group.size > 1:
        own = [device.index] if device.type == "cuda" else None
        # a branch without regions in one process takes no part in its step
        network = DistributedDataParallel(model, device_ids=own, find_unused_parameters=True)
    leads = group.rank == 0
    every = max(1, total // CURVE_POINTS)
    first, seen, loading, started = progress.iteration, 0, 0.0, time.perf_counter()
    upcoming = batches.ahead(first, total, ahead)
    events = Events(checkpoint.parent / "events" if checkpoint is not None and leads else None, first)
    bar = tqdm(total=total, initial=first, desc="train", unit="it", mininterval=1, file=sys.stderr, disable=not leads)
    with contextlib.closing(upcoming), contextlib.closing(events), bar:
        for iteration in range(first, total):
            waited = time.perf_counter()
            images, targets = next(upcoming)
            loading += time.perf_counter() - waited
            rate = learning_rate(recipe, iteration, total)
            for param_group in optimizer.param_groups:
                param_group["lr"] = rate
            more = (group.rank,) if group.rank else ()
            torch.manual_seed(seed_of("sample", recipe.seeds.of("sampling", batches.seed), iteration, *more))
            try:
                losses = _step(network, optimizer, scaler, images, targets, recipe, device, iteration)
            except RuntimeError as error:
                if not _exhausted(error):
                    raise
                losses = None
            if losses is None:  # outside of the handler, where the failed step has let go of its tensors
                raise _out_of_memory(network, optimizer, images, targets, recipe, device, iteration)
            seen += len(images) * group.size
            for name, value in losses.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value
            progress.iteration = iteration + 1
            if progress.iteration % every == 0 or progress.iteration == total:
                since = progress.iteration - (int(progress.curve[-1]["iteration"]) if progress.curve else 0)
                means = {name: round(value / since, 6) for name, value in progress.sums.items()}
                progress.curve.append({"iteration": progress.iteration, "learning_rate": round(rate, 9), **means})
                progress.sums = {}
                events.add(progress.curve[-1])
            due = progress.iteration % recipe.checkpoint_every == 0 or progress.iteration == total
            if checkpoint is not None and due:
                _save_by_first(checkpoint, key, model, optimizer, scaler, progress, device)
            bar.update()
            bar.set_postfix(loss=f"{sum(losses.values()):.3f}", lr=f"{rate:.2g}", refresh=False)
    return Ran(progress.curve, total - first, seen, time.perf_counter() - started, loading)


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """Return the context of the recipe's precision."""
    half = torch.float16 if recipe.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, half, enabled=recipe.precision != "fp32")


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    images: list[torch.Tensor],
    targets: list[Target],
    recipe: Recipe,
    device: torch.device,
    iteration: int,
) -> dict[str, float]:
    """Take one optimiser step and return the loss terms before it."""
    try:
        terms = _losses(model, images, targets, recipe, device)
        loss = torch.stack(list(terms.values()))
        values = distributed.mean(dict(zip(terms, loss.tolist(), strict=True)), device)
        if not all(math.isfinite(value) for value in values.values()):
            bad = ", ".join(f"{name} = {value}" for name, value in values.items() if not math.isfinite(value))
            raise _diverged(iteration, bad)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss.sum()).backward()
        if recipe.gradient_clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        scaler.step(optimizer)
        scaler.update()
    except FloatingPointError as error:  # detectron2's, at proposals that are not finite
        raise _diverged(iteration, str(error).strip()) from None
    return values


def _losses(
    model: nn.Module, images: list[torch.Tensor], targets: list[Target], recipe: Recipe, device: torch.device
) -> dict[str, torch.Tensor]:
    """Return the loss terms of a batch, on the device."""
    images = [image.to(device, non_blocking=True) for image in images]
    targets = [{name: value.to(device, non_blocking=True) for name, value in t.items()} for t in targets]
    with autocast(recipe, device):
        terms: dict[str, torch.Tensor] = model(images, targets)
    return terms


def _diverged(iteration: int, what: str) -> AnonbenchError:
    return AnonbenchError(
        f"the loss is not finite at iteration {iteration + 1}: {what}",
        entry="recipe base_learning_rate",
        remedy="lower it, lengthen warmup_iterations or set gradient_clip",
    )


def _exhausted(error: RuntimeError) -> bool:
    """Tell whether an allocator, a GPU's or the processor's, had no more memory to give."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _out_of_memory(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: list[torch.Tensor],
    targets: list[Target],
    recipe: Recipe,
    device: torch.device,
    iteration: int,
) -> AnonbenchError:
    """Say which batch is worth a try: the largest that fits, or, in a group of processes, the half."""
    processes = distributed.place().size
    said, fits = "", len(images) // 2
    if processes == 1:  # the hooks of DistributedDataParallel would wait for the other processes
        fits = largest_batch(model, optimizer, images, targets, recipe, device)
        said = f"; {fits} {'fit' if fits > 1 else 'fits'}" if fits else "; not even 1 fits"
    remedy = "lower max_size, or architecture.box_samples"
    if fits:
        batch = fits * processes
        rate = recipe.model_copy(update={"batch_size": batch}).learning_rate()
        remedy = f"set batch_size: {batch} (the linear rule then gives the learning rate {rate:g}), or {remedy}"
    memory = "the GPU's memory" if device.type == "cuda" else "the memory"
    return AnonbenchError(
        f"{memory} does not suffice for {len(images)} images at a time (iteration {iteration + 1}){said}",
        entry="recipe batch_size",
        remedy=remedy,
    )


def largest_batch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: list[torch.Tensor],
    targets: list[Target],
    recipe: Recipe,
    device: torch.device,
) -> int:
    """Return how many images a step takes after ``images`` were too many: half, a quarter, ... or 1; 0 if not one.

    Each try is a forward and a backward pass of the largest of the images, with the memory that the optimiser will ask
    for. The gradients are gone afterwards; running statistics are those of the tries.
    """
    order = sorted(range(len(images)), key=lambda i: images[i].numel(), reverse=True)
    count = len(images) // 2
    while count > 0 and not _fits(
        model, optimizer, [images[i] for i in order[:count]], [targets[i] for i in order[:count]], recipe, device
    ):
        count //= 2
    return count


def _fits(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: list[torch.Tensor],
    targets: list[Target],
    recipe: Recipe,
    device: torch.device,
) -> bool:
    """Tell whether a step on these images has the memory that it needs."""
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    copies = 2 if recipe.optimizer == "adamw" else 1
    try:
        # the optimiser takes its memory at the end of its first step
        state = [torch.empty_like(p) for p in trained if p not in optimizer.state for _ in range(copies)]
        torch.stack(list(_losses(model, images, targets, recipe, device).values())).sum().backward()
        del state
    except RuntimeError as error:
        if not _exhausted(error):
            raise
        return False
    finally:
        optimizer.zero_grad(set_to_none=True)
    return True


def _save_by_first(
    path: Path,
    key: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    progress: Progress,
    device: torch.device,
) -> None:
    """Save in the first process of the group; all of them stop when it cannot."""
    error: AnonbenchError | None = None
    if distributed.place().rank == 0:
        try:
            _save(path, key, model, optimizer, scaler, progress)
        except AnonbenchError as caught:
            error = caught
    if distributed.agree(error is not None, device):
        raise error or AnonbenchError("the first process could not write its checkpoint", file=path)


def _save(
    path: Path,
    key: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    progress: Progress,
) -> None:
    state: dict[str, Any] = {
        "key": key,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "iteration": progress.iteration,
        "curve": progress.curve,
        "sums": progress.sums,
    }
    with saving(path) as part:
        torch.save(state, part)


def _resume(
    path: Path,
    key: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    device: torch.device,
) -> Progress | None:
    """Load a checkpoint of the same training; None when there is none or it belongs to another one."""
    state = read_checkpoint(path, key, device)
    if state is None:
        return None
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    if state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    return Progress(state["iteration"], state["curve"], state["sums"])
