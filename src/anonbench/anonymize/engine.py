"""Applies a method to the people of an image: order, crops, resizing, pasting, seeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import cv2
import numpy as np

from anonbench import registry
from anonbench.anonymize.contract import Changed, Method, Result, Scalar, checked_facts
from anonbench.crops import Crop, Work, cut
from anonbench.errors import AnonbenchError, in_one_line
from anonbench.records import ANONYMIZED, CONTROL, Reason, Region, RegionKind
from anonbench.windows import PixelBox


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a region: ``fallback`` names the method that was used when the first one failed.

    ``facts`` are what the method says of it (`contract.Changed`).
    ``weak`` says why the person may still be recognised (`Method.weakness`). The outcome of a frame has the
    ``person_id`` 0, and in ``weak_people`` what there is to say of the people in it, by person id; ``statuses`` has
    theirs by person id, where another variant decides that (None: the frame's is theirs).
    """

    person_id: int
    status: str
    pixels: int
    seed: int
    fallback: str | None = None
    weak: str | None = None
    weak_people: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, Scalar] = field(default_factory=dict)
    statuses: Mapping[int, str] | None = None


def anonymize_image(
    pixels: np.ndarray,
    regions: Sequence[Region],
    method: Method,
    *,
    image_id: int = 0,
    seed: int = 0,
    keypoints: Mapping[int, np.ndarray] | None = None,
) -> np.ndarray:
    """Return a copy of an image (uint8 HxWx3 RGB) with its regions changed; see `anonymize`."""
    work = Work(image_id, pixels.copy(), regions, keypoints or {})
    anonymize([work], method, seed)
    return work.pixels


def anonymize(works: Sequence[Work], method: Method, seed: int) -> list[list[Outcome]]:
    """Change images in place and return the outcomes of their regions, by person id.

    Within an image regions are changed from small to large (by mask area, then person id), and each crop
    shows the people that were changed before it; pixels outside the masks stay as they are. Crops of several
    images go through `Method.change_batch` together, and so do those of one image that cannot see each other:
    neither that nor the order of the input changes a result. A person's seed depends on ``seed``, image id
    and person id only.

    Raises AnonbenchError when a region does not fit its image, or the method fails and has no fallback.
    """
    queues = [deque(_ordered(work)) for work in works]
    outcomes: list[list[Outcome]] = [[] for _ in works]
    while any(queues):
        wave: list[_Step] = []
        for index, (work, queue) in enumerate(zip(works, queues, strict=True)):
            taken: list[PixelBox] = []
            while queue and len(wave) < method.batch:
                area, region = queue[0]
                window = method.window(region, work.pixels.shape[1], work.pixels.shape[0])
                if any(_meet(window.box, box) or _meet(region.box, box) for box in taken):
                    break
                queue.popleft()
                taken.append(region.box)
                wave.append(_Step(index, area, cut(work, region, window, method.padding, seed)))
        for step, result in zip(wave, _change(method, [step.crop for step in wave]), strict=True):
            outcomes[step.image].append(_settle(method, works[step.image], step, result, seed))
    return [sorted(rows, key=lambda row: row.person_id) for rows in outcomes]


def anonymize_clip(works: Sequence[Work], method: Method, seed: int) -> list[list[Outcome]]:
    """Change the frames of one video, given in order, in place by `Method.change_clip`; see `anonymize`.

    People are changed one after another, whoever is largest in any frame last, and each one's crops show those who were
    changed before. Whoever has no identity, or one that another person of the frame has, is changed frame by frame.
    """
    tracks: dict[tuple[object, ...], list[tuple[int, int, Region]]] = {}
    for index, work in enumerate(works):
        for area, region in _ordered(work):
            key: tuple[object, ...] = (index, region.person_id)
            if region.kind is RegionKind.FRAME:
                key = ("frame",)
            elif region.identity is not None and sum(r.identity == region.identity for r in work.regions) == 1:
                key = ("identity", region.identity)
            tracks.setdefault(key, []).append((index, area, region))
    outcomes: list[list[Outcome]] = [[] for _ in works]
    for track in sorted(tracks.values(), key=lambda track: (max(area for _, area, _ in track), track[0][2].person_id)):
        steps = []
        for index, area, region in track:
            window = method.window(region, works[index].pixels.shape[1], works[index].pixels.shape[0])
            steps.append(_Step(index, area, cut(works[index], region, window, method.padding, seed)))
        for step, result in zip(steps, _change_clip(method, [step.crop for step in steps]), strict=True):
            outcomes[step.image].append(_settle(method, works[step.image], step, result, seed))
    return [sorted(rows, key=lambda row: row.person_id) for rows in outcomes]


def _settle(method: Method, work: Work, step: _Step, result: Changed | Exception, seed: int) -> Outcome:
    """Paste a changed crop, or the fallback's where the method failed, and return what became of the region."""
    crop, used, fallback = step.crop, method, None
    status = ANONYMIZED if method.hides else CONTROL
    if isinstance(result, Exception):
        status, fallback = Reason.METHOD_FAILED.value, method.fallback
        used, crop, result = _fall_back(method, work, crop, result, seed)
    _paste(work.pixels, crop, result.pixels)
    weak, weak_people = _weak(used, crop, work)
    return Outcome(crop.region.person_id, status, step.area, crop.seed, fallback, weak, weak_people, result.facts)


class _Step(NamedTuple):
    """A region whose turn it is: which image, pixels of its mask, crop."""

    image: int
    area: int
    crop: Crop


