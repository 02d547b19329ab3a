"""Follows boxes through a video, so that a frame in which a detector misses a face does not show it.

Detections of neighbouring frames are joined to tracks, nearest pairs first. Between two detections of a track the box
is interpolated; before the first and after the last it is held for a while, as a detector sees a face some frames later
than it comes and loses it some frames before it goes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np

from anonbench.detectors.engine import inside

REACH = 1.0
"""A detection belongs to a track when its centre is within so many sides of where the track was or should be."""
SLACK = 0.05
"""What is added to the reach for each frame that was missed; at most `MOST_SLACK`."""
MOST_SLACK = 1.0
RATIO = 2.2
"""Of the sides of two boxes of one track, at most."""
GROWN = 0.1
"""What is added to each side of a box that was not detected, as a share of its longer side: a guess is less exact."""
LOOK_BACK = 5
"""Detections over which a track's speed is taken."""


class Origin(enum.StrEnum):
    """Where a box comes from."""

    DETECTED = "detector"
    INTERPOLATED = "interpolated"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Filled:
    """The boxes of one frame (float32 (n, 5): x, y, width, height, score), the track and the origin of each."""

    boxes: np.ndarray
    tracks: list[int]
    origins: list[Origin]


@dataclass(slots=True)
class _Track:
    number: int
    at: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)

    def add(self, frame: int, box: np.ndarray) -> None:
        self.at.append(frame)
        self.boxes.append(box.astype(np.float64))

    def speed(self, last: bool = True) -> np.ndarray:
        """Return the change of x, y, width, height per frame, at the end or at the beginning; zeros for one box."""
        near, far = (-1, -min(LOOK_BACK, len(self.at))) if last else (0, min(LOOK_BACK, len(self.at)) - 1)
        frames = self.at[near] - self.at[far]
        return (self.boxes[near][:4] - self.boxes[far][:4]) / frames if frames else np.zeros(4)


def follow(detections: list[np.ndarray], size: tuple[int, int], gap: int, hold: int) -> list[Filled]:
    """Return the boxes of every frame, those that were detected and those that stand in for missed ones.

    ``detections`` are those of each frame in order (float32 (n, 5), pixels), ``size`` is width and height of the frame.
    A track survives ``gap`` frames without a detection, and is held for ``hold`` frames before and after. No detection
    is ever dropped or moved.
    """
    found: list[list[tuple[np.ndarray, int, Origin]]] = [[] for _ in detections]
    for track in _tracks(detections, gap):
        for frame, box in zip(track.at, track.boxes, strict=True):
            found[frame].append((box, track.number, Origin.DETECTED))
        for a, b in zip(range(len(track.at) - 1), range(1, len(track.at)), strict=True):
            first, last = track.at[a], track.at[b]
            for frame in range(first + 1, last):
                share = (frame - first) / (last - first)
                between = (1 - share) * track.boxes[a] + share * track.boxes[b]
                found[frame].append((_grown(between), track.number, Origin.INTERPOLATED))
        for ahead, end in ((-1, 0), (1, -1)):
            box, speed = track.boxes[end], track.speed(last=ahead > 0)
            for step in range(1, hold + 1):
                frame = track.at[end] + ahead * step
                if 0 <= frame < len(found):
                    moved = box.copy()
                    moved[:4] += ahead * step * speed
                    found[frame].append((_grown(_union(box, moved)), track.number, Origin.HELD))
    return [_filled(boxes, size) for boxes in found]


def _tracks(detections: list[np.ndarray], gap: int) -> list[_Track]:
    """Join the detections of neighbouring frames; every one is in exactly one track."""
    tracks: list[_Track] = []
    alive: list[_Track] = []
    for frame, boxes in enumerate(detections):
        alive = [track for track in alive if frame - track.at[-1] <= gap + 1]
        pairs = sorted(
            (cost, place, index)
            for place, track in enumerate(alive)
            for index, box in enumerate(boxes)
            if (cost := _distance(track, frame, box)) is not None
        )
        taken: dict[int, _Track] = {}
        busy: set[int] = set()
        for _, place, index in pairs:
            if place not in busy and index not in taken:
                busy.add(place)
                taken[index] = alive[place]
        for index, box in enumerate(boxes):
            track = taken.get(index)
            if track is None:
                track = _Track(len(tracks))
                tracks.append(track)
                alive.append(track)
            track.add(frame, box)
    return tracks


def _distance(track: _Track, frame: int, box: np.ndarray) -> float | None:
    """Return how far a detection is from a track, in sides of its box, None when it cannot be the same."""
    last, missed = track.boxes[-1], frame - track.at[-1]
    side, other = np.sqrt(last[2] * last[3]), np.sqrt(float(box[2]) * float(box[3]))
    if not 1 / RATIO <= other / side <= RATIO:
        return None
    expected = last.copy()
    expected[:4] += missed * track.speed()
    mean = (side + other) / 2
    distance = min(float(np.hypot(*(_centre(box) - _centre(where)))) for where in (last, expected)) / mean
    return distance if distance <= REACH + min(SLACK * (missed - 1), MOST_SLACK) else None


def _centre(box: np.ndarray) -> np.ndarray:
    return np.asarray(box[:2] + box[2:4] / 2, np.float64)


def _grown(box: np.ndarray) -> np.ndarray:
    x, y, w, h, score = box
    more = GROWN * max(w, h)
    return np.array([x - more, y - more, w + 2 * more, h + 2 * more, score])


def _union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    corner = np.minimum(a[:2], b[:2])
    end = np.maximum(a[:2] + a[2:4], b[:2] + b[2:4])
    return np.array([*corner, *(end - corner), a[4]])


def _filled(found: list[tuple[np.ndarray, int, Origin]], size: tuple[int, int]) -> Filled:
    boxes = np.array([box for box, _, _ in found], np.float32).reshape(-1, 5)
    cut = [inside(box[None], *size) for box in boxes]
    kept = [index for index, box in enumerate(cut) if len(box)]
    return Filled(
        np.concatenate([np.zeros((0, 5), np.float32), *(cut[index] for index in kept)]),
        [found[index][1] for index in kept],
        [found[index][2] for index in kept],
    )
