"""How a model is trained: one description that every trainer reads; named ones are files in config/recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from anonbench import portable
from anonbench.blocks import Strict, explain
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_json, read_yaml

Task = Literal["detection", "segmentation", "pose"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]

PRESETS = Path(__file__).parent / "recipes"
"""Folder of the named recipes: in the package, so that an installed one has it; config/recipes is a link to it."""
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
        None,
        exclude=True,  # what a training depends on are its values, whatever they are called
        description="recipe that the other entries are laid over: a name from config/recipes, such as "
        "clean-cityscapes, or a YAML file, from the folder of the study",
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
    def _resolve(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        value = _with_preset(value, (info.context or {}).get("folder", Path()))
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


def presets() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _with_preset(value: dict[str, Any], folder: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a recipe's entries laid over those of the preset that it names, if any, which may name another.

    Paths are relative to ``folder``. Raises ValueError for an unknown preset, AnonbenchError for an unreadable one.
    """
    name = value.get("preset")
    if name is None:
        return value
    path = PRESETS / f"{name}.yaml"
    if Path(str(name)).suffix in (".yaml", ".yml"):
        path = folder / name
        if not path.is_file():
            raise ValueError(f"preset: there is no file {path}")
    elif name not in presets():
        raise ValueError(f"unknown preset '{name}'{nearest(str(name), presets())}")
    if path.resolve() in above:
        raise ValueError(f"preset: {path} is laid over itself")
    below = _with_preset(read_yaml(path), path.parent, (*above, path.resolve()))
    return _laid_over(below, value)


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


def parse(value: dict[str, Any], source: str | Path | None = None, folder: Path | None = None) -> Recipe:
    """Return the recipe; raise AnonbenchError naming the first wrong entry.

    A preset that is a file is looked for in ``folder``; the working folder unless given.
    """
    try:
        return Recipe.model_validate(value, context={"folder": folder or Path()})
    except ValidationError as error:
        raise AnonbenchError(explain(error, Recipe), file=source, entry="recipe") from None


def read(text: str) -> Recipe:
    """Return the recipe that ``text`` gives: JSON, the name of a preset, or the path of a JSON or YAML file."""
    if text.lstrip().startswith("{"):
        try:
            return parse(json.loads(text))
        except json.JSONDecodeError as error:
            raise AnonbenchError(f"is not valid JSON ({error})", entry="recipe") from None
    if text in presets():
        return parse({"preset": text})
    path = Path(text)
    if not path.is_file():
        raise AnonbenchError(f"no such recipe file or preset{nearest(text, presets())}", entry=f"recipe {text}")
    value = read_yaml(path) if path.suffix in (".yaml", ".yml") else read_json(path)
    if not isinstance(value, dict):
        raise AnonbenchError("does not hold a recipe (a mapping)", file=path)
    return parse(value, path, path.parent)
