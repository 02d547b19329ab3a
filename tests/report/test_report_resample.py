"""Intervals and verdicts: coverage by simulation, and rules that must hold for any interval."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from anonbench.report import resample
from anonbench.report.resample import DROP, GAIN, SAME, UNSURE, difference, needed, pooled, student, t_quantile, verdict

NUMBERS = st.floats(-100, 100, allow_nan=False)
MARGINS = st.floats(0.1, 5)


@given(NUMBERS, NUMBERS, MARGINS)
def test_a_verdict_says_what_the_interval_allows(a: float, b: float, margin: float) -> None:
    low, high = min(a, b), max(a, b)
    said = verdict(low, high, margin)
    assert (said == SAME) == (-margin < low and high < margin)
    if said == DROP:
        assert high < 0
        assert low <= -margin
    if said == GAIN:
        assert low > 0
        assert high >= margin
    if said == UNSURE:
        assert low <= 0 <= high
    assert verdict(-high, -low, margin) == {DROP: GAIN, GAIN: DROP}.get(said, said)


@given(NUMBERS, NUMBERS, MARGINS, st.floats(0, 10))
def test_a_wider_interval_never_turns_doubt_into_a_claim(a: float, b: float, margin: float, more: float) -> None:
    low, high = min(a, b), max(a, b)
    if verdict(low, high, margin) == UNSURE:
        assert verdict(low - more, high + more, margin) == UNSURE


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((-0.9, 0.4), SAME),
        ((-0.9, -0.1), SAME),
        ((-1.2, -0.1), DROP),
        ((-1.2, 0.1), UNSURE),
        ((0.2, 1.0), GAIN),
        ((-43, -39), DROP),
    ],
)
def test_verdicts_by_hand(interval: tuple[float, float], said: str) -> None:
    assert verdict(*interval, 1.0) == said


def test_student_has_the_tables_quantiles_and_one_order() -> None:
    for n, expected in ((2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262), (30, 2.045)):
        low, high = np.percentile(student(n, 2000, "test"), (2.5, 97.5))
        assert high == pytest.approx(expected, rel=0.04)
        assert low == pytest.approx(-expected, rel=0.04)
        assert t_quantile(n - 1) == pytest.approx(expected, abs=0.005)
    assert (student(3, 50, 1) == student(3, 50, 1)).all()
    assert not (student(3, 50, 1) == student(3, 50, 2)).all()
    assert not student(1, 50).any()


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("image_sd", [0.0, 0.5])
def test_intervals_cover(seeds: int, image_sd: float) -> None:
    """The truth lies inside in at least 94 % of 1500 made-up studies; the plain bootstrap of seeds stays below."""
    random = np.random.default_rng(3)
    b, studies, truth = 400, 1500, -0.7
    noise = student(seeds, b, 0)
    inside = plain = 0
    for _ in range(studies):
        images = random.normal(0, image_sd)
        per_seed = truth + images + random.normal(0, 0.8, seeds)
        replicates = per_seed + random.normal(0, image_sd, (b, 1))
        found = difference(per_seed, replicates, noise, 1.0, 100)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= truth <= found.high
        drawn = replicates[np.arange(b)[:, None], random.integers(0, seeds, (b, seeds))].mean(axis=1)
        low, high = np.percentile(drawn, (2.5, 97.5))
        plain += low <= truth <= high
    print(f"{seeds} seeds, image sd {image_sd}: {inside / studies:.3f} (plain bootstrap {plain / studies:.3f})")
    assert inside / studies > 0.94
    assert plain < inside


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_alone_are_the_t_interval(seeds: int) -> None:
    per_seed = np.random.default_rng(seeds).normal(-0.7, 0.8, seeds)
    found = difference(per_seed, np.repeat(per_seed[None], 2000, axis=0), student(seeds, 2000, 0), 1.0, 100)
    error = scipy.stats.sem(per_seed)
    expected = scipy.stats.t.interval(0.95, seeds - 1, per_seed.mean(), error)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.04 * (expected[1] - expected[0]))


def test_image_noise_alone_is_the_bootstrap_percentile() -> None:
    replicates = np.repeat(np.linspace(-1, 1, 1001)[:, None], 3, axis=1) - 5
    found = difference(np.full(3, -5.0), replicates, student(3, 1001, 0), 1.0, 100)
    assert (found.low, found.high) == pytest.approx((-5.95, -4.05), abs=1e-6)
    assert found.verdict == DROP


def test_one_seed_gives_no_verdict() -> None:
    found = difference(np.array([-40.0]), np.full((200, 1), -40.0), student(1, 200), 1.0, 100)
    assert found.verdict == UNSURE
    assert (found.seeds_needed, found.images_needed) == (None, None)


def test_a_model_without_training_has_one_seed_and_a_verdict() -> None:
    per_seed, noise = np.array([-4.0]), student(1, 1001)
    narrow = np.linspace(-1, 1, 1001)[:, None] - 4
    found = difference(per_seed, narrow, noise, 1.0, 100, fixed=True)
    assert (found.low, found.high) == pytest.approx((-4.95, -3.05), abs=1e-6)
    assert (found.verdict, found.seeds_needed, found.images_needed) == (DROP, None, None)
    assert difference(per_seed + 4, narrow * 0.1 + 0.4, noise, 1.0, 100, fixed=True).verdict == SAME
    wide = 8 * (narrow + 4) - 3.9
    found = difference(per_seed + 0.1, wide, noise, 1.0, 100, fixed=True)
    assert (found.low, found.high) == pytest.approx((-11.5, 3.7), abs=1e-6)
    # a half-width of 7.6 must shrink to 3.9, which takes (7.6 / 3.9) ** 2 = 3.797 times the images, and no seed
    assert (found.verdict, found.seeds_needed, found.images_needed) == (UNSURE, None, 380)


def test_no_equivalence_to_a_model_that_learnt_nothing() -> None:
    noise, replicates = student(3, 200), np.full((200, 3), -0.1)
    per_seed = np.full(3, -0.1)
    assert difference(per_seed, replicates, noise, 1.0, 100, learnt=True).verdict == SAME
    assert difference(per_seed, replicates, noise, 1.0, 100, learnt=False).verdict == UNSURE
    assert difference(per_seed - 3, replicates - 3, noise, 1.0, 100, learnt=False).verdict == DROP


def test_where_lower_is_better_a_fall_is_a_gain() -> None:
    noise, per_seed = student(3, 200), np.full(3, -3.0)
    replicates = np.full((200, 3), -3.0)
    assert difference(per_seed, replicates, noise, 1.0, 100, best="lower").verdict == GAIN
    assert difference(-per_seed, -replicates, noise, 1.0, 100, best="lower").verdict == DROP
    assert difference(per_seed, replicates, noise, 5.0, 100, best="lower").verdict == SAME


def test_resamples_without_the_category_are_left_out() -> None:
    replicates = np.array([[np.nan, np.nan], [-3.0, -3.0], [-3.0, -3.0]])
    found = difference(np.array([-3.0, -3.0]), replicates, np.zeros(3), 1.0, 10)
    assert (found.low, found.high) == (-3, -3)
    nothing = difference(np.array([-3.0, -3.0]), np.full((3, 2), np.nan), np.zeros(3), 1.0, 10)
    assert (nothing.low, nothing.verdict) == (None, UNSURE)


def test_what_it_would_take() -> None:
    # t(n-1) * 1.0 / sqrt(n) <= 1.0 first holds for n = 7 (2.447 / 2.646)
    assert needed(0.0, 0.0, 1.0, 1.0, 100, 3) == (7, 100)
    # images alone give +-2 where +-1 is needed: half of the variance to each, so 100 * 2 * 2**2
    seeds, images = needed(0.0, 2.0, 0.1, 1.0, 100, 3)
    assert images == 800
    assert seeds == 3
    assert needed(0.5, 0.0, 1e6, 1.0, 100, 3)[0] is None


@given(NUMBERS, st.floats(0, 5), st.floats(0, 5), MARGINS)
def test_more_noise_never_needs_less(value: float, image_half: float, sd: float, margin: float) -> None:
    seeds, images = needed(value, image_half, sd, margin, 100, 3)
    more, _ = needed(value, image_half, sd + 1, margin, 100, 3)
    assert images is not None
    assert images >= 100
    assert more is None or (seeds is not None and more >= seeds)


def test_image_weights_are_draws_with_replacement() -> None:
    weights = resample.image_weights(30, 100, 7, "streetlife")
    assert weights.shape == (100, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert (weights == resample.image_weights(30, 100, 7, "streetlife")).all()


def test_pooled_spread_is_that_of_an_analysis_of_variance() -> None:
    ap = [np.array([40.0, 42.0]), np.array([30.0, 34.0]), np.array([20.0, 20.0]), np.array([0.0, 0.1])]
    spread = pooled(ap, floor=5)
    assert spread is not None
    within = (2.0 + 8.0 + 0.0) / 3  # the last one learnt nothing and says nothing about the others
    assert spread.sd == pytest.approx((2 * within) ** 0.5)
    assert (spread.freedom, spread.groups) == (3, 3)
    assert pooled([np.array([40.0]), np.array([3.0])]) is None


@pytest.mark.parametrize("seeds", [2, 3])
def test_pooled_intervals_cover_and_are_shorter(seeds: int) -> None:
    """Seven variants of equal spread: the truth lies inside in at least 93 % of 800 studies, in shorter intervals."""
    random = np.random.default_rng(5)
    b, studies, truth, variants = 400, 800, -0.7, 7
    noise = student(variants * (seeds - 1) + 1, b, 0)
    alone = student(seeds, b, 0)
    inside, shorter = 0, []
    for _ in range(studies):
        ap = 40 + random.normal(0, 0.8, (variants, seeds))
        ap[1] += truth
        per_seed = ap[1] - ap[0]
        replicates = np.repeat(per_seed[None], b, axis=0)
        found = difference(per_seed, replicates, noise, 1.0, 100, spread=pooled(list(ap)))
        single = difference(per_seed, replicates, alone, 1.0, 100)
        assert None not in (found.low, found.high, single.low, single.high)
        inside += found.low <= truth <= found.high  # type: ignore[operator]
        shorter.append((found.high - found.low) / (single.high - single.low))  # type: ignore[operator]
    print(f"{seeds} seeds: {inside / studies:.3f}, median length {np.median(shorter):.2f} of an unpooled interval")
    assert inside / studies > 0.93
    assert np.median(shorter) < 0.75


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("shared", "own"), [(0.8, 0.2), (0.2, 2.4)])
def test_one_model_on_every_variant_has_a_spread_for_each(seeds: int, shared: float, own: float) -> None:
    """What a seed does is shared by the variants, or is much to one and little to six others: pooling misses both."""
    random = np.random.default_rng(11)
    b, studies, truth, variants = 300, 800, -3.0, 7
    sds = np.array([0.2, own, *[0.2] * (variants - 2)])
    noise, alone = student(variants * (seeds - 1) + 1, b, 0), student(seeds, b, 0)
    inside = pool = 0
    ratio = []
    for _ in range(studies):
        ap = 40 + random.normal(0, shared, seeds) + random.normal(0, 1, (variants, seeds)) * sds[:, None]
        ap[1] += truth
        per_seed = ap[1] - ap[0]
        replicates = np.repeat(per_seed[None], b, axis=0)
        found = difference(per_seed, replicates, alone, 1.0, 100)
        wrong = difference(per_seed, replicates, noise, 1.0, 100, spread=pooled(list(ap)))
        assert None not in (found.low, found.high, wrong.low, wrong.high)
        inside += found.low <= truth <= found.high  # type: ignore[operator]
        pool += wrong.low <= truth <= wrong.high  # type: ignore[operator]
        ratio.append((found.high - found.low) / (wrong.high - wrong.low))  # type: ignore[operator]
    print(
        f"{seeds} seeds, sd {shared} shared, {own} of the variant: {inside / studies:.3f} (pooled {pool / studies:.3f}"
        f", {np.median(ratio):.1f} of its length)"
    )
    assert 0.92 < inside / studies < 0.98
    if own > shared:
        assert pool / studies < 0.9
    else:
        assert pool / studies > 0.97


@pytest.mark.parametrize(("groups", "least", "most"), [(5, 0.76, 0.87), (10, 0.84, 0.91), (20, 0.89, 0.95)])
def test_few_videos_make_intervals_too_narrow(groups: int, least: float, most: float) -> None:
    """Videos of different lengths, each with an effect of its own, and no noise of seeds: the warning's numbers."""
    random = np.random.default_rng(1)
    weights = resample.image_weights(groups, 400, "few").astype(float)
    inside, studies = 0, 1200
    for _ in range(studies):
        frames, effect = random.integers(3, 30, groups), random.normal(-3, 4, groups)
        point, replicates = (effect @ frames) / frames.sum(), (weights @ (effect * frames)) / (weights @ frames)
        found = difference(np.full(3, point), np.repeat(replicates[:, None], 3, axis=1), np.zeros(400), 1.0, groups)
        assert None not in (found.low, found.high)
        inside += found.low <= -3 <= found.high  # type: ignore[operator]
    print(f"{groups} videos: {inside / studies:.3f}")
    assert least < inside / studies < most
