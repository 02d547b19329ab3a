"""Random people in random images: a data set in COCO's layout whose every pixel and mask the generator knows.

All images are noise of two values, one pixel wide, in each channel by itself where the file can hold that: what a
method leaves of a pixel shows, and no average of many pixels looks like one.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from anonbench.files import write_json

DARK, BRIGHT = 20, 235
"""The two values of the noise."""
SPLIT = "train"
MODES = (
    "rgb png", "rgb png", "grey png", "palette png", "alpha png", "grey alpha png", "16-bit png", "16-bit grey png",
    "1-bit png", "rgb jpeg", "4:2:0 jpeg", "grey jpeg", "progressive jpeg", "cmyk jpeg",
)  # fmt: skip
"""Kinds of files; PNG is commonest, since only there every pixel can be held to account."""


@dataclass
class Photo:
    """An image: ``pixels`` are those that the labels refer to, uint8 HxWx3 RGB; ``exact`` where the file holds them."""

    image_id: int
    name: str
    pixels: np.ndarray = field(repr=False)
    exact: bool
    grey: bool
    opaque: np.ndarray = field(repr=False)
    mode: str = ""


@dataclass
class Somebody:
    """A person: ``mask`` is bool HxW, what of the image must change in a variant of bodies (None: nothing can)."""

    person_id: int
    image_id: int
    mask: np.ndarray | None = field(repr=False)
    face: tuple[float, float, float, float] | None
    entry: dict[str, Any] = field(repr=False)


@dataclass
class Crowds:
    """Images and people under ``folder``, a data set that `anonbench annotate` reads."""

    folder: Path
    seed: int
    photos: dict[int, Photo]
    people: dict[int, list[Somebody]]

    @property
    def root(self) -> Path:
        return self.folder / "raw"

    def everybody(self) -> list[Somebody]:
        """Return all people by image."""
        return [one for group in self.people.values() for one in group]


def make(folder: Path, count: int, seed: int) -> Crowds:
    """Write a data set with ``count`` people; the same for the same seed."""
    rng = np.random.default_rng(seed)
    crowds = Crowds(folder, seed, {}, {})
    (crowds.root / SPLIT).mkdir(parents=True)
    done = 0
    while done < count:
        image_id = 7 * len(crowds.photos) + 1
        height, width = _side(rng), _side(rng)
        crowds.photos[image_id] = _photo(rng, crowds.root / SPLIT, image_id, width, height)
        number = min(count - done, int(rng.integers(1, 60 if rng.random() < 0.6 else 4)))
        crowds.people[image_id] = [
            _somebody(rng, image_id, person_id, width, height) for person_id in range(3 * done, 3 * (done + number), 3)
        ]
        done += number
    save(crowds)
    return crowds


def save(crowds: Crowds, rng: np.random.Generator | None = None) -> None:
    """Write the annotations, shuffled by ``rng``, and the record of the download."""
    images = [
        {"id": p.image_id, "file_name": p.name, "width": p.pixels.shape[1], "height": p.pixels.shape[0]}
        for p in crowds.photos.values()
    ]
    entries = [one.entry for one in crowds.everybody()]
    if rng is not None:
        rng.shuffle(images)  # type: ignore[arg-type]
        rng.shuffle(entries)  # type: ignore[arg-type]
    categories = [{"id": 1, "name": "person", "supercategory": "person"}]
    path = crowds.root / "annotations" / f"instances_{SPLIT}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": entries, "categories": categories}))
    write_json(crowds.folder / "download.json", {"dataset": "crowds", "root": "raw"})


def _side(rng: np.random.Generator) -> int:
    """Return 1 to 200, the small ones too."""
    return int(rng.integers(1, 12)) if rng.random() < 0.1 else int(rng.integers(12, 201))


# Images


def _photo(rng: np.random.Generator, folder: Path, image_id: int, width: int, height: int) -> Photo:
    mode = str(rng.choice(MODES))
    grey = "grey" in mode or "1-bit" in mode
    coloured = not grey and "jpeg" not in mode  # JPEG averages the colours of neighbours
    values = rng.integers(0, 2, (height, width, 3 if coloured else 1), dtype=np.uint8)
    pixels = np.where(values > 0, BRIGHT, DARK).astype(np.uint8)
    if "1-bit" in mode:
        pixels = values * np.uint8(255)
    pixels = np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))
    opaque = np.ones((height, width), bool)
    if "alpha" in mode and rng.random() < 0.5:
        opaque = rng.random((height, width)) < 0.7
    orientation = int(rng.integers(1, 9)) if rng.random() < 0.5 else 1
    kept, seen = stored(pixels, orientation), stored(opaque, orientation)
    data = png(kept, seen, mode, orientation) if "png" in mode else jpeg(kept, mode, orientation, rng)
    name = f"{'deep/' if image_id % 3 == 0 else ''}{image_id}.{'png' if 'png' in mode else 'jpg'}"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return Photo(image_id, name, pixels, "png" in mode, not coloured, opaque, f"{mode}, orientation {orientation}")


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return the array that a viewer turns into ``upright`` by an EXIF orientation, as the EXIF standard words it.

    The number says where the stored row 0 and column 0 are in the picture: 2 top right, 3 bottom right, 4 bottom left,
    5 left top, 6 right top, 7 right bottom, 8 left bottom.
    """
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright[:, ::-1].swapaxes(0, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: upright[::-1].swapaxes(0, 1),
    }
    return np.ascontiguousarray(turned[orientation])


