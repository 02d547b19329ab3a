"""The stage from files to files: manifests, shards, threads, reruns, refusals."""

from __future__ import annotations

import errno
import functools
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from typer.testing import CliRunner

from anonbench import files, images, manifests, names, regions
from anonbench.anonymize import cli
from anonbench.anonymize.labels import Labels
from anonbench.anonymize.merge import merge
from anonbench.anonymize.methods.mask_out import MaskOut
from anonbench.anonymize.shard import Shard
from anonbench.cli import app
from anonbench.crops import Crop
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file, write_json
from anonbench.records import ANONYMIZED, CONTROL, UNANNOTATED, Reason
from anonbench.variants import Variant

from .conftest import Dataset, photograph, runs

# pycocotools and NumPy 2 disagree about the keyword of a copy
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

ALL = ["original", "body-identity", "body-blur-medium", "body-pixelate-high", "face-mask_out"]
PHOTOS = Path(os.environ.get("ANONBENCH_PHOTOS", Path(__file__).parents[3] / "shared" / "data" / "coco-people"))


def hashes(out: Path, split: str = "train") -> dict[str, str]:
    return {name: sha256_file(out / split / name) for name in sorted(manifests.files_under(out / split))}


def table(dataset: Dataset, kind: str) -> list[dict[str, Any]]:
    return regions.read(
        dataset.annotations / f"{dataset.split}.{kind}.parquet", getattr(regions, kind.upper())
    ).to_pylist()


@pytest.mark.parametrize("variant", ALL)
def test_manifest_accounts_for_everyone(dataset: Dataset, variant: str) -> None:
    out = dataset.run(variant)
    rows = list(manifests.rows_of(out, "train"))
    found = [row for row in rows if row["type"] == "image"]
    assert [row["image_id"] for row in found] == list(range(1, 9))
    for row in found:
        assert row["sha256"] == sha256_file(out / "train" / row["file_name"])
        source = dataset.data / "raw" / row["file_name"]
        assert row["source_sha256"] == sha256_file(source)
        if row["action"] == "copied":
            assert row["sha256"] == row["source_sha256"]
    people = [row for row in rows if row["type"] == "person"]
    kind = Variant.parse(variant).region
    expected = [row for row in table(dataset, "regions") if row["kind"] == kind]
    assert {(r["image_id"], r["person_id"]) for r in people} == {(r["image_id"], r["person_id"]) for r in expected}
    by_id = {row["person_id"]: row for row in expected}
    for row in people:
        before = by_id[row["person_id"]]
        changed = CONTROL if variant == "body-identity" else ANONYMIZED
        assert row["status"] == (changed if before["status"] == regions.REGION else before["status"])
    summary = read_json(manifests.summary_path(out, "train"))
    assert sum(summary["images"].values()) == 8
    assert summary["people"]["total"] == (19 if variant == "original" else len(people))
    share = {"original": 0, "body-identity": 0, "face-mask_out": 1}.get(variant, 12 / 19)
    assert summary["share_changed"] == share
    if variant == "body-blur-medium":
        assert summary["images"] == {"encoded": 6, "copied": 1, "stripped": 1}
        person = {"people": 19, "anonymized": 12, "reasons": {"crowd": 1, "invalid_geometry": 6}}
        assert summary["people"]["by_category"] == {"person": person}
        assert {row["encoder"] for row in found} == {"jpeg source q88 4:2:0", "png", None}
    labels = read_json(out / "annotations" / "train.json")
    expected = {"id", "file_name", "width", "height"}
    assert [(set(image), image["id"]) for image in labels["images"]] == [(expected, i) for i in range(1, 9)]
    manifests.verify(out, "train")


@pytest.mark.parametrize("link", ["copy", "reflink", "hardlink"])
def test_original_is_byte_for_byte(dataset: Dataset, link: str) -> None:
    out = dataset.run("original", link=link)
    for row in table(dataset, "images"):
        source, target = dataset.data / row["path"], out / "train" / row["file_name"]
        before = source.read_bytes()
        assert target.read_bytes() == before
        assert target.samefile(source) == (link == "hardlink")
        if link != "hardlink":
            with open(target, "ab") as stream:
                stream.write(b"more")
            assert source.read_bytes() == before


