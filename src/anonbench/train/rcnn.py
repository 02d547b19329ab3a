"""Settings of the R-CNNs that the trainers build: the network, and the size of what it sees. Imported without torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from anonbench.blocks import Fraction, Positive, Size
from anonbench.errors import AnonbenchError
from anonbench.recipe import Recipe, Section


class RoiHead(Section):
    """The branch that turns each region's features into a mask or into keypoint heat maps."""

    roi_size: Size = Field(14, description="side of the pooled features, in cells")
    widths: tuple[Size, ...] = Field((256, 256, 256, 256), min_length=1, description="channels of each 3x3 convolution")
    regions_per_image: Size = Field(
        128, description="positive regions per image that the branch is trained on, drawn at random"
    )


class Architecture(Section):
    """An R-CNN with a feature pyramid; the defaults are torchvision's Mask R-CNN with ResNet-50."""

    backbone: Literal["compact", "resnet18", "resnet34", "resnet50", "resnet101", "resnext101_32x8d"] = Field(
        "resnet50",
        description="`compact` is a ResNet of basic blocks with the widths and depths below (torchvision only)",
    )
    compact_widths: tuple[Size, ...] = Field(
        (32, 64, 128), min_length=1, max_length=4, description="compact: channels at stride 4, 8, 16, 32"
    )
    compact_depths: tuple[Size, ...] = Field(
        (1, 1, 1), min_length=1, max_length=4, description="compact: blocks at stride 4, 8, 16, 32"
    )
    norm: Literal["batch", "frozen_batch", "group"] = Field(
        "batch",
        description="normalisation in the backbone; `frozen_batch` keeps the statistics of given weights",
    )
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = Field(
        0, description="stages of the backbone that keep the given weights: 1 the stem, 2 also stride 4, ..."
    )
    head_norm: Literal["none", "batch", "group"] = Field(
        "none", description="normalisation in the mask and keypoint branches; helps from scratch"
    )
    strides: tuple[Literal[4, 8, 16, 32, 64], ...] = Field(
        (4, 8, 16, 32, 64), min_length=1, description="pyramid levels, consecutive, in image pixels"
    )
    pyramid_channels: Size = Field(256, description="channels of every pyramid level")
    proposal_levels: tuple[Literal[4, 8, 16, 32, 64], ...] | None = Field(
        None, min_length=1, description="strides of the levels that propose regions; all unless given"
    )
    anchor_sizes: tuple[tuple[Positive, ...], ...] = Field(
        ((32,), (64,), (128,), (256,), (512,)),
        description="per proposal level, the square roots of the anchors' areas, in pixels of the network's input",
    )
    aspect_ratios: tuple[Positive, ...] = Field((0.5, 1.0, 2.0), min_length=1, description="anchors' height / width")
    rpn_samples: Size = Field(256, description="anchors per image in the proposal loss")
    rpn_before_nms: Size = Field(2000, description="proposals per level before suppression, in training")
    rpn_after_nms: Size = Field(2000, description="proposals per image after suppression, in training")
    rpn_before_nms_test: Size = Field(1000, description="proposals per level before suppression, in prediction")
    rpn_after_nms_test: Size = Field(1000, description="proposals per image after suppression, in prediction")
    roi_levels: tuple[Literal[4, 8, 16, 32], ...] = Field(
        (4, 8, 16, 32), min_length=1, description="strides of the levels that regions are pooled from"
    )
    roi_canonical_size: Positive = Field(
        224,
        description="side in pixels of a region that is pooled at stride 16 (Feature Pyramid Networks, eq. 1)",
    )
    roi_sampling: Annotated[int, Field(ge=0)] = Field(
        2,
        description="bilinear samples per cell and direction; the cost grows with its square; 0: as many as the cell "
        "has pixels",
    )
    box_roi_size: Size = Field(7, description="side of the pooled features of the box branch, in cells")
    box_width: Size = Field(1024, description="units of the two hidden layers of the box branch")
    box_samples: Size = Field(512, description="regions per image in the box loss")
    box_positive_fraction: Fraction = Field(0.25, description="largest share of positives among `box_samples`")
    score_threshold: Fraction = Field(0.05, description="detections below are not reported")
    nms_threshold: Fraction = Field(0.5, description="overlap above which the weaker detection is dropped")
    detections_per_image: Size = Field(100, description="most detections reported per image")
    mask_head: RoiHead = Field(RoiHead(), description="used when `segmentation` is among the tasks")
    keypoint_head: RoiHead = Field(
        RoiHead(widths=(512,) * 8), description="used when `pose` is among the tasks; for people only"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        steps = [4, 8, 16, 32, 64]
        first = steps.index(self.strides[0])
        if list(self.strides) != steps[first : first + len(self.strides)]:
            raise ValueError(f"strides {self.strides} are not consecutive powers of two from 4 to 64")
        for name, levels in (("proposal_levels", self.proposing()), ("roi_levels", self.roi_levels)):
            if list(levels) != [stride for stride in self.strides if stride in levels]:
                raise ValueError(f"{name} {levels} are not among the strides {self.strides}, in order")
        if len(self.anchor_sizes) != len(self.proposing()):
            given, wanted = len(self.anchor_sizes), len(self.proposing())
            raise ValueError(f"{given} anchor_sizes for {wanted} proposal_levels: give one per level")
        if not self.anchor_sizes[0] or len({len(sizes) for sizes in self.anchor_sizes}) > 1:
            raise ValueError("every level needs the same number of anchor sizes, at least one")
        if self.backbone == "compact":
            if len(self.compact_widths) != len(self.compact_depths):
                raise ValueError("compact_widths and compact_depths differ in length")
            deepest = steps[len(self.compact_widths) - 1]
            if max(s for s in self.strides if s < 64 or len(self.strides) == 1) > deepest:
                raise ValueError(f"strides {self.strides} go beyond the compact backbone, which ends at {deepest}")
        return self

    def proposing(self) -> tuple[int, ...]:
        """Return the strides of the levels that propose regions."""
        return self.strides if self.proposal_levels is None else self.proposal_levels


class Settings(Section):
    """The network, and what it is shown."""

    architecture: Architecture = Field(Architecture(), description="the network")
    min_size: tuple[Size, ...] = Field(
        (800,),
        min_length=1,
        description="shorter side of the network's input in pixels; several: drawn per image, the last in prediction",
    )
    max_size: Size = Field(1333, description="limit of the longer side in pixels")
    horizontal_flip: Fraction = Field(0.5, description="probability that a training image is mirrored")

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if max(self.min_size) > self.max_size:
            raise ValueError(f"min_size {max(self.min_size)} is larger than max_size {self.max_size}")
        return self


def check(recipe: Recipe) -> None:
    """Raise AnonbenchError when the network needs given weights and the recipe starts from scratch."""
    architecture: Architecture = recipe.settings.architecture
    if recipe.initialisation.kind != "scratch":
        return
    if architecture.norm == "frozen_batch":
        raise AnonbenchError(
            "frozen_batch normalisation needs given backbone weights",
            entry="settings.architecture.norm",
            remedy="set batch or group, or name a start (initialisation)",
        )
    if architecture.frozen_stages:
        raise AnonbenchError(
            "keep given weights, and there are none from scratch",
            entry="settings.architecture.frozen_stages",
            remedy="set 0, or name a start (initialisation)",
        )


def describe(recipe: Recipe) -> str:
    """Return backbone and sizes in words."""
    settings: Settings = recipe.settings
    sizes = "/".join(str(size) for size in settings.min_size)
    return f"{settings.architecture.backbone}, shorter side {sizes}, longer at most {settings.max_size}"
