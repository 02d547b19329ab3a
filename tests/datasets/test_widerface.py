"""WIDER FACE: every row of the label file is a face, whatever its box; wrong files end in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anonbench.datasets.base import Split
from anonbench.datasets.widerface import WiderFace, read_labels
from anonbench.errors import AnonbenchError
from tests.fixtures import save, widerface
from tests.fixtures.widerface import label_file, save_labels, scenes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    widerface.write(tmp_path / "wider")
    return tmp_path / "wider"


def read(root: Path, split: str = "train") -> Split:
    return WiderFace().read(root, split)


def edit(root: Path, change: Callable[[list[str]], Any], split: str = "train") -> None:
    """Change the lines of a label file in place."""
    file = label_file(root, split)
    lines = file.read_text(encoding="utf-8").splitlines()
    change(lines)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_faces_have_boxes_and_attributes(root: Path) -> None:
    split = read(root)
    rows = read_labels(label_file(root, "train"))
    assert [image["file_name"] for image in split.images] == list(rows)
    annotations = list(split.annotations)
    assert [a["bbox"] for a in annotations] == [[float(v) for v in row[:4]] for faces in rows.values() for row in faces]
    assert all(a["face"] == {"bbox": a["bbox"]} for a in annotations)
    assert annotations[0]["blur"] == 0
    assert {a["blur"] for a in annotations} >= {0, 1, 2}
    (invalid,) = [a for a in annotations if a["invalid"]]
    assert (invalid["bbox"], invalid["iscrowd"], invalid["ignore"]) == ([2, 3, 9, 11], 1, 1)
    assert (invalid["blur"], invalid["illumination"], invalid["occlusion"], invalid["pose"]) == (2, 1, 2, 0)
    assert not any("ignore" in a or a["iscrowd"] for a in annotations if a is not invalid)


def test_faces_of_no_size_and_images_without_faces_stay(root: Path) -> None:
    split = read(root)
    assert [a["bbox"] for a in split.annotations if min(a["bbox"][2:]) <= 0] == [[40, 20, 0, 0]]
    nobody = split.images[-1]
    assert nobody["file_name"].endswith("nobody.jpg")
    assert not [a for a in split.annotations if a["image_id"] == nobody["id"]]


def test_subsets_of_val_are_those_of_eval_tools(root: Path) -> None:
    split = read(root, "val")
    assert len(split.sources) == 4
    first = [a for a in split.annotations if a["image_id"] == 1]
    widest = max((a for a in first if not a["invalid"]), key=lambda a: a["bbox"][2])
    assert widest["subsets"] == ["easy", "medium", "hard"]
    assert sum("easy" in a["subsets"] for a in first) == 1
    for annotation in split.annotations:
        w = annotation["bbox"][2]
        assert ("hard" in annotation["subsets"]) == (w > 0 and not annotation["invalid"])
        assert ("medium" in annotation["subsets"]) == (w >= 6 and not annotation["invalid"])
    assert not any("subsets" in a for a in read(root).annotations)


def test_without_eval_tools_there_are_no_subsets(root: Path) -> None:
    (root / "eval_tools").rename(root.parent / "eval_tools")
    split = read(root, "val")
    assert not any("subsets" in a for a in split.annotations)
    assert split.sources == (label_file(root, "val"),)


def _cut_subset(root: Path) -> None:
    file = root / "eval_tools" / "ground_truth" / "wider_hard_val.mat"
    file.write_bytes(file.read_bytes()[:200])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_cut_subset, r"wider_hard_val.mat: is not a ground truth of WIDER FACE's eval_tools"),
        (lambda r: (r / "eval_tools/ground_truth/wider_easy_val.mat").unlink(), r"wider_easy_val.mat: no such file"),
        (lambda r: edit(r, lambda lines: lines.__setitem__(2, "9 9 9 9 0 0 0 0 0 0"), "val"), r"has other boxes of"),
    ],
)  # fmt: skip
def test_other_subsets_are_refused(root: Path, change: Callable[[Path], None], said: str) -> None:
    change(root)
    with pytest.raises(AnonbenchError, match=said):
        read(root, "val")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines.clear(), r"wider_face_train_bbx_gt.txt: is empty"),
        (lambda lines: lines.__delitem__(slice(3, None)), r"line 4: the file is cut short"),
        (lambda lines: lines.__delitem__(slice(1, None)), r"line 2: the file is cut short"),
        (lambda lines: lines.__setitem__(2, "10 10 20"), r"line 3: '10 10 20' is not a face's 10 whole numbers"),
        (lambda lines: lines.__setitem__(2, lines[2][:-6]), r"line 3: .* is not a face's 10 whole numbers"),
        (lambda lines: lines.__setitem__(1, "many"), r"line 2: 'many' is not a number of faces"),
        (lambda lines: lines.__setitem__(1, "-1"), r"line 2: -1 faces"),
        (lambda lines: lines.__setitem__(1, "2"), r"line 5: '.*' is not the path of an image"),
        (lambda lines: lines.__setitem__(0, "../secret.jpg"), r"line 1: '../secret.jpg' is not the path of an image"),
        (lambda lines: lines.__setitem__(-1, "1 2 3 4 0 0 0 0 0 0"), r"a face follows a number of 0 faces"),
        (lambda lines: lines.extend(lines[-3:]), r"line \d+: duplicate image .*nobody.jpg"),
        (lambda lines: lines.__delitem__(slice(-3, None)), r"has no labels of 1 images in .*nobody.jpg; use"),
        (lambda lines: lines.__setitem__(0, "0--Parade/gone.jpg"), r"has no labels of 1 images"),
        (lambda lines: lines.__setitem__(slice(0, 0), ["0--Parade/gone.jpg", "0", "0 0 0 0 0 0 0 0 0 0"]),
         r"gone.jpg, image 1: is not on disk"),
    ],
)  # fmt: skip
def test_wrong_labels_end_in_a_sentence(root: Path, change: Callable[[list[str]], Any], said: str) -> None:
    edit(root, change)
    with pytest.raises(AnonbenchError, match=said):
        read(root)


def test_labels_that_are_a_web_page_are_refused(root: Path) -> None:
    label_file(root, "train").write_text("<!DOCTYPE html>\n<html>sign in</html>\n")
    with pytest.raises(AnonbenchError, match=r"line 1: '<!DOCTYPE html>' is not the path of an image"):
        read(root)


@pytest.mark.parametrize("gone", ["WIDER_train", "wider_face_split"])
def test_missing_folders_are_named(root: Path, gone: str) -> None:
    (root / gone).rename(root / "elsewhere")
    with pytest.raises(AnonbenchError, match=rf"{gone}.*unpack the official archive again"):
        read(root)


@pytest.mark.parametrize(("data", "said"), [(b"", "is empty"), (b"<html>", "cannot be read as an image")])
def test_broken_images_are_named(root: Path, data: bytes, said: str) -> None:
    name = next(iter(read_labels(label_file(root, "train"))))
    (root / "WIDER_train" / "images" / name).write_bytes(data)
    with pytest.raises(AnonbenchError, match=rf"{name}, image 1: {said}"):
        read(root)


def test_names_repeat_between_folders_and_need_no_ascii(tmp_path: Path) -> None:
    (scene,) = scenes("names", 1, 0)
    names = ["0--Parade/défilé_行進.jpg", "12--Group/défilé_行進.jpg"]
    beyond = [[-5, 100, 50, 90, 0, 0, 0, 0, 0, 0]]
    for name in names:
        save(tmp_path / "WIDER_val" / "images" / name, scene.image)
    save_labels(tmp_path, "val", [(name, beyond) for name in names])
    split = read(tmp_path, "val")
    assert [image["file_name"] for image in split.images] == names
    assert [a["bbox"] for a in split.annotations] == [[-5, 100, 50, 90]] * 2
    assert [a["image_id"] for a in split.annotations] == [1, 2]