@pytest.mark.parametrize("how", ["root", "symlink"])
def test_images_that_somebody_else_owns_are_never_hard_links(dataset: Dataset, tmp_path: Path, how: str) -> None:
    """A data set's root may be a folder of the user's own: nothing that is done to a variant may reach it."""
    theirs = tmp_path / "theirs"
    (dataset.data / "raw").rename(theirs)
    if how == "root":
        write_json(dataset.data / "download.json", {"dataset": "small", "root": str(theirs)})
        rows = [{**row, "path": row["path"].removeprefix("raw/")} for row in table(dataset, "images")]
        regions.write(dataset.annotations / "train.images.parquet", rows, regions.IMAGES)
    else:
        (dataset.data / "raw").symlink_to(theirs)
    out = dataset.run("original", link="hardlink")
    for row in table(dataset, "images"):
        source, target = theirs / row["file_name"], out / "train" / row["file_name"]
        assert target.read_bytes() == source.read_bytes()
        assert not target.samefile(source)


@pytest.mark.parametrize("link", ["copy", "reflink", "hardlink"])
def test_hard_links_are_warned_of(dataset: Dataset, tmp_path: Path, link: str) -> None:
    words = ["anonymize", "--data", dataset.data, "--annotations", dataset.annotations, "--split", "train"]
    words += ["--variant", "original", "--out", tmp_path / "out", "--link", link]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    warned = "whatever is written to one is written to the other" in done.stderr
    assert warned == (link == "hardlink")


def test_pixels_outside_the_masks_of_a_png_are_the_source(dataset: Dataset) -> None:
    out = dataset.run("body-mask_out")
    before = images.read_rgb(dataset.data / "raw" / "deep" / "3.png")
    after = images.read_rgb(out / "train" / "deep" / "3.png")
    mask = np.zeros(before.shape[:2], bool)
    for row in table(dataset, "regions"):
        if row["image_id"] == 3 and row["kind"] == "body" and row["status"] == regions.REGION:
            one = regions.to_region(row, before.shape[0])
            x0, y0, x1, y1 = one.box
            mask[y0:y1, x0:x1] |= one.mask
    assert (after[mask] == 128).all()
    assert (after[~mask] == before[~mask]).all()
    identity = dataset.run("body-identity")
    assert (images.read_rgb(identity / "train" / "deep" / "3.png") == before).all()


def test_people_free_images_lose_their_metadata(dataset: Dataset) -> None:
    out = dataset.run("body-blur-low")
    assert (out / "train" / "7.jpg").read_bytes() == (dataset.data / "raw" / "7.jpg").read_bytes()
    source = dataset.data / "raw" / "8.jpg"
    assert b"comment" not in (out / "train" / "8.jpg").read_bytes()
    assert (images.read_rgb(out / "train" / "8.jpg") == images.read_rgb(source)).all()


@pytest.mark.parametrize("variant", ["body-blur-medium", "face-pixelate-low"])
def test_threads_and_shards_change_no_byte(dataset: Dataset, tmp_path: Path, variant: str) -> None:
    one = dataset.run(variant, tmp_path / "one")
    two = dataset.run(variant, tmp_path / "two", threads=2)
    three = dataset.run(variant, tmp_path / "three", shards=3)
    assert hashes(one) == hashes(two) == hashes(three)
    for path in (manifests.summary_path, lambda out, split: manifests.shard_path(out, split, 0)):
        assert path(one, "train").read_bytes() == path(two, "train").read_bytes()
    summaries = [read_json(manifests.summary_path(out, "train")) for out in (one, three)]
    assert len(summaries[1].pop("shards")) == 3
    assert summaries[0].pop("shards")
    assert summaries[0] == summaries[1]


KILLED = """
import os, signal, sys
from pathlib import Path
from anonbench import files
from anonbench.anonymize import shard
from anonbench.variants import Variant
written, real = 0, shard.write_bytes
def count(path, data):
    global written
    written += 1
    if written == 4:
        path = Path(path)
        path.with_name(f".{path.name}.{files._HOST}-00000000.4999999.0.part").write_bytes(data[:100])
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, data)
shard.write_bytes = count
data, annotations, out = map(Path, sys.argv[1:])
shard.Shard(data, annotations, out, "train", Variant.parse("body-blur-medium")).run()
"""


