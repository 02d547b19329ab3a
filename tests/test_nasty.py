"""Whatever a data set holds, the commands end well or with one sentence and status 2; never with a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anonbench import cli
from anonbench.files import write_json
from tests.conftest import CocoFolder

NAN, INFINITE, HUGE = float("nan"), float("inf"), 10**400
Change = Callable[[dict[str, Any]], object]


class Bench:
    """A data set and the commands on it, each in this process as if from the command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.capsys, self.monkeypatch = folder, capsys, monkeypatch
        self.coco = CocoFolder(folder / "coco")
        self.record: Any = {
            "dataset": "coco", "adapter": "coco", "options": {}, "root": str(self.coco.root), "splits": {},
        }  # fmt: skip
        write_json(folder / "data" / "download.json", self.record)

    @property
    def json(self) -> dict[str, Any]:
        return self.coco.json["train"]

    def run(self, command: str, *more: str) -> tuple[int, str]:
        """Return a command's status and its error."""
        data, annotations = ["--data", f"{self.folder}/data"], ["--annotations", f"{self.folder}/annotations"]
        split = ["--split", "train"]
        words = {
            "annotate": [*data, *split, "--out", f"{self.folder}/annotations"],
            "detect": [*data, *annotations, *split, "--out", f"{self.folder}/faces.parquet",
                       "--detector", '{"plugin": "centerface", "scales": [1.0]}'],
            "check-frame": [*data, *annotations, *split],
            "regions": [*annotations, *split],
            "anonymize": [*data, *annotations, *split, "--variant", "body-mask_out", "--out", f"{self.folder}/v"],
            "merge": [*annotations, *split, "--variant", "body-mask_out", "--out", f"{self.folder}/v", "--verify"],
        }[command]  # fmt: skip
        self.monkeypatch.setattr(sys, "argv", ["anonbench", command, *words, *more])
        self.capsys.readouterr()
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0), self.capsys.readouterr().err.rpartition("\r")[2].rpartition("error: ")[2]
        raise AssertionError("the command line always exits")

    def refused(self, command: str, *more: str, before: tuple[str, ...] = ()) -> str:
        """Run commands that end well and one that must not; return its sentence."""
        for one in before:
            assert self.run(one) == (0, "")
        status, said = self.run(command, *more)
        assert status == 2, said
        assert said.count("\n") == 1, said
        assert "Traceback" not in said
        return said.strip()


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, capsys, monkeypatch)


def image(**values: Any) -> Change:
    return lambda coco: coco["images"][0].update(values)


def annotation(**values: Any) -> Change:
    return lambda coco: coco["annotations"][0].update(values)


def category(**values: Any) -> Change:
    return lambda coco: coco["categories"][0].update(values)