def exif(orientation: int) -> dict[str, Any]:
    if orientation == 1:
        return {}
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


def png(pixels: np.ndarray, opaque: np.ndarray, mode: str, orientation: int) -> bytes:
    alpha = np.where(opaque, 255, 0).astype(np.uint8)
    if "16-bit" in mode:
        deep = pixels.astype(np.uint16) * 257
        data: bytes = cv2.imencode(".png", deep[..., 0] if "grey" in mode else deep[..., ::-1])[1].tobytes()
        return _with_orientation(data, orientation)
    image = Image.fromarray(pixels)
    if mode == "grey png":
        image = image.convert("L")
    elif mode == "1-bit png":
        image = image.convert("L").convert("1", dither=Image.Dither.NONE)
    elif mode == "palette png":
        image = image.quantize(8, dither=Image.Dither.NONE) if pixels.size > 3 else image.convert("P")
        if (np.asarray(image.convert("RGB")) != pixels).any():  # the quantiser has merged colours: a palette of our own
            image = _palette(pixels)
    elif mode == "alpha png":
        image = Image.fromarray(np.dstack([pixels, alpha]))
    elif mode == "grey alpha png":
        image = Image.merge("LA", (Image.fromarray(pixels[..., 0]), Image.fromarray(alpha)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, **exif(orientation))
    return buffer.getvalue()


def _palette(pixels: np.ndarray) -> Image.Image:
    index = (pixels > 128).astype(np.uint8) @ np.array([1, 2, 4], np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette([BRIGHT if colour >> channel & 1 else DARK for colour in range(8) for channel in range(3)])
    return image


def _with_orientation(data: bytes, orientation: int) -> bytes:
    """Put an eXIf chunk behind the header of a PNG file."""
    if orientation == 1:
        return data
    import struct
    import zlib

    body = b"eXIf" + b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


def jpeg(pixels: np.ndarray, mode: str, orientation: int, rng: np.random.Generator) -> bytes:
    image = Image.fromarray(pixels)
    if mode == "grey jpeg":
        image = image.convert("L")
    elif mode == "cmyk jpeg":
        image = image.convert("CMYK")
    options: dict[str, Any] = {"quality": int(rng.integers(80, 97)), "progressive": mode == "progressive jpeg"}
    if mode in ("4:2:0 jpeg", "rgb jpeg"):
        options["subsampling"] = "4:2:0" if mode == "4:2:0 jpeg" else "4:4:4"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options, **exif(orientation))
    return buffer.getvalue()


# People

KINDS = (
    "polygon", "polygon", "polygon", "noise", "holes", "box only", "empty mask", "huge", "beyond", "outside", "crowd",
    "pixel", "no size",
)  # fmt: skip


def _somebody(rng: np.random.Generator, image_id: int, person_id: int, width: int, height: int) -> Somebody:
    kind = str(rng.choice(KINDS))
    w, h = (float(np.exp(rng.uniform(0, np.log(max(side, 2))))) for side in (width, height))
    x, y = rng.uniform(-w / 3, width - w / 2), rng.uniform(-h / 3, height - h / 2)
    if rng.random() < 0.5:
        x, y, w, h = (float(round(v)) for v in (x, y, max(w, 1), max(h, 1)))
    if kind == "huge":
        x, y, w, h = 0.0, 0.0, float(width), float(height)
    elif kind == "beyond":
        x, y = rng.choice([-0.6 * w, width - 0.4 * w]), rng.choice([-0.6 * h, height - 0.4 * h])
    elif kind == "outside":
        x, y = rng.choice([-w - 3, width + 2.0]), rng.choice([-h - 3, height + 2.0])
    elif kind == "pixel":
        x, y, w, h = float(rng.integers(0, width)), float(rng.integers(0, height)), 1.0, 1.0
    entry: dict[str, Any] = {"id": person_id, "image_id": image_id, "category_id": 1, "bbox": [x, y, w, h]}
    entry |= {"iscrowd": int(kind == "crowd"), "area": w * h}
    rle = None
    if kind in ("noise", "holes", "crowd", "empty mask", "pixel"):
        mask = _mask(rng, kind, (x, y, w, h), width, height)
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        entry["segmentation"] = {"size": [height, width], "counts": rle["counts"].decode()}
    elif kind not in ("box only", "no size"):
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 12))))
        points = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], axis=1)
        if kind == "huge":
            points = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
        entry["segmentation"] = [points.ravel().tolist()]
        rle = coco_mask.merge(coco_mask.frPyObjects(entry["segmentation"], height, width))
    if kind == "no size":
        entry["bbox"] = [x, y, 0.0, h]
    mask = coco_mask.decode(rle).astype(bool) if rle is not None else np.zeros((height, width), bool)
    if not mask.any() and kind != "no size":  # what can be known of the person is their box
        mask = np.zeros((height, width), bool)
        x0, y0 = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
        mask[y0 : max(0, int(np.ceil(y + h))), x0 : max(0, int(np.ceil(x + w)))] = True
    face = _face(rng, entry, (x, y, w, h))
    return Somebody(person_id, image_id, mask if mask.any() else None, face, entry)


