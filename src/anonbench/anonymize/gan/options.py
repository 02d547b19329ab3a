"""The recipe of the generator's training."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from anonbench.anonymize.recipes import CheckpointEvery, Determinism, FromPreset, LearningRate, Precision, SamplesEvery
from anonbench.blocks import Fraction, NonNegative, Positive, Size
from anonbench.records import RegionKind

CPU: dict[str, Any] = {}
"""Minutes on one core: small crops, few channels, a reconstruction start. The defaults of `FitSettings`."""

PUBLISHED: dict[str, Any] = {
    "face_size": (128, 128),
    "body_size": (160, 288),
    "stem": 1,
    "channels": [64, 128, 256, 512, 512],
    "discriminator_channels": [64, 128, 256, 512, 512],
    "style_channels": 512,
    "latent_channels": 64,
    "batch_size": 32,
    "face_iterations": 200_000,
    "body_iterations": 200_000,
    "warmup": 0.02,
    "learning_rate": 0.002,
    "discriminator_rate": 1.0,
    "ema_images": 10_000,
    "r1": 1.0,
    "min_pixels": 32,
    "precision": "bf16",
    "checkpoint_every": 2_000,
    "samples_every": 5_000,
}
"""The published crops (faces 128x128, bodies 288x160) for a GPU."""


class FitSettings(FromPreset):
    """How the generator is fitted; entries that are left out come from the preset."""

    presets: ClassVar = {"cpu": CPU, "published": PUBLISHED}

    preset: Literal["cpu", "published"] = Field(
        "cpu",
        description="`cpu`: two to three minutes on one core; `published`: the published crop sizes, on a GPU.",
    )
    face_size: tuple[int, int] = Field((32, 32), description="Width and height of a face's crop in pixels.")
    body_size: tuple[int, int] = Field((40, 72), description="Width and height of a body's crop in pixels.")
    stem: Literal[1, 2, 4] = Field(
        2, description="Side of the blocks of pixels that the networks see as one (space to depth)."
    )
    channels: list[int] = Field(
        [32, 64, 96], min_length=1, description="Channels of the generator, finest level first."
    )
    discriminator_channels: list[int] = Field(
        [32, 64, 96], min_length=1, description="Channels of the discriminator, finest level first."
    )
    palette: int = Field(9, ge=0, description="Colours of a style beside one for each part of a person.")
    latent_channels: Size = Field(48, description="Numbers in a latent z.")
    style_channels: Size = Field(64, description="Numbers in a style w.")
    batch_size: int = Field(8, ge=2, description="Crops in one step.")
    face_iterations: Size = Field(1300, description="Steps for faces.")
    body_iterations: Size = Field(1050, description="Steps for bodies.")
    warmup: Fraction = Field(0.35, description="Share of the steps that reconstruct only, before the adversarial.")
    learning_rate: LearningRate = 0.012
    discriminator_rate: Positive = Field(0.8, description="The discriminator's learning rate over the generator's.")
    betas: tuple[float, float] = Field((0.5, 0.99), description="Adam's.")
    adversarial: NonNegative = Field(1.0, description="Weight of the non-saturating logistic loss.")
    reconstruction: NonNegative = Field(10.0, description="Weight of L1 to the person whose own latent was used.")
    context: NonNegative = Field(1.0, description="Weight of L1 outside the mask.")
    features: NonNegative = Field(4.0, description="Weight of matching the discriminator's features.")
    kl: NonNegative = Field(0.0005, description="Weight of the latents' divergence from a standard normal, per number.")
    r1: NonNegative = Field(
        0.1,
        description="Gamma of the R1 penalty; StyleGAN2-ADA's rule of thumb is 0.0002 x pixels of a crop / batch_size.",
    )
    r1_every: Size = Field(16, description="Steps between two R1 penalties.")
    ema_images: NonNegative = Field(600.0, description="Images after which the averaged weights forgot half.")
    clusters: Size = Field(48, description="Cluster centres of the style space, at most.")
    flip: Fraction = Field(0.5, description="Probability of mirroring a crop.")
    keypoint_dropout: Fraction = Field(0.05, description="Probability of hiding all keypoints of a person.")
    min_pixels: Size = Field(8, description="People whose box is less high than this are not learned from.")
    max_people: int | None = Field(None, ge=2, description="People who are learned from, at most, drawn by the seed.")
    precision: Precision = "fp32"
    determinism: Determinism = "auto"
    checkpoint_every: CheckpointEvery = 100
    samples_every: SamplesEvery = 310

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        deepest = self.stem * 2 ** (max(len(self.channels), len(self.discriminator_channels)) - 1)
        for name in ("face_size", "body_size"):
            width, height = getattr(self, name)
            if min(width, height) < deepest or width % self.stem or height % self.stem:
                raise ValueError(f"{name}: sides must be multiples of {self.stem} and at least {deepest}")
        return self

    def iterations(self, kind: RegionKind) -> int:
        """Return the steps for a kind."""
        return self.face_iterations if kind is RegionKind.FACE else self.body_iterations

    def size(self, kind: RegionKind) -> tuple[int, int]:
        """Return width and height of a kind's crop."""
        return self.face_size if kind is RegionKind.FACE else self.body_size