def test_killed_and_run_again(dataset: Dataset, tmp_path: Path) -> None:
    whole = dataset.run("body-blur-medium", tmp_path / "whole")
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(dataset.data), str(dataset.annotations), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert 3 <= len(hashes(out)) < 8
    with pytest.raises(AnonbenchError, match="no such manifest"):
        merge(dataset.annotations, "train", Variant.parse("body-blur-medium"), 1, out)
    dataset.run("body-blur-medium", out)
    assert hashes(out) == hashes(whole)
    again, first = (manifests.summary_path(folder, "train").read_bytes() for folder in (out, whole))
    assert again == first


def test_an_old_manifest_does_not_outlive_a_failed_rerun(dataset: Dataset) -> None:
    out = dataset.run("body-mask_out")
    (dataset.data / "raw" / "5.jpg").write_bytes(b"no image")
    with pytest.raises(AnonbenchError, match=r"5\.jpg"):
        dataset.run("body-mask_out", parameters={"value": 3})
    with pytest.raises(AnonbenchError, match="no such manifest"):
        merge(dataset.annotations, "train", Variant.parse("body-mask_out"), 1, out)


def without_image(dataset: Dataset, image_id: int) -> None:
    """Take an image out of the annotations."""
    for kind in ("images", "regions", "people"):
        rows = [row for row in table(dataset, kind) if row["image_id"] != image_id]
        regions.write(dataset.annotations / f"train.{kind}.parquet", rows, getattr(regions, kind.upper()))


def test_merge_ends_without_freeing_what_is_not_its_own(dataset: Dataset) -> None:
    """Python's own checks of memory see it at the very end, where a crash would come once in a while."""
    labels = read_json(dataset.annotations / "train.json")
    labels["categories"] = [{"id": 1, "name": "person"}]
    mask = {"size": [120, 168], "counts": "0b2"}
    labels["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": mask}]
    write_json(dataset.annotations / "train.json", labels)
    shard = dataset.shard("body-mask_out")
    shard.run()
    words = ["merge", "--split", "train", "--variant", "body-mask_out", "--annotations", str(dataset.annotations)]
    done = subprocess.run(
        [sys.executable, "-m", "anonbench", *words, "--out", str(shard.out)],
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (kept,) = read_json(shard.out / "annotations" / "train.json")["annotations"]
    assert kept["segmentation"] == mask


@pytest.mark.parametrize(
    ("counts", "kept"), [("0b2oO", True), ("", True), ([3, 4], True), ("0b2\n", False), ("pq", False)]
)
def test_run_lengths_are_kept_in_pycocotools_own_letters_or_as_numbers(
    dataset: Dataset, counts: Any, kept: bool
) -> None:
    labels = read_json(dataset.annotations / "train.json")
    labels["categories"] = [{"id": 1, "name": "person"}]
    mask = {"size": [120, 168], "counts": counts}
    labels["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": mask}]
    write_json(dataset.annotations / "train.json", labels)
    (entry,) = Labels(dataset.annotations / "train.json").annotations()
    assert ("segmentation" in entry) == kept


def test_merge_removes_what_an_earlier_run_left(dataset: Dataset) -> None:
    out = dataset.run("face-mask_out", shards=3)
    (out / "train" / f".1.jpg.{files._HOST}-00000000.4999999.3.part").write_bytes(b"half")
    for image_id in (3, 5):
        without_image(dataset, image_id)
    dataset.run("face-mask_out", shards=2)
    assert set(hashes(out)) == {f"{image_id}.jpg" for image_id in (1, 2, 4, 6, 7, 8)}
    assert not (out / "train" / "deep").exists()
    assert {path.name for path in manifests.shard_path(out, "train", 0).parent.iterdir()} == {
        "begun",
        "0.jsonl",
        "1.jsonl",
    }
    manifests.verify(out, "train")


def test_merge_leaves_what_somebody_may_be_writing_and_nobody_counts_it(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Process 1 is always there; of another machine's nobody can tell until the file is old."""
    out = dataset.run("face-mask_out")
    here, there = (f".9.jpg.{host}-00000000.1.0.part" for host in (files._HOST, "01234567"))
    for name in (here, there):
        (out / "train" / name).write_bytes(b"half")
    merged = functools.partial(merge, dataset.annotations, "train", Variant.parse("face-mask_out"), 1, out)
    merged()
    assert {here, there} < {path.name for path in (out / "train").iterdir()}
    manifests.verify(out, "train")
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 7 * 3600)
    merged()
    assert {path.name for path in (out / "train").iterdir() if path.name.startswith(".")} == {here}


