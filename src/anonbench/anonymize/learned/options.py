"""The recipe of a learned anonymizer's training."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from anonbench.anonymize.recipes import CheckpointEvery, FromPreset, LearningRate, SamplesEvery
from anonbench.blocks import Fraction, NonNegative, Positive, Size

CPU: dict[str, Any] = {}
"""Minutes on one core: small networks, 64 x 64 pixels. The defaults of `FitSettings`."""

PUBLISHED: dict[str, Any] = {
    "width": 224,
    "height": 224,
    "widths": [64, 128, 256, 512, 512],
    "skip": False,
    "utility": "r3d_18",
    "observer": "resnet50",
    "observed": (224, 224),
    "frames": 16,
    "stride": 2,
    "clips": 8,
    "stills": 8,
    "epochs": 100,
    "iterations": None,
    "identity_iterations": 2_000,
    "warmup_iterations": 2_000,
    "penalty_weight": 1.0,
    "learning_rate": 1e-4,
    "anonymizer_rate": 0.4,
    "rate_warmup": 0.05,
    "rivals_rate": 1.0,
    "gradient_clip": None,
    "crop": (0.6, 1.0),
    "min_pixels": 32,
    "precision": "fp16",
    "determinism": "seeded",
    "taps": 31,
    "checkpoint_every": 1_000,
    "samples_every": 2_000,
}
"""The published sizes and rates (SPAct, TeD-SPAD, Aslam and Nasrollahi), for a GPU; what is ours stands in the docs."""

LEVELS: dict[str, dict[str, Any]] = {
    **{f"b{hundredths}": {"loss": "penalty", "budget": hundredths / 100} for hundredths in (10, 20, 30, 50, 70, 90)},
    "spact": {"loss": "spact"},
    "tedspad": {"loss": "tedspad", "utility_weight": 0.7},
    "vita": {"loss": "vita", "ensemble": 4, "term": "entropy", "restart_every": 200, "restart_iterations": 50},
    "vitagrey": {"loss": "vita", "term": "max", "ensemble": 2, "colour": "grey", "rival_steps": 2},
    "vitacontrast": {"loss": "vita", "term": "max", "ensemble": 2, "colour": "contrast", "rival_steps": 2},
    "optics": {"network": "optics", "loss": "vita", "term": "max", "noise": 0.01},
}
"""Levels of the method: what each sets apart from the study's settings."""


