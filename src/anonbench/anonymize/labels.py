"""What a variant's JSON may say: a named list of COCO's keys, each of its own form.

A data set's annotations link to the photographs (``flickr_url``, ``coco_url``), date and place them and name people
(``identity``: the same person in every image). A variant keeps what a training or an evaluation reads, and nothing that
is not listed here passes, at any depth. The rest stays in the folder that `annotate` wrote; the manifest counts it.

Kept are labels of *where* (boxes, masks, keypoints, ``face``, ``head``), which a detector finds in the pixels too,
and of *what is done* in a clip (``action``, one of the data set's own list), never of *who*: neither ``identity`` nor
``attributes`` (hair, clothes), nor a clip's name, which nobody needs and which often is the actor's. Of a licence its
id and, if it is a public one, the URL of its text: free text names the photographer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from anonbench.datasets.coco import CocoFile
from anonbench.errors import AnonbenchError
from anonbench.files import atomic

Number = int | float


COMPRESSED = re.compile("[0-o]*")
"""Run lengths as pycocotools compresses them."""


class Runs(msgspec.Struct):
    """A mask as COCO's run lengths, compressed or not."""

    size: Annotated[list[int], msgspec.Meta(min_length=2, max_length=2)]
    counts: list[int] | str

    def __post_init__(self) -> None:
        # no pattern in the type: beside a list msgspec 0.22 frees it as what it is not when the process ends
        if isinstance(self.counts, str) and not COMPRESSED.fullmatch(self.counts):
            raise ValueError("is no compressed run lengths")


FourNumbers = Annotated[list[Number], msgspec.Meta(min_length=4, max_length=4)]


class Face(msgspec.Struct):
    """A face's box: x, y, width, height in pixels."""

    bbox: FourNumbers


KEPT: dict[str, dict[str, Any]] = {
    "image": {
        "id": int,
        "file_name": str,
        "width": int,
        "height": int,
        "license": int,
        "subsets": list[str],
        "labels_on": Literal["upright", "stored"],
        "video_id": int,
        "frame_index": int,
    },
    "video": {"id": int, "width": int, "height": int, "frames": int, "action": str},
    "annotation": {
        "id": int,
        "image_id": int,
        "category_id": int,
        "bbox": FourNumbers,
        "area": Number,
        "iscrowd": int,
        "segmentation": list[list[Number]] | Runs,
        "mask_source": Literal["box"],
        "keypoints": list[Number],
        "num_keypoints": Number,
        "face": Face,
        "head": list[Number],
        "ignore": bool | int,
        "void": bool | int,
        "subsets": list[str],
    },
    "category": {
        "id": int,
        "name": str,
        "supercategory": str,
        "keypoints": list[str],
        "skeleton": list[list[int]],
        "people": bool,
    },
    "license": {"id": int, "url": str},
}
"""The keys that a variant's JSON keeps, in the order in which they are written, and the form of their values."""

NEEDED = {
    "image": ("id", "file_name", "width", "height"),
    "video": ("id", "width", "height", "frames"),
    "annotation": ("id", "image_id", "category_id", "bbox"),
    "category": ("id", "name"),
}
"""Without these an entry is none."""

INFO = {"description": "a data set in COCO's format, written by anonbench"}
"""The same in every variant of every data set: what is said of a source names it."""

PUBLIC_LICENSE = re.compile(
    r"https?://(creativecommons\.org/(licenses/[a-z-]+/\d\.\d|publicdomain/(zero|mark)/1\.0)/?"
    r"|(www\.)?flickr\.com/commons/usage/?|www\.usa\.gov/copyright\.shtml)"
)
"""Addresses of the texts of licences that are not one photographer's own: Creative Commons', and COCO's other two."""