def test_merge_removes_nothing_that_no_run_wrote(dataset: Dataset) -> None:
    out = dataset.run("face-mask_out")
    (out / "train" / "old").mkdir()
    mine = [out / "train" / "old" / "notes.txt", out / "train" / "z.jpg"]
    for path in mine:
        path.write_bytes(b"mine")
    notes = manifests.shard_path(out, "train", 0).with_name("notes.txt")
    notes.write_text("mine too")
    without_image(dataset, 5)
    said = r"old/notes\.txt: does not belong to the variant \(and 1 other files\).*; move it away, or remove"
    with pytest.raises(AnonbenchError, match=said):
        dataset.run("face-mask_out")
    assert [path.read_bytes() for path in mine] == [b"mine"] * 2
    assert (out / "train" / "5.jpg").exists(), "nothing goes before all is known"
    for path in mine:
        path.unlink()
    dataset.run("face-mask_out")
    assert not (out / "train" / "5.jpg").exists()
    assert (out / "train" / "old").is_dir()
    assert notes.read_text() == "mine too"


def test_an_image_that_was_edited_since_is_not_removed(dataset: Dataset) -> None:
    out = dataset.run("face-mask_out")
    (out / "train" / "5.jpg").write_bytes(b"edited by hand")
    without_image(dataset, 5)
    with pytest.raises(AnonbenchError, match=r"train/5\.jpg: does not belong to the variant, and no earlier merge"):
        dataset.run("face-mask_out")
    assert (out / "train" / "5.jpg").read_bytes() == b"edited by hand"


def test_a_folder_of_somebody_s_images_is_not_written_to(dataset: Dataset) -> None:
    out = dataset.folder / "photographs"
    (out / "train").mkdir(parents=True)
    (out / "train" / "1.jpg").write_bytes(b"holiday")
    with pytest.raises(AnonbenchError, match="photographs/train: contains files that this stage did not write"):
        dataset.run("body-mask_out", out)
    manifests.shard_path(out, "train", 0).parent.mkdir(parents=True, exist_ok=True)  # Snakemake does so before a job
    with pytest.raises(AnonbenchError, match="photographs/train: contains files that this stage did not write"):
        dataset.run("body-mask_out", out)
    assert (out / "train" / "1.jpg").read_bytes() == b"holiday"


def test_images_of_a_run_that_strict_stopped_are_ours_all_the_same(dataset: Dataset) -> None:
    """Its remedy, to take the images out, must lead on and not into another refusal."""
    with pytest.raises(AnonbenchError, match="strict"):
        dataset.run("body-mask_out", strict=True)
    without_image(dataset, 5)
    out = dataset.run("body-mask_out")
    assert not (out / "train" / "5.jpg").exists()


