"""Methods that work on whole videos get each in the order of its frames, whatever shards and threads there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anonbench import manifests, regions, registry
from anonbench.anonymize import engine, shard
from anonbench.anonymize.contract import Changed, Crop, Method
from anonbench.anonymize.merge import merge
from anonbench.anonymize.shard import Shard
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.records import RegionKind
from anonbench.variants import Variant
from tests.fixtures import clips as fixture
from tests.fixtures.outside import install

from .conftest import photograph, region

SMEAR = """
    from typing import ClassVar

    import numpy as np

    from anonbench.anonymize.contract import Changed, Crop, Method
    from anonbench.records import RegionKind


    class Codec(Method):
        \"\"\"The mean of all earlier frames and this one, as a codec that predicts from frame to frame has it.\"\"\"

        kinds: ClassVar = frozenset(RegionKind)
        clips: ClassVar = True
        facts: ClassVar = {"place": "crops of the clip before this one", "length": "crops of the clip"}

        def change(self, crop: Crop) -> Changed:
            raise AssertionError("a method of clips is asked for clips")

        def change_clip(self, crops):
            total, done = 0.0, []
            for place, crop in enumerate(crops):
                mean = crop.pixels.mean(axis=(0, 1))
                total = total + mean
                flat = np.broadcast_to(total / (place + 1), crop.pixels.shape)
                done.append(Changed(flat, {"place": place, "length": len(crops)}))
            return done
"""


@pytest.fixture
def smear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "outside"
    folder.mkdir()
    install(folder, "smear", SMEAR)
    monkeypatch.syspath_prepend(str(folder))
    registry._entries.cache_clear()
    yield "smear"
    registry._entries.cache_clear()


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of data and annotations of eight clips of four frames."""
    return fixture.write(tmp_path_factory.mktemp("street"), clips={"train": 8}, people=[2, 2])


def run(street: tuple[Path, Path], out: Path, variant: str, shards: int = 1, threads: int = 1) -> list[manifests.Row]:
    """Write a variant and return its manifest's rows."""
    data, annotations = street
    what = Variant.parse(variant)
    for number in range(shards):
        Shard(data, annotations, out, "train", what, shard=number, shards=shards, threads=threads).run()
    merge(annotations, "train", what, shards, out, contents=True)
    return list(manifests.rows_of(out, "train"))


def test_frames_of_a_video_come_in_order_and_together(street: tuple[Path, Path], tmp_path: Path, smear: str) -> None:
    out = tmp_path / "anonymized" / "clips" / f"frame-{smear}"
    rows = run(street, out, f"frame-{smear}")
    places = {row["image_id"]: row["facts"] for row in rows if row["type"] == "frame"}
    images = regions.read(street[1] / "train.images.parquet", regions.IMAGES).to_pylist()
    assert {row["image_id"]: row["frame_index"] for row in images} == {i: facts["place"] for i, facts in places.items()}
    assert {facts["length"] for facts in places.values()} == {4}
    root = street[0]
    clip = sorted((row for row in images if row["video_id"] == 3), key=lambda row: row["frame_index"])
    means = [cv2.imread(str(root / row["path"])).mean(axis=(0, 1)) for row in clip]
    for count, row in enumerate(clip, 1):
        written = cv2.imread(str(out / "train" / row["file_name"]))
        assert np.abs(written - np.mean(means[:count], axis=0)).max() <= 1
    videos = read_json(manifests.annotations_path(out, "train"))["videos"]
    assert [video["frames"] for video in videos] == [4] * 8


def test_the_place_in_the_video_counts_and_not_the_image_s_id() -> None:
    places = {1: (7, 2), 2: (None, None), 3: (7, 0), 4: (8, 0), 5: (7, 1)}
    rows = [{"image_id": i, "video_id": video, "frame_index": frame} for i, (video, frame) in places.items()]
    assert [[row["image_id"] for row in clip] for clip in shard._clips(rows)] == [[3, 5, 1], [2], [4]]


