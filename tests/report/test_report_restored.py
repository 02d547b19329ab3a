"""What attackers restore, drawn from what their jobs kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonbench.arrays import write_arrays
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.report import restored
from anonbench.report.study import Attacks, ReportStudy

NAIVE = {"knowledge": "naive", "region": "face", "view": "region", "width": 8, "height": 8}
WHO = {
    "face-naive": NAIVE,
    "face-reverse": {**NAIVE, "knowledge": "reverse"},
    "body-reverse": {**NAIVE, "knowledge": "reverse", "region": "body", "view": "person", "height": 16},
}
LEVELS = {"original": 200, "face-naive": 90, "face-reverse": 150, "body-reverse": 30}


def study(**attackers: list[str]) -> ReportStudy:
    of = {variant.replace("_", "-"): names for variant, names in attackers.items()}
    variants = ["original", *(v for v in of if v != "original")]
    return ReportStudy(
        "s", 0, {"town": {"train": "train", "val": "val"}}, variants, {"m": {}}, [0],
        attacks=Attacks(("town",), ("restore",), {"restore": of}, [4], [10]), vector_formats=(),
    )  # fmt: skip


def keep(root: Path, variant: str, name: str, **arrays: Any) -> Path:
    """Write what an attacker's job keeps: three people in one colour each."""
    who = WHO[name]
    shape = (3, int(str(who["height"])), int(str(who["width"])), 3)
    folder = root / "town" / variant / "restore" / name / "seed4"
    folder.mkdir(parents=True)
    kept = {"seen": np.full(shape, LEVELS[name], np.uint8), "original": np.full(shape, LEVELS["original"], np.uint8)}
    write_arrays(folder / "scores.npz", {f"pictures/{n}": v for n, v in {**kept, **arrays}.items()})
    tell(folder, variant, who)
    return folder


def tell(folder: Path, variant: str, who: Any) -> None:
    """Write the metrics that tell of a folder's file."""
    files = {"scores": sha256_file(folder / "scores.npz")}
    head = {"format": 1, "attack": "restore", "variant": variant, "attacker": who}
    write_json(folder / "metrics.json", {**head, "files": files})


def test_rows_are_what_each_attacker_sees(tmp_path: Path) -> None:
    names = ["face-naive", "face-reverse", "body-reverse"]
    for name in names:
        keep(tmp_path, "face-blur", name)
    asked = study(face_blur=names, original=["face-naive"])
    assert asked.restored() == ["town"]
    blocks = restored._blocks(asked, "town", tmp_path)
    assert [[(row.name, int(row.pictures[0, 0, 0, 0])) for row in rows] for rows in blocks] == [
        [("original", 200), ("face-blur, as it is left", 90), ("restored by face-reverse", 150)],
        [("original", 200), ("face-blur, restored by body-reverse", 30)],
    ]
    assert restored.write_restored(asked, "town", tmp_path, tmp_path / "out") == ["restored-town.png"]
    with Image.open(tmp_path / "out/restored-town.png") as image:
        pixels = np.asarray(image.convert("L"))
    for level in LEVELS.values():
        assert (pixels == level).sum() > 3 * 50 * 30, "three pictures of each"


def test_a_data_set_whose_variants_nobody_restores_has_no_figure() -> None:
    """As the workflow has it (`Files.restored`): otherwise the page would miss a figure that no rule draws."""
    asked = study(face_blur=["face-reverse"], body_gan=[])
    two = {"town": {"train": "train", "val": "val"}, "sea": {"train": "train", "val": "val"}}
    told = {"town": {"m": ["original", "face-blur"]}, "sea": {"m": ["original", "body-gan"]}}
    assert asked.attacks is not None
    attacks = replace(asked.attacks, datasets=("town", "sea"))
    assert replace(asked, datasets=two, asked=told, attacks=attacks).restored() == ["town"]


def test_pictures_of_another_attack_are_refused(tmp_path: Path) -> None:
    folder = keep(tmp_path, "face-blur", "face-reverse")
    draw = partial(restored.write_restored, study(face_blur=["face-reverse"]), "town", tmp_path, tmp_path)
    tell(folder, "face-pixelate", NAIVE)
    with pytest.raises(AnonbenchError, match="tells of restore on face-pixelate, not of restore on face-blur"):
        draw()
    tell(folder, "face-blur", NAIVE)
    write_arrays(folder / "scores.npz", {"pictures/seen": np.zeros((3, 8, 8, 3), np.uint8)})
    with pytest.raises(AnonbenchError, match=r"is damaged, or another file than metrics\.json tells of"):
        draw()
    (folder / "metrics.json").unlink()
    with pytest.raises(AnonbenchError, match=r"metrics\.json"):
        draw()


def test_where_nobody_restores_there_is_no_figure(tmp_path: Path) -> None:
    assert study(original=["face-naive"]).restored() == []
    with pytest.raises(AnonbenchError, match="has nobody who restores anything: 'town'"):
        restored.write_restored(study(original=["face-naive"]), "town", tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"seen": np.zeros((3, 8, 8, 3), np.float32)}, "pictures of shape"),
        ({"seen": np.zeros((2, 8, 8, 3), np.uint8)}, "pictures of shape"),
    ],
)
def test_damaged_pictures_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    keep(tmp_path, "face-blur", "face-reverse", **arrays)
    with pytest.raises(AnonbenchError, match=message) as raised:
        restored.write_restored(study(face_blur=["face-reverse"]), "town", tmp_path, tmp_path)
    assert "scores.npz" in str(raised.value)
    assert "attack again" in str(raised.value)


def test_an_attack_of_an_earlier_version_kept_none(tmp_path: Path) -> None:
    folder = keep(tmp_path, "face-blur", "face-reverse")
    write_arrays(folder / "scores.npz", {"scores": np.zeros((1, 1))})
    tell(folder, "face-blur", NAIVE)
    with pytest.raises(AnonbenchError, match="attack again"):
        restored.write_restored(study(face_blur=["face-reverse"]), "town", tmp_path, tmp_path)
