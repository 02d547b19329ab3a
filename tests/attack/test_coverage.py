"""Who was changed, against a count by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anonbench.attack.answers import arrays_of, run_answers, told
from anonbench.attack.attacks import coverage
from anonbench.attack.attacks.coverage import Coverage
from anonbench.attack.metrics import chooser
from anonbench.errors import AnonbenchError
from anonbench.statistics.resampling import Draw
from tests.attack.town import Town, build, person


def said(**attributes: str) -> str:
    return json.dumps(attributes)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Return seven people and a crowd in three pictures; four of the people are changed, one by the fallback."""
    pictures = {number: np.zeros((200, 200, 3), np.uint8) for number in (1, 2, 3)}
    people = [
        person(1, 1, (0, 0, 10, 20), identity="a", attributes=said(hair="bald", camera="1")),
        person(1, 2, (0, 0, 50, 60), identity="b", attributes=said(hair="short", camera="1")),
        person(1, 3, None, identity="c"),
        person(2, 4, (0, 0, 100, 100), identity="a", attributes=said(hair="bald", camera="2")),
        person(2, 5, (0, 0, 10, 10), identity="d", attributes=said(hair="short", camera="2")),
        person(3, 6, (0, 0, 40, 40)),
        person(3, 7, (0, 0, 40, 40)),
        person(3, 8, (0, 0, 150, 100), crowd=True),
    ]
    made = build(tmp_path, pictures, people)
    status = {1: "anonymized", 2: "method_failed", 3: "no_mask", 4: "anonymized", 5: "below_min_size", 6: "anonymized",
              7: "no_mask", 8: "crowd"}  # fmt: skip
    rows = [{**one, "status": status[one["person_id"]]} for one in people]
    keys = ("image_id", "person_id", "category", "status")
    stranger = {"image_id": 3, "person_id": -1, "category": "unannotated", "status": "anonymized"}
    made.show("body-blur-medium", pictures, [*({key: row[key] for key in keys} for row in rows), stranger])
    return made


def test_it_is_what_a_hand_counts(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "FEWEST", 1)
    answers = Coverage().look(town.site("body-blur-medium"), chooser(0.3, 0), None)
    ((part, measures),) = answers.parts.items()
    assert part == "test"
    assert {name: told(one)["value"] for name, one in measures.items()} == pytest.approx(
        {
            "changed": 4 / 7,
            "changed/small": 1 / 2,  # person 3, who has no box, has no size
            "changed/medium": 2 / 3,
            "changed/large": 1.0,
            "changed/hair=bald": 1.0,
            "changed/hair=short": 0.5,
            "changed_area": (200 + 3000 + 10000 + 1600) / (200 + 3000 + 10000 + 100 + 1600 + 1600),
        }
    )
    assert {told(one)["chance"] for one in measures.values()} == {None}
    assert (told(measures["changed"])["units"], told(measures["changed"])["people"]) == (7, 6)
    assert answers.drawn == "people"
    assert answers.facts == {
        "values_of_few": 0, "pictures_of_crowds": False, "crowds": 1, "crowds_changed": 0, "unannotated_changed": 1,
    }  # fmt: skip


def test_values_of_few_people_are_not_told(town: Town) -> None:
    """A share of two people says who they are rather than how the method works."""
    answers = Coverage().look(town.site("body-blur-medium"), chooser(0.3, 0), None)
    assert not any("=" in name for name in answers.parts["test"])
    assert answers.facts["values_of_few"] == 2


def test_nobody_is_changed_in_the_original(town: Town) -> None:
    answers = Coverage().look(town.site(), chooser(0.3, 0), None)
    assert {told(one)["value"] for one in answers.parts["test"].values()} == {0.0}
    assert answers.facts["unannotated_changed"] == 0


def test_whole_people_are_drawn(town: Town) -> None:
    answers = Coverage().look(town.site("body-blur-medium"), chooser(0.3, 0), None)
    draw = Draw(500, 1, "test")
    found = arrays_of(answers.parts["test"], draw)
    values, groups = found["value/changed"], answers.parts["test"]["changed"].groups
    weights = draw.weights(6)[:, np.unique(groups, return_inverse=True)[1]]
    assert found["replicates/changed"] == pytest.approx(weights @ values / weights.sum(axis=1))
    assert found["estimate/changed"] == pytest.approx(4 / 7)
    assert found["telling/changed"] == pytest.approx(49 / 9)  # a is there twice
    area = found["replicates/changed_area"]
    assert ((area >= 0) & (area <= 1)).all()


