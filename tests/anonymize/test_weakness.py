"""Who may still be recognised after a method, and who hears of it: manifest, summary, `anonbench merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anonbench import manifests
from anonbench.anonymize import cli, engine
from anonbench.anonymize.contract import Method, make
from anonbench.anonymize.methods.mask_out import MaskOut
from anonbench.crops import Crop, Work
from anonbench.records import Region, RegionKind
from anonbench.variants import Variant

from .conftest import Dataset, photograph, region

FACE, BODY = RegionKind.FACE, RegionKind.BODY
LARGE = region((100, 100, 220, 260), FACE)
STANDING = region((100, 40, 220, 400), BODY)
CLOSE_UP = region((20, 20, 420, 410), BODY)


def weak(name: str, one: Region, parameters: dict[str, Any] | None = None) -> str | None:
    """Return what is said of a person after a method, in an image of 480x430 pixels."""
    method = make(Variant.parse(f"{one.kind}-{name}"), parameters)
    (rows,) = engine.anonymize([Work(1, photograph(480, 430), [one])], method, seed=0)
    return rows[0].weak


@pytest.mark.parametrize("level", ["low", "medium", "high"])
@pytest.mark.parametrize("name", ["blur", "pixelate"])
@pytest.mark.parametrize("one", [LARGE, STANDING], ids=["face", "standing"])
def test_only_the_low_level_is_weak(name: str, level: str, one: Region) -> None:
    said = weak(f"{name}-{level}", one)  # 32 cells along a person who stands are few along the face
    assert (said is not None) == (level == "low" and (name, one.kind) != ("pixelate", BODY))


@pytest.mark.parametrize("one", [LARGE, STANDING, CLOSE_UP, region((4, 4, 12, 15), FACE)], ids=lambda one: str(one.box))
@pytest.mark.parametrize("name", ["adaptive_blur", "adaptive_pixelate"])
@pytest.mark.parametrize("level", ["low", "medium", "high"])
def test_no_adaptive_level_is_weak(name: str, level: str, one: Region) -> None:
    assert weak(f"{name}-{level}", one) is None


def test_what_is_said() -> None:
    assert weak("blur-low", LARGE) == "blurred by 4.1 % of the face's side"
    assert weak("blur-own", LARGE, {"sigma": 1.0, "kernel": 5}) == "blurred by 1.5 % of the face's side"
    assert weak("pixelate-low", LARGE) == "13.9 cells along the face's side"
    assert weak("pixelate-own", LARGE, {"face_cells": 40}) == "34.6 cells along the face's side"
    assert weak("adaptive_blur-low", LARGE, {"paper": True}) == "blurred by 5.5 % of the face's side"
    assert weak("adaptive_pixelate-low", LARGE, {"paper": True}) == "17.3 cells along the face's side"
    assert weak("mask_out", STANDING) is None
    assert weak("identity", LARGE) is None


def test_a_close_up_is_weak_where_the_face_is_large_in_the_person() -> None:
    assert weak("pixelate-low", CLOSE_UP) == "15.6 cells along the face's side"
    assert weak("pixelate-medium", CLOSE_UP) is None


def test_the_fallback_is_asked_where_it_was_used() -> None:
    class Fails(Method):
        fallback = "mask_out"

        def change(self, crop: Crop) -> np.ndarray:
            raise RuntimeError("no")

        def weakness(self, crop: Crop) -> str | None:
            return "never asked"

    (rows,) = engine.anonymize([Work(1, photograph(480, 430), [LARGE])], Fails(), seed=0)
    assert (rows[0].fallback, rows[0].weak) == ("mask_out", None)


def test_rows_summary_and_merge_name_them(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MaskOut, "weakness", lambda self, crop: "pale" if crop.region.person_id % 20 == 0 else None)
    out = dataset.run("body-mask_out")
    rows = [row for row in manifests.rows_of(out, "train") if row["type"] == "person"]
    assert {row["person_id"] for row in rows if "weak" in row} == {20, 40, 60}
    assert all(row["weak"] == "pale" and row["status"] == "anonymized" for row in rows if "weak" in row)
    people = manifests.summary_of(out, "train")["people"]
    assert people["weak"] == 3
    assert people["by_category"]["person"]["anonymized"] == 12
    common = {"annotations": dataset.annotations, "split": "train", "variant": "body-mask_out", "out": out}
    cli.merge(**common)
    said = capsys.readouterr().out
    assert "  warning: 3 people were changed and may still be recognised: 20 in image 2 (pale), 40 in" in said


def test_strict_names_the_weak_and_does_not_fail(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    out = dataset.run("face-blur-low")
    common = {"annotations": dataset.annotations, "split": "train", "variant": "face-blur-low", "out": out}
    cli.merge(**common, strict=True)
    said = capsys.readouterr().out
    assert "person: 6 of 6 anonymized" in said
    assert "warning: 6 people were changed and may still be recognised: 10 in image 1 (blurred by 3.9 %" in said


def test_manifests_without_weak_people_say_nothing_of_it(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    out = dataset.run("face-blur-medium")
    assert b"weak" not in manifests.shard_path(out, "train", 0).read_bytes()
    assert b"weak" not in manifests.summary_path(out, "train").read_bytes()
    cli.merge(annotations=dataset.annotations, split="train", variant="face-blur-medium", out=out)
    assert "warning" not in capsys.readouterr().out


def test_shards_and_threads_say_the_same(dataset: Dataset, tmp_path: Path) -> None:
    said = []
    for number, options in enumerate(({}, {"shards": 3}, {"threads": 2})):
        out = dataset.run("face-pixelate-low", tmp_path / str(number), **options)
        said.append([row.get("weak") for row in manifests.rows_of(out, "train") if row["type"] == "person"])
    assert said[0] == said[1] == said[2]
    assert any(said[0])
