"""What networks see of videos, whoever trains them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from anonbench.clips import Kept, check_actions, check_length, largest, part, span, stretch
from anonbench.errors import AnonbenchError


@dataclass(frozen=True)
class Seen:
    frames: int = 4
    stride: int = 3
    width: int = 64
    height: int = 32


def test_a_stretch_has_its_frames_at_the_stride_and_a_short_video_begins_again() -> None:
    assert span(Seen()) == 10
    assert stretch(20, 5, Seen()) == (5, 8, 11, 14)
    assert stretch(7, 5, Seen()) == (5, 1, 4, 0)


def test_rectangles_have_the_shape_of_the_input_and_lie_within_the_frame() -> None:
    assert largest(96, 64, Seen(), 1.0) == (96, 48)
    assert largest(96, 64, Seen(), 0.5) == (48, 24)
    assert largest(20, 64, Seen(), 1.0) == (20, 10)
    assert largest(20, 64, Seen(), 1e-3) == (1, 1)


def test_a_part_is_cut_out_and_brought_to_the_input_s_size() -> None:
    pixels = np.arange(128 * 64 * 3).reshape(64, 128, 3).astype(np.uint8)
    assert (part(pixels, (3, 2, 64, 32), Seen()) == pixels[2:34, 3:67]).all()
    flat = np.full((64, 128, 3), 7, np.uint8)
    flat[:, ::2] = 9
    small = part(flat, (0, 0, 128, 64), Seen())
    assert small.shape == (32, 64, 3)
    assert (small == 8).all()  # the mean of what a pixel covers
    assert part(pixels, (0, 0, 20, 10), Seen()).shape == (32, 64, 3)


def test_frames_are_kept_as_long_as_they_fit() -> None:
    asked: list[int] = []

    def frame(number: int) -> np.ndarray:
        asked.append(number)
        return np.zeros((2, 5), np.uint8)

    kept = Kept(25)
    for number in (1, 2, 3, 1, 2, 3):
        kept.get(number, lambda number=number: frame(number))  # type: ignore[misc]
    assert asked == [1, 2, 3, 3]
    assert [*kept.frames] == [1, 2]


def test_too_short_videos_and_too_few_actions_are_named(tmp_path: Path) -> None:
    check_length(10, Seen(), tmp_path, 1, "lower it")
    with pytest.raises(AnonbenchError, match=r"video 1: has 9 frames, and 4 at .* of 3 span 10 \(one\); lower it"):
        check_length(9, Seen(), tmp_path, 1, "lower it", " (one)")
    check_actions({"wave", "walk"}, tmp_path, "add some")
    with pytest.raises(AnonbenchError, match=r"shows clips of 1 action \(wave\), and telling .* takes two; add some"):
        check_actions({"wave"}, tmp_path, "add some")
