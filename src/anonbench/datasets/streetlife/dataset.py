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

from .options import Options
from .render import render_scene
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

    Each file appears whole or not at all, the annotations last.
    """
    if split not in options.splits:
        raise AnonbenchError(f"streetlife has no split '{split}'{nearest(split, options.splits)}")
    root = Path(directory)
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in tqdm(range(1, options.splits[split] + 1), f"streetlife {split}", unit="image", disable=not progress):
        scene = render_scene(options, split, index)
        name = f"{index:06d}.{options.format}"
        write_bytes(root / split / name, encode(scene.image, options))
        images.append(
            {"file_name": name, "height": options.height, "id": index, "license": LICENSE["id"], "width": options.width}
        )
        for record in scene.objects:
            annotations.append({**record, "id": len(annotations) + 1, "image_id": index})
    content: dict[str, Any] = {
        "annotations": annotations,
        "categories": CATEGORIES,
        "images": images,
        "info": {
            "contributor": "anonbench",
            "description": "streetlife: rendered street scenes with complete ground truth",
            "options": options.model_dump(mode="json"),
            "split": split,
            "version": "1.0",
        },
        "licenses": [LICENSE],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    write_bytes(root / "annotations" / f"{split}.json", text.encode() + b"\n")
    return content