def test_files_say_that_nobody_learnt(town: Town, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = run_answers("coverage", town.site("body-blur-medium"), out, resamples=20)
    assert line == "count who was changed, body-blur-medium: changed 0.571, of 7 people or images"
    found = json.loads((out / "metrics.json").read_text())
    assert (found["attacker"], found["own"], found["first"]) == (None, None, "changed")
    assert found["people"] == {"probe": "val", "gallery": None}
    assert found["files"]["weights"] is None
    assert "validation" not in found
    with np.load(out / "scores.npz") as file:
        assert file["replicates/changed"].shape == (20,)
        assert file["covered"].tolist() == [True, True, False, True, False, True, False]
    again = tmp_path / "again"
    run_answers("coverage", town.site("body-blur-medium"), again, resamples=20)
    assert [(again / name).read_bytes() for name in ("scores.npz", "metrics.json")] == [
        (out / name).read_bytes() for name in ("scores.npz", "metrics.json")
    ]


def test_without_identities_images_are_drawn(tmp_path: Path) -> None:
    pictures = {number: np.zeros((50, 50, 3), np.uint8) for number in (1, 2)}
    people = [person(1, 1, (0, 0, 9, 9)), person(1, 2, (0, 0, 9, 9)), person(2, 3, (0, 0, 9, 9))]
    made = build(tmp_path, pictures, people)
    answers = Coverage().look(made.site(), chooser(0.3, 0), None)
    assert answers.drawn == "images"
    assert told(answers.parts["test"]["changed"])["people"] == 2


def test_nobody_is_refused_and_crowds_count_where_there_is_nobody_else(tmp_path: Path) -> None:
    picture = {1: np.zeros((50, 50, 3), np.uint8)}
    with pytest.raises(AnonbenchError, match=r"val\.people\.parquet: shows nobody"):
        Coverage().look(build(tmp_path / "empty", picture, []).site(), chooser(0.3, 0), None)
    rows = [person(1, 1, (0, 0, 50, 50), crowd=True), person(1, 2, (0, 0, 9, 9))]
    for kept, count in ((rows[:1], 1), (rows, 1)):
        made = build(tmp_path / str(len(kept)), picture, kept)
        made.show("frame-grey", picture, [{"image_id": 1, "person_id": 1, "status": "anonymized"}])
        answers = Coverage().look(made.site("frame-grey"), chooser(0.3, 0), None)
        found = told(answers.parts["test"]["changed"])
        assert (found["people"], found["value"]) == (count, 1.0 if len(kept) == 1 else 0.0)
        assert (answers.facts["crowds"], answers.facts["crowds_changed"]) == (1, 1)
        assert answers.facts["pictures_of_crowds"] == (len(kept) == 1)
    lost = [person(1, 1, (0, 0, 50, 50), crowd=True), *(person(1, n, None) for n in range(2, 9))]
    made = build(tmp_path / "lost", picture, lost)
    made.show("frame-grey", picture, [{"image_id": 1, "person_id": 1, "status": "anonymized"}])
    found = told(Coverage().look(made.site("frame-grey"), chooser(0.3, 0), None).parts["test"]["changed"])
    assert (found["units"], found["value"]) == (7, 0.0), "a crowd takes nobody's place"


def test_attributes_that_are_not_json_are_named(tmp_path: Path) -> None:
    made = build(tmp_path, {1: np.zeros((50, 50, 3), np.uint8)}, [person(1, 1, (0, 0, 9, 9), attributes="{")])
    with pytest.raises(AnonbenchError, match=r"val\.people\.parquet: has attributes that are not JSON"):
        Coverage().look(made.site(), chooser(0.3, 0), None)


def test_a_variant_without_a_manifest_is_refused(town: Town) -> None:
    with pytest.raises(AnonbenchError, match=r"body-mask_out/manifests/val\.json"):
        Coverage().look(town.site("body-mask_out"), chooser(0.3, 0), None)


def test_a_detector_is_refused(town: Town, tmp_path: Path) -> None:
    from anonbench.detectors.config import DetectorConfig

    with pytest.raises(AnonbenchError, match="--detector: coverage is tried by nobody"):
        run_answers("coverage", town.site(), tmp_path / "out", detector=DetectorConfig(plugin="hog"))
