"""The largest batch that fits."""

from __future__ import annotations

import pytest

from anonbench.learning.memory import largest


@pytest.mark.parametrize(
    ("count", "room", "least", "worth", "tried"),
    [
        (8, 5, 1, 4, [4]),
        (8, 1, 1, 1, [4, 2, 1]),
        (8, 0, 1, 0, [4, 2, 1]),
        (6, 2, 2, 2, [3, 2]),  # which halving jumps over
        (5, 1, 2, 0, [2]),
        (3, 2, 2, 2, [2]),
        (2, 2, 2, 0, []),  # no smaller batch is left to try
        (1, 1, 1, 0, []),
    ],
)
def test_halves_are_tried_and_then_the_least(count: int, room: int, least: int, worth: int, tried: list[int]) -> None:
    asked = []

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= room

    assert largest(count, fits, least) == worth
    assert asked == tried
