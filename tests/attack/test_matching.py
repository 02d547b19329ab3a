"""Who is compared with whom: releases, cameras, outfits; what a control sees; galleries that hold probes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from anonbench import manifests, regions
from anonbench.attack import trials
from anonbench.attack.attackers import describe_with, learn
from anonbench.attack.attacks.reidentify import Reidentify, Relink
from anonbench.attack.contract import Trial
from anonbench.attack.subjects import Subjects, apart, disjoint, read_subjects
from anonbench.errors import AnonbenchError
from anonbench.records import RegionKind
from anonbench.seeding import generator
from tests.attack.test_attackers import QUICK, people, replaced
from tests.attack.town import build, person


def plain(crops: np.ndarray) -> np.ndarray:
    """Return a description that knows nothing but pixels."""
    found = crops.reshape(len(crops), -1).astype(np.float32) - 127
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def pseudonyms(raw: Subjects, by: str = "identity") -> Subjects:
    """Return people whose clothes are drawn by who they are, or, by ``picture``, anew in each, before backgrounds."""
    crops = raw.crops.copy()
    for row, who in enumerate(raw.identities):
        random = generator("pseudonym", who if by == "identity" else (who, row))
        for half in range(2):
            crops[row, 4 + 12 * half : 16 + 12 * half, 4:20] = random.integers(40, 216, 3)
    return replace(raw, crops=crops, covered=np.ones(len(raw), bool))


def halves(everybody: Subjects) -> tuple[Subjects, Subjects]:
    """Return the first and the second picture of everybody."""
    rows = np.arange(len(everybody))
    return everybody.only(rows % 2 == 0), everybody.only(rows % 2 == 1)


def linked(trial: Trial) -> float:
    return float(trials.measure(trial, trials.linkabilities(trial, [10]))["linkability"]["10"])


def test_a_pseudonym_is_linked_between_releases_and_not_to_originals(tmp_path: Path) -> None:
    own, raw = people(80, 2, 1), people(60, 2, 2)
    seen, later = halves(pseudonyms(raw))
    originals = halves(raw)[1]
    learn("relink", QUICK, pseudonyms(own), own, {}, 0, tmp_path / "relink", device="cpu")
    assert linked(Relink().attempt(seen, None, later, describe_with(tmp_path / "relink", "cpu"))) > 0.95
    learn("reidentify", QUICK, pseudonyms(own), own, {}, 0, tmp_path / "reidentify", device="cpu")
    assert linked(Reidentify().attempt(seen, None, originals, describe_with(tmp_path / "reidentify", "cpu"))) < 0.2
    # drawn anew in each picture nothing is left to link
    anew, then = halves(pseudonyms(raw, by="picture"))
    assert linked(Relink().attempt(anew, None, then, describe_with(tmp_path / "relink", "cpu"))) < 0.25


def test_pictures_of_a_person_by_the_same_camera_are_left_out() -> None:
    """Market-1501: person 0 is alone with camera 1, person 1 with camera 2; others of that camera count."""
    raw = people(3, 2, 1)
    raw.attributes[:] = [{"camera": name} for name in "121212"]
    probe, gallery = raw.only(np.array([0, 2])), raw
    trial = Reidentify().attempt(probe, None, gallery, plain)
    assert trial.allowed.tolist() == [[False, True, True, True, True, True], [True, True, False, True, True, True]]
    with pytest.raises(AnonbenchError, match="nobody of the probe split was taken by another camera"):
        Reidentify().attempt(probe, None, raw.only(np.array([0, 2, 4])), plain)


def test_outfits_are_told_apart_where_they_are_known() -> None:
    """Everybody is found in the clothes of the probe, nobody in others."""
    own = people(12, 3, 1)
    own.attributes[:] = [{"outfit": name} for name in "112" * 12]
    own.crops[2::3, 4:28, 4:20] = 127
    first = np.arange(len(own)) % 3 == 0
    trial = Reidentify().attempt(own.only(first), None, own.only(~first), plain)
    assert {name: int(pairs.sum()) for name, pairs in trial.kinds.items()} == {"same outfit": 144, "other outfit": 144}
    found = trials.told_apart(trial, [5])
    means = {name: float(np.nanmean(each["5"])) for name, (_, each) in found.items() if each["5"] is not None}
    assert means["same outfit"] > 0.9 > 0.5 > means["other outfit"]
    same, whole = found["same outfit"][0], linked(trial)
    assert int((same.allowed & (same.probe[:, None] == same.gallery)).sum()) == 12
    assert means["other outfit"] < whole < means["same outfit"]
    part = trials.split_people(trial, 0.3, 0)["test"]
    assert part.kinds["same outfit"].shape == part.scores.shape
    silent = Reidentify().attempt(people(12, 3, 1), None, people(12, 3, 1), plain)
    assert not silent.kinds
    assert trials.told_apart(silent, [5]) == {}


def test_of_strangers_clothes_nothing_is_told_apart() -> None:
    own = people(6, 2, 1)
    own.attributes[:] = [{"outfit": "1"} for _ in range(len(own))]
    probe, gallery = halves(own)
    trial = Reidentify().attempt(probe, None, gallery, plain)
    assert list(trials.told_apart(trial, [3])) == ["same outfit"], "nobody wears anything else"


def test_one_picture_of_everybody_is_too_little_to_learn_from(tmp_path: Path) -> None:
    own = people(20, 1, 1)
    for attack in ("reidentify", "relink"):
        with pytest.raises(AnonbenchError, match="everybody is in one picture alone"):
            learn(attack, QUICK, own, own, {}, 0, tmp_path, device="cpu")
    learn("link", QUICK.model_copy(update={"iterations": 1}), own, own, {}, 0, tmp_path, device="cpu")


def test_whom_the_attacker_has_learnt_from_is_not_attacked(tmp_path: Path) -> None:
    raw, own = people(4, 1, 1), tmp_path / "own.parquet"
    rows = [person(1, k, (0, 0, 9, 9), identity=who) for k, who in enumerate(("2-0", None, "1-3"))]
    regions.write(own, rows[:2], regions.PEOPLE)
    disjoint(own, (raw, Path("probe.parquet")), (raw, Path("gallery.parquet")))
    regions.write(own, rows, regions.PEOPLE)
    with pytest.raises(AnonbenchError, match=r"own\.parquet: shows '1-3', who is also in gallery\.parquet"):
        disjoint(own, (people(4, 1, 3), Path("probe.parquet")), (raw, Path("gallery.parquet")))


def sources(out: Path, split: str, hashes: list[str]) -> tuple[Path, str]:
    """Write the manifest of a split whose original files have these hashes."""
    shard = manifests.shard_path(out, split, 0)
    rows = [
        {"type": "image", "image_id": k, "file_name": f"{k}.png", "sha256": "s", "source_sha256": name}
        for k, name in enumerate(hashes)
    ]
    manifests.write_rows(shard, [{"type": "shard"}, *rows])
    digest = hashlib.sha256(shard.read_bytes()).hexdigest()
    images = manifests.digest_of({f"{k}.png": "s" for k in range(len(hashes))})
    summary = {"shards": [digest], "digest": images, "annotations_sha256": ""}
    manifests.summary_path(out, split).write_text(json.dumps(summary))
    return out, split


def test_a_gallery_that_holds_a_probe_is_refused(tmp_path: Path) -> None:
    probe = sources(tmp_path / "body-blur-low", "probe", ["a", "b"])
    apart(probe, sources(tmp_path / "original", "gallery", ["c", "d"]))
    with pytest.raises(AnonbenchError, match=r"image 1: is 1\.png of probe too: a gallery must not hold images of the"):
        apart(probe, sources(tmp_path / "original", "gallery", ["c", "b"]))


def test_the_colour_control_sees_one_colour_and_nothing_else(tmp_path: Path) -> None:
    picture = np.zeros((60, 60, 3), np.uint8)
    picture[10:30, 10:30], picture[30:50, 10:30] = (200, 0, 0), (0, 0, 100)
    picture[10:40, 40:50] = (9, 19, 29)
    town = build(tmp_path, {1: picture}, [person(1, 1, (10, 10, 20, 40)), person(1, 2, (40, 10, 10, 30))])
    seen = read_subjects(town.variant("original"), town.annotations, "val", RegionKind.BODY, "colour", (16, 16))
    assert (seen.crops[0] == [100, 0, 50]).all()
    assert (seen.crops[1] == [9, 19, 29]).all()
    # of a face that was not found nothing but the box is known
    bare = read_subjects(town.variant("original"), town.annotations, "val", RegionKind.FACE, "colour", (16, 16))
    assert np.array_equal(bare.crops, seen.crops)


def test_a_colour_that_is_the_same_for_everybody_is_chance_and_no_failure(tmp_path: Path) -> None:
    """Whoever paints everybody grey leaves the control of colours equal pictures."""
    own, raw = people(30, 2, 1), people(30, 2, 2)
    learn("reidentify", QUICK.model_copy(update={"iterations": 20}), own, own, {}, 0, tmp_path, device="cpu")
    probe, gallery = halves(raw)
    trial = Reidentify().attempt(replaced(probe), None, gallery, describe_with(tmp_path, "cpu"))
    assert linked(trial) == pytest.approx(0.1, abs=1e-3)


def test_marks_of_the_codec_are_not_used(tmp_path: Path) -> None:
    """Compressed as a control is, pictures of the same people are found as often as the originals, and no oftener."""
    own, raw = people(80, 2, 1), people(60, 2, 2)
    learn("reidentify", QUICK, own, own, {}, 0, tmp_path, device="cpu")
    probe, gallery = halves(raw)
    coded = np.stack([cv2.imdecode(cv2.imencode(".jpg", one)[1], cv2.IMREAD_COLOR) for one in probe.crops])
    describe = describe_with(tmp_path, "cpu")
    found = [
        linked(Reidentify().attempt(replace(probe, crops=c), None, gallery, describe)) for c in (probe.crops, coded)
    ]
    assert found[1] == pytest.approx(found[0], abs=0.03)


def test_stronger_is_no_easier(tmp_path: Path) -> None:
    """Blurred, more blurred, most blurred: an attacker that knows the method finds fewer and fewer."""
    own, raw = people(80, 2, 1), people(60, 2, 2)
    found = []
    for deviation in (0, 6, 40):
        seen, learnt = (
            replace(one, crops=np.stack([blurred(crop, deviation) for crop in one.crops])) for one in (raw, own)
        )
        folder = tmp_path / str(deviation)
        learn("reidentify", QUICK.model_copy(update={"iterations": 60}), learnt, own, {}, 0, folder, device="cpu")
        probe, gallery = halves(seen)[0], halves(raw)[1]
        found.append(linked(Reidentify().attempt(probe, None, gallery, describe_with(folder, "cpu"))))
    assert found[0] > 0.8
    assert found[0] > found[1] - 0.05 > found[2] - 0.1


def blurred(crop: np.ndarray, deviation: int) -> np.ndarray:
    """Return a crop under a Gaussian that leaves contrast of a few levels alone."""
    return crop if not deviation else np.asarray(cv2.GaussianBlur(crop, (0, 0), deviation) // 8 * 8)
