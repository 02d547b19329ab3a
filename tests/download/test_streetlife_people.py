"""What streetlife says of its people: attributes that the pixels bear out, outfits, and splits by identity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from anonbench.datasets.streetlife import Options, attributes, population, render_scene, render_split
from anonbench.datasets.streetlife.actions import manner_of
from anonbench.datasets.streetlife.adapter import Streetlife
from anonbench.datasets.streetlife.dice import Dice
from anonbench.datasets.streetlife.figure import figure
from anonbench.datasets.streetlife.geometry import Camera, Colour
from anonbench.datasets.streetlife.light import Tone
from anonbench.datasets.streetlife.motion import walk
from anonbench.datasets.streetlife.population import BOTTOMS, TOPS, Identity, dressed
from anonbench.datasets.streetlife.sprite import Bytes, Canvas
from anonbench.errors import AnonbenchError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")

EVEN = Tone((1.0, 1.0, 1.0), (0.85, 0.85, 0.85), 0.3, (0, 0, 0))
ALL = Options(attributes=True, outfits=3)


def portrait(who: Identity, yaw: float = 0.0) -> Bytes:
    """Draw a person alone, walking, in even light; uint8 HxWx3 RGB."""
    canvas = Canvas(160, 320)
    pose = walk(manner_of("walk", who.height, 1.0, Dice("portrait")), 0.0)
    made = figure(who, pose, Camera(96.0, 230.0, 48.0, 60.0, 1.4), 0.0, 2.9, yaw, EVEN, canvas.scale)
    canvas.pixels[:] = 255, 0, 255
    canvas.paint(canvas.stencil(made.sprite))
    return canvas.pixels


def share_of(pixels: Bytes, colour: Colour, slack: int = 4) -> float:
    """Return the share of the person's pixels of a colour, as lit or shaded evenly."""
    person = pixels[(pixels != (255, 0, 255)).any(axis=2)].astype(int)
    near = [np.abs(person - np.array(colour) * gain).max(axis=1) <= slack for gain in (1.0, 0.85)]
    return float(np.mean(near[0] | near[1]))


