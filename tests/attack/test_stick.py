"""The measuring stick is straight, with intervals: leaks that are planted are found, nothing is found where none is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from anonbench.anonymize import engine
from anonbench.anonymize.contract import make
from anonbench.attack import trials
from anonbench.attack.attackers import describe_with, learn
from anonbench.attack.attacks.reidentify import Reidentify, Relink
from anonbench.attack.contract import Trial
from anonbench.attack.estimates import AUC, estimate_arrays, estimates
from anonbench.attack.options import AttackerConfig
from anonbench.attack.subjects import Subjects, read_subjects
from anonbench.errors import AnonbenchError
from anonbench.records import RegionKind
from anonbench.report.attempts import Measured
from anonbench.seeding import generator
from anonbench.statistics.rates import residual
from anonbench.statistics.resampling import Draw
from anonbench.variants import Variant
from tests.anonymize.conftest import photograph, region
from tests.anonymize.gan_tiny import loaded
from tests.attack import test_crafted as crafted
from tests.attack.test_attackers import QUICK, SIZE, people, replaced
from tests.attack.test_matching import halves, pseudonyms
from tests.attack.town import build, person

LINKED = "linkability"
DRAW = Draw(400, 1, "stick")
AWARE = QUICK.model_copy(update={"iterations": 50})
NAIVE = AWARE.model_copy(update={"knowledge": "naive"})
ATTACKS = {"reidentify": Reidentify, "relink": Relink}


def measured(trial: Trial) -> dict[str, Measured]:
    """Return linkability among ten, and the AUC, as the report holds them."""
    each = trials.linkabilities(trial, [10])
    said, found = trials.measure(trial, each), estimates(trial, np.inf)
    arrays = trials.replicates(trial, each, DRAW) | estimate_arrays(trial, found, DRAW)
    size = said["probes"], said["people"]
    told = {
        LINKED: (said["linkability"]["10"], said["chance"]["10"], "10"),
        AUC: (found[AUC]["value"], found[AUC]["chance"], AUC),
    }
    return {
        name: Measured(
            np.array([value]), chance, *size, float(arrays[f"telling/{key}"]), arrays[f"replicates/{key}"][None]
        )
        for name, (value, chance, key) in told.items()
    }


def interval(one: Measured) -> tuple[float, float]:
    ends = one.interval()
    assert ends is not None
    return ends


def attacked(
    attack: str, own: tuple[Subjects, Subjects], seen: Subjects, gallery: Subjects, out: Path,
    config: AttackerConfig = AWARE,
) -> dict[str, Measured]:  # fmt: skip
    """Let an attacker learn from its own people, as the method leaves them and as they were, and attack others."""
    learn(attack, config, *own, {"split": "train"}, 0, out, device="cpu")
    return measured(ATTACKS[attack]().attempt(seen, None, gallery, describe_with(out, "cpu")))


def at_chance(found: dict[str, Measured]) -> None:
    """Assert that nothing was found, by intervals that are narrow enough to tell."""
    for name, chance in ((LINKED, 0.1), (AUC, 0.5)):
        low, high = interval(found[name])
        assert found[name].chance == chance
        assert low <= chance <= high, name
        assert high - low < 0.2, name


def grainy(some: Subjects, seed: int, deviation: float = 3.0) -> Subjects:
    """Return people in pictures with noise of their own, so that no scores tie."""
    noise = generator("grain", seed).normal(0, deviation, some.crops.shape)
    return replace(some, crops=np.clip(np.rint(some.crops + noise), 0, 255).astype(np.uint8))


def numbered(raw: Subjects, seed: int) -> Subjects:
    """Return people in clothes of the picture alone, and their number: four digits to base four, a pixel each."""
    found = pseudonyms(raw, by="picture")
    names = sorted(set(raw.identities))
    numbers = dict(zip(names, generator("numbers", seed).permutation(256)[: len(names)], strict=True))
    for row, who in enumerate(raw.identities):
        for digit in range(4):
            found.crops[row, 3 + 8 * digit, 11] = 85 * (numbers[who] // 4**digit % 4)
    return found


def test_a_number_in_four_pixels_is_found_between_releases(tmp_path: Path) -> None:
    own, raw = people(200, 2, 1), people(60, 2, 2)
    seen, later = halves(numbered(raw, 2))
    found = attacked("relink", (numbered(own, 1), own), seen, later, tmp_path)
    assert interval(found[LINKED])[0] > 0.3
    assert interval(found[AUC])[0] > 0.75


def shifted(raw: Subjects, seed: int) -> Subjects:
    """Return everybody as the same picture in any light, blurred, and shifted by what a hash of who they are says.

    What leaves it on one side comes back on the other: colours alone tell nothing.
    """
    (width, height), found = SIZE, replaced(raw)
    blurred = cv2.GaussianBlur(np.tile(photograph(*SIZE), (3, 3, 1)), (0, 0), 2)[height:-height, width:-width]
    for row, who in enumerate(raw.identities):
        light = generator("light", seed, row).integers(-60, 61, 3)
        there = np.roll(blurred, generator("shift", who).integers(-4, 5, 2), (0, 1))
        found.crops[row] = np.clip(there + light, 0, 255)
    return grainy(found, seed)


def test_a_shift_by_a_hash_of_who_it_is_is_found_between_releases(tmp_path: Path) -> None:
    own, raw = people(100, 2, 1), people(60, 2, 2)
    seen, later = halves(shifted(raw, 2))
    found = attacked("relink", (shifted(own, 1), own), seen, later, tmp_path)
    assert interval(found[LINKED])[0] > 0.5


def test_a_perfect_replacement_is_at_chance_within_intervals(tmp_path: Path) -> None:
    own, raw = people(80, 2, 1), people(100, 2, 2)
    seen, later = halves(grainy(replaced(raw), 2))
    galleries = {"reidentify": halves(raw)[1], "relink": later}
    learn("reidentify", NAIVE, own, own, {"split": "train"}, 0, tmp_path / "naive", device="cpu")
    for attack, gallery in galleries.items():
        at_chance(measured(ATTACKS[attack]().attempt(seen, None, gallery, describe_with(tmp_path / "naive", "cpu"))))
        at_chance(attacked(attack, (grainy(replaced(own), 1), own), seen, gallery, tmp_path / attack))


def test_marks_of_a_codec_give_nobody_away(tmp_path: Path) -> None:
    """Though the attacker sees them: where a codec's quality goes with who it is, people are found."""

    def coded(raw: Subjects, seed: int, tells: bool = False) -> Subjects:
        found = grainy(replaced(raw), seed)
        for row, who in enumerate(raw.identities):
            quality = int(generator("quality", who).integers(1, 60)) if tells else 30
            written = cv2.imencode(".jpg", found.crops[row], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            found.crops[row] = cv2.imdecode(written, cv2.IMREAD_COLOR)
        return found

    own, raw = people(80, 2, 1), people(100, 2, 2)
    seen, gallery = halves(coded(raw, 2))[0], halves(raw)[1]
    at_chance(attacked("reidentify", (coded(own, 1), own), seen, gallery, tmp_path / "one"))
    seen, later = halves(coded(raw, 2, tells=True))
    told = attacked("relink", (coded(own, 1, tells=True), own), seen, later, tmp_path / "many")
    assert interval(told[LINKED])[0] > 0.2


def test_one_look_per_identity_is_found_between_releases_alone(tmp_path: Path) -> None:
    """`consistent: identity`, by the code that fills people in, in a scene of its own for each picture."""
    method = loaded(tmp_path, truncation=1, modes=False, consistent="identity")

    def filled(raw: Subjects, seed: int) -> tuple[Subjects, Subjects]:
        (width, height), before, after = SIZE, raw.crops.copy(), raw.crops.copy()
        for row, who in enumerate(raw.identities):
            image = 1000 * seed + row  # no number of the attacker's own pictures: they would share random numbers
            scene = photograph(width + 24, height + 16, image)
            body = region((12, 8, 12 + width, 8 + height), person_id=row)
            scene[8:-8, 12:-12][body.mask] = raw.crops[row][body.mask]
            changed = engine.anonymize_image(scene, [replace(body, identity=str(who))], method, image_id=image)
            before[row], after[row] = (one[8:-8, 12:-12] for one in (scene, changed))
        return replace(raw, crops=after, covered=np.ones(len(raw), bool)), replace(raw, crops=before)

    own, (fake, raw) = filled(people(140, 2, 1), 1), filled(people(60, 2, 2), 2)
    (seen, later), originals = halves(fake), halves(raw)[1]
    at_chance(attacked("reidentify", own, seen, originals, tmp_path / "reidentify"))
    assert attacked("relink", own, seen, later, tmp_path / "relink")[LINKED].value > 0.9


def test_who_must_be_named_is_asked_for_where_nobody_is(tmp_path: Path) -> None:
    town = crafted.settle(tmp_path, "train", crafted.OWN, 1)
    nobody: list[str | None] = [None] * 12
    crafted.settle(tmp_path, "gallery", nobody, 3)
    unnamed = crafted.settle(tmp_path, "val", nobody, 2)
    for attack in ("reidentify", "relink"):
        model = crafted.fit(town, tmp_path / attack, attack)
        with pytest.raises(
            AnonbenchError,
            match=rf"val\.people\.parquet: does not say who anybody is; leave out {attack}, or give annotations an ide",
        ):
            crafted.attack(unnamed, model, attack, gallery="gallery")
        assert not (tmp_path / "out" / "metrics.json").exists()


BOX = (12, 12, 60, 76)


def striped(some: Subjects, periods: tuple[float, float] = (1.6, 4)) -> np.ndarray:
    """Return images of 72x88 pixels of people in stripes of their own, which begin anywhere.

    ``periods``: how wide the narrowest and the widest are, as powers of two pixels.
    """
    y, x = np.mgrid[:64, :48]
    images = np.stack([photograph(72, 88, row) for row in range(len(some))])
    for row, who in enumerate(some.identities):
        worn, here = generator("worn", who), generator("here", who, row)
        for k in range(4):
            angle, period = worn.uniform(0, np.pi), 2 ** worn.uniform(*periods)
            wave = np.sin(2 * np.pi * ((x * np.cos(angle) + y * np.sin(angle)) / period + here.random()))
            rows = slice(16 * k, 16 * k + 16)
            images[row, 12:76, 12:60][rows] = (128 + 100 * wave[rows, :, None]).astype(np.uint8)
    return images


def seen_in(image: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = BOX
    return np.asarray(cv2.resize(image[y0:y1, x0:x1], SIZE, interpolation=cv2.INTER_AREA))


def test_stronger_levels_hide_more_from_who_knows_no_method(tmp_path: Path) -> None:
    learnt, raw = people(80, 2, 1), people(100, 2, 2)
    own, originals = (replace(one, crops=np.stack([seen_in(i) for i in striped(one)])) for one in (learnt, raw))
    learn("reidentify", NAIVE, own, own, {}, 0, tmp_path, device="cpu")
    describe, images = describe_with(tmp_path, "cpu"), striped(raw)
    body = region(BOX, mask=np.ones((64, 48), bool))
    for name in ("blur", "pixelate"):
        found = []
        for level in ("low", "medium", "high"):
            method = make(Variant(RegionKind.BODY, name, level))
            crops = np.stack([seen_in(engine.anonymize_image(one, [body], method)) for one in images])
            probe, gallery = halves(replace(raw, crops=crops))[0], halves(originals)[1]
            found.append(interval(measured(Reidentify().attempt(probe, None, gallery, describe))[LINKED]))
        low, medium, high = found
        assert low[1] >= medium[0], name
        assert medium[1] >= high[0], name
        assert low[0] > high[1], name


def test_what_surroundings_give_away_leaves_no_risk_beside_the_control(tmp_path: Path) -> None:
    """Three people each stand in the same place in all of their pictures, and look like everybody else."""

    def street(name: str, count: int, seed: int) -> tuple[Path, Path]:
        figure = photograph(20, 40, 7)
        random = np.random.default_rng(seed)
        pictures, rows = {}, []
        for row in range(2 * count):
            who = row // 2
            scene = photograph(64, 80, 1000 * seed + who // 3) + random.normal(0, 30, (80, 64, 3))
            scene[20:60, 22:42] = figure
            pictures[row + 1] = np.clip(scene, 0, 255).astype(np.uint8)
            rows.append(person(row + 1, row, (21.0, 19.0, 22.0, 42.0), identity=f"{name}{who}", face=[22, 20, 20, 40]))
        town = build(tmp_path / name, pictures, rows)
        return town.variant("original"), town.annotations

    places = street("own", 90, 1), street("val", 60, 2)
    found = []
    for view in ("person", "surroundings"):
        own, raw = (read_subjects(*place, "val", RegionKind.FACE, view, SIZE) for place in places)
        config = NAIVE.model_copy(update={"view": view, "region": "face"})
        found.append(attacked("reidentify", (own, own), *halves(raw), tmp_path / view, config)[LINKED])
    attack, control = found
    assert interval(attack)[0] > 0.3
    assert residual(attack.value, control.value) < 0.01