class FitSettings(FromPreset):
    """How an anonymizer is fitted; entries that are left out come from the level and the preset."""

    presets: ClassVar = {"cpu": CPU, "published": PUBLISHED}

    preset: Literal["cpu", "published"] = Field(
        "cpu",
        description="`cpu`: minutes on one core at 64 x 64 pixels; `published`: published sizes and rates, on a GPU.",
    )
    loss: Literal["penalty", "spact", "tedspad", "vita"] = Field(
        "penalty",
        description="What is minimised: `penalty`: utility - privacy_weight x NT-Xent + penalty_weight x max(0, RMS - "
        "budget); `spact`: without the penalty; `tedspad`: with a triplet loss; `vita`: attributes are named, and an "
        "ensemble of attackers guesses them.",
    )
    budget: float = Field(
        0.3, gt=0, le=1, description="B of `penalty`: the RMS change that costs nothing, in units of images in [0, 1]."
    )
    privacy_weight: NonNegative = Field(1.0, description="w: weight of what the observers get.")
    utility_weight: NonNegative = Field(1.0, description="Weight of the cross-entropy of actions.")
    penalty_weight: NonNegative = Field(10.0, description="Lambda: weight of what is changed beyond the budget.")
    triplet_weight: NonNegative = Field(0.1, description="Weight of the triplet loss of `tedspad`.")
    term: Literal["max", "entropy"] = Field(
        "max",
        description="What of `vita`'s ensemble counts: `max`: minus the cross-entropy of the attacker who does best; "
        "`entropy`: minus the entropy, as a share of the largest, of the most certain.",
    )
    ensemble: Size = Field(1, description="Observers that look at the same crops, each from first weights of its own.")
    restart_every: int = Field(
        0, ge=0, description="Steps of the minimax after which observers begin anew; 0: they never do."
    )
    restart_iterations: int = Field(0, ge=0, description="Steps that observers who began anew have before the next.")
    rival_steps: Size = Field(1, description="Steps of action network and observers for each of the anonymizer's.")
    attributes: list[str] = Field(
        [],
        description="Attributes that `vita` hides; unless given, all that at least two values are known of.",
    )
    network: Literal["unet", "unetplusplus", "optics"] = Field(
        "unet",
        description="The anonymizer: SPAct's U-Net, TeD-SPAD's U-Net++ with a ResNet-18, or PrivHAR's lens.",
    )
    widths: tuple[Size, ...] = Field((10, 20, 40), min_length=2, description="Channels of each level of `unet`.")
    skip: bool = Field(
        True, description="Add the picture's own logit before the sigmoid, which begins as the identity (ours)."
    )
    colour: Literal["rgb", "grey", "contrast"] = Field(
        "rgb",
        description="`grey`: the network sees and shows the luma alone, so that no colour is left; `contrast`: what "
        "the method of that name makes of it (ours).",
    )
    shrink: Size = Field(1, description="Pixels along each side that the network sees, and shows, as one (ours).")
    noise: Fraction = Field(
        0.0, description="Standard deviation of noise that is added to the output, in units of images in [0, 1]."
    )
    zernike: Size = Field(33, description="Zernike polynomials of a lens, from defocus on.")
    taps: int = Field(15, ge=3, description="Side of a lens's point spread function in pixels, odd.")
    utility: Literal["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "r3d_small"] = Field(
        "r3d_small", description="The action network; `r3d_small` has the widths and depths below."
    )
    utility_widths: tuple[Size, ...] = Field((16, 32, 64), min_length=1, description="r3d_small: channels of a stage.")
    utility_depths: tuple[Size, ...] = Field((1, 1, 1), min_length=1, description="r3d_small: blocks of a stage.")
    start: str | None = Field(
        None,
        min_length=1,
        description="Folder of a finished training of the trainer `clips`, as whose network the action network begins; "
        "unless given, it begins with random weights.",
    )
    watched: tuple[Size, Size] | None = Field(
        None,
        description="Width and height of what the action network sees of a frame; unless given, `width` and `height`.",
    )
    observer: Literal["small", "resnet18", "resnet50"] = Field("small", description="Who looks at people.")
    observer_widths: tuple[Size, ...] = Field((16, 32, 64), min_length=1, description="small: channels of a stage.")
    observed: tuple[Size, Size] = Field((32, 48), description="Width and height of what an observer sees of a person.")
    width: Size = Field(64, description="Width of what the networks see of a frame, in pixels.")
    height: Size = Field(64, description="Height of it; frames are worked on at the scale that this gives.")
    frames: Size = Field(4, description="Frames of a clip that the action network sees.")
    stride: Size = Field(2, description="Each n-th frame of the video is taken.")
    short_clips: Literal["refuse", "repeat"] = Field(
        "refuse",
        description="What to do about a video of fewer frames than these span: stop, or begin it again.",
    )
    clips: int = Field(8, ge=2, description="Clips in a step.")
    stills: int = Field(16, ge=2, description="Stills of people in a step.")
    crop: tuple[Fraction, Fraction] = Field(
        (0.75, 1.0), description="Smallest and largest part of a frame that is seen, as a share of its sides."
    )
    horizontal_flip: Fraction = Field(0.5, description="Probability of mirroring a clip or a view of a still.")
    jitter: float = Field(0.1, ge=0, lt=1, description="Largest change of a view's brightness, as a share.")
    around: NonNegative = Field(
        0.15, description="Most that a view of a person reaches beyond their box, of its sides."
    )
    min_pixels: Size = Field(12, description="People whose box is less high than this in the frame are not looked at.")
    identity_iterations: int = Field(
        0,
        ge=0,
        description="First steps, in which the anonymizer alone learns to show pictures as they are (L1); of a "
        "lens none.",
    )
    warmup_iterations: int = Field(150, ge=0, description="Next steps, in which all but the anonymizer learn.")
    iterations: Size | None = Field(300, description="Steps of the minimax, of both sides together; none: `epochs`.")
    epochs: Size = Field(100, description="Passes over the clips in the minimax, if it has no `iterations`.")
    learning_rate: LearningRate = 2e-3
    anonymizer_rate: Positive = Field(0.4, description="The anonymizer's learning rate over `learning_rate`.")
    rivals_rate: Positive = Field(1.0, description="That of action network and observers, likewise.")
    rate_warmup: Fraction = Field(0.0, description="Share of the minimax in which learning rates rise.")
    gradient_clip: Positive | None = Field(5.0, description="Largest norm of a step's gradient; none: any.")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Of the arithmetic; fp16, on GPUs alone, scales the loss."
    )
    determinism: Literal["auto", "portable", "strict", "seeded"] = Field(
        "auto",
        description="`portable`: the same bytes on every x86-64 processor with AVX2; `strict`: on one machine; "
        "`seeded`: only seeds, order and batches repeat; `auto`: portable on x86-64 processors, strict on GPUs.",
    )
    checkpoint_every: CheckpointEvery = 100
    samples_every: SamplesEvery = 150

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.crop[0] > self.crop[1] or self.crop[0] == 0:
            raise ValueError(f"crop: the smallest, {self.crop[0]:g}, is 0 or above the largest, {self.crop[1]:g}")
        if self.taps % 2 == 0:
            raise ValueError(f"taps: {self.taps} is even, and a lens has a middle")
        if len(self.utility_widths) != len(self.utility_depths):
            raise ValueError("utility_widths and utility_depths differ in length")
        if self.restart_every and not self.restart_iterations:
            raise ValueError("restart_iterations: observers who begin anew need steps before they count")
        deep = {"unet": 2 ** (len(self.widths) - 1), "unetplusplus": 16, "optics": 1}[self.network] * self.shrink
        for name in ("width", "height"):
            if getattr(self, name) % deep:
                raise ValueError(f"{name}: {getattr(self, name)} is no multiple of {deep}, which {self.network} needs")
        return self

    def minimax_iterations(self, clips: int) -> int:
        """Return the steps of the minimax on so many clips."""
        return self.iterations or self.epochs * -(-clips // self.clips)
