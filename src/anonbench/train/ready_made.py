"""A model that needs no training: a detector of faces or people, as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from anonbench import registry
from anonbench.blocks import Strict
from anonbench.detectors import base
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError
from anonbench.recipe import Recipe
from anonbench.train.contract import Outputs, TrainedModel, Trainer

if TYPE_CHECKING:
    import torch

    from anonbench.train.contract import Weights
    from anonbench.train.data import Category, VariantSplit

FINDS: dict[base.Finds, str] = {"face": "faces", "person": "people"}
"""The task of what a detector finds."""


class Settings(Strict):
    """A detector, and what it was fitted on."""

    detector: DetectorConfig = Field(description="the detector: plugin, options, scales, tile, overlap, nms")
    seen: tuple[str, ...] | None = Field(
        None, description="data sets whose images the detector was fitted on; [] for none, null where nobody knows"
    )


class ReadyMade(Trainer):
    """A detector plugin as a model: nothing is trained, and its predictions are what it finds."""

    Settings = Settings
    tasks = tuple(FINDS.values())
    trains: ClassVar[bool] = False

    def check(self, recipe: Recipe) -> None:
        super().check(recipe)
        config: DetectorConfig = recipe.settings.detector
        if issubclass(base.load(config.plugin), base.StoredDetections):
            raise AnonbenchError(
                f"'{config.plugin}' looks at no image, so that it would say the same of every variant",
                entry="settings.detector.plugin",
                remedy="name a detector that looks at images",
            )
        can = FINDS[config.finds]
        for task in recipe.tasks:
            if task != can:
                raise AnonbenchError(
                    f"the detector {config.plugin} cannot do {task}", entry="tasks", remedy=f"set tasks: [{can}]"
                )

    def require(self, recipe: Recipe) -> None:
        _detector(recipe)

    def seen(self, recipe: Recipe) -> tuple[str, ...] | None:
        said: tuple[str, ...] | None = recipe.settings.seen
        return said

    def modules(self, recipe: Recipe) -> list[str]:
        return [registry.module("detectors", recipe.settings.detector.plugin)]

    def files(self, recipe: Recipe) -> list[Path]:
        config: DetectorConfig = recipe.settings.detector
        return config.files

    def train(
        self, variant: VariantSplit, recipe: Recipe, seed: int, device: torch.device, checkpoint: Path | None
    ) -> TrainedModel:
        seen = self.seen(recipe)
        start = {"kind": "ready_made", "seen": None if seen is None else list(seen), **_identity(_detector(recipe))}
        return TrainedModel({}, [], start, 0, 0, 0.0, 0.0)

    def confirm(self, recipe: Recipe, start: dict[str, Any]) -> None:
        for key, value in _identity(_detector(recipe)).items():
            if value != start.get(key):
                name = recipe.settings.detector.plugin
                raise AnonbenchError(
                    f"{key} of the detector {name}: {value}, not {start.get(key)} as train.json says",
                    remedy="run the train stage again",
                )

    def predict(
        self,
        weights: Weights,
        categories: tuple[Category, ...],
        variant: VariantSplit,
        recipe: Recipe,
        device: torch.device,
    ) -> Iterator[Outputs]:
        import cv2

        from anonbench.detectors.engine import detect, inside

        cv2.setNumThreads(1)  # what is found must not depend on the number of cores
        detector, config = _detector(recipe), recipe.settings.detector
        key = FINDS[detector.finds]
        for sample in variant.samples:
            pixels = sample.pixels()
            found = inside(detect(detector, pixels, config), sample.width, sample.height)
            yield {key: [(sample.id, row) for row in found]}

    def versions(self) -> dict[str, str]:
        import cv2

        return {"opencv": cv2.__version__}


def _identity(detector: base.Detector) -> dict[str, Any]:
    """Return what tells a detector from another: its version and the hashes of its weights."""
    return {"detector": detector.version, "weights": [list(entry) for entry in detector.weights]}


def _detector(recipe: Recipe) -> base.Detector:
    """Return the recipe's detector; raise AnonbenchError when what it needs is not on this machine."""
    config: DetectorConfig = recipe.settings.detector
    detector = base.make(config.plugin, config.options)
    assert isinstance(detector, base.Detector)
    return detector
