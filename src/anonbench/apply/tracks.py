"""Follows boxes through a video, so that a frame in which a detector misses a face does not show it.

Detections of neighbouring frames are joined to tracks, nearest pairs first. Between two detections of a track the box
is interpolated; before the first and after the last it is held for a while, as a detector sees a face some frames later
than it comes and loses it some frames before it goes.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from anonbench.detectors.engine import inside

REACH = 1.0
"""A detection belongs to a track when its centre is within so many sides of where the track was or should be."""
SLACK, TURN, MOST_SLACK = 0.05, 0.5, 2.0
"""What is added to the reach for each frame that was missed, in sides and as a share of the way that the track would
have gone, since it may turn; and the most that is added."""
RATIO = 2.2
"""Of the sides of two boxes of one track, at most."""
TIE = 1e-6
"""Seconds by which sums of times may miss a limit that they meet."""
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
    """``at`` are the numbers of its frames, ``times`` those of all frames in seconds."""

    number: int
    times: Sequence[float] = field(repr=False)
    at: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)

    def add(self, frame: int, box: np.ndarray) -> None:
        self.at.append(frame)
        self.boxes.append(box.astype(np.float64))

    def speed(self, place: int, ahead: bool) -> np.ndarray | None:
        """Return the change of x, y, width, height a second over the detections up to ``place``, or ``ahead`` of it.

        None where there is no other.
        """
        far = min(place + LOOK_BACK, len(self.at)) - 1 if ahead else max(place + 1 - LOOK_BACK, 0)
        seconds = self.times[self.at[place]] - self.times[self.at[far]]
        return (self.boxes[place][:4] - self.boxes[far][:4]) / seconds if far != place else None


def follow(
    detections: Sequence[np.ndarray], times: Sequence[float], size: tuple[int, int], gap: float, hold: float
) -> list[Filled]:
    """Return the boxes of every frame, those that were detected and those that stand in for missed ones.

    ``detections`` are those of each frame in order (float32 (n, 5), pixels), ``times`` when each is shown, in seconds,
    ever later, ``size`` is width and height of the frame. A track survives ``gap`` seconds without a detection, and is
    held for ``hold`` seconds before and after, both to the nearest frame. No detection is ever dropped or moved.
    """
    found: list[list[tuple[np.ndarray, int, Origin]]] = [[] for _ in detections]
    for track in _tracks(detections, times, gap):
        for frame, box in zip(track.at, track.boxes, strict=True):
            found[frame].append((box, track.number, Origin.DETECTED))
        for a, b in zip(range(len(track.at) - 1), range(1, len(track.at)), strict=True):
            for frame in range(track.at[a] + 1, track.at[b]):
                found[frame].append((_grown(_between(track, a, frame)), track.number, Origin.INTERPOLATED))
        for ahead, end in ((-1, 0), (1, -1)):
            box, speed = track.boxes[end], track.speed(end % len(track.at), ahead < 0)
            room = track.at[end] if ahead < 0 else len(found) - 1 - track.at[end]
            for step in range(1, room + 1):
                frame = track.at[end] + ahead * step
                away = times[frame] - times[track.at[end]]
                if not _within(abs(away), step, hold):
                    break
                moved = box.copy()
                moved[:4] += 0 if speed is None else away * speed
                found[frame].append((_grown(_union(box, moved)), track.number, Origin.HELD))
    return [_filled(boxes, size) for boxes in found]


def _within(seconds: float, frames: int, limit: float) -> bool:
    """Tell whether that many frames, which take so long, are within a limit in seconds, to the nearest frame."""
    return frames == 0 or seconds * (1 - 0.5 / frames) <= limit + TIE


def _tracks(detections: Sequence[np.ndarray], times: Sequence[float], gap: float) -> list[_Track]:
    """Join the detections of neighbouring frames; every one is in exactly one track."""
    tracks: list[_Track] = []
    alive: list[_Track] = []
    for frame, boxes in enumerate(detections):
        alive = [track for track in alive if _within(*_missed(track, frame), gap)]
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
                track = _Track(len(tracks), times)
                tracks.append(track)
                alive.append(track)
            track.add(frame, box)
    return tracks


def _missed(track: _Track, frame: int) -> tuple[float, int]:
    """Return for how long, and in how many frames, a track was not detected before a frame."""
    first = track.at[-1] + 1
    return track.times[frame] - track.times[first], frame - first


def _between(track: _Track, place: int, frame: int) -> np.ndarray:
    """Return the box that holds where a face is between two detections, on a line and on a curve.

    The curve (cubic Hermite) leaves the first with the speed that the track had and meets the second with the one that
    it has then; it strays by a side of the box at most.
    """
    a, b = track.boxes[place], track.boxes[place + 1]
    start, end = (track.times[track.at[one]] for one in (place, place + 1))
    span = end - start
    t = (track.times[frame] - start) / span
    line = (1 - t) * a + t * b
    slope = (b[:4] - a[:4]) / span
    out, into = track.speed(place, ahead=False), track.speed(place + 1, ahead=True)
    bend = span * t * (1 - t) * (
        (1 - t) * ((slope if out is None else out) - slope) - t * ((slope if into is None else into) - slope)
    )  # fmt: skip
    curve = line.copy()
    curve[:2] += np.clip(bend[:2], -max(line[2], line[3]), max(line[2], line[3]))
    return _union(line, curve)


def _distance(track: _Track, frame: int, box: np.ndarray) -> float | None:
    """Return how far a detection is from a track, in sides of its box, None when it cannot be the same."""
    last, (unseen, missed) = track.boxes[-1], _missed(track, frame)
    side, other = np.sqrt(last[2] * last[3]), np.sqrt(float(box[2]) * float(box[3]))
    if not 1 / RATIO <= other / side <= RATIO:
        return None
    speed = track.speed(len(track.at) - 1, ahead=False)
    speed = np.zeros(4) if speed is None else speed
    expected = last[:4] + (track.times[frame] - track.times[track.at[-1]]) * speed
    mean = (side + other) / 2
    distance = min(float(np.hypot(*(_centre(box) - _centre(where)))) for where in (last, expected)) / mean
    slack = missed * SLACK + unseen * TURN * float(np.hypot(*speed[:2])) / mean
    return distance if distance <= REACH + min(slack, MOST_SLACK) else None


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