def test_a_file_system_that_takes_two_names_for_one(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(dataset, "images")
    source = dataset.data / "raw"
    (source / "1.jpg").rename(source / "a.jpg")
    (source / "2.jpg").rename(source / "A.jpg")
    rows[0].update(file_name="a.jpg", path="raw/a.jpg")
    rows[1].update(file_name="A.jpg", path="raw/A.jpg")
    regions.write(dataset.annotations / "train.images.parquet", rows, regions.IMAGES)
    monkeypatch.setattr(names, "are_one", lambda folder: True)
    with pytest.raises(AnonbenchError, match=r"takes 'a\.jpg' and 'A\.jpg' for one file"):
        dataset.run("original")
    monkeypatch.undo()
    if not names.are_one(dataset.folder):
        assert {"a.jpg", "A.jpg"} <= set(hashes(dataset.run("original")))


def test_the_listing_is_what_sha256sum_checks(dataset: Dataset) -> None:
    out = dataset.run("body-mask_out")
    listing = manifests.listing_path(out, "train")
    assert sha256_file(listing) == manifests.summary_of(out, "train")["digest"]
    done = subprocess.run(["sha256sum", "-c", str(listing)], cwd=out / "train", check=False, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.count(b": OK") == 8


def test_verify_names_what_is_wrong(dataset: Dataset) -> None:
    out = dataset.run("body-mask_out")
    image = out / "train" / "2.jpg"
    data = image.read_bytes()
    image.write_bytes(data[:-1] + b"\0")
    manifests.verify(out, "train", contents=False)
    with pytest.raises(AnonbenchError, match=r"2\.jpg, image 2: was edited"):
        manifests.verify(out, "train")
    with pytest.raises(AnonbenchError, match="was edited"):
        merge(dataset.annotations, "train", Variant.parse("body-mask_out"), 1, out, contents=True)
    image.unlink()
    with pytest.raises(AnonbenchError, match=r"2\.jpg: is missing"):
        manifests.verify(out, "train")
    with pytest.raises(AnonbenchError, match=r"2\.jpg, image 2: is missing"):
        merge(dataset.annotations, "train", Variant.parse("body-mask_out"), 1, out)
    image.write_bytes(data)
    (out / "train" / "more.jpg").write_bytes(data)
    with pytest.raises(AnonbenchError, match=r"more\.jpg: does not belong"):
        manifests.verify(out, "train")
    (out / "train" / "more.jpg").unlink()
    manifests.verify(out, "train")
    (out / "annotations" / "train.json").write_text("{}")
    with pytest.raises(AnonbenchError, match="was edited"):
        manifests.verify(out, "train")
    path = manifests.shard_path(out, "train", 0)
    path.write_text(path.read_text().replace("anonymized", "crowd"))
    with pytest.raises(AnonbenchError, match="not the manifest that the split was merged from"):
        manifests.verify(out, "train")


def test_shards_of_different_runs_are_not_joined(dataset: Dataset) -> None:
    dataset.shard("body-mask_out", shard=0, shards=2).run()
    dataset.shard("body-mask_out", shard=1, shards=2, seed=1).run()
    out = dataset.shard("body-mask_out").out
    with pytest.raises(AnonbenchError, match=r"1\.jsonl: has seed 1 instead of 0"):
        merge(dataset.annotations, "train", Variant.parse("body-mask_out"), 2, out)
    with pytest.raises(AnonbenchError, match="has shards 2 instead of 1"):
        merge(dataset.annotations, "train", Variant.parse("body-mask_out"), 1, out)


def test_the_manifest_holds_what_a_method_says_of_itself(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MaskOut, "describe", lambda self: {"weights_sha256": "a" * 64})
    out = dataset.run("body-mask_out")
    assert manifests.read_rows(manifests.shard_path(out, "train", 0))[0]["weights_sha256"] == "a" * 64
    assert manifests.summary_of(out, "train")["weights_sha256"] == "a" * 64
    dataset.shard("body-mask_out", shard=0, shards=2).run()
    monkeypatch.setattr(MaskOut, "describe", lambda self: {})
    dataset.shard("body-mask_out", shard=1, shards=2).run()
    with pytest.raises(AnonbenchError, match=r"1\.jsonl: has weights_sha256 None instead of 'aaa"):
        merge(dataset.annotations, "train", Variant.parse("body-mask_out"), 2, out)


@pytest.mark.parametrize(("brief", "most"), [(True, 1), (False, 2)])
def test_threads_take_turns_at_a_method_of_short_calls(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, brief: bool, most: int
) -> None:
    inside, seen, lock = [], set(), threading.Lock()
    together = threading.Event()

    def change(self: MaskOut, crop: Crop) -> np.ndarray:
        with lock:
            inside.append(crop)
            seen.add(len(inside))
            if len(inside) == 2:
                together.set()
        together.wait(0.2)
        with lock:
            inside.pop()
        return np.full_like(crop.pixels, 128)

    monkeypatch.setattr(MaskOut, "change", change)
    monkeypatch.setattr(MaskOut, "brief", brief)
    dataset.run("body-mask_out", threads=2)
    assert max(seen) == most


def test_seconds_and_memory_go_to_a_file_of_their_own(dataset: Dataset) -> None:
    plain, timed = dataset.run("body-mask_out"), dataset.folder / "timed"
    assert dataset.run("body-mask_out", timed, timing=dataset.folder / "timing.json") == timed
    timing = read_json(dataset.folder / "timing.json")
    rows = list(manifests.rows_of(timed, "train"))
    assert timing["encoded"] == sum(row.get("action") == "encoded" for row in rows) > 0
    assert timing["people"] == sum(row.get("box") is not None for row in rows) > 0
    assert timing["images"] == sum(row["type"] == "image" for row in rows)
    assert timing["seconds"] >= timing["seconds_per_encoded_image"] > 0
    assert timing["peak_memory_mib"] > 10
    assert manifests.summary_of(timed, "train") == manifests.summary_of(plain, "train")


def test_merge_sees_changed_annotations(dataset: Dataset) -> None:
    out = dataset.run("body-mask_out")
    rows = table(dataset, "images")
    regions.write(dataset.annotations / "train.images.parquet", rows[:-1], regions.IMAGES)
    with pytest.raises(AnonbenchError, match="appears 1 times in the manifests"):
        merge(dataset.annotations, "train", Variant.parse("body-mask_out"), 1, out)


def test_strict(dataset: Dataset) -> None:
    dataset.run("face-mask_out", strict=True)
    for control in ("original", "body-identity"):
        dataset.run(control, strict=True)
    with pytest.raises(
        AnonbenchError, match=r"strict: 7 of 19 people are left visible: 12 in image 1 \(invalid_geometry\)"
    ):
        dataset.run("body-mask_out", strict=True)


def test_strict_does_not_take_a_guess_of_the_frame(dataset: Dataset) -> None:
    path = dataset.annotations / "train.images.parquet"
    regions.write(path, table(dataset, "images"), regions.IMAGES, {"frame_guessed": 3})
    dataset.run("face-mask_out")
    with pytest.raises(AnonbenchError, match=r"strict: labels of 3 images .* run anonbench check-frame"):
        dataset.run("face-mask_out", strict=True)


def test_detections_of_nobody_are_counted_apart_and_strict_tells_of_them(dataset: Dataset) -> None:
    rows = table(dataset, "images")
    people = [row for row in table(dataset, "regions") if row["status"] == regions.REGION]
    share = manifests.summary_of(dataset.run("face-mask_out"), "train")["share_changed"]
    nobody = {"image_id": 1, "category": UNANNOTATED, "kind": "face", "area": 80.0}
    people.append({**nobody, "person_id": -1, "status": Reason.LEFT_UNANNOTATED.value})
    seen = {"status": regions.REGION, "source": UNANNOTATED, "x0": 120, "y0": 2, "x1": 130, "y1": 12}
    people.append({**nobody, **seen, "person_id": -2, "subject": [120.0, 2.0, 10.0, 10.0]})
    dataset.write(rows, people)
    summary = manifests.summary_of(dataset.run("face-mask_out"), "train")
    assert summary["people"]["unannotated"] == {"people": 2, "anonymized": 1, "reasons": {"left_unannotated": 1}}
    assert UNANNOTATED not in summary["people"]["by_category"]
    assert summary["share_changed"] == share
    said = r"-1 in image 1 \(left_unannotated\); 1 of them were detected .* set regions\.unannotated to true"
    with pytest.raises(AnonbenchError, match=said):
        dataset.run("face-mask_out", strict=True)


def test_full_disk_is_one_sentence(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(AnonbenchError, match=r"No space left on device.*free some space") as error:
        dataset.shard("body-blur-medium", threads=2).run()
    assert "\n" not in str(error.value)
    assert not manifests.shard_path(dataset.shard("body-blur-medium").out, "train", 0).exists()


def test_names_that_stand_twice_or_lead_outside_are_refused(dataset: Dataset) -> None:
    rows = table(dataset, "images")
    for name, message in (
        ("1.jpg", r"image 2: has the file name of image 1 \(1\.jpg\)"),
        ("../2.jpg", "image 2: has the"),
        ("./2.jpg", r"image 2: has the file name './2\.jpg' instead of '2\.jpg'; run annotate again"),
        ("a//2.jpg", "image 2: has the file name 'a//2.jpg' instead of 'a/2.jpg'"),
        ("a\0.jpg", "image 2: has the file name .* control character"),
    ):
        rows[1]["file_name"] = name
        regions.write(dataset.annotations / "train.images.parquet", rows, regions.IMAGES)
        with pytest.raises(AnonbenchError, match=message):
            dataset.run("original")


def test_originals_are_never_the_target(dataset: Dataset) -> None:
    for out in (dataset.data, dataset.data / "raw", dataset.folder):
        one = Shard(dataset.data, dataset.annotations, out, "data", Variant.parse("original"))
        with pytest.raises(AnonbenchError, match="overlaps the original data"):
            one.run()


def test_wrong_sizes_and_formats_are_named(dataset: Dataset) -> None:
    path = dataset.data / "raw" / "1.jpg"
    jpeg = path.read_bytes()
    cv2.imwrite(str(path), photograph(50, 60))
    with pytest.raises(AnonbenchError, match=r"1\.jpg: is 50x60 pixels, but annotated as 168x120"):
        dataset.run("body-blur-low")
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(buffer, "WEBP")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(AnonbenchError, match=r"1\.jpg: is a WEBP image"):
        dataset.run("body-blur-low")
    dataset.run("original")


def test_commands(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    out = dataset.folder / "variant"
    common = {"annotations": dataset.annotations, "split": "train", "variant": "face-blur-high", "out": out}
    cli.anonymize(data=dataset.data, parameters='{"sigma": 9}', **common)
    cli.merge(**common, verify=True)
    assert "person: 6 of 6 anonymized" in capsys.readouterr().out
    assert read_json(manifests.summary_path(out, "train"))["parameters"] == {"sigma": 9.0, "kernel": 41}
    with pytest.raises(AnonbenchError, match="--parameters: is not valid JSON"):
        cli.anonymize(data=dataset.data, parameters="{", **common)
    with pytest.raises(AnonbenchError, match="no shard 1 of 1"):
        cli.anonymize(data=dataset.data, shard=1, **common)


def test_summary_digest_is_that_of_sha256sum(dataset: Dataset) -> None:
    out = dataset.run("body-mask_out")
    command = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    listed = subprocess.run(command, shell=True, cwd=out / "train", capture_output=True, text=True, check=True)
    assert listed.stdout.split()[0] == read_json(manifests.summary_path(out, "train"))["digest"]


def test_an_empty_shard(dataset: Dataset) -> None:
    rows = table(dataset, "images")
    out = dataset.run("body-mask_out", shards=16)
    counts = [len(manifests.read_rows(manifests.shard_path(out, "train", shard))) for shard in range(16)]
    assert 1 in counts
    assert sum(counts) == 16 + len(rows) + 19


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_masks_in_the_box_are_coco_s(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    kind = data.draw(st.sampled_from(["noise", "polygon", "full", "empty"]))
    if kind == "polygon":
        points = data.draw(st.lists(st.floats(-5, 45), min_size=6, max_size=20))
        rle = coco_mask.merge(coco_mask.frPyObjects([points[: len(points) // 2 * 2]], height, width))
        full = coco_mask.decode(rle).astype(bool)
        lengths = regions.runs_of(rle["counts"])
    else:
        noise = np.random.default_rng(data.draw(st.integers(0, 1000))).random((height, width))
        full = noise < {"noise": 0.4, "full": 2.0, "empty": -1.0}[kind]
        lengths = runs(full)
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    assert (regions.decode(lengths, height, (x0, y0, x1, y1)) == full[y0:y1, x0:x1]).all()


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"no photographs in {PHOTOS}")
def test_photographs(tmp_path: Path) -> None:
    """Every mask is COCO's to the pixel, and the background of every photograph survives the codec."""
    from anonbench.annotate.choose import choose
    from anonbench.annotate.options import RegionsConfig
    from anonbench.annotate.people import convert
    from anonbench.datasets.coco import Coco

    split = "val2017"
    small = Dataset(tmp_path, split)
    convert(Coco({}).read(PHOTOS, split), PHOTOS, small.annotations, split)
    choose(small.annotations, split, RegionsConfig())
    write_json(small.data / "download.json", {"dataset": "photographs", "root": str(PHOTOS.resolve())})
    original = json.loads((PHOTOS / "annotations" / f"instances_{split}.json").read_text())
    coco = COCO()
    coco.dataset = original
    coco.createIndex()
    rows = table(small, "images")
    bodies = [row for row in table(small, "regions") if row["kind"] == "body" and row["status"] == regions.REGION]
    heights = {row["image_id"]: row["height"] for row in rows}
    covered = {row["image_id"]: np.zeros((row["height"], row["width"]), bool) for row in rows}
    assert len(bodies) > 200
    for row in bodies:
        one = regions.to_region(row, heights[row["image_id"]])
        x0, y0, x1, y1 = one.box
        full = np.zeros_like(covered[row["image_id"]])
        full[y0:y1, x0:x1] = one.mask
        assert (full == coco.annToMask(coco.anns[row["person_id"]]).astype(bool)).all()
        covered[row["image_id"]] |= full
    out = small.run("body-mask_out", threads=2)
    for row in rows:
        before = images.read_rgb(PHOTOS / row["path"]).astype(int)
        after = images.read_rgb(out / split / row["file_name"]).astype(int)
        far = cv2.dilate(covered[row["image_id"]].astype(np.uint8), np.ones((33, 33), np.uint8)) == 0
        if far.any():
            assert np.abs(after - before)[far].mean() < 0.3
