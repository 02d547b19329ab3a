"""Data sets of video files: their frames are decoded once, into a data set of clips that has all a study reads.

Written are ``<split>/<video>/<frame>.jpg`` and, last, ``annotations/<split>.json`` (COCO-VID), under numbers that say
nothing of a video. Nobody is annotated in these data sets, and somebody is in almost every frame: each has one
annotation, a crowd (``iscrowd``) as large as the frame.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg
from pydantic import Field
from tqdm import tqdm

from anonbench.blocks import Strict
from anonbench.datasets.base import Split
from anonbench.datasets.layout import unrelated_order
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, write_bytes, write_json

CATEGORY = {"id": 1, "name": "person", "supercategory": "person"}
KEY = ".frames.json"
"""What a split's frames were made of, so that those of other options are not taken for them."""

Labels = Callable[[int], dict[str, str]]
"""The attributes of whoever is in a frame, by its number in the video file, from 0."""


class VideoOptions(Strict):
    """How the frames of video files are kept."""

    every: int = Field(1, ge=1, description="Keep each n-th frame of a video, from the first on.")
    most: int | None = Field(
        None, ge=1, description="Keep so many of these at most, from the middle of the video; all when left out."
    )
    shorter_side: int | None = Field(
        None, ge=16, description="Scale frames so that the shorter side has so many pixels; as they are when left out."
    )
    format: Literal["jpg", "png"] = Field(
        "jpg", description="`png` keeps what was decoded, in several times the space."
    )
    quality: int = Field(95, ge=1, le=100, description="Of JPEG files.")


@dataclass(frozen=True, slots=True)
class Video:
    """A video file (POSIX path relative to the root), its action, and what is said of who is in its frames."""

    path: str
    action: str
    labels: Labels | None = field(default=None, repr=False)


def frames_of(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a video file, uint8 HxWx3 RGB, in the order in which they are shown.

    Raises AnonbenchError when the file is missing, cannot be decoded to its end or has no picture.
    """
    try:
        import av
    except ImportError as error:
        raise AnonbenchError("reading videos needs the package av", remedy="install it: pip install av") from error
    if not path.is_file():
        raise AnonbenchError("is not on disk", file=path, remedy="unpack the videos again, or check root")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise AnonbenchError("has no picture", file=path, remedy="fetch the video again")
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except av.FFmpegError as error:
        raise AnonbenchError(
            f"cannot be decoded ({error.strerror})", file=path, remedy="fetch the video again"
        ) from error


def convert(
    root: Path,
    target: Path,
    split: str,
    videos: Sequence[Video],
    options: VideoOptions,
    *,
    sources: Sequence[Path],
    actions: Sequence[str],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Decode the videos of a split under ``target`` and write its annotations last.

    A video whose frames are all there is not decoded again. ``sources`` are the lists that say which videos are in the
    split; their names are kept.
    """
    key = {"options": options.model_dump(mode="json"), "videos": {v.path: _size(root / v.path) for v in videos}}
    folder, annotations = target / split, target / "annotations" / f"{split}.json"
    annotations.unlink(missing_ok=True)
    if folder.is_dir() and _read(folder / KEY) != key:
        # a removal that is killed must leave nothing that speaks for the frames that it has left
        (folder / KEY).unlink(missing_ok=True)
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / KEY, key)
    by_path = {video.path: video for video in videos}
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "videos": []}
    bar = tqdm(unrelated_order(split, by_path), f"frames of {split}", unit="video", disable=None)
    for number, path in enumerate(bar, 1):
        made = folder / f"{number:06d}"
        if not made.is_dir():
            _decode(root / path, made, options)
        _describe(content, number, made, by_path[path], options)
    write_json(
        annotations,
        {
            "info": {"description": f"frames of {split}", "sources": [path.name for path in sources]},
            **content,
            "categories": [CATEGORY],
            "actions": list(actions),
            **({"attributes": dict(attributes)} if attributes else {}),
        },
        indent=None,
    )


def read(root: Path, split: str) -> Split:
    """Return a split that `convert` wrote under ``root``."""
    file = root / "annotations" / f"{split}.json"
    coco = read_json(file)
    if not isinstance(coco, dict) or not (root / split).is_dir():
        raise AnonbenchError("is not a split of decoded frames", file=file, remedy="delete it and run download again")
    return Split(
        folder=Path(split),
        images=coco["images"],
        categories=coco["categories"],
        annotations=coco["annotations"],
        sources=(file,),
        info=coco["info"],
        videos=coco["videos"],
        actions=coco["actions"],
        attributes=coco.get("attributes", {}),
    )


def kept(count: int, options: VideoOptions) -> list[int]:
    """Return the numbers, from 0, of the frames that are kept of a video of ``count``."""
    found = list(range(0, count, options.every))
    if options.most is None or len(found) <= options.most:
        return found
    start = (len(found) - options.most) // 2
    return found[start : start + options.most]


def _decode(path: Path, made: Path, options: VideoOptions) -> None:
    """Write the frames that are kept of a video into the folder ``made``, which appears when all are there."""
    part = made.with_name(f".{made.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    # where the middle is, only a whole video tells; the header's count is often wrong
    wanted = None if options.most is None else {*kept(sum(1 for _ in frames_of(path)), options)}
    size: tuple[int, ...] | None = None
    for number, frame in enumerate(frames_of(path)):
        if number not in wanted if wanted is not None else number % options.every:
            continue
        if size not in (None, frame.shape):
            raise AnonbenchError("changes its size", file=path, entry=f"frame {number}", remedy="leave it out")
        size = frame.shape
        write_bytes(part / f"{number:06d}.{options.format}", _encode(frame, options))
    if size is None:
        raise AnonbenchError("has no frames", file=path, remedy="fetch the video again")
    part.rename(made)


def _encode(frame: np.ndarray, options: VideoOptions) -> bytes:
    height, width = frame.shape[:2]
    if options.shorter_side is not None:
        scale = options.shorter_side / min(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if options.format == "jpg":
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(frame), options.quality, "RGB", "420", fastdct=False))
    done, data = cv2.imencode(".png", frame[:, :, ::-1])
    assert done
    return bytes(data)


def _describe(
    content: dict[str, list[dict[str, Any]]], number: int, made: Path, video: Video, options: VideoOptions
) -> None:
    """Add a video, its frames and whoever is in them to COCO's lists."""
    frames = sorted(made.iterdir())
    pixels = cv2.imread(str(frames[0]))
    if pixels is None:
        raise AnonbenchError("is not an image", file=frames[0], remedy="delete its folder and run download again")
    height, width = pixels.shape[:2]
    size = {"width": width, "height": height}
    content["videos"].append({"id": number, "action": video.action, **size})
    for index, frame in enumerate(frames):
        image = len(content["images"]) + 1
        name = f"{made.name}/{frame.name}"
        content["images"].append({"id": image, "file_name": name, **size, "video_id": number, "frame_index": index})
        said = video.labels(int(frame.stem)) if video.labels else {}
        content["annotations"].append(
            {"id": image, "image_id": image, "category_id": CATEGORY["id"], "bbox": [0, 0, width, height]}
            | {"area": width * height, "iscrowd": 1}
            | ({"attributes": said} if said else {})
        )


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _read(path: Path) -> Any:
    return read_json(path) if path.is_file() else None
