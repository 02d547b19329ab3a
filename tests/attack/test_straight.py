"""The measuring stick is straight, by commands: what a method plants is found, of levels the weaker shows more, and
where people are too few nothing is said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from anonbench import registry
from anonbench.anonymize import engine
from anonbench.anonymize.contract import make
from anonbench.attack.estimates import AUC
from anonbench.attack.subjects import Subjects
from anonbench.files import read_json
from anonbench.records import RegionKind
from anonbench.report.attempts import Measured, read_attempt
from anonbench.report.privacy import privacy
from anonbench.report.privacy_text import privacy_markdown
from anonbench.report.study import Attacks, ReportStudy
from anonbench.variants import ORIGINAL, Variant
from tests.anonymize.conftest import region
from tests.attack import test_crafted as crafted
from tests.attack.test_attackers import people
from tests.attack.test_matching import halves
from tests.attack.test_stick import BOX, LINKED, at_chance, attacked, interval, seen_in, striped
from tests.datasets.stages import command
from tests.outside.installed import describe

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")

STREET = {
    "width": 64, "height": 64, "format": "png", "seed": 1, "people": [1, 1], "train": 160, "val": 0, "identities": 80,
    "gallery": 70, "probe": 70, "gallery_identities": 70,
}  # fmt: skip
COVERED = {"body": {"dilate": 0.5}}
"""Regions that cover people's whole boxes: nobody is told by an outline."""
WHO = {
    "knowledge": "aware", "region": "body", "width": 16, "height": 32, "iterations": 60, "batch_size": 32,
    "dimensions": 32, "shift": 0.0, "horizontal_flip": 0.0, "learning_rate": 3e-3,
}  # fmt: skip
STRIPES = (2, 3)
"""Of 4 to 8 pixels: finer ones a crop does not show."""


