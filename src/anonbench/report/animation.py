"""Clips before and after: short animations of original and variant side by side, for data sets of clips."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anonbench import manifests
from anonbench.datasets.coco import CocoFile
from anonbench.report.pictures import data_url, read
from anonbench.report.study import ORIGINAL, ReportStudy, phrase

WIDTH = 176
"""Pixels of one of the two halves, at most."""
FRAMES = 12
"""Frames of an animation, from the clip's first on."""
MOST = 24
"""With more animations than this only one clip is shown of each variant, so that the page does not grow."""
QUALITY, EFFORT = 60, 4
"""Of the WebP files."""
SPEED = 8.0
"""Frames per second of a clip that does not say."""
GAP = 4
"""Pixels between the halves."""


def animations(study: ReportStudy, anonymized: Path) -> list[dict[str, Any]]:
    """Return for each data set of clips the animations by variant, as WebP data URLs, and the rule that chose them.

    An animation has a ``still``, its first frame, for those who want nothing to move, and a text in its place. Shown
    is, of each kind of action, the clip in the middle of the split; where there are no kinds, of all. Data
    sets without clips are left out. Raises AnonbenchError when images or manifests are missing or damaged.
    """
    found = []
    for dataset in study.datasets:
        root, split = anonymized / dataset, study.shown_split(dataset)
        variants = [v for v in study.variants_of(dataset) if v != ORIGINAL and manifests.exist(root / v, split)]
        annotations = manifests.annotations_path(root / ORIGINAL, split)
        if not variants or not annotations.is_file():
            continue
        originals = CocoFile(annotations)
        chosen = _chosen(originals)
        if not chosen:
            continue
        if len(chosen) * len(variants) > MOST:
            chosen = chosen[:1]
        groups = [_group(root, split, variant, originals, chosen) for variant in variants]
        found.append({"dataset": dataset, "rule": _rule(split, len(chosen) > 1), "groups": groups})
    return found


def _rule(split: str, several: bool) -> str:
    which = "of each kind of action the clip in the middle of" if several else "the clip in the middle of"
    return (
        f"Left the original, right the variant: {which} the split “{split}”, whoever and whatever it shows, up to "
        f"{FRAMES} frames."
    )


def _chosen(file: CocoFile) -> list[dict[str, Any]]:
    """Return the videos to show."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for video in file.videos:
        if video.get("action"):
            kinds.setdefault(str(file.action_kinds.get(video["action"], "")), []).append(video)
    return [videos[len(videos) // 2] for _, videos in sorted(kinds.items())]


def _group(root: Path, split: str, variant: str, originals: CocoFile, videos: list[dict[str, Any]]) -> dict[str, Any]:
    named = {image["id"]: image for image in CocoFile(manifests.annotations_path(root / variant, split)).images}
    known = {which: manifests.image_hashes(root / which, split) for which in (ORIGINAL, variant)}

    def picture(which: str, image: dict[str, Any]) -> np.ndarray:
        return read(root / which / split, image, known[which].get(image["file_name"]))

    clips = []
    for video in videos:
        frames = sorted(
            (image for image in originals.images if image.get("video_id") == video["id"] and image["id"] in named),
            key=lambda image: image.get("frame_index") or 0,
        )[:FRAMES]
        if not frames:
            continue
        both = [_beside(picture(ORIGINAL, image), picture(variant, named[image["id"]])) for image in frames]
        action = str(video["action"]).replace("_", " ")
        clips.append(
            {
                "action": action,
                "moving": _url(both, float(video.get("fps") or SPEED)),
                "still": _url(both[:1], SPEED),
                "width": both[0].width,
                "height": both[0].height,
                "alt": f"A clip of “{action}”, {len(both)} frames: on the left as it is, on the right after "
                f"{phrase(variant)}",
            }
        )
    return {"variant": variant, "clips": clips}


def _beside(before: np.ndarray, after: np.ndarray) -> Image.Image:
    """Return two images of the same size beside each other."""
    height, width = before.shape[:2]
    scale = min(1.0, WIDTH / width)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    found = Image.new("RGB", (2 * size[0] + GAP, size[1]), "white")
    for at, image in enumerate((before, after)):
        found.paste(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), (at * (size[0] + GAP), 0))
    return found


def _url(frames: list[Image.Image], speed: float) -> str:
    """Return frames as a WebP data URL; several play for ever."""
    buffer = io.BytesIO()
    moving: dict[str, Any] = {}
    if len(frames) > 1:
        moving = {"save_all": True, "append_images": frames[1:], "duration": round(1000 / speed), "loop": 0}
    frames[0].save(buffer, "WEBP", quality=QUALITY, method=EFFORT, **moving)
    return data_url("webp", buffer.getvalue())