def _mask(rng: np.random.Generator, kind: str, box: Any, width: int, height: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    if kind == "empty mask":
        return mask
    x, y, w, h = box
    x0, y0 = max(0, int(x)), max(0, int(y))
    inside = mask[y0 : max(int(y + h), y0 + 1), x0 : max(int(x + w), x0 + 1)]
    share = {"noise": 0.5, "crowd": 0.3}.get(kind)
    if share is None:
        inside[:] = True
        if kind == "holes":
            inside[1:-1:4, 1:-1:3] = False
    else:
        inside[:] = rng.random(inside.shape) < share
    return mask


def _face(rng: np.random.Generator, entry: dict[str, Any], box: Any) -> tuple[float, float, float, float] | None:
    """Give some people a face box, now and then outside the image or without a size, others keypoints."""
    x, y, w, h = box
    drawn = rng.random()
    if drawn < 0.5:
        face = (x + w / 4, y, w / 2, h / 3)
        if drawn < 0.05:
            face = (-50.0, -50.0, 20.0, 20.0)
        elif drawn < 0.08:
            face = (x, y, w, 0.0)
        entry["face"] = {"bbox": list(face)}
        return face
    if drawn < 0.8:
        points = np.zeros((17, 3))
        points[:5] = [
            (x + w * a, y + h * b, 2) for a, b in ((0.5, 0.2), (0.4, 0.15), (0.6, 0.15), (0.3, 0.2), (0.7, 0.2))
        ]
        points[:, :2] = np.maximum(points[:, :2], 0)
        entry["keypoints"], entry["num_keypoints"] = points.ravel().tolist(), 5
    return None
