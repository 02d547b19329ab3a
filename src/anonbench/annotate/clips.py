"""Videos, actions and attributes of people: what a data set says of them, checked before anything is written.

A video is whole or not there: its frames are numbered 0, 1, 2, ... in the order of the file and have one size.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from anonbench.annotate.image_files import Found
from anonbench.errors import AnonbenchError, nearest

Meanings = dict[str, dict[str, str]]
"""The values of each attribute with their meaning, which is empty where the data set gives none."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video's ``entry``, with ``width``, ``height`` and ``frames`` (how many), and the ids of its frames in order."""

    entry: dict[str, Any]
    frames: tuple[int, ...]


def check_videos(
    entries: Mapping[int, dict[str, Any]], actions: list[Any], images: Mapping[int, dict[str, Any]], file: Path
) -> list[Video]:
    """Return the videos of a split, in the file's order.

    ``entries`` and ``images`` are COCO-VID's by id, the latter in the file's order. Raises AnonbenchError for a video
    without frames, with missing, repeated or unordered frames or frames of different sizes, for an action
    that is not among ``actions``, and for an image of a video that is not in the file or without a place in it.
    """
    frames: dict[int, list[int]] = {number: [] for number in entries}
    for image_id, image in images.items():
        video = image.get("video_id")
        if video is None and image.get("frame_index") is None:
            continue
        place = f"image {image_id}"
        if type(video) is not int or video not in frames:
            raise AnonbenchError(
                f"belongs to video {video!a:.80}, which is not in the file",
                file=file,
                entry=place,
                remedy="add the video's entry, or remove video_id and frame_index of the image",
            )
        if type(image.get("frame_index")) is not int:
            raise AnonbenchError(
                f"has the frame_index {image.get('frame_index')!a:.80}",
                file=file,
                entry=place,
                remedy="number the frames of each video 0, 1, 2, ...",
            )
        frames[video].append(image_id)
    if entries:
        _check_names(actions, "actions", file)
    return [_video(number, entry, actions, frames[number], images, file) for number, entry in entries.items()]


def _video(
    number: int,
    entry: dict[str, Any],
    actions: list[str],
    frames: list[int],
    images: Mapping[int, dict[str, Any]],
    file: Path,
) -> Video:
    def refuse(problem: str, remedy: str) -> AnonbenchError:
        return AnonbenchError(problem, file=file, entry=f"video {number}", remedy=remedy)

    name = entry.get("name", "")
    if not isinstance(name, str) or not name.isprintable():
        raise refuse(f"has the name {name!a:.80}", "write a name of printable characters, or leave it out")
    action = entry.get("action")
    if action is not None and action not in actions:
        near = nearest(action, actions) if isinstance(action, str) else ""
        raise refuse(
            f"has the action {action!a:.80}, which is not among the file's actions{near}",
            "correct it, or add it to the list 'actions'",
        )
    if not frames:
        raise refuse("has no frames", "add its images, or remove the video")
    places = [images[image_id]["frame_index"] for image_id in frames]
    for (before, after), image_id in zip(pairwise(places), frames[1:], strict=True):
        if after <= before:
            frame = f"frame {after} (image {image_id})"
            again = after in places[: places.index(before) + 1]
            raise refuse(
                f"duplicate {frame}" if again else f"{frame} comes after frame {before}",
                "list each frame of a video once, in the order of time",
            )
    if places[0] < 0 or places[-1] != len(places) - 1:
        present = set(places)
        missing = next((place for place in range(len(places)) if place not in present), 0)
        raise refuse(
            f"frame {missing} is missing" if places[0] >= 0 else f"has a frame {places[0]}",
            "number the frames of each video 0, 1, 2, ... without a gap, or make two videos of it",
        )
    sizes = [(images[image_id].get("width"), images[image_id].get("height")) for image_id in frames]
    size: tuple[Any, Any] = (entry.get("width", sizes[0][0]), entry.get("height", sizes[0][1]))
    if not all(isinstance(side, int) or (isinstance(side, float) and side.is_integer()) for side in size):
        raise refuse("has the size {!a:.80}x{!a:.80}".format(*size), "write the pixels of a frame, or leave them out")
    for image_id, other in zip(frames, sizes, strict=True):
        if other != size:
            raise refuse(
                f"has frames of different sizes: image {image_id} is {other[0]}x{other[1]} and not {size[0]}x{size[1]}",
                "cut or scale the frames of a video to one size",
            )
    width, height = (int(side) for side in size if side is not None)  # JSON may have 640.0, which no variant takes
    return Video({**entry, "width": width, "height": height, "frames": len(frames)}, tuple(frames))


