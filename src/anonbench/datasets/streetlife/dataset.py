"""A split of streetlife on disk: images and COCO JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import simplejpeg
from tqdm import tqdm

from anonbench.errors import AnonbenchError, nearest
from anonbench.files import write_bytes
from anonbench.records import KEYPOINTS, SKELETON

from . import attributes as traits
from .actions import MOTIONS
from .clips import render_clip
from .options import Options
from .render import Scene, render_scene
from .scene import CAR, PERSON, RIDER
from .sprite import Bytes

_PERSON_KEYS = {"keypoints": list(KEYPOINTS), "skeleton": [list(bone) for bone in SKELETON], "supercategory": "person"}
CATEGORIES: list[dict[str, Any]] = [
    {"id": PERSON, "name": "person", **_PERSON_KEYS},
    {"id": RIDER, "name": "rider", **_PERSON_KEYS},
    {"id": CAR, "name": "car", "supercategory": "vehicle"},
]
LICENSE = {"id": 1, "name": "CC0-1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}


def encode(image: Bytes, options: Options) -> bytes:
    """RGB pixels as a file's content."""
    if options.format == "png":
        done, data = cv2.imencode(".png", image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])
        if not done:
            raise RuntimeError("OpenCV could not encode a PNG")
        return bytes(data)
    return bytes(simplejpeg.encode_jpeg(image, options.quality, "RGB", "420", fastdct=False))


def render_split(
    options: Options, split: str, directory: str | os.PathLike[str], progress: bool = True
) -> dict[str, Any]:
    """Write `directory/<split>/000001.jpg` ... and `directory/annotations/<split>.json`; return the latter's content.

    The frames of clip 1 are `000001_0000.jpg` ... Each file appears whole or not at all, the annotations last.
    """
    if split not in options.splits:
        raise AnonbenchError(f"streetlife has no split '{split}'{nearest(split, options.splits)}")
    root = Path(directory)
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    videos: list[dict[str, Any]] = []
    size = {"height": options.height, "width": options.width}

    def write(scene: Scene, name: str, **place: int) -> None:
        image = len(images) + 1
        write_bytes(root / split / name, encode(scene.image, options))
        images.append({"file_name": name, "id": image, "license": LICENSE["id"], **size, **place})
        for record in scene.objects:
            annotations.append({**record, "id": len(annotations) + 1, "image_id": image})

    unit = "clip" if options.of_clips else "image"
    for index in tqdm(range(1, options.splits[split] + 1), f"streetlife {split}", unit=unit, disable=not progress):
        if not options.of_clips:
            write(render_scene(options, split, index), f"{index:06d}.{options.format}")
            continue
        clip = render_clip(options, split, index)
        videos.append({"action": clip.action, "fps": options.fps, "id": index, "name": f"{index:06d}", **size})
        for frame, scene in enumerate(clip.frames):
            write(scene, f"{index:06d}_{frame:04d}.{options.format}", video_id=index, frame_index=frame)
    kinds = {action: MOTIONS[action].kind for action in options.actions} if options.of_clips else {}
    content: dict[str, Any] = {
        "annotations": annotations,
        "categories": CATEGORIES,
        "images": images,
        "info": {
            "contributor": "anonbench",
            "description": "streetlife: rendered street scenes with complete ground truth",
            "options": options.of_split(split),
            "split": split,
            "version": "1.0",
        },
        "licenses": [LICENSE],
        **({"actions": list(options.actions), "videos": videos} if options.of_clips else {}),
        **({"action_kinds": kinds} if len({*kinds.values()}) > 1 else {}),
        **({"attributes": traits.lists(options)} if options.attributes else {}),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    write_bytes(root / "annotations" / f"{split}.json", text.encode() + b"\n")
    return content
