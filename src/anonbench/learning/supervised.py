"""A network that learns from a sum of losses, as a recipe describes it: the commonest `Learner`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from anonbench.errors import AnonbenchError
from anonbench.learning import distributed, memory, optimizers
from anonbench.learning.distributed import Place
from anonbench.learning.loop import LEAST_SCALE, Batch, Learner, diverged, finite
from anonbench.learning.schedules import learning_rate
from anonbench.recipe import Recipe
from anonbench.seeding import seed_of

DIVERGED: dict[str, Any] = {
    "entry": "recipe base_learning_rate",
    "remedy": "lower it, lengthen warmup_iterations or set gradient_clip",
}


def optimizer_for(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser; only weight matrices and filters decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return optimizers.AdamW(groups, lr=recipe.learning_rate(), betas=(recipe.momentum, 0.999), fused=True)
    # a fused SGD whose first step overflows, as with fp16 it does, goes on with a momentum of unwritten memory
    fused = recipe.precision != "fp16"
    return optimizers.SGD(groups, lr=recipe.learning_rate(), momentum=recipe.momentum, fused=fused)


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """Return the context of the recipe's precision."""
    half = torch.float16 if recipe.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, half, enabled=recipe.precision != "fp32")


class Supervised(Learner[Batch]):
    """One network and one optimiser; the sum of the loss terms is minimised.

    A subclass says what a batch is (`batches`, `size`, `part`) and its losses. In a group of processes each takes its
    share of every batch (DistributedDataParallel).
    """

    name = "train"
    things = "images"
    """What batches are made of, as a message: "images"."""
    smaller = ""
    """What makes a step take less memory, beside a smaller batch, as a remedy: "lower settings.max_size"."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        samples: int,
        place: Place | None = None,
    ) -> None:
        """Prepare the training of ``model``, which is on the device, on ``samples`` samples.

        Raises AnonbenchError for a batch that the processes cannot share, and for fp16 without a GPU.
        """
        self.place = place or distributed.place()
        if recipe.batch_size % self.place.size:
            raise AnonbenchError(
                f"{recipe.batch_size} {self.things} cannot be shared equally by {self.place.size} processes",
                entry="recipe batch_size",
            )
        if recipe.precision == "fp16" and device.type != "cuda":
            raise AnonbenchError("fp16 needs a GPU", entry="recipe precision", remedy="use fp32 or bf16")
        self.model, self.network, self.recipe, self.seed, self.device = model, model, recipe, seed, device
        self.iterations, self.checkpoint_every = recipe.total_iterations(samples), recipe.checkpoint_every
        model.train()
        self.optimizer = optimizer_for(model, recipe)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the loss terms (scalars, on the device) of ``self.network`` on a batch; called under autocast."""

    @abstractmethod
    def part(self, batch: Batch, count: int) -> Batch:
        """Return ``count`` of a batch's samples, those that take most memory."""

    def parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler}

    def begin(self) -> None:
        if self.place.size > 1:
            own = [self.device.index] if self.device.type == "cuda" else None
            # a branch without regions in one process takes no part in its step
            self.network = DistributedDataParallel(self.model, device_ids=own, find_unused_parameters=True)

    def rate(self, iteration: int) -> float:
        """Return the learning rate of an iteration (0-based)."""
        return learning_rate(self.recipe, iteration, self.iterations)

    def rates(self, iteration: int) -> Sequence[tuple[torch.optim.Optimizer, float]]:
        return [(self.optimizer, self.rate(iteration))]

    def facts(self, iteration: int) -> dict[str, float]:
        return {"learning_rate": round(self.rate(iteration), 9)}

    def shown(self, losses: dict[str, float], iteration: int) -> dict[str, str]:
        return {"loss": f"{sum(losses.values()):.3f}", "lr": f"{self.rate(iteration):.2g}"}

    def step(self, batch: Batch, iteration: int) -> dict[str, float]:
        rank = (self.place.rank,) if self.place.rank else ()
        torch.manual_seed(seed_of("sample", self.recipe.seeds.of("sampling", self.seed), iteration, *rank))
        try:
            with autocast(self.recipe, self.device):
                terms = self.losses(batch)
            loss = torch.stack(list(terms.values()))
            values = distributed.mean(dict(zip(terms, loss.tolist(), strict=True)), self.device)
            finite(values, iteration, **DIVERGED)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss.sum()).backward()
            if self.recipe.gradient_clip is not None:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.scaler.is_enabled() and self.scaler.get_scale() < LEAST_SCALE:
                raise diverged("gradients are not finite at any scale", iteration, **DIVERGED)
        except FloatingPointError as error:  # detectron2's, at proposals that are not finite
            raise diverged(str(error).strip(), iteration, **DIVERGED) from None
        return values

    def out_of_memory(self, batch: Batch, iteration: int) -> AnonbenchError:
        """Say which batch is worth a try: the largest that fits, or, in a group of processes, the half."""
        count = self.size(batch) // self.place.size
        tried: int | None = None
        if self.place.size == 1:  # the hooks of DistributedDataParallel would wait for the other processes
            tried = self.largest(batch)
        worth = (count // 2 if tried is None else tried) * self.place.size
        remedy = ""
        if worth:
            rate = self.recipe.model_copy(update={"batch_size": worth}).learning_rate()
            remedy = f"set batch_size: {worth} (the linear rule then gives the learning rate {rate:g})"
        return memory.advice(
            f"{count} {self.things}", iteration, self.device, tried, entry="recipe batch_size", remedy=remedy,
            instead=self.smaller or "take a smaller network",
        )  # fmt: skip

    def largest(self, batch: Batch) -> int:
        """Return how many samples a step takes after ``batch`` was too large: half, a quarter, ... or 1; 0 if not one.

        Each try is a forward and a backward pass, with the memory that the optimiser will ask for. The gradients are
        gone afterwards; running statistics are those of the tries.
        """
        return memory.largest(self.size(batch), lambda count: self._fits(self.part(batch, count)))

    def _fits(self, batch: Batch) -> bool:
        """Tell whether a step on a batch has the memory that it needs."""

        def passes() -> None:
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            copies = 2 if self.recipe.optimizer == "adamw" else 1
            # the optimiser takes its memory at the end of its first step
            state = [torch.empty_like(p) for p in trained if p not in self.optimizer.state for _ in range(copies)]
            with autocast(self.recipe, self.device):
                terms = self.losses(batch)
            torch.stack(list(terms.values())).sum().backward()
            del state

        self.optimizer.zero_grad(set_to_none=True)
        try:
            return memory.suffices(passes, self.device)
        finally:
            self.optimizer.zero_grad(set_to_none=True)