def paint_of(meaning: str) -> Colour:
    red, green, blue = (int(meaning[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("outfit", [0, 1])
def test_colours_are_those_that_are_drawn(number: int, outfit: int) -> None:
    who = dressed(population(2023, 12)[number], outfit, 2023)
    said, lists = attributes.of(who, ALL), attributes.lists(ALL)
    plain = replace(who, pattern="plain")
    pixels = portrait(plain)
    assert share_of(pixels, paint_of(lists["upper_colour"][said["upper_colour"]])) > 0.1
    assert share_of(pixels, paint_of(lists["skin_tone"][said["skin_tone"]])) > 0.01
    if said["lower_colour"] == "dress":
        assert who.top_style == "dress"
        repainted = portrait(replace(plain, bottom=(1, 254, 1)))
        assert np.array_equal(pixels, repainted)
    else:
        assert share_of(pixels, paint_of(lists["lower_colour"][said["lower_colour"]])) > 0.02
    if said["hair_colour"] == "none":
        assert said["hair"] in ("bald", "covered")
    else:
        assert not np.array_equal(pixels, portrait(replace(plain, hair=(1, 254, 1))))


@pytest.mark.parametrize(
    ("name", "field", "worn", "without", "yaw"),
    [
        ("glasses", "glasses", "round", "none", 0),
        ("glasses", "glasses", "square", "round", 0),
        ("glasses", "glasses", "sun", "square", 0),
        ("beard", "beard", "full", "none", 0),
        ("beard", "beard", "stubble", "full", 0),
        ("beard", "beard", "moustache", "goatee", 0),
        ("headgear", "hair_style", "cap", "short", 0),
        ("headgear", "hair_style", "scarf", "beanie", 0),
        ("hair", "hair_style", "long", "bald", 0),
        ("bag", "bag", "backpack", "none", 180),
        ("bag", "bag", "shoulder", "none", 0),
    ],
)
def test_what_differs_is_seen_and_said(name: str, field: str, worn: str, without: str, yaw: float) -> None:
    who = replace(population(2023, 1)[0], hair_style="short", glasses="none", beard="none", bag="none")
    other, this = (replace(who, **{field: value}) for value in (without, worn))
    assert attributes.of(this, ALL)[name] != attributes.of(other, ALL)[name]
    changed = (portrait(this, yaw) != portrait(other, yaw)).any(axis=2)
    assert changed.sum() > 20
    rest = {key: value for key, value in attributes.of(this, ALL).items() if key != name}
    same = {key: value for key, value in attributes.of(other, ALL).items() if key != name}
    assert {key for key in rest if rest[key] != same[key]} <= {"hair", "hair_colour"}


def test_who_is_broader_takes_more_pixels() -> None:
    who = replace(population(2023, 1)[0], bag="none")
    widths = {"slim": 0.9, "average": 1.05, "broad": 1.25}
    people = {name: replace(who, build=width) for name, width in widths.items()}
    assert {name: attributes.of(person, ALL)["build"] for name, person in people.items()} == {n: n for n in widths}
    sizes = [(portrait(person) != (255, 0, 255)).any(axis=2).sum() for person in people.values()]
    assert sizes == sorted(set(sizes))


def test_attributes_are_recorded_with_their_lists(tmp_path: Path) -> None:
    content = render_split(Options(train=3, val=0, attributes=True), "train", tmp_path, progress=False)
    everyone = population(2023, 40)
    for record in content["annotations"]:
        assert ("attributes" in record) == ("identity" in record)
        for name, value in record.get("attributes", {}).items():
            assert value in content["attributes"][name]
        if "identity" in record:
            assert record["attributes"] == attributes.of(everyone[record["identity"]], Options(attributes=True))
    assert "outfit" not in content["attributes"]
    split = Streetlife({"train": 3, "val": 0, "attributes": True}).read(tmp_path, "train")
    assert split.attributes == content["attributes"]


def test_attributes_change_nothing_but_backpacks_seen_from_behind() -> None:
    """The first data sets left these out; theirs stay as they were."""
    packs = {who.number for who in population(2023, 40) if who.bag == "backpack"}
    same = 0
    for index in range(1, 25):
        plain, marked = (render_scene(Options(attributes=said), "train", index) for said in (False, True))
        bare = [{k: v for k, v in record.items() if k != "attributes"} for record in marked.objects]
        if packs.isdisjoint(record.get("identity") for record in plain.objects):
            assert np.array_equal(plain.image, marked.image)
            assert bare == plain.objects
            same += 1
    assert same > 4
    who = replace(population(2023, 1)[0], bag="backpack")
    assert np.array_equal(portrait(replace(who, packed=False), 180), portrait(replace(who, bag="none"), 180))
    assert not np.array_equal(portrait(who, 180), portrait(replace(who, bag="none"), 180))


def test_every_value_is_listed_and_most_occur() -> None:
    options = Options(outfits=4)
    lists = attributes.lists(options)
    seen: dict[str, set[str]] = {name: set() for name in lists}
    for who in population(1, 400):
        for outfit in range(4):
            for name, value in attributes.of(dressed(who, outfit, 1), options).items():
                seen[name].add(value)
    assert {name: set(values) for name, values in lists.items()} == seen


def test_outfits_of_one_person_share_no_colour_and_nothing_else_changes() -> None:
    for who in population(2023, 40):
        worn = [dressed(who, outfit, 2023) for outfit in range(4)]
        assert worn[0] == who
        assert len({one.top for one in worn}) == len({one.bottom for one in worn}) == 4
        assert all(one.top in TOPS and one.bottom in BOTTOMS for one in worn)
        clothes = {"top", "bottom", "top_style", "bottom_style", "inner", "pattern", "hat", "shoes", "bag"}
        for one in worn[1:]:
            changed = {name for name in vars(who) if getattr(one, name) != getattr(who, name)}
            assert changed <= clothes | {"bag_colour", "outfit"}


def test_the_same_people_come_in_at_least_two_outfits() -> None:
    options = Options(outfits=2, attributes=True, identities=6)
    worn: dict[int, list[str]] = {}
    for index in range(1, 25):
        for record in render_scene(options, "train", index).objects:
            if "identity" in record:
                worn.setdefault(record["identity"], []).append(record["attributes"]["outfit"])
    assert len(worn) == 6
    assert all(set(outfits) == {"1", "2"} for outfits in worn.values())


def people(options: Options, split: str) -> list[dict[str, Any]]:
    scenes = [render_scene(options, split, index) for index in range(1, options.splits[split] + 1)]
    return [record for scene in scenes for record in scene.objects if "identity" in record]


def test_gallery_and_probe_show_the_same_people_who_are_in_no_other_split() -> None:
    options = Options(
        train=8, val=4, gallery=6, probe=7, gallery_identities=5, identities=9, outfits=2, attributes=True
    )
    assert options.splits == {"train": 8, "val": 4, "gallery": 6, "probe": 7}
    found = {split: people(options, split) for split in options.splits}
    who = {split: {record["identity"] for record in records} for split, records in found.items()}
    assert who["gallery"] == who["probe"] == {9, 10, 11, 12, 13}
    assert who["train"] | who["val"] <= set(range(9))
    worn = {split: {(r["identity"], r["attributes"]["outfit"]) for r in found[split]} for split in ("gallery", "probe")}
    for number in who["probe"]:  # somebody is to be found in other clothes, too
        assert {(number, "1")} <= worn["gallery"]
        assert {(number, "2")} <= worn["probe"]
    scenes = {split: render_scene(options, split, 1).image for split in ("train", "gallery", "probe")}
    assert not np.array_equal(scenes["gallery"], scenes["probe"])
    alone = options.model_copy(update={"gallery": 0})  # where nobody is looked for, the probe is the same
    assert alone.splits == {"train": 8, "val": 4, "probe": 7}
    assert np.array_equal(scenes["probe"], render_scene(alone, "probe", 1).image)
    assert np.array_equal(
        scenes["train"], render_scene(Options(train=8, val=4, identities=9, outfits=2), "train", 1).image
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gallery": 20}, "gallery holds those who are looked for in probe; set probe too"),
        ({"probe": 19}, "gallery and probe need at least 20 images, one for each of gallery_identities"),
        ({"probe": 40, "gallery": 19}, "need at least 20 images"),
        ({"gallery_identities": 5}, "gallery_identities are of the splits gallery and probe; set probe, or both"),
        ({"gallery": 20, "probe": 20, "people": (0, 3)}, "gallery and probe need somebody in each image"),
        ({"outfits": 0}, "greater than or equal to 1"),
        ({"outfits": 9}, "less than or equal to 4"),
        ({"clips": -1}, "clips cannot be fewer than 0"),
        ({"clips": {"train": -1}}, "clips cannot be fewer than 0"),
        ({"clips": {"test": 1}}, "train.*val.*gallery.*probe"),
        ({"clips": 4, "train": 100}, "train: splits of clips hold no images; count clips in clips instead"),
        ({"clips": 4, "frames": 1}, "greater than or equal to 2"),
        ({"clips": 4, "fps": 0.1}, "greater than or equal to 1"),
        ({"frames": 8}, "frames, fps and actions are of clips; set clips too"),
        ({"clips": {"train": 8, "gallery": 8, "probe": 8}}, "at least 160 clips, 8 for each of gallery_identities"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Options(**wrong)
    with pytest.raises(AnonbenchError) as error:
        Streetlife(wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"train": 4, "val": 2},
        {"clips": 3},
        {"clips": {"train": 3}, "frames": 8, "fps": 4},
        {"gallery": 8, "probe": 8, "gallery_identities": 4, "outfits": 2, "attributes": True},
    ],
)
def test_what_a_study_records_of_options_says_the_same_again(options: dict[str, Any]) -> None:
    once = Options(**options)
    assert Options(**once.model_dump(mode="json")) == once
    assert Options(**once.model_dump(mode="json")).splits == once.splits


def test_a_record_of_old_options_names_no_new_ones() -> None:
    old = {"width", "height", "train", "val", "identities", "seed", "format", "quality", "people"}
    assert set(Options(train=3).model_dump(mode="json")) == old


def test_where_people_are_looked_for_changes_nothing_of_those_who_are_learnt_from(tmp_path: Path) -> None:
    """Bytes of images and annotations: a study that attacks people, too, trains nothing anew."""
    options = {"train": 3, "val": 2, "identities": 30, "seed": 5}
    more = Options(**options, gallery=21, probe=21, gallery_identities=21)
    for split in ("train", "val"):
        for name, each in (("few", Options(**options)), ("more", more)):
            render_split(each, split, tmp_path / name, progress=False)
    files = sorted(path.relative_to(tmp_path / "few") for path in (tmp_path / "few").rglob("*.*"))
    assert len(files) == 7
    assert all((tmp_path / "few" / one).read_bytes() == (tmp_path / "more" / one).read_bytes() for one in files)
    assert more.of_split("probe")["gallery_identities"] == 21
