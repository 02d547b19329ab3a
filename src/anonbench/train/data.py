"""Reading a variant (a COCO data set on disk) as tensors for a detector."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from pycocotools import mask as coco_mask

from anonbench import lines, manifests
from anonbench.errors import AnonbenchError, in_one_line
from anonbench.files import sha256_file
from anonbench.images import Frame, read_rgb
from anonbench.images.resizing import resized
from anonbench.records import FLIP, KEYPOINTS, is_people

Target = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Category:
    """A category as in the COCO file; people carry keypoints."""

    id: int
    name: str
    person: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and what is to be learned from it (crowd regions are left out).

    ``boxes`` float32 (n, 4): x0, y0, x1, y1 in pixels inside the image; ``labels`` int64 (n,): position of the
    category in `VariantSplit.categories` plus one (0 is background); ``segmentations``: n COCO segmentations or None;
    ``keypoints`` float32 (n, 17, 3): x, y in pixels and visibility 0/1/2. ``labels_on`` is the frame of the labels
    where sizes alone would mislead (see `images.decode`), ``sha256`` the file's, where the variant has a manifest.
    """

    id: int
    path: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    segmentations: list[Any] = field(repr=False)
    keypoints: np.ndarray = field(repr=False)
    labels_on: Frame | None = None
    sha256: str | None = None

    def pixels(self) -> np.ndarray:
        """Return the image as uint8 (height, width, 3), RGB.

        Raises AnonbenchError when the file is missing, damaged, edited, or not of the size that the annotations refer
        to.
        """
        return read_rgb(self.path, (self.width, self.height), self.labels_on, self.sha256)


@dataclass(frozen=True, slots=True)
class Clip:
    """A video: its frames in order, and the position of its action in `VariantSplit.actions`; None: it has none."""

    id: int
    frames: tuple[Sample, ...]
    action: int | None


