"""How a model is trained: one description that every trainer reads, and a few named ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from anonbench import portable
from anonbench.blocks import Strict, explain
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_json

Task = Literal["detection", "segmentation", "pose"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]

SUFFIXES = (".safetensors", ".pth", ".pt", ".pkl")
"""Names of files of weights end so; whatever else a start names is the folder of a training."""
OF_TRAININGS = ("backbone", "checkpoint")
"""Kinds of start that may name such a folder."""
LENGTHS: dict[str, tuple[int, tuple[float, ...]]] = {
    "1x": (12, (60 / 90, 80 / 90)),
    "2x": (24, (120 / 180, 160 / 180)),
    "3x": (36, (210 / 270, 250 / 270)),
}
"""The named schedules of the detectron2 model zoo: passes over the images, and where the learning rate falls.

The zoo counts iterations on COCO (90 000 of 16 images are 12 passes); the shares are its `SOLVER.STEPS`.
"""


class _Section(Strict):
    model_config = ConfigDict(allow_inf_nan=False)


class RoiHead(_Section):
    """The branch that turns each region's features into a mask or into keypoint heat maps."""

    roi_size: Size = Field(14, description="side of the pooled features, in cells")
    widths: tuple[Size, ...] = Field((256, 256, 256, 256), min_length=1, description="channels of each 3x3 convolution")
    regions_per_image: Size = Field(
        128, description="positive regions per image that the branch is trained on, drawn at random"
    )


class Architecture(_Section):
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


class Initialisation(_Section):
    """Where the first weights come from, and what those weights have seen."""

    kind: Literal["scratch", "backbone", "coco", "checkpoint"] = Field(
        "scratch",
        description="`scratch`: random; `backbone`: the backbone's weights are read from `file`; `coco`: a whole "
        "detector's, where layers for other categories start at random; `checkpoint`: a whole detector's for the same "
        "categories",
    )
    file: str | None = Field(
        None,
        description="weights: safetensors, or torch's or the detectron2 model zoo's (.pth, .pkl), with torchvision's "
        "or detectron2's names; for `backbone` and `checkpoint` also the folder of a finished training",
    )
    pixels: Literal["rgb", "zoo"] = Field(
        "rgb",
        description="what the weights expect: `rgb` torchvision's input; `zoo` that of the detectron2 model zoo "
        "(BGR levels less their mean, and its place of the strides)",
    )
    provenance: str | None = Field(None, description="who trained the file, how, and where it was downloaded")
    seen: tuple[str, ...] | None = Field(
        None, description="data sets whose images the weights were fitted on; [] for none"
    )

    @model_validator(mode="after")
    def _declared(self) -> Self:
        given = [n for n in ("file", "provenance", "seen") if getattr(self, n) is not None]
        if self.kind == "scratch" and (given or self.pixels != "rgb"):
            raise ValueError(f"scratch takes no {given[0] if given else 'pixels'}")
        # the folder of a finished training declares the rest itself
        own = self.kind in OF_TRAININGS and self.file is not None and Path(self.file).suffix not in SUFFIXES
        if self.kind != "scratch" and len(given) < 3 and not own:
            article = "a" if self.kind != "coco" else "a detector from"
            raise ValueError(
                f"{article} {self.kind} needs its file, its provenance and the list of data sets it has seen"
            )
        return self


class Seeds(_Section):
    """Seeds of what is drawn at random, so that one of them can vary alone; each is the training's unless given."""

    initialisation: int | None = Field(None, description="seed of the first weights")
    order: int | None = Field(None, description="seed of the order of the images")
    augmentation: int | None = Field(None, description="seed of mirroring and of the choice among sizes")
    sampling: int | None = Field(None, description="seed of the anchors and regions that enter the losses")

    def of(self, what: Literal["initialisation", "order", "augmentation", "sampling"], seed: int) -> int:
        """Return the seed of one of them in a training with the seed ``seed``."""
        own: int | None = getattr(self, what)
        return seed if own is None else own


