"""Boxes that are followed through a video: no detection is lost, and missed ones are covered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonbench.apply import tracks
from anonbench.apply.tracks import Filled, Origin

SIZE = (640, 480)


def follow(seen: list[np.ndarray], size: tuple[int, int], gap: float, hold: float) -> list[Filled]:
    """Follow through a video of a frame a second."""
    return tracks.follow(seen, [float(frame) for frame in range(len(seen))], size, gap, hold)


def box(x: float, y: float, side: float = 40) -> np.ndarray:
    return np.array([[x, y, side, side, 0.9]], np.float32)


def nothing() -> np.ndarray:
    return np.zeros((0, 5), np.float32)


def holds(outer: np.ndarray, inner: np.ndarray, slack: float = 0.01) -> bool:
    return bool(
        outer[0] <= inner[0] + slack
        and outer[1] <= inner[1] + slack
        and outer[0] + outer[2] >= inner[0] + inner[2] - slack
        and outer[1] + outer[3] >= inner[1] + inner[3] - slack
    )


def test_one_missed_frame_is_filled_in() -> None:
    truth = [box(100 + 6 * t, 80 + 2 * t) for t in range(20)]
    found = follow([nothing() if t == 9 else truth[t] for t in range(20)], SIZE, gap=25, hold=0)
    assert [filled.origins for filled in found] == [
        [Origin.INTERPOLATED if t == 9 else Origin.DETECTED] for t in range(20)
    ]
    assert {number for filled in found for number in filled.tracks} == {0}
    assert holds(found[9].boxes[0], truth[9][0])
    assert found[9].boxes[0, 2] < 50  # and not much more


@pytest.mark.parametrize("missed", [1, 3, 8])
def test_a_face_that_turns_is_covered_while_it_is_missed(missed: int) -> None:
    def where(t: int) -> np.ndarray:
        return box(300 + 200 * np.sin(t / 12), 200 + 80 * np.cos(t / 9), 60)

    truth = [where(t) for t in range(100)]
    for start in range(5, 85, 7):
        seen = [nothing() if start <= t < start + missed else truth[t] for t in range(100)]
        found = follow(seen, SIZE, gap=10, hold=0)
        for t in range(start, start + missed):
            assert len(found[t].boxes) == 1
            a, b = found[t].boxes[0], truth[t][0]
            wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
            high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
            assert wide * high / (b[2] * b[3]) > (0.999 if missed < 8 else 0.97)  # a region has a margin of its own


def test_a_gap_that_is_too_long_is_no_gap() -> None:
    seen = [box(100, 100) if t in (0, 7) else nothing() for t in range(8)]
    assert len(follow(seen, SIZE, gap=6, hold=0)[3].boxes) == 1
    assert len(follow(seen, SIZE, gap=5, hold=0)[3].boxes) == 0


def test_a_face_is_hidden_before_it_is_found_and_after_it_is_lost() -> None:
    truth = [box(100 + 8 * t, 100) for t in range(40)]
    seen = [truth[t] if 10 <= t < 30 else nothing() for t in range(40)]
    found = follow(seen, SIZE, gap=5, hold=4)
    for t in (6, 7, 8, 9, 30, 31, 32, 33):
        assert found[t].origins == [Origin.HELD]
        assert holds(found[t].boxes[0], truth[t][0])
    assert not any(len(found[t].boxes) for t in (5, 34))


def test_a_face_that_is_held_without_end_is_held_to_the_ends_of_the_video() -> None:
    seen = [box(100, 100) if t == 2 else nothing() for t in range(5)]
    assert [len(filled.boxes) for filled in follow(seen, SIZE, gap=10**12, hold=10**12)] == [1] * 5


def test_two_faces_that_pass_each_other_are_both_covered() -> None:
    left = [box(100 + 10 * t, 100)[0] for t in range(40)]
    right = [box(500 - 10 * t, 130)[0] for t in range(40)]
    seen = []
    for t in range(40):
        both = [left[t], right[t]]
        if t in (18, 19, 20):
            both = both[t % 2 :][:1]  # one hides the other from the detector
        seen.append(np.array(both, np.float32))
    for t, filled in enumerate(follow(seen, SIZE, gap=10, hold=0)):
        for one in (left[t], right[t]):
            assert any(holds(np.asarray(outer), one, 6) for outer in filled.boxes), t


def test_another_size_or_place_is_another_face() -> None:
    seen = [box(100, 100), nothing(), box(400, 300), nothing(), box(400, 300, 200)]
    found = follow(seen, SIZE, gap=10, hold=0)
    assert [filled.tracks for filled in found] == [[0], [], [1], [], [2]]


boxes = st.builds(
    lambda x, y, w, h, s: (x, y, w, h, s),
    st.integers(0, 600), st.integers(0, 440), st.integers(1, 200), st.integers(1, 200), st.floats(0.125, 1, width=32),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.lists(boxes, max_size=5), min_size=1, max_size=12), st.integers(0, 6), st.integers(0, 4))
def test_no_detection_is_lost_or_moved(frames: list[list[tuple]], gap: int, hold: int) -> None:
    from anonbench.detectors.engine import inside

    seen = [inside(np.array(each, np.float32).reshape(-1, 5), *SIZE) for each in frames]
    found = follow(seen, SIZE, gap, hold)
    assert len(found) == len(seen)
    for given_boxes, filled in zip(seen, found, strict=True):
        detected = [tuple(b) for b, o in zip(filled.boxes, filled.origins, strict=True) if o is Origin.DETECTED]
        assert sorted(detected) == sorted(map(tuple, given_boxes))
        assert len(set(filled.tracks)) == len(filled.tracks)  # nobody is twice in a frame
        x, y, w, h = filled.boxes[:, :4].T
        assert np.isfinite(filled.boxes).all()
        assert (np.array([x, y]) >= 0).all()
        assert (np.array([w, h]) > 0).all()
        assert (np.array(SIZE) + 1e-3 >= np.array([x + w, y + h]).T).all()


def test_time_counts_not_frames() -> None:
    """A rate that is an average says nothing of a video whose frames come at uneven times."""
    times = [t / 30 for t in range(21)] + [1.0 + 20 * late for late in range(1, 7)]
    seen = [nothing() if t in (10, 23) else box(100, 80) for t in range(27)]
    found = tracks.follow(seen, times, SIZE, gap=1.0, hold=0.2)
    assert found[10].origins == [Origin.INTERPOLATED]
    assert found[23].origins == []  # which is shown for twenty seconds
    early = [box(100, 80) if t == 20 else nothing() for t in range(27)]
    held = [t for t, filled in enumerate(tracks.follow(early, times, SIZE, gap=1.0, hold=0.2)) if filled.origins]
    assert held == list(range(14, 21))


def test_between_two_detections_a_face_is_where_it_is_at_that_time() -> None:
    times = [0.0, 0.1, 0.2, 0.9, 1.0]
    truth = [box(100 + 200 * time, 80) for time in times]
    found = tracks.follow([truth[0], truth[1], nothing(), nothing(), truth[4]], times, SIZE, gap=2.0, hold=0)
    for frame in (2, 3):
        assert holds(found[frame].boxes[0], truth[frame][0])
        assert found[frame].boxes[0, 2] < 50