REFUSED: list[tuple[str, Change, str]] = [
    *((f"{key} is {value!r}", lambda c, k=key, v=value: c.update({k: v}), said)
      for key, said in (("images", "is not a COCO annotation file|no integer id"),
                        ("annotations", "no list of annotation entries|no integer id"),
                        ("categories", "no list of category entries|no integer id"))
      for value in (None, {}, 5, "x", True, [None], [5], [[]])),
    *((f"id {value!r}", lambda c, v=value: c["images"][0].update(id=v), "image number 0: has no integer id")
      for value in (True, 1.0, "1", None, [], 2**63, HUGE, NAN)),
    *((f"annotation id {value!r}", annotation(id=value), "annotation number 0: has no integer id")
      for value in (True, 1.5, "1", None, {}, -(2**64))),
    ("a person that counts down", annotation(id=-1), "annotation -1: has a negative id"),
    *((f"of image {value!r}", annotation(image_id=value), "annotation 10: belongs to image")
      for value in (True, 1.0, "1", None, [1], 77, HUGE)),
    *((f"of category {value!r}", annotation(category_id=value), "annotation 10: has the unknown category")
      for value in (True, 1.0, "1", None, [1], 77)),
    *((f"width {value!r}", image(width=value), r"image 1 \(000001.jpg\): has the width")
      for value in (True, 64.0, "64", None, [], 0, -1, 2**31, HUGE, NAN)),
    ("another width", image(width=2**31 - 1), "is 64x48 pixels"),
    *((f"name {str(value)[:9]!a}", image(file_name=value), f"image 1.*: .*{said}") for value, said in (
        (None, "not a path inside"), (7, "not a path inside"), ("", "not a path inside"), ([], "not a path inside"),
        ("../000001.jpg", "not a path inside"), ("/etc/passwd", "not a path inside"), ("a\0b.jpg", "control character"),
        ("a\nb.jpg", "control character"), ("\ud800.jpg", "surrogate"), ("000001.jpg/", "of a folder"),
        (".", "of a folder"), ("x" * 252 + ".jpg", "256 bytes"), ("sub\\000001.jpg", "backslash"),
        ("000001.jpg/a.jpg", "cannot be read"), ("d/" * 3000 + "a.jpg", "cannot be read"), ("none.jpg", "not on disk"),
        (".000001.jpg.7.7.part", "half-written"))),
    *((f"category called {value!a}", category(name=value), "category 1: has the name")
      for value in (None, 5, [], "", "\ud800", "a\nb")),
    ("a surrogate in a caption", annotation(caption="\ud800"), "annotation 10: contains text that JSON"),
    ("a surrogate in info", lambda c: c.update(info={"by": "\ud800"}), "all but the annotations: contains text"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_json_that_is_refused(bench: Bench, change: Change, said: str) -> None:
    change(bench.json)
    bench.coco.save("train")
    sentence = bench.refused("annotate")
    assert "instances_train.json" in sentence
    assert re.search(said, sentence), sentence


HANDLED: list[tuple[str, Change]] = [
    *((f"bbox {str(value)[:30]}", annotation(bbox=value))
      for value in ([1e308] * 4, [-1e308, 0, 1e308, 1e308], [NAN] * 4, [1, 2, HUGE, 5], [2**70] * 4, ["1"] * 4, {}, 5)),
    *((f"bbox {str(value)[:30]} and no mask", annotation(bbox=value, segmentation=None))
      for value in ([1e308] * 4, [1, 2, HUGE, 5], None, [0, 0, 1e-320, 5])),
    *((f"face {str(value)[:30]}", annotation(face={"bbox": value})) for value in ([1e308] * 4, [1, 2, HUGE, 5], "x")),
    *((f"mask {str(value)[:30]}", annotation(segmentation=value))
      for value in ([[HUGE] * 6], [[2**70] * 6], {"size": [48, 64], "counts": [10**30]}, {"counts": [5]}, [[None] * 6],
                    {"size": [48, 64], "counts": "\ud800"}, {"size": [48, 64], "counts": [-5, 3077]})),
    *((f"keypoints {str(value)[:20]}", annotation(keypoints=value))
      for value in ([HUGE] * 51, [1e308] * 51, [[1]] * 51, [None] * 51, "x")),
    *((f"head {str(value)[:20]}", annotation(head=value, keypoints=[0] * 51))
      for value in ([HUGE] * 6, [1e308] * 6, [NAN] * 6)),
    *((f"area {str(value)[:20]}", annotation(area=value)) for value in (HUGE, INFINITE, -1, "x", [])),
    *((f"iscrowd {value}", annotation(iscrowd=value)) for value in (NAN, "1", [], 2**70)),
    ("identity", annotation(identity=[{"a": NAN}], keypoints=None)),
    ("an integer that no float holds", annotation(score=10**18)),
]  # fmt: skip


@pytest.mark.parametrize("change", [case[1] for case in HANDLED], ids=[case[0] for case in HANDLED])
def test_json_that_is_handled(bench: Bench, change: Change) -> None:
    """A person of broken geometry is in the ledger, and everything after it runs."""
    change(bench.json)
    bench.coco.save("train")
    for command in ("annotate", "regions", "anonymize", "merge"):
        status, said = bench.run(command)
        assert (status, said) == (0, "")
    assert ",10," in (bench.folder / "annotations" / "train.ledger.csv").read_text()
    json.loads(
        (bench.folder / "annotations" / "train.json").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} in it"),
    )


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: b"", "is not valid JSON"),
        (lambda text: text[:-5], "is not valid JSON"),
        (lambda text: text + text, "is not valid JSON"),
        (lambda text: text + b"\0", "is not valid JSON"),
        (lambda text: text.replace(b"made by", b"\xff\xfe"), "is not valid JSON"),
        (lambda text: b"\x1f\x8b\x08\0" + text, "is not valid JSON"),
        (lambda text: b"[]", "is not a COCO annotation file"),
        (lambda text: DEEP, "is not valid JSON"),
        (lambda text: text.replace(b'"made by a test"', DEEP), "is not valid JSON"),
        (lambda text: text.replace(b'"iscrowd": 0', b'"iscrowd": 0, "deep": ' + DEEP, 1), "is not valid JSON"),
    ],
)
def test_text_that_is_no_json(bench: Bench, change: Callable[[bytes], bytes], said: str) -> None:
    path = bench.coco.save("train")
    path.write_bytes(change(path.read_bytes()))
    sentence = bench.refused("annotate")
    assert sentence.startswith(str(path))
    assert said in sentence


def nothing(path: Path) -> None:
    """Leave nothing there."""


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage\0" * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def in_the_place_of(path: Path, make: Callable[[Path], object]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    make(path)


