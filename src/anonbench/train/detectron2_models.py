"""detectron2's model in the trainers' common shape, its region heads for a recipe, and the registration of a variant.

This module needs detectron2; import it only after `detectron2.require`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import configurable
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import ROI_HEADS_REGISTRY, build_model
from detectron2.modeling.roi_heads import StandardROIHeads, select_foreground_proposals
from detectron2.structures import Boxes, BoxMode, Instances, Keypoints
from detectron2.utils.events import EventStorage
from pycocotools import mask as coco_mask
from torch import Tensor, nn
from torchvision.ops import roi_align

from anonbench.records import FLIP, KEYPOINTS
from anonbench.train.data import Category, Sample, Target, VariantSplit
from anonbench.train.detectron2_config import Config

# of detectron2's own call, once a process
warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)

LOSSES = {"loss_cls": "loss_classifier", "loss_rpn_cls": "loss_objectness", "loss_rpn_loc": "loss_rpn_box_reg"}
"""detectron2's names of losses that torchvision calls otherwise; records have torchvision's."""


class Network(nn.Module):
    """detectron2's GeneralizedRCNN that takes and gives what torchvision's does (see `models.build`)."""

    def __init__(self, config: Config, categories: Sequence[Category]) -> None:
        super().__init__()
        config = config.clone()
        config.defrost()
        config.MODEL.DEVICE = "cpu"  # the trainer moves it
        self.model = build_model(config)
        self.bgr = config.INPUT.FORMAT == "BGR"
        self.categories = tuple(categories)

    def forward(self, images: list[Tensor], targets: list[Target] | None = None) -> Any:
        inputs = [{"image": image.flip(0) if self.bgr else image} for image in images]
        if not self.training:
            return [_found(instances) for instances in self.model.inference(inputs, do_postprocess=False)]
        assert targets is not None
        for entry, target in zip(inputs, targets, strict=True):
            entry["instances"] = _instances(target, tuple(entry["image"].shape[1:]))
        with EventStorage():  # its modules write to one; the curve is the loop's
            terms = self.model(inputs)
        return {LOSSES.get(name, name): value for name, value in terms.items()}


def _instances(target: Target, size: tuple[int, ...]) -> Instances:
    fields: dict[str, Any] = {"gt_boxes": Boxes(target["boxes"]), "gt_classes": target["labels"] - 1}
    if "masks" in target:
        fields["gt_masks"] = WindowMasks.of(target)
    fields["gt_keypoints"] = Keypoints(target["keypoints"])
    return Instances((size[0], size[1]), **fields)


def _found(instances: Instances) -> dict[str, Tensor]:
    found = {
        "boxes": instances.pred_boxes.tensor,
        "scores": instances.scores,
        "labels": instances.pred_classes + 1,
    }
    if instances.has("pred_masks"):
        found["masks"] = instances.pred_masks[:, 0]
    if instances.has("pred_keypoints"):
        found["keypoints"] = instances.pred_keypoints.clone()
        found["keypoints"][..., 2] = 1  # as torchvision: each keypoint is placed, whatever its heat map's peak
    return {name: value.float() if value.is_floating_point() else value for name, value in found.items()}


class WindowMasks:
    """The masks of an image's objects, each in its own window of source pixels (see `data.load_target`).

    It stands where detectron2 has ``BitMasks`` and gives the same targets, from masks at the source's size rather than
    at the input's. Indexing chooses objects and copies no pixels.
    """

    def __init__(self, windows: Tensor, origin: Tensor, scale: Tensor, present: Tensor, chosen: Tensor) -> None:
        self._all = (windows, origin, scale, present)
        self._chosen = chosen

    @classmethod
    def of(cls, target: Target) -> WindowMasks:
        """Return the masks of a target."""
        chosen = torch.arange(len(target["labels"]), device=target["labels"].device)
        return cls(target["masks"], target["mask_origin"], target["mask_scale"], target["has_mask"], chosen)

    @property
    def present(self) -> Tensor:
        """Return bool (n,): which objects have a mask."""
        return self._all[3][self._chosen]

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, item: Any) -> WindowMasks:
        return WindowMasks(*self._all, self._chosen[item])

    def to(self, *where: Any, **more: Any) -> WindowMasks:
        """Return the masks on a device."""
        windows, origin, scale, present = (value.to(*where, **more) for value in self._all)
        return WindowMasks(windows, origin, scale, present, self._chosen.to(*where, **more))

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """Return bool (n, mask_size, mask_size): which cells of each box's grid its object covers by half.

        ``boxes``: float32 (n, 4) x0, y0, x1, y1 in pixels of the network's input.
        """
        windows, origin, scale, _ = self._all
        if not len(self):
            return boxes.new_zeros((0, mask_size, mask_size), dtype=torch.bool)
        inside = boxes.detach() * scale.repeat(2) - origin[self._chosen].repeat(1, 2)
        regions = torch.cat([self._chosen[:, None].to(inside), inside], dim=1)
        covered = roi_align(windows[:, None].to(inside), regions, mask_size, sampling_ratio=0, aligned=True)
        return covered[:, 0] >= 0.5


@ROI_HEADS_REGISTRY.register()
class RecipeROIHeads(StandardROIHeads):
    """detectron2's, where an object may have no mask, and branches are trained on some regions per image.

    ``people``: classes whose keypoints are learnt.
    """

    @configurable
    def __init__(self, *, people: list[int], mask_regions: int, keypoint_regions: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.people: Tensor
        self.register_buffer("people", torch.tensor(people, dtype=torch.int64), persistent=False)
        self.mask_regions, self.keypoint_regions = mask_regions, keypoint_regions

    @classmethod
    def from_config(cls, cfg: Config, input_shape: Any) -> dict[str, Any]:
        return {
            **super().from_config(cfg, input_shape),
            "people": cfg.MODEL.ROI_HEADS.PEOPLE,
            "mask_regions": cfg.MODEL.ROI_MASK_HEAD.REGIONS_PER_IMAGE,
            "keypoint_regions": cfg.MODEL.ROI_KEYPOINT_HEAD.REGIONS_PER_IMAGE,
        }

    def _forward_mask(self, features: dict[str, Tensor], instances: list[Instances]) -> Any:
        if self.mask_on and self.training:
            objects, _ = select_foreground_proposals(instances, self.num_classes)
            instances = [_some(x, x.gt_masks.present, self.mask_regions) if len(x) else x for x in objects]
        return super()._forward_mask(features, instances)

    def _forward_keypoint(self, features: dict[str, Tensor], instances: list[Instances]) -> Any:
        if self.keypoint_on and self.training:
            objects, _ = select_foreground_proposals(instances, self.num_classes)
            instances = [_some(x, self._posed(x), self.keypoint_regions) if len(x) else x for x in objects]
            if not any(len(x) for x in instances):
                return {"loss_keypoint": next(iter(features.values())).sum() * 0}
        return super()._forward_keypoint(features, instances)

    def _posed(self, instances: Instances) -> Tensor:
        visible = (instances.gt_keypoints.tensor[..., 2] > 0).any(dim=1)
        return torch.isin(instances.gt_classes, self.people) & visible


def _some(instances: Instances, candidates: Tensor, most: int) -> Instances:
    """Return at most ``most`` of the candidates, drawn at random."""
    positions = torch.where(candidates)[0]
    if len(positions) > most:
        positions = positions[torch.randperm(len(positions), device=positions.device)[:most]]
    return instances[positions]


def register(variant: VariantSplit) -> str:
    """Register a variant's split with detectron2's catalogues; return its name there.

    Any of detectron2's own tools takes it from there: classes are the positions in ``variant.categories``, boxes are
    x0, y0, x1, y1, crowds are left out as in every training.
    """
    name = f"anonbench/{variant.sha256[:16]}"
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: [_entry(sample, variant.categories) for sample in variant.samples])
    sides = [(i, j) for i, j in enumerate(FLIP) if i < j]
    MetadataCatalog.get(name).set(
        thing_classes=[category.name for category in variant.categories],
        thing_dataset_id_to_contiguous_id={category.id: i for i, category in enumerate(variant.categories)},
        keypoint_names=list(KEYPOINTS),
        keypoint_flip_map=[(KEYPOINTS[i], KEYPOINTS[j]) for i, j in sides],
        json_file=str(variant.annotations),
        evaluator_type="coco",
    )
    return name


def _entry(sample: Sample, categories: Sequence[Category]) -> dict[str, Any]:
    """Return one image in detectron2's standard format."""
    annotations = []
    for box, label, segmentation, keypoints in zip(
        sample.boxes, sample.labels, sample.segmentations, sample.keypoints, strict=True
    ):
        entry = {"bbox": box.tolist(), "bbox_mode": BoxMode.XYXY_ABS, "category_id": int(label) - 1, "iscrowd": 0}
        if segmentation is not None:
            if isinstance(segmentation, dict) and isinstance(segmentation["counts"], list):
                segmentation = coco_mask.frPyObjects(segmentation, sample.height, sample.width)
            entry["segmentation"] = segmentation
        if any(category.person for category in categories):
            entry["keypoints"] = keypoints.ravel().tolist()
        annotations.append(entry)
    return {
        "file_name": str(sample.path),
        "image_id": sample.id,
        "height": sample.height,
        "width": sample.width,
        "annotations": annotations,
    }
