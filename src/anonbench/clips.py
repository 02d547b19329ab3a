"""Videos as networks see them: which of the frames, which part of each, at what size."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from anonbench.errors import AnonbenchError
from anonbench.images.resizing import resized

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels of a frame."""


class Sight(Protocol):
    """What a network sees at a time: ``frames`` of a video, each ``stride``-th, of ``width`` x ``height`` pixels."""

    @property
    def frames(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


def span(sight: Sight) -> int:
    """Return the frames of a video from the first to the last that are seen at a time."""
    return (sight.frames - 1) * sight.stride + 1


def stretch(count: int, start: int, sight: Sight) -> tuple[int, ...]:
    """Return the positions of the frames that are seen of a video of ``count`` frames, from ``start`` on.

    A video that is too short begins again.
    """
    return tuple((start + step * sight.stride) % count for step in range(sight.frames))


def largest(width: int, height: int, sight: Sight, share: float) -> tuple[int, int]:
    """Return width and height of the largest rectangle of the input's shape in a frame, times ``share``."""
    scale = min(width / sight.width, height / sight.height) * share
    return max(1, min(width, round(scale * sight.width))), max(1, min(height, round(scale * sight.height)))


def part(pixels: np.ndarray, box: Box, sight: Sight) -> np.ndarray:
    """Return a part of a frame (uint8 HxWx3) at the input's size; a view of the frame where it has that size."""
    x, y, w, h = box
    return resized(pixels[y : y + h, x : x + w], (sight.width, sight.height))


class Kept:
    """Decoded frames by their keys, of ``room`` bytes at most; the others are decoded each time. Changes no result."""

    def __init__(self, room: int) -> None:
        self.frames: dict[Hashable, np.ndarray] = {}
        self._room, self._lock = room, Lock()

    def get(self, key: Hashable, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """Return a frame, decoded unless it is kept; any number of threads may ask."""
        found = self.frames.get(key)
        if found is None:
            found = decode()
            with self._lock:
                if key not in self.frames and found.nbytes <= self._room:
                    self._room -= found.nbytes
                    self.frames[key] = found
        return found


def check_length(count: int, sight: Sight, file: Path, video: int, remedy: str, note: str = "") -> None:
    """Raise AnonbenchError for a video of fewer frames than are seen at a time; ``note`` is said of it, too."""
    if count < span(sight):
        raise AnonbenchError(
            f"has {count} frames, and {sight.frames} at a stride of {sight.stride} span {span(sight)}{note}",
            file=file, entry=f"video {video}", remedy=remedy,
        )  # fmt: skip


def check_actions(shown: Collection[str], file: Path, remedy: str) -> None:
    """Raise AnonbenchError where clips show fewer than two actions."""
    if len(shown) < 2:
        only = "".join(f" ({action})" for action in shown)
        raise AnonbenchError(
            f"shows clips of {len(shown)} action{only}, and telling actions apart takes two", file=file, remedy=remedy
        )