def _ordered(work: Work) -> list[tuple[int, Region]]:
    """Return the regions, their masks read-only from now on, with the pixels of these, small ones first."""
    height, width = work.pixels.shape[:2]
    for region in work.regions:
        x0, y0, x1, y1 = region.box
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height) or region.mask.shape != (y1 - y0, x1 - x0):
            raise AnonbenchError(
                f"region {region.box} of person {region.person_id} does not fit the {width}x{height} image",
                file=work.file,
                entry=f"image {work.image_id}",
                remedy="run the annotate stage again",
            )
        region.mask.flags.writeable = False  # a method that emptied it would leave the person visible
    sized = [(int(np.count_nonzero(region.mask)), region) for region in work.regions]
    return sorted(sized, key=lambda pair: (pair[0], pair[1].person_id))


def _meet(a: PixelBox, b: PixelBox) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _change(method: Method, crops: list[Crop]) -> list[Changed | Exception]:
    """Return the changed crops, an exception in the place of one that failed."""
    try:
        results = method.change_batch(crops)
        if len(results) != len(crops):
            raise ValueError(f"{len(results)} results for {len(crops)} crops")
    except Exception as error:  # whatever a plugin raises becomes a sentence, or the fallback's work
        if len(crops) == 1:
            return [error]
        return [_change(method, [crop])[0] for crop in crops]
    return [_or_error(method, result, crop) for result, crop in zip(results, crops, strict=True)]


def _change_clip(method: Method, crops: list[Crop]) -> list[Changed | Exception]:
    """Return the changed crops of a clip; where the method failed on the clip, the exception in the place of all."""
    try:
        results = method.change_clip(crops)
        if len(results) != len(crops):
            raise ValueError(f"{len(results)} results for a clip of {len(crops)} crops")
    except Exception as error:  # whatever a plugin raises becomes a sentence, or the fallback's work
        return [error] * len(crops)
    return [_or_error(method, result, crop) for result, crop in zip(results, crops, strict=True)]


def _or_error(method: Method, result: Result, crop: Crop) -> Changed | Exception:
    try:
        return _checked(method, result, crop)
    except ValueError as error:
        return error


def _checked(method: Method, result: Result, crop: Crop) -> Changed:
    """Return a method's result, pixels as uint8; raise ValueError for pixels or facts that are none."""
    if isinstance(result, Changed):
        return Changed(_picture(result.pixels, crop), checked_facts(result.facts, method.facts))
    return Changed(_picture(result, crop))


def _picture(result: np.ndarray, crop: Crop) -> np.ndarray:
    """Return pixels as uint8; raise ValueError when they are not a picture of the crop's size."""
    if not isinstance(result, np.ndarray) or result.shape != crop.pixels.shape:
        raise ValueError(f"returned {getattr(result, 'shape', type(result))} for a crop of {crop.pixels.shape}")
    if result.dtype == np.uint8:
        return result
    if not np.issubdtype(result.dtype, np.floating):
        raise ValueError(f"returned {result.dtype} instead of uint8 or float")
    if not np.isfinite(result).all():
        raise ValueError("returned numbers that are not finite")
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def _fall_back(method: Method, work: Work, crop: Crop, error: Exception, seed: int) -> tuple[Method, Crop, Changed]:
    """Return the fallback with its crop of a region and its result; raise AnonbenchError when there is no fallback."""
    region = crop.region
    whom = "the frame" if region.kind is RegionKind.FRAME else f"person {region.person_id}"
    said = f"method {method.name} failed on {whom}: {in_one_line(error)}"
    where = {"file": work.file, "entry": f"image {work.image_id}"}
    if method.fallback is None:
        raise AnonbenchError(said, **where, remedy="fix the method, or give it a fallback") from error
    other: Method = registry.load("methods", method.fallback)()
    window = other.window(region, work.pixels.shape[1], work.pixels.shape[0])
    crop = cut(work, region, window, other.padding, seed)
    try:
        return other, crop, _checked(other, other.change(crop), crop)
    except Exception as failure:
        said = f"{said}, and its fallback {method.fallback}: {in_one_line(failure)}"
        raise AnonbenchError(said, **where, remedy="fix one of the two") from failure


def _weak(method: Method, crop: Crop, work: Work) -> tuple[str | None, dict[int, str]]:
    """Return why the person of a crop may still be recognised, and of a frame why each person in it may."""
    if crop.region.kind is not RegionKind.FRAME:
        return method.weakness(crop), {}
    said = {one.person_id: method.weakness(replace(crop, region=one)) for one in work.people}
    return None, {person_id: why for person_id, why in said.items() if why is not None}


def _paste(pixels: np.ndarray, crop: Crop, result: np.ndarray) -> None:
    """Paste a changed crop where the region's mask is set, hard-edged."""
    x0, y0, x1, y1 = crop.region.box
    left, top, right, bottom = crop.window.box
    if crop.window.size is not None:
        result = cv2.resize(result, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
    inside = result[y0 - top : y1 - top, x0 - left : x1 - left]
    if 1 in pixels.shape[:2]:  # a mirrored image of one row or column may have strides that OpenCV refuses
        np.copyto(pixels[y0:y1, x0:x1], inside, where=crop.region.mask[..., None])
        return
    cv2.copyTo(inside, crop.region.mask.view(np.uint8), pixels[y0:y1, x0:x1])
