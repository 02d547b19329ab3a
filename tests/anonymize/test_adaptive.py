"""adaptive_blur and adaptive_pixelate: the published steps, written down again with OpenCV's own calls, and what keeps
faces of large photographs from being recognised."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from anonbench.anonymize import engine
from anonbench.anonymize.contract import make
from anonbench.anonymize.methods.adaptive_blur import scale_of
from anonbench.errors import AnonbenchError
from anonbench.records import OF_PEOPLE, Region, RegionKind
from anonbench.variants import Variant

from .conftest import photograph, region

BOXES = [(20, 30, 60, 110), (10, 10, 390, 310), (100, 40, 260, 320), (5, 5, 25, 15), (0, 0, 400, 330)]


def whole(box: tuple[int, int, int, int]) -> Region:
    return region(box, mask=np.ones((box[3] - box[1], box[2] - box[0]), bool))


def picture() -> np.ndarray:
    pixels = photograph(400, 330, seed=5)
    return cv2.add(pixels, np.random.default_rng(0).integers(0, 40, pixels.shape, dtype=np.uint8))


@pytest.mark.parametrize(
    ("box", "percent"),
    [((0, 0, 10, 10), 1), ((0, 0, 100, 132), 10), ((0, 0, 400, 330), 100), ((0, 0, 399, 330), 99)],
)
def test_r_follows_the_whole_per_cent_of_the_image(box: tuple[int, int, int, int], percent: int) -> None:
    assert scale_of(whole(box), 400, 330, 2.0) == pytest.approx(2 * max(math.log(percent), 1))


def test_r_counts_the_mask_and_not_the_box() -> None:
    half = np.zeros((330, 400), bool)
    half[:165] = True
    assert scale_of(region((0, 0, 400, 330), mask=half), 400, 330, 1.0) == pytest.approx(math.log(50))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("alpha", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("adaptive", [True, False])
def test_blur_is_the_published_one(box: tuple[int, int, int, int], alpha: float, adaptive: bool) -> None:
    pixels, (x0, y0, x1, y1) = picture(), box
    method = make(Variant.parse("body-adaptive_blur-own"), {"alpha": alpha, "adaptive_sigma": adaptive, "paper": True})
    changed = engine.anonymize_image(pixels, [whole(box)], method)[y0:y1, x0:x1]
    percent = max(1, int(100 * (x1 - x0) * (y1 - y0) / (400 * 330)))
    r = alpha * max(math.log(percent), 1)
    taps = [max(3, min(int(13 * r), side // 2)) for side in (x1 - x0, y1 - y0)]
    taps = [k - 1 if k % 2 == 0 else k for k in taps]
    sigma = [min(10 * (r if adaptive else 1), k) for k in taps]
    crop = pixels[y0:y1, x0:x1]
    expected = cv2.GaussianBlur(crop.astype(np.float32), taps, sigma[0], sigmaY=sigma[1])
    assert np.abs(expected - changed).max() < 0.6
    assert np.abs(expected - crop).mean() > 3


def test_a_larger_share_and_a_higher_level_blur_more() -> None:
    pixels = picture()
    left = {}
    for name in ("adaptive_blur", "adaptive_pixelate"):
        for level in ("low", "medium", "high"):
            method = make(Variant.parse(f"body-{name}-{level}"), {"paper": True})
            changed = engine.anonymize_image(pixels, [whole(BOXES[1])], method)
            left[name, level] = float(changed[30:290, 30:370].std(axis=(0, 1)).mean())
        assert left[name, "low"] > left[name, "medium"] > left[name, "high"]
    small = cv2.resize(pixels, (100, 82), interpolation=cv2.INTER_AREA)
    method = make(Variant.parse("body-adaptive_pixelate-low"), {"paper": True})
    wide = method.window(whole((0, 0, 100, 82)), 100, 82).note
    part = method.window(whole((0, 0, 100, 82)), 1000, 820).note
    assert wide[0] < part[0] == 25
    assert len(np.unique(engine.anonymize_image(small, [whole((0, 0, 100, 82))], method).reshape(-1, 3), axis=0)) <= (
        wide[0] * wide[1]
    )


@pytest.mark.parametrize("box", BOXES)
def test_pixelate_shows_the_mean_of_its_cells(box: tuple[int, int, int, int]) -> None:
    pixels, (x0, y0, x1, y1) = picture(), box
    method = make(Variant.parse("body-adaptive_pixelate-low"), {"paper": True})
    changed = engine.anonymize_image(pixels, [whole(box)], method)
    percent = max(1, int(100 * (x1 - x0) * (y1 - y0) / (400 * 330)))
    sides = [min(int(4 * max(math.log(percent), 1)), side // 2) for side in (x1 - x0, y1 - y0)]
    columns, rows = (x1 - x0) // sides[0], (y1 - y0) // sides[1]
    assert len(np.unique(changed[y0:y1, x0:x1].reshape(-1, 3), axis=0)) > 0.9 * columns * rows
    first = changed[y0 : y0 + sides[1], x0 : x0 + sides[0]]
    assert (first == first[0, 0]).all()
    mean = cv2.resize(pixels[y0:y1, x0:x1].astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)[0, 0]
    assert np.abs(first[0, 0] - mean).max() <= 0.51


@pytest.mark.parametrize("name", ["adaptive_blur-low", "adaptive_pixelate-low"])
@pytest.mark.parametrize("side", [2, 3, 4, 5])
def test_small_people_are_changed_too(name: str, side: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    changed = engine.anonymize_image(pixels, [whole((7, 9, 7 + side, 9 + side))], make(Variant.parse(f"body-{name}")))
    inside = np.s_[9 : 9 + side, 7 : 7 + side]
    assert (changed[inside] != pixels[inside]).mean() > 0.8


LEVELS = [(name, level) for name in ("adaptive_blur", "adaptive_pixelate") for level in ("low", "medium", "high")]


def features(side: float, height: int, width: int) -> np.ndarray:
    """Return waves as long as a quarter of a face's side: what eyes, nose and mouth are made of."""
    y, x = np.mgrid[:height, :width]
    waves = 100 * np.sin(8 * np.pi * x / side) * np.sin(8 * np.pi * y / side)
    return np.repeat((128 + waves).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(("name", "level"), LEVELS)
@pytest.mark.parametrize("kind", OF_PEOPLE)
@pytest.mark.parametrize("enlarged", [1, 2, 4, 6])
def test_no_features_are_left_however_large_the_photograph(
    name: str, level: str, kind: RegionKind, enlarged: int
) -> None:
    side = 60 * enlarged
    face = side if kind is RegionKind.FACE else 0.5 * side  # of a person twice as high as wide
    pixels = features(face, 4 * side, 4 * side)
    tall = side if kind is RegionKind.FACE else 2 * side
    box = (side, side, 2 * side, side + tall)
    one = region(box, kind, mask=np.ones((tall, side), bool))
    changed = engine.anonymize_image(pixels, [one], make(Variant.parse(f"{kind}-{name}-{level}")))
    x0, y0, x1, y1 = box
    left = changed[y0:y1, x0:x1].std() / pixels[y0:y1, x0:x1].std()
    assert left < 0.35
    if enlarged == 6 and kind is RegionKind.FACE:
        paper = make(Variant.parse(f"{kind}-{name}-low"), {"paper": True})
        still = engine.anonymize_image(pixels, [one], paper)
        assert still[y0:y1, x0:x1].std() / pixels[y0:y1, x0:x1].std() > 0.7


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_no_level_is_weaker_than_the_published_formula(name: str, level: str) -> None:
    pixels = picture()
    for box in BOXES:
        x0, y0, x1, y1 = box
        left = []
        for parameters in ({}, {"paper": True}):
            method = make(Variant.parse(f"body-{name}-{level}"), parameters)
            changed = engine.anonymize_image(pixels, [whole(box)], method)[y0:y1, x0:x1]
            inside = changed[2:-2, 2:-2].astype(float)
            left.append(float(np.abs(np.diff(inside, axis=0)).mean() + np.abs(np.diff(inside, axis=1)).mean()))
        assert left[0] <= left[1] * 1.1 + 0.1


@pytest.mark.parametrize("name", ["adaptive_blur", "adaptive_pixelate"])
def test_faces_at_the_border_whose_region_is_narrow(name: str) -> None:
    """The kernel follows the whole face, not the strip of it that is in the image."""
    pixels = picture()
    strip = Region(
        1, RegionKind.FACE, "detector", (0, 40, 3, 160), np.ones((120, 3), bool), (-97.0, 40.0, 100.0, 120.0)
    )
    changed = engine.anonymize_image(pixels, [strip], make(Variant.parse(f"face-{name}-low")))
    assert (changed[:, 3:] == pixels[:, 3:]).all()
    assert np.abs(np.diff(changed[40:160, :3].astype(float), axis=0)).mean() < 5
    assert np.abs(np.diff(pixels[40:160, :3].astype(float), axis=0)).mean() > 10


def test_bad_parameters() -> None:
    with pytest.raises(AnonbenchError, match="alpha: Input should be greater than 0"):
        make(Variant.parse("body-adaptive_blur-own"), {"alpha": 0})
    with pytest.raises(AnonbenchError, match=r"alpha \(got|unknown key \(did you mean 'alpha'"):
        make(Variant.parse("body-adaptive_pixelate-own"), {"alfa": 2})