def check_kinds(kinds: Mapping[Any, Any], actions: list[str], file: Path) -> dict[str, str]:
    """Return the kind of each action, in the order of ``actions``; empty where the data set tells no kinds apart.

    Raises AnonbenchError for kinds of unknown actions, an action without one, and a kind that is called like an action.
    """
    if not kinds:
        return {}
    for action in kinds:
        if action not in actions:
            raise _wrong_kinds(f"{action!a:.80} is not among the file's actions", file)
    for action in actions:
        if action not in kinds:
            raise _wrong_kinds(f"has no kind of the action {action!a:.80}", file)
    _check_names(dict.fromkeys(kinds.values()), "action_kinds", file)
    for kind in kinds.values():
        if kind in actions:
            raise _wrong_kinds(f"has the kind {kind!a:.80}, which is an action", file)
    return {action: kinds[action] for action in actions}


def _wrong_kinds(problem: str, file: Path) -> AnonbenchError:
    remedy = "give each of the file's actions one kind, or leave 'action_kinds' out"
    return AnonbenchError(problem, file=file, entry="action_kinds", remedy=remedy)


def check_attributes(attributes: Mapping[str, Any], file: Path) -> Meanings:
    """Return the attributes that people of a split may have: each one's values with their meaning.

    Raises AnonbenchError where an attribute has no values, or names and values are not printable strings.
    """
    checked: Meanings = {}
    for name, values in attributes.items():
        _check_names([name], "attributes", file)
        if not isinstance(values, list | dict) or not values:
            raise AnonbenchError(
                f"has the values {values!a:.80}",
                file=file,
                entry=f"attribute {name}",
                remedy="list the values that it may have, or give each its meaning ({value: meaning})",
            )
        _check_names(values, f"attribute {name}", file)
        meanings = values.values() if isinstance(values, dict) else [""] * len(values)
        checked[name] = {value: str(meaning) for value, meaning in zip(values, meanings, strict=True)}
    return checked


def _check_names(names: Iterable[Any], entry: str, file: Path) -> None:
    """Raise AnonbenchError unless all are different strings of printable characters."""
    seen = set()
    for name in names:
        if not isinstance(name, str) or not name or not name.isprintable():
            problem = f"{name!a:.80} is not a string of printable characters"
        elif name in seen:
            problem = f"duplicate {name!a:.80}"
        else:
            seen.add(name)
            continue
        raise AnonbenchError(problem, file=file, entry=entry, remedy="list different names")


def attributes_of(annotation: Mapping[str, Any], attributes: Meanings, file: Path) -> str | None:
    """Return a person's attributes as JSON with sorted names, None where there are none or the data set lists none.

    Raises AnonbenchError for an attribute or a value that is not listed.
    """
    said = annotation.get("attributes")
    if said is None or not attributes:  # some tools write "attributes" of their own, which no list explains
        return None
    entry = f"annotation {annotation['id']}"
    if not isinstance(said, dict):
        raise AnonbenchError(
            f"has the attributes {said!a:.80}", file=file, entry=entry, remedy="write {name: value} or leave them out"
        )
    for name, value in said.items():
        if name not in attributes:
            problem = f"has the attribute {name!a:.80}, which is not among the file's{nearest(name, attributes)}"
        elif not isinstance(value, str) or value not in attributes[name]:
            near = nearest(value, attributes[name]) if isinstance(value, str) else ""
            problem = f"has {name} {value!a:.80}, which is not among its values{near}"
        else:
            continue
        raise AnonbenchError(problem, file=file, entry=entry, remedy="correct it, or add it to the list 'attributes'")
    return json.dumps(said, sort_keys=True, ensure_ascii=False) if said else None


def leave_out_whole(found: Found, videos: Iterable[Video]) -> None:
    """Let no video lose single frames: where one cannot be used, the others cannot either."""
    for video in videos:
        bad = [image_id for image_id in video.frames if found.seen[image_id].problem is not None]
        if not bad:
            continue
        why = f"is of video {video.entry['id']}, of which image {bad[0]} cannot be used"
        for image_id in set(video.frames).difference(bad):
            found.seen[image_id].problem = why


def order(images: Iterable[int], videos: Iterable[Video]) -> list[int]:
    """Return the ids of images as shards take them: by id, but the frames of a video together, at its lowest id."""
    place = {image_id: (min(video.frames), index) for video in videos for index, image_id in enumerate(video.frames)}
    return sorted(images, key=lambda image_id: place.get(image_id, (image_id, 0)))


def told(
    videos: Collection[Video], actions: list[str], kinds: Mapping[str, str], attributes: Meanings
) -> dict[str, Any]:
    """Return what the table of images says of clips and people as a whole (see `regions.facts_of`)."""
    keys = ("id", "name", "action", "width", "height", "frames")
    facts: dict[str, Any] = {
        "videos": [{key: video.entry[key] for key in keys if key in video.entry} for video in videos],
        "actions": actions if videos else [],
        "action_kinds": dict(kinds) if videos else {},
        "attributes": attributes,
    }
    return {key: value for key, value in facts.items() if value}