@pytest.mark.parametrize("kind", list(RegionKind))
def test_neither_shards_nor_threads_change_a_byte(
    street: tuple[Path, Path], tmp_path: Path, smear: str, kind: RegionKind
) -> None:
    variant = f"{kind}-{smear}"
    first = run(street, tmp_path / "a" / "c" / variant, variant)
    second = run(street, tmp_path / "b" / "c" / variant, variant, shards=3, threads=2)
    assert sorted(map(str, first)) == sorted(map(str, second))


def test_a_person_s_crops_are_a_clip(street: tuple[Path, Path], tmp_path: Path, smear: str) -> None:
    rows = run(street, tmp_path / "anonymized" / "clips" / f"body-{smear}", f"body-{smear}")
    people = regions.read(street[1] / "train.people.parquet", regions.PEOPLE).to_pylist()
    images = {r["image_id"]: r for r in regions.read(street[1] / "train.images.parquet", regions.IMAGES).to_pylist()}
    facts = {(row["image_id"], row["person_id"]): row["facts"] for row in rows if row["type"] == "person"}
    assert len(facts) == len(people) == 64
    for row in people:
        frame = images[row["image_id"]]["frame_index"]
        assert facts[row["image_id"], row["person_id"]] == {"place": frame, "length": 4}


class Counts(Method):
    """Says which clip a crop belongs to, and fails on clips as long as a test says."""

    clips = True

    def __init__(self, fails: int = 0) -> None:
        super().__init__()
        self.fails = fails
        self.calls: list[list[int]] = []

    def change(self, crop: Crop) -> np.ndarray:
        return 255 - crop.pixels

    def change_clip(self, crops: Sequence[Crop]) -> Sequence[Any]:
        self.calls.append([crop.region.person_id for crop in crops])
        if len(crops) == self.fails:
            raise ValueError("too long")
        return [Changed(self.change(crop)) for crop in crops][: None if self.fails != -1 else 1]


def frames(*people: list[tuple[int, str | None, int]]) -> list[Work]:
    """Return the frames of a video; people are (id, identity, side of their square), who do not overlap."""
    works = []
    for index, present in enumerate(people):
        found = [
            replace(region((30 * place, 0, 30 * place + side, side), person_id=number), identity=who)
            for place, (number, who, side) in enumerate(present)
        ]
        works.append(Work(index + 1, photograph(120, 40, index), found))
    return works


def test_people_are_followed_by_identity_the_small_before_the_large() -> None:
    method = Counts()
    works = frames([(1, "a", 20), (2, "b", 10)], [(3, "b", 12)], [(4, "a", 8), (5, None, 6), (6, "c", 7), (7, "c", 7)])
    before = [work.pixels.copy() for work in works]
    outcomes = engine.anonymize_clip(works, method, seed=0)
    assert method.calls == [[5], [6], [7], [2, 3], [1, 4]]
    assert [[row.person_id for row in rows] for rows in outcomes] == [[1, 2], [3], [4, 5, 6, 7]]
    for work, old in zip(works, before, strict=True):
        inside = np.zeros(old.shape[:2], bool)
        for one in work.regions:
            x0, y0, x1, y1 = one.box
            inside[y0:y1, x0:x1] |= one.mask
        assert np.array_equal(work.pixels[inside], 255 - old[inside])
        assert np.array_equal(work.pixels[~inside], old[~inside])


def test_a_clip_that_fails_falls_back_whole_or_ends_in_one_sentence() -> None:
    people = [(1, "a", 20)], [(2, "a", 20)]
    method = Counts(fails=2)
    with pytest.raises(AnonbenchError, match="method test_clips failed on person 1: too long"):
        engine.anonymize_clip(frames(*people), method, seed=0)
    method.fallback = "mask_out"
    outcomes = engine.anonymize_clip(frames(*people), method, seed=0)
    assert [rows[0].fallback for rows in outcomes] == ["mask_out", "mask_out"]
    with pytest.raises(AnonbenchError, match="1 results for a clip of 2 crops"):
        engine.anonymize_clip(frames(*people), Counts(fails=-1), seed=0)