@dataclass(frozen=True)
class Street:
    """A folder in which streetlife's splits were rendered and annotated."""

    folder: Path

    @property
    def tables(self) -> Path:
        return self.folder / "annotations" / "streetlife"

    @property
    def data(self) -> Path:
        return self.folder / "data" / "streetlife"

    def variant(self, name: str, *splits: str) -> Path:
        """Return the folder of a variant, which has these splits."""
        out = self.folder / "anonymized" / "streetlife" / name
        for split in splits:
            told = ("--annotations", self.tables, "--split", split, "--variant", name, "--out", out)
            if not (out / split).is_dir():
                command("anonymize", "--data", self.data, *told)
                command("merge", *told, *(() if name == ORIGINAL else ("--strict",)))
        return out

    def attacked(self, attack: str, name: str) -> dict[str, Measured]:
        """Return linkability among ten, and the AUC, of an attacker who knows the method of a variant."""
        seen = self.variant(name, "train", "probe", *(["gallery"] if attack == "relink" else []))
        original = self.variant(ORIGINAL, "train", "probe", "gallery")
        model, out = self.folder / "attackers" / attack / name, self.folder / "attacks" / attack / name
        where = ("--attack", attack, "--original", original, "--annotations", self.tables, "--device", "cpu")
        command("fit-attacker", *where, "--attacker", json.dumps(WHO), "--seen", seen, "--out", model)
        of = ("--probe", "probe", "--gallery", "gallery", "--size", 10, "--resamples", 400)
        command("attack", *where, *of, "--model", model, "--variant", seen, "--out", out / "seed0")
        found = read_attempt({0: out}, attack, name).measures
        return {LINKED: found[LINKED, "10"], AUC: found[AUC, ""]}


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Return a street, where the method is known that plants leaks (tests/attack/planted.py)."""
    found = Street(tmp_path_factory.mktemp("straight"))
    describe(found.folder / "site", "planted", {"anonbench.methods": {"planted": "tests.attack.planted:Planted"}})
    told = ("--dataset", "streetlife", "--options", json.dumps(STREET), "--splits", "train,gallery,probe")
    command("download", *told, "--out", found.data)
    for split in ("train", "gallery", "probe"):
        command("annotate", "--data", found.data, "--split", split, "--out", found.tables)
        command("regions", "--annotations", found.tables, "--split", split, "--regions", json.dumps(COVERED))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(found.folder / "site"))
        registry._entries.cache_clear()
        yield found
    registry._entries.cache_clear()


@pytest.mark.parametrize(("attack", "tells"), [("reidentify", "colour"), ("relink", "number"), ("relink", "shift")])
def test_what_a_method_plants_is_found(street: Street, attack: str, tells: str) -> None:
    found = street.attacked(attack, f"body-planted-{tells}")
    assert found[LINKED].parted["covered"] == 1
    assert interval(found[LINKED])[0] > 0.3
    assert interval(found[AUC])[0] > 0.75


@pytest.mark.parametrize("attack", ["reidentify", "relink"])
def test_where_everybody_is_the_same_picture_nobody_is_found(street: Street, attack: str) -> None:
    found = street.attacked(attack, "body-planted-nothing")
    assert found[LINKED].parted["covered"] == 1
    at_chance(found)


@pytest.mark.parametrize("name", ["blur", "pixelate"])
def test_stronger_levels_hide_more_from_who_knows_the_method(tmp_path: Path, name: str) -> None:
    own, others = people(80, 2, 1), people(100, 2, 2)
    images = striped(own, STRIPES), striped(others, STRIPES)
    body = region(BOX, mask=np.ones((64, 48), bool))

    def shown(level: str | None) -> tuple[Subjects, Subjects]:
        found = []
        for who, there in zip((own, others), images, strict=True):
            if level is not None:
                method = make(Variant(RegionKind.BODY, name, level))
                there = np.stack([engine.anonymize_image(one, [body], method) for one in there])
            crops = np.stack([seen_in(one) for one in there])
            found.append(replace(who, crops=crops, covered=np.full(len(who), level is not None)))
        return found[0], found[1]

    raw, originals = shown(None)
    ends = []
    for level in ("low", "medium", "high"):
        learnt, seen = shown(level)
        probe, gallery = halves(seen)[0], halves(originals)[1]
        ends.append(interval(attacked("reidentify", (learnt, raw), probe, gallery, tmp_path / level)[LINKED]))
    low, medium, high = ends
    assert low[1] >= medium[0]
    assert medium[1] >= high[0]
    assert low[0] > high[1]


@pytest.mark.parametrize(
    ("sizes", "said", "headline"),
    [
        ((), "% among 8 (chance 12.5 %); nothing is said of 10, 100 people: 8 are compared", "all"),
        ((3, 100), "% among 8 (chance 12.5 %); nothing is said of 100 people: 8 are compared", "3"),
        ((3, 8), "% among 8 (chance 12.5 %)", "8"),
    ],
)
def test_of_more_people_than_there_are_nothing_is_said(
    tmp_path: Path, sizes: tuple[int, ...], said: str, headline: str
) -> None:
    """Twelve people, on four of whom attackers are chosen; the report has what there is."""
    model = crafted.fit(crafted.settle(tmp_path, "train", crafted.OWN, 1), tmp_path / "model")
    town = crafted.settle(tmp_path, "val", crafted.TWICE, 2)
    asked = sizes or (10, 100)
    there = [str(size) for size in asked if size <= 8] + ["all"]
    variants = [ORIGINAL, crafted.BLUR]
    for variant in variants:
        out = tmp_path / "attacks" / "town" / variant / "link" / "somebody" / "seed0"
        printed = command(
            "attack", "--attack", "link", "--model", model, "--variant", town.variant(variant), "--original",
            town.variant(ORIGINAL), "--annotations", town.annotations, "--out", out, "--resamples", 40, "--device",
            "cpu", *(word for size in sizes for word in ("--size", size)),
        )  # fmt: skip
        assert printed.strip().endswith(said)
        assert printed.count(" among ") == len(there)
        found = read_json(out / "metrics.json")["test"]["linkability"]
        assert list(found) == [*map(str, asked), "all"]
        assert [name for name, value in found.items() if value is not None] == there
    who = {"link": {variant: ["somebody"] for variant in variants}}
    attacks = Attacks(("town",), ("link",), who, [0], list(asked))
    study = ReportStudy("s", 0, {"town": {"train": "train", "val": "val"}}, variants, {"m": {}}, [0], attacks=attacks)
    table = privacy(study, tmp_path / "attacks")
    linked = table[table.measure == "linkability"]
    assert list(linked["size"]) == there * len(variants)
    assert linked.value.notna().all()
    assert set(table["size"][table.headline == "true"]) == {headline}
    assert set(re.findall(r"found first among (\w+)", privacy_markdown(table))) == set(there)
