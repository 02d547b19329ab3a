"""CrowdHuman: three boxes of everybody, what is to be ignored, and files of another form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anonbench.datasets.base import Split
from anonbench.datasets.crowdhuman import CrowdHuman, read_labels
from anonbench.errors import AnonbenchError
from tests.fixtures import crowdhuman
from tests.fixtures.crowdhuman import HIDDEN, IGNORED, label_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    crowdhuman.write(tmp_path / "crowd")
    return tmp_path / "crowd"


def read(root: Path, **options: Any) -> Split:
    return CrowdHuman(options).read(root, "train")


def boxes(root: Path) -> list[dict[str, Any]]:
    lines = label_file(root, "train").read_text().splitlines()
    return [box for line in lines for box in json.loads(line)["gtboxes"]]


def test_every_box_of_the_file_is_an_annotation(root: Path) -> None:
    given, found = boxes(root), list(read(root).annotations)
    assert len(given) == len(found) > len(IGNORED) + 1
    assert [a["bbox"] for a in found] == [[float(v) for v in box["fbox"]] for box in given]
    assert [a["full_box"] for a in found] == [a["bbox"] for a in found]
    for annotation, box in zip(found, given, strict=True):
        assert annotation.get("visible_box") == box.get("vbox")
        assert annotation.get("head_box") == box.get("hbox")


def test_what_is_to_be_ignored_is_a_crowd_and_has_no_face(root: Path) -> None:
    found = list(read(root).annotations)
    ignored = [a for a in found if a.get("ignore")]
    assert [a["bbox"] for a in ignored] == [box["fbox"] for box in IGNORED]
    assert all(a["iscrowd"] == 1 and "face" not in a for a in ignored)
    assert all(a["iscrowd"] == 0 for a in found if not a.get("ignore"))


def test_a_head_is_the_face_unless_it_is_hidden_or_not_asked_for(root: Path) -> None:
    given, found = boxes(root), list(read(root).annotations)
    for annotation, box in zip(found, given, strict=True):
        seen = not annotation["iscrowd"] and box["head_attr"].get("ignore") != 1
        assert annotation.get("face") == ({"bbox": box["hbox"]} if seen else None)
    assert any("face" in a for a in found)
    (hidden,) = [a for a in found if a["full_box"] == HIDDEN["fbox"]]
    assert "face" not in hidden
    assert not any("face" in a for a in read(root, heads=False).annotations)


def test_the_visible_box_may_stand_for_the_person(root: Path) -> None:
    for annotation, box in zip(read(root, box="visible").annotations, boxes(root), strict=True):
        assert annotation["bbox"] == box.get("vbox", box["fbox"])
        assert annotation["area"] == annotation["bbox"][2] * annotation["bbox"][3]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"ID": "a", "gtboxes": [', "line 2: is not an image's labels .*cut short"),
        ("[]", "no list 'gtboxes'"),
        ('{"ID": "a"}', "no list 'gtboxes'"),
        ('{"ID": "../a", "gtboxes": []}', "no image's name"),
        ('{"ID": 7, "gtboxes": []}', "no image's name"),
        ('{"ID": "b", "gtboxes": [{"fbox": [1, 2, 3, 4]}]}', "box 1 has no 'tag'"),
        ('{"ID": "b", "gtboxes": [{"tag": "person", "vbox": [1, 2, 3, 4]}]}', "fbox of box 1 is not four numbers"),
        ('{"ID": "b", "gtboxes": [{"tag": "mask"}]}', "box 1 has no 'fbox'"),
        ('{"ID": "b", "gtboxes": [{"tag": "person", "fbox": [1, 2, 3]}]}', "fbox of box 1 is not four numbers"),
        ('{"ID": "b", "gtboxes": [{"tag": "person", "fbox": [1, 2, NaN, 4]}]}', "fbox of box 1 is not four numbers"),
        ('{"ID": "b", "gtboxes": [{"tag": "mask", "fbox": [1, 2, 3, 4], "extra": 1}]}', "extra of box 1 is no object"),
        (
            '{"ID": "b", "gtboxes": [{"tag": "person", "fbox": [1, 2, 1' + "0" * 400 + ", 4]}]}",
            "fbox of box 1 is not four numbers",
        ),
        ('{"ID": "b", "gtboxes": [' + "1" * 5000 + "]}", "line 2: is not an image's labels"),
        ('{"ID": "b", "gtboxes": ' + "[" * 100_000, "line 2: .*nested too deeply"),
        ('{"ID": "first", "gtboxes": []}', "duplicate image first"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "annotation_train.odgt"
    file.write_text('{"ID": "first", "gtboxes": []}\n' + line + "\n")
    with pytest.raises(AnonbenchError, match=said) as raised:
        read_labels(file)
    assert "\n" not in str(raised.value)


def test_a_mark_of_the_encoding_and_breaks_that_are_no_lines_are_text(tmp_path: Path) -> None:
    file = tmp_path / "annotation_train.odgt"
    lines = ['{"ID": "a", "gtboxes": []}', '{"ID": "b\u2028\x85c", "gtboxes": []}', ""]
    file.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert list(read_labels(file)) == ["a", "b\u2028\x85c"]


@pytest.mark.parametrize(("data", "said"), [(b" \n", "is empty"), (b"\xff", "is not text in UTF-8")])
def test_a_file_without_text_is_said(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "annotation_train.odgt").write_bytes(data)
    with pytest.raises(AnonbenchError, match=said):
        read_labels(tmp_path / "annotation_train.odgt")


def test_an_image_that_is_not_there_is_named(root: Path) -> None:
    image = next((root / "Images").iterdir())
    image.unlink()
    split = "val" if "val" in image.name else "train"
    with pytest.raises(AnonbenchError, match="is not on disk"):
        CrowdHuman().read(root, split)
