"""The gate: every image is looked at once, all bad ones are named at once, and skipping is on record."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anonbench import manifests, regions
from anonbench.annotate import cli
from anonbench.annotate.choose import choose
from anonbench.annotate.image_files import Gate, LabelsOn, OnBadImage
from anonbench.annotate.options import RegionsConfig
from anonbench.annotate.people import convert
from anonbench.anonymize.merge import merge
from anonbench.anonymize.shard import Shard
from anonbench.datasets.coco import Coco
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, write_json
from anonbench.train.data import VariantSplit, load_image
from anonbench.variants import Variant
from tests.conftest import CocoFolder

SKIP = Gate(on_bad_image=OnBadImage.SKIP)


@pytest.fixture
def folder(make_coco: Callable[..., CocoFolder]) -> CocoFolder:
    """Return eight images with a person in each but the last."""
    return make_coco(images=8)


def annotated(folder: CocoFolder, out: Path, gate: Gate = Gate()) -> dict[str, Any]:  # noqa: B008
    folder.save("train")
    return convert(Coco().read(folder.root, "train"), folder.root, out, "train", gate=gate)


def rows(out: Path) -> dict[int, dict[str, Any]]:
    table = regions.read(out / "train.images.parquet", regions.IMAGES).to_pylist()
    return {row["image_id"]: row for row in table}


def _png(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and has no such pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    parts = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
             for kind, body in chunks]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def spoil(folder: CocoFolder) -> dict[int, str]:
    """Spoil all images but the third and the last, each in another way; return what must be said of each."""
    images, entries = folder.root / "train", folder.json["train"]["images"]
    (images / "000001.jpg").unlink()
    data = (images / "000002.jpg").read_bytes()
    (images / "000002.jpg").write_bytes(data[: len(data) // 2])
    entries[3]["width"] += 1
    (images / "000005.jpg").unlink()
    (images / "000005.jpg").mkdir()
    entries[5]["file_name"] = "a\0.jpg"
    (images / "000007.jpg").write_bytes(_png(30_000, 30_000))
    return {
        1: "is not on disk", 2: "cut short|damaged|truncated|premature|decoded", 4: "annotated as 65x48",
        5: "is a folder", 6: "control character", 7: "30000x30000",
    }  # fmt: skip


def test_all_bad_images_are_named_at_once(folder: CocoFolder, tmp_path: Path) -> None:
    said = spoil(folder)
    with pytest.raises(AnonbenchError, match="6 of 8 images cannot be used") as error:
        annotated(folder, tmp_path / "out")
    text = str(error.value)
    assert "\n" not in text
    parts = re.split(r"(?=image \d)", text.split("cannot be used: ")[1])[1:]
    assert [int(part.split()[1]) for part in parts] == list(said)
    for part, expected in zip(parts, said.values(), strict=True):
        assert re.search(expected, part, re.IGNORECASE), part
    listed = pd.read_csv(tmp_path / "out" / "train.bad_images.csv")
    assert list(listed["image_id"]) == list(said)
    assert list(listed["people"]) == [1] * 6
    assert list(listed["annotations"]) == [2] * 6
    assert str(tmp_path / "out" / "train.bad_images.csv") in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"train.bad_images.csv"}


def test_the_message_is_short_and_the_list_is_complete(make_coco: Callable[..., CocoFolder], tmp_path: Path) -> None:
    folder = make_coco(images=30)
    for path in (folder.root / "train").iterdir():
        path.write_bytes(b"")
    with pytest.raises(AnonbenchError, match=r"30 of 30 .*image 20 \(000020.jpg\) is empty; and 10 more; ") as error:
        annotated(folder, tmp_path / "out")
    assert "image 21" not in str(error.value)
    assert len(pd.read_csv(tmp_path / "out" / "train.bad_images.csv")) == 30


def test_a_mended_split_leaves_no_list(folder: CocoFolder, tmp_path: Path) -> None:
    image = folder.root / "train" / "000001.jpg"
    data = image.read_bytes()
    image.write_bytes(b"")
    with pytest.raises(AnonbenchError, match=r"image 1 \(000001.jpg\): is empty"):
        annotated(folder, tmp_path / "out")
    image.write_bytes(data)
    annotated(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "train.bad_images.csv").exists()


def test_skipped_images_are_in_no_variant_and_on_record(
    folder: CocoFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, out = spoil(folder), tmp_path / "out"
    folder.save("train")
    record = {"adapter": "coco", "options": {}, "root": str(folder.root), "splits": {}, "dataset": "coco"}
    write_json(tmp_path / "data" / "download.json", record)
    cli.annotate(tmp_path / "data", "train", out, on_bad_image=OnBadImage.SKIP, threads=2)
    told = capsys.readouterr().out
    assert "train: 2 images, 3 annotations, 1 people" in told
    assert "6 of 8 images cannot be used and are skipped, with 12 annotations (6 people): image 1" in told
    assert list(rows(out)) == [3, 8]
    coco = read_json(out / "train.json")
    assert [image["id"] for image in coco["images"]] == [3, 8]
    assert {a["image_id"] for a in coco["annotations"]} == {3, 8}
    assert list(pd.read_csv(out / "train.bad_images.csv")["image_id"]) == list(said)
    choose(out, "train", RegionsConfig())
    ledger = pd.read_csv(out / "train.ledger.csv")
    skipped = ledger[ledger["status"] == "bad_image"]
    assert sorted(skipped["person_id"]) == sorted(2 * [10 * image_id for image_id in said])
    assert set(skipped.loc[skipped["image_id"] == 5, "note"]) == {"is a folder"}
    assert set(ledger["person_id"]) == {10 * image_id for image_id in range(1, 8)}
    for name in ("original", "body-mask_out"):
        variant, target = Variant.parse(name), tmp_path / name
        Shard(tmp_path / "data", out, target, "train", variant).run()
        summary = merge(out, "train", variant, 1, target, contents=True)
        assert summary["skipped"] == {"images": 6, "annotations": 12, "people": 6}
        assert set(manifests.files_under(target / "train")) == {"000003.jpg", "000008.jpg"}
        manifests.verify(target, "train")


def test_nothing_is_said_of_a_split_without_fault(folder: CocoFolder, tmp_path: Path) -> None:
    counts = annotated(folder, tmp_path / "out")
    assert counts["warnings"] == []
    assert regions.facts_of(tmp_path / "out" / "train.images.parquet") == {}
    assert {row["labels_on"] for row in rows(tmp_path / "out").values()} == {"upright"}
    assert "labels_on" not in (tmp_path / "out" / "train.json").read_text()


def test_skipping_everybody_is_no_split(folder: CocoFolder, tmp_path: Path) -> None:
    for image_id in range(1, 8):
        (folder.root / "train" / f"00000{image_id}.jpg").unlink()
    with pytest.raises(AnonbenchError, match="has no person in 1 images"):
        annotated(folder, tmp_path / "out", SKIP)


def test_threads_change_no_byte(folder: CocoFolder, tmp_path: Path) -> None:
    spoil(folder)
    annotated(folder, tmp_path / "one", SKIP)
    annotated(folder, tmp_path / "two", Gate(on_bad_image=OnBadImage.SKIP, threads=3))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


# --- names


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may have 108 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_fifo, "not a regular file"),
        (_socket, "not a regular file"),
        (Path.mkdir, "is a folder"),
        (lambda path: path.symlink_to("nothing"), "is not on disk"),
        (lambda path: path.symlink_to(path.name), "cannot be read"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to("."), "is a folder"),
        (lambda path: path.write_bytes(b"\xff\xd8\xff"), "decoded"),
        (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0"), "decoded"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "decoded"),
        (lambda path: path.write_bytes(b"GIF89a"), "decoded"),
        (lambda path: path.write_text("<html>not found</html>"), "decoded"),
        (lambda path: path.write_bytes(bytes(1000)), "decoded"),
    ],
)
def test_whatever_stands_in_the_place_of_an_image(
    folder: CocoFolder, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = folder.root / "train" / "000001.jpg"
    path.unlink()
    make(path)
    with pytest.raises(AnonbenchError, match=rf"image 1 \(000001.jpg\): .*{said}"):
        annotated(folder, tmp_path / "out")
    assert annotated(folder, tmp_path / "out", SKIP)["images"] == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(folder: CocoFolder, tmp_path: Path) -> None:
    (folder.root / "train" / "000001.jpg").chmod(0)
    with pytest.raises(AnonbenchError, match=r"image 1 \(000001.jpg\): cannot be read \(Permission denied\)"):
        annotated(folder, tmp_path / "out")


@pytest.mark.parametrize("name", ["./000001.jpg", ".//000001.jpg", "sub//a.jpg", "sub/./a.jpg"])
def test_names_are_normal_from_here_on(folder: CocoFolder, tmp_path: Path, name: str) -> None:
    images, form = folder.root / "train", os.path.normpath(name)
    (images / form).parent.mkdir(exist_ok=True)
    (images / "000001.jpg").rename(images / form)
    folder.json["train"]["images"][0]["file_name"] = name
    out = tmp_path / "out"
    annotated(folder, out)
    assert rows(out)[1]["file_name"] == form
    assert rows(out)[1]["path"] == f"train/{form}"
    assert read_json(out / "train.json")["images"][0]["file_name"] == form
    choose(out, "train", RegionsConfig())
    write_json(tmp_path / "data" / "download.json", {"dataset": "coco", "root": str(folder.root)})
    variant = Variant.parse("body-mask_out")
    Shard(tmp_path / "data", out, tmp_path / "v", "train", variant).run()
    merge(out, "train", variant, 1, tmp_path / "v", contents=True)
    assert (tmp_path / "v" / "train" / form).is_file()
    manifests.verify(tmp_path / "v", "train")


def test_two_entries_of_one_file_are_both_named(folder: CocoFolder, tmp_path: Path) -> None:
    folder.json["train"]["images"][1]["file_name"] = "sub/..//./000001.jpg".replace("sub/..//", "")
    with pytest.raises(AnonbenchError, match=r"image 2: .* of image 1 \('\./000001\.jpg' and '000001\.jpg'\)"):
        annotated(folder, tmp_path / "out", SKIP)


def test_an_image_that_is_the_folder_of_another(folder: CocoFolder, tmp_path: Path) -> None:
    images = folder.root / "train"
    (images / "000002.jpg").rename(images / "moved")
    (images / "000001.jpg").unlink()
    (images / "000001.jpg").mkdir()
    (images / "moved").rename(images / "000001.jpg" / "b.jpg")
    folder.json["train"]["images"][1]["file_name"] = "000001.jpg/b.jpg"
    with pytest.raises(AnonbenchError, match=r"image 1 \(000001\.jpg\): is a folder"):
        annotated(folder, tmp_path / "out")


def test_names_of_the_greatest_length_go_through_the_stage(folder: CocoFolder, tmp_path: Path) -> None:
    images, out = folder.root / "train", tmp_path / "out"
    for number, name in enumerate(["x" * 250 + ".jpg", "y" * 251 + ".jpg", "ü" * 125 + ".jpg"]):
        (images / f"00000{number + 1}.jpg").rename(images / name)
        folder.json["train"]["images"][number]["file_name"] = name
    annotated(folder, out)
    choose(out, "train", RegionsConfig())
    write_json(tmp_path / "data" / "download.json", {"dataset": "coco", "root": str(folder.root)})
    for text, link in (("body-mask_out", "copy"), ("original", "hardlink")):
        Shard(tmp_path / "data", out, tmp_path / text, "train", Variant.parse(text), link=link).run()
        merge(out, "train", Variant.parse(text), 1, tmp_path / text, contents=True)
        manifests.verify(tmp_path / text, "train")


def test_names_that_differ_in_case_are_told(folder: CocoFolder, tmp_path: Path) -> None:
    images = folder.root / "train"
    (images / "000001.jpg").rename(images / "a.jpg")
    (images / "000002.jpg").rename(images / "A.jpg")
    if len(list(images.iterdir())) < 8:
        pytest.skip("this file system takes them for one")
    folder.json["train"]["images"][0]["file_name"] = "a.jpg"
    folder.json["train"]["images"][1]["file_name"] = "A.jpg"
    warnings = annotated(folder, tmp_path / "out")["warnings"]
    assert len(warnings) == 1
    assert "'a.jpg' and 'A.jpg' differ only in case" in warnings[0]


def test_what_no_variant_could_hold_is_bad_at_once(folder: CocoFolder, tmp_path: Path) -> None:
    """Another format, and coded data that `anonymize` could not strip, are found here and not image by image there."""
    path = folder.root / "train" / "000001.jpg"
    Image.open(path).save(path, "WEBP")
    with pytest.raises(AnonbenchError, match=r"000001\.jpg\): is a WEBP image, and only JPEG and PNG are written"):
        annotated(folder, tmp_path / "out")
    restarted = folder.root / "train" / "000002.jpg"
    Image.open(restarted).save(restarted, "JPEG", restart_marker_blocks=1)
    data = restarted.read_bytes()
    marker = data.index(b"\xff\xd0", data.index(b"\xff\xda"))
    restarted.write_bytes(data[:marker] + 20 * b"hidden" + data[marker:])
    with pytest.raises(AnonbenchError, match=r"2 of \d+ images cannot be used: .*WEBP.*; image 2 .*belong to no pixel"):
        annotated(folder, tmp_path / "out")


# --- sizes


def test_a_limit_of_pixels(folder: CocoFolder, tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"8 of 8 .*64x48 = 3072 pixels, more than the limit of 3071"):
        annotated(folder, tmp_path / "out", Gate(max_pixels=3071))
    assert annotated(folder, tmp_path / "out", Gate(max_pixels=3072))["images"] == 8


# --- frames


def orient(path: Path, orientation: int) -> None:
    """Give a JPEG an EXIF orientation; the stored pixels stay to the byte."""
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])


@pytest.fixture(params=[2, 3, 4])
def oriented(request: pytest.FixtureRequest, folder: CocoFolder) -> tuple[CocoFolder, int]:
    """Give images 1 (with a person) and 8 (with nobody) an orientation that the sizes do not tell."""
    for name in ("000001.jpg", "000008.jpg"):
        orient(folder.root / "train" / name, request.param)
    return folder, request.param


def test_a_guess_is_told_and_on_record(oriented: tuple[CocoFolder, int], tmp_path: Path) -> None:
    folder, orientation = oriented
    out = tmp_path / "out"
    (warning,) = annotated(folder, out)["warnings"]
    assert "2 images have an EXIF orientation" in warning
    assert f"image 1 (000001.jpg), orientation {orientation}" in warning
    assert "check-frame" in warning
    assert "labels_on" in warning
    assert rows(out)[1]["labels_on"] == "upright"
    assert regions.facts_of(out / "train.images.parquet") == {"frame_guessed": 2}
    write_json(tmp_path / "data" / "download.json", {"dataset": "coco", "root": str(folder.root)})
    Shard(tmp_path / "data", out, tmp_path / "v", "train", Variant()).run()
    assert merge(out, "train", Variant(), 1, tmp_path / "v")["frame_guessed"] == 2


@pytest.mark.parametrize("frame", [LabelsOn.UPRIGHT, LabelsOn.STORED])
def test_whoever_says_the_frame_is_not_warned(
    oriented: tuple[CocoFolder, int], tmp_path: Path, frame: LabelsOn
) -> None:
    assert annotated(oriented[0], tmp_path / "out", Gate(labels_on=frame))["warnings"] == []
    assert rows(tmp_path / "out")[1]["labels_on"] == frame
    entry = read_json(tmp_path / "out" / "train.json")["images"][0]
    assert entry.get("labels_on") == ("stored" if frame is LabelsOn.STORED else None)
    folder = oriented[0]
    folder.json["train"]["images"][0]["labels_on"] = folder.json["train"]["images"][7]["labels_on"] = frame.value
    assert annotated(folder, tmp_path / "own")["warnings"] == []
    assert (tmp_path / "own" / "train.json").read_bytes() == (tmp_path / "out" / "train.json").read_bytes()
    folder.json["train"]["images"][0]["labels_on"] = "sideways"
    with pytest.raises(AnonbenchError, match=r"image 1 \(000001.jpg\): has labels_on 'sideways'"):
        annotated(folder, tmp_path / "wrong")


def test_sizes_decide_where_they_can(make_coco: Callable[..., CocoFolder], tmp_path: Path) -> None:
    folder = make_coco()
    for number, name in enumerate(("000001.jpg", "000002.jpg")):
        orient(folder.root / "train" / name, 6)
        if number:
            folder.json["train"]["images"][number].update(width=48, height=64)
    assert annotated(folder, tmp_path / "out")["warnings"] == []
    frames = {number: row["labels_on"] for number, row in rows(tmp_path / "out").items()}
    assert frames == {1: "stored", 2: "upright", 3: "upright"}
    with pytest.raises(AnonbenchError, match=r"image 1 \(000001.jpg\)"):
        annotated(folder, tmp_path / "out", Gate(labels_on=LabelsOn.UPRIGHT))
    with pytest.raises(AnonbenchError, match=r"image 2 \(000002.jpg\)"):
        annotated(folder, tmp_path / "out", Gate(labels_on=LabelsOn.STORED))


def test_square_images_that_lie_on_their_side(make_coco: Callable[..., CocoFolder], tmp_path: Path) -> None:
    folder = make_coco(size=(64, 64))
    orient(folder.root / "train" / "000001.jpg", 8)
    (warning,) = annotated(folder, tmp_path / "out")["warnings"]
    assert "image 1 (000001.jpg), orientation 8" in warning


@pytest.mark.parametrize("frame", [LabelsOn.UPRIGHT, LabelsOn.STORED])
def test_the_person_is_changed_where_the_labels_are(
    oriented: tuple[CocoFolder, int], tmp_path: Path, frame: LabelsOn
) -> None:
    """In the file that is written, as every reader shows it, and as training reads it: one truth."""
    folder, orientation = oriented
    images = folder.root / "train"
    stored = {name: cv2.imread(str(images / name), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
              for name in ("000001.jpg", "000008.jpg")}  # fmt: skip
    expected = {}
    for name, pixels in stored.items():
        if frame is LabelsOn.UPRIGHT:
            pixels = pixels[:, ::-1] if orientation in (2, 3) else pixels
            pixels = pixels[::-1] if orientation in (3, 4) else pixels
        expected[name] = pixels
    out, target = tmp_path / "out", tmp_path / "variant"
    annotated(folder, out, Gate(labels_on=frame))
    choose(out, "train", RegionsConfig())
    write_json(tmp_path / "data" / "download.json", {"dataset": "coco", "root": str(folder.root)})
    for text in ("body-mask_out", "original"):
        Shard(tmp_path / "data", out, tmp_path / text, "train", Variant.parse(text)).run()
        merge(out, "train", Variant.parse(text), 1, tmp_path / text, strict=True, contents=True)
        read = {sample.path.name: load_image(sample, (64, 48)).permute(1, 2, 0).numpy()
                for sample in VariantSplit.read(tmp_path / text, "train").samples}  # fmt: skip
        x, y, w, h = (int(v) for v in folder.person()["bbox"])
        changed = np.zeros((48, 64), bool)
        if text != "original":
            changed[y : y + h, x : x + w] = True
            inside = read["000001.jpg"][y + 2 : y + h - 2, x + 2 : x + w - 2].astype(int)
            assert np.abs(inside - 128).mean() < 4
        away = cv2.dilate(changed.astype(np.uint8), np.ones((17, 17), np.uint8)) == 0
        difference = np.abs(read["000001.jpg"].astype(int) - expected["000001.jpg"])[away]
        assert difference.mean() < (3 if text != "original" else 0.01)
        assert (read["000008.jpg"] == expected["000008.jpg"]).all()
    for name in ("000001.jpg", "000008.jpg"):  # what any viewer shows is what the labels are on
        tag = Image.open(target.with_name("body-mask_out") / "train" / name).getexif().get(0x0112, 1)
        assert tag == (orientation if frame is LabelsOn.UPRIGHT and name == "000008.jpg" else 1)


def test_settings_of_the_study_reach_the_command(tmp_path: Path) -> None:
    from anonbench.studies import DEFAULT
    from anonbench.workflow.plan import Plan

    study = json.loads(json.dumps(DEFAULT))
    plan = Plan(study, tmp_path)
    assert plan.arguments.gate("streetlife") == "--labels-on auto --on-bad-image fail --max-pixels 178956970"
    study["datasets"]["streetlife"] |= {"labels_on": "stored", "on_bad_image": "skip", "max_pixels": 5}
    assert Plan(study, tmp_path).arguments.gate("streetlife") == "--labels-on stored --on-bad-image skip --max-pixels 5"
    study["datasets"]["streetlife"] |= {"labels_on": "sideways"}
    with pytest.raises(AnonbenchError, match=r"datasets\.streetlife\.labels_on: .*'auto', 'upright' or 'stored'"):
        Plan(study, tmp_path)
