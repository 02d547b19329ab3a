"""The published study's trainer: detectron2's Faster, Mask and Keypoint R-CNN (github.com/facebookresearch/detectron2).

The model, its losses, its sampling of regions and its initial weights are detectron2's, configured from its model zoo's
files with the recipe laid over them (`detectron2_config`). Reading images, augmentation, order, optimiser, schedule,
checkpoints and predictions are those of every trainer (`data`, `loop`, `inference`), so that two trainings differ in
the model alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from anonbench.errors import AnonbenchError
from anonbench.files import write_text
from anonbench.provenance import code_hash
from anonbench.recipe import Recipe
from anonbench.seeding import seed_of
from anonbench.tasks.detections import ENTRIES
from anonbench.train import detectron2_config, rcnn
from anonbench.train.contract import Outputs, TrainedModel, Trainer

if TYPE_CHECKING:
    import torch

    from anonbench.train.contract import Weights
    from anonbench.train.data import Category, VariantSplit

CONFIG = "detectron2.yaml"
INSTALL = "install it as docs/detectron2.md says, or set trainer: torchvision"


class Settings(rcnn.Settings):
    """The network, and what it is shown; and where the rest comes from."""

    zoo: str | None = Field(
        None,
        description="file of detectron2's model zoo that gives what no other entry says; chosen by tasks and backbone "
        "unless given",
    )


class Detectron2(Trainer):
    """detectron2's R-CNN family with a ResNet and a feature pyramid."""

    Settings = Settings
    tasks = ("detection", "segmentation", "pose")

    def check(self, recipe: Recipe) -> None:
        super().check(recipe)
        rcnn.check(recipe)
        detectron2_config.check(recipe)

    def require(self, recipe: Recipe) -> None:
        from anonbench.train import initialisation

        require()
        initialisation.check(recipe)
        detectron2_config.require(recipe)

    def describe(self, recipe: Recipe) -> str:
        return rcnn.describe(recipe)

    def train(
        self, variant: VariantSplit, recipe: Recipe, seed: int, device: torch.device, checkpoint: Path | None
    ) -> TrainedModel:
        require(device)
        import torch

        from anonbench.learning.ahead import decoders
        from anonbench.learning.devices import deterministic
        from anonbench.learning.distributed import place
        from anonbench.train import detectron2_models as models
        from anonbench.train import initialisation
        from anonbench.train.loop import Batches, fit, training_key

        config = detectron2_config.build(recipe, variant.categories, len(variant.samples), models.register(variant))
        if checkpoint is not None and place().rank == 0:
            write_text(checkpoint.parent / CONFIG, config.dump())
        with deterministic(recipe.strict(device.type)):
            torch.manual_seed(seed_of("init", recipe.seeds.of("initialisation", seed)))
            network = models.Network(config, variant.categories)
            start = initialisation.initialise(network.model, initialisation.DETECTRON2, recipe, variant.categories)
            network.to(device)
            key = training_key(recipe, start, variant, seed, device, code_hash(__name__))
            ran = fit(network, Batches(variant, recipe, seed, place()), device, checkpoint, key, decoders(device))
        weights = {name: value.detach().cpu() for name, value in network.model.state_dict().items()}
        return TrainedModel(weights, ran.curve, start, ran.iterations, ran.images, ran.seconds, ran.loading_seconds)

    def predict(
        self,
        weights: Weights,
        categories: tuple[Category, ...],
        variant: VariantSplit,
        recipe: Recipe,
        device: torch.device,
    ) -> Iterator[Outputs]:
        require(device)
        from anonbench.train import detectron2_models as models
        from anonbench.train import inference

        network = models.Network(detectron2_config.build(recipe, categories), categories)
        inference.load(network.model, weights)
        network.to(device).eval()
        for found in inference.detections(network, categories, variant, recipe, device):
            yield {ENTRIES: found}

    def launch(self, function: Callable[..., None], processes: int, arguments: tuple[Any, ...]) -> None:
        """Start the processes with detectron2's launcher: nccl where there are GPUs, else gloo."""
        import torch

        if torch.cuda.is_available() and "cuda" not in arguments:  # it would take nccl
            super().launch(function, processes, arguments)
            return
        from detectron2.engine.launch import launch

        launch(function, processes, dist_url="auto", args=arguments)

    def versions(self) -> dict[str, str]:
        import detectron2

        return {"detectron2": detectron2.__version__}


def require(device: torch.device | None = None) -> None:
    """Raise AnonbenchError when detectron2 is missing, was built for another torch or, for a GPU, without CUDA."""
    import torch

    try:
        import detectron2
    except ImportError as error:
        raise AnonbenchError(f"detectron2 is not installed ({error})", entry="recipe trainer", remedy=INSTALL) from None
    try:
        from detectron2 import _C
    except ImportError as error:
        raise AnonbenchError(
            f"detectron2 {detectron2.__version__} was built for another torch than {torch.__version__}, which is "
            f"installed ({str(error).splitlines()[0]})",
            entry="recipe trainer",
            remedy="build or install it again for this torch (docs/detectron2.md), or set trainer: torchvision",
        ) from None
    if device is not None and device.type == "cuda" and not _C.has_cuda():
        raise AnonbenchError(
            f"detectron2 {detectron2.__version__} was built without CUDA",
            entry="--device cuda",
            remedy=f"build it where torch {torch.__version__} finds the CUDA {torch.version.cuda} toolkit, or use "
            "--device cpu",
        )
