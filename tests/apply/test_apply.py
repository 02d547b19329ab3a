"""anonbench apply over folders of photographs: the same bytes as the workflow, names, layout, resumption, refusals."""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonbench import files, names, regions
from anonbench.annotate.choose import Scene
from anonbench.annotate.options import Detectors, RegionsConfig
from anonbench.anonymize.shard import Shard
from anonbench.apply import folder as folders
from anonbench.apply.job import Job
from anonbench.apply.journal import Journal
from anonbench.apply.search import Seen, body_of, people
from anonbench.detectors.config import DetectorConfig
from anonbench.detectors.engine import inside
from anonbench.errors import AnonbenchError
from anonbench.images import read_rgb
from anonbench.variants import Variant
from tests.anonymize.conftest import photograph
from tests.apply import moving
from tests.apply.conftest import FACES, Run, encoded, files_of, stored, tagged
from tests.detectors import drawn


def ledger(out: Path) -> list[dict[str, str]]:
    with open(out.parent / "private" / out.name / "ledger.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def rows(out: Path, kind: str = "image") -> dict[str, dict[str, Any]]:
    lines = (out.parent / "private" / out.name / "manifest.jsonl").read_text().splitlines()
    return {row["file_name"]: row for row in map(json.loads, lines) if row["type"] == kind}


def by_workflow(run: Run, photos: Path, work: Path, variant: str, people: list[dict[str, Any]], face: str) -> Path:
    """Send photographs and people through the commands of the workflow; return the folder of the images."""
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*") if path.is_file())
    images = []
    for number, name in enumerate(names, 1):
        height, width = read_rgb(photos / name).shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
    root = work / "root"
    (root / "annotations").mkdir(parents=True)
    (root / "train").symlink_to(photos)
    coco = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    (root / "annotations" / "instances_train.json").write_text(json.dumps(coco))
    record = {"dataset": "mine", "adapter": "coco", "options": {}, "root": str(root), "splits": {}}
    files.write_json(work / "data" / "download.json", record)
    common = ("--annotations", work / "annotations", "--split", "train")
    run(
        "annotate", "--data", work / "data", "--split", "train", "--out", work / "annotations", "--labels-on", "upright"
    )
    run("detect", "--data", work / "data", *common, "--detector", face, "--out", work / "faces.parquet")
    chosen = json.dumps({"unannotated": True, "detectors": {"face": json.loads(face)}})
    run("regions", *common, "--regions", chosen, "--faces", work / "faces.parquet")
    out = work / "out" / variant
    run("anonymize", "--data", work / "data", *common, "--variant", variant, "--out", out, "--seed", 5)
    run("merge", *common, "--variant", variant, "--out", out)
    return out / "train"


def annotations_of(table: Path) -> list[dict[str, Any]]:
    """Return the people whom a run found as COCO's annotations."""
    return [
        {
            "id": row["person_id"],
            "image_id": row["image_id"],
            "category_id": 1,
            "bbox": row["box"],
            "area": row["area"],
            "iscrowd": 0,
        }
        for row in regions.read(table, regions.PEOPLE).to_pylist()
    ]


@pytest.mark.parametrize(
    "variant", ["face-blur-medium", "face-adaptive_pixelate-high", "body-mask_out", "body-blur-low"]
)
def test_the_bytes_are_those_of_the_workflow(run: Run, tmp_path: Path, variant: str) -> None:
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    crowd = [(20 + 75 * (i % 5), 15 + 75 * (i // 5), 60) for i in range(20)]
    (photos / "a.jpg").write_bytes(encoded(drawn.scene(400, 320, crowd), "JPEG", quality=88, exif=tagged()))
    (photos / "b.png").write_bytes(encoded(drawn.scene(200, 150, [(30, 20, 90)]), "PNG"))
    turned = np.rot90(drawn.scene(240, 160, [(100, 30, 80)]))  # stored on its side
    (photos / "sub" / "c d.jpg").write_bytes(encoded(np.ascontiguousarray(turned), "JPEG", exif=tagged(6)))
    (photos / "sub" / "ü.jpg").write_bytes(encoded(photograph(120, 90), "JPEG", exif=tagged()))
    face = json.dumps({"plugin": "centerface", "options": {"threshold": 0.2}, "scales": [1.0], "tile": 1920})
    out = tmp_path / "out"
    persons = ("--person-detector", "none") if variant.startswith("body") else ()
    run("apply", photos, "--variant", variant, "--out", out, "--seed", 5, "--threads", 2, *persons)
    people = annotations_of(tmp_path / "private" / "out" / "tables" / "photos.people.parquet")
    given = files_of(out)
    assert {name for name, row in rows(out).items() if row["action"] == "encoded"} >= {"a.jpg", "b.png", "sub/c d.jpg"}
    if not people:  # the workflow wants somebody to be annotated: in one more photograph
        (photos / "zz.png").write_bytes(encoded(photograph(60, 60), "PNG"))
        people = [{"id": 1, "image_id": 5, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}]
    theirs = files_of(by_workflow(run, photos, tmp_path / "work", variant, people, face))
    theirs.pop("zz.png", None)
    assert given == theirs
    assert len({row["person_id"] for row in ledger(out)}) == len(ledger(out)) >= 20


def test_layout_and_names_stay_and_everybody_is_accounted_for(
    run: Run, photos: Path, faces: str, tmp_path: Path
) -> None:
    before = files_of(photos)
    out = tmp_path / "out"
    said = run("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    assert files_of(out).keys() == FACES.keys()
    assert files_of(photos) == before
    found = ledger(out)
    assert {(row["kind"], row["status"], row["source"]) for row in found} == {("face", "region", "detector")}
    for name, boxes in FACES.items():
        assert sum(row["file_name"] == name for row in found) == len(boxes)
        old, new = (read_rgb(folder / name).astype(int) for folder in (photos, out))
        for x0, y0, x1, y1, _ in boxes:
            inner = new[int(y0) + 1 : int(y1) - 1, int(x0) + 1 : int(x1) - 1]
            assert abs(inner - 128).max() <= 12, name  # a flat grey, as JPEG keeps it
        if not boxes:
            assert (old == new).all()
    with open(tmp_path / "private" / "out" / "coverage.csv", newline="") as stream:
        assert [row["regions"] for row in csv.DictReader(stream)] == ["22"]
    assert "5 photographs, 3 of them changed" in said
    assert "22 faces found, 22 changed" in said


def test_no_place_and_no_camera_is_left_and_orientation_is_heeded(run: Run, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    stored_pixels = photograph(120, 80)
    for name in ("seen.jpg", "empty.jpg"):
        (photos / name).write_bytes(encoded(stored_pixels, "JPEG", quality=95, exif=tagged(6)))
    face = stored(tmp_path / "f.json", "boxes", {"seen.jpg": [[10, 20, 40, 60, 0.9]]})
    run("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", face)
    for name in ("seen.jpg", "empty.jpg"):
        data = (out / name).read_bytes()
        assert b"a camera of mine" not in data
        exif = Image.open(out / name).getexif()
        assert not exif.get_ifd(0x8825)
        assert read_rgb(out / name).shape == (120, 80, 3)  # upright
    grey = read_rgb(out / "seen.jpg")[25:55, 15:35].astype(int)
    assert abs(grey - 128).max() <= 12
    assert rows(out)["empty.jpg"]["action"] == "stripped"


def test_what_is_no_photograph_is_named_and_not_copied(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    (photos / "notes.txt").write_text("who is who")
    (photos / ".hidden.jpg").write_bytes((photos / "none.jpg").read_bytes())
    (photos / ".cache").mkdir()
    (photos / ".cache" / "thumb.jpg").write_bytes((photos / "none.jpg").read_bytes())
    (photos / "link.jpg").symlink_to(photos / "many.jpg")
    (photos / "linked").symlink_to(photos / "sub")
    os.mkfifo(photos / "pipe.jpg")
    out = tmp_path / "out"
    said = run("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    assert files_of(out).keys() == FACES.keys()
    with open(tmp_path / "private" / "out" / "not_copied.csv", newline="") as stream:
        listed = {row["file_name"]: row["reason"] for row in csv.DictReader(stream)}
    assert listed == {
        "notes.txt": "neither photograph nor video",
        ".hidden.jpg": "hidden file",
        ".cache": "hidden folder",
        "link.jpg": "symbolic link",
        "linked": "symbolic link",
        "pipe.jpg": "device, pipe or socket",
    }
    assert "symbolic link 2" in said


BAD = {
    "cut.jpg": (lambda: encoded(photograph(90, 60), "JPEG")[:-400], "is not an image that can be decoded"),
    "empty.png": (lambda: b"", "is empty"),
    "words.jpg": (lambda: b"not a picture at all", "is no image, whatever its name says"),
    "web.webp": (lambda: encoded(photograph(90, 60), "WEBP"), "convert it"),
    "scan.tif": (lambda: encoded(photograph(90, 60), "TIFF"), "convert it"),
    "no ending": (lambda: encoded(photograph(90, 60), "GIF"), "convert it"),
    "phone.heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(40), "convert it"),
    "old.avi": (lambda: b"RIFF\0\0\0\0AVI LIST", "convert it"),
    "new\nline.jpg": (lambda: encoded(photograph(90, 60), "JPEG"), "contains a control character: rename it"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_what_cannot_be_used_stops_the_run_before_anything_is_written(
    run: Run, photos: Path, faces: str, tmp_path: Path, name: str
) -> None:
    make, reason = BAD[name]
    (photos / name).write_bytes(make())
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    with pytest.raises(AnonbenchError) as caught:
        run(*words)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    said = run(*words, "--on-unusable", "skip")
    assert files_of(out).keys() == FACES.keys()
    assert "1 file cannot be used" in said
    with open(tmp_path / "private" / "out" / "unusable.csv", newline="") as stream:
        assert [row["file_name"] for row in csv.DictReader(stream)] == [name]


def test_names_that_are_no_unicode_are_named(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    with open(os.fsencode(photos) + b"/\xff.jpg", "wb") as stream:
        stream.write(encoded(photograph(90, 60), "JPEG"))
    with pytest.raises(AnonbenchError, match="not Unicode"):
        run("apply", photos, "--variant", "face-mask_out", "--out", tmp_path / "out", "--face-detector", faces)


def test_a_folder_without_photographs_is_refused(run: Run, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    words = ("--variant", "face-mask_out", "--out", tmp_path / "out")
    with pytest.raises(AnonbenchError, match="holds no photograph"):
        run("apply", photos, *words)
    (photos / "a.jpg").symlink_to("/etc/hostname")
    with pytest.raises(AnonbenchError, match="1 symbolic links, which are not followed"):
        run("apply", photos, *words)
    with pytest.raises(AnonbenchError, match="is not a folder"):
        run("apply", photos / "a.jpg", *words)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "private").exists()


def test_a_folder_that_cannot_be_read_is_no_silence(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def locked(path: Any) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(folders.os, "scandir", locked)
    assert folders.look(photos).unusable == {"sub": "is a folder that cannot be read (Permission denied)"}


@pytest.mark.parametrize("place", ["photos", "photos/sub/out", "link/out", "."])
def test_nothing_is_written_into_the_input(run: Run, photos: Path, faces: str, tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to(photos)
    before = files_of(photos)
    with pytest.raises(AnonbenchError, match="overlaps the photographs"):
        run("apply", photos, "--variant", "face-mask_out", "--out", tmp_path / place, "--face-detector", faces)
    with pytest.raises(AnonbenchError, match="overlaps the photographs"):
        run("apply", tmp_path / "link", "--variant", "face-mask_out", "--out", tmp_path / place)
    assert files_of(photos) == before


def test_neither_ledger_nor_sheet_go_into_the_input(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    private = photos.rename(tmp_path / "private")
    with pytest.raises(AnonbenchError, match="what may not be handed out"):
        run("apply", private, "--variant", "face-mask_out", "--out", tmp_path / "out", "--face-detector", faces)
    for place in (private, tmp_path / "other" / "out"):
        with pytest.raises(AnonbenchError, match="--preview: lies in"):
            run(
                "apply", private, "--variant", "face-mask_out", "--out", tmp_path / "other" / "out",
                "--face-detector", faces, "--preview", place / "sheet.jpg",
            )  # fmt: skip


def test_folders_of_others_are_left_alone(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    with pytest.raises(AnonbenchError, match="contains files that this command did not write"):
        run(*words)
    assert files_of(tmp_path / "out") == {"mine.txt": b"mine"}
    (out / "mine.txt").unlink()
    run(*words)
    assert "may be handed out" in run(*words).splitlines()[-1]
    (out / "theirs.txt").write_text("put there later")
    (out / "linked").symlink_to(photos)
    said = run(*words)
    assert "holds 2 files of others, such as 'linked'" in said
    assert "holds files of others, at which nobody has looked" in said.splitlines()[-1]
    assert (out / "theirs.txt").is_file()


def test_what_came_to_lie_there_after_a_refused_run_is_left_alone(
    run: Run, photos: Path, faces: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    (photos / "new.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(AnonbenchError, match="convert it"):
        run(*words)
    (photos / "new.heic").unlink()
    out.mkdir()
    (out / "many.jpg").write_text("mine")
    with pytest.raises(AnonbenchError, match=r"out/many\.jpg: was not written by this command"):
        run(*words)
    assert files_of(out) == {"many.jpg": b"mine"}
    (out / "many.jpg").unlink()
    run(*words)
    (photos / "later.png").write_bytes(encoded(photograph(90, 60), "PNG"))
    (out / "later.png").write_text("mine")
    with pytest.raises(AnonbenchError, match=r"later\.png: was not written by this command"):
        run(*words)
    assert (out / "later.png").read_text() == "mine"


def test_nothing_is_written_through_a_link(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    run(*words)
    before = files_of(photos)
    for path in (out / "sub").iterdir():
        path.unlink()
    (out / "sub").rmdir()
    (out / "sub").symlink_to(photos / "sub")
    with pytest.raises(AnonbenchError, match="out/sub: is a link, and nothing is written through one"):
        run(*words)
    assert files_of(photos) == before


def test_an_output_in_another_ones_is_refused(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--face-detector", faces)
    run(*words, "--out", out)
    before = files_of(out)
    for inner in (out / "inner", out / "sub" / "inner"):
        with pytest.raises(AnonbenchError, match=r"lies in .*out, which another run has written"):
            run(*words, "--out", inner)
    assert files_of(out) == before


def test_a_ledger_does_not_get_into_another_output_through_a_link(
    run: Run, photos: Path, faces: str, tmp_path: Path
) -> None:
    words = ("apply", photos, "--variant", "face-mask_out", "--face-detector", faces)
    run(*words, "--out", tmp_path / "out")
    before = files_of(tmp_path / "out")
    (tmp_path / "else").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "else")
    with pytest.raises(AnonbenchError, match="which another run has written"):
        run(*words, "--out", tmp_path / "out" / "link")
    assert not (tmp_path / "out" / "private").exists()
    assert before.items() <= files_of(tmp_path / "out").items()


@pytest.mark.parametrize("content", [b"", b"[[1]]", b"{}"])
def test_a_list_of_wanted_names_that_is_damaged_is_no_end(
    run: Run, photos: Path, faces: str, tmp_path: Path, content: bytes
) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    run(*words)
    before = files_of(out)
    (tmp_path / "private" / "out" / "wanted.json").write_bytes(content)
    (out / "many.jpg").unlink()
    run(*words)
    assert files_of(out) == before


def test_a_name_of_a_killed_run_stays_its_own(
    run: Run, photos: Path, faces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the file and the journal; the photograph has another name in between."""
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    real = Journal.add
    with monkeypatch.context() as patch:
        patch.setattr(
            Journal, "add", lambda own, *more: (killed if own.path.name == "done.jsonl" else real)(own, *more)
        )
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(*words)
    assert files_of(out)
    (photos / "many.jpg").rename(photos / "other.jpg")
    run(*words)
    (photos / "other.jpg").rename(photos / "many.jpg")
    run(*words)
    assert rows(out)["many.jpg"]["action"] == "encoded"
    assert "other.jpg" not in files_of(out)


def test_an_older_state_of_a_photograph_goes_where_it_has_another_name(tmp_path: Path) -> None:
    """Stored without loss, what is changed is a PNG, and what is not keeps its name."""
    photos, out = tmp_path / "p", tmp_path / "o"
    photos.mkdir()
    nobody = moving.frame_of((400, 300), (320, 240))
    for shows, name in ((False, "a.jpg"), (True, "a.png"), (False, "a.jpg")):
        pixels = moving.frame_of((60, 60), (320, 240)) if shows else nobody
        (photos / "a.jpg").write_bytes(encoded(pixels, "JPEG"))
        job = Job(photos, out, Variant.parse("face-mask_out"), moving.Sees(), encoder="lossless")
        assert job.run()["strangers"] == []
        assert set(files_of(out)) == {name}


def test_a_dry_run_refuses_what_the_run_refuses(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    run(*words)
    (photos / "later.png").write_bytes(encoded(photograph(90, 60), "PNG"))
    (out / "later.png").write_text("mine")
    before = files_of(tmp_path / "private")
    with pytest.raises(AnonbenchError, match=r"later\.png: was not written by this command"):
        run(*words, "--dry-run")
    (out / "later.png").unlink()
    (out / "many.jpg").unlink()
    (out / "many.jpg").mkdir()
    with pytest.raises(AnonbenchError, match=r"many\.jpg: is a folder, and a file of that name is to be written"):
        run(*words, "--dry-run")
    assert files_of(tmp_path / "private") == before


def test_settings_that_a_power_cut_has_emptied(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    settings = tmp_path / "private" / "out" / "settings.json"
    run(*words)
    settings.write_bytes(b"")
    with pytest.raises(AnonbenchError, match=r"is not valid JSON .*; choose another --out, or remove it and .*private"):
        run(*words)
    (settings.parent / "done.jsonl").write_bytes(b"")
    for path in sorted(out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run(*words)
    assert json.loads(settings.read_bytes())["variant"] == "face-mask_out"


def test_a_photograph_that_changes_meanwhile_is_one_sentence_with_a_remedy_that_helps(
    run: Run, photos: Path, faces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("apply", photos, "--variant", "face-mask_out", "--out", tmp_path / "out", "--face-detector", faces)
    (photos / "again.jpg").write_bytes((photos / "many.jpg").read_bytes())
    real = Shard.work
    for spoil in (Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"<html>")):

        def spoilt(self: Any, rows: Any, *more: Any, spoil: Any = spoil) -> None:
            spoil(photos / "many.jpg")
            real(self, rows, *more)

        with monkeypatch.context() as patch:
            patch.setattr(Shard, "work", spoilt)
            with pytest.raises(
                AnonbenchError, match=r"many\.jpg: has changed since .*; run again when nothing else writes"
            ):
                run(*words)
        (photos / "many.jpg").write_bytes((photos / "again.jpg").read_bytes())


def test_another_run_into_the_same_folder_is_refused(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--out", out, "--face-detector", faces)
    run("apply", photos, "--variant", "face-mask_out", *words)
    before = files_of(out)
    with pytest.raises(AnonbenchError, match="written with other settings: variant, parameters"):
        run("apply", photos, "--variant", "face-blur-medium", *words)
    with pytest.raises(AnonbenchError, match="other settings: seed"):
        run("apply", photos, "--variant", "face-mask_out", "--seed", 1, *words)
    assert files_of(out) == before


def test_settings_may_change_until_something_is_written(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    (photos / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    words = ("apply", photos, "--out", tmp_path / "out", "--face-detector", faces)
    with pytest.raises(AnonbenchError, match=r"cut\.jpg"):
        run(*words, "--variant", "face-mask_out")
    (photos / "cut.jpg").unlink()
    run(*words, "--variant", "face-blur-medium")
    assert rows(tmp_path / "out")["many.jpg"]["action"] == "encoded"


def test_names_that_become_one_are_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    face = stored(tmp_path / "f.json", "boxes", {name: [[5, 5, 40, 40, 0.9]] for name in FACES})
    words = (
        "apply", photos, "--variant", "face-mask_out", "--out", tmp_path / "out", "--encoder", "lossless",
        "--face-detector", face,
    )  # fmt: skip
    for more in ((), ("--dry-run",)):
        with pytest.raises(AnonbenchError, match=r"would both be called 'none\.png'"):
            run(*words, *more)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names_of", "told"),
    [
        (("x.jpg", "x.png/a.jpg"), r"'x\.jpg' would be called 'x\.png', which is a folder of 'x\.png/a\.jpg'"),
        (("x" * 252,), r"a PNG of 'x+' has a file name of 256 bytes"),
    ],
)
def test_names_that_cannot_be_those_of_pngs_are_refused(
    run: Run, tmp_path: Path, names_of: tuple[str, ...], told: str
) -> None:
    for name in names_of:
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(encoded(photograph(90, 60), "JPEG"))
    face = stored(tmp_path / "f.json", "boxes", {name: [[5, 5, 40, 40, 0.9]] for name in names_of})
    words = ("apply", tmp_path / "p", "--variant", "face-mask_out", "--out", tmp_path / "o", "--face-detector", face)
    with pytest.raises(AnonbenchError, match=told):
        run(*words, "--encoder", "lossless")
    assert not (tmp_path / "o").exists()
    run(*words)


def test_names_that_the_file_system_takes_for_one_are_refused(
    run: Run, photos: Path, faces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "NONE.jpg").write_bytes(encoded(photograph(90, 60), "JPEG"))
    words = ("apply", photos, "--variant", "face-mask_out", "--out", tmp_path / "out", "--face-detector", faces)
    run(*words, "--dry-run")
    monkeypatch.setattr(names, "are_one", lambda folder: True)
    with pytest.raises(AnonbenchError, match=r"'NONE\.jpg' and 'none\.jpg' for one file"):
        run(*words)


def test_strict_fails_before_anything_is_written(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    persons = stored(tmp_path / "p.json", "person_boxes", {"none.jpg": [[100, 20, 150, 150, 0.9]]})
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    with pytest.raises(
        AnonbenchError, match=r"strict: 1 people .* in none\.jpg \(no_face_found\); nothing was written"
    ):
        run(*words, "--person-detector", persons, "--strict")
    with pytest.raises(AnonbenchError, match="strict: 1 people"):
        run(*words, "--person-detector", persons, "--strict", "--dry-run")
    assert not out.exists()
    said = run(*words, "--person-detector", persons)
    assert "1 people are left visible (no_face_found 1)" in said
    assert [row["file_name"] for row in ledger(out) if row["status"] == "no_face_found"] == ["none.jpg"]
    other = tmp_path / "other"
    run("apply", photos, "--variant", "body-mask_out", "--out", other, "--person-detector", persons, "--face-detector",
        faces, "--strict")  # fmt: skip
    grey = read_rgb(other / "none.jpg")[24:140, 104:146].astype(int)
    assert abs(grey - 128).max() <= 12


@pytest.mark.parametrize("kind", ["photo", "video"])
def test_strict_is_one_sentence_and_a_status(run: Run, tmp_path: Path, kind: str) -> None:
    """Of a process, of somebody without a face whom a detector finds in pixels."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    name = "a.png" if kind == "photo" else "a.mp4"
    if kind == "photo":
        (photos / name).write_bytes(encoded(drawn.somebody(), "PNG"))
    else:
        moving.film(photos / name, [drawn.somebody()] * 3)
    words = ["apply", photos, "--variant", "face-mask_out", "--out", out, "--person-detector", "hog"]
    done = subprocess.run(
        [sys.executable, "-m", "anonbench", *words, "--strict"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {photos}: strict: 1 people would be left visible: 1 in {name} (no_face_found); ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not out.exists()
    said = run(*words)
    assert "1 people are left visible (no_face_found 1)" in said
    assert "shows people who were left visible" in said.splitlines()[-1]


def test_what_strict_lets_pass(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    (photos / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    words = ("apply", photos, "--variant", "face-blur-low", "--out", tmp_path / "out", "--face-detector", faces,
             "--strict", "--on-unusable", "skip")  # fmt: skip
    run(*words)
    (tmp_path / "out" / "theirs.txt").write_text("put there later")
    said = run(*words)
    for told in ("people were changed and may still be recognised", "1 file cannot be used", "1 file of others"):
        assert told in said
    with pytest.raises(AnonbenchError, match=r"strict: 21 people would be left visible: .*below_min_size"):
        run(*words[:5], tmp_path / "other", *words[6:], "--regions", '{"face": {"min_size": 35}}')


def on_terminal(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> str:
    """Return what a terminal of 120 columns gets to see on standard error while something is done."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    told: list[bytes] = []

    def listen() -> None:
        with contextlib.suppress(OSError):  # the end, on Linux
            while data := os.read(master, 4096):
                told.append(data)

    listener = threading.Thread(target=listen)
    listener.start()
    with open(slave, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        do()
    listener.join()
    os.close(master)
    return b"".join(told).decode()


def test_a_terminal_shows_how_far_it_is_and_how_long_it_takes_and_a_file_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Slow(moving.Sees):
        def __call__(self, *words: Any) -> Seen:
            time.sleep(0.15)
            return super().__call__(*words)

    photos = tmp_path / "p"
    moving.write(photos / "v.mp4", frames=6, sound=False)
    for number in range(6):
        (photos / f"{number}.png").write_bytes(encoded(moving.frame_of((60, 60), (320, 240)), "PNG"))

    def go(out: str) -> None:
        Job(photos, tmp_path / out, Variant.parse("face-mask_out"), Slow()).run()

    told = on_terminal(monkeypatch, lambda: go("seen"))
    some, left = r": +\d+%\|.*\| [1-5]/6 ", r"\[\d\d:\d\d<\d\d:\d\d, "
    for what in ("looking for people", "looking for people in v.mp4"):
        assert re.search(f"{re.escape(what)}{some}{left}", told), what
    assert re.search(r"face-mask_out v\.mp4: 100%\|.*\| 6/6 \[", told)
    go("unseen")
    assert capfd.readouterr() == ("", "")


def test_two_who_stand_side_by_side_are_both_covered_where_one_was_found(run: Run, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(encoded(np.full((480, 640, 3), 250, np.uint8), "PNG"))
    faces = stored(tmp_path / "f.json", "boxes", {"a.png": [[80, 70, 120, 110, 0.9], [130, 70, 170, 110, 0.9]]})
    persons = stored(tmp_path / "p.json", "person_boxes", {"a.png": [[100, 50, 200, 450, 0.9]]})
    run("apply", photos, "--variant", "body-mask_out", "--out", tmp_path / "out", "--person-detector", persons,
        "--face-detector", faces)  # fmt: skip
    shown = read_rgb(tmp_path / "out" / "a.png")
    assert (shown[60:120, 70:180] != 250).all()


def test_a_face_that_a_neighbours_region_covers_in_part_is_changed_too(run: Run, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(encoded(np.full((480, 640, 3), 250, np.uint8), "PNG"))
    faces = stored(tmp_path / "f.json", "boxes", {"a.png": [[100, 100, 180, 180, 0.9], [178, 140, 218, 180, 0.8]]})
    persons = stored(tmp_path / "p.json", "person_boxes", {"a.png": [[70, 80, 230, 430, 0.9]]})
    out = tmp_path / "out"
    run("apply", photos, "--variant", "face-mask_out", "--out", out, "--person-detector", persons, "--face-detector",
        faces, "--strict")  # fmt: skip
    assert (read_rgb(out / "a.png")[140:180, 178:218] != 250).all()
    assert [row["status"] for row in ledger(out)] == ["region", "region"]


@pytest.mark.parametrize("kind", ["face", "body"])
def test_no_detected_face_is_left_in_part_wherever_people_stand(kind: str) -> None:
    rng, size = np.random.default_rng(3), (320, 240)
    config = RegionsConfig(unannotated=True, detectors=Detectors(face=DetectorConfig(plugin="centerface")))
    image = {"image_id": 1, "width": size[0], "height": size[1]}
    looked = 0
    for _ in range(100):
        faces = inside(rng.uniform((-10, -10, 8, 8, 0.5), (*size, 60, 60, 1), (4, 5)).astype(np.float32), *size)
        persons = inside(rng.uniform((-10, -10, 30, 60, 0.5), (*size, 120, 220, 1), (3, 5)).astype(np.float32), *size)
        faces = faces[faces[:, 2:4].min(axis=1) >= 1]  # smaller ones are left, and said to be
        crowd = people(1, Seen(faces, persons), size, kind == "body", 1)
        covered = np.zeros(size[::-1], bool)
        for row, _ in Scene(image, crowd, config, posed=False, cover_all=True).rows(faces, None):
            if row["kind"] == kind and row["status"] == "region":
                covered[row["y0"] : row["y1"], row["x0"] : row["x1"]] = True
        for x, y, w, h, _ in faces:
            assert covered[int(y) : int(np.ceil(y + h)), int(x) : int(np.ceil(x + w))].all()
            looked += 1
    assert looked > 300


def test_a_dry_run_counts_and_writes_nothing(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    (photos / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    before = files_of(tmp_path)
    said = run(
        "apply", photos, "--variant", "face-blur-low", "--out", tmp_path / "out", "--face-detector", faces, "--dry-run"
    )
    assert "5 photographs, 3 would be changed" in said
    assert "22 faces found" in said
    assert "cut.jpg" in said
    assert files_of(tmp_path) == before


def test_the_contact_sheet_shows_what_becomes_of_them(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    words = ("apply", photos, "--variant", "face-mask_out", "--out", tmp_path / "out", "--face-detector", faces)
    run(*words, "--preview", tmp_path / "dry.png", "--dry-run")
    run(*words, "--preview", tmp_path / "sheet.png")
    sheets = [np.asarray(Image.open(tmp_path / name)) for name in ("dry.png", "sheet.png")]
    assert (sheets[0] == sheets[1]).all()
    assert sheets[0].shape == (2 * 326 + 6, 4 * 406 + 6, 3)
    grey = (abs(sheets[0].astype(int) - 128) <= 2).all(axis=2).sum()
    assert grey > 20 * 30 * 38 * 2  # twenty faces, enlarged
    with pytest.raises(AnonbenchError, match=r"neither \.jpg nor \.png"):
        run(*words, "--preview", tmp_path / "sheet.pdf")


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.png"])
def test_a_contact_sheet_replaces_an_earlier_one_and_nothing_else(
    run: Run, photos: Path, faces: str, tmp_path: Path, name: str
) -> None:
    words = ("apply", photos, "--variant", "face-mask_out", "--out", tmp_path / "out", "--face-detector", faces)
    sheet = tmp_path / name
    run(*words, "--preview", sheet, "--dry-run")
    first = sheet.read_bytes()
    sheet.write_bytes(first + b"older")
    run(*words, "--preview", sheet)
    assert sheet.read_bytes() == first
    holiday = encoded(photograph(40, 30, 1), "PNG" if name.endswith("png") else "JPEG")
    sheet.write_bytes(holiday)
    other = tmp_path / "other"
    with pytest.raises(AnonbenchError, match="exists and is no contact sheet"):
        run(*words[:5], other, *words[6:], "--preview", sheet)
    assert sheet.read_bytes() == holiday
    assert not other.exists()
    sheet.unlink()
    sheet.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AnonbenchError, match="exists and is no contact sheet"):
        run(*words, "--preview", sheet)


def test_a_second_run_writes_nothing_again(
    run: Run, photos: Path, faces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-blur-medium", "--out", out, "--face-detector", faces)
    first = run(*words)
    state = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(Shard, "write", None)
    assert run(*words) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == state


def test_what_was_damaged_edited_or_lost_is_written_again(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-blur-medium", "--out", out, "--face-detector", faces)
    run(*words)
    whole = files_of(out)
    (out / "many.jpg").write_bytes(whole["many.jpg"][:100])
    (out / "sub" / "one.png").unlink()
    flipped = bytearray(whole["none.jpg"])
    flipped[-20] ^= 1
    (out / "none.jpg").write_bytes(flipped)
    (out / "none.png").unlink()
    (out / "none.png").symlink_to(photos / "none.png")
    run(*words)
    assert files_of(out) == whole
    assert not (out / "none.png").is_symlink()


def test_what_changes_in_the_folder_changes_in_the_output(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-blur-medium", "--out", out, "--face-detector", faces)
    run(*words)
    (photos / "sub" / "one.png").unlink()
    (photos / "none.jpg").rename(photos / "a first one.jpg")
    (photos / "none.png").write_bytes(encoded(photograph(70, 50, 9), "PNG"))
    run(*words)
    assert files_of(out).keys() == {"a first one.jpg", "many.jpg", "none.png", "sub/ä b.jpg"}
    assert read_rgb(out / "none.png").shape == (50, 70, 3)
    fresh = tmp_path / "fresh"
    run("apply", photos, "--variant", "face-blur-medium", "--out", fresh, "--face-detector", faces)
    assert files_of(fresh) == files_of(out)


def test_what_somebody_may_be_writing_is_left_and_named(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-blur-medium", "--out", out, "--face-detector", faces)
    run(*words)
    dead = f".gone.jpg.{files._HOST}-00000000.4999999.0.part"
    there = ".theirs.jpg.01234567-00000000.4999999.0.part"
    for name in (dead, there):
        (out / name).write_bytes(b"half")
    assert f"1 file of others, such as '{there}'" in run(*words)
    assert not (out / dead).exists()
    assert (out / there).exists()


def test_a_photograph_that_changes_meanwhile_is_not_believed(
    run: Run, photos: Path, faces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Shard.work

    def late(self: Shard, *args: Any) -> None:
        (photos / "none.jpg").write_bytes(encoded(photograph(220, 190, 77), "JPEG"))
        real(self, *args)

    words = ("apply", photos, "--variant", "face-mask_out", "--out", tmp_path / "out", "--face-detector", faces)
    with monkeypatch.context() as patch:
        patch.setattr(Shard, "work", late)
        with pytest.raises(AnonbenchError, match="has changed since people were looked for"):
            run(*words)
    run(*words)


def test_a_photograph_of_the_same_size_and_time_is_told_by_its_content(
    run: Run, photos: Path, faces: str, tmp_path: Path
) -> None:
    path, out = photos / "none.png", tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces)
    path.write_bytes(encoded(photograph(60, 60), "PNG", compress_level=0))
    run(*words)
    status = path.stat()
    path.write_bytes(encoded(photograph(60, 60)[::-1], "PNG", compress_level=0))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    (out / "none.png").unlink()
    with pytest.raises(AnonbenchError, match="has changed since people were looked for"):
        run(*words)
    run(*words)
    assert (read_rgb(out / "none.png") == read_rgb(path)).all()


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(
    run: Run, photos: Path, faces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = ("apply", photos, "--variant", "face-mask_out", "--out", out, "--face-detector", faces, "--threads", 1)
    real, left = files.os.write, [40_000]

    def full(descriptor: int, data: Any) -> int:
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", full)
        with pytest.raises(AnonbenchError, match="No space left on device"):
            run(*words)
    run(*words)
    clean = tmp_path / "clean"
    run("apply", photos, "--variant", "face-mask_out", "--out", clean, "--face-detector", faces)
    assert files_of(out) == files_of(clean)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(12):
        scene = drawn.scene(320, 240, [(20 + 10 * number, 40, 80)])
        (photos / f"{number}.jpg").write_bytes(encoded(scene, "JPEG"))
    words = [sys.executable, "-m", "anonbench", "apply", str(photos), "--variant", "face-blur-medium", "--threads", "1"]
    journals = [tmp_path / "private" / "out" / name for name in ("seen.jsonl", "done.jsonl")]
    kills = 0
    for journal, lines in ((journals[0], 1), (journals[0], 5), (journals[1], 1)):
        process = subprocess.Popen([*words, "--out", str(out)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            if journal.is_file() and journal.read_bytes().count(b"\n") >= lines:
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
                break
            time.sleep(0.002)
        for path in journals:  # as if it had been cut while it was written
            if path.is_file() and path.stat().st_size:
                with open(path, "ab") as stream:
                    stream.write(b'0123456789abcdef ["0.jpg",{"by')
    assert kills >= 2
    assert not (tmp_path / "private" / "out" / "summary.json").exists()
    seen = Journal(journals[0]).entries
    subprocess.run([*words, "--out", str(out)], check=True, capture_output=True)
    assert seen.items() <= Journal(journals[0]).entries.items()  # nothing that was seen is looked at again
    subprocess.run([*words, "--out", str(tmp_path / "clean")], check=True, capture_output=True)
    assert files_of(out) == files_of(tmp_path / "clean")
    assert len(files_of(out)) == 12


def test_two_runs_at_once_are_refused(run: Run, photos: Path, faces: str, tmp_path: Path) -> None:
    private = tmp_path / "private" / "out"
    private.mkdir(parents=True)
    with open(private / "lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AnonbenchError, match="another run is writing here"):
            run("apply", photos, "--variant", "face-mask_out", "--out", tmp_path / "out", "--face-detector", faces)


def test_a_journal_believes_no_damaged_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    for number in range(5):
        journal.add(str(number), {"value": number})
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"2}", b"7}")
    path.write_bytes(b"".join(lines)[:-3])
    journal = Journal(path)
    assert journal.entries == {str(number): {"value": number} for number in (0, 1, 3)}
    journal.add("4", {"value": 8})
    journal.close()
    assert Journal(path).entries["4"] == {"value": 8}


def test_whole_frames_need_no_detector(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = run("apply", photos, "--variant", "frame-downsample-4x", "--out", out, "--strict")
    assert "5 of them changed" in said
    assert {row["action"] for row in rows(out).values()} == {"encoded"}
    with pytest.raises(AnonbenchError, match="name no detector"):
        run("apply", photos, "--variant", "frame-blur-low", "--out", out, "--face-detector", "centerface")


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("frame-grey", "5 files may still show who fills the frame (nothing but colour is taken away)"),
        (
            "frame-contrast",
            "5 files may still show who fills the frame (nothing but colour and the brightness of what is even is "
            "taken away)",
        ),
        ("frame-blur-low", "5 files may still show who fills the frame (blurred by 1.9 % of the face's side)"),
        ("frame-pixelate-high", None),
    ],
)
def test_frames_that_hide_nobody_are_not_to_be_handed_out(
    run: Run, photos: Path, tmp_path: Path, variant: str, said: str | None
) -> None:
    told = run("apply", photos, "--variant", variant, "--out", tmp_path / "out")
    assert ("may be handed out" in told) is (said is None)
    assert ("shows people who may still be recognised" in told) is (said is not None)
    assert (said or "") in told
    summary = json.loads((tmp_path / "private" / "out" / "summary.json").read_text())
    assert sum(summary["weak_frames"].values()) == (5 if said else 0)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--variant", "original"], "the original changes nobody"),
        (["--variant", "face-identity"], "is a control: it changes nobody"),
        (["--variant", "frame-jpeg-q20"], "frame-jpeg-q20 is a control: it changes nobody"),
        (["--variant", "frame-avif", "--parameters", '{"bpp": 1}'], "frame-avif is a control"),
        (["--variant", "frame-webp", "--parameters", '{"after": "face-blur-low"}'], "comes after another variant"),
        (["--variant", "face-mask_out", "--gap", "inf"], "is no number of seconds"),
        (["--variant", "face-blurr-low"], "did you mean 'blur'"),
        (["--variant", "face-blur"], "names no level"),
        (["--variant", "face-blur-low", "--face-detector", "nobody"], "unknown detector 'nobody'"),
        (["--variant", "face-blur-low", "--face-detector", "hog"], "'hog' finds persons"),
        (["--variant", "face-blur-low", "--face-detector", "none"], "nobody would be found"),
        (["--variant", "face-blur-low", "--face-detector", '{"plugin": '], "is not valid JSON"),
        (["--variant", "face-blur-low", "--regions", '{"crowd": "skip"}'], "'crowd' is for annotated people"),
        (["--variant", "face-blur-low", "--encoder", "best"], "unknown encoder policy"),
        (["--variant", "face-blur-low", "--out", "private"], "cannot be called 'private'"),
    ],
)
def test_mistakes_are_one_sentence(run: Run, photos: Path, tmp_path: Path, words: list[str], reason: str) -> None:
    with pytest.raises(AnonbenchError) as caught:
        run("apply", photos, "--out", tmp_path / "out", *words)
    assert reason in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_body_is_where_its_face_is() -> None:
    x, y, w, h = body_of((100, 50, 20, 30))
    assert (x, y, w, h) == (50, 20, 120, 300)


@pytest.mark.parametrize(
    ("person", "bodies"),
    [
        ([90, 40, 150, 240, 0.9], 1),  # somebody's, from head to foot
        ([95, 45, 125, 85, 0.9], 2),  # a head that was taken for a person
        ([20, 40, 60, 240, 0.9], 2),  # somebody else
        ([90, 0, 150, 70, 0.9], 2),  # the face is where the feet would be
        ([108, 40, 180, 240, 0.9], 2),  # a neighbour's, who hides half of the face
        ([97, 40, 150, 240, 0.9], 2),  # all of the face, and none of what it is grown by
    ],
)
def test_a_body_is_guessed_where_no_person_was_found_around_a_face(person: list[float], bodies: int) -> None:
    face = np.array([[100, 50, 20, 26, 0.9]], np.float32)
    x0, y0, x1, y1, score = person
    seen = Seen(face, np.array([[x0, y0, x1 - x0, y1 - y0, score]], np.float32))
    found = people(7, seen, (200, 250), bodies=True, first=3)
    assert [row["person_id"] for row in found] == list(range(3, 3 + bodies))
    assert len(people(7, seen, (200, 250), bodies=False, first=3)) == 1
    for row in found:
        x, y, w, h = row["box"]
        assert x >= 0
        assert y >= 0
        assert x + w <= 200
        assert y + h <= 250
