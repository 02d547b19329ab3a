"""Builders: from a recipe's architecture to one of torchvision's R-CNNs.

The classes are torchvision's. What is changed in them: one model has box, mask and keypoint branches at once; mask
targets are windows (see `data.load_target`) rather than full-size masks; the keypoint branch is for people only; the
mask and keypoint branches can be trained on a few regions per image; predicted masks stay on their regions' grids.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import roi_heads
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import LevelMapper

from anonbench.recipe import Recipe
from anonbench.records import KEYPOINTS
from anonbench.train.data import Category, Target
from anonbench.train.heatmaps import keypoints_of
from anonbench.train.pooling import RegionPool
from anonbench.train.rcnn import Architecture, RoiHead

MEAN = (0.485, 0.456, 0.406)
"""Mean of the input channels (RGB, 0..1), as torchvision's backbones expect it."""
STD = (0.229, 0.224, 0.225)
"""Standard deviation of the input channels, likewise."""

Detection = dict[str, Tensor]


def build(recipe: Recipe, categories: Sequence[Category]) -> GeneralizedRCNN:
    """Return an untrained model; its random weights come from torch's global generator.

    In training it takes a list of uint8 (3, h, w) images and a list of `data.Target` and returns a dict of losses.
    In evaluation it takes images and returns per image ``boxes`` (n, 4) x0, y0, x1, y1 in input pixels, ``labels``,
    ``scores`` and, by task, ``masks`` (n, m, m) probabilities on the box's grid and ``keypoints`` (n, 17, 3); a
    detection that is no person has zeros.
    """
    architecture: Architecture = recipe.settings.architecture
    backbone = Backbone(architecture)
    return GeneralizedRCNN(
        backbone,
        _rpn(architecture),
        _heads(recipe, categories),
        Normalise(divisible=max(32, *architecture.strides)),
    )


class Backbone(nn.Module):
    """A ResNet body and a feature pyramid; returns float32 maps, finest first, under the keys "0", "1", ..."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        norm = _norm(architecture.norm)
        assert norm is not None
        if architecture.backbone == "compact":
            body, widths = _compact(architecture.compact_widths, architecture.compact_depths, norm)
        else:
            body = getattr(resnet, architecture.backbone)(weights=None, norm_layer=norm)
            widths = {4 << i: body.fc.in_features >> (3 - i) for i in range(4)}
        _freeze(body, architecture.frozen_stages)
        levels = [s for s in architecture.strides if s in widths]
        layers = {f"layer{s.bit_length() - 2}": str(i) for i, s in enumerate(levels)}
        self.body = IntermediateLayerGetter(body, layers)
        extra = LastLevelMaxPool() if 64 in architecture.strides else None
        self.fpn = FeaturePyramidNetwork([widths[s] for s in levels], architecture.pyramid_channels, extra)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.fpn(self.body(images))
        return OrderedDict((str(i), level.float()) for i, level in enumerate(maps.values()))


def _freeze(body: nn.Module, stages: int) -> None:
    """Keep the weights of the first ``stages`` stages as they are: 1 is the stem, 2 also ``layer1``, ..."""
    frozen = ("conv1", "bn1", "stem", *(f"layer{i}" for i in range(1, stages))) if stages else ()
    for name, parameter in body.named_parameters():
        if name.startswith(frozen):
            parameter.requires_grad_(False)


Norm = Callable[[int], nn.Module]


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(32, channels), channels)


def _norm(name: str) -> Norm | None:
    norms: dict[str, Norm] = {"batch": nn.BatchNorm2d, "frozen_batch": FrozenBatchNorm2d, "group": _group_norm}
    return norms.get(name)


def _compact(widths: Sequence[int], depths: Sequence[int], norm: Norm) -> tuple[nn.Module, dict[int, int]]:
    """Return a small ResNet (two strided convolutions, then basic blocks) and its channels by stride."""

    def conv(before: int, after: int, size: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, size, stride, size // 2, bias=False), norm(after))

    relu = nn.ReLU(inplace=True)
    # at stride 2 a normalisation would cost more than the convolution
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), relu, conv(16, widths[0], 3, 2), relu)
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    before = widths[0]
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        blocks = []
        for j in range(depth):
            stride = 2 if i > 0 and j == 0 else 1
            shortcut = conv(before, width, 1, stride) if stride > 1 or before != width else None
            blocks.append(resnet.BasicBlock(before, width, stride, shortcut, norm_layer=norm))
            before = width
        layers[f"layer{i + 1}"] = nn.Sequential(*blocks)
    body = nn.Sequential(layers)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body, {4 << i: width for i, width in enumerate(widths)}


class Normalise(GeneralizedRCNNTransform):
    """Pad uint8 images to one float32 batch, zero mean and unit deviation; targets and results pass unchanged."""

    def __init__(self, divisible: int) -> None:
        super().__init__(1, 1, list(MEAN), list(STD), size_divisible=divisible)
        self.shift: Tensor
        self.factor: Tensor
        self.register_buffer("shift", 255 * torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("factor", 1 / (255 * torch.tensor(STD)).view(3, 1, 1), persistent=False)

    def forward(
        self, images: list[Tensor], targets: list[Target] | None = None
    ) -> tuple[ImageList, list[Target] | None]:
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        height, width = (
            -(-max(side) // self.size_divisible) * self.size_divisible for side in zip(*sizes, strict=True)
        )
        batch = torch.empty(
            (len(images), 3, height, width), device=self.shift.device, memory_format=torch.channels_last
        )
        for i, (image, (h, w)) in enumerate(zip(images, sizes, strict=True)):
            if (h, w) != (height, width):
                batch[i] = self.shift
            batch[i, :, :h, :w] = image
        batch.sub_(self.shift).mul_(self.factor)
        return ImageList(batch, sizes), targets

    def postprocess(
        self, result: list[Detection], image_shapes: list[tuple[int, int]], original_image_sizes: list[tuple[int, int]]
    ) -> list[Detection]:
        return result


class ProposalHead(RPNHead):
    """torchvision's, with float32 results: proposals must not be rounded to bf16."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits, deltas = super().forward(x)
        return [t.float() for t in logits], [t.float() for t in deltas]


