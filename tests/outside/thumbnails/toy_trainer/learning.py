"""The network and its losses; imported where a training or a prediction runs."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import nn

from anonbench.learning.supervised import Supervised
from anonbench.recipe import Recipe
from anonbench.seeding import generator
from anonbench.train.data import Sample, VariantSplit, load_image
from toy_trainer import Settings

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Thumbnails float32 (n, 3, side, side), boxes float32 (n, 4) as shares of the image, labels int64 (n,) from 0."""


def network(settings: Settings, categories: int) -> nn.Module:
    """Return the untrained network: thumbnails to x0, y0, x1, y1 and a number for each category."""
    pixels = 3 * settings.side**2
    return nn.Sequential(
        nn.Flatten(), nn.Linear(pixels, settings.width), nn.LeakyReLU(), nn.Linear(settings.width, 4 + categories)
    )


def thumbnail(sample: Sample, side: int) -> torch.Tensor:
    """Return an image float32 (3, side, side), about zero."""
    return load_image(sample, (side, side)).float() / 64 - 1


class Learner(Supervised[Batch]):
    """The largest object of each image that has one."""

    smaller = "lower settings.side"

    def __init__(
        self, model: nn.Module, recipe: Recipe, seed: int, device: torch.device, variant: VariantSplit
    ) -> None:
        self.samples = [sample for sample in variant.samples if len(sample.boxes)]
        super().__init__(model, recipe, seed, device, len(self.samples))

    def batches(self, first: int) -> Generator[Batch, None, None]:
        for iteration in range(first, self.iterations):
            order = generator("order", self.seed, iteration).permutation(len(self.samples))
            chosen = [self.samples[i] for i in order[: self.recipe.batch_size]]
            targets = [self._largest(sample) for sample in chosen]
            images = torch.stack([thumbnail(sample, self.recipe.settings.side) for sample in chosen])
            yield images, torch.stack([box for box, _ in targets]), torch.tensor([label for _, label in targets])

    def _largest(self, sample: Sample) -> tuple[torch.Tensor, int]:
        boxes = torch.from_numpy(sample.boxes)
        index = int((boxes[:, 2:] - boxes[:, :2]).prod(1).argmax())
        size = torch.tensor([sample.width, sample.height] * 2)
        return boxes[index] / size, int(sample.labels[index]) - 1

    def size(self, batch: Batch) -> int:
        return len(batch[0])

    def part(self, batch: Batch, count: int) -> Batch:
        return batch[0][:count], batch[1][:count], batch[2][:count]

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        images, boxes, labels = (part.to(self.device) for part in batch)
        found = self.network(images)
        return {
            "loss_box": nn.functional.smooth_l1_loss(found[:, :4], boxes),
            "loss_class": nn.functional.cross_entropy(found[:, 4:], labels),
        }
