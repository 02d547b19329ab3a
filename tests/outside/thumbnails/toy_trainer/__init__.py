"""A trainer as somebody else's package has it: from a thumbnail of an image to the box of its largest object."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError
from anonbench.provenance import code_hash
from anonbench.recipe import Recipe
from anonbench.seeding import seed_of
from anonbench.tasks.detections import ENTRIES, Detection
from anonbench.train.contract import Outputs, TrainedModel, Trainer

if TYPE_CHECKING:
    import torch

    from anonbench.train.contract import Weights
    from anonbench.train.data import Category, VariantSplit


class Settings(Strict):
    """The network."""

    side: int = Field(16, ge=4, description="side of the thumbnail in pixels")
    width: int = Field(16, ge=1, description="units of the hidden layer")


class Thumbnails(Trainer):
    """Two layers that name one box per image."""

    Settings = Settings
    tasks = ("detection",)

    def check(self, recipe: Recipe) -> None:
        super().check(recipe)
        if recipe.initialisation.kind != "scratch":
            raise AnonbenchError("thumbnails start from scratch", entry="initialisation.kind", remedy="leave it out")

    def train(
        self, variant: VariantSplit, recipe: Recipe, seed: int, device: torch.device, checkpoint: Path | None
    ) -> TrainedModel:
        import torch

        from anonbench.learning.devices import deterministic
        from anonbench.learning.files import key_of
        from anonbench.learning.loop import run
        from toy_trainer import learning

        with deterministic(recipe.strict(device.type)):
            torch.manual_seed(seed_of("init", recipe.seeds.of("initialisation", seed)))
            model = learning.network(recipe.settings, len(variant.categories)).to(device)
            key = key_of(recipe.model_dump(mode="json"), variant.sha256, seed, device.type, code_hash(__name__))
            ran = run(learning.Learner(model, recipe, seed, device, variant), checkpoint, key)
        weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
        start: dict[str, Any] = {"kind": "scratch", "seen": []}
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

        from toy_trainer import learning

        model = learning.network(recipe.settings, len(categories)).to(device)
        model.load_state_dict(weights)
        for sample in variant.samples:
            with torch.inference_mode():
                found = model(learning.thumbnail(sample, recipe.settings.side)[None].to(device))[0].cpu().numpy()
            scale = np.array([sample.width, sample.height] * 2)
            box = np.clip(found[:4], 0, 1) * scale
            label = int(found[4:].argmax())
            score = float(1 / (1 + np.exp(-found[4:][label])))
            yield {ENTRIES: [Detection(sample.id, categories[label].id, box, score)]}
