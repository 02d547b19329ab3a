"""The training loop: batches by number, schedule, optimiser, checkpoints.

Everything random is a function of the study's seed and the iteration's number (never of what was drawn before), so a
training that continues from a checkpoint makes the same steps as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import sys
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from anonbench.errors import AnonbenchError
from anonbench.recipe import Recipe
from anonbench.seeding import generator, seed_of
from anonbench.train.contract import saving
from anonbench.train.data import Target, Variant, input_size, load_image, load_target

Batch = tuple[list[torch.Tensor], list[Target]]
CURVE_POINTS = 100


@dataclass(frozen=True, slots=True)
class Batches:
    """The training batches of a variant: ``batches[i]`` is that of iteration ``i``, whatever came before."""

    variant: Variant
    recipe: Recipe
    seed: int

    def __getitem__(self, iteration: int) -> Batch:
        """Return the uint8 (3, h, w) images and the targets (see `data`) of one iteration."""
        size = self.recipe.batch_size
        epoch, place = divmod(iteration, -(-len(self.variant.samples) // size))
        order = generator("order", self.seed, epoch).permutation(len(self.variant.samples))
        images, targets = [], []
        for index in order[place * size : (place + 1) * size]:
            sample = self.variant.samples[index]
            draw = generator("augment", self.seed, epoch, sample.id)
            flip = bool(draw.random() < self.recipe.horizontal_flip)
            shorter = self.recipe.min_size[int(draw.integers(len(self.recipe.min_size)))]
            shape = input_size(sample.width, sample.height, shorter, self.recipe.max_size)
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
    """What `fit` reports: the loss curve, and how long and on how many images this process worked."""

    curve: list[dict[str, float]]
    images: int
    seconds: float
    loading_seconds: float


def fit(
    model: nn.Module, batches: Batches, device: torch.device, checkpoint: Path | None, key: str, decoders: int = 0
) -> Ran:
    """Train ``model`` in place.

    ``model(images, targets)`` returns a dict of losses, whose sum is minimised. ``checkpoint`` is a file that is
    written every ``recipe.checkpoint_every`` iterations and read at the start if it carries the same ``key``.
    Raises AnonbenchError at a loss that is not finite; the checkpoint from before stays.
    """
    recipe = batches.recipe
    total = recipe.total_iterations(len(batches.variant.samples))
    model.train()
    optimizer = optimizer_for(model, recipe)
    progress = Progress(0, [], {})
    if checkpoint is not None:
        progress = _resume(checkpoint, key, model, optimizer, device) or progress
    every = max(1, total // CURVE_POINTS)
    seen, loading, started = 0, 0.0, time.perf_counter()
    upcoming = batches.ahead(progress.iteration, total, decoders)
    bar = tqdm(total=total, initial=progress.iteration, desc="train", unit="it", mininterval=1, file=sys.stderr)
    with contextlib.closing(upcoming), bar:
        for iteration in range(progress.iteration, total):
            waited = time.perf_counter()
            images, targets = next(upcoming)
            loading += time.perf_counter() - waited
            rate = learning_rate(recipe, iteration, total)
            for group in optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(seed_of("sample", batches.seed, iteration))
            losses = _step(model, optimizer, images, targets, recipe, device, iteration)
            seen += len(images)
            for name, value in losses.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value
            progress.iteration = iteration + 1
            if progress.iteration % every == 0 or progress.iteration == total:
                since = progress.iteration - (int(progress.curve[-1]["iteration"]) if progress.curve else 0)
                means = {name: round(value / since, 6) for name, value in progress.sums.items()}
                progress.curve.append({"iteration": progress.iteration, "learning_rate": round(rate, 9), **means})
                progress.sums = {}
            due = progress.iteration % recipe.checkpoint_every == 0 or progress.iteration == total
            if checkpoint is not None and due:
                _save(checkpoint, key, model, optimizer, progress)
            bar.update()
            bar.set_postfix(loss=f"{sum(losses.values()):.3f}", lr=f"{rate:.2g}", refresh=False)
    return Ran(progress.curve, seen, time.perf_counter() - started, loading)


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: list[torch.Tensor],
    targets: list[Target],
    recipe: Recipe,
    device: torch.device,
    iteration: int,
) -> dict[str, float]:
    """Take one optimiser step and return the loss terms before it."""
    images = [image.to(device, non_blocking=True) for image in images]
    targets = [{name: value.to(device, non_blocking=True) for name, value in t.items()} for t in targets]
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        terms = model(images, targets)
    loss = torch.stack(list(terms.values()))
    values = dict(zip(terms, loss.tolist(), strict=True))
    if not all(math.isfinite(value) for value in values.values()):
        bad = ", ".join(f"{name} = {value}" for name, value in values.items() if not math.isfinite(value))
        raise AnonbenchError(
            f"the loss is not finite at iteration {iteration + 1}: {bad}",
            entry="recipe base_learning_rate",
            remedy="lower it, lengthen warmup_iterations or set gradient_clip",
        )
    optimizer.zero_grad(set_to_none=True)
    loss.sum().backward()
    if recipe.gradient_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
    optimizer.step()
    return values


def _save(path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    state: dict[str, Any] = {
        "key": key,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "iteration": progress.iteration,
        "curve": progress.curve,
        "sums": progress.sums,
    }
    with saving(path) as part:
        torch.save(state, part)


def _resume(
    path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress | None:
    """Load a checkpoint of the same training; None when there is none or it belongs to another one."""
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise AnonbenchError(f"is no checkpoint that can be read ({error})", file=path, remedy="delete it") from error
    if state.get("key") != key:
        print(f"{path}: belongs to another training and is not used", file=sys.stderr)
        return None
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"{path}: continuing after iteration {state['iteration']}", file=sys.stderr)
    return Progress(state["iteration"], state["curve"], state["sums"])


@contextlib.contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Make torch refuse operations without a reproducible result, and restore its settings afterwards."""
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    benchmark, fill = torch.backends.cudnn.benchmark, memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted
    # only guards against reads of uninitialised memory, at the price of a write per allocation
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = fill
