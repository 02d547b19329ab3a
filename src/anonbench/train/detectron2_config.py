"""From a recipe to detectron2's configuration: a file of its model zoo with every entry of the recipe laid over it.

What the zoo's file decides and no entry of a recipe does: the losses' forms (for instance `SMOOTH_L1_BETA`), aligned
pooling (ROIAlignV2), the overlaps that make a proposal positive. An entry without a counterpart in detectron2 is
refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anonbench.errors import AnonbenchError, nearest
from anonbench.recipe import Recipe
from anonbench.records import KEYPOINTS
from anonbench.train.rcnn import Architecture

if TYPE_CHECKING:
    from anonbench.train.data import Category

Config = Any
"""A ``detectron2.config.CfgNode``."""

NORMS = {"batch": "BN", "frozen_batch": "FrozenBN", "group": "GN", "none": ""}
DEPTHS = {"resnet18": 18, "resnet34": 34, "resnet50": 50, "resnet101": 101, "resnext101_32x8d": 101}
RGB_MEAN, RGB_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
"""torchvision's mean and deviation of the channels (RGB), in levels from 0 to 255."""


def check(recipe: Recipe) -> None:
    """Raise AnonbenchError when the recipe asks for what detectron2 cannot do."""
    for entry, message, remedy in _refused(recipe):
        raise AnonbenchError(f"detectron2 {message}", entry=f"settings.architecture.{entry}", remedy=remedy)


def require(recipe: Recipe) -> None:
    """Raise AnonbenchError when the model zoo has no file that fits the recipe; detectron2 must be importable."""
    _zoo(recipe)


