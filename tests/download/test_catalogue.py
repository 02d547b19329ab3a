"""config/datasets.csv: its form, its rows for every plugin that downloads, and the errors of a spoiled one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from download_server import row, write_catalogue

from anonbench import catalogue, registry
from anonbench.errors import AnonbenchError

PUBLISHED = Path(__file__).parents[2] / "config" / "datasets.csv"
WITHOUT_ROWS = {"streetlife", "coco", "crowdhuman", "market1501", "lfw", "ucf101", "hmdb51", "vispr"}
"""Plugins that fetch nothing: one renders, the others read a copy that is on disk."""


def test_every_plugin_that_downloads_has_rows_and_every_row_a_plugin() -> None:
    rows = catalogue.read(PUBLISHED)
    assert {row.dataset for row in rows} == set(registry.names("datasets")) - WITHOUT_ROWS


def test_the_published_rows() -> None:
    for one in catalogue.read(PUBLISHED):
        assert one.unpack is not None or one.file.endswith(".json")
        assert one.md5 or one.sha256 or one.dataset == "crowdpose", f"{one.file} has no hash"
        assert one.bytes or one.dataset in ("crowdpose", "bdd100k"), f"{one.file} has no size"
        assert (one.requires == one.dataset) == (one.dataset in catalogue.ACCOUNTS)


@pytest.mark.parametrize(
    ("dataset", "splits", "images"),
    [
        ("coco2017", ("train2017", "val2017"), (118287, 5000)),
        ("cityscapes", ("train", "val"), (2975, 500)),
        ("bdd100k", ("train", "val"), (7000, 1000)),
        ("widerface", ("train", "val"), (12880, 3226)),
        ("crowdpose", ("train", "val", "trainval", "test"), (10000, 2000, 12000, 8000)),
        ("pennfudan", ("train", "val"), (119, 51)),
    ],
)
def test_published_counts(dataset: str, splits: tuple[str, ...], images: tuple[int, ...]) -> None:
    assert tuple(catalogue.expected(PUBLISHED, dataset, split)["images"] for split in splits) == images


def test_the_page_lists_every_file() -> None:
    lines = (PUBLISHED.parents[1] / "docs" / "download.md").read_text().splitlines()
    listed = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.count("|") == 7]
    assert [cells[:2] + cells[3:] for cells in listed[2:]] == [
        [
            one.dataset,
            f"`{one.file}`",
            " ".join(kind for kind in ("md5", "sha256") if getattr(one, kind)) or "none",
            " ".join(one.splits) or "all",
            "yes" if one.requires else "",
        ]
        for one in catalogue.read(PUBLISHED)
    ]


def test_rows_of_splits() -> None:
    def files(*splits: str) -> list[str]:
        return [one.file for one in catalogue.rows(PUBLISHED, "coco2017", splits)]

    assert files("val2017") == ["val2017.zip", "annotations_trainval2017.zip"]
    assert len(files("train2017", "val2017")) == 3
    assert len(catalogue.rows(PUBLISHED, "coco2017")) == 3
    assert catalogue.rows(PUBLISHED, "streetlife", ["train"]) == []
    with pytest.raises(AnonbenchError, match=r"coco2017 has no split 'trian2017' \(did you mean 'train2017'"):
        files("trian2017")


def test_rows_survive_writing(tmp_path: Path) -> None:
    rows = [
        row("a.zip", b"a", splits=("train", "val"), images={"train": 3, "val": 4}, people={"val": 9}),
        row("ü/b.json", unpack=None, requires="cityscapes", licence="with, comma"),
    ]
    path = write_catalogue(tmp_path / "datasets.csv", rows)
    assert catalogue.read(path) == rows
    assert catalogue.expected(path, "toy", "val") == {"images": 4, "people": 9}
    assert catalogue.expected(path, "toy", "test") == {"images": None, "people": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "ftp://x.org/a"}, r"line 2, url: 'ftp://x.org/a' is not an http or https address"),
        ({"file": "../a.zip"}, r"line 2, file: '../a.zip' is not a plain relative path"),
        ({"file": "/a.zip"}, r"line 2, file"),
        ({"unpack": "../other"}, r"line 2, unpack"),
        ({"bytes": -4}, r"line 2, bytes: '-4' is not a number of bytes"),
        ({"md5": "abc"}, r"line 2, md5: 'abc' is not an md5"),
        ({"sha256": "A" * 64}, r"line 2, sha256"),
        ({"requires": "cityscape"}, r"line 2, requires: .*did you mean 'cityscapes'"),
        ({"licence": ""}, r"line 2, licence: '' is not a text"),
        ({"images": {"tr ain": 3}}, r"line 2, images: 'tr' is not split=number"),
        ({"dataset": "Toy"}, r"line 2, dataset"),
    ],
)
def test_a_spoiled_row_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = write_catalogue(tmp_path / "datasets.csv", [dataclasses.replace(row("a.zip"), **change)])
    with pytest.raises(AnonbenchError, match=said):
        catalogue.read(path)


def test_a_spoiled_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "datasets.csv"
    with pytest.raises(AnonbenchError, match="no such catalogue"):
        catalogue.read(path)
    path.write_text("dataset,url\n")
    with pytest.raises(AnonbenchError, match="the first line is not dataset,version"):
        catalogue.read(path)
    path.write_text(",".join(catalogue.COLUMNS) + "\ntoy,1\n")
    with pytest.raises(AnonbenchError, match="line 2: has 2 cells, not 14"):
        catalogue.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(AnonbenchError, match="is not UTF-8"):
        catalogue.read(path)
    write_catalogue(path, [row("a.zip"), row("a.zip")])
    with pytest.raises(AnonbenchError, match=r"toy a.zip: duplicate entry"):
        catalogue.read(path)
    write_catalogue(path, [row("a.zip", images={"val": 3}), row("b.zip", images={"val": 4})])
    with pytest.raises(AnonbenchError, match=r"disagree on the images of val: \[3, 4\]"):
        catalogue.expected(path, "toy", "val")
