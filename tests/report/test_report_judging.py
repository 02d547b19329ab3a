"""What a row is called, by its intervals, its margin and what the original has learnt."""

import pytest

from anonbench.report.judging import judged
from anonbench.statistics.verdicts import DROP, GAIN, SAME, UNSURE


def row(difference: tuple[float, float], equivalence: tuple[float, float], **more: float) -> dict[str, float]:
    ends = {"difference": difference, "equivalence": equivalence}
    return {
        f"{name}_{end}": value for name, both in ends.items() for end, value in zip(("low", "high"), both, strict=True)
    } | more


@pytest.mark.parametrize(
    ("learnt", "difference", "equivalence", "said"),
    [
        (True, (-2.6, -0.7), (-2.4, -0.8), SAME),
        (False, (-2.6, -0.7), (-2.4, -0.8), DROP),  # all of an AP of 2 fits into a margin of 2.5, and is lost
        (False, (0.7, 2.6), (0.8, 2.4), GAIN),
        (False, (-0.7, 0.6), (-0.5, 0.4), UNSURE),
        (False, (0.0, 0.0), (0.0, 0.0), UNSURE),
        (True, (-2.9, -0.7), (-2.6, -0.8), DROP),
    ],
)
def test_an_original_that_learnt_nothing_is_no_equal_but_can_lose(learnt, difference, equivalence, said) -> None:
    assert judged(row(difference, equivalence), 2.5, learnt) == said


def test_of_the_family_the_simultaneous_interval_decides() -> None:
    family = row((-2.6, -0.7), (-2.4, -0.8), simultaneous_low=-3.6, simultaneous_high=0.3)
    assert judged(family, 2.5, False) == UNSURE
    assert judged(row((-2.6, -0.7), (-2.4, -0.8)), 2.5, False, best="lower") == GAIN
