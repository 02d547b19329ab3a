"""The recipe of the codec's training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from anonbench.anonymize.recipes import CheckpointEvery, Determinism, FromPreset, Precision
from anonbench.blocks import Fraction, NonNegative, Positive, Size

HEADS, NOBODY = "heads", "nobody"
"""Whom a fit hides, as its weights say."""
LARGEST = 8192
"""Pixels along a side of what is learned from."""
PUBLISHED_LOSS: dict[str, Any] = {"heads": 0.6, "head_term": "inverse", "restorer": 0.0, "rate": 0.04}
"""Of arXiv 2406.05726. The defaults of `Loss` are ours."""


class Loss(FromPreset):
    """What is minimised: the sum of the terms, each times its factor."""

    model_config = ConfigDict(allow_inf_nan=False)
    presets: ClassVar = {"ours": {}, "published": PUBLISHED_LOSS}

    preset: Literal["ours", "published"] = Field(
        "ours",
        description="`published`: heads are pushed away from what they were (1 - MSE), which inverted colours satisfy "
        "best; `ours`: they are pushed away by no more than is enough, and a restorer that learns alongside must not "
        "bring them back.",
    )
    background: NonNegative = Field(1.0, description="Factor of the mean squared error (MSE) of the whole image.")
    people: NonNegative = Field(1.0, description="Factor of the MSE in people's boxes.")
    heads: NonNegative = Field(0.05, description="Factor of the term of heads; 0: a codec that hides nobody.")
    head_term: Literal["inverse", "bounded", "flat", "correlation"] = Field(
        "bounded",
        description="In each head's box: `inverse`: 1 - MSE, as published; `bounded`: max(0, 1 - MSE / margin), "
        "which asks for no more than the margin; `flat`: MSE to the box's mean colour; `correlation`: the squared "
        "correlation with what was there, which inverted colours do not lower.",
    )
    margin: float = Field(0.05, gt=0, le=1, description="MSE that is enough for `bounded`.")
    restorer: NonNegative = Field(
        0.02,
        description="Factor of the share of heads' variance that a network restores, which learns to do so from what "
        "is decoded, in turns with the codec; 0: there is none.",
    )
    rate: NonNegative = Field(0.006, description="Factor of the bits per pixel.")


PUBLISHED: dict[str, Any] = {
    "channels": 256,
    "hidden": 2,
    "loss": {"preset": "published"},
    "size": (512, 512),
    "sampling": "resize",
    "head_scale": 1.0,
    "batch_size": 14,
    "iterations": 30_000,
    "learning_rate": 0.0001,
    "density_rate": 0.0001,
    "gain": 1.0,
    "hide_from": 0.0,
    "hide_over": 0.0,
    "first_weights": 1.0,
    "last_rate": 1.0,
    "gradient_clip": None,
    "learn_steps": False,
    "flip": 0.0,
    "restorer_channels": 48,
    "checkpoint_every": 500,
    "choose_every": 1000,
}
"""arXiv 2406.05726 and its code: images of 512x512, batches of 14, Adam at 1e-4, 300 times 100 batches."""


class FitSettings(FromPreset):
    """How a codec is fitted; entries that are left out come from the preset."""

    model_config = ConfigDict(allow_inf_nan=False)
    presets: ClassVar = {
        "cpu": {},
        "published": PUBLISHED,
        "published-256-1": {**PUBLISHED, "hidden": 1},
        "published-128-2": {**PUBLISHED, "channels": 128},
    }
    own: ClassVar[dict[str, Any]] = {}
    """What a method has instead of the preset's."""

    preset: Literal["cpu", "published", "published-256-1", "published-128-2"] = Field(
        "cpu",
        description="`cpu`: a small codec, minutes on one core; `published`: the published training, of 256 channels "
        "and 2 hidden layers, on a GPU; `published-256-1` and `published-128-2`: the other published sizes.",
    )
    channels: int = Field(32, ge=1, le=1024, description="Channels of every layer and of the latents (N).")
    hidden: int = Field(
        1, ge=0, le=4, description="Hidden layers (M); a latent stands for 2^(M + 2) pixels along a side."
    )
    loss: Loss = Field(default_factory=lambda: Loss.model_validate({}), description="What is minimised.")
    noise: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Standard deviation of normal noise that is added to latents before they are rounded, in training "
        "and whenever an image is encoded: what is fainter than it cannot be restored without the study's seed.",
    )
    gain: float = Field(
        16.0,
        ge=0.001,
        le=1000,
        description="What latents are multiplied by before they are rounded, and divided by after it, so that a short "
        "training begins with latents that stand out.",
    )
    steps: list[float] = Field(
        [1.0, 1.5, 2.0, 3.0, 4.0],
        min_length=1,
        max_length=16,
        description="Steps that latents can be rounded to; a larger one gives fewer bits and less quality.",
    )
    learn_steps: bool = Field(
        True, description="Draw one of the steps for each batch; otherwise the first is learned and the others follow."
    )
    size: tuple[int, int] = Field((96, 96), description="Width and height of what is learned from, in pixels.")
    sampling: Literal["crop", "resize"] = Field(
        "crop",
        description="`crop`: a window of an image as it is; `resize`: the whole image at that size, as published.",
    )
    aimed: Fraction = Field(0.6, description="Share of the windows that are laid around somebody's head.")
    head_scale: float = Field(
        1.3, gt=0, le=4, description="By how much sides of face boxes are multiplied to be a head's."
    )
    batch_size: Size = Field(4, description="Images in one step.")
    iterations: Size = Field(5000, description="Steps of the optimiser.")
    learning_rate: Positive = Field(0.002, description="Adam's.")
    density_rate: Positive = Field(0.005, description="Adam's learning rate for the density of the latents.")
    last_rate: Fraction = Field(0.05, description="Share of the learning rates at the end, reached by a half cosine.")
    restorer_rate: Positive = Field(0.001, description="Adam's learning rate for the restorer.")
    restorer_channels: int = Field(12, ge=1, le=512, description="Channels of the restorer.")
    gradient_clip: Positive | None = Field(10.0, description="Norm that gradients are clipped to; null: they are not.")
    hide_from: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Share of the training before heads count: what can be seen nowhere cannot be hidden somewhere.",
    )
    hide_over: Fraction = Field(
        0.4,
        description="Share of the training over which the factors of heads rise to what they are, after `hide_from`: "
        "all at once, the optimiser, whose steps are those for small gradients, loses what was learned.",
    )
    first_weights: float = Field(
        2.0,
        gt=0,
        le=10,
        description="What first weights of convolutions are multiplied by (all but the last layer's), so that GDN has "
        "something to normalise from the start.",
    )
    flip: Fraction = Field(0.5, description="Probability of mirroring an image.")
    held_out: float = Field(
        0.1, ge=0, lt=1, description="Share of the split's images that are not learned from and on which weights are "
        "chosen; 0: the last weights are taken.",
    )  # fmt: skip
    held_out_most: Size = Field(64, description="Held-out images that are looked at, at most.")
    choose_every: Size = Field(250, description="Steps between two looks at held-out images.")
    choose_from: Fraction = Field(
        0.5,
        description="Share of the training before the first look, when a restorer knows little; `hide_from` at least.",
    )
    max_images: int | None = Field(None, ge=2, description="Images of the split, at most, drawn by the seed.")
    precision: Precision = "fp32"
    determinism: Determinism = "auto"
    checkpoint_every: CheckpointEvery = 250

    @classmethod
    def completed(cls, preset: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that are given, what the method has instead of the preset's, and those of the preset."""
        parts = [preset, cls.own, values]
        joined = {name: value for part in parts for name, value in part.items()}
        losses = [part["loss"] for part in parts if "loss" in part]
        if losses and all(isinstance(loss, dict) for loss in losses):
            joined["loss"] = {name: value for loss in losses for name, value in loss.items()}
        return joined

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        stride = 2 ** (self.hidden + 2)
        if min(self.size) < stride or max(self.size) > LARGEST or any(side % stride for side in self.size):
            raise ValueError(f"size: sides must be multiples of {stride} (2^(hidden + 2)), {LARGEST} at most")
        if len(set(self.steps)) != len(self.steps) or not all(0.05 <= step <= 100 for step in self.steps):
            raise ValueError("steps: each must be named once and lie in 0.05..100")
        if self.hide_from + self.hide_over > 1:
            raise ValueError(
                f"hide_over: heads would never count in full: after hide_from ({self.hide_from:g}) are "
                f"{1 - self.hide_from:g} of the training left, not {self.hide_over:g}"
            )
        return self
