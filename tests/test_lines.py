"""COCO files of a line for each annotation are read without holding them, and others as they always were."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anonbench import lines
from anonbench.datasets.coco import CocoFile
from anonbench.errors import AnonbenchError

HEAD = {"info": {}, "images": [{"id": 1}], "categories": [{"id": 1}]}
ENTRIES: list[dict[str, Any]] = [
    {"id": 7, "bbox": [1, 2.5, 3e-3, 0.1]},
    {"id": 8, "name": 'a "line"\n},\n{"annotations":[', "segmentation": [[0.1, 1]]},
    {"id": 9, "text": "ÄÖ\u2028 \\u0000"},
]


def written(path: Path, entries: list[dict[str, Any]], head: dict[str, Any] | None = None) -> Path:
    """Write a file as `annotate` and `merge` do."""
    encode = msgspec.json.Encoder().encode
    body = b",".join(b"\n" + encode(entry) for entry in entries)
    path.write_bytes(encode(HEAD if head is None else head)[:-1] + b',"annotations":[' + body + b"\n]}\n")
    return path


@pytest.mark.parametrize("count", [0, 1, 3, 5000])
def test_what_is_read_is_what_json_reads(tmp_path: Path, count: int) -> None:
    entries = [{**ENTRIES[k % 3], "id": k} for k in range(count)]
    path = written(tmp_path / "a.json", entries)
    head, found = lines.read(path)
    assert isinstance(found, lines.Lines)
    assert head == HEAD
    assert json.loads(path.read_text())["annotations"] == list(found) == [found[k] for k in range(count)] == found[:]
    if count:
        assert found[-1] == entries[-1]
    with pytest.raises(IndexError):
        found[count]


def test_coco_files_read_by_line_are_as_those_read_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", ENTRIES)
    other = tmp_path / "b.json"
    other.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    by_line, whole = CocoFile(path), CocoFile(other)
    assert list(by_line.annotations) == list(whole.annotations) == ENTRIES
    assert [k.id for k in by_line.annotations.ids()] == [7, 8, 9]
    assert list(by_line.annotations.at([2, 0])) == [ENTRIES[2], ENTRIES[0]]
    assert by_line.images == whole.images


def test_threads_read_at_once(tmp_path: Path) -> None:
    entries = [{"id": k, "x": [k] * (k % 50)} for k in range(3000)]
    _, found = lines.read(written(tmp_path / "a.json", entries))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(found.__getitem__, range(3000))) == entries
        assert all(got == entries for got in pool.map(lambda _: list(found), range(4)))


def test_a_file_that_takes_its_place_makes_no_difference(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", ENTRIES)
    _, found = lines.read(path)
    written(tmp_path / "b.json", [{"id": 0}]).replace(path)
    assert list(found) == ENTRIES


def text() -> bytes:
    body = b",".join(b"\n" + json.dumps(entry).encode() for entry in ENTRIES)
    return json.dumps(HEAD, separators=(",", ":"))[:-1].encode() + b',"annotations":[' + body + b"\n]}\n"


@pytest.mark.parametrize(
    "bad",
    [
        text()[:-4],
        text()[: len(text()) // 2],
        text().replace(b"},\n", b"}\n", 1),
        text() + b"x",
        text().replace(b'{"info"', b'{"info" 1', 1),
        text().replace(b"\n]}\n", b",\n]}\n"),
        b"",
    ],
    ids=["no end", "cut short", "no comma", "more", "head", "comma", "empty"],
)
def test_what_is_not_json_is_refused(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(bad)
    with pytest.raises(AnonbenchError, match="is not valid JSON") as raised:
        lines.read(path)
    assert raised.value.file == path
    with pytest.raises(AnonbenchError, match="is not valid JSON"):
        CocoFile(path)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text().replace(b'"bbox": [', b'"bbox": [[', 1))
    with pytest.raises(AnonbenchError, match=r"is not valid JSON .*line 2"):
        lines.read(path)


def test_a_line_that_is_damaged_while_the_file_is_open_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text())
    _, found = lines.read(path)
    path.write_bytes(text().replace(b'"bbox": [', b'"bbox":[[', 1))
    with pytest.raises(AnonbenchError, match="is not valid JSON") as raised:
        list(found)
    assert raised.value.entry == "annotation number 0"
    assert found[1] == ENTRIES[1]


def test_other_json_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value := {"images": [], "annotations": [{"id": 1}]}))
    assert lines.read(path) == (value, [{"id": 1}])


@pytest.mark.parametrize("value", [{"images": []}, {"annotations": {}}, {"annotations": None}, [1], "x", None])
def test_a_file_without_a_list_of_annotations_is_not_one_of_nobody(tmp_path: Path, value: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(AnonbenchError, match=r"a\.json: is not a COCO annotation file"):
        lines.read(tmp_path / "a.json")


@pytest.mark.parametrize(
    "body",
    [
        '{"id":1},{"id":2},\n{"id":3}',
        '{"id":1,"s":[{"a":1},\n{"b":2}]},\n{"id":2}',
        '{"id":1,"area":-Infinity}',
        '{"id":1,"name":"\\ud800"}',
        '{"id":1,"area":1e999}',
        '{"id":1},\n{"id":2},{"id":3,"s":[{"a":1},\n{"b":2}]}',
    ],
    ids=["two on a line", "one on two lines", "infinity", "half a character", "more than there is", "both"],
)
def test_json_that_is_laid_out_otherwise_is_read_all_the_same(tmp_path: Path, body: str) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"images":[],"categories":[],"annotations":[\n' + body + "\n]}\n")
    entries = json.loads(path.read_text())["annotations"]
    assert list(lines.read(path)[1]) == entries
    if "999" not in body:
        assert list(CocoFile(path).annotations) == entries


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match="no such file"):
        lines.read(tmp_path / "a.json")
