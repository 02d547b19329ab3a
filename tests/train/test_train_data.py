"""Reading a variant: what is used, what is left out and counted, how it is mirrored and scaled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from train_tiny import HEIGHT, WIDTH, write_manifest, write_variant

from anonbench.errors import AnonbenchError
from anonbench.manifests import check_labels, shard_path, summary_path
from anonbench.records import KEYPOINTS
from anonbench.train.data import VariantSplit, input_size, load_image, load_target, mask_window


def edit(root: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    path = root / "annotations" / "train.json"
    coco = json.loads(path.read_text())
    change(coco)
    path.write_text(json.dumps(coco))
    return root


def test_crowds_and_empty_boxes_are_counted_not_used(tmp_path: Path) -> None:
    outside = {"id": 99, "image_id": 1, "category_id": 1, "bbox": [-20, 5, 20, 10], "iscrowd": 0}
    root = edit(write_variant(tmp_path), lambda coco: coco["annotations"].append(outside))
    variant = VariantSplit.read(root, "train")
    assert variant.counts == {"images": 5, "used": 8, "crowd": 1, "empty_box": 1}
    assert [len(sample.boxes) for sample in variant.samples] == [2, 0, 2, 2, 2]


def test_a_box_in_place_of_a_mask_is_no_mask(tmp_path: Path) -> None:
    root = edit(write_variant(tmp_path), lambda coco: coco["annotations"][0].update(mask_source="box"))
    edit(root, lambda coco: coco["annotations"][1].update(mask_source="source"))
    variant = VariantSplit.read(root, "train")
    target = load_target(variant.samples[0], (WIDTH, HEIGHT), masks=True)
    assert target["has_mask"].tolist() == [False, True]
    assert len(target["boxes"]) == 2
    assert (target["keypoints"][0, :, 2] == 2).all()
    assert variant.counts["used"] == 8


def test_a_category_named_person_is_of_people(tmp_path: Path) -> None:
    root = write_variant(tmp_path, categories=[{"id": 1, "name": "person"}, {"id": 3, "name": "car"}])
    assert [c.person for c in VariantSplit.read(root, "train").categories] == [True, False]


@pytest.mark.parametrize("upright", [True, False])
def test_a_rotated_photo_is_read_in_the_frame_of_its_labels(tmp_path: Path, upright: bool) -> None:
    root = write_variant(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(root / "train" / "001.png") as image:
        stored = np.asarray(image.convert("RGB"))
        image.save(root / "train" / "001.png", exif=exif)
    if upright:
        edit(root, lambda coco: coco["images"][0].update(width=HEIGHT, height=WIDTH))
    sample = VariantSplit.read(root, "train").samples[0]
    pixels = load_image(sample, (sample.width, sample.height)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels, np.rot90(stored, -1) if upright else stored)


def test_the_manifest_gives_the_digest_of_the_images(tmp_path: Path) -> None:
    root = write_variant(tmp_path / "v")
    assert VariantSplit.read(root, "train").images_digest is None
    digest = write_manifest(root)
    assert VariantSplit.read(root, "train").images_digest == digest


def test_images_that_are_not_those_of_the_manifest_are_refused(tmp_path: Path) -> None:
    root = write_variant(tmp_path / "v")
    write_manifest(root)
    path = root / "train" / "002.png"
    data = path.read_bytes()
    path.write_bytes(data + b"0")
    with pytest.raises(AnonbenchError, match=r"002\.png, image 0: was edited .*run the anonymize stage again"):
        VariantSplit.read(root, "train")
    path.unlink()
    with pytest.raises(AnonbenchError, match=r"002\.png: is missing"):
        VariantSplit.read(root, "train")
    path.write_bytes(data)
    (root / "train" / "x.png").write_bytes(data)
    with pytest.raises(AnonbenchError, match=r"x\.png: does not belong to the variant"):
        VariantSplit.read(root, "train")
    (root / "train" / "x.png").unlink()
    edit(root, lambda coco: coco["images"][1].update(file_name="x.png"))
    with pytest.raises(AnonbenchError, match=r"train\.json: is missing or was edited; run merge again"):
        VariantSplit.read(root, "train")
    shard_path(root, "train", 1).write_text("{}")
    with pytest.raises(AnonbenchError, match=r"1\.jsonl: is missing or not the manifest"):
        VariantSplit.read(root, "train")
    summary_path(root, "train").write_text("{}")
    with pytest.raises(AnonbenchError, match=r"train\.json: is not the manifest of a split"):
        VariantSplit.read(root, "train")


@pytest.mark.parametrize("clips", [False, True])
def test_an_image_of_which_a_bit_is_flipped_is_not_trained_on(tmp_path: Path, clips: bool) -> None:
    """Its size is right, and it may well be decoded: only its hash tells."""
    root = write_variant(tmp_path / "v")
    write_manifest(root)
    path = root / "train" / "002.png"
    with Image.open(path) as image:
        other = np.asarray(image) ^ 1
    size = path.stat().st_size
    Image.fromarray(other).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:size] if len(data) >= size else data.ljust(size, b"\0"))
    sample = VariantSplit.read(root, "train", clips=clips).samples[1]
    with pytest.raises(AnonbenchError, match=r"002\.png: was edited or damaged .*run the stage that wrote it again"):
        load_image(sample, (WIDTH, HEIGHT))


def test_labels_are_those_of_the_merge_or_nobody_s(tmp_path: Path) -> None:
    root = write_variant(tmp_path / "v")
    write_manifest(root)
    labels = root / "annotations" / "train.json"
    check_labels(labels)
    edit(root, lambda coco: coco["images"][0].update(license=7))
    with pytest.raises(AnonbenchError, match=r"train\.json: is missing or was edited; run merge again"):
        check_labels(labels)
    check_labels(labels.rename(tmp_path / "train.json"))


def test_sparse_categories_get_consecutive_labels(variant: Path) -> None:
    data = VariantSplit.read(variant, "train")
    assert [(c.id, c.person) for c in data.categories] == [(1, True), (3, False)]
    assert data.samples[0].labels.tolist() == [1, 2]


def test_images_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    root = write_variant(tmp_path)
    before = VariantSplit.read(root, "train")
    edit(root, lambda coco: (coco["images"].reverse(), coco["annotations"].reverse()))
    after = VariantSplit.read(root, "train")
    assert [s.id for s in after.samples] == [1, 2, 3, 4, 5]
    for a, b in zip(before.samples, after.samples, strict=True):
        np.testing.assert_array_equal(a.boxes, b.boxes)


def test_an_image_without_annotations_is_a_negative(variant: Path) -> None:
    target = load_target(VariantSplit.read(variant, "train").samples[1], (WIDTH, HEIGHT), masks=True)
    assert target["boxes"].shape == (0, 4)
    assert target["keypoints"].shape == (0, 17, 3)
    assert target["masks"].shape == (0, 1, 1)


def test_a_mirrored_image_has_mirrored_boxes_and_swapped_keypoints(variant: Path) -> None:
    sample = VariantSplit.read(variant, "train").samples[0]
    plain, mirrored = (load_target(sample, (WIDTH, HEIGHT), flip) for flip in (False, True))
    x0, y0, x1, y1 = plain["boxes"][0].tolist()
    assert mirrored["boxes"][0].tolist() == [WIDTH - x1, y0, WIDTH - x0, y1]
    left, right = KEYPOINTS.index("left_knee"), KEYPOINTS.index("right_knee")
    x, y, v = plain["keypoints"][0, left].tolist()
    assert mirrored["keypoints"][0, right].tolist() == pytest.approx([WIDTH - x, y, v])
    a, b = (load_image(sample, (WIDTH, HEIGHT), flip).numpy() for flip in (False, True))
    np.testing.assert_array_equal(a[:, :, ::-1], b)
    assert (a[:, 20, 10] == [200, 40, 40]).all(), "channels are red, green, blue"


@pytest.mark.parametrize("flip", [False, True])
def test_a_mask_window_stands_where_its_box_does(variant: Path, flip: bool) -> None:
    sample = VariantSplit.read(variant, "train").samples[0]
    target = load_target(sample, (2 * WIDTH, 2 * HEIGHT), flip, masks=True)
    assert target["has_mask"].all()
    assert target["mask_scale"].tolist() == [0.5, 0.5]
    for box, window, origin in zip(target["boxes"], target["masks"], target["mask_origin"], strict=True):
        ys, xs = np.nonzero(window.numpy())
        x0, y0 = origin.tolist()
        assert [xs.min() + x0, ys.min() + y0, xs.max() + 1 + x0, ys.max() + 1 + y0] == (box / 2).tolist()


def test_a_mask_window_has_the_pixels_that_pycocotools_decodes() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        polygons = [(rng.uniform(-10, 60, 2) + rng.uniform(0, 30, (7, 2))).ravel().tolist() for _ in range(2)]
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, 50, 70))
        full = coco_mask.decode(rle)
        uncompressed = {"size": [50, 70], "counts": _runs(full)}
        for segmentation in (polygons, rle, uncompressed):
            window, (x, y) = mask_window(segmentation, 70, 50)
            again = np.zeros((52 + 200, 72 + 200), np.uint8)
            again[y + 100 : y + 100 + window.shape[0], x + 100 : x + 100 + window.shape[1]] = window
            np.testing.assert_array_equal(again[100:150, 100:170], full)
            assert again.sum() == full.sum()


def _runs(mask: np.ndarray) -> list[int]:
    flat = np.concatenate([[0], mask.T.ravel()])
    ends = np.append(np.flatnonzero(np.diff(flat)), mask.size)
    return np.diff(ends, prepend=0).tolist()


def test_the_input_keeps_its_shape_within_the_limits() -> None:
    assert input_size(640, 480, 800, 1333) == (1067, 800)
    assert input_size(1000, 400, 800, 1333) == (1333, 533)


def test_a_missing_or_wrong_image_is_named(tmp_path: Path) -> None:
    root = write_variant(tmp_path)
    sample = VariantSplit.read(root, "train").samples[0]
    sample.path.unlink()
    with pytest.raises(AnonbenchError, match=r"001\.png"):
        load_image(sample, (WIDTH, HEIGHT))
    edit(root, lambda coco: coco["images"][2].update(width=50))
    with pytest.raises(AnonbenchError, match=r"003\.png.*is 96x64 pixels, but annotated as 50x64"):
        load_image(VariantSplit.read(root, "train").samples[2], (WIDTH, HEIGHT))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda coco: coco.pop("categories"), "not a COCO annotation file"),
        (lambda coco: coco.pop("annotations"), "not a COCO annotation file"),
        (lambda coco: coco["annotations"][0].update(id="one"), "not a COCO annotation file .*'str'"),
        (lambda coco: coco["annotations"][0].update(id=2**70), "not a COCO annotation file .*too large"),
        (lambda coco: coco["images"][0].update(id=2**70), "not a COCO annotation file .*too large"),
        (lambda coco: [image.update(id=str(image["id"])) for image in coco["images"]], "not a COCO .*'str'"),
        (lambda coco: [image.update(width="wide") for image in coco["images"]], "not a COCO .*'wide'"),
        (lambda coco: coco["categories"][0].update(id=2**70), "not a COCO annotation file .*too large"),
        (lambda coco: coco["categories"].append("person"), "not a COCO annotation file"),
        (lambda coco: coco["annotations"][1].update(category_id=9), "annotation 2.*unknown category 9"),
        (lambda coco: coco["annotations"][1].update(image_id=9), "annotation 2.*unknown image 9"),
        (lambda coco: coco["annotations"][0].update(keypoints=[1, 2, 3]), "annotation 1.*17 triples"),
        (lambda coco: coco["images"].append(coco["images"][0]), "same id"),
    ],
)
def test_a_wrong_annotation_file_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    root = edit(write_variant(tmp_path), change)
    with pytest.raises(AnonbenchError, match=message):
        VariantSplit.read(root, "train")


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"train\.json"):
        VariantSplit.read(tmp_path, "train")