def _refused(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Return what of the architecture has no counterpart: entry, why, what to do."""
    a: Architecture = recipe.settings.architecture
    found = []
    if a.backbone == "compact":
        found.append(("backbone", "has no compact backbone", "use resnet18 with few pyramid_channels"))
    if 32 not in a.strides:
        found.append(("strides", "always builds its pyramid on stride 32", "add the strides up to 32"))
    doubled = [4 << i for i in range(4) if a.roi_levels[0] <= 4 << i <= a.roi_levels[-1]]
    if list(a.roi_levels) != doubled:
        found.append(("roi_levels", "pools from consecutive levels", f"use {doubled}"))
    if a.roi_canonical_size != 224 and len(a.roi_levels) > 1:
        found.append(("roi_canonical_size", "has 224 only", "leave it out, or pool from one level"))
    if "segmentation" in recipe.tasks and len(set(a.mask_head.widths)) > 1:
        found.append(("mask_head.widths", "has one width for all convolutions", "use equal widths"))
    if "pose" in recipe.tasks and a.head_norm != "none":
        found.append(("head_norm", "has no normalisation in the keypoint branch", "use none"))
    return found


def _folder() -> Path:
    import detectron2

    return Path(detectron2.__file__).parent / "model_zoo" / "configs"


def zoo_name(recipe: Recipe) -> str:
    """Return the model zoo's file for the recipe: the one it names, or that of its tasks and backbone."""
    if recipe.settings.zoo is not None:
        return recipe.settings.zoo
    tasks = set(recipe.tasks)
    family = "COCO-Detection/faster_rcnn"
    if "segmentation" in tasks:
        family = "COCO-InstanceSegmentation/mask_rcnn"
    if "pose" in tasks:
        family = "COCO-Keypoints/keypoint_rcnn"
    size = {"resnet101": "R_101", "resnext101_32x8d": "X_101_32x8d"}.get(recipe.settings.architecture.backbone, "R_50")
    return f"{family}_{size}_FPN_3x.yaml"


def _zoo(recipe: Recipe) -> Config:
    """Return the zoo's configuration; raise AnonbenchError for an unknown file or one of another kind of model."""
    from detectron2.config import get_cfg

    name, folder = zoo_name(recipe), _folder()
    if not (folder / name).is_file():
        known = [path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")]
        hint = nearest(name, known) if known else " (this detectron2 was installed without its model zoo's files)"
        raise AnonbenchError(f"the detectron2 model zoo has no file '{name}'{hint}", entry="recipe settings.zoo")
    config = get_cfg()
    config.merge_from_file(str(folder / name))
    wanted = {
        "META_ARCHITECTURE": (config.MODEL.META_ARCHITECTURE, "GeneralizedRCNN"),
        "BACKBONE.NAME": (config.MODEL.BACKBONE.NAME, "build_resnet_fpn_backbone"),
        "PROPOSAL_GENERATOR.NAME": (config.MODEL.PROPOSAL_GENERATOR.NAME, "RPN"),
        "ROI_HEADS.NAME": (config.MODEL.ROI_HEADS.NAME, "StandardROIHeads"),
        "RESNETS.DEFORM_ON_PER_STAGE": (any(config.MODEL.RESNETS.DEFORM_ON_PER_STAGE), False),
    }
    for key, (given, supported) in wanted.items():
        if given != supported:
            raise AnonbenchError(
                f"'{name}' has MODEL.{key} {given}, and a recipe describes {supported}", entry="recipe settings.zoo"
            )
    backbone = recipe.settings.architecture.backbone
    groups = 32 if backbone == "resnext101_32x8d" else 1
    theirs = (config.MODEL.RESNETS.DEPTH, config.MODEL.RESNETS.NUM_GROUPS)
    if recipe.settings.zoo is not None and theirs != (DEPTHS.get(backbone), groups):
        raise AnonbenchError(
            f"'{name}' is of a ResNet-{theirs[0]} with {theirs[1]} groups, the recipe's backbone is {backbone}",
            entry="recipe settings.zoo",
        )
    return config


def build(recipe: Recipe, categories: Sequence[Category], images: int = 0, dataset: str = "") -> Config:
    """Return the configuration (frozen) of a training on ``images`` images of the registered data set ``dataset``.

    ``MODEL.WEIGHTS`` is empty: the first weights are loaded by `initialisation`. ``SOLVER`` and ``INPUT`` say what
    `loop` and `data` do, so that the configuration describes the whole training.
    """
    config = _zoo(recipe)
    _model(config, recipe, categories)
    _input(config, recipe, dataset)
    _solver(config, recipe, max(images, 1))
    config.freeze()
    return config


def _model(config: Config, recipe: Recipe, categories: Sequence[Category]) -> None:
    a, model = recipe.settings.architecture, config.MODEL
    model.WEIGHTS = ""
    model.MASK_ON, model.KEYPOINT_ON = "segmentation" in recipe.tasks, "pose" in recipe.tasks
    model.BACKBONE.FREEZE_AT = a.frozen_stages
    model.RESNETS.DEPTH = DEPTHS[a.backbone]
    if model.RESNETS.DEPTH < 50:
        model.RESNETS.RES2_OUT_CHANNELS = 64
    model.RESNETS.NORM = NORMS[a.norm]
    stages = [f"res{stride.bit_length() - 1}" for stride in a.strides if stride <= 32]
    model.RESNETS.OUT_FEATURES = model.FPN.IN_FEATURES = stages
    model.FPN.OUT_CHANNELS = a.pyramid_channels
    model.RPN.IN_FEATURES = [_level(stride) for stride in a.proposing()]
    model.RPN.BATCH_SIZE_PER_IMAGE = a.rpn_samples
    model.RPN.PRE_NMS_TOPK_TRAIN, model.RPN.PRE_NMS_TOPK_TEST = a.rpn_before_nms, a.rpn_before_nms_test
    model.RPN.POST_NMS_TOPK_TRAIN, model.RPN.POST_NMS_TOPK_TEST = a.rpn_after_nms, a.rpn_after_nms_test
    model.ANCHOR_GENERATOR.SIZES = [list(sizes) for sizes in a.anchor_sizes]
    model.ANCHOR_GENERATOR.ASPECT_RATIOS = [list(a.aspect_ratios)]
    heads = model.ROI_HEADS
    heads.NAME = "RecipeROIHeads"
    heads.NUM_CLASSES = len(categories)
    heads.PEOPLE = [i for i, category in enumerate(categories) if category.person]
    heads.IN_FEATURES = [_level(stride) for stride in a.roi_levels]
    heads.BATCH_SIZE_PER_IMAGE, heads.POSITIVE_FRACTION = a.box_samples, a.box_positive_fraction
    heads.SCORE_THRESH_TEST, heads.NMS_THRESH_TEST = a.score_threshold, a.nms_threshold
    config.TEST.DETECTIONS_PER_IMAGE = a.detections_per_image
    box, mask, keypoint = model.ROI_BOX_HEAD, model.ROI_MASK_HEAD, model.ROI_KEYPOINT_HEAD
    for branch in (box, mask, keypoint):
        branch.POOLER_SAMPLING_RATIO = a.roi_sampling
    box.POOLER_RESOLUTION, box.FC_DIM = a.box_roi_size, a.box_width
    mask.POOLER_RESOLUTION, mask.NORM = a.mask_head.roi_size, NORMS[a.head_norm]
    mask.NUM_CONV, mask.CONV_DIM = len(a.mask_head.widths), a.mask_head.widths[-1]
    mask.REGIONS_PER_IMAGE = a.mask_head.regions_per_image
    keypoint.POOLER_RESOLUTION, keypoint.CONV_DIMS = a.keypoint_head.roi_size, list(a.keypoint_head.widths)
    keypoint.NUM_KEYPOINTS, keypoint.MIN_KEYPOINTS_PER_IMAGE = len(KEYPOINTS), 0
    keypoint.REGIONS_PER_IMAGE = a.keypoint_head.regions_per_image
    if recipe.initialisation.pixels == "rgb":
        config.INPUT.FORMAT = "RGB"
        model.PIXEL_MEAN, model.PIXEL_STD = RGB_MEAN, RGB_STD
        model.RESNETS.STRIDE_IN_1X1 = False


def _level(stride: int) -> str:
    return f"p{stride.bit_length() - 1}"


def _input(config: Config, recipe: Recipe, dataset: str) -> None:
    config.DATASETS.TRAIN, config.DATASETS.TEST = ((dataset,) if dataset else ()), ()
    config.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    given, seen = config.INPUT, recipe.settings
    given.MIN_SIZE_TRAIN, given.MIN_SIZE_TRAIN_SAMPLING = tuple(seen.min_size), "choice"
    given.MIN_SIZE_TEST = seen.min_size[-1]
    given.MAX_SIZE_TRAIN = given.MAX_SIZE_TEST = seen.max_size
    given.RANDOM_FLIP = "horizontal" if seen.horizontal_flip else "none"
    given.MASK_FORMAT = "bitmask"


def _solver(config: Config, recipe: Recipe, images: int) -> None:
    solver, total = config.SOLVER, recipe.total_iterations(images)
    solver.IMS_PER_BATCH, solver.MAX_ITER = recipe.batch_size, total
    solver.BASE_LR, solver.MOMENTUM = recipe.learning_rate(), recipe.momentum
    solver.WEIGHT_DECAY, solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY_BIAS = recipe.weight_decay, 0.0, 0.0
    solver.WARMUP_ITERS, solver.WARMUP_METHOD, solver.WARMUP_FACTOR = recipe.warmup_iterations, "linear", 0.001
    solver.CHECKPOINT_PERIOD = recipe.checkpoint_every
    solver.AMP.ENABLED = recipe.precision != "fp32"
    if recipe.schedule == "cosine":
        solver.LR_SCHEDULER_NAME, solver.STEPS = "WarmupCosineLR", ()
    else:
        solver.LR_SCHEDULER_NAME, solver.GAMMA = "WarmupMultiStepLR", 0.1
        solver.STEPS = tuple(round(share * total) for share in recipe.steps)
    if recipe.gradient_clip is not None:
        clip = solver.CLIP_GRADIENTS
        clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE = True, "full_model", recipe.gradient_clip
