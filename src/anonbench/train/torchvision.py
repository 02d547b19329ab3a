"""The default trainer: torchvision's R-CNN family, on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from anonbench.errors import AnonbenchError
from anonbench.provenance import code_hash
from anonbench.recipe import Recipe
from anonbench.seeding import seed_of
from anonbench.tasks.detections import ENTRIES
from anonbench.train import rcnn
from anonbench.train.contract import Outputs, TrainedModel, Trainer

if TYPE_CHECKING:
    import torch

    from anonbench.train.contract import Weights
    from anonbench.train.data import Category, VariantSplit


class Torchvision(Trainer):
    """Faster, Mask and Keypoint R-CNN, or all three in one model, as the recipe's tasks say."""

    Settings = rcnn.Settings
    tasks = ("detection", "segmentation", "pose")

    def check(self, recipe: Recipe) -> None:
        super().check(recipe)
        rcnn.check(recipe)
        if recipe.initialisation.pixels == "zoo":
            raise AnonbenchError(
                "torchvision's models take RGB only", entry="initialisation.pixels", remedy="use rgb weights"
            )

    def require(self, recipe: Recipe) -> None:
        from anonbench.train import initialisation

        initialisation.check(recipe)

    def describe(self, recipe: Recipe) -> str:
        return rcnn.describe(recipe)

    def train(
        self, variant: VariantSplit, recipe: Recipe, seed: int, device: torch.device, checkpoint: Path | None
    ) -> TrainedModel:
        import torch

        from anonbench.learning.ahead import decoders
        from anonbench.learning.devices import deterministic
        from anonbench.learning.distributed import place
        from anonbench.train import initialisation, models
        from anonbench.train.loop import Batches, fit, training_key

        with deterministic(recipe.strict(device.type)):
            torch.manual_seed(seed_of("init", recipe.seeds.of("initialisation", seed)))
            model = models.build(recipe, variant.categories)
            start = initialisation.initialise(model, initialisation.TORCHVISION, recipe, variant.categories)
            model.to(device, memory_format=torch.channels_last)
            key = training_key(recipe, start, variant, seed, device, code_hash(__name__))
            ran = fit(model, Batches(variant, recipe, seed, place()), device, checkpoint, key, decoders(device))
        weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
        return TrainedModel(weights, ran.curve, start, ran.iterations, ran.images, ran.seconds, ran.loading_seconds)

    def predict(
        self,
        weights: Weights,
        categories: tuple[Category, ...],
        variant: VariantSplit,
        recipe: Recipe,
        device: torch.device,
    ) -> Iterator[Outputs]:
        import torch

        from anonbench.learning.light import import_torchvision

        import_torchvision()
        from anonbench.train import inference, models

        model = models.build(recipe, categories)
        inference.load(model, weights)
        model.to(device, memory_format=torch.channels_last).eval()
        for found in inference.detections(model, categories, variant, recipe, device):
            yield {ENTRIES: found}

    def versions(self) -> dict[str, str]:
        import numpy
        import scipy

        return {"numpy": numpy.__version__, "scipy": scipy.__version__}