@pytest.mark.parametrize("make", [nothing, Path.mkdir, loop, garbage, empty])
@pytest.mark.parametrize(
    ("path", "before", "command"),
    [
        ("data/download.json", (), "annotate"),
        ("data/download.json", ("annotate", "regions"), "anonymize"),
        ("coco/annotations/instances_train.json", (), "annotate"),
        ("coco/train/000001.jpg", (), "annotate"),
        ("coco/train/000001.jpg", ("annotate", "regions"), "anonymize"),
        ("annotations/train.images.parquet", ("annotate",), "detect"),
        ("annotations/train.images.parquet", ("annotate",), "regions"),
        ("annotations/train.people.parquet", ("annotate",), "regions"),
        ("annotations/train.images.parquet", ("annotate",), "check-frame"),
        ("annotations/train.images.parquet", ("annotate", "regions"), "anonymize"),
        ("annotations/train.regions.parquet", ("annotate", "regions"), "anonymize"),
        ("annotations/train.images.parquet", ("annotate", "regions", "anonymize"), "merge"),
        ("v/train/000001.jpg", ("annotate", "regions", "anonymize"), "merge"),
    ],
)
def test_files_that_are_missing_or_something_else(
    bench: Bench, path: str, before: tuple[str, ...], command: str, make: Callable[[Path], object]
) -> None:
    for one in before:
        assert bench.run(one)[0] == 0
    in_the_place_of(bench.folder / path, make)
    assert Path(path).name in bench.refused(command)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
@pytest.mark.parametrize("command", ["annotate", "anonymize"])
def test_an_image_that_is_no_file(bench: Bench, command: str, make: Callable[[Path], object]) -> None:
    """Nothing waits for a pipe, or reads a device to its end."""
    for one in ("annotate", "regions") if command == "anonymize" else ():
        assert bench.run(one)[0] == 0
    in_the_place_of(bench.coco.root / "train" / "000001.jpg", make)
    assert "000001.jpg" in bench.refused(command)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("path", ["data/download.json", "coco/annotations/instances_train.json", "coco/train"])
def test_what_may_not_be_read(bench: Bench, path: str) -> None:
    (bench.folder / path).chmod(0)
    try:
        assert "Permission denied" in bench.refused("annotate")
    finally:
        (bench.folder / path).chmod(0o700)


@pytest.mark.parametrize(
    "change",
    [
        {"root": 5}, {"root": None}, {"root": "a\0b"}, {"root": "/no/such"}, {"adapter": 5}, {"adapter": "cocoo"},
        {"options": 5}, {"options": {"x": 1}}, {"splits": 5}, {"splits": {"train": 5}},
        {"splits": {"train": {"expected": 5}}},
    ],
)  # fmt: skip
def test_records_that_are_none(bench: Bench, change: dict[str, Any]) -> None:
    write_json(bench.folder / "data" / "download.json", bench.record | change)
    bench.refused("annotate")


@pytest.mark.parametrize("column", ["image_id", "file_name", "path", "width", "bytes", "start"])
@pytest.mark.parametrize("command", ["detect", "regions", "anonymize"])
def test_tables_with_holes(bench: Bench, column: str, command: str) -> None:
    assert bench.run("annotate")[0] == bench.run("regions")[0] == 0
    path = bench.folder / "annotations" / "train.images.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index(column)
    nulls = pa.array([None] * len(table), table.schema.field(at).type)
    pq.write_table(table.set_column(at, table.schema.field(at), nulls), path)
    assert f"train.images.parquet: has rows without {column}" in bench.refused(command)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.append([]), lambda rows: rows.append(5), lambda rows: rows[1].pop("type"),
        lambda rows: rows[1].pop("image_id"), lambda rows: rows[1].pop("sha256"), lambda rows: rows[2].pop("status"),
        lambda rows: rows[1].update(file_name="../../x"), lambda rows: rows.append(rows[1]), lambda rows: rows.pop(1),
        lambda rows: rows.pop(0), lambda rows: rows.clear(), lambda rows: rows[1].update(bytes=7),
        lambda rows: rows[1].update(sha256="0"),
    ],
)  # fmt: skip
def test_manifests_that_were_edited(bench: Bench, change: Callable[[list[Any]], object]) -> None:
    for command in ("annotate", "regions", "anonymize"):
        assert bench.run(command)[0] == 0
    (path,) = bench.folder.rglob("0.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    bench.refused("merge")


@pytest.mark.parametrize("out", ["file", "file/below", "/dev/null", "/proc/nowhere", "x" * 300])
def test_places_that_cannot_be_written(bench: Bench, out: str) -> None:
    (bench.folder / "file").write_text("in the way")
    place = str(bench.folder / out)
    assert bench.run("annotate")[0] == bench.run("regions")[0] == 0
    bench.refused("annotate", "--out", place)
    bench.refused("anonymize", "--out", place)
