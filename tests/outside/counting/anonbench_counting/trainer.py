"""A trainer: ridge regression from a thumbnail's grey levels to the number of people."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from pydantic import Field

from anonbench.blocks import Strict
from anonbench.recipe import Recipe
from anonbench.train.contract import Outputs, TrainedModel, Trainer

if TYPE_CHECKING:
    import torch

    from anonbench.train.contract import Weights
    from anonbench.train.data import Category, VariantSplit


class Settings(Strict):
    """What the regression sees."""

    side: int = Field(8, ge=1, le=64, description="side of the thumbnail, in pixels")
    ridge: float = Field(0.1, gt=0, description="penalty of the squared coefficients")


class Counter(Trainer):
    """Counts people without finding any."""

    Settings = Settings
    tasks = ("counting",)

    def train(
        self, variant: VariantSplit, recipe: Recipe, seed: int, device: torch.device, checkpoint: Path | None
    ) -> TrainedModel:
        """Solve the normal equations."""
        import torch

        started = time.perf_counter()
        seen = np.stack([self._thumbnail(sample.path, recipe) for sample in variant.samples])
        people = [category.person for category in variant.categories]
        counts = [sum(people[label - 1] for label in sample.labels) for sample in variant.samples]
        left = seen.T @ seen + recipe.settings.ridge * np.eye(seen.shape[1])
        weights = {"coefficients": torch.from_numpy(np.linalg.solve(left, seen.T @ np.array(counts, float)))}
        loss = float(np.mean(np.abs(seen @ weights["coefficients"].numpy() - counts)))
        curve = [{"iteration": 1, "learning_rate": 1.0, "loss": loss}]
        start = {"kind": "scratch", "seen": []}
        return TrainedModel(weights, curve, start, 1, len(seen), time.perf_counter() - started, 0.0)

    def predict(
        self,
        weights: Weights,
        categories: tuple[Category, ...],
        variant: VariantSplit,
        recipe: Recipe,
        device: torch.device,
    ) -> Iterator[Outputs]:
        """Yield each image's count."""
        for sample in variant.samples:
            count = self._thumbnail(sample.path, recipe) @ weights["coefficients"].numpy()
            yield {"counts": [(sample.id, max(0.0, float(count)))]}

    @staticmethod
    def _thumbnail(file: Path, recipe: Recipe) -> np.ndarray:
        side = recipe.settings.side
        grey = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).ravel() / 255
        return np.append(small, 1.0)