@dataclass(frozen=True, slots=True)
class VariantSplit:
    """A split of a variant.

    ``counts`` says how many annotations are used and why the others are not. ``images_digest`` is the anonymize stage's
    sha256 over the images' hashes; None for a data set without its manifest. ``clips`` are the videos, if they
    were asked for, in the order of their ids, and ``actions`` the names that they may have.
    """

    annotations: Path
    sha256: str
    categories: tuple[Category, ...]
    samples: Samples
    counts: dict[str, int]
    images_digest: str | None = None
    actions: tuple[str, ...] = ()
    clips: tuple[Clip, ...] = ()

    @property
    def labelled(self) -> tuple[Clip, ...]:
        """The clips with an action."""
        return tuple(clip for clip in self.clips if clip.action is not None)

    @classmethod
    def read(cls, directory: str | Path, split: str, *, clips: bool = False) -> VariantSplit:
        """Read ``<directory>/annotations/<split>.json``; images are ``<directory>/<split>/<file_name>``.

        Images come in the order of their ids. Annotations marked ``iscrowd`` and boxes without area inside the image
        are counted, not used. With ``clips`` the videos are read, too, each of which has to be whole. Raises
        AnonbenchError for a file that is missing or is no COCO annotation file, and for whatever is not as the
        variant's manifest, if there is one, says (images by name and size).
        """
        path = Path(directory) / "annotations" / f"{split}.json"
        coco, annotations = lines.read(path)
        try:
            variant = cls._from_coco(coco, annotations, path, Path(directory) / split)
            if clips:
                actions, found = _clips(coco, variant.samples, path)
                variant = replace(variant, actions=actions, clips=found)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise AnonbenchError(
                f"is not a COCO annotation file ({in_one_line(error, typed=True)})", file=path
            ) from error
        if not manifests.exist(Path(directory), split):
            return variant
        hashes = manifests.verified(directory, split, contents=False)  # contents are hashed as they are read
        return variant.of_images(hashes, Path(directory) / split)

    def of_images(self, hashes: dict[str, str], folder: Path) -> VariantSplit:
        """Return the same split, whose images in ``folder`` must be those of the hashes (sha256 by name)."""

        def known(sample: Sample) -> Sample:
            return replace(sample, sha256=hashes.get(sample.path.relative_to(folder).as_posix()))

        clips = tuple(replace(clip, frames=tuple(known(frame) for frame in clip.frames)) for clip in self.clips)
        return replace(self, samples=self.samples.of(hashes), clips=clips, images_digest=manifests.digest_of(hashes))

    @classmethod
    def _from_coco(cls, coco: dict[str, Any], annotations: Sequence[Any], path: Path, images: Path) -> VariantSplit:
        categories = tuple(
            Category(_id(c), c["name"], is_people(c)) for c in sorted(coco["categories"], key=lambda c: c["id"])
        )
        label_of = {category.id: label for label, category in enumerate(categories, start=1)}
        ordered = [
            _Image(_id(image), int(image["width"]), int(image["height"]), image["file_name"], image.get("labels_on"))
            for image in sorted(coco["images"], key=lambda image: image["id"])
        ]
        place = {image.id: place for place, image in enumerate(ordered)}
        if len(place) != len(ordered):
            raise AnonbenchError("two images have the same id", file=path)
        for image in ordered:
            if image.labels_on not in (None, "upright", "stored"):
                raise AnonbenchError(f"labels_on is {image.labels_on!r}", file=images, entry=f"image {image.id}")
        counts = {"images": len(place), "used": 0, "crowd": 0, "empty_box": 0}
        of, ids = np.empty(len(annotations), np.int64), np.empty(len(annotations), np.int64)
        for index, annotation in enumerate(annotations):
            entry = f"annotation {annotation['id']}"
            if annotation["image_id"] not in place:
                raise AnonbenchError(f"names the unknown image {annotation['image_id']}", file=path, entry=entry)
            if annotation["category_id"] not in label_of:
                raise AnonbenchError(f"names the unknown category {annotation['category_id']}", file=path, entry=entry)
            if len(annotation.get("keypoints") or [0] * 51) != 3 * len(KEYPOINTS):
                raise AnonbenchError("keypoints are not COCO's 17 triples", file=path, entry=entry)
            of[index], ids[index] = place[annotation["image_id"]], operator.index(annotation["id"])
            counts[_use(annotation, ordered[of[index]])[0]] += 1
        order = np.lexsort((ids, of))
        first = np.searchsorted(of[order], np.arange(len(ordered) + 1))
        samples = Samples(ordered, annotations, order, first, label_of, images)
        return cls(path, sha256_file(path), categories, samples, counts)


def _id(entry: dict[str, Any]) -> int:
    """Return an entry's id; raise TypeError for what is no integer, OverflowError for one of more than 64 bits."""
    return int(np.int64(operator.index(entry["id"])))


class _Image(NamedTuple):
    id: int
    width: int
    height: int
    file_name: str
    labels_on: Frame | None


class Samples(Sequence[Sample]):
    """The images of a split in the order of their ids, each made of its annotations when it is asked for.

    Of ``annotations``, by image and then by their ids, ``order`` (N,) are the places, and those of image k begin at
    ``first[k]``.
    """

    def __init__(
        self,
        images: list[_Image],
        annotations: Sequence[dict[str, Any]],
        order: np.ndarray,
        first: np.ndarray,
        label_of: dict[int, int],
        folder: Path,
        hashes: dict[str, str] | None = None,
    ) -> None:
        self._images, self._annotations, self._order, self._first = images, annotations, order, first
        self._label_of, self._folder, self._hashes = label_of, folder, hashes or {}

    def of(self, hashes: dict[str, str]) -> Samples:
        """Return the same images, which must have these sha256, by file name."""
        return Samples(self._images, self._annotations, self._order, self._first, self._label_of, self._folder, hashes)

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        k = range(len(self))[index]
        places = self._order[self._first[k] : self._first[k + 1]].tolist()
        image = self._images[k]
        made = _sample(image, (self._annotations[p] for p in places), self._label_of, self._folder)
        return replace(made, sha256=self._hashes[image.file_name]) if image.file_name in self._hashes else made

    def __iter__(self) -> Iterator[Sample]:
        return (self[k] for k in range(len(self)))


