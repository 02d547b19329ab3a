"""The search for a rate: what frames get, its ends, how many frames it looks at, and draws of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anonbench import seeding
from anonbench.anonymize.rate_control import FEW, Scale, matched, setting_of
from anonbench.crops import Crop
from anonbench.errors import AnonbenchError


def crops(count: int) -> list[Crop]:
    """Return frames of which the search knows the seed alone."""
    anything: Any = None
    return [Crop(np.zeros((1, 1, 3), np.uint8), anything, None, anything, anything, k) for k in range(count)]


def scale(settings: int) -> Scale:
    return Scale("mine", "knob", 0, settings - 1, ("its least", "its most"), "wait", "pray")


def given(settings: int, frames: int, seed: int = 0) -> np.ndarray:
    """Return made-up rates of frames (rows) at settings: 25 % more from one to the next, frames apart by a factor."""
    own = np.random.default_rng(seed).uniform(0.5, 2.0, (frames, 1))
    return own * 0.1 * 1.25 ** np.arange(settings)


@pytest.mark.parametrize("frames", [40, 100])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.77, 0.99])
def test_frames_take_the_rate_in_the_mean(frames: int, share: float) -> None:
    rates, seen = given(9, frames), crops(frames)
    target = float(np.quantile(rates.mean(0), share, method="linear"))
    place, bpp = matched(scale(9), target, lambda setting, every: rates[::every, setting], seen)
    chosen = [setting_of(place, crop) for crop in seen]
    assert set(chosen) <= {int(place), int(place) + 1}
    assert np.mean([rates[k, setting] for k, setting in enumerate(chosen)]) == pytest.approx(bpp, abs=1e-6)
    assert bpp == pytest.approx(target, rel=0.02)


def test_few_frames_tell_where_to_look_and_all_decide() -> None:
    """The sixteenth frames, which are looked at first, mislead: they take four times what the others take."""
    rates, asked = given(40, 160), []
    rates[:: 160 // FEW] *= 4

    def of(setting: int, every: int) -> np.ndarray:
        asked.append((setting, every))
        found: np.ndarray = rates[::every, setting]
        return found

    target = float(rates[:, 20].mean()) * 1.1
    place, bpp = matched(scale(40), target, of, crops(160))
    assert int(place) == 20
    assert bpp == pytest.approx(target, rel=0.02)
    assert {every for _, every in asked} == {1, 160 // FEW}
    assert len(set(asked)) == len(asked), "nothing is asked twice"


def test_an_end_is_taken_for_what_it_has_to_two_per_cent() -> None:
    rates, seen = given(5, 30), crops(30)
    for setting, factor in ((0, 1 / 1.015), (4, 1.015)):
        target = float(rates[:, setting].mean()) * factor
        place, bpp = matched(scale(5), target, lambda s, every: rates[::every, s], seen)
        assert {setting_of(place, crop) for crop in seen} == {setting}
        assert bpp == pytest.approx(rates[:, setting].mean(), abs=1e-6)
    for setting, factor, said in ((0, 1 / 1.03, "wait"), (4, 1.03, "pray")):
        target = float(rates[:, setting].mean()) * factor
        with pytest.raises(AnonbenchError, match=rf"method mine bpp: mine cannot reach .* 30 frames .*, or {said}"):
            matched(scale(5), target, lambda s, every: rates[::every, s], seen)


def test_one_setting_has_one_rate() -> None:
    rates, seen = given(1, 30), crops(30)
    only = float(rates.mean())
    assert matched(scale(1), only, lambda s, every: rates[::every, s], seen).place == 0
    with pytest.raises(AnonbenchError, match="cannot reach"):
        matched(scale(1), 1.1 * only, lambda s, every: rates[::every, s], seen)


def test_the_draw_tells_nothing_of_a_codec_s_noise() -> None:
    draws = np.array([setting_of(0.5, crop) for crop in crops(2000)])
    assert 0.45 < draws.mean() < 0.55
    noise = np.array(
        [np.abs(np.random.Generator(np.random.PCG64(k)).standard_normal(4, np.float32)) for k in range(2000)]
    )
    own = np.array([seeding.generator(k, "rate").random() for k in range(2000)])
    assert np.array_equal(draws, own < 0.5)
    assert max(abs(np.corrcoef(noise[:, k], own)[0, 1]) for k in range(4)) < 0.1
