"""A trainer of action recognition: torchvision's video networks, or a small one for processors, on clips of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from anonbench.blocks import Fraction, Size
from anonbench.errors import AnonbenchError
from anonbench.provenance import code_hash
from anonbench.recipe import Recipe, Section
from anonbench.seeding import seed_of
from anonbench.tasks.action import ENTRIES, ClipScores
from anonbench.train.contract import Outputs, TrainedModel, Trainer

if TYPE_CHECKING:
    import torch

    from anonbench.train.contract import Weights
    from anonbench.train.data import Category, VariantSplit

Share = Annotated[float, Field(gt=0, le=1)]
Jitter = Annotated[float, Field(ge=0, lt=1)]


class Needs(NamedTuple):
    """What a network needs of its input: the fewest frames and the smallest side in pixels, and whether just these."""

    frames: int
    side: int
    exactly: bool = False


NETWORKS = {
    "r3d_18": Needs(1, 16),
    "mc3_18": Needs(1, 16),
    "r2plus1d_18": Needs(1, 16),
    "s3d": Needs(14, 224),
    "mvit_v1_b": Needs(16, 224, exactly=True),
    "swin3d_t": Needs(2, 4),
    "r3d_small": Needs(1, 16),
}
"""The networks; S3D ends with a pool over 2 x 7 x 7 cells of 8 x 32 x 32, MViT has an embedding of each place."""


class Settings(Section):
    """The network, and what it sees of a clip."""

    network: Literal["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "swin3d_t", "r3d_small"] = Field(
        "r3d_18",
        description="a video network of torchvision's, or `r3d_small`: R3D with the widths and depths below, for CPUs",
    )
    small_widths: tuple[Size, ...] = Field(
        (16, 32, 64), min_length=1, max_length=5, description="r3d_small: channels of each stage; from the second on "
        "each halves time and sides",
    )  # fmt: skip
    small_depths: tuple[Size, ...] = Field(
        (1, 1, 1), min_length=1, max_length=5, description="r3d_small: blocks of each stage"
    )
    frames: Size = Field(16, description="frames that the network sees at a time")
    stride: Size = Field(2, description="each n-th frame of the video is taken")
    height: Size = Field(112, description="height of the network's input in pixels")
    width: Size = Field(112, description="width of the network's input in pixels")
    crop: tuple[Share, Share] = Field(
        (0.7, 1.0),
        description="smallest and largest training crop, as a share of the sides of the largest rectangle of the "
        "input's shape that fits into the frame; drawn once for a clip, like its place",
    )
    test_crop: Share = Field(0.875, description="the crop in prediction, likewise, from the middle")
    test_clips: Size = Field(
        3, description="stretches of the video, at equal distances, whose probabilities are averaged in prediction"
    )
    horizontal_flip: Fraction = Field(
        0.5,
        description="probability that a training clip is mirrored; set 0 where left and right are different actions",
    )
    brightness: Jitter = Field(
        0.0, description="largest change of a training clip's brightness, as a share; drawn once for a clip"
    )
    contrast: Jitter = Field(
        0.0, description="largest change of a training clip's contrast, as a share; drawn once for a clip"
    )
    short_clips: Literal["refuse", "repeat"] = Field(
        "refuse",
        description="what to do about a video that is shorter than (frames - 1) * stride + 1: stop, or begin it again",
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of a label that is spread over all actions"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.crop[0] > self.crop[1]:
            raise ValueError(f"crop: the smallest, {self.crop[0]:g}, is above the largest, {self.crop[1]:g}")
        if len(self.small_widths) != len(self.small_depths):
            raise ValueError("small_widths and small_depths differ in length")
        needs = NETWORKS[self.network]
        sides = (self.height, self.width)
        if needs.exactly and (self.frames != needs.frames or set(sides) != {needs.side}):
            raise ValueError(f"{self.network} takes {needs.frames} frames of {needs.side} x {needs.side} pixels alone")
        if self.frames < needs.frames or min(sides) < needs.side:
            raise ValueError(
                f"{self.network} needs {needs.frames} frames or more, of {needs.side} x {needs.side} pixels or more"
            )
        return self


class Clips(Trainer):
    """Networks that see a stretch of a video and name its action."""

    Settings = Settings
    tasks = ("action",)
    of_clips = True

    def check(self, recipe: Recipe) -> None:
        super().check(recipe)
        start = recipe.initialisation
        if start.kind == "coco":
            raise AnonbenchError(
                "is of detectors",
                entry="initialisation.kind",
                remedy="use backbone: all layers but the last, which starts at random, or checkpoint: all of them",
            )
        if start.pixels == "zoo":
            raise AnonbenchError(
                "video networks take RGB only", entry="initialisation.pixels", remedy="use rgb weights"
            )

    def require(self, recipe: Recipe) -> None:
        from anonbench.train import initialisation

        initialisation.check(recipe)

    def describe(self, recipe: Recipe) -> str:
        settings: Settings = recipe.settings
        return (
            f"{settings.network}, {settings.frames} frames at a stride of {settings.stride}, "
            f"{settings.width} x {settings.height} pixels"
        )

    def train(
        self, variant: VariantSplit, recipe: Recipe, seed: int, device: torch.device, checkpoint: Path | None
    ) -> TrainedModel:
        import torch

        from anonbench.learning.ahead import decoders
        from anonbench.learning.devices import deterministic
        from anonbench.learning.distributed import place
        from anonbench.learning.loop import run
        from anonbench.train import clip_models, initialisation
        from anonbench.train.clip_batches import Batches, Recogniser, check_clips
        from anonbench.train.loop import training_key

        check_clips(variant, recipe.settings)
        clip_models.check_start(recipe, variant)
        with deterministic(recipe.strict(device.type)):
            torch.manual_seed(seed_of("init", recipe.seeds.of("initialisation", seed)))
            model = clip_models.build(recipe, len(variant.actions))
            start = initialisation.initialise(model, clip_models.NAMES, recipe, variant.categories)
            model.to(device)
            key = training_key(recipe, start, variant, seed, device, code_hash(__name__))
            learner = Recogniser(model, Batches(variant, recipe, seed, place()), device, decoders(device))
            ran = run(learner, checkpoint, key)
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
        from anonbench.train import clip_batches, clip_models, inference

        clip_batches.check_lengths(variant.labelled, recipe.settings, variant.annotations)
        model = clip_models.build(recipe, len(variant.actions))
        inference.load(model, weights)
        model.to(device).eval()
        for clip, probabilities in clip_batches.recognised(model, variant, recipe, device):
            scores = dict(zip(variant.actions, probabilities, strict=True))
            yield {ENTRIES: [ClipScores(clip.id, clip.frames[0].id, scores)]}