def _use(annotation: dict[str, Any], image: _Image) -> tuple[str, tuple[float, float, float, float]]:
    """Return what an annotation counts as (see `VariantSplit.counts`), and its box inside the image."""
    x, y, w, h = annotation["bbox"]
    box = (max(x, 0.0), max(y, 0.0), min(x + w, image.width), min(y + h, image.height))
    if annotation.get("iscrowd"):
        return "crowd", box
    return "used" if box[2] > box[0] and box[3] > box[1] else "empty_box", box


def _sample(image: _Image, annotations: Iterable[dict[str, Any]], label_of: dict[int, int], folder: Path) -> Sample:
    boxes, labels, segmentations, keypoints = [], [], [], []
    for annotation in annotations:
        use, box = _use(annotation, image)
        if use == "used":
            boxes.append(box)
            labels.append(label_of[annotation["category_id"]])
            # `box`: the data has no mask, and the segmentation is the box's outline
            real = annotation.get("mask_source") != "box"
            segmentations.append((annotation.get("segmentation") or None) if real else None)
            keypoints.append(annotation.get("keypoints") or [0.0] * (3 * len(KEYPOINTS)))
    return Sample(
        id=int(image.id),
        path=folder / image.file_name,
        width=image.width,
        height=image.height,
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        labels=np.asarray(labels, np.int64),
        segmentations=segmentations,
        keypoints=np.asarray(keypoints, np.float32).reshape(-1, len(KEYPOINTS), 3),
        labels_on=image.labels_on,
    )


def _clips(coco: dict[str, Any], samples: Sequence[Sample], path: Path) -> tuple[tuple[str, ...], tuple[Clip, ...]]:
    """Return the actions and the clips of COCO-VID's `videos`; none where the file has none.

    Raises AnonbenchError for a clip that lacks a frame or has one twice, and for an action that is not listed.
    """
    if not coco.get("videos"):
        return (), ()
    actions = tuple(coco.get("actions", ()))
    of = {sample.id: sample for sample in samples}
    frames: dict[int, dict[int, Sample]] = {}
    for image in coco["images"]:
        if image.get("video_id") is not None:
            there = frames.setdefault(image["video_id"], {})
            if image["frame_index"] in there:
                raise AnonbenchError(
                    f"has frame {image['frame_index']} twice", file=path, entry=f"video {image['video_id']}"
                )
            there[image["frame_index"]] = of[image["id"]]
    clips = []
    for video in sorted(coco["videos"], key=lambda video: video["id"]):
        entry, there = f"video {video['id']}", frames.get(video["id"], {})
        count = max(video.get("frames", 0), len(there))
        missing = next((place for place in range(count) if place not in there), None)
        if missing is not None or not there:
            raise AnonbenchError(
                f"lacks frame {missing or 0} of {count}",
                file=path,
                entry=entry,
                remedy="write the variant again: a clip is used whole or not at all",
            )
        action = video.get("action")
        if action is not None and action not in actions:
            raise AnonbenchError(
                f"has the action {action!a:.80}, which is not among the file's", file=path, entry=entry
            )
        chosen = None if action is None else actions.index(action)
        clips.append(Clip(_id(video), tuple(there[place] for place in range(count)), chosen))
    return actions, tuple(clips)


