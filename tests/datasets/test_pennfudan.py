"""Penn-Fudan: masks by number, a division that is ours and repeats, and files that belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from anonbench.datasets.base import Split
from anonbench.datasets.pennfudan import PUBLISHED, PennFudan, read_boxes
from anonbench.errors import AnonbenchError
from tests.fixtures import HEIGHT, WIDTH, pennfudan

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")

NAME = "FudanPed00001"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pennfudan.write(tmp_path / "penn")
    return tmp_path / "penn"


def read(root: Path, split: str = "train", **options: Any) -> Split:
    return PennFudan({**pennfudan.OPTIONS, **options}).read(root, split)


def both(root: Path, **options: Any) -> list[set[str]]:
    return [{image["file_name"] for image in read(root, split, **options).images} for split in ("train", "val")]


def test_masks_boxes_and_text_agree(root: Path) -> None:
    base = root / "PennFudanPed"
    for split in map(lambda name: read(root, name), ("train", "val")):  # noqa: C417
        names = {image["id"]: Path(image["file_name"]).stem for image in split.images}
        for annotation in split.annotations:
            name, index = names[annotation["image_id"]], annotation["id"] % 1000
            values = cv2.imread(str(base / "PedMasks" / f"{name}_mask.png"), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(coco_mask.decode(annotation["segmentation"]), values == index)
            boxes = read_boxes(base / "Annotation" / f"{name}.txt", (WIDTH, HEIGHT))
            assert tuple(annotation["bbox"]) == boxes[index]


def test_the_division_repeats_and_follows_share_and_seed(root: Path) -> None:
    train, val = both(root)
    assert (len(train), len(val)) == (3, 3)
    assert not train & val
    assert both(root) == [train, val]
    assert {len(both(root, val_share=share)[1]) for share in (0.01, 0.99)} == {1, 5}
    assert len({frozenset(both(root, seed=seed)[0]) for seed in range(8)}) > 1
    ids = {image["file_name"]: image["id"] for image in read(root).images}
    again = {i["file_name"]: i["id"] for s in ("train", "val") for i in read(root, s, seed=5).images}
    assert ids.items() <= again.items()


def test_people_whom_the_paper_does_not_count_are_marked(root: Path) -> None:
    people = [a for split in ("train", "val") for a in read(root, split).annotations]
    (added,) = [a for a in people if a["subsets"] == []]
    assert all(a["subsets"] == [PUBLISHED] for a in people if a is not added)
    (root / "PennFudanPed" / "added-object-list.txt").unlink()
    assert not any("subsets" in a for a in read(root).annotations)


def test_an_image_of_nobody_and_a_name_outside_ascii_stay(root: Path) -> None:
    base = root / "PennFudanPed"
    cv2.imwrite(str(base / "PNGImages" / "x.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    cv2.imwrite(str(base / "PedMasks" / "x_mask.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    text = (base / "Annotation" / f"{NAME}.txt").read_text().splitlines()
    text[4] = "Objects with ground truth : 0 { }"
    (base / "Annotation" / "x.txt").write_text("\n".join(text[:6]))
    for folder, name in (("PNGImages", "{}.png"), ("PedMasks", "{}_mask.png"), ("Annotation", "{}.txt")):
        (base / folder / name.format("x")).rename(base / folder / name.format("ü"))
    images = [image for split in ("train", "val") for image in read(root, split).images]
    assert len(images) == 7
    assert "ü.png" in {image["file_name"] for image in images}


def _text(change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(base: Path) -> None:
        for file in (base / "Annotation").glob("*.txt"):
            file.write_text(change(file.read_text()))

    return apply


def _masks(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def apply(base: Path) -> None:
        for file in (base / "PedMasks").iterdir():
            cv2.imwrite(str(file), change(cv2.imread(str(file), cv2.IMREAD_UNCHANGED)))

    return apply


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_text(lambda text: ""), r"Annotation/\w+.txt: is empty"),
        (_text(lambda text: "<annotation></annotation>"), r"is not an annotation of Penn-Fudan"),
        (_text(lambda text: text[:700]), r"names \d pedestrians and has \d boxes"),
        (_text(lambda text: text.replace("192 x 144", "559 x 536")), r"is of an image of 559x536 pixels"),
        (_masks(lambda mask: np.where(mask == 1, 9, mask)), r"_mask.png: has the pedestrians \[2.*9\], .*txt has \[1"),
        (_masks(lambda mask: np.where(mask == 1, 0, mask)), r"_mask.png: has the pedestrians \[2"),
        (_masks(lambda mask: mask[:-9]), r"is not a mask of one channel and 192x144 pixels"),
        (_masks(lambda mask: np.dstack([mask] * 3)), r"is not a mask of one channel"),
        (lambda base: (base / f"PedMasks/{NAME}_mask.png").unlink(), rf"{NAME}_mask.png: no such file: image"),
        (lambda base: (base / f"Annotation/{NAME}.txt").unlink(), rf"no such file: image {NAME}.png has no annotation"),
        (lambda base: (base / f"PNGImages/{NAME}.png").unlink(), rf"{NAME}_mask.png: has no image"),
        (lambda base: [p.write_bytes(b"") for p in (base / "PedMasks").iterdir()], r"_mask.png: is empty"),
        (lambda base: [p.write_bytes(p.read_bytes()[:90]) for p in (base / "PedMasks").iterdir()], r"mask.png: cannot"),
        (lambda base: (base / "PedMasks").rename(base / "Masks"), r"PedMasks: is not a folder; unpack"),
        (lambda base: base.rename(base.with_name("Penn")), r"PennFudanPed: is not a folder"),
        (lambda base: (base / "added-object-list.txt").write_text("a b"), r"line 1: 'a b' is not a name and a number"),
    ],
)  # fmt: skip
def test_files_of_another_release_end_in_a_sentence(root: Path, change: Callable[[Path], Any], said: str) -> None:
    change(root / "PennFudanPed")
    with pytest.raises(AnonbenchError, match=said):
        read(root)


def test_one_image_cannot_be_divided(tmp_path: Path) -> None:
    for folder in ("PNGImages", "PedMasks", "Annotation"):
        (tmp_path / "PennFudanPed" / folder).mkdir(parents=True)
    with pytest.raises(AnonbenchError, match=r"PNGImages: has 0 images"):
        read(tmp_path)


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_a_share_that_leaves_a_split_empty_is_refused(share: float) -> None:
    with pytest.raises(AnonbenchError, match="val_share"):
        PennFudan({"val_share": share})