class Labels:
    """What of a COCO file may be handed out. ``left_out`` counts, by key, what may not; complete once all is read.

    Raises AnonbenchError for a file that is not COCO's, and for an entry without what `NEEDED` lists.
    """

    def __init__(self, file: Path) -> None:
        self.coco = CocoFile(file)
        self.left_out = Counter(f"info.{key}" for key in self.coco.info)
        self.licenses = self._licenses(self.coco.licenses)
        self._known = {entry["id"] for entry in self.licenses}
        self.categories = [self._entry("category", entry) for entry in self.coco.categories]
        self.images = [self._image(entry) for entry in self.coco.images]
        self.actions = [action for action in self.coco.actions if isinstance(action, str)]
        # names of the data set's own, as actions are; told of all actions or of none
        self.action_kinds = self._kinds(self.coco.action_kinds)
        self.videos = [self._video(entry) for entry in self.coco.videos]
        self.left_out.update(f"attributes.{name}" for name in self.coco.attributes)

    def annotations(self, order: Iterable[int] | None = None) -> Iterable[dict[str, Any]]:
        """Yield the annotations one by one, in the file's order, or those at the positions that ``order`` gives."""
        entries = self.coco.annotations
        for entry in entries if order is None else entries.at(order):
            yield self._entry("annotation", entry)

    def write(
        self,
        target: Path,
        images: list[dict[str, Any]] | None = None,
        annotations: Iterable[dict[str, Any]] | None = None,
        videos: list[dict[str, Any]] | None = None,
    ) -> None:
        """Write a COCO file atomically; ``images``, ``annotations`` and ``videos`` may be given, changed from these."""
        encode = msgspec.json.Encoder().encode
        head = {
            "info": INFO,
            "licenses": self.licenses,
            "images": self.images if images is None else images,
            "categories": self.categories,
        }
        if self.videos:
            head |= {"videos": self.videos if videos is None else videos, "actions": self.actions}
            if self.action_kinds:
                head |= {"action_kinds": self.action_kinds}
        with atomic(target) as part, open(part, "wb") as stream:
            stream.write(encode(head)[:-1] + b',"annotations":[')
            separator = b"\n"
            for entry in self.annotations() if annotations is None else annotations:
                stream.write(separator + encode(entry))
                separator = b",\n"
            stream.write(b"\n]}\n")

    def _entry(self, what: str, entry: Any) -> dict[str, Any]:
        """Return an entry's listed keys, in the list's order; count the others and what is not of its form."""
        listed, kept = KEPT[what], {}
        if not isinstance(entry, dict):
            entry = {}
        for key, form in listed.items():
            if key not in entry:
                continue
            value = entry[key]
            try:
                kept[key] = msgspec.convert(value, form)
            except msgspec.ValidationError:
                self.left_out[f"{what}.{key}"] += 1
                continue
            if isinstance(value, dict):
                for extra in value.keys() - set(kept[key].__struct_fields__):
                    self.left_out[f"{what}.{key}.{extra}"] += 1
        if len(kept) < len(entry):
            self.left_out.update(f"{what}.{key}" for key in entry.keys() - listed.keys())
        for key in NEEDED.get(what, ()):
            if key not in kept:
                raise AnonbenchError(
                    f"has no usable {key}",
                    file=self.coco.path,
                    entry=f"{what} {kept.get('id', '')}".strip(),
                    remedy="run the annotate stage again",
                )
        return kept

    def _image(self, entry: dict[str, Any]) -> dict[str, Any]:
        image = self._entry("image", entry)
        if "license" in image and image["license"] not in self._known:
            del image["license"]
            self.left_out["image.license"] += 1
        return image

    def _video(self, entry: dict[str, Any]) -> dict[str, Any]:
        video = self._entry("video", entry)
        if "action" in video and video["action"] not in self.actions:
            del video["action"]
            self.left_out["video.action"] += 1
        return video

    def _kinds(self, given: dict[Any, Any]) -> dict[str, str]:
        kept = {action: given[action] for action in self.actions if isinstance(given.get(action), str)}
        if len(kept) == len(given) == len(self.actions):
            return kept
        self.left_out.update(f"action_kinds.{action}" for action in given)
        return {}

    def _licenses(self, entries: list[Any]) -> list[dict[str, Any]]:
        found = []
        for entry in entries:
            kept = self._entry("license", entry)
            if isinstance(kept.get("url"), str):
                kept["url"] = kept["url"].replace("\\/", "/")  # escaped twice, as some files have it
            if len(kept) == len(KEPT["license"]) and PUBLIC_LICENSE.fullmatch(kept["url"]):
                found.append(kept)
            else:
                self.left_out.update(f"license.{key}" for key in kept)
        return found