def input_size(width: int, height: int, min_size: int, max_size: int) -> tuple[int, int]:
    """Return the network's input (width, height): shorter side ``min_size`` unless the longer exceeds ``max_size``."""
    scale = min(min_size / min(width, height), max_size / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def load_image(sample: Sample, size: tuple[int, int], flip: bool = False) -> torch.Tensor:
    """Return the image as uint8 (3, height, width), RGB, resized to ``size`` = (width, height), mirrored on request.

    Raises what `Sample.pixels` raises.
    """
    image = resized(sample.pixels(), size)
    if flip:
        image = image[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def load_target(sample: Sample, size: tuple[int, int], flip: bool = False, masks: bool = False) -> Target:
    """Return what is to be learned, in pixels of the network's input of ``size`` = (width, height).

    ``boxes`` float32 (n, 4), ``labels`` int64 (n,), ``keypoints`` float32 (n, 17, 3). With ``masks`` also
    ``masks`` uint8 (n, h, w): each mask in its own window of source pixels, zero-padded to a common size;
    ``mask_origin`` float32 (n, 2): the window's x, y in the source image (mirrored when ``flip``);
    ``mask_scale`` float32 (2,): source pixels per input pixel; ``has_mask`` bool (n,).
    """
    scale = np.asarray([size[0] / sample.width, size[1] / sample.height], np.float32)
    boxes = sample.boxes * np.tile(scale, 2)
    keypoints = sample.keypoints * np.append(scale, np.float32(1))
    if flip:
        boxes = np.stack([size[0] - boxes[:, 2], boxes[:, 1], size[0] - boxes[:, 0], boxes[:, 3]], axis=1)
        keypoints = keypoints[:, FLIP]
        keypoints[..., 0] = size[0] - keypoints[..., 0]
    target = {
        "boxes": torch.from_numpy(boxes),
        "labels": torch.from_numpy(sample.labels),
        "keypoints": torch.from_numpy(keypoints),
    }
    if masks:
        crops, origins = [], []
        for segmentation in sample.segmentations:
            crop, (x, y) = mask_window(segmentation, sample.width, sample.height)
            crops.append(crop[:, ::-1] if flip else crop)
            origins.append((sample.width - x - crop.shape[1] if flip else x, y))
        h = max((c.shape[0] for c in crops), default=1)
        w = max((c.shape[1] for c in crops), default=1)
        stacked = np.zeros((len(crops), h, w), np.uint8)
        for i, crop in enumerate(crops):
            stacked[i, : crop.shape[0], : crop.shape[1]] = crop
        target["masks"] = torch.from_numpy(stacked)
        target["mask_origin"] = torch.from_numpy(np.asarray(origins, np.float32).reshape(-1, 2))
        target["mask_scale"] = torch.from_numpy(1 / scale)
        target["has_mask"] = torch.from_numpy(stacked.any(axis=(1, 2)))
    return target


def mask_window(segmentation: Any, width: int, height: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode a COCO segmentation inside its own window: uint8 (h, w) with a border of zeros, and the window's x, y.

    The pixels are those that pycocotools decodes at full size. No segmentation gives an empty window.
    """
    if segmentation is None:
        return np.zeros((1, 1), np.uint8), (0, 0)
    if isinstance(segmentation, dict):
        rle = segmentation
        if isinstance(rle["counts"], list):
            rle = coco_mask.frPyObjects(rle, height, width)
        x, y, w, h = (int(v) for v in coco_mask.toBbox(rle))
        inside = coco_mask.decode(rle)[y : y + h, x : x + w]
    else:
        points = np.concatenate([np.asarray(p, np.float64).reshape(-1, 2) for p in segmentation])
        x, y = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0).tolist()
        right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, (width, height)).tolist()
        w, h = right - x, bottom - y
        if w <= 0 or h <= 0:
            return np.zeros((1, 1), np.uint8), (0, 0)
        moved = [(np.asarray(p, np.float64).reshape(-1, 2) - (x, y)).ravel().tolist() for p in segmentation]
        inside = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(moved, h, w)))
    return np.pad(inside, 1), (x - 1, y - 1)
