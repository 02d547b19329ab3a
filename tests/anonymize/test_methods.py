"""The contract over every registered method, and what each of ours does to pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anonbench import registry
from anonbench.anonymize import engine
from anonbench.anonymize.contract import Method, make
from anonbench.crops import Crop, Work, cut
from anonbench.errors import AnonbenchError
from anonbench.records import ANONYMIZED, CONTROL, Reason, Region, RegionKind
from anonbench.seeding import generator, seed_of
from anonbench.variants import Variant
from anonbench.windows import BODY_SIZE, Window, published_window

from .conftest import photograph, region

WIDTH, HEIGHT = 97, 83
BODY, FACE = RegionKind.BODY, RegionKind.FACE


def every_method() -> list[Any]:
    found = []
    for name in registry.names("methods"):
        if BODY not in registry.load("methods", name).kinds:
            continue  # see test_frames.py
        levels = registry.load("methods", name).levels or {None: {}}
        found += [pytest.param(name, level, id="-".join(filter(None, (name, level)))) for level in levels]
    return found


@pytest.fixture(name="method")
def _method(name: str, level: str | None, tmp_path: Path) -> Method:
    reason = getattr(registry.load("methods", name), "available", lambda: None)()
    if reason is not None:  # a package, a model or weights that only a user has
        pytest.skip(reason)
    return ready(make(Variant(BODY, name, level)), tmp_path)


def ready(method: Method, folder: Path) -> Method:
    """Return a method with weights, if it is one that is fitted."""
    if method.FitSettings is not None:
        from .gan_tiny import write_weights

        assert method.name == "gan", "write weights for it here"
        method.load(write_weights(folder / "weights.safetensors"), BODY, "cpu")
    return method


contract = pytest.mark.parametrize(("name", "level"), every_method())

REGIONS = {
    "none": [],
    "one pixel": [region((40, 40, 41, 41))],
    "one pixel in the corner": [region((96, 82, 97, 83))],
    "upper left": [region((0, 0, 30, 40))],
    "lower right": [region((60, 50, 97, 83))],
    "whole width": [region((0, 30, 97, 33))],
    "whole image": [region((0, 0, 97, 83), mask=np.ones((83, 97), bool))],
    "face": [region((20, 20, 45, 50), FACE)],
    "face in the corner": [region((80, 0, 97, 20), FACE)],
    "overlapping": [region((5, 5, 60, 80), person_id=1), region((30, 20, 70, 60), person_id=2)],
}


@contract
@pytest.mark.parametrize("people", REGIONS.values(), ids=REGIONS.keys())
def test_only_the_masks_change(method: Method, people: list[Region]) -> None:
    pixels = photograph(WIDTH, HEIGHT)
    before = pixels.copy()
    changed = engine.anonymize_image(pixels, people, method)
    assert changed.shape == pixels.shape
    assert changed.dtype == np.uint8
    assert (pixels == before).all()
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for one in people:
        x0, y0, x1, y1 = one.box
        mask[y0:y1, x0:x1] |= one.mask
    assert (changed[~mask] == pixels[~mask]).all()
    if method.anonymizes and mask.sum() > 100:
        assert (changed[mask] != pixels[mask]).mean() > 0.5


@contract
def test_equal_seeds_and_any_order_give_equal_pixels(method: Method, tmp_path: Path) -> None:
    pixels = photograph(WIDTH, HEIGHT)
    people = [region((4 * i, 3 * i, 4 * i + 30, 3 * i + 40), person_id=i) for i in range(8)]
    first = engine.anonymize_image(pixels, people, method, image_id=3, seed=1)
    other = ready(type(method)(method.parameters.model_dump()), tmp_path)
    again = engine.anonymize_image(pixels, people[::-1], other, image_id=3, seed=1)
    assert (first == again).all()


@contract
def test_outcomes_count_everyone(method: Method) -> None:
    people = [region((4, 3, 20, 30), person_id=7), region((40, 30, 90, 80), person_id=5)]
    (rows,) = engine.anonymize([Work(9, photograph(WIDTH, HEIGHT), people)], method, seed=4)
    assert [row.person_id for row in rows] == [5, 7]
    assert rows[0].pixels == people[1].mask.sum()
    assert rows[0].seed == seed_of(4, 9, 5)
    assert {row.status for row in rows} == {ANONYMIZED if method.anonymizes else CONTROL}


@contract
def test_parameters_are_documented_and_strict(method: Method) -> None:
    for name, field in method.Parameters.model_fields.items():
        assert field.description, name
    with pytest.raises(AnonbenchError, match="nonsense: unknown key"):
        type(method)({"nonsense": 1})


@contract
def test_what_can_be_inverted_comes_closer_to_the_original(method: Method) -> None:
    if not method.inverts:
        with pytest.raises(NotImplementedError):
            method.invert(None)  # type: ignore[arg-type]
        return
    image = photograph(220, 260)
    one = region((60, 40, 150, 200))
    changed = engine.anonymize_image(image, [one], method)
    window = method.window(one, 220, 260)
    crop, before = (cut(Work(0, pixels.copy(), [one]), one, window, method.padding, 0) for pixels in (changed, image))
    inverted = method.invert(crop)
    assert inverted.dtype == np.uint8
    inside = crop.mask
    assert np.array_equal(inverted[~inside], crop.pixels[~inside])
    errors = [np.abs(found[inside].astype(int) - before.pixels[inside]).mean() for found in (inverted, crop.pixels)]
    assert errors[0] < 0.9 * errors[1]


def test_splits_draw_apart_and_a_pseudonym_is_the_same_in_all() -> None:
    """Image 1 of every split has a person 1: with one seed they would get one look."""
    one = replace(region((10, 10, 40, 60)), identity="7")
    window = Window(one.box)
    crops = {
        split: cut(Work(1, np.zeros((80, 60, 3), np.uint8), [one], split=split), one, window, "zero", 3)
        for split in ("train", "probe", "gallery")
    }
    assert len({crop.seed_of() for crop in crops.values()}) == 3
    assert len({crop.seed_of(identity=True) for crop in crops.values()}) == 1
    assert crops["train"].seed_of() == seed_of(3, 1, one.person_id), "what studies have made stays"


def test_identity_is_exact() -> None:
    pixels = photograph(WIDTH, HEIGHT)
    changed = engine.anonymize_image(pixels, REGIONS["overlapping"], make(Variant.parse("body-identity")))
    assert (changed == pixels).all()


def test_mask_out_paints_grey_or_the_colour() -> None:
    people = [region((10, 10, 20, 20), FACE)]
    grey = engine.anonymize_image(photograph(WIDTH, HEIGHT), people, make(Variant.parse("face-mask_out")))
    assert (grey[10:20, 10:20] == 128).all()
    red = make(Variant.parse("face-mask_out"), {"colour": [255, 0, 10]})
    assert (engine.anonymize_image(grey, people, red)[10:20, 10:20] == (255, 0, 10)).all()


def test_pixelate_shows_the_mean_of_square_cells() -> None:
    pixels = photograph(WIDTH, HEIGHT)
    changed = engine.anonymize_image(
        pixels, [region((10, 20, 42, 52), FACE)], make(Variant.parse("face-pixelate-high"))
    )
    for y in range(20, 52, 8):
        for x in range(10, 42, 8):
            cell = changed[y : y + 8, x : x + 8].reshape(-1, 3)
            assert (cell == cell[0]).all()
            assert np.abs(cell[0] - pixels[y : y + 8, x : x + 8].reshape(-1, 3).mean(axis=0)).max() <= 0.51


def test_pixelate_never_shows_single_pixels() -> None:
    pixels = photograph(WIDTH, HEIGHT)
    changed = engine.anonymize_image(pixels, [region((10, 20, 22, 32))], make(Variant.parse("body-pixelate-low")))
    assert len(np.unique(changed[20:32, 10:22].reshape(-1, 3), axis=0)) < 100


def published_blur(pixels: np.ndarray, one: Region, sigma: float, taps: int) -> np.ndarray:
    """Return the image as the published study blurs it: resize the crop, convolve, resize back, paste."""
    height, width = pixels.shape[:2]
    (x0, y0, x1, y1), size, _ = published_window(one, width, height)
    assert size is not None
    pad = 2 * max(width, height)
    padded = cv2.copyMakeBorder(pixels, pad, pad, pad, pad, cv2.BORDER_REPLICATE).astype(np.float32)
    crop = padded[y0 + pad : y1 + pad, x0 + pad : x1 + pad]
    enlarges = size[0] > x1 - x0
    worked = cv2.resize(crop, size, interpolation=cv2.INTER_NEAREST if enlarges else cv2.INTER_AREA)
    kernel = np.exp(-0.5 * ((np.arange(taps) - taps // 2) / sigma) ** 2)
    blurred = cv2.sepFilter2D(worked, -1, kernel / kernel.sum(), kernel / kernel.sum())
    back = cv2.resize(blurred, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA if enlarges else cv2.INTER_CUBIC)
    full = padded.copy()
    full[y0 + pad : y1 + pad, x0 + pad : x1 + pad] = back
    return full[pad : pad + height, pad : pad + width]


@pytest.mark.parametrize("level", ["low", "medium", "high"])
@pytest.mark.parametrize(
    "one",
    [
        region((40, 60, 44, 71)),
        region((40, 60, 60, 100)),
        region((200, 60, 300, 260)),
        region((100, 0, 400, 400)),
        region((10, 10, 22, 26), FACE),
        region((100, 100, 170, 190), FACE),
        region((100, 100, 370, 390), FACE),
    ],
    ids=lambda one: f"{one.kind}-{one.box[3] - one.box[1]}",
)
def test_blur_is_the_published_one(level: str, one: Region) -> None:
    pixels = photograph(480, 400, seed=5)
    pixels = cv2.add(pixels, np.random.default_rng(0).integers(0, 40, pixels.shape, dtype=np.uint8))
    method = make(Variant(one.kind, "blur", level))
    changed = engine.anonymize_image(pixels, [one], method)
    expected = published_blur(pixels, one, method.parameters.sigma, method.parameters.kernel)
    x0, y0, x1, y1 = one.box
    difference = np.abs(expected - changed)[y0:y1, x0:x1][one.mask]
    assert difference.mean() < 2.5
    assert np.abs(expected - pixels)[y0:y1, x0:x1][one.mask].mean() > 2 * difference.mean()


def test_body_window_follows_the_publication() -> None:
    x0, y0, x1, y1 = published_window(region((200, 100, 300, 300), mask=np.ones((200, 100), bool)), 640, 480).box
    assert (y1 - y0) / (x1 - x0) == pytest.approx(BODY_SIZE[1] / BODY_SIZE[0], abs=0.02)
    assert x1 - x0 >= 110
    assert 1 - 100 * 200 / ((x1 - x0) * (y1 - y0)) >= 0.3


def test_windows_are_shifted_into_the_image() -> None:
    assert published_window(region((0, 0, 20, 20), FACE), 640, 480).box == (0, 0, 34, 34)
    assert published_window(region((620, 460, 640, 480), FACE), 640, 480).box == (606, 446, 640, 480)


def test_windows_hold_regions_of_a_few_pixels() -> None:
    face = Region(1, FACE, "ground_truth", (10, 10, 13, 13), np.ones((3, 3), bool), (10.9, 10.9, 1.15, 1.15))
    assert published_window(face, 640, 480).box == (10, 10, 13, 13)


class Generator(Method):
    """Stands for a generative model: resized crops with context, in batches, with randomness; fails when told to."""

    batch = 3
    fails: frozenset[int] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def window(self, region: Region, width: int, height: int) -> Window:
        return published_window(region, width, height)

    def change(self, crop: Crop) -> np.ndarray:
        assert crop.pixels.shape[:2] == crop.mask.shape == BODY_SIZE[::-1]
        result = crop.pixels * crop.generator().uniform(0.2, 1.0, 3)
        if crop.region.person_id in self.fails:
            result[:] = np.nan
        return result

    def change_batch(self, crops: Any) -> Any:
        self.sizes.append(len(crops))
        return [self.change(crop) for crop in crops]


def works() -> list[Work]:
    people = [region((5 + 30 * i, 5, 25 + 30 * i, 60), person_id=i) for i in range(5)]
    people.append(region((10, 20, 150, 110), person_id=9))
    return [Work(number, photograph(200, 120, number), people) for number in range(4)]


def test_batches_change_no_pixel() -> None:
    method, single = Generator(), Generator()
    single.batch = 1  # type: ignore[misc]
    together, alone = works(), works()
    outcomes = engine.anonymize(together, method, seed=1)
    assert max(method.sizes) == 3
    assert outcomes == [engine.anonymize([work], single, seed=1)[0] for work in alone]
    assert set(single.sizes) == {1}
    for a, b in zip(together, alone, strict=True):
        assert (a.pixels == b.pixels).all()


def test_later_people_see_earlier_ones() -> None:
    seen = {}

    class Watch(Method):
        def change(self, crop: Crop) -> np.ndarray:
            seen[crop.region.person_id] = crop.pixels.copy()
            return np.full_like(crop.pixels, 7)

    people = [region((0, 0, 40, 40), person_id=1), region((10, 10, 20, 20), person_id=2)]
    engine.anonymize_image(photograph(60, 60), people, Watch())
    assert (seen[1][10:20, 10:20][people[1].mask] == 7).all()


def test_keypoints_are_in_the_crop() -> None:
    points = np.zeros((17, 3), np.float32)
    points[0] = (50, 60, 2)
    found = []

    class Watch(Generator):
        def change(self, crop: Crop) -> np.ndarray:
            found.append(crop)
            return crop.pixels

    one = region((40, 40, 60, 90))
    engine.anonymize_image(photograph(200, 200), [one], Watch(), keypoints={1: points}, seed=2, image_id=3)
    x0, y0, x1, y1 = published_window(one, 200, 200).box
    expected = [(50 - x0) * 160 / (x1 - x0), (60 - y0) * 288 / (y1 - y0), 2]
    assert found[0].keypoints[0] == pytest.approx(expected, rel=1e-5)
    assert (found[0].keypoints[1:] == 0).all()
    assert (points[0] == (50, 60, 2)).all()
    assert found[0].generator().random() == generator(2, 3, 1).random()


def test_a_failure_ends_the_run() -> None:
    method = Generator()
    method.fails = frozenset({3})
    with pytest.raises(AnonbenchError, match=r"image 0: method \w+ failed on person 3: returned numbers that are not"):
        engine.anonymize(works(), method, seed=1)


def test_a_fallback_covers_who_failed() -> None:
    method = Generator()
    method.fails, method.fallback = frozenset({9}), "mask_out"  # type: ignore[misc]
    images = works()
    outcomes = engine.anonymize(images, method, seed=1)
    assert {row.person_id: (row.status, row.fallback) for row in outcomes[0]} == {
        **dict.fromkeys(range(5), (ANONYMIZED, None)),
        9: (Reason.METHOD_FAILED, "mask_out"),
    }
    assert (images[0].pixels[20:110, 10:150][images[0].regions[5].mask] == 128).all()


def test_a_failure_in_a_batch_is_not_work_for_the_others() -> None:
    good, bad = Generator(), Generator()
    bad.fails, bad.fallback = frozenset({3}), "mask_out"  # type: ignore[misc]
    engine.anonymize(works(), good, seed=1)
    engine.anonymize(works(), bad, seed=1)
    assert bad.sizes == good.sizes


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.zeros((3, 3, 3), np.uint8), r"returned \(3, 3, 3\)"),
        (None, "NoneType"),
        (np.zeros((20, 10, 3), np.int32), "int32"),
        (RuntimeError("out of memory"), "out of memory"),
    ],
)
def test_a_wrong_result_is_refused(result: Any, message: str) -> None:
    class Wrong(Method):
        def change(self, crop: Crop) -> np.ndarray:
            if isinstance(result, Exception):
                raise result
            return result

    with pytest.raises(AnonbenchError, match=message):
        engine.anonymize_image(photograph(40, 40), [region((5, 5, 15, 25))], Wrong())


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (90, 0, 98, 5), (5, 5, 5, 9)])
def test_a_region_outside_is_refused(box: tuple[int, int, int, int]) -> None:
    one = Region(1, BODY, "mask", box, np.ones((box[3] - box[1], box[2] - box[0]), bool), (0, 0, 1, 1))
    with pytest.raises(AnonbenchError, match="does not fit"):
        engine.anonymize_image(photograph(WIDTH, HEIGHT), [one], make(Variant.parse("body-mask_out")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("orignal", "did you mean 'original'"),
        ("fase-blur-low", "did you mean 'face'"),
        ("face-blurr-low", "did you mean 'blur'"),
        ("face", "is not a variant"),
        ("face-blur-low-2", "is not a variant"),
    ],
)
def test_variant_names(text: str, message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        Variant.parse(text)


def test_variants_round_trip() -> None:
    for text in ("original", "face-blur-medium", "body-mask_out"):
        assert str(Variant.parse(text)) == text


def test_levels() -> None:
    with pytest.raises(AnonbenchError, match="names no level"):
        make(Variant.parse("face-blur"))
    with pytest.raises(AnonbenchError, match="did you mean 'medium'"):
        make(Variant.parse("face-blur-medum"))
    assert make(Variant.parse("face-blur-low"), {"kernel": 9}).parameters.model_dump() == {"sigma": 3.5, "kernel": 9}
    assert make(Variant.parse("face-blur-own"), {"sigma": 1}).parameters.sigma == 1
    with pytest.raises(AnonbenchError, match="original has no method"):
        make(Variant.parse("original"))
