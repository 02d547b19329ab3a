"""What `download` records of the files that it made: whoever reads them later believes no other bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anonbench.cli import app
from anonbench.datasets.record import hashes_of
from anonbench.download.fetch import download
from anonbench.errors import AnonbenchError
from tests.conftest import CocoFolder

OPTIONS = {"train": 2, "val": 1, "width": 128, "height": 96}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    download("streetlife", "streetlife", None, OPTIONS, ["train", "val"], tmp_path / "data")
    return tmp_path / "data"


def flip(path: Path) -> None:
    """Flip the last bit of a byte in the middle; the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def run(*words: object) -> None:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None:
        raise result.exception


def test_the_hashes_are_those_of_the_files(data: Path) -> None:
    assert hashes_of(data, "train") == {
        f"train/{name}": hashlib.sha256((data / "train" / name).read_bytes()).hexdigest()
        for name in ("000001.jpg", "000002.jpg")
    }
    (data / "train.listing.json").unlink()
    assert hashes_of(data, "train") == {}, "as of an earlier version"


@pytest.mark.parametrize("edit", ["{}", "[1]", '{"folder": "train", "files": {"000001.jpg": "0"}}', '{"files": 5}'])
def test_another_list_than_the_record_s_is_refused(data: Path, edit: str) -> None:
    (data / "train.listing.json").write_text(edit)
    with pytest.raises(AnonbenchError, match=r"train\.listing\.json: is not the list .*; run download again"):
        hashes_of(data, "train")


def test_a_flipped_bit_in_the_labels_is_found_by_annotate(data: Path, tmp_path: Path) -> None:
    labels = data / "annotations" / "train.json"
    value = json.loads(labels.read_text())
    value["annotations"][0]["bbox"][0] += 1
    labels.write_text(json.dumps(value))
    with pytest.raises(AnonbenchError, match=r"train\.json: was edited or damaged .*; run download again"):
        run("annotate", "--data", data, "--split", "train", "--out", tmp_path / "annotations")


def test_a_flipped_bit_in_an_image_is_found_by_whoever_reads_it(data: Path, tmp_path: Path) -> None:
    annotations = tmp_path / "annotations"
    run("annotate", "--data", data, "--split", "train", "--out", annotations)
    run("regions", "--annotations", annotations, "--split", "train")
    common = ["--data", data, "--annotations", annotations, "--split", "train"]
    flip(data / "train" / "000002.jpg")
    message = r"000002\.jpg: was edited or damaged .*; run the stage that wrote it again"
    for command in (
        ["detect", *common, "--detector", '{"plugin": "hog"}', "--out", tmp_path / "found.parquet"],
        ["anonymize", *common, "--variant", "original", "--out", tmp_path / "original"],
        ["anonymize", *common, "--variant", "body-mask_out", "--out", tmp_path / "body-mask_out"],
        ["fit", *common, "--region", "body", "--method", "gan", "--out", tmp_path / "fit",
         "--settings", '{"min_pixels": 8}', "--device", "cpu"],
    ):  # fmt: skip
        with pytest.raises(AnonbenchError, match=message):
            run(*command)
    assert not list(tmp_path.rglob("*.jsonl")), "no manifest tells of images that are believed"


def test_a_copy_of_the_user_s_own_is_theirs_to_edit(make_coco: Callable[..., CocoFolder], tmp_path: Path) -> None:
    folder, record = make_coco(), tmp_path / "record"
    download("mine", "coco", folder.root, {}, ["train"], record)
    folder.person()["bbox"][0] += 1
    folder.save("train")
    run("annotate", "--data", record, "--split", "train", "--out", tmp_path / "annotations")
    assert hashes_of(record, "train") == {}
