"""Guesses of what is true of people: a planted leak is found, a perfect replacement is at chance, shortcuts show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anonbench.attack import retrieval
from anonbench.attack.answers import arrays_of, run_answers, told
from anonbench.attack.attacks.infer import Infer
from anonbench.attack.contract import Answers, Traits
from anonbench.attack.guessing import Guessed, average_precision, balanced, dealt, judge, r_squared
from anonbench.attack.inference import Sheet, guess_with, learn_to_guess
from anonbench.attack.metrics import chooser
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import read_attacker
from anonbench.attack.subjects import Subjects, read_subjects
from anonbench.attack.traits import colours_of
from anonbench.errors import AnonbenchError
from anonbench.records import RegionKind
from anonbench.statistics.resampling import Draw
from tests.attack.town import Town, build, nothing, person
from tests.faults.faults import inflict

SIZE = (24, 32)
QUICK = AttackerConfig(
    knowledge="aware", width=SIZE[0], height=SIZE[1], iterations=80, batch_size=32, dimensions=32, shift=0.0,
    horizontal_flip=0.0, learning_rate=3e-3,
)  # fmt: skip
HAIR = ("bald", "long", "short")
CHOOSE = chooser(0.3, 0)


def people(count: int, seed: int) -> tuple[Subjects, Traits]:
    """Return people in two pictures each, all of noise, with hair and with a colour that nobody sees."""
    random = np.random.default_rng(seed)
    crops = random.integers(0, 256, (2 * count, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    rows = np.arange(len(crops))
    who = np.empty(len(crops), dtype=object)
    who[:] = [f"{seed}-{row // 2}" for row in rows]
    hair = np.empty(len(crops), dtype=object)
    hair[:] = [HAIR[k] for k in np.repeat(random.choice(3, count, p=[0.2, 0.3, 0.5]), 2)]
    colours = np.repeat(random.normal(0, 20, (count, 3)) + np.array([50, 0, 0]), 2, axis=0)
    seen = Subjects(crops, rows, rows, who, np.ones(len(crops), bool), nothing(len(crops)))
    return seen, Traits({"hair": hair}, {"upper": colours})


def marked(seen: Subjects, traits: Traits) -> Subjects:
    """Return them as a method that writes hair and colour into four pixels of a grey picture each."""
    crops = np.full_like(seen.crops, 90)
    shades = {name: 80 * k for k, name in enumerate(HAIR)}
    crops[:, :2, :2] = np.array([shades[label] for label in traits.labels["hair"]])[:, None, None, None]
    crops[:, -2:, -2:] = np.clip(128 + 2 * (traits.numbers["upper"] - [50, 0, 0]), 0, 255).astype(np.uint8)[
        :, None, None
    ]
    return replace(seen, crops=crops)


def replaced(seen: Subjects) -> Subjects:
    """Return them as a perfect method leaves them: everybody is the same picture, before backgrounds of noise."""
    crops = seen.crops.copy()
    crops[:, 4:28, 4:20] = 90
    return replace(seen, crops=crops)


def attacked(
    own: tuple[Subjects, Traits],
    others: tuple[Subjects, Traits],
    out: Path,
    config: AttackerConfig = QUICK,
    seed: int = 0,
) -> Answers:
    learn_to_guess("infer", config, own[0], own[1], {"split": "train"}, seed, out, device="cpu")
    return judge(others[1], guess_with(out, "cpu")(others[0].crops), others[0], CHOOSE)


def values(answers: Answers, part: str = "test") -> dict[str, Any]:
    return {name: told(one) for name, one in answers.parts[part].items()}


def test_a_planted_leak_is_found(tmp_path: Path) -> None:
    own, others = people(120, 1), people(60, 2)
    found = values(attacked((marked(*own), own[1]), (marked(*others), others[1]), tmp_path))
    assert found["balanced_accuracy/hair"]["value"] > 0.9
    assert found["average_precision/hair"]["value"] > 0.9
    assert found["cmap"]["value"] == found["average_precision/hair"]["value"]
    assert found["macro_f1"]["value"] > 0.9
    assert found["r2/upper"]["value"] > 0.6
    assert found["balanced_accuracy/hair"]["chance"] == pytest.approx(1 / 3)
    assert found["r2/upper"]["chance"] == 0
    assert found["cmap"]["of_missed"] is None
    assert found["cmap"]["of_covered"] == found["cmap"]["value"]


def test_a_perfect_replacement_is_at_chance_within_its_interval(tmp_path: Path) -> None:
    own, others = people(120, 1), people(100, 2)
    answers = attacked((replaced(own[0]), own[1]), (replaced(others[0]), others[1]), tmp_path)
    drawn = arrays_of(answers.parts["test"], Draw(400, 1, "x"))
    found = values(answers)
    for name in ("balanced_accuracy/hair", "average_precision/hair", "cmap", "macro_f1"):
        low, high = np.quantile(drawn[f"replicates/{name}"], [0.005, 0.995])
        assert low <= found[name]["chance"] <= high, name
    assert found["r2/upper"]["value"] < 0.05
    assert np.quantile(drawn["replicates/r2/upper"], 0.995) < 0.3


def test_the_same_picture_of_everybody_is_chance_exactly(tmp_path: Path) -> None:
    own, others = people(60, 1), people(60, 2)
    grey = [replace(seen, crops=np.full_like(seen.crops, 90)) for seen, _ in (own, others)]
    quick = QUICK.model_copy(update={"iterations": 20})
    found = values(attacked((grey[0], own[1]), (grey[1], others[1]), tmp_path, quick))
    for name in ("balanced_accuracy/hair", "average_precision/hair", "cmap"):
        assert found[name]["value"] == pytest.approx(found[name]["chance"])
    assert found["macro_f1"]["value"] <= found["macro_f1"]["chance"] + 0.1
    assert found["r2/upper"]["value"] <= 0


def test_an_attacker_who_says_the_same_of_everybody_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from anonbench.attack import inference

    own, others = people(30, 1), people(30, 2)
    learn_to_guess("infer", QUICK.model_copy(update={"iterations": 2}), *own, {}, 0, tmp_path, device="cpu")
    monkeypatch.setattr(inference, "_outputs", lambda network, crops, *_: np.ones((len(crops), 6)))
    with pytest.raises(AnonbenchError, match="says the same of everybody, who look different"):
        guess_with(tmp_path, "cpu")(others[0].crops)
    monkeypatch.setattr(inference, "_outputs", lambda network, crops, *_: np.full((len(crops), 6), np.nan))
    with pytest.raises(AnonbenchError, match="gives numbers that are not finite"):
        guess_with(tmp_path, "cpu")(others[0].crops)


def street(folder: Path, count: int, seed: int, shortcut: bool) -> tuple[Town, Town]:
    """Return people before walls, and the same replaced by grey; with a shortcut the wall tells their hair."""
    random = np.random.default_rng(seed)
    pictures, rows = {}, []
    for number in range(1, count + 1):
        bald = bool(random.random() < 0.5)
        pixels = random.integers(0, 60, (64, 64, 3)).astype(np.uint8)
        if shortcut:
            pixels += np.array([120, 0, 0] if bald else [0, 0, 120], dtype=np.uint8)
        pixels[16:48, 20:44] = [200, 180, 160] if bald else [60, 40, 20]
        pictures[number] = pixels
        said = json.dumps({"hair": "bald" if bald else "long", "camera": str(number % 2), "outfit": "1"})
        rows.append(
            person(number, number, (20, 16, 24, 32), identity=f"{seed}-{number}",
                   attributes=said)
        )  # fmt: skip
    town = build(folder, pictures, rows)
    grey = {number: pixels.copy() for number, pixels in pictures.items()}
    for pixels in grey.values():
        pixels[16:48, 20:44] = 127
    changed = [{"image_id": n, "person_id": n, "status": "anonymized"} for n in pictures]
    town.show("body-mask_out", grey, changed)
    return town, town


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_scene_shortcut_is_caught_by_the_surroundings_control(tmp_path: Path, shortcut: bool) -> None:
    own, _ = street(tmp_path / "own", 60, 1, shortcut)
    others, _ = street(tmp_path / "others", 60, 2, shortcut)
    found = {}
    for view in ("person", "surroundings"):
        config = QUICK.model_copy(update={"view": view, "iterations": 60})
        sides = []
        for town in (own, others):
            seen, raw = (
                read_subjects(town.variant(name), town.annotations, "val", RegionKind.BODY, view, SIZE)
                for name in ("body-mask_out", "original")
            )
            sides.append((seen, Infer().truth(town.site("body-mask_out"), raw)))
        found[view] = values(attacked(*sides, tmp_path / view, config))["balanced_accuracy/hair"]["value"]
    if shortcut:
        assert found["surroundings"] > 0.9
    else:
        assert found["surroundings"] < 0.75
    assert found["person"] < 0.75  # the box holds nothing but grey


def test_truth_is_read_from_originals_and_camera_and_outfit_are_no_traits(tmp_path: Path) -> None:
    town, _ = street(tmp_path, 6, 1, False)
    seen = read_subjects(town.variant("body-mask_out"), town.annotations, "val", RegionKind.BODY, "person", SIZE)
    traits = Infer().truth(town.site("body-mask_out"), seen)
    assert list(traits.labels) == ["hair"]
    for row, label in enumerate(traits.labels["hair"]):
        rgb = np.array([[[200, 180, 160] if label == "bald" else [60, 40, 20]]], np.uint8)
        exact = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0]
        for band in ("upper", "lower"):
            assert traits.numbers[band][row] == pytest.approx(exact, abs=1)


def test_colours_are_those_of_the_bands(tmp_path: Path) -> None:
    """Head and shoes are another colour than the clothes, and somebody tiny has none."""
    pixels = np.zeros((100, 60, 3), np.uint8)
    pixels[:, :, 2] = 255
    pixels[10:30], pixels[30:60], pixels[60:100] = [255, 255, 255], [200, 0, 0], [0, 120, 0]
    people = [person(1, 1, (10, 0, 20, 100)), person(1, 2, (40, 0, 2, 8)), person(1, 3, (0, 0, 5, 5), crowd=True)]
    town = build(tmp_path, {1: pixels}, people)
    seen = read_subjects(town.variant("original"), town.annotations, "val", RegionKind.BODY, "person", SIZE)
    found = colours_of(town.site(), seen)
    red, green = (
        cv2.cvtColor(np.array([[rgb]], np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0] for rgb in ([200, 0, 0], [0, 120, 0])
    )
    white = np.array([100, 0, 0])
    assert found["upper"][0] == pytest.approx((2 * red + white) / 3, abs=1)  # rows 20 to 50
    assert found["lower"][0] == pytest.approx((3 * green + red) / 4, abs=1)  # rows 50 to 90
    assert np.isnan(found["upper"][1]).all()
    assert len(seen) == 2


def test_average_precision_is_that_of_retrieval_and_weights_are_copies() -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        count = int(random.integers(3, 40))
        scores, true = random.integers(0, 6, count).astype(float), random.random(count) < 0.4
        weights = random.integers(0, 3, count)
        if not (true & (weights > 0)).any() or true.all():
            continue
        one = np.where(true, 1, np.arange(count) + 10)
        assert average_precision(scores, true)(np.ones((1, count)))[0] == pytest.approx(
            retrieval.average_precision(scores[None], [1], one)[0]
        )
        copies = average_precision(np.repeat(scores, weights), np.repeat(true, weights))
        assert average_precision(scores, true)(weights[None].astype(float)) == pytest.approx(
            copies(np.ones((1, int(weights.sum()))))
        )


def test_chance_of_average_precision_is_that_of_random_orders() -> None:
    random = np.random.default_rng(0)
    true = np.arange(30) < 3
    every = np.ones((1, 30))
    tried = [average_precision(random.random(30), true)(every)[0] for _ in range(4000)]
    assert average_precision(np.zeros(30), true)(every)[0] == pytest.approx(np.mean(tried), abs=0.01)
    assert np.mean(tried) > 0.17  # far above the prevalence


def test_what_is_dealt_is_as_alike_within_people_as_the_true() -> None:
    groups = np.array([4, 7, 4, 4, 9, 7, 2])
    true = np.array([4, 7, 4, 4, 9, 7, 2]) * 10
    again = true[dealt(groups, 300)]
    assert again.shape == (300, 7)
    for who in (4, 7):
        assert (again[:, groups == who] == again[:, groups == who][:, :1]).all()
    for dealt_ones in again:
        assert sorted({int(v) for v in dealt_ones}) == [20, 40, 70, 90]
    assert 0.15 < (again[:, 4] == 90).mean() < 0.35


@pytest.mark.parametrize("alike", [0.0, 1.0])
def test_guesses_that_know_nothing_are_at_chance_however_alike_they_are_within_people(alike: float) -> None:
    """Ranked by person, not by picture, rare values have a far higher average precision by chance."""
    random = np.random.default_rng(5)
    found = []
    for _ in range(40):
        seen, traits = people(60, int(random.integers(1e6)))
        scores = np.repeat(random.random((60, 3)), 2, axis=0) * alike + random.random((120, 3)) * (1 - alike)
        guessed = blind(traits.labels, {}, 120)
        guessed.chances["hair"][:] = scores  # type: ignore[index]
        found.append(values(judge(Traits(traits.labels, {}), guessed, seen, CHOOSE))["cmap"])
    value, chance = (np.mean([one[key] for one in found]) for key in ("value", "chance"))
    assert value == pytest.approx(chance, abs=0.012)


def test_balanced_accuracy_and_r2_by_hand() -> None:
    has = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool)
    statistic = balanced(np.array([True, True, False, False]), has)
    assert statistic(np.array([[1.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])) == pytest.approx(
        [(2 / 3 + 0) / 2, 1, np.nan], nan_ok=True
    )
    true = np.array([[0.0, 0], [2, 0], [0, 4], [2, 4]])
    one = np.ones((1, 4))
    assert r_squared(true, true)(one)[0] == 1
    assert r_squared(true, np.tile(true.mean(axis=0), (4, 1)))(one)[0] == pytest.approx(0)
    assert r_squared(true, true + 1)(one)[0] == pytest.approx(1 - 8 / 20)
    weights = np.array([[2.0, 1, 0, 3]])
    copies = np.repeat(np.arange(4), [2, 1, 0, 3])
    assert r_squared(true, true + 1)(weights) == pytest.approx(
        r_squared(true[copies], true[copies] + 1)(np.ones((1, 6)))
    )
    assert np.isnan(r_squared(np.ones((3, 2)), np.ones((3, 2)))(np.ones((1, 3)))[0])


def blind(labels: Mapping[str, np.ndarray], numbers: Mapping[str, np.ndarray], count: int) -> Guessed:
    """Return guesses that know nothing, of all values that there are."""
    known = {name: sorted({v for v in of if v is not None}) for name, of in labels.items()}
    return Guessed(
        known,
        {name: np.full((count, len(of)), 1 / len(of)) for name, of in known.items()},
        {name: np.full(len(of), 1 / len(of)) for name, of in known.items()},
        {name: np.zeros_like(of) for name, of in numbers.items()},
        {},
    )


def test_people_of_whom_an_attribute_is_not_said_are_left_out_of_it() -> None:
    seen, traits = people(80, 1)
    beard = np.array(["yes", None, "no", None] * 40, dtype=object)
    labels = {**traits.labels, "beard": beard}
    found = values(judge(Traits(labels, {}), blind(labels, {}, 160), seen, CHOOSE))
    assert found["balanced_accuracy/beard"]["units"] == 56
    assert found["balanced_accuracy/hair"]["units"] == found["cmap"]["units"] == 112
    assert found["balanced_accuracy/beard"]["people"] == 56
    assert found["cmap"]["classes"] == 5
    assert found["cmap"]["value"] == pytest.approx(found["cmap"]["chance"])
    prevalence = found["average_precision/beard"]["prevalence"]
    assert prevalence == pytest.approx(0.5)


def test_what_cannot_be_judged_is_left_out_with_a_sentence() -> None:
    seen, traits = people(40, 1)
    rare = np.array(["yes"] * 4 + ["no"] * 76, dtype=object)
    labels = {**traits.labels, "one": np.array(["same"] * 80, dtype=object), "rare": rare, "new": traits.labels["hair"]}
    guessed = blind({name: of for name, of in labels.items() if name != "new"}, {}, 80)
    answers = judge(Traits(labels, {}), guessed, seen, CHOOSE)
    two = "has fewer than two values that 5 or more of the reported people or images have"
    assert answers.facts["skipped"] == {
        "one": two, "rare": two, "new": "is said of nobody whom the attacker has learnt from",
    }  # fmt: skip
    assert {name.partition("/")[2] for name in answers.parts["test"]} == {"", "hair"}


def test_values_that_do_not_count_move_no_chance() -> None:
    """An attacker who guesses at random among all values that it knows is right as often as one in those that count."""
    seen, _ = people(2000, 1)
    random = np.random.default_rng(3)
    hair = np.repeat(
        random.choice(np.array([*HAIR, "rare", "odd"], dtype=object), 2000, p=[0.3, 0.3, 0.399, 0.0005, 0.0005]), 2
    )
    guessed = blind({"hair": np.array([*HAIR, "odd", "rare"], dtype=object)}, {}, 4000)
    guessed.chances["hair"][:] = random.random((4000, 5))  # type: ignore[index]
    found = values(judge(Traits({"hair": hair}, {}), guessed, seen, CHOOSE))["balanced_accuracy/hair"]
    assert found["chance"] == pytest.approx(1 / 3)
    assert found["value"] == pytest.approx(1 / 3, abs=0.03)


def test_without_identities_images_are_drawn_and_colours_are_enough() -> None:
    seen, traits = people(40, 1)
    nobody = replace(seen, identities=np.array([None] * 80, dtype=object), images=np.arange(80) // 2)
    guessed = blind({}, traits.numbers, 80)
    answers = judge(Traits({}, traits.numbers), guessed, nobody, CHOOSE)
    found = values(answers)
    assert (answers.drawn, answers.first, list(found)) == ("images", "r2/upper", ["r2/upper"])
    assert (found["r2/upper"]["units"], found["r2/upper"]["people"]) == (56, 28)
    clips = {image: image // 4 * 4 for image in range(40)}
    assert values(judge(Traits({}, traits.numbers), guessed, nobody, CHOOSE, clips))["r2/upper"]["people"] == 7


def test_pictures_of_crowds_alone_are_seen_and_beside_people_they_are_not(tmp_path: Path) -> None:
    """As photographs whose attributes are of the whole picture, and the frames of videos."""
    pictures = {n: np.full((40, 50, 3), 40 * n, np.uint8) for n in (1, 2, 3)}
    whole = [
        person(n, n, (0, 0, 50, 40), crowd=True, attributes=json.dumps({"tattoo": "yes" if n == 1 else "no"}))
        for n in pictures
    ]
    town = build(tmp_path / "crowds", pictures, whole, clips={1: 7, 2: 7})
    rows = [{"image_id": n, "person_id": n, "status": "anonymized"} for n in pictures]
    town.show("frame-grey", {n: pixels // 2 for n, pixels in pictures.items()}, rows)
    given = (town.annotations, "val", RegionKind.BODY, "person", (8, 8))
    seen = read_subjects(town.variant("frame-grey"), *given, wholes=True)
    assert seen.wholes
    assert seen.images.tolist() == [1, 2, 3]
    assert seen.covered.all()
    assert [crop.mean() for crop in seen.crops] == [20, 40, 60]
    truth = Infer().truth(town.site("frame-grey"), seen)
    assert truth.labels["tattoo"].tolist() == ["yes", "no", "no"]
    assert truth.numbers == {}, "bands of whole pictures are nobody's clothes"
    with pytest.raises(AnonbenchError, match="shows nobody with a box"):
        read_subjects(town.variant("frame-grey"), *given)  # as link would: frames of one clip are no different people
    assert town.site().scenes() == {1: 1, 2: 1, 3: 3}, "frames of a clip are drawn together"
    single = person(3, 4, (0, 0, 10, 30))
    beside = build(tmp_path / "both", pictures, [*whole[:2], single])
    assert read_subjects(beside.variant("original"), beside.annotations, *given[1:], wholes=True).people.tolist() == [4]
    for lost in ({"box": None}, {"ignore": True}):
        alone = build(tmp_path / next(iter(lost)), pictures, [*whole[:2], single | lost])
        people = read_subjects(alone.variant("original"), alone.annotations, *given[1:], wholes=True).people
        assert people.tolist() == [1, 2], "one whom nobody can look at changes nothing for the others"


def test_nothing_to_infer_is_refused() -> None:
    seen, _ = people(40, 1)
    with pytest.raises(AnonbenchError, match="nothing is said of these people that an attacker could infer"):
        judge(Traits(), Guessed({}, {}, {}, {}, {}), seen, CHOOSE)
    one = {"one": np.array(["same"] * 80, dtype=object)}
    with pytest.raises(AnonbenchError, match="nothing can be inferred of these people: one has fewer than two values"):
        judge(Traits(one), blind(one, {}, 80), seen, CHOOSE)


def test_an_attribute_with_one_value_teaches_nothing() -> None:
    _, traits = people(40, 1)
    one = np.array(["same"] * 80, dtype=object)
    sheet = Sheet.of(Traits({**traits.labels, "one": one}))
    assert list(sheet.values) == ["hair"]
    assert sheet.notes == {"one": "has one value alone among those whom the attacker learns from"}
    with pytest.raises(AnonbenchError, match=r"attack\.own: nothing can be learnt .*: one has one value alone"):
        Sheet.of(Traits({"one": one}))
    with pytest.raises(AnonbenchError, match="nothing can be learnt of the attacker's own people; give"):
        Sheet.of(Traits())


def test_the_same_seed_gives_the_same_bytes_and_a_killed_attacker_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anonbench.attack.inference import Supervision

    own = people(30, 1)
    quick = QUICK.model_copy(update={"iterations": 12, "checkpoint_every": 4})

    def learn(name: str) -> None:
        learn_to_guess("infer", quick, *own, {"split": "train"}, 3, tmp_path / name, device="cpu", logs=tmp_path / "l")

    learn("whole")
    step = Supervision.step

    def killed(self: Supervision, batch: Any, iteration: int) -> dict[str, float]:
        if iteration == 9:
            raise KeyboardInterrupt
        return step(self, batch, iteration)

    monkeypatch.setattr(Supervision, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        learn("cut")
    assert not (tmp_path / "cut" / "attacker.json").exists()
    monkeypatch.setattr(Supervision, "step", step)
    learn("cut")
    for file in ("weights.safetensors", "attacker.json"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    record, _ = read_attacker(tmp_path / "cut")
    assert record["own"]["people"] == 30
    assert record["guesses"]["values"] == {"hair": list(HAIR)}


def test_damaged_attackers_are_named(tmp_path: Path) -> None:
    own = people(30, 1)
    learn_to_guess("infer", QUICK.model_copy(update={"iterations": 2}), *own, {}, 0, tmp_path, device="cpu")
    inflict(tmp_path, "weights.safetensors", "flip", -1)
    with pytest.raises(AnonbenchError, match=r"weights\.safetensors: is damaged, .* attacker\.json tells of; let"):
        guess_with(tmp_path, "cpu")
    record = json.loads((tmp_path / "attacker.json").read_text())
    del record["guesses"]
    (tmp_path / "attacker.json").write_text(json.dumps(record))
    with pytest.raises(AnonbenchError, match="does not say what the attacker guesses"):
        guess_with(tmp_path, "cpu")


def test_files_of_an_attack_and_people_whom_it_has_learnt_from(tmp_path: Path) -> None:
    town, _ = street(tmp_path / "t", 40, 1, False)
    seen = read_subjects(town.variant("original"), town.annotations, "val", RegionKind.BODY, "person", SIZE)
    truth = Infer().truth(town.site(), seen)
    model = tmp_path / "model"
    learn_to_guess("infer", QUICK.model_copy(update={"iterations": 40}), seen, truth, {"split": "val"}, 0, model)
    with pytest.raises(AnonbenchError, match="an attacker must not have learnt from those it attacks"):
        run_answers("infer", town.site(), tmp_path / "out", model=model, device="cpu")
    assert not (tmp_path / "out" / "metrics.json").exists()
    run_answers("infer", town.site(), tmp_path / "out", model=model, own_names=True, resamples=20, device="cpu")
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["attacker"]["knowledge"] == "aware"
    assert found["own"]["split"] == "val"
    assert found["first"] == "cmap"
    assert found["test"]["measures"]["balanced_accuracy/hair"]["value"] > 0.9
    assert set(found["test"]["measures"]) == set(found["validation"]["measures"])
    with np.load(tmp_path / "out" / "scores.npz") as file:
        assert file["replicates/cmap"].shape == (20,)
        assert file["chances/hair"].shape == (40, 2)
        assert file["probe"].dtype == np.int64
    with pytest.raises(AnonbenchError, match="--model: infer is tried by attackers that learn"):
        run_answers("infer", town.site(), tmp_path / "out")


def test_attributes_of_a_damaged_table_are_refused(tmp_path: Path) -> None:
    town = build(tmp_path, {1: np.zeros((50, 50, 3), np.uint8)}, [person(1, 1, (0, 0, 9, 9), attributes="{")])
    with pytest.raises(AnonbenchError, match=r"val\.people\.parquet: has attributes that are not JSON"):
        read_subjects(town.variant("original"), town.annotations, "val", RegionKind.BODY, "person", SIZE)


def test_groups_of_attributes_are_judged_by_themselves_too() -> None:
    random = np.random.default_rng(3)
    who, count = np.repeat(np.arange(60), 2), 120
    groups = np.empty(count, dtype=object)
    groups[:] = [str(k) for k in who]
    labels = {name: np.repeat(random.choice(["no", "yes"], 60), 2).astype(object) for name in ("beard", "hat")}
    sure = {
        "beard": np.stack([labels["beard"] == value for value in ("no", "yes")], axis=1).astype(np.float64),
        "hat": np.full((count, 2), 0.5),
    }
    guessed = Guessed({name: ["no", "yes"] for name in labels}, sure, dict.fromkeys(labels, np.full(2, 0.5)), {}, {})
    seen = Subjects(
        np.zeros((count, 2, 2, 3), np.uint8), np.arange(count), np.arange(count), groups, np.ones(count, bool),
        nothing(count),
    )  # fmt: skip
    judged = judge(Traits(labels), guessed, seen, CHOOSE, None, {"known": ["beard"], "novel": ["hat"]})
    found = {name: told(measure)["value"] for name, measure in judged.parts["test"].items()}
    assert found["cmap/known"] == 1
    assert found["cmap/novel"] < 0.7
    assert found["cmap"] == pytest.approx((found["cmap/known"] + found["cmap/novel"]) / 2)
    assert found["macro_f1/known"] == 1
    alone = judge(Traits(labels), guessed, seen, CHOOSE)
    assert set(alone.parts["test"]) == {name for name in found if "known" not in name and "novel" not in name}
    with pytest.raises(
        AnonbenchError, match=r"attack\.attributes\.known: nothing is said of 'bread' \(did you mean 'beard'"
    ):
        judge(Traits(labels), guessed, seen, CHOOSE, None, {"known": ["bread"]})
    same = {**labels, "hat": np.array(["no"] * count, dtype=object)}
    with pytest.raises(AnonbenchError, match=r"attack\.attributes\.novel: nothing of it can be judged: hat has fewer"):
        judge(Traits(same), guessed, seen, CHOOSE, None, {"novel": ["hat"]})


def test_the_threshold_of_f1_is_the_best_of_validation_people_whatever_would_suit_the_others() -> None:
    """Whose chances are higher is right, and from which on somebody is said to have it differs between the parts."""
    count = 80
    seen, _ = people(count // 2, 1)
    validation = np.arange(count) < count // 2
    has = np.arange(count) % 4 < 2
    sure = np.where(validation, np.where(has, 0.35, 0.25), np.where(has, 0.75, 0.45))
    labels = {"hat": np.where(has, "yes", "no").astype(object)}
    guessed = Guessed(
        {"hat": ["no", "yes"]}, {"hat": np.stack([1 - sure, sure], axis=1)}, {"hat": np.full(2, 0.5)}, {}, {}
    )
    judged = judge(Traits(labels), guessed, seen, lambda groups: validation)
    assert judged.facts["threshold"] == pytest.approx(0.26)
    # of the others all are said to have a hat, and those who have none to have none; from .46 on all would be right
    assert told(judged.parts["test"]["macro_f1"])["value"] == pytest.approx((2 / 3 + 1) / 2)
    again = judge(Traits(labels), guessed, seen, lambda groups: ~validation)
    assert again.facts["threshold"] == pytest.approx(0.46)
    assert told(again.parts["test"]["macro_f1"])["value"] < 1