class Recipe(_Section):
    """A training, complete but for the data, the seed and the machine."""

    preset: str | None = Field(
        None, description="a named recipe that the other entries are laid over, such as clean-cityscapes"
    )
    trainer: str = Field("torchvision", description="name of a registered trainer")
    zoo: str | None = Field(
        None,
        description="detectron2: file of its model zoo that gives what no other entry says; chosen by tasks and "
        "backbone unless given",
    )
    tasks: tuple[Task, ...] = Field(
        ("detection",), min_length=1, description="what the model predicts; one model may serve several"
    )
    architecture: Architecture = Field(Architecture(), description="the network")
    initialisation: Initialisation = Field(Initialisation(), description="the first weights")
    min_size: tuple[Size, ...] = Field(
        (800,),
        min_length=1,
        description="shorter side of the network's input in pixels; several: drawn per image, the last in prediction",
    )
    max_size: Size = Field(1333, description="limit of the longer side in pixels")
    horizontal_flip: Fraction = Field(0.5, description="probability that a training image is mirrored")
    batch_size: Size = Field(16, description="images per iteration")
    length: Literal["1x", "2x", "3x"] | None = Field(
        None,
        description="detectron2's named schedules: 12, 24 or 36 passes and their own `steps`; or give `epochs` or "
        "`iterations`",
    )
    epochs: Size | None = Field(None, description="passes over the images; either this or `iterations` or `length`")
    iterations: Size | None = Field(None, description="optimiser steps; either this or `epochs` or `length`")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="update rule")
    base_learning_rate: Positive = Field(0.02, description="learning rate for `reference_batch_size`")
    reference_batch_size: Size = Field(
        16, description="learning rate = base_learning_rate * batch_size / reference_batch_size"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="momentum; the first beta of adamw")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        1e-4, description="decay of weight matrices (biases and normalisation have none)"
    )
    gradient_clip: Positive | None = Field(None, description="largest norm of the whole gradient")
    schedule: Literal["steps", "cosine"] = Field("steps", description="how the learning rate falls")
    steps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (2 / 3, 8 / 9),
        description="schedule `steps`: shares of the training after which the rate is divided by 10",
    )
    warmup_iterations: Annotated[int, Field(ge=0)] = Field(1000, description="linear rise from a thousandth")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="bf16, fp16: convolutions and layers under autocast; fp16 scales the loss and needs CUDA"
    )
    determinism: Literal["auto", "portable", "strict", "seeded"] = Field(
        "auto",
        description="`portable`: the same bytes on every x86-64 processor with AVX2, whose later instructions are left "
        "alone; `strict`: the same bytes whenever it is repeated on one machine; `seeded`: only what is drawn at "
        "random repeats, and faster kernels are chosen; `auto`: portable on x86-64 processors, strict on others, "
        "seeded on GPUs",
    )
    seeds: Seeds = Field(Seeds(), description="seeds of their own for some of what is drawn at random")
    checkpoint_every: Size = Field(500, description="iterations between checkpoints")

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value.get("preset") is not None:
            if value["preset"] not in PRESETS:
                raise ValueError(f"unknown preset '{value['preset']}'{nearest(str(value['preset']), PRESETS)}")
            value = _laid_over(PRESETS[value["preset"]].model_dump(exclude_unset=True), value)
        if value.get("length") in LENGTHS:
            return {"steps": LENGTHS[value["length"]][1], **value}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if [self.epochs, self.iterations, self.length].count(None) != 2:
            raise ValueError("give either epochs or iterations or length")
        if self.length is not None and self.steps != LENGTHS[self.length][1]:
            raise ValueError(f"length {self.length} has its own steps: leave them out, or give epochs")
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError("a task is named twice")
        if max(self.min_size) > self.max_size:
            raise ValueError(f"min_size {max(self.min_size)} is larger than max_size {self.max_size}")
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError("steps must increase")
        if self.architecture.norm == "frozen_batch" and self.initialisation.kind == "scratch":
            raise ValueError("frozen_batch normalisation needs given backbone weights")
        if self.architecture.frozen_stages and self.initialisation.kind == "scratch":
            raise ValueError("frozen_stages keep given weights, and there are none from scratch")
        return self

    def learning_rate(self) -> float:
        """Return the peak learning rate by the linear rule (Goyal et al. 2017, section 2.1)."""
        return self.base_learning_rate * self.batch_size / self.reference_batch_size

    def level(self, device: str) -> str:
        """Return the level of determinism on ``device`` (``cpu`` or ``cuda``): portable, strict or seeded.

        Raises AnonbenchError for `portable` on a GPU.
        """
        return portable.level(self.determinism, device, entry="recipe determinism: portable", gpu="seeded")

    def strict(self, device: str) -> bool:
        """Tell whether a training on ``device`` refuses operations that cannot be repeated: all but `seeded` do."""
        return self.level(device) != "seeded"

    def total_iterations(self, images: int) -> int:
        """Return the number of optimiser steps on ``images`` training images; an epoch's last batch may be short."""
        if self.iterations is not None:
            return self.iterations
        epochs = LENGTHS[self.length][0] if self.length is not None else self.epochs
        assert epochs is not None
        return epochs * -(-images // self.batch_size)


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the entries of ``above``; blocks are merged, but a start of another kind replaces one."""
    alternatives = ("epochs", "iterations", "length")
    if any(above.get(name) is not None for name in alternatives):
        replaced = (*alternatives, "steps") if below.get("length") or above.get("length") else alternatives
        below = {name: value for name, value in below.items() if name not in replaced}
    merged = dict(below)
    for name, value in above.items():
        old = below.get(name)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
            merged[name] = _laid_over(old, value)
        else:
            merged[name] = value
    return merged


_R50_3X = {"epochs": 36, "steps": (24 / 36, 33 / 36), "horizontal_flip": 0.5}

# about 85 s on one AVX-512 core for streetlife's 480 images of 256x192
_CPU_SMALL = Architecture(
    backbone="compact",
    compact_widths=(16, 48, 80),
    compact_depths=(1, 1, 2),
    head_norm="batch",
    strides=(4, 8, 16),
    pyramid_channels=32,
    proposal_levels=(8, 16),
    anchor_sizes=((22, 40), (60, 90)),
    aspect_ratios=(0.6, 2.6),
    rpn_samples=64,
    rpn_before_nms=100,
    rpn_after_nms=100,
    rpn_before_nms_test=100,
    rpn_after_nms_test=60,
    roi_levels=(4,),
    roi_sampling=1,
    box_width=128,
    box_samples=24,
    box_positive_fraction=0.4,
    detections_per_image=20,
    mask_head=RoiHead(roi_size=10, widths=(24, 24), regions_per_image=6),
    keypoint_head=RoiHead(roi_size=7, widths=(96, 96, 96), regions_per_image=6),
)

_ZOO_R50 = Architecture(norm="frozen_batch", frozen_stages=2, rpn_after_nms=1000, roi_sampling=0)

_KEYPOINT_R50 = Architecture(norm="frozen_batch", frozen_stages=2, rpn_after_nms=1500, roi_sampling=0)

_IMAGENET = Initialisation(
    kind="backbone",
    file="weights/resnet50-0676ba61.pth",
    provenance="torchvision's ResNet50_Weights.IMAGENET1K_V1, fitted on ImageNet-1k",
    seen=("imagenet",),
)

_CITYSCAPES: dict[str, Any] = {
    "trainer": "detectron2",
    "tasks": ("detection", "segmentation"),
    "architecture": _ZOO_R50,
    "min_size": (800, 832, 864, 896, 928, 960, 992, 1024),
    "max_size": 2048,
    "batch_size": 8,
    "iterations": 24000,
    "base_learning_rate": 0.01,
    "reference_batch_size": 8,
    "steps": (18 / 24,),
    "checkpoint_every": 1000,
}

_BDD100K: dict[str, Any] = {
    "trainer": "detectron2",
    "tasks": ("detection", "segmentation"),
    "architecture": _ZOO_R50,
    "min_size": (600, 624, 648, 672, 696, 720),
    "max_size": 1280,
    "epochs": 36,
    "steps": (24 / 36, 33 / 36),
    "base_learning_rate": 0.02,
    "checkpoint_every": 1000,
}

_COCO_KEYPOINTS: dict[str, Any] = {
    "trainer": "detectron2",
    "tasks": ("detection", "pose"),
    "architecture": _KEYPOINT_R50,
    "min_size": (640, 672, 704, 736, 768, 800),
    "iterations": 270000,
    "steps": (210 / 270, 250 / 270),
    "checkpoint_every": 5000,
}

PRESETS: dict[str, Recipe] = {
    "cpu-small": Recipe(
        tasks=("detection", "segmentation", "pose"),
        architecture=_CPU_SMALL,
        min_size=(192,),
        max_size=256,
        batch_size=8,
        epochs=7,
        optimizer="adamw",
        base_learning_rate=0.004,
        reference_batch_size=8,
        weight_decay=0.01,
        gradient_clip=5,
        schedule="cosine",
        warmup_iterations=50,
        checkpoint_every=100,
    ),
    "mask-rcnn-r50": Recipe(tasks=("detection", "segmentation"), **_R50_3X),
    "keypoint-rcnn-r50": Recipe(tasks=("detection", "pose"), min_size=(640, 672, 704, 736, 768, 800), **_R50_3X),
    # what is known of the published trainings and what is our choice: docs/train.md
    "paper-cityscapes": Recipe(
        **_CITYSCAPES,
        initialisation=Initialisation(
            kind="coco",
            file="weights/mask_rcnn_R_50_FPN_3x.pkl",
            pixels="zoo",
            provenance="detectron2 model zoo, COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x (model 137849600)",
            seen=("imagenet", "coco2017"),
        ),
    ),
    "paper-bdd100k": Recipe(
        **_BDD100K,
        batch_size=2,
        reference_batch_size=2,  # the rate of a batch of 16, with a batch of 2
        warmup_iterations=500,
        initialisation=Initialisation(
            kind="checkpoint",
            file="weights/bdd100k-mask-rcnn-r50.safetensors",
            provenance="a Mask R-CNN that was trained on the original images of BDD100K",
            seen=("imagenet", "bdd100k"),
        ),
    ),
    "paper-coco-keypoints": Recipe(
        **_COCO_KEYPOINTS,
        initialisation=Initialisation(
            kind="backbone",
            file="weights/R-50.pkl",
            pixels="zoo",
            provenance="detectron2 model zoo, ImageNetPretrained/MSRA/R-50, fitted on ImageNet-1k",
            seen=("imagenet",),
        ),
    ),
    "clean-cityscapes": Recipe(**_CITYSCAPES, initialisation=_IMAGENET),
    "clean-bdd100k": Recipe(**_BDD100K, initialisation=_IMAGENET),
    "clean-coco-keypoints": Recipe(**_COCO_KEYPOINTS, initialisation=_IMAGENET),
}
"""Recipes by name; each is nothing but field values."""


def parse(value: dict[str, Any], source: str | Path | None = None) -> Recipe:
    """Return the recipe; raise AnonbenchError naming the first wrong entry."""
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        raise AnonbenchError(explain(error, Recipe), file=source, entry="recipe") from None


def read(text: str) -> Recipe:
    """Return the recipe that ``text`` gives: JSON, the name of a preset, or the path of a JSON or YAML file."""
    if text.lstrip().startswith("{"):
        try:
            return parse(json.loads(text))
        except json.JSONDecodeError as error:
            raise AnonbenchError(f"is not valid JSON ({error})", entry="recipe") from None
    if text in PRESETS:
        return PRESETS[text]
    path = Path(text)
    if not path.is_file():
        raise AnonbenchError(f"no such recipe file or preset{nearest(text, PRESETS)}", entry=f"recipe {text}")
    if path.suffix in (".yaml", ".yml"):
        try:
            value = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            raise AnonbenchError(f"is not valid YAML ({error})", file=path) from None
    else:
        value = read_json(path)
    if not isinstance(value, dict):
        raise AnonbenchError("does not hold a recipe (a mapping)", file=path)
    return parse(value, path)