class Proposals(RegionProposalNetwork):
    """torchvision's, on some levels of the pyramid."""

    def __init__(self, levels: list[str], *settings: Any, **more: Any) -> None:
        super().__init__(*settings, **more)
        self.levels = levels

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[Target] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        return super().forward(images, {level: features[level] for level in self.levels}, targets)


def _rpn(a: Architecture) -> Proposals:
    anchors = AnchorGenerator(a.anchor_sizes, (a.aspect_ratios,) * len(a.anchor_sizes))
    return Proposals(
        [str(a.strides.index(stride)) for stride in a.proposing()],
        anchors,
        ProposalHead(a.pyramid_channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=a.rpn_samples,
        positive_fraction=0.5,
        pre_nms_top_n={"training": a.rpn_before_nms, "testing": a.rpn_before_nms_test},
        post_nms_top_n={"training": a.rpn_after_nms, "testing": a.rpn_after_nms_test},
        nms_thresh=0.7,
    )


def _pool(a: Architecture, size: int) -> RegionPool:
    names = [str(a.strides.index(stride)) for stride in a.roi_levels]
    pool = RegionPool(names, size, a.roi_sampling)
    # torchvision would infer these from the first batch, wrongly when the padding is large
    pool.scales = [1 / stride for stride in a.roi_levels]
    first, last = (stride.bit_length() - 1 for stride in (a.roi_levels[0], a.roi_levels[-1]))
    pool.map_levels = LevelMapper(first, last, a.roi_canonical_size)
    return pool


def _heads(recipe: Recipe, categories: Sequence[Category]) -> Heads:
    a: Architecture = recipe.settings.architecture
    channels, classes = a.pyramid_channels, len(categories) + 1
    people = [label for label, category in enumerate(categories, start=1) if category.person]
    return Heads(
        _pool(a, a.box_roi_size),
        TwoMLPHead(channels * a.box_roi_size**2, a.box_width),
        FastRCNNPredictor(a.box_width, classes),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=a.box_samples,
        positive_fraction=a.box_positive_fraction,
        bbox_reg_weights=None,
        score_thresh=a.score_threshold,
        nms_thresh=a.nms_threshold,
        detections_per_img=a.detections_per_image,
        mask=MaskBranch(a, a.mask_head, classes) if "segmentation" in recipe.tasks else None,
        keypoint=KeypointBranch(a, a.keypoint_head, people) if "pose" in recipe.tasks else None,
    )


class _Drawn(NamedTuple):
    """The regions that a branch is trained on, per image: boxes (n, 4), the object and the label of each."""

    boxes: list[Tensor]
    matched: list[Tensor]
    labels: list[Tensor]

    @classmethod
    def of(
        cls, chosen: list[Tensor], boxes: list[Tensor], matched: list[Tensor], labels: list[Tensor]
    ) -> _Drawn | None:
        """Return the chosen positions of each list; None when there leave no step to run."""
        if not any(len(positions) for positions in chosen):
            return None
        return cls(*([v[i] for v, i in zip(values, chosen, strict=True)] for values in (boxes, matched, labels)))


class _Branch(nn.Module):
    """Region features to maps of logits: pooling, the mask branch's convolutions and ``predictor``.

    torchvision's KeypointRCNNHeads are the same convolutions without normalisation.
    """

    def __init__(self, a: Architecture, settings: RoiHead, predictor: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.regions_per_image = settings.regions_per_image
        self.pool = _pool(a, settings.roi_size)
        self.head = MaskRCNNHeads(a.pyramid_channels, settings.widths, 1, _norm(a.head_norm))
        self.predictor = predictor()

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        """Return logits float32 (n, categories or keypoints, m, m)."""
        return self.predictor(self.head(self.pool(features, boxes, sizes))).float().contiguous()


class MaskBranch(_Branch):
    """Region features to one mask per category."""

    def __init__(self, a: Architecture, settings: RoiHead, classes: int) -> None:
        width = settings.widths[-1]
        super().__init__(a, settings, lambda: MaskRCNNPredictor(width, width, classes))

    def loss(
        self, features: dict[str, Tensor], sizes: list[tuple[int, int]], drawn: _Drawn, targets: list[Target]
    ) -> Tensor:
        """Return the mean cross entropy over the cells of each region's mask of its own category."""
        logits = self(features, drawn.boxes, sizes)
        truth = [
            _mask_targets(target, matched, boxes, logits.shape[-1])
            for target, matched, boxes in zip(targets, drawn.matched, drawn.boxes, strict=True)
        ]
        labels = torch.cat(drawn.labels)
        own = logits[torch.arange(len(labels), device=labels.device), labels]
        return nn.functional.binary_cross_entropy_with_logits(own, torch.cat(truth))


class KeypointBranch(_Branch):
    """Region features to one heat map per keypoint."""

    def __init__(self, a: Architecture, settings: RoiHead, people: Sequence[int]) -> None:
        super().__init__(a, settings, lambda: KeypointRCNNPredictor(settings.widths[-1], len(KEYPOINTS)))
        self.people: Tensor
        self.register_buffer("people", torch.tensor(people, dtype=torch.int64), persistent=False)

    def loss(
        self, features: dict[str, Tensor], sizes: list[tuple[int, int]], drawn: _Drawn, targets: list[Target]
    ) -> Tensor:
        """Return the mean cross entropy of each keypoint's cell among all cells of its heat map."""
        logits = self(features, drawn.boxes, sizes)
        truth = [target["keypoints"] for target in targets]
        return roi_heads.keypointrcnn_loss(logits, drawn.boxes, truth, drawn.matched)


class Heads(roi_heads.RoIHeads):
    """torchvision's region heads with the two optional branches above."""

    def __init__(self, *box: Any, mask: MaskBranch | None, keypoint: KeypointBranch | None, **settings: Any) -> None:
        super().__init__(*box, **settings)
        self.mask = mask
        self.keypoint = keypoint

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        if not self.box_roi_pool.multiplies(features):  # torchvision's kernel would do it for each of the poolings
            features = {level: values.contiguous() for level, values in features.items()}
        if self.training:
            assert targets is not None
            return [], self._losses(features, proposals, image_shapes, targets)
        return self._detect(features, proposals, image_shapes), {}

    def _boxes(
        self, features: dict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        logits, deltas = self.box_predictor(self.box_head(self.box_roi_pool(features, proposals, sizes)))
        return logits.float(), deltas.float()

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        sizes: list[tuple[int, int]],
        targets: list[Target],
    ) -> dict[str, Tensor]:
        regions, matched, labels, deltas = self.select_training_samples(proposals, targets)
        class_logits, box_deltas = self._boxes(features, regions, sizes)
        classifier, box_reg = roi_heads.fastrcnn_loss(class_logits, box_deltas, labels, deltas)
        losses = {"loss_classifier": classifier, "loss_box_reg": box_reg}
        nothing = class_logits.sum() * 0
        if self.mask is not None:
            masked = [_at(target["has_mask"], match) for target, match in zip(targets, matched, strict=True)]
            chosen = [
                _draw((label > 0) & has, self.mask.regions_per_image) for label, has in zip(labels, masked, strict=True)
            ]
            own = _Drawn.of(chosen, regions, matched, labels)
            losses["loss_mask"] = self.mask.loss(features, sizes, own, targets) if own else nothing
        if self.keypoint is not None:
            posed = [_at((t["keypoints"][..., 2] > 0).any(dim=1), m) for t, m in zip(targets, matched, strict=True)]
            chosen = [
                _draw(torch.isin(label, self.keypoint.people) & has, self.keypoint.regions_per_image)
                for label, has in zip(labels, posed, strict=True)
            ]
            own = _Drawn.of(chosen, regions, matched, labels)
            losses["loss_keypoint"] = self.keypoint.loss(features, sizes, own, targets) if own else nothing
        return losses

    def _detect(
        self, features: dict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> list[Detection]:
        class_logits, deltas = self._boxes(features, proposals, sizes)
        found = zip(*self.postprocess_detections(class_logits, deltas, proposals, sizes), strict=True)
        result = [{"boxes": boxes, "scores": scores, "labels": labels} for boxes, scores, labels in found]
        counts = [len(r["boxes"]) for r in result]
        if self.mask is not None:
            logits = self.mask(features, [r["boxes"] for r in result], sizes)
            for r, own in zip(result, logits.split(counts), strict=True):
                r["masks"] = own[torch.arange(len(own), device=own.device), r["labels"]].sigmoid()
        if self.keypoint is not None:
            people = [torch.isin(r["labels"], self.keypoint.people) for r in result]
            boxes = [r["boxes"][p] for r, p in zip(result, people, strict=True)]
            logits = self.keypoint(features, boxes, sizes)
            poses = keypoints_of(logits, torch.cat(boxes)).split([len(own) for own in boxes])
            for r, p, pose in zip(result, people, poses, strict=True):
                r["keypoints"] = pose.new_zeros((len(p), len(KEYPOINTS), 3))
                r["keypoints"][p] = pose
        return result


def _at(flags: Tensor, matched: Tensor) -> Tensor:
    """Return ``flags[matched]``; all False in an image without objects, where ``matched`` is zeros."""
    return flags[matched] if len(flags) else torch.zeros_like(matched, dtype=torch.bool)


def _draw(candidates: Tensor, most: int) -> Tensor:
    """Return the positions of at most ``most`` True candidates, drawn at random."""
    positions = torch.where(candidates)[0]
    if len(positions) <= most:
        return positions
    return positions[torch.randperm(len(positions), device=positions.device)[:most]]


def _mask_targets(target: Target, matched: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Return float32 (n, side, side): the share of each cell of the boxes' grids that its object covers."""
    if not len(boxes):
        return boxes.new_zeros((0, side, side))
    windows = boxes * target["mask_scale"].repeat(2) - target["mask_origin"][matched].repeat(1, 2)
    rois = torch.cat([matched[:, None].to(windows), windows], dim=1)
    return roi_align(target["masks"][:, None].float(), rois, side, sampling_ratio=2, aligned=True)[:, 0]
