"""Detectors in the training loop: the batches of a variant, and the losses of a network that detects."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from anonbench.learning import distributed
from anonbench.learning.ahead import ahead
from anonbench.learning.files import key_of
from anonbench.learning.loop import Ran, run
from anonbench.learning.supervised import Supervised
from anonbench.recipe import Recipe
from anonbench.seeding import generator
from anonbench.train.data import Target, VariantSplit, input_size, load_image, load_target

Batch = tuple[list[torch.Tensor], list[Target]]
ALONE = distributed.Place()


@dataclass(frozen=True, slots=True)
class Batches:
    """The training batches of a variant: ``batches[i]`` is that of iteration ``i``, whatever came before.

    Of several processes each has its share of every batch (see `share_of`).
    """

    variant: VariantSplit
    recipe: Recipe
    seed: int
    place: distributed.Place = ALONE

    def __getitem__(self, iteration: int) -> Batch:
        """Return the uint8 (3, h, w) images and the targets (see `data`) of one iteration."""
        settings = self.recipe.settings
        epoch, share = share_of(len(self.variant.samples), self.recipe, self.seed, iteration, self.place)
        images, targets = [], []
        for index in share:
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
        return ahead(self.__getitem__, first, last, threads)


def share_of(count: int, recipe: Recipe, seed: int, iteration: int, place: distributed.Place) -> tuple[int, list[int]]:
    """Return the epoch of an iteration and which of ``count`` samples are this process's share of its batch.

    Each epoch has an order of its own, and its last batch may be short; several processes fill it up with its own first
    samples, so that each has at least one.
    """
    size = recipe.batch_size
    epoch, number = divmod(iteration, -(-count // size))
    whole = generator("order", recipe.seeds.of("order", seed), epoch).permutation(count)
    whole = whole[number * size : (number + 1) * size]
    if place.size > 1:
        whole = np.resize(whole, -(-len(whole) // place.size) * place.size)
    return epoch, whole[place.rank :: place.size].tolist()


def training_key(
    recipe: Recipe, initialisation: dict[str, Any], variant: VariantSplit, seed: int, device: torch.device, code: str
) -> str:
    """Return what must agree for a checkpoint to be continued; ``code`` is the hash of the trainer's sources."""
    what = [recipe.model_dump(mode="json"), initialisation, variant.sha256, variant.images_digest, seed]
    return key_of(*what, device.type, code, distributed.place().size)


class Detector(Supervised[Batch]):
    """A network that takes images and targets (see `data`) and returns a dict of losses."""

    smaller = "lower settings.max_size, or settings.architecture.box_samples"

    def __init__(self, model: nn.Module, batches: Batches, device: torch.device, ahead: int = 0) -> None:
        samples = len(batches.variant.samples)
        super().__init__(model, batches.recipe, batches.seed, device, samples, batches.place)
        self.data, self.ahead = batches, ahead

    def batches(self, first: int) -> Generator[Batch, None, None]:
        return self.data.ahead(first, self.iterations, self.ahead)

    def size(self, batch: Batch) -> int:
        return len(batch[0]) * self.place.size

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        images = [image.to(self.device, non_blocking=True) for image in batch[0]]
        targets = [{name: value.to(self.device, non_blocking=True) for name, value in t.items()} for t in batch[1]]
        terms: dict[str, torch.Tensor] = self.network(images, targets)
        return terms

    def part(self, batch: Batch, count: int) -> Batch:
        images, targets = batch
        order = sorted(range(len(images)), key=lambda i: images[i].numel(), reverse=True)[:count]
        return [images[i] for i in order], [targets[i] for i in order]


def fit(
    model: nn.Module, batches: Batches, device: torch.device, checkpoint: Path | None, key: str, ahead: int = 0
) -> Ran:
    """Train ``model`` in place, on the batches of its recipe; ``ahead`` threads decode ahead (0: this one).

    See `learning.loop.run` for checkpoints and errors.
    """
    return run(Detector(model, batches, device, ahead), checkpoint, key)
